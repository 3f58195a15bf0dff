//! What the broker refused, decoded from its google.rpc status: reason, message, fix and ids, ready to act upon.

use std::{collections::BTreeMap, error::Error as _, fmt, sync::Arc, time::Duration};
use taskpass_types::{Kind, Reason};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A call that failed: refused by the broker, or the broker could not be reached.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    code: Code,
    reason: String,
    message: String,
    fix: Option<String>,
    metadata: BTreeMap<String, String>,
    fields: Vec<(String, String)>,
    retry_after: Option<Duration>,
    retryable: bool,
}

impl Error {
    /// What happened, in one line.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The stable code, when this version of the library knows it.
    pub fn reason(&self) -> Option<Reason> {
        Reason::parse(&self.0.reason)
    }

    /// The stable code as the broker sent it; empty when the answer did not come from a broker.
    pub fn reason_code(&self) -> &str {
        &self.0.reason
    }

    /// What can be done about it.
    pub fn fix(&self) -> Option<&str> {
        self.0.fix.as_deref()
    }

    /// The ids and values that the message speaks of.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.0.metadata
    }

    /// Which fields of the request are not valid, each with what is wrong (`google.rpc.BadRequest`).
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.fields.iter().map(|(field, problem)| (field.as_str(), problem.as_str()))
    }

    /// How long the broker asks to wait before another attempt (`google.rpc.RetryInfo`).
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The gRPC status code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// Whether the same request, with the same request id, may succeed later: the broker or one of its dependencies
    /// did not answer, or the outcome is unknown.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// An error of ours, for an answer or an input that makes no sense.
    pub(crate) fn local(code: Code, reason: Option<Reason>, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            code,
            reason: reason.map_or_else(String::new, |reason| reason.code().to_owned()),
            message: message.into(),
            fix: None,
            metadata: BTreeMap::new(),
            fields: Vec::new(),
            retry_after: None,
            retryable: false,
        }))
    }

    /// Adds an id or value that the message speaks of.
    pub(crate) fn with(self, key: &str, value: &str) -> Self {
        let Inner { code, reason, message, fix, metadata, fields, retry_after, retryable } = &*self.0;
        let mut metadata = metadata.clone();
        metadata.insert(key.to_owned(), value.to_owned());
        Self(Arc::new(Inner {
            code: *code,
            reason: reason.clone(),
            message: message.clone(),
            fix: fix.clone(),
            metadata,
            fields: fields.clone(),
            retry_after: *retry_after,
            retryable: *retryable,
        }))
    }

    /// The broker answered something that its API does not say.
    pub(crate) fn unexpected(what: &str) -> Self {
        Self::local(Code::Internal, None, format!("the broker's answer makes no sense: {what}"))
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let mut metadata: BTreeMap<_, _> =
            info.map(|info| info.metadata.clone().into_iter().collect()).unwrap_or_default();
        let reason = info.map(|info| info.reason.clone()).unwrap_or_default();
        let fields = details.bad_request().map_or_else(Vec::new, |bad| {
            bad.field_violations.iter().map(|v| (v.field.clone(), v.description.clone())).collect()
        });
        Self(Arc::new(Inner {
            code: status.code(),
            message: describe(&status),
            fix: metadata.remove("fix"),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            retryable: retryable(&status, Reason::parse(&reason)),
            reason,
            metadata,
            fields,
        }))
    }
}

/// A status that was made on this side of the wire hides what happened in its sources.
fn describe(status: &Status) -> String {
    let mut message = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = error.source();
    }
    message
}

/// A broker that says why is believed; otherwise the transport failed, and every call of ours may be repeated. Evidence
/// that has expired is that of a connection: the broker is about to close it, and the next one brings fresh evidence.
fn retryable(status: &Status, reason: Option<Reason>) -> bool {
    if let Some(reason) = reason {
        let later = matches!(reason.kind(), Kind::OutcomeUnknown | Kind::Unavailable);
        return later || reason == Reason::AttestationExpired;
    }
    let broken = matches!(status.code(), Code::Cancelled | Code::Internal | Code::Unknown);
    matches!(status.code(), Code::DeadlineExceeded | Code::Unavailable)
        || (broken && status.source().is_some())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = if self.0.reason.is_empty() { self.0.code.description() } else { &self.0.reason };
        write!(f, "{reason}: {}", self.0.message)
    }
}

impl std::error::Error for Error {}
