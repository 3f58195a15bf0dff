//! Names that people choose. One grammar, checked once at the edge: lower case, no spaces, no control or bidirectional
//! characters, bounded. Two names that look alike are therefore either equal or refused.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {what}: {why}")]
pub struct ParseNameError {
    text: String,
    what: &'static str,
    why: &'static str,
}

fn check(
    text: &str,
    what: &'static str,
    max: usize,
    allow: fn(u8) -> bool,
    why: &'static str,
) -> Result<(), ParseNameError> {
    let bad = |why| Err(ParseNameError { text: text.escape_debug().take(64).collect(), what, why });
    if text.is_empty() {
        return bad("it is empty");
    }
    if text.len() > max {
        return bad("it is too long");
    }
    if !text.bytes().all(allow) {
        return bad(why);
    }
    if text.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return bad("a part between slashes is empty, `.` or `..`");
    }
    Ok(())
}

fn word(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.')
}
fn path(b: u8) -> bool {
    word(b) || b == b'/'
}
fn action(b: u8) -> bool {
    path(b) || matches!(b, b':' | b'*')
}
fn person(b: u8) -> bool {
    b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'`' | b'<' | b'>')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $allow:ident, $why:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the grammar and keeps the text as it is.
            pub fn new(text: impl AsRef<str>) -> Result<Self, ParseNameError> {
                let text = text.as_ref();
                check(text, $what, $max, $allow, $why)?;
                Ok(Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseNameError;
            fn from_str(text: &str) -> Result<Self, ParseNameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseNameError;
            fn try_from(text: String) -> Result<Self, ParseNameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

name!(
    /// The isolation boundary. `default` when unset.
    TenantId, "tenant", 63, word, "use a-z, 0-9, `-`, `_`, `.`"
);
name!(
    /// A registered workload, for example `ci/invoice-bot`. It is also the path of the agent's SPIFFE ID here.
    AgentId, "agent name", 200, path, "use a-z, 0-9, `-`, `_`, `.`, `/`"
);
name!(
    /// What is protected, for example `billing-api`. It is also the token's `aud`.
    ResourceName, "resource", 200, path, "use a-z, 0-9, `-`, `_`, `.`, `/`"
);
name!(
    /// What is done to a resource, for example `invoice:read`.
    ActionName, "action", 100, action, "use a-z, 0-9, `-`, `_`, `.`, `/`, `:`, `*`"
);
name!(
    /// The class of a task that policy speaks of, for example `close-books`.
    TaskKind, "task kind", 100, path, "use a-z, 0-9, `-`, `_`, `.`, `/`"
);
name!(
    /// The person who answers for an agent. Nothing is issued without one.
    Owner, "owner", 200, person, "use printable ASCII without spaces, quotes, backslashes, angle brackets"
);
name!(
    /// Who or what started a task.
    Initiator, "initiator", 400, person, "use printable ASCII without spaces, quotes, backslashes, angle brackets"
);
name!(
    /// A person, as policies and approvals know them, for example `maya@acme.test`.
    UserName, "user name", 200, person, "use printable ASCII without spaces, quotes, backslashes, angle brackets"
);
name!(
    /// A named set of agents or users, for example `finance-leads`.
    GroupName, "group name", 100, path, "use a-z, 0-9, `-`, `_`, `.`, `/`"
);
name!(
    /// The rule by which a drift is answered, for example `agent-suspended`.
    DriftRuleId, "drift rule", 64, word, "use a-z, 0-9, `-`, `_`, `.`"
);
name!(
    /// A tool that an agent calls, for example `refund.create`.
    ToolName, "tool name", 200, action, "use a-z, 0-9, `-`, `_`, `.`, `/`, `:`, `*`"
);
name!(
    /// The caller's idempotency key (AIP-155): the same id with the same body gives the same answer.
    RequestId, "request id", 64, person, "use printable ASCII without spaces, quotes, backslashes, angle brackets"
);
name!(
    /// Names one set of policies: a digest of their text.
    PolicyRevision, "policy revision", 64, word, "use a-z, 0-9, `-`, `_`, `.`"
);

impl Default for TenantId {
    fn default() -> Self {
        Self("default".into())
    }
}

/// Counts the signing keys that ever became active; in every credential, so that one write cuts off all that an older
/// key signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyGeneration(pub u32);

impl fmt::Display for KeyGeneration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_canonical_form() {
        for bad in
            ["", "Billing", " billing", "billing ", "a\0b", "a\u{202e}b", "a//b", "/a", "a/", "a/../b", "ünï"]
        {
            assert!(ResourceName::new(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(ResourceName::new("a".repeat(201)).is_err());
        assert!(ResourceName::new("s3/reports").is_ok());
        assert!(ActionName::new("invoice:read").is_ok());
        assert!(Owner::new("maya@acme.test").is_ok());
        assert!(Owner::new("maya jones").is_err());
    }

    #[test]
    fn a_refused_name_is_quoted_escaped_and_cut() {
        let message = AgentId::new(format!("\u{1b}[31m{}", "x".repeat(500))).unwrap_err().to_string();
        assert!(!message.contains('\u{1b}') && message.len() < 200, "{message}");
    }
}
