//! Ends and holds that are wider than a task: an agent, an owner, a resource, the whole tenant, each by one write.
//!
//! Invariants: a lease is under such an end if it was planned before it, by the numbers of deny records and not by anybody's
//! clock; nothing is started, issued, renewed or called under a hold until that is released or its time is over; releasing a
//! hold brings nothing back that an end took away, nor does forgetting an end, also if a clock goes back afterwards.

use crate::{
    Effects, End, Lease, LeaseState, Limits, Outcome, Task, View,
    step::{VERIFIER_LEEWAY, bounded, lease_ended},
};
use serde::{Deserialize, Serialize};
use std::fmt;
use taskpass_types::{
    AgentId, CredentialKind, DenyRecord, DenySubject, EndReason, Epoch, Owner, Reason, Refusal, ResourceName,
    TenantId, Timestamp,
};

/// How many subjects may be barred at once. The tenant always can be, which holds them all.
const MAX_BARS: usize = 256;

/// Something wider than a task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Wide {
    /// Whatever has this agent in its path.
    Agent(AgentId),
    /// Whatever this person answers for.
    Owner(Owner),
    /// Whatever is for this resource.
    Resource(ResourceName),
    /// Everything.
    Tenant,
}

impl Wide {
    /// As a deny record names it.
    pub fn subject(&self) -> DenySubject {
        match self.clone() {
            Self::Agent(agent) => DenySubject::Agent(agent),
            Self::Owner(owner) => DenySubject::Owner(owner),
            Self::Resource(resource) => DenySubject::Resource(resource),
            Self::Tenant => DenySubject::Tenant,
        }
    }

    /// `None` for what is not wider than a task, and for what cannot be barred.
    pub fn of(subject: &DenySubject) -> Option<Self> {
        match subject.clone() {
            DenySubject::Agent(agent) => Some(Self::Agent(agent)),
            DenySubject::Owner(owner) => Some(Self::Owner(owner)),
            DenySubject::Resource(resource) => Some(Self::Resource(resource)),
            DenySubject::Tenant => Some(Self::Tenant),
            DenySubject::KeyGeneration(_)
            | DenySubject::Lease(_)
            | DenySubject::PolicyRevision(_)
            | DenySubject::Task(_) => None,
        }
    }

    /// Whether it is about somebody's work on something.
    fn covers(&self, who: &Who<'_>) -> bool {
        match self {
            Self::Agent(agent) => who.agents.contains(agent),
            Self::Owner(owner) => who.owner == owner,
            Self::Resource(resource) => who.resource == Some(resource),
            Self::Tenant => true,
        }
    }

    /// Whether a lease is under it, whenever it was planned.
    pub fn includes(&self, lease: &Lease) -> bool {
        self.covers(&Who::of(lease))
    }
}

impl fmt::Display for Wide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(agent) => write!(f, "agent `{agent}`"),
            Self::Owner(owner) => write!(f, "owner `{owner}`"),
            Self::Resource(resource) => write!(f, "resource `{resource}`"),
            Self::Tenant => f.write_str("the whole tenant"),
        }
    }
}

/// Whose work, and on what.
pub(crate) struct Who<'a> {
    pub(crate) agents: &'a [AgentId],
    pub(crate) owner: &'a Owner,
    /// `None`: on nothing yet.
    pub(crate) resource: Option<&'a ResourceName>,
}

impl<'a> Who<'a> {
    pub(crate) fn at(task: &'a Task, resource: &'a ResourceName) -> Self {
        Self { agents: &task.agents, owner: &task.owner, resource: Some(resource) }
    }

    fn of(lease: &'a Lease) -> Self {
        Self { agents: &lease.agents, owner: &lease.owner, resource: Some(&lease.resource) }
    }
}

/// End, hold or both what is wider than a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BarWide {
    /// The tenant.
    pub tenant: TenantId,
    /// What.
    pub wide: Wide,
    /// End all that there is of it.
    pub end: bool,
    /// Refuse whatever comes of it.
    pub hold: Option<HeldFor>,
    /// Who, in words.
    pub by: String,
}

