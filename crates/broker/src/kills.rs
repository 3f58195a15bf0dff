//! Ending many leases at once: what is meant, seeing it first, and doing exactly that.
//!
//! Invariants: a kill of everything that an agent, an owner, a resource or the tenant has is one write, whatever the number of
//! leases; a planned kill ends nothing that was not in the plan; a large one says the tenant's name; holding comes before
//! ending, so that nothing slips in between; and nothing here waits for the audit log.

use crate::{Broker, Caller, Dead, Role, tasks::unexpected};
use futures::{StreamExt as _, stream};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use taskpass_audit::{Action, Actor, Event};
use taskpass_lease::{
    Bar, BarWide, End, EndLease, Event as Change, HeldFor, Lease, Outcome, ReleaseWide, Wide, WideHold,
};
use taskpass_types::{
    AgentId, EndReason, LeaseId, Owner, PlanId, Reason, Refusal, ResourceName, TaskId, Timestamp,
};

mod select;

/// How many leases an answer shows.
const SHOWN: usize = 256;
/// A kill of more than this says the tenant's name.
const LARGE: usize = 50;
/// How many ends are written side by side; they share commits.
const ABREAST: usize = 64;
/// How many plans are kept; the oldest goes first.
const KEPT: usize = 8;
/// How long a plan is good for.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// The longest quarantine.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// Which live leases: those that match all of what is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KillSelector {
    /// Held by this agent, or handed on by it.
    pub agent: Option<AgentId>,
    /// Whom this person answers for.
    pub owner: Option<Owner>,
    /// For this resource.
    pub resource: Option<ResourceName>,
    /// Directly under this task.
    pub task: Option<TaskId>,
    /// Under this task or any below it.
    pub tree: Option<TaskId>,
    /// Allowed by this policy.
    pub policy: Option<String>,
    /// First issued at least so long ago.
    pub older_than: Option<Duration>,
    /// Whose task has these labels.
    pub labels: BTreeMap<String, String>,
    /// All of the tenant.
    pub all: bool,
}

/// What to kill.
#[derive(Clone, Debug)]
pub enum KillWhat {
    /// Exactly what a plan showed.
    Planned(PlanId),
    /// What is there now.
    Selected(KillSelector),
}

/// What a kill leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterKill {
    /// The same agent, task and resource are refused until released; after a wide kill whatever comes of it.
    Hold,
    /// Agents may ask again at once.
    Reissue,
    /// Whole agents are refused for a time; after a wide kill whatever comes of it.
    Quarantine(Duration),
}

/// A kill as it is asked for.
#[derive(Clone, Debug)]
pub struct KillAsk {
    /// What.
    pub what: KillWhat,
    /// Not if more than this match by now.
    pub expect: Option<usize>,
    /// The tenant's name, if it is large.
    pub confirm: String,
    /// Why, for the audit log.
    pub why: String,
    /// What it leaves behind.
    pub after: AfterKill,
}

/// A lease that is meant, and who holds it.
type Target = (LeaseId, Option<AgentId>);

fn target(lease: &Lease) -> Target {
    (lease.id, lease.agent().cloned())
}

/// A kill that was looked at.
#[derive(Clone, Debug)]
pub struct KillPlan {
    /// Its id.
    pub id: PlanId,
    /// Until when it can be carried out.
    pub expires_at: Timestamp,
    /// The leases, newest first, and who holds each.
    pub leases: Arc<Vec<(LeaseId, Option<AgentId>)>>,
    /// The first of them.
    pub shown: Vec<Lease>,
    /// If one write ends them all.
    pub wide: Option<Wide>,
    /// Whether it has to say the tenant's name.
    pub needs_confirm: bool,
    selector: KillSelector,
}

/// What a kill did.
#[derive(Debug)]
pub struct Killed {
    /// How many leases it ended.
    pub count: usize,
    /// How many had ended meanwhile.
    pub ended_before: usize,
    /// The first of those that it ended, with their end.
    pub leases: Vec<Lease>,
    /// If one write ended them all.
    pub wide: Option<Wide>,
    /// Until when a quarantine lasts.
    pub held_until: Option<Timestamp>,
    /// What verifiers have to enforce; `None`: nothing new.
    pub dead: Option<Dead>,
    /// Those that could not be ended.
    pub failures: Vec<(LeaseId, Refusal)>,
}

/// The plans that were made lately.
#[derive(Default)]
pub(crate) struct KillPlans(Mutex<VecDeque<KillPlan>>);

impl KillPlans {
    fn keep(&self, plan: KillPlan) {
        let mut plans = self.0.lock();
        while plans.len() >= KEPT {
            plans.pop_front();
        }
        plans.push_back(plan);
    }

