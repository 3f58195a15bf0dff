//! Seeing a change of the policies before it is made, and then making exactly that one.
//!
//! Invariants: a preview and the change that follows are found by the same code ([`crate::drift`]); what was not previewed
//! is not taken by a change: it is refused when it grew, also by what was issued while it was being made.

use crate::{
    Broker, Caller, Finding, Role, Subject,
    drift::{Cause, Sweep},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use taskpass_audit::Actor;
use taskpass_lease::{PolicyOrigin, PolicySet, PolicySetInfo};
use taskpass_policy::{Policies, PolicyError};
use taskpass_types::{AgentId, PlanId, PolicyRevision, Reason, Refusal, Timestamp};

/// What a plan is made of.
pub enum PlanAsk {
    /// A set of policies, as pairs of file name and text.
    Files(Vec<(String, String)>),
    /// A set of the history, by its revision or a unique beginning of it.
    Revision(String),
}

/// A previewed change.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its id.
    pub id: PlanId,
    /// The policies that it was made over.
    pub from: PolicyRevision,
    /// Those that it would put in force.
    pub policies: Arc<Policies>,
    /// How much that lives was decided anew.
    pub examined: u64,
    /// What would lose something.
    pub findings: Arc<Vec<Finding>>,
    origin: PolicyOrigin,
    made_at: Timestamp,
}

impl Plan {
    /// The agents that would lose something, by name.
    pub fn agents(&self) -> BTreeSet<&AgentId> {
        self.findings.iter().map(|finding| &finding.agent).collect()
    }
}

/// The plans that were made lately; each is good for [`KEPT_FOR`].
#[derive(Default)]
pub(crate) struct Plans(Mutex<VecDeque<Plan>>);

/// How many plans are kept; the oldest goes first.
const KEPT: usize = 8;
/// How long a plan is good for.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// How much a preview may list; a larger change is refused, for nobody could have looked at it.
const MAX_FINDINGS: usize = 200_000;
/// How long before the fence a request can have been planned that is not in the store yet.
const IN_FLIGHT: Duration = Duration::from_secs(10);

impl Plans {
    fn keep(&self, plan: Plan) {
        let mut plans = self.0.lock();
        while plans.len() >= KEPT {
            plans.pop_front();
        }
        plans.push_back(plan);
    }

    fn find(&self, id: PlanId, now: Timestamp) -> Result<Plan, Refusal> {
        let mut plans = self.0.lock();
        plans.retain(|plan| now < plan.made_at.plus(KEPT_FOR));
        plans.iter().find(|plan| plan.id == id).cloned().ok_or_else(|| {
            Refusal::new(
                Reason::PlanNotFound,
                format!("there is no plan `{id}`, or it is older than ten minutes"),
            )
            .fix("look at the change again: taskpass policy diff --live DIR")
            .with("plan", id)
        })
    }

    fn ids(&self) -> Vec<PlanId> {
        self.0.lock().iter().map(|plan| plan.id).collect()
    }

    fn forget(&self, id: PlanId) {
        self.0.lock().retain(|plan| plan.id != id);
    }
}

impl Broker {
    /// Previews a change. Nothing changes by it.
    ///
    /// # Errors
    /// `NOT_PERMITTED`, `POLICY_INVALID`, `POLICY_NOT_FOUND`, `QUOTA_EXCEEDED` for a change too large to look at.
    pub async fn plan_policies(&self, caller: Arc<Caller>, ask: PlanAsk) -> Result<Plan, Refusal> {
        caller.require(&[Role::Operator]).inspect_err(|refusal| self.refused(&caller, refusal, |e| e))?;
        let (sources, origin) = match ask {
            PlanAsk::Files(sources) => (sources, PolicyOrigin::Applied),
            PlanAsk::Revision(revision) => {
                (self.policy_set(&caller, Some(&revision)).await?.sources, PolicyOrigin::RolledBack)
            }
        };
        let compiled = tokio::task::spawn_blocking(move || Policies::from_sources(sources)).await;
        let compiled = compiled.map_err(|error| {
            Refusal::new(Reason::Internal, "the policies could not be checked").because(error)
        })?;
        let policies = Arc::new(compiled.map_err(|error| invalid(&error))?);
        let from = self.policies().revision().clone();
        let swept = self.sweep_under(policies.clone()).all(&caller.tenant).await?;
        if swept.findings.len() > MAX_FINDINGS {
            return Err(Refusal::new(
                Reason::QuotaExceeded,
                format!("the change would take something from more than {MAX_FINDINGS} tasks and leases"),
            )
            .fix(
                "make it in smaller steps, or put the files in place, which takes effect without a preview",
            ));
        }
        let plan = Plan {
            id: PlanId::new(),
            from,
            policies,
            examined: swept.examined,
            findings: Arc::new(swept.findings),
            origin,
            made_at: self.now(),
        };
        self.0.plans.keep(plan.clone());
        Ok(plan)
    }

    /// The plans that were made lately.
    ///
    /// # Errors
    /// `NOT_PERMITTED`.
    pub fn plan_ids(&self, caller: &Caller) -> Result<Vec<PlanId>, Refusal> {
        caller.require(&[Role::Operator])?;
        Ok(self.0.plans.ids())
    }