/// How long something is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeldFor {
    /// Until somebody releases it.
    Good,
    /// Until then, unless somebody releases it sooner.
    Until(Timestamp),
}

/// Let what is held go on.
#[derive(Clone, Debug)]
pub struct ReleaseWide {
    /// The tenant.
    pub tenant: TenantId,
    /// What.
    pub wide: Wide,
}

/// Why something wide is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WideHold {
    /// Since when.
    pub at: Timestamp,
    /// By whom, in words.
    pub by: String,
    /// How long.
    pub held: HeldFor,
}

impl WideHold {
    fn is_over(&self, now: Timestamp) -> bool {
        matches!(self.held, HeldFor::Until(until) if until <= now)
    }
}

/// One subject that is ended, held or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bar {
    /// What.
    pub wide: Wide,
    /// Its newest end, and when the last credential under that has expired.
    pub end: Option<(End, Timestamp)>,
    /// Its hold.
    pub hold: Option<WideHold>,
}

/// All that is barred in a tenant, in the order of subjects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bars {
    bars: Vec<Bar>,
    /// The number of the newest end that is forgotten. Whatever was planned before it, and not renewed since, has expired.
    forgotten: Epoch,
}

impl Bars {
    /// Each.
    pub fn iter(&self) -> impl Iterator<Item = &Bar> {
        self.bars.iter()
    }

    /// What is held at `now`.
    pub fn held(&self, now: Timestamp) -> impl Iterator<Item = (&Wide, &WideHold)> {
        let hold = self.bars.iter().filter_map(|bar| Some((&bar.wide, bar.hold.as_ref()?)));
        hold.filter(move |(_, hold)| !hold.is_over(now))
    }

    /// The number of the newest end; what is planned from now on is under none of them.
    pub(crate) fn newest(&self) -> Epoch {
        self.ends().filter_map(|end| end.epoch).fold(self.forgotten, Epoch::max)
    }

    /// The end that a lease is under, which its own record need not say.
    pub fn end_of(&self, lease: &Lease) -> Option<End> {
        let who = Who::of(lease);
        let above = self.bars.iter().filter(|bar| bar.wide.covers(&who));
        let ends = above.filter_map(|bar| bar.end.as_ref()).map(|(end, _)| end);
        let later = ends.filter(|end| end.epoch.is_some_and(|epoch| epoch > lease.deny_epoch));
        let expired = || End {
            reason: EndReason::Expired,
            at: lease.last_expiry,
            by: "broker/deadlines".to_owned(),
            epoch: None,
        };
        let first = later.min_by_key(|end| end.epoch).cloned();
        first.or_else(|| (lease.deny_epoch < self.forgotten).then(expired))
    }

    fn ends(&self) -> impl Iterator<Item = &End> {
        self.bars.iter().filter_map(|bar| bar.end.as_ref()).map(|(end, _)| end)
    }

    /// A lease as it is, with the end that it is under.
    pub fn mark(&self, mut lease: Lease) -> Lease {
        if lease.end().is_none()
            && let Some(end) = self.end_of(&lease)
        {
            lease.state = LeaseState::Ended(end);
        }
        lease
    }

    /// That nothing of it is held.
    pub(crate) fn let_pass(&self, who: &Who<'_>, now: Timestamp) -> Result<(), Refusal> {
        match self.held(now).find(|(wide, _)| wide.covers(who)) {
            None => Ok(()),
            Some((wide, hold)) => Err(held(wide, hold)),
        }
    }

    /// That a lease is under no end.
    pub(crate) fn let_live(&self, lease: &Lease) -> Result<(), Refusal> {
        self.end_of(lease).map_or(Ok(()), |end| Err(lease_ended(lease, end.reason)))
    }

    fn forget(&mut self, now: Timestamp) {
        for bar in &mut self.bars {
            let over = bar.end.take_if(|(_, until)| *until <= now).and_then(|(end, _)| end.epoch);
            self.forgotten = over.into_iter().fold(self.forgotten, Epoch::max);
            bar.hold.take_if(|hold| hold.is_over(now));
        }
        self.bars.retain(|bar| bar.end.is_some() || bar.hold.is_some());
    }