    fn find(&self, id: PlanId, now: Timestamp) -> Result<KillPlan, Refusal> {
        let mut plans = self.0.lock();
        plans.retain(|plan| now < plan.expires_at);
        plans.iter().find(|plan| plan.id == id).cloned().ok_or_else(|| {
            Refusal::new(
                Reason::PlanNotFound,
                format!("there is no plan `{id}` at this broker, or it is older than ten minutes"),
            )
            .fix("look at the kill again with --dry-run")
            .with("plan", id)
        })
    }
}

impl Broker {
    /// Looks at a kill, and keeps the set. Nothing ends by it.
    ///
    /// # Errors
    /// `NOT_PERMITTED`; `FIELD_INVALID` for a selector that says nothing; `QUOTA_EXCEEDED` for more than can be looked at.
    pub async fn plan_kill(&self, caller: Arc<Caller>, selector: KillSelector) -> Result<KillPlan, Refusal> {
        self.operator(&caller)?;
        let mut leases = self.select(&caller, &selector).await?;
        let targets: Vec<_> = leases.iter().map(target).collect();
        leases.truncate(SHOWN);
        let mut plan = KillPlan {
            id: PlanId::new(),
            expires_at: self.now().plus(KEPT_FOR),
            needs_confirm: is_large(&selector, targets.len()),
            leases: Arc::new(targets),
            shown: Vec::new(),
            wide: selector.wide(),
            selector,
        };
        // What is kept is what will be ended, not what it looked like.
        self.0.kill_plans.keep(plan.clone());
        plan.shown = leases;
        Ok(plan)
    }

    /// Ends what is selected or was planned, and holds off who would ask again.
    ///
    /// # Errors
    /// `NOT_PERMITTED`, `FIELD_INVALID`, `PLAN_NOT_FOUND`; `PLAN_GREW` when there is more than was planned or expected. Then
    /// nothing has ended. A lease that cannot be ended is no error but among the failures.
    pub async fn kill_leases(&self, caller: Arc<Caller>, ask: KillAsk) -> Result<Killed, Refusal> {
        let killed = self.kill_unaudited(&caller, &ask).await;
        killed.inspect_err(|refusal| self.refused(&caller, refusal, |event| event.purpose(&ask.why)))
    }

    async fn kill_unaudited(&self, caller: &Caller, ask: &KillAsk) -> Result<Killed, Refusal> {
        caller.require(&[Role::Operator])?;
        if ask.why.trim().is_empty() {
            return Err(invalid("reason", "a kill of more than one lease says why").fix("add --reason TEXT"));
        }
        let held_for = self.held_for(ask.after)?;
        let mut killed = match self.at_once(caller, ask) {
            Some(wide) => self.kill_wide(caller, wide, held_for, &ask.why).await?,
            None => {
                let (selector, leases) = self.meant(caller, ask).await?;
                confirmed(caller, ask, &selector, leases.len())?;
                match selector.wide() {
                    Some(wide) => self.kill_wide(caller, wide, held_for, &ask.why).await?,
                    None => self.kill_each(caller, ask, leases).await?,
                }
            }
        };
        killed.held_until = match held_for {
            Some(HeldFor::Until(until)) => Some(until),
            Some(HeldFor::Good) | None => None,
        };
        metrics::counter!("taskpass_leases_killed_total")
            .increment(u64::try_from(killed.count).unwrap_or(u64::MAX));
        Ok(killed)
    }

    /// What needs no look at the leases first, which takes long when there are many: somebody who means all of it said so.
    fn at_once(&self, caller: &Caller, ask: &KillAsk) -> Option<Wide> {
        let KillWhat::Selected(selector) = &ask.what else { return None };
        selector.wide().filter(|_| ask.expect.is_none() && ask.confirm == caller.tenant.as_str())
    }

    fn held_for(&self, after: AfterKill) -> Result<Option<HeldFor>, Refusal> {
        match after {
            AfterKill::Hold => Ok(Some(HeldFor::Good)),
            AfterKill::Reissue => Ok(None),
            AfterKill::Quarantine(span) => Ok(Some(self.until("quarantine", span)?)),
        }
    }

    fn until(&self, field: &'static str, span: Duration) -> Result<HeldFor, Refusal> {
        if span.is_zero() || span > LONGEST {
            return Err(invalid(field, "it is nothing, or longer than 30 days"));
        }
        Ok(HeldFor::Until(self.now().plus(span)))
    }

