//! A refusal as a gRPC status, by AIP-193.

use std::{collections::HashMap, time::Duration};
use taskpass_types::{Kind, Reason, Refusal};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The `domain` of every `ErrorInfo`.
pub const DOMAIN: &str = "taskpass.v1";

/// The status that a caller gets. Its message is the refusal's; `fix` and ids are in the `ErrorInfo`'s metadata. The
/// refusal's context goes to the log, nowhere else.
pub fn status(refusal: &Refusal) -> Status {
    if matches!(refusal.kind(), Kind::Internal | Kind::Unavailable) {
        tracing::warn!(reason = refusal.reason().code(), context = refusal.context(), "{refusal}");
    } else {
        tracing::debug!(reason = refusal.reason().code(), context = refusal.context(), "{refusal}");
    }
    let mut metadata: HashMap<String, String> = HashMap::new();
    for (key, value) in refusal.metadata() {
        // Several values of one key, such as policies, become one list.
        metadata
            .entry(key.to_owned())
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(value);
            })
            .or_insert_with(|| value.to_owned());
    }
    if let Some(fix) = refusal.fix_text() {
        metadata.insert("fix".to_owned(), fix.to_owned());
    }
    let field = metadata.get("field").cloned();
    let mut details = ErrorDetails::new();
    details.set_error_info(refusal.reason().code(), DOMAIN, metadata);
    if let Some(field) = field {
        details.add_bad_request_violation(field, refusal.message());
    }
    if let Some(delay) = retry_after(refusal.reason()) {
        details.set_retry_info(Some(delay));
    }
    Status::with_error_details(code(refusal.kind()), refusal.message(), details)
}

/// The gRPC code of a kind of refusal.
pub(crate) fn code(kind: Kind) -> Code {
    match kind {
        Kind::Conflict => Code::AlreadyExists,
        Kind::Denied => Code::PermissionDenied,
        Kind::Ended | Kind::Pending => Code::FailedPrecondition,
        Kind::Exhausted => Code::ResourceExhausted,
        Kind::Internal => Code::Internal,
        Kind::Invalid => Code::InvalidArgument,
        Kind::NotFound => Code::NotFound,
        Kind::OutcomeUnknown | Kind::Unavailable => Code::Unavailable,
        Kind::Unauthenticated => Code::Unauthenticated,
    }
}

fn retry_after(reason: Reason) -> Option<Duration> {
    match reason.kind() {
        Kind::Exhausted => Some(Duration::from_secs(1)),
        Kind::OutcomeUnknown | Kind::Unavailable => Some(Duration::from_millis(200)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_one_error_info_and_hides_its_context() {
        for reason in Reason::ALL {
            let refusal = Refusal::new(*reason, "message")
                .fix("do this")
                .with("field", "ttl")
                .with("policy", "a")
                .with("policy", "b")
                .because("the disk at sda1");
            let status = status(&refusal);
            assert_ne!(status.code(), Code::Ok);
            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason.code(), DOMAIN));
            assert_eq!(info.metadata.get("fix").map(String::as_str), Some("do this"));
            assert_eq!(info.metadata.get("policy").map(String::as_str), Some("a, b"));
            assert!(!format!("{status:?}").contains("sda1"));
            assert_eq!(
                details.retry_info().is_some(),
                status.code() == Code::Unavailable || status.code() == Code::ResourceExhausted
            );
        }
    }
}
