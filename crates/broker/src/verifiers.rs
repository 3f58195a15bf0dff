//! Which verifiers follow the feed, and which epoch each of them says that it enforces: what a kill's receipt rests on.
//!
//! Invariants: nobody is counted as enforcing more than it was sent, and who claims it stays *unproven*; a verifier that went
//! away is remembered for as long as it may go on accepting, unless so many are that the longest gone has to make room; and each
//! tenant sees its own.

mod dead;
mod fleet;
mod standing;

pub use dead::Dead;
pub use standing::{Enforcement, Standing, VerifierStanding};

use crate::{Broker, Caller, ProbeCount, WatchAsk, probes::Probes};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use taskpass_types::{Epoch, HistoryId, Reason, Refusal, ResourceName, SessionId, TenantId, Timestamp};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

/// How many streams are open or remembered at most.
const MOST: usize = 16_384;
/// How long a verifier that did not say how long it accepts without hearing anything is remembered: the longest that a
/// credential may live.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How much of an instance's name counts.
const INSTANCE: usize = 128;
/// So long whoever waits lets acknowledgements gather.
const BREATH: Duration = Duration::from_millis(2);
/// How often whoever waits looks at what other brokers say.
const LOOK: Duration = Duration::from_millis(50);
/// How many verifiers a receipt lists; those that do not enforce come first.
const LISTED: usize = 256;

/// Who follows what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Follows {
    tenant: TenantId,
    name: String,
    audience: Option<ResourceName>,
    max_stale: Option<Duration>,
}

impl Follows {
    /// `registered` is the name that the caller is registered under.
    pub(crate) fn new(tenant: TenantId, registered: &str, ask: &WatchAsk) -> Self {
        let instance: String =
            ask.instance.chars().filter(|letter| !letter.is_control()).take(INSTANCE).collect();
        let name =
            if instance.is_empty() { registered.to_owned() } else { format!("{registered}/{instance}") };
        Self { tenant, name, audience: ask.audience.clone(), max_stale: ask.max_stale }
    }

    /// Whether `other` is the same verifier, come back.
    fn is_again(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    fn key(&self) -> (&TenantId, &str, Option<&ResourceName>) {
        (&self.tenant, &self.name, self.audience.as_ref())
    }
}

fn too_many(most: usize) -> Refusal {
    Refusal::new(Reason::QuotaExceeded, format!("{most} verifiers follow this broker, and no more can"))
        .fix("start another broker of the fleet, or let processes of one machine share a verifier")
}

/// All of them.
#[derive(Clone)]
pub(crate) struct Verifiers {
    most: usize,
    entries: Arc<Mutex<HashMap<SessionId, Entry>>>,
    /// Told at every acknowledgement.
    acknowledged: Arc<watch::Sender<u64>>,
    /// Those that follow other brokers of the fleet.
    others: Arc<Mutex<fleet::Others>>,
}

impl Default for Verifiers {
    fn default() -> Self {
        Self { most: MOST, entries: Arc::default(), acknowledged: Arc::default(), others: Arc::default() }
    }
}

pub(crate) struct Entry {
    follows: Follows,
    /// What it was sent on this stream.
    sent: Option<(HistoryId, Epoch)>,
    /// As of when the newest that it was ever sent was so, on an earlier stream too: what it held it still holds.
    heard: Option<Timestamp>,
    /// What it says that it enforces, and when it said so.
    enforces: Option<(Epoch, Timestamp)>,
    /// It claimed more than it was sent.
    pub(crate) lied: bool,
    gone: bool,
    pub(crate) probes: Probes,
    /// Wakes its stream when there is something to ask.
    pub(crate) wake: Arc<Notify>,
}

impl Entry {
    fn new(follows: Follows) -> Self {
        Self {
            follows,
            sent: None,
            heard: None,
            enforces: None,
            lied: false,
            gone: false,
            probes: Probes::default(),
            wake: Arc::new(Notify::new()),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.follows.name
    }

    /// Until when it may accept something of which it has not heard that it is dead.
    fn may_accept_until(&self, dead: &Dead) -> Timestamp {
        let heard = self.heard.map_or(dead.at, |heard| heard.min(dead.at));
        let alone = self.follows.max_stale.map_or(dead.until, |limit| heard.plus(limit));
        alone.min(dead.until)
    }

    fn is_forgotten(&self, now: Timestamp) -> bool {
        let heard = self.heard.unwrap_or_default();
        self.gone && heard.plus(self.follows.max_stale.unwrap_or(LONGEST)) < now
    }

    fn is_concerned(&self, tenant: &TenantId, dead: &Dead, now: Timestamp) -> bool {
        let guards = self.follows.audience.as_ref();
        self.follows.tenant == *tenant
            && !self.is_forgotten(now)
            && guards.is_none_or(|audience| dead.concerns(audience))
    }

    fn standing_of(&self, dead: &Dead) -> Standing {
        let accepts_until = self.may_accept_until(dead);
        match self.enforces {
            _ if self.lied => Standing::Unproven { accepts_until },
            Some((epoch, since)) if epoch >= dead.epoch => Standing::Enforces { after: since.since(dead.at) },
            _ if self.gone => Standing::Offline { accepts_until },
            _ => Standing::Waiting { accepts_until },
        }
    }

    fn standing(&self, dead: &Dead) -> VerifierStanding {
        VerifierStanding {
            name: self.follows.name.clone(),
            audience: self.follows.audience.clone(),
            standing: self.standing_of(dead),
        }
    }
}

/// One open stream; dropping it means that the verifier is gone.
pub(crate) struct Session {
    id: SessionId,
    verifiers: Verifiers,
    wake: Arc<Notify>,
}

impl Session {
    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    /// Until there is something to ask.
    pub(crate) async fn asked(&self) {
        self.wake.notified().await;
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.verifiers.entries.lock().get_mut(&self.id).map(look)
    }

