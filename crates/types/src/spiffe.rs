//! SPIFFE IDs and trust domains, by the grammar of the SPIFFE-ID standard, sections 2 and 3.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// Why a text is no SPIFFE ID or trust domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {what}: {why}")]
pub struct ParseSpiffeIdError {
    text: String,
    what: &'static str,
    why: &'static str,
}

fn error(text: &str, what: &'static str, why: &'static str) -> ParseSpiffeIdError {
    ParseSpiffeIdError { text: text.escape_debug().take(128).collect(), what, why }
}

/// The name of a trust domain, for example `acme.test`; always lower case, at most 255 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Checks the grammar: `[a-z0-9._-]`, 1 to 255 bytes.
    pub fn new(text: impl AsRef<str>) -> Result<Self, ParseSpiffeIdError> {
        let text = text.as_ref();
        let bad = |why| Err(error(text, "trust domain", why));
        if text.is_empty() {
            return bad("it is empty");
        }
        if text.len() > 255 {
            return bad("it is longer than 255 bytes");
        }
        if !text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_'))
        {
            return bad("use a-z, 0-9, `.`, `-`, `_`");
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `spiffe://<trust domain>/<path>`; at most 2,048 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpiffeId {
    text: Arc<str>,
    trust_domain: TrustDomain,
}

impl SpiffeId {
    /// Parses and checks; the scheme and the trust domain must already be in lower case, as every issuer writes them.
    pub fn new(text: impl AsRef<str>) -> Result<Self, ParseSpiffeIdError> {
        let text = text.as_ref();
        let bad = |why| Err(error(text, "SPIFFE ID", why));
        if text.len() > 2048 {
            return bad("it is longer than 2048 bytes");
        }
        let Some(rest) = text.strip_prefix("spiffe://") else {
            return bad("it does not begin with `spiffe://`");
        };
        let (domain, path) = rest.split_once('/').map_or((rest, None), |(domain, path)| (domain, Some(path)));
        let Ok(trust_domain) = TrustDomain::new(domain) else {
            return bad(
                "its trust domain is not valid (user information, port and upper case are not allowed)",
            );
        };
        for segment in path.into_iter().flat_map(|path| path.split('/')) {
            if matches!(segment, "" | "." | "..") {
                return bad("a path segment is empty, `.` or `..`");
            }
            if !segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) {
                return bad(
                    "use a-z, A-Z, 0-9, `.`, `-`, `_` in path segments (no query, fragment or percent-encoding)",
                );
            }
        }
        Ok(Self { text: text.into(), trust_domain })
    }

    /// An id in `domain` with `path`, which has no leading slash.
    pub fn from_parts(domain: &TrustDomain, path: &str) -> Result<Self, ParseSpiffeIdError> {
        Self::new(format!("spiffe://{domain}/{path}"))
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path without its leading slash; empty for a trust domain's own id.
    pub fn path(&self) -> &str {
        self.text.get("spiffe://".len() + self.trust_domain.as_str().len() + 1..).unwrap_or("")
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

macro_rules! text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl FromStr for $name {
            type Err = ParseSpiffeIdError;
            fn from_str(text: &str) -> Result<Self, ParseSpiffeIdError> {
                Self::new(text)
            }
        }
        impl TryFrom<String> for $name {
            type Error = ParseSpiffeIdError;
            fn try_from(text: String) -> Result<Self, ParseSpiffeIdError> {
                Self::new(text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.as_str().to_owned()
            }
        }
    };
}
text!(TrustDomain);
text!(SpiffeId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_ids() {
        for (text, domain, path) in [
            ("spiffe://acme.test", "acme.test", ""),
            ("spiffe://acme.test/ns/ci/sa/Bot", "acme.test", "ns/ci/sa/Bot"),
            ("spiffe://1.2.3.4/a", "1.2.3.4", "a"),
        ] {
            let id = SpiffeId::new(text).unwrap();
            assert_eq!((id.trust_domain().as_str(), id.path(), id.as_str()), (domain, path, text));
        }
    }

    #[test]
    fn bad_ids() {
        for bad in [
            "",
            "spiffe://",
            "spiffe:///a",
            "http://acme.test/a",
            "SPIFFE://acme.test/a",
            "spiffe://Acme.test/a",
            "spiffe://acme.test/",
            "spiffe://acme.test//a",
            "spiffe://acme.test/a/",
            "spiffe://acme.test/./a",
            "spiffe://acme.test/../a",
            "spiffe://user@acme.test/a",
            "spiffe://acme.test:80/a",
            "spiffe://acme.test/a?b",
            "spiffe://acme.test/a#b",
            "spiffe://acme.test/%41",
            "spiffe://[::1]/a",
            "spiffe://acme.test/a b",
            "spiffe://acme.test/a\0",
        ] {
            assert!(SpiffeId::new(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(SpiffeId::new(format!("spiffe://a/{}", "b".repeat(2048))).is_err());
    }
}
