//! Typed ids. Each is a UUIDv7 (RFC 9562): its bytes begin with the time, so that stores append; its text begins with
//! the random end, so that six characters are enough to name one on the command line.

use crate::base32;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id: expected `{prefix}` and 26 characters of 0-9 and a-z without i, l, o, u")]
pub struct ParseIdError {
    text: String,
    prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// What the text form begins with.
            pub const PREFIX: &'static str = $prefix;

            /// A new id: now in milliseconds, then 74 random bits.
            #[expect(clippy::new_without_default, reason = "a default id would not be an id")]
            pub fn new() -> Self {
                Self(*uuid::Uuid::now_v7().as_bytes())
            }

            /// From the 16 bytes that [`Self::as_bytes`] gave.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes, time first.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                let digits = base32::digits_128(u128::from_le_bytes(self.0));
                f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.strip_prefix($prefix)
                    .and_then(base32::decode_128)
                    .map(|value| Self(value.to_le_bytes()))
                    .ok_or_else(|| ParseIdError { text: text.escape_debug().take(64).collect(), prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; 16]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

id!(
    /// Names one task, `tk_…`.
    TaskId,
    "tk_"
);
id!(
    /// Names one lease, `ls_…`. A token's `jti` and a certificate's serial number begin with it.
    LeaseId,
    "ls_"
);
id!(
    /// Names one decision, `dc_…`.
    DecisionId,
    "dc_"
);
id!(
    /// Names one request that waits, or waited, for people's approval, `ap_…`.
    ApprovalId,
    "ap_"
);
id!(
    /// Names one tool call, `tc_…`.
    CallId,
    "tc_"
);
id!(
    /// Names one verifier's stream of the deny feed, `vs_…`. Only the verifier is told it, and it is random enough that
    /// nobody else acknowledges in its name.
    SessionId,
    "vs_"
);
id!(
    /// Names one previewed change of the policies, `pl_…`.
    PlanId,
    "pl_"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_and_begins_with_the_random_end() {
        let (a, b) = (TaskId::new(), TaskId::new());
        assert_eq!(a.to_string().parse(), Ok(a));
        assert_eq!(a.as_bytes()[..4], b.as_bytes()[..4], "bytes begin with the time");
        assert_ne!(a.to_string()[..9], b.to_string()[..9], "text begins with the random end");
    }

    #[test]
    fn another_kind_of_id_is_refused() {
        let lease = LeaseId::new().to_string();
        assert!(lease.parse::<TaskId>().is_err());
        assert!("tk_".parse::<TaskId>().is_err());
        assert!("".parse::<TaskId>().is_err());
        let hostile = "\u{1b}[2J\0\u{202e}".parse::<TaskId>().unwrap_err().to_string();
        assert!(hostile.is_ascii() && !hostile.contains(char::is_control), "{hostile:?}");
    }
}
