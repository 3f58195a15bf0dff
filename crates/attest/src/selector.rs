//! Selectors: the facts about a caller that registration entries match, one canonical text each.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};
use taskpass_types::{SpiffeId, TrustDomain};

const UID: &str = "unix:uid:";
const GID: &str = "unix:gid:";
const PATH: &str = "unix:path:";
const SHA256: &str = "unix:sha256:";
const ID: &str = "spiffe:id:";
const DOMAIN: &str = "spiffe:td:";
const CLIENT: &str = "oauth:client:";

/// One fact about a caller, for example `unix:uid:1000` or `spiffe:id:spiffe://acme.test/ci/invoice-bot`.
///
/// | text | the fact |
/// |---|---|
/// | `unix:uid:<number>`, `unix:gid:<number>` | the kernel's credentials of the peer process |
/// | `unix:path:<absolute path>` | the file that the process executes, as the broker sees it |
/// | `unix:sha256:<64 hex digits>` | SHA-256 of that file |
/// | `spiffe:id:<SPIFFE ID>` | the id in a verified SVID |
/// | `spiffe:td:<trust domain>` | its trust domain |
/// | `oauth:client:<name>` | the client whose key signed an assertion; at the OAuth endpoints only |
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector(Arc<str>);

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a selector: {why}")]
pub struct ParseSelectorError {
    text: String,
    why: &'static str,
}

impl Selector {
    /// Parses and checks; what it accepts is canonical.
    pub fn new(text: impl AsRef<str>) -> Result<Self, ParseSelectorError> {
        let text = text.as_ref();
        match check(text) {
            Ok(()) => Ok(Self(text.into())),
            Err(why) => Err(ParseSelectorError { text: text.escape_debug().take(128).collect(), why }),
        }
    }

    /// `unix:uid:…`
    pub fn uid(uid: u32) -> Self {
        Self(format!("{UID}{uid}").into())
    }

    /// `unix:gid:…`
    pub fn gid(gid: u32) -> Self {
        Self(format!("{GID}{gid}").into())
    }

    /// `unix:path:…`; fails for a path that is not absolute, or has a form that could be read as another.
    pub fn path(path: &str) -> Result<Self, ParseSelectorError> {
        Self::new(format!("{PATH}{path}"))
    }

    /// `unix:sha256:…`, of 64 lower-case hexadecimal digits.
    pub fn sha256(hex: &str) -> Result<Self, ParseSelectorError> {
        Self::new(format!("{SHA256}{hex}"))
    }

    /// `spiffe:id:…`
    pub fn spiffe_id(id: &SpiffeId) -> Self {
        Self(format!("{ID}{id}").into())
    }

    /// `spiffe:td:…`
    pub fn trust_domain(domain: &TrustDomain) -> Self {
        Self(format!("{DOMAIN}{domain}").into())
    }