    /// A plan that was made lately.
    ///
    /// # Errors
    /// `NOT_PERMITTED`, `PLAN_NOT_FOUND`.
    pub fn kept_plan(&self, caller: &Caller, id: PlanId) -> Result<Plan, Refusal> {
        caller.require(&[Role::Operator])?;
        self.0.plans.find(id, self.now())
    }

    /// Puts a plan's policies in force, and deals with exactly what was previewed.
    ///
    /// # Errors
    /// `NOT_PERMITTED`, `PLAN_NOT_FOUND`; `PLAN_OUTDATED` when it was made over other policies than those in force;
    /// `PLAN_GREW` when it would take more than was previewed. Then the policies before are in force.
    pub async fn apply_plan(&self, caller: Arc<Caller>, id: PlanId, why: &str) -> Result<Plan, Refusal> {
        let applied = self.apply_unaudited(&caller, id, why).await;
        applied.inspect_err(|refusal| self.refused(&caller, refusal, |event| event.purpose(why)))
    }

    async fn apply_unaudited(&self, caller: &Caller, id: PlanId, why: &str) -> Result<Plan, Refusal> {
        let plan = self.kept_plan(caller, id)?;
        let _changing = self.0.changing.lock().await;
        let before = self.policies();
        if *before.revision() != plan.from {
            return Err(Refusal::new(
                Reason::PlanOutdated,
                format!("`{}` is in force by now, the plan was made over `{}`", before.revision(), plan.from),
            )
            .fix("look at the change again: taskpass policy diff --live DIR"));
        }
        let previewed: BTreeSet<_> = plan.findings.iter().map(|finding| finding.subject).collect();
        let swept = self.sweep_under(plan.policies.clone()).all(&caller.tenant).await?;
        within(&previewed, &swept.findings)?;
        let actor = caller.actor(None);
        let since = self.now().minus(IN_FLIGHT);
        let fence = Some(plan.from.clone());
        self.put_in_force(&plan.policies, plan.origin, actor.clone(), why, fence).await?;
        // Nothing is issued under the old policies from here on; what was in between may still be too much.
        let late = self.sweep_under(plan.policies.clone()).newer(&caller.tenant, since).await;
        let late = late.and_then(|late| within(&previewed, &late.findings));
        if let Err(refusal) = late {
            self.undo(&before, &plan, actor).await?;
            return Err(refusal);
        }
        self.parts().policies.swap(plan.policies.clone(), self.now());
        self.0.plans.forget(id);
        Ok(plan)
    }

    /// The policies before are in force here still; in the store they have to be again.
    async fn undo(&self, before: &Policies, plan: &Plan, actor: Actor) -> Result<(), Refusal> {
        let fence = Some(plan.policies.revision().clone());
        let why = "the change would have taken more than was previewed";
        self.put_in_force(before, PolicyOrigin::RolledBack, actor, why, fence).await.map(drop)
    }

    fn sweep_under(&self, policies: Arc<Policies>) -> Sweep {
        let parts = self.parts();
        let (store, rules) = (parts.store.clone(), parts.drift.load_full());
        Sweep::new(store, rules, policies, self.registry(), Cause::Policies, self.now())
    }

    /// The sets that were in force, newest first.
    ///
    /// # Errors
    /// `NOT_PERMITTED`; when the store does not answer.
    pub async fn policy_history(
        &self,
        caller: &Caller,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<PolicySetInfo>, Refusal> {
        caller.require(&[Role::Operator])?;
        self.parts().store.policy_history(before, limit).await
    }

    /// One set of the history, by its revision or a unique beginning of it; `None`: the one in force.
    ///
    /// # Errors
    /// `NOT_PERMITTED`, `POLICY_NOT_FOUND`.
    pub async fn policy_set(&self, caller: &Caller, revision: Option<&str>) -> Result<PolicySet, Refusal> {
        caller.require(&[Role::Operator])?;
        let not_found = || {
            let name = revision.unwrap_or("in force");
            let name: String = name.escape_debug().take(64).collect();
            Refusal::new(
                Reason::PolicyNotFound,
                format!("there is no set of policies `{name}` in the history"),
            )
            .fix("list them with `taskpass policy history`")
        };
        let parsed = revision.map(PolicyRevision::new).transpose().map_err(|_| not_found())?;
        self.parts().store.policy_set(parsed.as_ref()).await?.ok_or_else(not_found)
    }
}

/// Whether everything that was found had been previewed.
fn within(previewed: &BTreeSet<Subject>, found: &[Finding]) -> Result<(), Refusal> {
    let more: Vec<_> =
        found.iter().map(|finding| finding.subject).filter(|subject| !previewed.contains(subject)).collect();
    match more.first() {
        None => Ok(()),
        Some(first) => Err(Refusal::new(
            Reason::PlanGrew,
            format!(
                "the change would now take something from {} more than was previewed, such as `{first}`",
                more.len()
            ),
        )
        .fix("look at the change again: taskpass policy diff --live DIR")
        .with("more", more.len())),
    }
}

fn invalid(error: &PolicyError) -> Refusal {
    Refusal::new(Reason::PolicyInvalid, format!("the policies are not valid: {error}"))
        .fix("see `taskpass policy check DIR`")
}

impl Subject {
    /// The lease, if it is one.
    pub fn lease(self) -> Option<taskpass_types::LeaseId> {
        match self {
            Self::Lease(id) => Some(id),
            Self::Task(_) => None,
        }
    }
}