    /// It is about to be sent all up to `epoch`, as it was at `as_of`.
    pub(crate) fn sends(&self, history: HistoryId, epoch: Epoch, as_of: Timestamp) {
        if let Some(entry) = self.verifiers.entries.lock().get_mut(&self.id) {
            if entry.sent.is_some_and(|(before, _)| before != history) {
                entry.enforces = None;
            }
            entry.sent = Some((history, epoch));
            entry.heard = entry.heard.max(Some(as_of));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut entries = self.verifiers.entries.lock();
        if let Some(entry) = entries.get_mut(&self.id) {
            entry.gone = true;
        }
        metrics::gauge!("taskpass_verifiers").set(count(&entries));
        drop(entries);
        self.verifiers.tell();
    }
}

impl Verifiers {
    /// # Errors
    /// `QUOTA_EXCEEDED`.
    pub(crate) fn open(&self, follows: Follows, now: Timestamp) -> Result<Session, Refusal> {
        let mut entries = self.entries.lock();
        // Who comes back takes its old place.
        let mut heard = None;
        entries.retain(|_, entry| {
            let again = entry.gone && entry.follows.is_again(&follows);
            heard = heard.max(entry.heard.filter(|_| again));
            !again && !entry.is_forgotten(now)
        });
        // One that keeps coming under new names must not shut the others out: the longest gone makes room.
        while entries.len() >= self.most {
            let gone = entries.iter().filter(|(_, entry)| entry.gone);
            let oldest = gone.min_by_key(|(_, entry)| entry.heard).map(|(id, _)| *id);
            let Some(oldest) = oldest else { return Err(too_many(self.most)) };
            entries.remove(&oldest);
        }
        let id = SessionId::new();
        let entry = Entry { heard, ..Entry::new(follows) };
        let wake = Arc::clone(&entry.wake);
        entries.insert(id, entry);
        metrics::gauge!("taskpass_verifiers").set(count(&entries));
        Ok(Session { id, verifiers: self.clone(), wake })
    }

