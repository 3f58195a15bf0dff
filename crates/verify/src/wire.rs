//! The feed's messages, from protobuf to what the rest of this crate works with.
//!
//! Invariant: a message that is not understood in full is refused whole. A record that was passed over because its
//! subject is new to us would be a credential accepted after its end.

use crate::{denies::Record, keys::Keys};
use taskpass_proto::v1;
use taskpass_types::{
    AgentId, DecisionId, DenySubject, EndReason, Epoch, Grant, HistoryId, KeyGeneration, Owner,
    PolicyRevision, ResourceName, SpiffeId, TaskId, TaskPath, TenantId, Timestamp, base32,
};

/// One message of the feed.
#[derive(Clone, Debug)]
pub struct Message {
    /// Which life of the store its epochs count in.
    pub history: HistoryId,
    /// What it starts after; without a meaning in a snapshot.
    pub after: Epoch,
    /// What it reaches.
    pub epoch: Epoch,
    /// It replaces everything.
    pub snapshot: bool,
    /// In the order of their epochs.
    pub records: Vec<Record>,
    /// The broker's clock when it was sent.
    pub sent_at: Timestamp,
    /// What credentials are checked against, when that is new.
    pub keys: Option<Keys>,
    /// The rest follows at once.
    pub more: bool,
    /// What to acknowledge under, in the first message; a broker that takes no acknowledgements gives none.
    pub session: Option<String>,
    /// What the broker asks about: would it be refused?
    pub probes: Vec<Grant>,
}

/// A message that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of the deny feed is not understood: {0}")]
pub struct Malformed(pub(crate) String);

fn malformed(what: impl Into<String>) -> Malformed {
    Malformed(what.into())
}

impl TryFrom<v1::WatchDeniesResponse> for Message {
    type Error = Malformed;

    fn try_from(message: v1::WatchDeniesResponse) -> Result<Self, Malformed> {
        let history = base32::decode_128(&message.history_id).ok_or_else(|| malformed("its history id"))?;
        Ok(Self {
            history: HistoryId(history.to_be_bytes()),
            after: Epoch(message.after_epoch),
            epoch: Epoch(message.epoch),
            snapshot: message.snapshot,
            records: message.records.into_iter().map(record).collect::<Result<_, _>>()?,
            sent_at: instant(message.send_time).ok_or_else(|| malformed("its time"))?,
            keys: message.keys.map(|keys| Keys::parse(&keys)).transpose()?,
            more: message.more,
            session: Some(message.session_id).filter(|id| !id.is_empty()),
            probes: message.probes.into_iter().map(probe).collect::<Result<_, _>>()?,
        })
    }
}

