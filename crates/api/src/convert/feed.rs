//! The deny feed's messages.

use super::{invalid, record::reason, timestamp};
use taskpass_broker::{FeedMessage, Resume, VerificationKeys};
use taskpass_proto::v1::{self, deny_record::Subject};
use taskpass_types::{DenyRecord, DenySubject, Epoch, HistoryId, Refusal, base32};

pub(crate) fn resume(request: &v1::WatchDeniesRequest) -> Result<Option<Resume>, Refusal> {
    if request.history_id.is_empty() {
        return Ok(None);
    }
    let history = base32::decode_128(&request.history_id)
        .ok_or_else(|| invalid("history_id", "it is not what a feed said"))?;
    Ok(Some(Resume { history: HistoryId(history.to_be_bytes()), epoch: Epoch(request.epoch) }))
}

pub(crate) fn feed_message(message: FeedMessage) -> v1::WatchDeniesResponse {
    v1::WatchDeniesResponse {
        history_id: message.history.to_string(),
        after_epoch: message.after.0,
        epoch: message.epoch.0,
        snapshot: message.snapshot,
        records: message.records.into_iter().map(record).collect(),
        send_time: Some(timestamp(message.sent_at)),
        keys: message.keys.map(keys),
        more: message.more,
    }
}

fn record(deny: DenyRecord) -> v1::DenyRecord {
    let subject = match deny.subject {
        DenySubject::Agent(agent) => Subject::Agent(agent.into()),
        DenySubject::KeyGeneration(generation) => Subject::KeyGeneration(generation.0),
        DenySubject::Lease(id) => Subject::LeaseId(id.to_string()),
        DenySubject::Owner(owner) => Subject::Owner(owner.into()),
        DenySubject::PolicyRevision(revision) => Subject::PolicyRevision(revision.into()),
        DenySubject::Resource(resource) => Subject::Resource(resource.into()),
        DenySubject::Task(id) => Subject::TaskId(id.to_string()),
        DenySubject::Tenant => Subject::Tenant(true),
    };
    v1::DenyRecord {
        epoch: deny.epoch.0,
        subject: Some(subject),
        reason: reason(deny.reason).into(),
        by: deny.by,
        time: Some(timestamp(deny.at)),
        until: Some(timestamp(deny.until)),
    }
}

fn keys(keys: VerificationKeys) -> v1::VerificationKeys {
    v1::VerificationKeys {
        issuer: keys.issuer,
        trust_domain: keys.trust_domain,
        jwks: keys.jwks,
        ca_certificates: keys.ca_certificates.into_iter().map(Into::into).collect(),
    }
}