    fn acknowledge(&self, said: Acknowledged, now: Timestamp) -> Result<(), Refusal> {
        let unknown = || {
            Refusal::new(Reason::FieldInvalid, "there is no such stream of the deny feed, or it has ended")
                .fix("acknowledge under the id that the first message of an open stream gave")
                .with("field", "session_id")
        };
        {
            let mut entries = self.entries.lock();
            let entry = entries.get_mut(&said.session).filter(|entry| !entry.gone).ok_or_else(unknown)?;
            let (history, sent) = entry.sent.ok_or_else(unknown)?;
            if said.history != history || said.epoch > sent {
                entry.lied = true;
                return Err(Refusal::new(
                    Reason::FieldInvalid,
                    format!("epoch {} was not sent on this stream, which reaches {sent}", said.epoch),
                )
                .fix("acknowledge what the messages said, after it is enforced")
                .with("field", "epoch"));
            }
            if entry.enforces.is_none_or(|(before, _)| before < said.epoch) {
                entry.enforces = Some((said.epoch, now));
            }
        }
        self.tell();
        Ok(())
    }

    /// Whoever waits for what verifiers say looks again.
    pub(crate) fn tell(&self) {
        self.acknowledged.send_modify(|number| *number += 1);
    }

    pub(crate) fn told(&self) -> watch::Receiver<u64> {
        self.acknowledged.subscribe()
    }

    /// One open stream.
    pub(crate) fn entry<T>(&self, session: SessionId, look: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut entries = self.entries.lock();
        entries.get_mut(&session).filter(|entry| !entry.gone).map(look)
    }

    /// Every open stream that an end concerns.
    pub(crate) fn concerned(&self, tenant: &TenantId, dead: &Dead, mut look: impl FnMut(&mut Entry)) {
        for entry in self.entries.lock().values_mut().filter(|entry| !entry.gone) {
            let guards = entry.follows.audience.as_ref();
            if entry.follows.tenant == *tenant && guards.is_none_or(|audience| dead.concerns(audience)) {
                look(entry);
            }
        }
    }

    /// How long an end took until the last of those whom it concerns enforced it.
    fn slowest(&self, tenant: &TenantId, dead: &Dead, now: Timestamp) -> Slowest {
        let entries = self.entries.lock();
        let mut slowest = Slowest::Nobody;
        for entry in entries.values().filter(|entry| entry.is_concerned(tenant, dead, now)) {
            match (entry.standing_of(dead), slowest) {
                (Standing::Enforces { after }, Slowest::After(longest)) => {
                    slowest = Slowest::After(longest.max(after));
                }
                (Standing::Enforces { after }, _) => slowest = Slowest::After(after),
                _ => return Slowest::Unknown,
            }
        }
        slowest
    }