/// As much of a grant as a deny record could name; the rest of it never was.
fn probe(probe: v1::Probe) -> Result<Grant, Malformed> {
    let bad = |error: &dyn std::fmt::Display| malformed(format!("a question: {error}"));
    let path = probe.task_path.iter().map(|task| task.parse()).collect::<Result<Vec<TaskId>, _>>();
    let agents = probe.agents.into_iter().map(AgentId::new).collect::<Result<_, _>>();
    Ok(Grant {
        tenant: TenantId::default(),
        lease: probe.lease_id.parse().map_err(|error| bad(&error))?,
        renewal: 0,
        task_path: TaskPath::try_from(path.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?,
        agents: agents.map_err(|error| bad(&error))?,
        owner: Owner::new(probe.owner).map_err(|error| bad(&error))?,
        subject: SpiffeId::new("spiffe://probe.invalid/probe").map_err(|error| bad(&error))?,
        resource: ResourceName::new(probe.resource).map_err(|error| bad(&error))?,
        actions: Vec::new(),
        decision: DecisionId::from_bytes([0; 16]),
        policy_revision: PolicyRevision::new(probe.policy_revision).map_err(|error| bad(&error))?,
        key_generation: KeyGeneration(probe.key_generation),
        deny_epoch: Epoch(probe.deny_epoch),
        confirmation: None,
        status: None,
        issued_at: Timestamp::default(),
        // Whoever does not say when, asks about one that has not.
        expires_at: instant(probe.expire_time).unwrap_or(Timestamp::from_millis(u64::MAX)),
    })
}

fn record(record: v1::DenyRecord) -> Result<Record, Malformed> {
    Ok(Record {
        epoch: Epoch(record.epoch),
        reason: reason(record.reason()),
        until: instant(record.until).ok_or_else(|| malformed("a record's until"))?,
        subject: subject(record.subject)?,
    })
}

fn subject(subject: Option<v1::deny_record::Subject>) -> Result<DenySubject, Malformed> {
    use v1::deny_record::Subject;
    let bad = |error: &dyn std::fmt::Display| malformed(format!("a record's subject: {error}"));
    Ok(match subject.ok_or_else(|| malformed("a record's subject is of an unknown kind"))? {
        Subject::Agent(name) => DenySubject::Agent(AgentId::new(name).map_err(|error| bad(&error))?),
        Subject::KeyGeneration(number) => DenySubject::KeyGeneration(KeyGeneration(number)),
        Subject::LeaseId(id) => DenySubject::Lease(id.parse().map_err(|error| bad(&error))?),
        Subject::Owner(name) => DenySubject::Owner(Owner::new(name).map_err(|error| bad(&error))?),
        Subject::PolicyRevision(name) => {
            DenySubject::PolicyRevision(PolicyRevision::new(name).map_err(|error| bad(&error))?)
        }
        Subject::Resource(name) => {
            DenySubject::Resource(ResourceName::new(name).map_err(|error| bad(&error))?)
        }
        Subject::TaskId(id) => DenySubject::Task(id.parse().map_err(|error| bad(&error))?),
        Subject::Tenant(true) => DenySubject::Tenant,
        Subject::Tenant(false) => return Err(malformed("a record about no tenant")),
    })
}

fn reason(reason: v1::EndReason) -> Option<EndReason> {
    Some(match reason {
        v1::EndReason::Cancelled => EndReason::Cancelled,
        v1::EndReason::Completed => EndReason::Completed,
        v1::EndReason::Drifted => EndReason::Drifted,
        v1::EndReason::Expired => EndReason::Expired,
        v1::EndReason::Killed => EndReason::Killed,
        v1::EndReason::ParentEnded => EndReason::ParentEnded,
        v1::EndReason::Silent => EndReason::Silent,
        v1::EndReason::TimedOut => EndReason::TimedOut,
        v1::EndReason::Unspecified => return None,
    })
}

impl From<&Record> for v1::DenyRecord {
    /// For the cache: less what a verifier has no use for.
    fn from(record: &Record) -> Self {
        use v1::deny_record::Subject;
        let subject = match &record.subject {
            DenySubject::Agent(id) => Subject::Agent(id.to_string()),
            DenySubject::KeyGeneration(number) => Subject::KeyGeneration(number.0),
            DenySubject::Lease(id) => Subject::LeaseId(id.to_string()),
            DenySubject::Owner(id) => Subject::Owner(id.to_string()),
            DenySubject::PolicyRevision(id) => Subject::PolicyRevision(id.to_string()),
            DenySubject::Resource(id) => Subject::Resource(id.to_string()),
            DenySubject::Task(id) => Subject::TaskId(id.to_string()),
            DenySubject::Tenant => Subject::Tenant(true),
        };
        Self {
            epoch: record.epoch.0,
            subject: Some(subject),
            reason: record.reason.map_or(v1::EndReason::Unspecified, known).into(),
            until: Some(prost_types::Timestamp {
                seconds: i64::try_from(record.until.as_secs()).unwrap_or(i64::MAX),
                nanos: 0,
            }),
            ..Self::default()
        }
    }
}

fn known(reason: EndReason) -> v1::EndReason {
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

fn instant(time: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    let time = time?;
    let millis = u64::try_from(time.seconds).ok()?.checked_mul(1000)?;
    Some(Timestamp::from_millis(millis.checked_add(u64::try_from(time.nanos).ok()? / 1_000_000)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_in_a_cache_comes_back() {
        let subjects = [
            DenySubject::Agent("ci/bot".parse().unwrap()),
            DenySubject::KeyGeneration(KeyGeneration(7)),
            DenySubject::Lease(taskpass_types::LeaseId::new()),
            DenySubject::Owner("maya@acme.test".parse().unwrap()),
            DenySubject::PolicyRevision("a1b2".parse().unwrap()),
            DenySubject::Resource("billing-api".parse().unwrap()),
            DenySubject::Task(TaskId::new()),
            DenySubject::Tenant,
        ];
        for (subject, reason) in subjects.into_iter().zip(EndReason::ALL) {
            let until = Timestamp::from_secs(1_790_000_000);
            let kept = Record { epoch: Epoch(9), subject, reason: Some(reason), until };
            assert_eq!(record((&kept).into()), Ok(kept));
        }
    }
}