    /// What is meant.
    async fn meant(&self, caller: &Caller, ask: &KillAsk) -> Result<(KillSelector, Vec<Target>), Refusal> {
        let (selector, leases) = match &ask.what {
            KillWhat::Selected(selector) => {
                let leases = self.select(caller, selector).await?;
                (selector.clone(), leases.iter().map(target).collect())
            }
            KillWhat::Planned(id) => {
                let plan = self.0.kill_plans.find(*id, self.now())?;
                if plan.wide.is_some() {
                    let planned: BTreeSet<LeaseId> = plan.leases.iter().map(|(id, _)| *id).collect();
                    let now = self.select(caller, &plan.selector).await?;
                    let more = now.iter().filter(|lease| !planned.contains(&lease.id)).count();
                    if more > 0 {
                        return Err(grew(format!(
                            "{more} leases came since the plan was made, and would end too"
                        )));
                    }
                }
                (plan.selector.clone(), plan.leases.to_vec())
            }
        };
        match ask.expect {
            Some(expected) if leases.len() > expected => {
                Err(grew(format!("{} leases match by now, {expected} were expected", leases.len())))
            }
            _ => Ok((selector, leases)),
        }
    }

    async fn kill_wide(
        &self,
        caller: &Caller,
        wide: Wide,
        hold: Option<HeldFor>,
        why: &str,
    ) -> Result<Killed, Refusal> {
        let bar = BarWide {
            tenant: caller.tenant.clone(),
            wide: wide.clone(),
            end: true,
            hold,
            by: caller.actor(None).to_string(),
        };
        let (end, until) =
            self.bar(caller, bar, Action::WideEnd, why).await?.end.ok_or_else(|| nothing_ended(&wide))?;
        // It has happened; that they cannot be counted is no reason to say otherwise.
        let mut leases = self.ended_by(caller, &end).await.unwrap_or_default();
        let count = leases.len();
        leases.truncate(SHOWN);
        Ok(Killed {
            count,
            ended_before: 0,
            dead: Dead::wide(&end, &wide, until).map(|dead| dead.marked(leases.first())),
            leases,
            wide: Some(wide),
            held_until: None,
            failures: Vec::new(),
        })
    }

    async fn kill_each(
        &self,
        caller: &Caller,
        ask: &KillAsk,
        leases: Vec<Target>,
    ) -> Result<Killed, Refusal> {
        let agents = leases.iter().filter_map(|(_, agent)| agent.clone()).collect();
        self.quarantine(caller, agents, ask.after, &ask.why).await?;
        let end_one = |(lease, _): Target| async move {
            let actor = caller.actor(None);
            let end = EndLease {
                tenant: caller.tenant.clone(),
                lease,
                reason: EndReason::Killed,
                by: actor.to_string(),
                hold: ask.after == AfterKill::Hold,
            };
            (lease, self.end_lease(actor, end, &ask.why).await)
        };
        let mut done = stream::iter(leases).map(end_one).buffered(ABREAST);
        let (mut killed, mut ended_before, mut failures) = (Vec::new(), 0, Vec::new());
        while let Some((id, ended)) = done.next().await {
            match ended {
                Ok(Some(lease)) => killed.push(lease),
                Ok(None) => ended_before += 1,
                Err(refusal) => failures.push((id, refusal)),
            }
        }
        let (dead, count) = (Dead::leases(&killed), killed.len());
        killed.truncate(SHOWN);
        let (wide, held_until) = (None, None);
        Ok(Killed { count, ended_before, leases: killed, wide, held_until, dead, failures })
    }

    /// Holds whole agents for a time, if that is what a kill leaves behind; before the kill, so that nothing slips in between.
    pub(crate) async fn quarantine(
        &self,
        caller: &Caller,
        agents: BTreeSet<AgentId>,
        after: AfterKill,
        why: &str,
    ) -> Result<(), Refusal> {
        let AfterKill::Quarantine(span) = after else { return Ok(()) };
        let hold = Some(self.until("quarantine", span)?);
        for agent in agents {
            let (tenant, by) = (caller.tenant.clone(), caller.actor(None).to_string());
            let bar = BarWide { tenant, wide: Wide::Agent(agent), end: false, hold, by };
            self.bar(caller, bar, Action::WideHold, why).await?;
        }
        Ok(())
    }

    /// Holds something wider than a task, and ends nothing.
    ///
    /// # Errors
    /// `NOT_PERMITTED`, `FIELD_INVALID`; `QUOTA_EXCEEDED` when too much is held.
    pub async fn hold_wide(
        &self,
        caller: Arc<Caller>,
        wide: Wide,
        span: Option<Duration>,
        why: &str,
    ) -> Result<WideHold, Refusal> {
        self.operator(&caller)?;
        if why.trim().is_empty() {
            return Err(invalid("reason", "a hold wider than a task says why").fix("add --reason TEXT"));
        }
        let hold = span.map_or(Ok(HeldFor::Good), |span| self.until("duration", span))?;
        let (tenant, by) = (caller.tenant.clone(), caller.actor(None).to_string());
        let bar = BarWide { tenant, wide: wide.clone(), end: false, hold: Some(hold), by };
        self.bar(&caller, bar, Action::WideHold, why).await?.hold.ok_or_else(|| nothing_ended(&wide))
    }