    /// `fleet`: more may follow other brokers.
    fn enforcement(&self, tenant: &TenantId, dead: &Dead, fleet: bool, now: Timestamp) -> Enforcement {
        let (entries, others) = (self.entries.lock(), self.others.lock());
        let all = || entries.values().chain(others.entries());
        // Who came back to another broker is not gone.
        let here: HashSet<_> = all().filter(|entry| !entry.gone).map(|entry| entry.follows.key()).collect();
        let concerned = all().filter(|entry| {
            entry.is_concerned(tenant, dead, now) && !(entry.gone && here.contains(&entry.follows.key()))
        });
        let mut verifiers: Vec<_> = concerned.map(|entry| entry.standing(dead)).collect();
        let others_uncounted = fleet && !others.is_complete();
        drop(here);
        drop((entries, others));
        let enforced = verifiers.iter().filter(|verifier| verifier.enforces()).count();
        let accepted_until = verifiers.iter().filter_map(VerifierStanding::accepts_until).max();
        let all = verifiers.len();
        verifiers.sort_by(|one, two| {
            (one.enforces(), &one.name, &one.audience).cmp(&(two.enforces(), &two.name, &two.audience))
        });
        verifiers.truncate(LISTED);
        Enforcement {
            epoch: dead.epoch,
            at: dead.at,
            enforced,
            all,
            accepted_until,
            verifiers,
            others_uncounted,
            probed: ProbeCount::default(),
        }
    }
}

fn count(entries: &HashMap<SessionId, Entry>) -> f64 {
    u32::try_from(entries.values().filter(|entry| !entry.gone).count()).map_or(f64::MAX, f64::from)
}

/// What a verifier says.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    /// On which stream.
    pub session: SessionId,
    /// In which history it counts.
    pub history: HistoryId,
    /// Up to which record it enforces everything.
    pub epoch: Epoch,
}

/// How long an end took to be enforced everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slowest {
    /// So long.
    After(Duration),
    /// It concerns nobody.
    Nobody,
    /// It is not, yet.
    Unknown,
}

impl Broker {
    /// A verifier enforces what it was sent.
    ///
    /// # Errors
    /// `NOT_PERMITTED`; `FIELD_INVALID` for a stream that is not there, or more than it was sent.
    pub fn acknowledge_denies(&self, caller: &Caller, said: Acknowledged) -> Result<(), Refusal> {
        caller.require(&[crate::Role::Verifier, crate::Role::Operator])?;
        self.0.verifiers.acknowledge(said, self.now())
    }

    /// Who enforces an end: as soon as everybody does and has said so when asked, at the latest after `wait`.
    pub async fn enforcement(&self, tenant: &TenantId, dead: &Dead, wait: Duration) -> Enforcement {
        if let Some(marker) = &dead.marker {
            self.ask_verifiers(tenant, dead, marker);
        }
        let mut acknowledged = self.0.verifiers.told();
        self.read_followers().await;
        let everybody = async {
            while !self.enforcement_now(tenant, dead).is_settled() {
                // Others say what theirs enforce through the store, which tells nobody.
                let news = timeout(LOOK, acknowledged.changed()).await;
                if matches!(news, Ok(Err(_))) {
                    return;
                }
                // A thousand acknowledgements are not looked at one by one.
                sleep(BREATH).await;
                self.read_followers().await;
            }
        };
        // Whether everybody did, or the time ran out, the last look tells.
        drop(timeout(wait, everybody).await);
        self.enforcement_now(tenant, dead)
    }

    pub(crate) fn slowest(&self, tenant: &TenantId, dead: &Dead) -> Slowest {
        self.0.verifiers.slowest(tenant, dead, self.now())
    }

    /// Changes whenever a verifier says something.
    pub(crate) fn verifiers_told(&self) -> watch::Receiver<u64> {
        self.0.verifiers.told()
    }

    pub(crate) fn enforcement_now(&self, tenant: &TenantId, dead: &Dead) -> Enforcement {
        let known = self.0.verifiers.enforcement(tenant, dead, self.parts().settings.fleet, self.now());
        let probed = dead.marker.as_ref().map(|marker| self.probed(tenant, dead, marker.lease));
        Enforcement { probed: probed.unwrap_or_default(), ..known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_gone_makes_room_and_who_is_here_does_not() {
        let now = Timestamp::from_secs(9);
        let follows = |instance: &str| {
            let ask = WatchAsk { instance: instance.to_owned(), ..WatchAsk::default() };
            Follows::new(TenantId::default(), "billing-api", &ask)
        };
        let verifiers = Verifiers { most: 3, ..Verifiers::default() };
        let kept = verifiers.open(follows("kept"), now).unwrap();
        // Under ever new names.
        for number in 0..20 {
            drop(verifiers.open(follows(&format!("new-{number}")), now).unwrap());
        }
        let _others =
            [verifiers.open(follows("a"), now).unwrap(), verifiers.open(follows("b"), now).unwrap()];
        let refusal = verifiers.open(follows("c"), now).err().unwrap();
        assert_eq!(refusal.reason(), Reason::QuotaExceeded);
        assert!(verifiers.entries.lock().contains_key(&kept.id()));
    }
}
