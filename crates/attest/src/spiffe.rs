//! Callers with an X.509-SVID, by the SPIFFE standards X509-SVID and Trust Domain & Bundle.
//!
//! Invariants: a chain is verified with the authorities of the SVID's own trust domain and no others; facts are parsed
//! from what was verified, never from what was sent; a broken bundle file never replaces a good set.

mod attestor;
mod bundle;
mod document;
mod files;
mod svid;
mod verify;

pub use attestor::X509Attestor;
pub use bundle::{Authority, AuthorityError, Bundle, Bundles};
pub use document::DocumentError;
pub use files::{BundleError, BundleFile, BundleFiles, BundleFormat, Reload};
pub use svid::Svid;
pub use verify::{TrustedLeaf, Verified};
