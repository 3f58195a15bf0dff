//! Why nothing was signed.

use crate::{claims::UnsoundGrant, x509::LintError};
use taskpass_types::{KeyGeneration, Reason, Refusal};

/// Why a grant was not signed; nothing was released.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The grant names another key generation than the one that would sign.
    #[error("the grant is for key generation {decided}, the signer is generation {signer}")]
    GenerationDiffers {
        /// What the grant says.
        decided: KeyGeneration,
        /// What would sign.
        signer: KeyGeneration,
    },
    /// The unsigned certificate is not what was decided.
    #[error("the certificate is not what was decided: {0}")]
    Lint(#[from] LintError),
    /// The certificate would begin before or end after the authority's own.
    #[error("the credential's life is not within the certificate authority's")]
    OutsideAuthority,
    /// The primitive failed, or the grant cannot be encoded.
    #[error("the signing key failed: {0}")]
    Primitive(String),
    /// The token or certificate would be longer than verifiers accept.
    #[error("the credential would be {0} bytes long, more than verifiers accept")]
    TooLong(usize),
    /// The grant contradicts itself or cannot be said in full.
    #[error(transparent)]
    Unsound(#[from] UnsoundGrant),
}

impl From<SignError> for Refusal {
    fn from(error: SignError) -> Self {
        let (reason, message) = match &error {
            SignError::GenerationDiffers { .. } | SignError::Lint(_) => (
                Reason::SignedNotDecided,
                "what would be signed is not what was decided; nothing was released",
            ),
            SignError::OutsideAuthority | SignError::Primitive(_) => {
                (Reason::SignerUnavailable, "the signing key cannot be used")
            }
            SignError::TooLong(_) | SignError::Unsound(_) => {
                (Reason::Internal, "the credential cannot be expressed; nothing was released")
            }
        };
        Refusal::new(reason, message).because(error)
    }
}
