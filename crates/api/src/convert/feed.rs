//! The deny feed's messages, and what verifiers say back.

use super::{invalid, record::reason, timestamp};
use std::time::Duration;
use taskpass_broker::{
    Acknowledged, Enforcement, FeedMessage, Marker, Probed, Resume, Standing, VerificationKeys,
    VerifierStanding, WatchAsk,
};
use taskpass_proto::v1::{self, deny_record::Subject};
use taskpass_types::{DenyRecord, DenySubject, Epoch, HistoryId, Refusal, ResourceName, SessionId, base32};

/// Longer than that, whoever waits had better ask again.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// More than a verifier is asked at once is no answer.
const MOST_ANSWERS: usize = 64;

pub(crate) fn watch_ask(request: v1::WatchDeniesRequest) -> Result<WatchAsk, Refusal> {
    let audience = match request.audience.as_str() {
        "" => None,
        name => Some(ResourceName::new(name).map_err(|error| invalid("audience", error))?),
    };
    let max_stale = request.max_stale.map(|span| duration("max_stale", span)).transpose()?;
    let resume = match request.history_id.as_str() {
        "" => None,
        id => Some(Resume { history: history(id)?, epoch: Epoch(request.epoch) }),
    };
    Ok(WatchAsk { resume, audience, instance: request.instance, max_stale })
}

pub(crate) fn acknowledged(request: &v1::AcknowledgeDeniesRequest) -> Result<Acknowledged, Refusal> {
    Ok(Acknowledged {
        session: request.session_id.parse().map_err(|error| invalid("session_id", error))?,
        history: history(&request.history_id)?,
        epoch: Epoch(request.epoch),
    })
}

fn history(id: &str) -> Result<HistoryId, Refusal> {
    let history =
        base32::decode_128(id).ok_or_else(|| invalid("history_id", "it is not what a feed said"))?;
    Ok(HistoryId(history.to_be_bytes()))
}

/// How long a caller waits for verifiers, at most [`LONGEST_WAIT`]; `None`: it does not ask for them.
pub(crate) fn patience(wait: Option<prost_types::Duration>) -> Result<Option<Duration>, Refusal> {
    Ok(wait.map(|wait| duration("wait", wait)).transpose()?.map(|wait| wait.min(LONGEST_WAIT)))
}

/// Taken apart by hand, as [`super::ttl`] is; unlike that, it may be short and even nothing.
pub(super) fn duration(field: &'static str, span: prost_types::Duration) -> Result<Duration, Refusal> {
    let seconds = u64::try_from(span.seconds).ok();
    let nanos = u32::try_from(span.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    let both = seconds.zip(nanos).map(|(seconds, nanos)| Duration::new(seconds, nanos));
    both.ok_or_else(|| invalid(field, "it is negative or no span of time"))
}

pub(crate) fn enforcement(enforcement: Enforcement) -> v1::Enforcement {
    let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
    v1::Enforcement {
        epoch: enforcement.epoch.0,
        time: Some(timestamp(enforcement.at)),
        enforced: count(enforcement.enforced),
        verifiers: count(enforcement.all),
        accepted_until: enforcement.accepted_until.map(timestamp),
        standings: enforcement.verifiers.into_iter().map(standing).collect(),
        others_uncounted: enforcement.others_uncounted,
        probed: count(enforcement.probed.asked),
        probes_refused: count(enforcement.probed.refused),
    }
}

fn standing(verifier: VerifierStanding) -> v1::VerifierStanding {
    use v1::verifier_standing::State;
    let accepts_until = verifier.accepts_until().map(timestamp);
    let (state, after) = match verifier.standing {
        Standing::Enforces { after } => (State::Enforces, Some(after)),
        Standing::Offline { .. } => (State::Offline, None),
        Standing::Unproven { .. } => (State::Unproven, None),
        Standing::Waiting { .. } => (State::Waiting, None),
    };
    v1::VerifierStanding {
        name: verifier.name,
        audience: verifier.audience.map(String::from).unwrap_or_default(),
        state: state.into(),
        after: after.and_then(|after| prost_types::Duration::try_from(after).ok()),
        accepts_until,
    }
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
        session_id: message.session.map(|id| id.to_string()).unwrap_or_default(),
        probes: message.probes.into_iter().map(probe).collect(),
    }
}

fn probe(marker: Marker) -> v1::Probe {
    v1::Probe {
        lease_id: marker.lease.to_string(),
        task_path: marker.task_path.iter().map(|task| task.to_string()).collect(),
        agents: marker.agents.into_iter().map(String::from).collect(),
        owner: marker.owner.into(),
        resource: marker.resource.into(),
        policy_revision: marker.policy_revision.into(),
        key_generation: marker.key_generation.0,
        deny_epoch: marker.deny_epoch.0,
        expire_time: Some(timestamp(marker.expires_at)),
    }
}

/// What a verifier answers, and on which stream.
pub(crate) fn probed(request: v1::AnswerProbesRequest) -> Result<(SessionId, Vec<Probed>), Refusal> {
    let session = request.session_id.parse().map_err(|error| invalid("session_id", error))?;
    if request.answers.len() > MOST_ANSWERS {
        return Err(invalid("answers", format!("there are more than {MOST_ANSWERS}")));
    }
    let answer = |answer: v1::ProbeAnswer| {
        let lease = answer.lease_id.parse().map_err(|error| invalid("lease_id", error))?;
        Ok::<_, Refusal>(Probed { lease, refused: answer.refused })
    };
    Ok((session, request.answers.into_iter().map(answer).collect::<Result<_, _>>()?))
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
