//! Reads bundles: PEM, and the SPIFFE bundle document (a JSON Web Key Set; SPIFFE Trust Domain & Bundle, section 4).
//!
//! `serde_json` keeps the last of two members of one name. A reader that keeps the first would trust another key, so a
//! document with duplicates is refused as a whole.

use super::bundle::{Authority, AuthorityError, Bundle};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use std::fmt;

/// How many authorities a bundle may have.
pub(super) const MAX_AUTHORITIES: usize = 64;
/// How many keys of any use a document may have.
const MAX_KEYS: usize = 256;

/// Why a text is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// A certificate in it is no authority; counted from 1.
    #[error("certificate {index}: {error}")]
    Authority {
        /// Which.
        index: usize,
        /// Why.
        error: AuthorityError,
    },
    /// It is not JSON, or says one thing twice.
    #[error("it is not a JSON document without duplicate members: {0}")]
    Json(#[from] serde_json::Error),
    /// A key of use `x509-svid` breaks the standard.
    #[error("key {index}: {why}")]
    Key {
        /// Which, counted from 1.
        index: usize,
        /// Why.
        why: &'static str,
    },
    /// There is no certificate where the format has no way to say so on purpose.
    #[error(
        "it has no certificate; to revoke a whole trust domain use a SPIFFE bundle document with `\"keys\": []`"
    )]
    NoCertificate,
    /// It has no list of keys.
    #[error("it has no `keys` list")]
    NoKeys,
    /// It is not PEM.
    #[error("it is not PEM: {0}")]
    Pem(String),
    /// It has too many keys or authorities.
    #[error("it has more than {MAX_AUTHORITIES} authorities or {MAX_KEYS} keys")]
    TooMany,
}

/// One or more `CERTIFICATE` blocks.
pub(super) fn from_pem(text: &[u8]) -> Result<Bundle, DocumentError> {
    let mut authorities = Vec::new();
    for (index, certificate) in (1..).zip(CertificateDer::pem_slice_iter(text)) {
        let certificate = certificate.map_err(|error| DocumentError::Pem(error.to_string()))?;
        push(&mut authorities, index, &certificate)?;
    }
    if authorities.is_empty() { Err(DocumentError::NoCertificate) } else { Ok(Bundle::new(authorities)) }
}

/// A bundle document. Keys of another use than `x509-svid`, or of an unknown `kty` or `use`, are ignored as the
/// standard asks; `"keys": []` is a bundle without authorities.
pub(super) fn from_json(text: &[u8]) -> Result<Bundle, DocumentError> {
    let Document(document) = serde_json::from_slice(text)?;
    let keys = document.get("keys").and_then(Value::as_array).ok_or(DocumentError::NoKeys)?;
    if keys.len() > MAX_KEYS {
        return Err(DocumentError::TooMany);
    }
    let mut authorities = Vec::new();
    for (index, key) in (1..).zip(keys) {
        if let Some(certificate) = certificate(key).map_err(|why| DocumentError::Key { index, why })? {
            push(&mut authorities, index, &certificate)?;
        }
    }
    Ok(Bundle::new(authorities))
}

fn push(
    authorities: &mut Vec<Authority>,
    index: usize,
    der: &CertificateDer<'_>,
) -> Result<(), DocumentError> {
    if authorities.len() >= MAX_AUTHORITIES {
        return Err(DocumentError::TooMany);
    }
    authorities.push(Authority::from_der(der).map_err(|error| DocumentError::Authority { index, error })?);
    Ok(())
}

fn certificate(key: &Value) -> Result<Option<CertificateDer<'static>>, &'static str> {
    let text = |name| key.get(name).and_then(Value::as_str);
    if text("use") != Some("x509-svid") || !matches!(text("kty"), Some("EC" | "RSA" | "OKP")) {
        return Ok(None);
    }
    if key.get("kid").is_some() {
        return Err("a key of use `x509-svid` has no `kid`");
    }
    let Some([one]) = key.get("x5c").and_then(Value::as_array).map(Vec::as_slice) else {
        return Err("`x5c` must hold exactly one certificate");
    };
    let der = one
        .as_str()
        .and_then(|text| STANDARD.decode(text).ok())
        .ok_or("`x5c` is not base64 (RFC 7517 section 4.7)")?;
    Ok(Some(CertificateDer::from(der)))
}

/// A JSON object in which no member, at any depth, comes twice.
struct Document(Map<String, Value>);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Unique::deserialize(deserializer)?.0 {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(D::Error::custom("the document is not an object")),
        }
    }
}

/// A JSON value in which no member comes twice. Depth is bounded by `serde_json` (128).
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Unique(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Unique(value))) = entries.next_entry::<String, Unique>()? {
            if members.contains_key(&name) {
                return Err(A::Error::custom(format_args!(
                    "the member `{}` comes twice",
                    name.escape_debug()
                )));
            }
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}