    /// What is held and wider than a task.
    ///
    /// # Errors
    /// `NOT_PERMITTED`; when the store does not answer.
    pub async fn wide_holds(&self, caller: &Caller) -> Result<Vec<(Wide, WideHold)>, Refusal> {
        self.operator(caller)?;
        let bars = self.parts().store.bars(&caller.tenant).await?;
        Ok(bars.held(self.now()).map(|(wide, hold)| (wide.clone(), hold.clone())).collect())
    }

    /// Lets what is held go on; says whether it was held.
    ///
    /// # Errors
    /// `NOT_PERMITTED`, `AUDIT_UNAVAILABLE`.
    pub async fn lift_hold(&self, caller: Arc<Caller>, wide: Wide) -> Result<bool, Refusal> {
        self.operator(&caller)?;
        let actor = caller.actor(None);
        let describe = |event: Event| about(event, &wide);
        let intent = describe(Event::intent(&caller.tenant, Action::HoldRelease, actor.clone()));
        self.parts()
            .audit
            .record(intent)
            .await
            .inspect_err(|refusal| self.refused(&caller, refusal, describe))?;
        let release = ReleaseWide { tenant: caller.tenant.clone(), wide: wide.clone() };
        let done = self.parts().store.apply(Change::ReleaseWide(release), self.now()).await;
        let outcome = describe(Event::outcome(&caller.tenant, Action::HoldRelease, actor));
        match done {
            Ok(done) => {
                self.note(outcome);
                Ok(matches!(done.outcome(), Outcome::Released))
            }
            Err(refusal) => self.failed(outcome, refusal),
        }
    }

    async fn bar(&self, caller: &Caller, bar: BarWide, action: Action, why: &str) -> Result<Bar, Refusal> {
        let (tenant, actor, wide) = (bar.tenant.clone(), caller.actor(None), bar.wide.clone());
        let describe = |event: Event| about(event, &wide).purpose(why);
        self.note(describe(Event::intent(&tenant, action, Actor::clone(&actor))));
        let outcome = describe(Event::outcome(&tenant, action, actor));
        let done = self.parts().store.apply(Change::BarWide(bar), self.now()).await;
        match done.map(|done| done.into_outcome()) {
            Ok(Outcome::Barred(bar)) => {
                let epoch = bar.end.as_ref().and_then(|(end, _): &(End, Timestamp)| end.epoch);
                self.note(epoch.into_iter().fold(outcome, Event::epoch));
                Ok(*bar)
            }
            Ok(other) => self.failed(outcome, unexpected(&other)),
            Err(refusal) => self.failed(outcome, refusal),
        }
    }

    fn operator(&self, caller: &Caller) -> Result<(), Refusal> {
        caller.require(&[Role::Operator]).inspect_err(|refusal| self.refused(caller, refusal, |event| event))
    }
}

fn about(event: Event, wide: &Wide) -> Event {
    match wide {
        Wide::Agent(agent) => event.agent(agent),
        Wide::Owner(owner) => event.owner(owner),
        Wide::Resource(resource) => event.resource(resource),
        Wide::Tenant => event,
    }
}

fn confirmed(caller: &Caller, ask: &KillAsk, selector: &KillSelector, leases: usize) -> Result<(), Refusal> {
    if !is_large(selector, leases) || ask.confirm == caller.tenant.as_str() {
        return Ok(());
    }
    Err(invalid("confirm", "a kill of all, or of more than 50, says the tenant's name")
        .fix(format!("look at it with --dry-run, then add --confirm {}", caller.tenant))
        .with("matched", leases))
}

fn is_large(selector: &KillSelector, leases: usize) -> bool {
    selector.all || leases > LARGE
}

fn invalid(field: &'static str, why: &str) -> Refusal {
    Refusal::new(Reason::FieldInvalid, format!("`{field}`: {why}")).with("field", field)
}

fn grew(what: String) -> Refusal {
    Refusal::new(Reason::PlanGrew, what).fix("look at the kill again with --dry-run")
}

fn nothing_ended(wide: &Wide) -> Refusal {
    Refusal::new(Reason::Internal, format!("a bar of {wide} has neither end nor hold"))
}
