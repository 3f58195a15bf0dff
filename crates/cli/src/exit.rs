//! Exit codes, which scripts rely on: `taskpass help exit-codes`.

use taskpass_types::Kind;
use tonic::Code;

/// How a command ended. The numbers are a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The child of `exec` ended so.
    Child(u8),
    CommandNotExecutable,
    CommandNotFound,
    Conflict,
    Denied,
    Done,
    Found,
    LeaseEnded,
    NotFound,
    NotStarted,
    Partly,
    Pending,
    Unauthenticated,
    Unavailable,
    Unexpected,
    Usage,
}

/// What `taskpass help exit-codes` says.
pub(crate) const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "done"),
    ("1", "unexpected error"),
    ("2", "usage: bad flag, ambiguous id, confirmation refused"),
    ("3", "denied by policy (a definitive no)"),
    ("4", "not authenticated, attestation failed"),
    ("5", "not found"),
    ("6", "conflict: already ended or decided, same id for another request, or more than was previewed"),
    ("7", "broker or store unreachable, deadline passed, quota used up: ask again later"),
    ("8", "approval pending, or nobody decided in time"),
    (
        "9",
        "partly done: some failed, the list is on standard output; with --require-all-verifiers: not all enforce it",
    ),
    (
        "10",
        "a check found something: `policy check|test|diff|replay`, `audit verify`, `store check`, `doctor`, `serve --check`",
    ),
    ("124", "exec: a lease or the task ended, and the command was stopped"),
    ("125", "exec: failed before the command started"),
    ("126", "exec: the command is not executable"),
    ("127", "exec: the command was not found"),
    ("128+n", "exec: signal n ended the command"),
];

impl Exit {
    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Child(code) => code,
            Self::CommandNotExecutable => 126,
            Self::CommandNotFound => 127,
            Self::Conflict => 6,
            Self::Denied => 3,
            Self::Done => 0,
            Self::Found => 10,
            Self::LeaseEnded => 124,
            Self::NotFound => 5,
            Self::NotStarted => 125,
            Self::Partly => 9,
            Self::Pending => 8,
            Self::Unauthenticated => 4,
            Self::Unavailable => 7,
            Self::Unexpected => 1,
            Self::Usage => 2,
        }
    }

    /// The word in `error[…]`.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Child(_) => "command",
            Self::CommandNotExecutable => "not-executable",
            Self::CommandNotFound => "command-not-found",
            Self::Conflict => "conflict",
            Self::Denied => "denied",
            Self::Done => "done",
            Self::Found => "found",
            Self::LeaseEnded => "lease-ended",
            Self::NotFound => "not-found",
            Self::NotStarted => "not-started",
            Self::Partly => "partly",
            Self::Pending => "approval-pending",
            Self::Unauthenticated => "unauthenticated",
            Self::Unavailable => "unavailable",
            Self::Unexpected => "unexpected",
            Self::Usage => "usage",
        }
    }

    pub(crate) fn of_kind(kind: Kind) -> Self {
        match kind {
            Kind::Conflict | Kind::Ended => Self::Conflict,
            Kind::Denied => Self::Denied,
            Kind::Exhausted | Kind::OutcomeUnknown | Kind::Unavailable => Self::Unavailable,
            Kind::Internal => Self::Unexpected,
            Kind::Invalid => Self::Usage,
            Kind::NotFound => Self::NotFound,
            Kind::Pending => Self::Pending,
            Kind::Unauthenticated => Self::Unauthenticated,
        }
    }

    pub(crate) fn of_code(code: Code) -> Self {
        match code {
            Code::DeadlineExceeded | Code::ResourceExhausted | Code::Unavailable => Self::Unavailable,
            Code::InvalidArgument => Self::Usage,
            Code::NotFound => Self::NotFound,
            Code::PermissionDenied => Self::Denied,
            Code::Unauthenticated => Self::Unauthenticated,
            _ => Self::Unexpected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taskpass_types::Reason;

    #[test]
    fn the_table_has_every_code_once_and_none_that_is_not_made() {
        let codes: Vec<_> = EXIT_CODES.iter().map(|(code, _)| *code).collect();
        let made = [
            Exit::Done,
            Exit::Unexpected,
            Exit::Usage,
            Exit::Denied,
            Exit::Unauthenticated,
            Exit::NotFound,
            Exit::Conflict,
            Exit::Unavailable,
            Exit::Pending,
            Exit::Partly,
            Exit::Found,
            Exit::LeaseEnded,
            Exit::NotStarted,
            Exit::CommandNotExecutable,
            Exit::CommandNotFound,
        ];
        let mut expected: Vec<_> = made.iter().map(|exit| exit.code().to_string()).collect();
        expected.push("128+n".to_owned());
        assert_eq!(codes, expected, "128+n are the command's own");
    }

    #[test]
    fn every_kind_of_refusal_has_its_documented_code() {
        for reason in Reason::ALL {
            let code = match reason.kind() {
                Kind::Invalid => 2,
                Kind::Denied => 3,
                Kind::Unauthenticated => 4,
                Kind::NotFound => 5,
                Kind::Conflict | Kind::Ended => 6,
                Kind::Exhausted | Kind::OutcomeUnknown | Kind::Unavailable => 7,
                Kind::Internal => 1,
                Kind::Pending => 8,
            };
            assert_eq!(Exit::of_kind(reason.kind()).code(), code, "{reason}");
        }
    }
}
