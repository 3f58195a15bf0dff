//! A refusal with everything that was said, decoded here anew: the client library is under test too.

use std::{collections::BTreeMap, fmt};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// What a caller got instead of an answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Refused {
    /// The gRPC status code.
    pub code: Code,
    /// The stable code, `ErrorInfo.reason`; empty when there is none.
    pub reason: String,
    /// `ErrorInfo.domain`.
    pub domain: String,
    /// For people.
    pub message: String,
    /// `ErrorInfo.metadata`.
    pub metadata: BTreeMap<String, String>,
    /// All details as they came, `google.rpc.Status` in protobuf.
    pub details: Vec<u8>,
}

impl Refused {
    /// Code and reason, to compare with.
    pub fn says(&self) -> (Code, &str) {
        (self.code, &self.reason)
    }

    /// A value of the metadata; empty when it is not there.
    pub fn about(&self, key: &str) -> &str {
        self.metadata.get(key).map_or("", String::as_str)
    }

    /// Everything that can be shown to people, in one text.
    pub fn text(&self) -> String {
        format!("{} {:?} {}", self.message, self.metadata, String::from_utf8_lossy(&self.details))
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().cloned();
        let (reason, domain, metadata) =
            info.map(|info| (info.reason, info.domain, info.metadata)).unwrap_or_default();
        Self {
            code: status.code(),
            reason,
            domain,
            message: status.message().to_owned(),
            metadata: metadata.into_iter().collect(),
            details: status.details().to_vec(),
        }
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {} {:?}", self.code, self.reason, self.message, self.metadata)
    }
}
