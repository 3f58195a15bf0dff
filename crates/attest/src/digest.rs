//! SHA-256 in the two forms that identities carry.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest::{Context, Digest, SHA256};
use std::fmt::Write;

/// Hashes parts so that no two lists of parts give the same input: each is preceded by its length.
pub(crate) fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    context.finish()
}

/// 64 lower-case hexadecimal digits.
pub(crate) fn hex(digest: &Digest) -> String {
    digest.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The `x5t#S256` of a certificate (RFC 8705 section 3.1): SHA-256 of its DER, base64url without padding.
pub(crate) fn thumbprint(der: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&SHA256, der))
}
