//! The port.

use async_trait::async_trait;
use std::fmt;
use taskpass_crypto::CsrKey;
use taskpass_store::Prepared;
use taskpass_types::{
    Confirmation, CredentialKind, Grant, KeyGeneration, Reason, Refusal, Revocability, Secret,
};

/// Makes one kind of credential.
#[async_trait]
pub trait Issuer: Send + Sync + 'static {
    /// The kind.
    fn kind(&self) -> CredentialKind;

    /// What the kind promises about its death. Verifiers that follow the deny feed make both kinds here `bounded`.
    fn revocability(&self) -> Revocability;

    /// The generation of the key that would sign now; it becomes part of the plan.
    fn key_generation(&self) -> KeyGeneration;

    /// Checks what the caller brought, before anything is decided.
    ///
    /// # Errors
    /// `CSR_INVALID`, `FIELD_INVALID`.
    fn accept(&self, form: Form) -> Result<Material, Refusal>;

    /// Signs what the lease says, and compares what was signed with it.
    ///
    /// # Errors
    /// `SIGNER_UNAVAILABLE`, `SIGNED_NOT_DECIDED`; nothing is released then.
    async fn issue(&self, prepared: Prepared, material: &Material) -> Result<Credential, Refusal>;
}

/// What the caller asks for, as it came.
#[derive(Clone, Debug)]
pub enum Form {
    /// A certificate for the key of this PKCS #10 request.
    Certificate {
        /// DER or PEM.
        csr: Vec<u8>,
    },
    /// A token, bound to a key of this thumbprint if there is one.
    Token {
        /// RFC 7638, base64url without padding.
        jkt: Option<String>,
    },
}

impl Form {
    /// The kind of credential that it asks for.
    pub fn kind(&self) -> CredentialKind {
        match self {
            Self::Certificate { .. } => CredentialKind::X509,
            Self::Token { .. } => CredentialKind::Jwt,
        }
    }
}

/// What the caller brought, checked.
#[derive(Clone, Debug)]
pub struct Material {
    pub(crate) key: Option<CsrKey>,
    /// The key to which the credential has to be bound, if the caller named one.
    pub confirmation: Option<Confirmation>,
}

/// What is handed out. It is never stored.
#[derive(Clone)]
pub enum Credential {
    /// DER, the leaf first, without the root.
    Certificate(Vec<Vec<u8>>),
    /// A compact JWS.
    Token(Secret<String>),
}

/// The refusal to release something that does not say what was decided.
pub(crate) fn differs(decided: &Grant, how: &dyn fmt::Display) -> Refusal {
    Refusal::new(Reason::SignedNotDecided, "what was signed is not what was decided; nothing was released")
        .fix("report this as a defect, with the lease id")
        .with("lease", decided.lease)
        .because(how)
}

/// The refusal of a lease that was planned for a key which has been retired for good since.
pub(crate) fn key_is_gone(decided: &Grant) -> Refusal {
    Refusal::new(Reason::SignerUnavailable, "the key that this lease was planned for is gone")
        .fix("ask again with a new request id")
        .with("key_generation", decided.key_generation)
}
