//! Why a credential is refused, in words for people, a code for programs, and the forms that HTTP and gRPC want.

use crate::denies::Record;
use std::{fmt, time::Duration};
use taskpass_crypto::{CertError, TokenError};
use taskpass_types::{ActionName, DenySubject, Timestamp};

/// Why a credential is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// It is good, but does not allow what is being done.
    #[error("`{0}` is not among the granted actions")]
    ActionNotGranted(ActionName),
    /// It is for another resource.
    #[error("the credential is for another audience")]
    AudienceMismatch,
    /// It is bound to a TLS client certificate, and that is not the one that was presented.
    #[error("the token is bound to another client certificate than the one presented")]
    CertificateBinding,
    /// Its certificate is not acceptable.
    #[error(transparent)]
    Certificate(#[from] CertError),
    /// It, or something above it, was ended.
    #[error("{}", ended(.0))]
    Denied(Box<Record>),
    /// It has expired since it was accepted.
    #[error("the credential expired at {0}")]
    Expired(Timestamp),
    /// The broker was not heard for too long to know what it has denied since.
    #[error("the deny feed is {} s old, {} s is the most that is tolerated", .age.as_secs(), .max.as_secs())]
    FeedStale {
        /// How long ago the broker was heard.
        age: Duration,
        /// The limit.
        max: Duration,
    },
    /// There is not exactly one `Authorization: Bearer` header.
    #[error("expected exactly one `Authorization` header of the form `Bearer <token>`")]
    HeaderInvalid,
    /// It is bound to a key, and this verifier takes no proofs of possession.
    #[error("the token is bound to a key (`jkt`) whose possession cannot be proved here")]
    KeyBinding,
    /// Nothing was presented.
    #[error("no credential was presented")]
    Missing,
    /// The deny feed has not begun yet.
    #[error("the deny feed has not begun yet")]
    NotReady,
    /// It is of another tenant.
    #[error("the credential is of another tenant")]
    TenantMismatch,
    /// The token is not acceptable.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// The longest description that is put in a header.
const MAX_DESCRIPTION: usize = 256;

impl Rejected {
    /// The class, for metrics, logs and programs; never changes its meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ActionNotGranted(_) => "action_not_granted",
            Self::AudienceMismatch => "audience_mismatch",
            Self::CertificateBinding => "certificate_binding",
            Self::Certificate(error) => error.code(),
            Self::Denied(_) => "denied",
            Self::Expired(_) => "expired",
            Self::FeedStale { .. } => "feed_stale",
            Self::HeaderInvalid => "header_invalid",
            Self::KeyBinding => "key_binding",
            Self::Missing => "missing",
            Self::NotReady => "not_ready",
            Self::TenantMismatch => "tenant_mismatch",
            Self::Token(error) => error.code(),
        }
    }

    /// The HTTP status: 401 for a credential that is no good, 403 for one that does not suffice (RFC 6750 section 3.1),
    /// 503 when it is the verifier that cannot know.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::ActionNotGranted(_) => 403,
            Self::FeedStale { .. } | Self::NotReady => 503,
            _ => 401,
        }
    }

    /// The value of the `WWW-Authenticate` header (RFC 6750 section 3); `None` when no other credential would help.
    ///
    /// For example `Bearer error="invalid_token", error_description="lease ls_… ended: completed"`.
    pub fn www_authenticate(&self) -> Option<String> {
        let error = match self {
            Self::ActionNotGranted(_) => "insufficient_scope",
            Self::FeedStale { .. } | Self::NotReady => return None,
            Self::HeaderInvalid => "invalid_request",
            Self::Missing => return Some("Bearer".to_owned()),
            _ => "invalid_token",
        };
        let mut value = format!(r#"Bearer error="{error}", error_description="{}""#, self.description());
        if let Self::ActionNotGranted(action) = self {
            value.push_str(&format!(r#", scope="{action}""#));
        }
        Some(value)
    }

    /// The message in the characters that RFC 6750 allows between quotes; what a token brought in is made harmless.
    fn description(&self) -> String {
        let allowed = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '`');
        let text = self.to_string().replace('`', "");
        text.chars().map(|c| if allowed(c) { c } else { '?' }).take(MAX_DESCRIPTION).collect()
    }
}

fn ended(record: &Record) -> String {
    let subject: &dyn fmt::Display = match &record.subject {
        DenySubject::Agent(id) => &format!("agent {id}"),
        DenySubject::KeyGeneration(number) => &format!("keys up to generation {number}"),
        DenySubject::Lease(id) => &format!("lease {id}"),
        DenySubject::Owner(id) => &format!("owner {id}"),
        DenySubject::PolicyRevision(id) => &format!("policy revision {id}"),
        DenySubject::Resource(id) => &format!("resource {id}"),
        DenySubject::Task(id) => &format!("task {id}"),
        DenySubject::Tenant => &"tenant",
    };
    match record.reason {
        Some(reason) => format!("{subject} ended: {reason}"),
        None => format!("{subject} ended"),
    }
}
