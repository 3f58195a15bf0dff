//! The words of Taskpass as types: ids, names, scopes, time, reasons, secrets.
//!
//! Every other crate speaks in these, so that a wrong pairing does not compile and a bad name does not get past the
//! edge. Invariants: no I/O, no async; what parses is canonical (one text for one thing); no secret can be printed.

pub mod base32;
mod deny;
mod grant;
mod id;
mod name;
mod obligations;
mod reason;
mod refusal;
mod scope;
mod secret;
mod spiffe;
mod status;
mod time;

pub use deny::{DenyRecord, DenySubject, EndReason, Epoch, HistoryId};
pub use grant::{Confirmation, CredentialKind, Grant, Revocability, TaskPath};
pub use id::{ApprovalId, CallId, DecisionId, LeaseId, ParseIdError, PlanId, SessionId, TaskId};
pub use name::{
    ActionName, AgentId, DriftRuleId, GroupName, Initiator, KeyGeneration, Owner, ParseNameError,
    PolicyRevision, RequestId, ResourceName, TaskKind, TenantId, ToolName, UserName,
};
pub use obligations::{Consequence, Counters, Obligations};
pub use reason::{Kind, Reason};
pub use refusal::Refusal;
pub use scope::{ParseScopeError, Scope};
pub use secret::Secret;
pub use spiffe::{ParseSpiffeIdError, SpiffeId, TrustDomain};
pub use status::{ParseStatusListIdError, StatusIndex, StatusListId};
pub use time::{Clock, ManualClock, ParseTimestampError, SystemClock, Timestamp, Ttl, TtlError};
