//! Tasks, leases and credentials as messages.

use taskpass_broker::Registration;
use taskpass_issue::Credential;
use taskpass_lease::{End, Lease, Task};
use taskpass_proto::v1;
use taskpass_types::{CredentialKind, EndReason, Revocability, Timestamp, Ttl};

pub(crate) fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(at.as_millis() % 1000).unwrap_or(0) * 1_000_000,
    }
}

pub(crate) fn task(task: Task) -> v1::Task {
    v1::Task {
        id: task.id.to_string(),
        path: task.path.iter().map(|id| id.to_string()).collect(),
        agent: task.agent().map(ToString::to_string).unwrap_or_default(),
        end: task.end().map(end),
        tenant: task.tenant.into(),
        owner: task.owner.into(),
        kind: task.kind.into(),
        purpose: task.purpose,
        scopes: task.scopes.into_iter().map(String::from).collect(),
        initiator: task.initiator.into(),
        labels: task.labels.into_iter().collect(),
        create_time: Some(timestamp(task.created_at)),
        deadline: Some(timestamp(task.deadline)),
        heartbeat_interval: task.heartbeat.map(span),
        live_below: task.live_below,
        issued: task.issued,
        sensitivity: task.sensitivity.unwrap_or_default(),
        tool_calls: task.calls,
    }
}

pub(crate) fn agent(agent: Registration) -> v1::Agent {
    v1::Agent {
        id: agent.id.into(),
        owner: agent.owner.map(String::from).unwrap_or_default(),
        groups: agent.groups.into_iter().map(String::from).collect(),
        labels: agent.labels.into_iter().collect(),
        suspended: agent.suspended,
        selectors: agent.selectors.iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn span(ttl: Ttl) -> prost_types::Duration {
    prost_types::Duration { seconds: i64::from(ttl.as_secs()), nanos: 0 }
}

pub(crate) fn lease(lease: Lease) -> v1::Lease {
    v1::Lease {
        id: lease.id.to_string(),
        task_id: lease.task().map(|id| id.to_string()).unwrap_or_default(),
        task_path: lease.task_path.iter().map(|id| id.to_string()).collect(),
        agent: lease.agent().map(ToString::to_string).unwrap_or_default(),
        end: lease.end().map(end),
        tenant: lease.tenant.into(),
        owner: lease.owner.into(),
        subject: lease.subject.into(),
        resource: lease.resource.into(),
        actions: lease.actions.into_iter().map(String::from).collect(),
        kind: match lease.kind {
            CredentialKind::Jwt => v1::CredentialKind::Jwt,
            CredentialKind::X509 => v1::CredentialKind::X509,
        }
        .into(),
        revocability: match lease.revocability {
            Revocability::Bounded => v1::Revocability::Bounded,
            Revocability::ExpiryOnly => v1::Revocability::ExpiryOnly,
            Revocability::Immediate => v1::Revocability::Immediate,
        }
        .into(),
        bound: lease.confirmation.is_some(),
        decision_id: lease.decision.to_string(),
        policies: lease.policies,
        policy_revision: lease.policy_revision.into(),
        key_generation: lease.key_generation.0,
        create_time: Some(timestamp(lease.created_at)),
        expire_time: Some(timestamp(lease.expires_at)),
        hard_stop_time: Some(timestamp(lease.hard_stop)),
        renewals: lease.renewal,
        cut_time: lease.cut.as_ref().map(|cut| timestamp(cut.at)),
        cut_by: lease.cut.map(|cut| cut.by).unwrap_or_default(),
        uses: lease.uses,
        max_uses: lease.max_uses.unwrap_or(0),
        recheck_time: lease.recheck_at.map(timestamp),
        approval_id: lease.approval.map(|id| id.to_string()).unwrap_or_default(),
    }
}

pub(crate) fn credential(credential: Credential) -> v1::Credential {
    let form = match credential {
        Credential::Certificate(certificates) => v1::credential::Form::Certificate(v1::CertificateChain {
            certificates: certificates.into_iter().map(Into::into).collect(),
        }),
        Credential::Token(token) => v1::credential::Form::Token(token.expose().clone()),
    };
    v1::Credential { form: Some(form) }
}

fn end(end: &End) -> v1::End {
    v1::End {
        reason: reason(end.reason).into(),
        time: Some(timestamp(end.at)),
        by: end.by.clone(),
        epoch: end.epoch.map_or(0, |epoch| epoch.0),
    }
}

pub(crate) fn reason(reason: EndReason) -> v1::EndReason {
    match reason {
        EndReason::Cancelled => v1::EndReason::Cancelled,
        EndReason::Completed => v1::EndReason::Completed,
        EndReason::Drifted => v1::EndReason::Drifted,
        EndReason::Expired => v1::EndReason::Expired,
        EndReason::Killed => v1::EndReason::Killed,
        EndReason::ParentEnded => v1::EndReason::ParentEnded,
        EndReason::Silent => v1::EndReason::Silent,
        EndReason::TimedOut => v1::EndReason::TimedOut,
    }
}
