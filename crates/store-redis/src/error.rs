//! What can go wrong between a broker and its ledger.

use redis::{ErrorKind, RedisError, ServerErrorKind};
use taskpass_types::{Reason, Refusal};

/// Why a call to the ledger failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// Nothing was executed: the server said so, or it was never asked.
    #[error("{0}")]
    Refused(String),
    /// It may or may not have been executed.
    #[error("no answer: {0}")]
    Unknown(String),
    /// Nothing was executed: where a page of ours belongs, there is something else. That is nobody's trouble who does not
    /// need it.
    #[error("another application uses our keys: {0}")]
    Foreign(String),
    /// Nothing was executed: another broker was faster. Whoever looks anew sees what it did.
    #[error("{0}")]
    Overtaken(&'static str),
    /// The server does not know our scripts (any more).
    #[error("the server lost the scripts")]
    NoScript,
}

impl Trouble {
    /// Whether the link cannot be trusted any more.
    pub(crate) fn breaks_link(&self) -> bool {
        !matches!(self, Self::Foreign(_))
    }

    pub(crate) fn unexpected(what: &str) -> Self {
        Self::Refused(format!("this is no Taskpass ledger, or a newer one: {what}"))
    }
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoScript) => Self::NoScript,
            ErrorKind::Extension if error.code() == Some("WRONGTYPE") => Self::Foreign(error.to_string()),
            // The server answered, so it did not execute it. A script that failed half way is the exception, and ours
            // fail only before they write.
            ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed => {
                Self::Refused(error.to_string())
            }
            _ if error.is_connection_refusal() => Self::Refused(error.to_string()),
            _ => Self::Unknown(error.to_string()),
        }
    }
}

pub(crate) fn unavailable(cause: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(Reason::StoreUnavailable, "the ledger does not answer")
        .fix("ask again; the operator finds the cause with `taskpass store check`")
        .because(cause)
}

pub(crate) fn outcome_unknown() -> Refusal {
    Refusal::new(
        Reason::OutcomeUnknown,
        "the ledger did not confirm this in time; it may or may not have happened",
    )
    .fix("ask again with the same request id")
}