    /// # Errors
    /// `QUOTA_EXCEEDED`.
    fn of(&mut self, wide: &Wide) -> Result<&mut Bar, Refusal> {
        let at = match self.bars.binary_search_by(|bar| bar.wide.cmp(wide)) {
            Ok(at) => at,
            Err(_) if self.bars.len() >= MAX_BARS && *wide != Wide::Tenant => return Err(too_many()),
            Err(at) => {
                self.bars.insert(at, Bar { wide: wide.clone(), end: None, hold: None });
                at
            }
        };
        self.bars.get_mut(at).ok_or_else(too_many)
    }
}

fn too_many() -> Refusal {
    Refusal::new(
        Reason::QuotaExceeded,
        format!("{MAX_BARS} agents, owners and resources are held or were killed lately, and no more can be"),
    )
    .fix("release some of them, or hold the whole tenant: taskpass lease kill --all")
}

fn held(wide: &Wide, hold: &WideHold) -> Refusal {
    let until = match hold.held {
        HeldFor::Good => String::new(),
        HeldFor::Until(until) => format!(" until {until}"),
    };
    Refusal::new(Reason::HeldAfterKill, format!("{wide} is held by {}{until}", hold.by))
        .fix("an operator can lift the hold: see `taskpass hold list`")
        .with("held_at", hold.at)
}

/// No credential outlives the longest that there may be, so neither does the record of an end.
pub(crate) fn last_expiry(limits: &Limits, now: Timestamp) -> Timestamp {
    let longest = limits.max_ttl(CredentialKind::Jwt).max(limits.max_ttl(CredentialKind::X509));
    now.plus(longest).plus(VERIFIER_LEEWAY)
}

pub(crate) fn bar_wide(
    view: View,
    bar: &BarWide,
    limits: &Limits,
    now: Timestamp,
) -> Result<Effects, Refusal> {
    let mut bars = view.bars;
    bars.forget(now);
    let barred = bars.of(&bar.wide)?;
    // The same once more, from a journal.
    if let Some((end, _)) =
        barred.end.as_ref().filter(|(end, _)| bar.end && end.at == now && end.by == bounded(&bar.by))
    {
        return Ok(Effects { outcome: Outcome::AlreadyEnded(end.clone()), ..Effects::default() });
    }
    let deny = bar.end.then(|| DenyRecord {
        tenant: bar.tenant.clone(),
        epoch: view.epoch.next(),
        subject: bar.wide.subject(),
        reason: EndReason::Killed,
        by: bounded(&bar.by),
        at: now,
        until: last_expiry(limits, now),
        audiences: match &bar.wide {
            Wide::Resource(resource) => vec![resource.clone()],
            Wide::Agent(_) | Wide::Owner(_) | Wide::Tenant => Vec::new(),
        },
    });
    if let Some(deny) = &deny {
        let (reason, at, by) = (deny.reason, deny.at, deny.by.clone());
        barred.end = Some((End { reason, at, by, epoch: Some(deny.epoch) }, deny.until));
    }
    if let Some(held) = bar.hold {
        barred.hold = Some(WideHold { at: now, by: bounded(&bar.by), held });
    }
    let outcome = Outcome::Barred(Box::new(barred.clone()));
    Ok(Effects { bars: Some((bar.tenant.clone(), bars)), deny, outcome, ..Effects::default() })
}

pub(crate) fn release_wide(view: View, release: &ReleaseWide, now: Timestamp) -> Effects {
    let mut bars = view.bars;
    bars.forget(now);
    let hold = bars.bars.iter_mut().find(|bar| bar.wide == release.wide).and_then(|bar| bar.hold.take());
    if hold.is_none() {
        return Effects::default();
    }
    bars.forget(now);
    Effects { bars: Some((release.tenant.clone(), bars)), outcome: Outcome::Released, ..Effects::default() }
}
