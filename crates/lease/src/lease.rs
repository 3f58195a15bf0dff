//! The lease: the durable record of one credential and its renewals. It never holds the credential.

use crate::{Cut, End, Limits};
use serde::{Deserialize, Serialize};
use taskpass_types::{
    ActionName, AgentId, ApprovalId, Confirmation, Counters, CredentialKind, DecisionId, EndReason, Epoch,
    Grant, KeyGeneration, LeaseId, Owner, PolicyRevision, RequestId, ResourceName, Revocability, SpiffeId,
    StatusIndex, TaskId, TaskPath, TenantId, Timestamp, Ttl,
};

/// One credential, tracked from before it was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The tenant.
    pub tenant: TenantId,
    /// Its id; the token's `jti` and the certificate's serial begin with it.
    pub id: LeaseId,
    /// From the root task to the one it belongs to.
    pub task_path: TaskPath,
    /// The agents along the path; the last one holds the lease.
    pub agents: Vec<AgentId>,
    /// Who answers for the holder.
    pub owner: Owner,
    /// The holder's identity for the task.
    pub subject: SpiffeId,
    /// The one audience.
    pub resource: ResourceName,
    /// What may be done there; sorted.
    pub actions: Vec<ActionName>,
    /// What was issued.
    pub kind: CredentialKind,
    /// What that kind promises about its death.
    pub revocability: Revocability,
    /// The key it is bound to.
    pub confirmation: Option<Confirmation>,
    /// The newest decision that allowed it.
    pub decision: DecisionId,
    /// The policies that determined it.
    pub policies: Vec<String>,
    /// The policies that were in force then.
    pub policy_revision: PolicyRevision,
    /// The generation of the key that signed the newest credential.
    pub key_generation: KeyGeneration,
    /// The newest deny record about an agent, an owner, a resource or the tenant when it was planned: such records up to it do
    /// not concern it.
    pub deny_epoch: Epoch,
    /// The TTL that was asked for, an input of the decision.
    pub requested_ttl: Ttl,
    /// What the evidence said of the holder then: its selectors.
    pub attested: Vec<String>,
    /// How old the evidence was then.
    pub attestation_age_secs: u32,
    /// What the task had used by then.
    pub counters: Counters,
    /// The approval that the first credential rested on.
    pub approval: Option<ApprovalId>,
    /// The request that it answers.
    pub request: RequestId,
    /// Where a status list tells of its tokens.
    pub status: Option<StatusIndex>,
    /// When it was first issued.
    pub created_at: Timestamp,
    /// When the newest credential was issued; whole seconds.
    pub issued_at: Timestamp,
    /// When the newest credential ends; whole seconds.
    pub expires_at: Timestamp,
    /// When the last of all its credentials ends, and with it the lease.
    pub last_expiry: Timestamp,
    /// What no renewal passes: the task's deadline.
    pub hard_stop: Timestamp,
    /// When it ends although its credentials last longer.
    pub cut: Option<Cut>,
    /// How often it is decided anew while it lives.
    pub recheck: Option<Ttl>,
    /// When that is due next.
    pub recheck_at: Option<Timestamp>,
    /// Tool calls that were allowed with it, all renewals together.
    pub uses: u32,
    /// How many there may be.
    pub max_uses: Option<u32>,
    /// How many times it was renewed.
    pub renewal: u32,
    /// The newest renewal's request, so that a repeat gets the same credential.
    pub renewal_request: Option<RequestId>,
    /// Active or ended.
    pub state: LeaseState,
}

/// Active or ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseState {
    /// Its credential may be accepted until it expires.
    Active,
    /// It has ended; final.
    Ended(End),
}

impl Lease {
    /// The holder.
    pub fn agent(&self) -> Option<&AgentId> {
        self.agents.last()
    }

    /// The task it belongs to.
    pub fn task(&self) -> Option<TaskId> {
        self.task_path.task()
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<&End> {
        match &self.state {
            LeaseState::Active => None,
            LeaseState::Ended(end) => Some(end),
        }
    }

    /// Why it is over at `now`, looking at it alone, marked or not.
    pub fn ended_by(&self, now: Timestamp) -> Option<EndReason> {
        if let Some(end) = self.end() {
            Some(end.reason)
        } else if self.cut.as_ref().is_some_and(|cut| now >= cut.at && cut.at < self.last_expiry) {
            Some(EndReason::Drifted)
        } else if now >= self.last_expiry {
            Some(EndReason::Expired)
        } else {
            None
        }
    }

    /// When something has to be done about it: its expiry, its cut or its recheck, whatever comes first; and then the end
    /// of its retention.
    pub fn due(&self, limits: &Limits) -> Timestamp {
        if let Some(end) = self.end() {
            return end.at.plus(limits.kept());
        }
        let sooner = [self.cut.as_ref().map(|cut| cut.at), self.recheck_at];
        sooner.into_iter().flatten().fold(self.last_expiry, Timestamp::min)
    }

    /// The id of its newest credential.
    pub fn jti(&self) -> String {
        self.id.jti(self.renewal)
    }

    /// What its newest credential says.
    pub fn grant(&self) -> Grant {
        Grant {
            tenant: self.tenant.clone(),
            lease: self.id,
            renewal: self.renewal,
            task_path: self.task_path.clone(),
            agents: self.agents.clone(),
            owner: self.owner.clone(),
            subject: self.subject.clone(),
            resource: self.resource.clone(),
            actions: self.actions.clone(),
            decision: self.decision,
            policy_revision: self.policy_revision.clone(),
            key_generation: self.key_generation,
            deny_epoch: self.deny_epoch,
            confirmation: self.confirmation.clone(),
            status: self.status,
            issued_at: self.issued_at,
            expires_at: self.expires_at,
        }
    }
}
