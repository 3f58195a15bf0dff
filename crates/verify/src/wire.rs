//! The feed's messages, from protobuf to what the rest of this crate works with.
//!
//! Invariant: a message that is not understood in full is refused whole. A record that was passed over because its
//! subject is new to us would be a credential accepted after its end.

use crate::{denies::Record, keys::Keys};
use taskpass_proto::v1;
use taskpass_types::{
    AgentId, DenySubject, EndReason, Epoch, HistoryId, KeyGeneration, Owner, PolicyRevision, ResourceName,
    Timestamp, base32,
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
        })
    }
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

fn instant(time: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    let time = time?;
    let millis = u64::try_from(time.seconds).ok()?.checked_mul(1000)?;
    Some(Timestamp::from_millis(millis.checked_add(u64::try_from(time.nanos).ok()? / 1_000_000)?))
}
