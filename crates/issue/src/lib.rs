//! The issuer port, and the two kinds of credential that are signed here: tokens and certificates.
//!
//! An issuer turns a [`Prepared`](taskpass_store::Prepared) lease, which only a store's commit can make, into a
//! credential. Invariants: it signs exactly the lease's grant, reads back what it signed and compares (I4); it keeps
//! nothing; signing the same lease again says the same, so a repeated request needs no stored secret.

mod jwt;
mod port;
mod x509;

pub use jwt::JwtIssuer;
pub use port::{Credential, Form, Issuer, Material};
pub use x509::X509Issuer;
