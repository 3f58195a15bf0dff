//! Certificates: a leaf in the form of an X.509-SVID for what was granted, from a CSR that contributes its key only.
//!
//! One reader (`leaf`) knows the profile. The linter calls it before anything is signed and the verifier after the
//! path was checked, so what the one lets through the other accepts. Invariants: the only bytes that the authority's
//! key ever signs are those that passed the linter, of leaves and of revocation lists; a leaf is signed by an authority
//! directly; no leaf outlives it.

mod authority;
mod bundle;
mod crl;
pub mod csr;
mod der;
mod error;
mod leaf;
mod lint;
mod shard;

pub(crate) use authority::{AuthorityKey, new_authority};
pub use authority::{CertificateAuthority, crl_pem};
pub use bundle::CaBundle;
pub use crl::{CrlScope, CrlTerms, RevocationReason, Revoked};
pub use csr::CsrKey;
pub use error::{BundleError, CertError, LintError, ProfileError};
pub use lint::lint;
pub use shard::CrlShard;

use std::time::Duration;

/// The extension that carries the grant: a UTF8String of its canonical JSON, not critical. The arc below 2.25 is a
/// random number of 63 bits, which needs no registration (ITU-T X.667).
pub const GRANT_OID: &[u64] = &[2, 25, 5_438_152_492_894_659_196];

/// A longer certificate is refused before it is parsed.
pub const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;

/// How much sooner than its issue a leaf begins, for verifiers whose clocks are behind.
const BACKDATE: Duration = Duration::from_secs(30);