    /// `oauth:client:…`; fails for a name that is none.
    pub fn client(name: &str) -> Result<Self, ParseSelectorError> {
        Self::new(format!("{CLIENT}{name}"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    if let Some(number) = text.strip_prefix(UID).or_else(|| text.strip_prefix(GID)) {
        return match number.parse::<u32>() {
            Ok(value) if value.to_string() == number => Ok(()),
            _ => Err(
                "a user or group is a number from 0 to 4294967295 without leading zeros; names are not looked up",
            ),
        };
    }
    if let Some(path) = text.strip_prefix(PATH) {
        return check_path(path);
    }
    if let Some(hex) = text.strip_prefix(SHA256) {
        let is_digest = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        return is_digest.then_some(()).ok_or("a SHA-256 is 64 digits of 0-9 and a-f");
    }
    if let Some(id) = text.strip_prefix(ID) {
        let id = SpiffeId::new(id).map_err(
            |_| "what follows `spiffe:id:` is not a SPIFFE ID such as `spiffe://acme.test/ci/bot`",
        )?;
        return (!id.path().is_empty()).then_some(()).ok_or("a workload's SPIFFE ID has a path");
    }
    if let Some(domain) = text.strip_prefix(DOMAIN) {
        return TrustDomain::new(domain)
            .map(drop)
            .map_err(|_| "what follows `spiffe:td:` is not a trust domain such as `acme.test`");
    }
    if let Some(name) = text.strip_prefix(CLIENT) {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
        let is_name = (1..=128).contains(&name.len()) && name.bytes().all(allowed);
        return is_name
            .then_some(())
            .ok_or("a client's name has 1 to 128 of letters, digits, `-`, `_`, `.`, `/`");
    }
    Err("begin with `unix:uid:`, `unix:gid:`, `unix:path:`, `unix:sha256:`, `spiffe:id:`, `spiffe:td:` or \
         `oauth:client:`")
}

fn check_path(path: &str) -> Result<(), &'static str> {
    let Some(relative) = path.strip_prefix('/') else {
        return Err("a path begins with `/`");
    };
    if path.len() > 4096 {
        return Err("a path has at most 4096 bytes");
    }
    if path.chars().any(char::is_control) {
        return Err("a path has no control characters");
    }
    if relative.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("a part of the path is empty, `.` or `..`");
    }
    Ok(())
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Selector {
    type Err = ParseSelectorError;
    fn from_str(text: &str) -> Result<Self, ParseSelectorError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Selector {
    type Error = ParseSelectorError;
    fn try_from(text: String) -> Result<Self, ParseSelectorError> {
        Self::new(text)
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> String {
        selector.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_selectors_keep_their_text() {
        let digest = format!("unix:sha256:{}", "0af9".repeat(16));
        for good in [
            "unix:uid:0",
            "unix:uid:4294967295",
            "unix:gid:1000",
            "unix:path:/usr/bin/python3",
            "unix:path:/opt/My Agent/bot",
            digest.as_str(),
            "spiffe:id:spiffe://acme.test/ci/invoice-bot",
            "spiffe:td:acme.test",
        ] {
            assert_eq!(Selector::new(good).unwrap().as_str(), good);
        }
        assert_eq!(Selector::uid(7).as_str(), "unix:uid:7");
    }

    #[test]
    fn bad_selectors_say_why() {
        let upper = format!("unix:sha256:{}", "0AF9".repeat(16));
        for (bad, why) in [
            ("", "begin with"),
            ("docker:label:x", "begin with"),
            ("UNIX:uid:1", "begin with"),
            (" unix:uid:1", "begin with"),
            ("unix:uid:", "number"),
            ("unix:uid:-1", "number"),
            ("unix:uid:+1", "number"),
            ("unix:uid:01", "number"),
            ("unix:uid:4294967296", "number"),
            ("unix:uid:maya", "names are not looked up"),
            ("unix:gid:1 ", "number"),
            ("unix:path:bin/x", "begins with `/`"),
            ("unix:path:/", "empty"),
            ("unix:path:/usr//bin/x", "empty"),
            ("unix:path:/usr/../bin/x", "`..`"),
            ("unix:path:/usr/bin/", "empty"),
            ("unix:path:/a\nb", "control"),
            ("unix:sha256:00", "64 digits"),
            (upper.as_str(), "64 digits"),
            ("spiffe:id:acme.test/x", "not a SPIFFE ID"),
            ("spiffe:id:spiffe://acme.test", "has a path"),
            ("spiffe:td:Acme.test", "not a trust domain"),
        ] {
            let error = Selector::new(bad).expect_err(bad).to_string();
            assert!(error.contains(why), "{bad:?}: {error}");
        }
    }

    #[test]
    fn a_refused_text_is_quoted_escaped_and_cut() {
        let error = Selector::new(format!("\u{1b}[31m{}", "x".repeat(9000))).unwrap_err().to_string();
        assert!(!error.contains('\u{1b}') && error.len() < 400, "{error}");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_parses_is_canonical(text in "(unix:(uid|gid|path|sha256):|spiffe:(id|td):)?\\PC{0,40}") {
            if let Ok(selector) = Selector::new(&text) {
                prop_assert_eq!(selector.as_str(), text);
            }
        }
    }
}
