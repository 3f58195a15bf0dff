//! Shows what a token says without believing it.

use super::{
    TokenError, read_back,
    verify::{Segments, decode},
};
use serde_json::Value;
use taskpass_types::Grant;

/// What a token says. Nothing of it was verified: it is for eyes, never for a decision.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The header, as it is.
    pub header: Value,
    /// The claims, as they are.
    pub claims: Value,
    /// What it would grant if its signature were good, or why it is none of ours.
    pub unverified_grant: Result<Grant, TokenError>,
}

/// Decodes a token of at most 8 KiB without verifying anything.
pub fn inspect_unverified(token: &str) -> Result<Inspection, TokenError> {
    let segments = Segments::split(token)?;
    let header = serde_json::from_slice(&decode(segments.header)?)
        .map_err(|error| TokenError::HeaderInvalid(error.to_string()))?;
    let claims = serde_json::from_slice(&decode(segments.payload)?)
        .map_err(|error| TokenError::ClaimsInvalid(error.to_string()))?;
    Ok(Inspection { header, claims, unverified_grant: read_back(token) })
}
