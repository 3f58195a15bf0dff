//! Why something was refused: a stable code for programs, grouped into kinds that map to a gRPC status and an exit code.

use std::fmt;

/// The class of a refusal: what the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Policy or ownership says no; asking again changes nothing.
    Denied,
    /// The request is malformed.
    Invalid,
    /// The caller could not be attested.
    Unauthenticated,
    /// There is no such thing, or it is not the caller's to see.
    NotFound,
    /// It contradicts what is there.
    Conflict,
    /// The task, lease or credential has ended.
    Ended,
    /// A limit is reached.
    Exhausted,
    /// People have yet to say yes; wait, then ask the same again.
    Pending,
    /// A dependency does not answer; ask again.
    Unavailable,
    /// It may or may not have happened; ask again with the same request id.
    OutcomeUnknown,
    /// A defect on our side.
    Internal,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $code:literal => $kind:ident,)*) => {
        /// The stable code of a refusal, in `google.rpc.ErrorInfo.reason`, in the audit log and on the command line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code, UPPER_SNAKE_CASE; never changes its meaning.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// The class.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind),* }
            }
        }
    };
}

reasons! {
    /// There is no such agent.
    AgentNotFound = "AGENT_NOT_FOUND" => NotFound,
    /// No registered agent has the caller's selectors.
    AgentNotRegistered = "AGENT_NOT_REGISTERED" => Unauthenticated,
    /// The agent has no owner.
    AgentWithoutOwner = "AGENT_WITHOUT_OWNER" => Denied,
    /// The operator suspended the agent.
    AgentSuspended = "AGENT_SUSPENDED" => Denied,
    /// Several registered agents match the caller equally well.
    AgentAmbiguous = "AGENT_AMBIGUOUS" => Unauthenticated,
    /// This person may not approve this request.
    ApproverNotEligible = "APPROVER_NOT_ELIGIBLE" => Denied,
    /// The approval was denied by a person.
    ApprovalDenied = "APPROVAL_DENIED" => Denied,
    /// Nobody approved in time; that is no denial.
    ApprovalExpired = "APPROVAL_EXPIRED" => Pending,
    /// The approval is for another request than this one.
    ApprovalMismatch = "APPROVAL_MISMATCH" => Conflict,
    /// No such approval, or not the caller's.
    ApprovalNotFound = "APPROVAL_NOT_FOUND" => NotFound,
    /// People have to approve this request first.
    ApprovalRequired = "APPROVAL_REQUIRED" => Pending,
    /// The approval is decided, or this person has voted already.
    ApprovalSettled = "APPROVAL_SETTLED" => Conflict,
    /// The evidence has expired.
    AttestationExpired = "ATTESTATION_EXPIRED" => Unauthenticated,
    /// The evidence is not acceptable.
    AttestationInvalid = "ATTESTATION_INVALID" => Unauthenticated,
    /// The audit log cannot be written, so nothing is granted.
    AuditUnavailable = "AUDIT_UNAVAILABLE" => Unavailable,
    /// A budget that policy sets for the task is used up.
    BudgetExceeded = "BUDGET_EXCEEDED" => Exhausted,
    /// The certificate signing request is malformed or its key is not allowed.
    CsrInvalid = "CSR_INVALID" => Invalid,
    /// There is no record of this decision.
    DecisionNotFound = "DECISION_NOT_FOUND" => NotFound,
    /// A task would be handed back to an agent that handed it on.
    DelegationCycle = "DELEGATION_CYCLE" => Denied,
    /// Delegation would go too deep.
    DepthExceeded = "DEPTH_EXCEEDED" => Denied,
    /// A field of the request is not valid.
    FieldInvalid = "FIELD_INVALID" => Invalid,
    /// After a kill the same agent, task and resource is refused until released.
    HeldAfterKill = "HELD_AFTER_KILL" => Denied,
    /// A defect on our side.
    Internal = "INTERNAL" => Internal,
    /// The lease has ended.
    LeaseEnded = "LEASE_ENDED" => Ended,
    /// No such lease, or not the caller's.
    LeaseNotFound = "LEASE_NOT_FOUND" => NotFound,
    /// The caller's role does not include this call.
    NotPermitted = "NOT_PERMITTED" => Denied,
    /// Policy permits it only for a credential that promises more: bound to a key, or revocable sooner.
    ObligationUnmet = "OBLIGATION_UNMET" => Denied,
    /// It may or may not have happened.
    OutcomeUnknown = "OUTCOME_UNKNOWN" => OutcomeUnknown,
    /// The change would take more than was previewed.
    PlanGrew = "PLAN_GREW" => Conflict,
    /// The plan was made over other policies than those in force.
    PlanOutdated = "PLAN_OUTDATED" => Conflict,
    /// No such plan, or it is too old.
    PlanNotFound = "PLAN_NOT_FOUND" => NotFound,
    /// The policies changed while the request was being decided, several times in a row.
    PolicyChanged = "POLICY_CHANGED" => Unavailable,
    /// Policy does not allow it.
    PolicyDenied = "POLICY_DENIED" => Denied,
    /// The set of policies is not valid.
    PolicyInvalid = "POLICY_INVALID" => Invalid,
    /// No such set of policies in the history.
    PolicyNotFound = "POLICY_NOT_FOUND" => NotFound,
    /// A quota is used up.
    QuotaExceeded = "QUOTA_EXCEEDED" => Exhausted,
    /// The same request id came with another body.
    RequestIdReused = "REQUEST_ID_REUSED" => Conflict,
    /// A scope is not within the task's.
    ScopeExceedsTask = "SCOPE_EXCEEDS_TASK" => Denied,
    /// A child task's scope or deadline is not within its parent's.
    ScopeExceedsParent = "SCOPE_EXCEEDS_PARENT" => Denied,
    /// What was signed is not what was decided; nothing was released.
    SignedNotDecided = "SIGNED_NOT_DECIDED" => Internal,
    /// The signing key cannot be used.
    SignerUnavailable = "SIGNER_UNAVAILABLE" => Unavailable,
    /// A stored record cannot be read.
    StoreCorrupt = "STORE_CORRUPT" => Unavailable,
    /// The store does not answer.
    StoreUnavailable = "STORE_UNAVAILABLE" => Unavailable,
    /// Another broker of the fleet was first.
    Superseded = "SUPERSEDED" => Conflict,
    /// The task has ended.
    TaskEnded = "TASK_ENDED" => Ended,
    /// No such task, or not the caller's.
    TaskNotFound = "TASK_NOT_FOUND" => NotFound,
    /// The task has not ended.
    TaskRunning = "TASK_RUNNING" => Conflict,
    /// The time to live is zero or above the maximum.
    TtlOutOfRange = "TTL_OUT_OF_RANGE" => Invalid,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Reason {
    /// The reason with this code.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_follow_aip_193() {
        let mut seen = std::collections::BTreeSet::new();
        for reason in Reason::ALL {
            let code = reason.code();
            assert!(seen.insert(code), "{code} twice");
            assert!(code.len() <= 63 && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{code}");
            assert_eq!(Reason::parse(code), Some(*reason));
        }
    }
}
