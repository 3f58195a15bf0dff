//! What was promised so far, and whether what happens next keeps it.

use crate::{
    budgets::{Called, Minute},
    common::revision,
    history::Step,
    people::Asked,
    world::World,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taskpass_lease::{
    ApprovalState, Effects, End, EndLease, Event, HeldFor, Lease, Limits, Outcome, PlanLease, RenewLease,
    Request, RequestTarget, StartTask, Task, Wide,
};
use taskpass_types::{
    AgentId, ApprovalId, CredentialKind, DenySubject, EndReason, Grant, Kind, LeaseId, Obligations,
    PolicyRevision, Reason, Refusal, RequestId, Scope, TaskId, Timestamp, Ttl,
};

pub(crate) struct Model {
    pub(crate) world: World,
    pub(crate) now: Timestamp,
    pub(crate) policy: PolicyRevision,
    pub(crate) tasks: Vec<TaskId>,
    pub(crate) leases: Vec<LeaseId>,
    pub(crate) declared: BTreeMap<TaskId, Declared>,
    /// The newest credential of each lease, and when its last one expires.
    pub(crate) granted: BTreeMap<LeaseId, (Grant, Timestamp)>,
    answered: BTreeMap<(AgentId, RequestId), (Request, RequestTarget)>,
    ended_tasks: BTreeMap<TaskId, End>,
    pub(crate) ended_leases: BTreeMap<LeaseId, End>,
    pub(crate) held: BTreeSet<TaskId>,
    pub(crate) asked: BTreeMap<ApprovalId, Asked>,
    pub(crate) called: Vec<Called>,
    pub(crate) minutes: BTreeMap<TaskId, Minute>,
    pub(crate) cuts: BTreeMap<LeaseId, Timestamp>,
    pub(crate) widely_dead: BTreeSet<LeaseId>,
    pub(crate) widely_held: BTreeMap<Wide, HeldFor>,
    /// What happened at all, for the test that the histories reach what they are about.
    pub(crate) seen: BTreeSet<&'static str>,
}

/// What a task said when it was started; none of it ever changes.
pub(crate) struct Declared {
    parent: Option<TaskId>,
    pub(crate) agent: AgentId,
    pub(crate) deadline: Timestamp,
    pub(crate) scopes: BTreeSet<Scope>,
}

impl Default for Model {
    fn default() -> Self {
        let limits = Limits {
            task_max: Duration::from_secs(20_000),
            live_per_task: 4,
            issued_per_task: 8,
            tasks_per_agent: 8,
            approvals_per_agent: 3,
            retention: Duration::from_secs(10),
            ..Limits::default()
        };
        let policy = revision("r0");
        Self {
            world: World { limits, policy: Some(policy.clone()), ..World::default() },
            now: Timestamp::from_secs(1_800_000_000),
            policy,
            tasks: Vec::new(),
            leases: Vec::new(),
            declared: BTreeMap::new(),
            granted: BTreeMap::new(),
            answered: BTreeMap::new(),
            ended_tasks: BTreeMap::new(),
            ended_leases: BTreeMap::new(),
            held: BTreeSet::new(),
            asked: BTreeMap::new(),
            called: Vec::new(),
            minutes: BTreeMap::new(),
            cuts: BTreeMap::new(),
            widely_dead: BTreeSet::new(),
            widely_held: BTreeMap::new(),
            seen: BTreeSet::new(),
        }
    }
}

impl Model {
    /// Lets one thing happen, and checks everything.
    pub(crate) fn run(&mut self, step: &Step) {
        self.now = Timestamp::from_millis(self.now.as_millis().saturating_add_signed(step.jump));
        let event = self.event(&step.act);
        let epoch = self.world.epoch;
        match self.world.apply(&event, self.now) {
            Ok(effects) => {
                let expected = if effects.deny.is_some() { epoch.next() } else { epoch };
                assert_eq!(self.world.epoch, expected, "one event, at most one deny record");
                self.seen.extend(name(&effects));
                self.check_answer(&event, &effects);
                self.forget(&effects);
            }
            Err(refusal) => {
                assert_eq!(self.world.epoch, epoch);
                self.check_refusal(&event, &refusal);
            }
        }
        self.check_records();
        self.check_approvals();
        self.check_denies();
    }

    fn check_answer(&mut self, event: &Event, effects: &Effects) {
        match (event, &effects.outcome) {
            (Event::PlanLease(plan), Outcome::Planned(lease)) => self.check_planned(plan, lease, effects),
            (Event::PlanLease(plan), Outcome::ReplayedLease(lease)) => {
                let answer = &self.answered[&(plan.agent.clone(), plan.request.id.clone())];
                assert_eq!(*answer, (plan.request.clone(), RequestTarget::Lease(lease.id)), "I3");
                assert_eq!(plan.fence.policy_revision, self.policy);
                self.check_same(lease);
            }
            (Event::RenewLease(renew), Outcome::Renewed(lease)) => self.check_renewed(renew, lease),
            (Event::RenewLease(renew), Outcome::ReplayedLease(lease)) => {
                assert_eq!(lease.renewal_request.as_ref(), Some(&renew.request), "I3");
                assert_eq!(renew.fence.policy_revision, self.policy);
                self.check_same(lease);
            }
            (Event::StartTask(start), Outcome::Running(task)) => self.check_started(start, task, effects),
            (Event::StartTask(start), Outcome::ReplayedTask(task)) => {
                let answer = &self.answered[&(start.agent.clone(), start.request.id.clone())];
                assert_eq!(*answer, (start.request.clone(), RequestTarget::Task(task.id)), "I3");
                self.check_alive(task.id);
                self.check_task_is_free(task, false);
            }
            (Event::Heartbeat(_), Outcome::Running(task)) => self.check_alive(task.id),
            (_, Outcome::TaskEnded(ended)) => {
                assert!(ended.deny.is_some(), "credentials may be alive");
                self.end_task(&ended.record);
            }
            (Event::BarWide(bar), Outcome::Barred(_)) => self.check_barred(bar),
            (Event::ReleaseWide(release), Outcome::Released) => self.check_lifted(&release.wide),
            (_, Outcome::LeaseEnded(ended)) => {
                let widely = self.widely_dead.contains(&ended.record.id);
                let forgotten = ended.record.end().is_some_and(|end| end.reason == EndReason::Expired);
                let over = self.now >= ended.record.last_expiry;
                assert!(ended.deny.is_some() || over || widely || forgotten);
                let end = ended.record.end().unwrap();
                if let (EndReason::Drifted, Event::TickLease(..)) = (end.reason, event) {
                    assert!(ended.deny.is_some() && self.now >= self.cuts[&ended.record.id]);
                }
                self.end_lease(&ended.record);
                if let Event::EndLease(EndLease { hold: true, .. }) = event {
                    self.held.insert(ended.record.task().unwrap());
                }
            }
            (Event::SettleTask(_, id, _), Outcome::Settled(settled)) => {
                assert!(self.ended_tasks.contains_key(id), "only what an end took with it");
                settled.tasks.iter().for_each(|task| self.end_task(task));
                settled.leases.iter().for_each(|lease| self.end_lease(lease));
            }
            (Event::ReleaseHold(release), Outcome::Released) => {
                assert!(self.held.remove(&release.key.task));
            }
            (Event::SetPolicies(_), Outcome::PoliciesSet(set)) => self.policy = set.revision.clone(),
            (Event::RequestApproval(ask), Outcome::Approval(approval)) => self.check_asked(ask, approval),
            (Event::Vote(cast), Outcome::Approval(approval)) => self.check_vote(cast, approval),
            (Event::TickApproval(..), Outcome::Approval(approval)) => self.check_expired(approval),
            (Event::CallTool(call), Outcome::CallAllowed { task, lease, .. }) => {
                assert_eq!(task.id, call.task);
                self.check_called(call, effects, lease.as_deref());
            }
            (Event::CutLease(cut), Outcome::LeaseCut(lease)) => self.check_cut(cut.at, lease),
            (Event::HoldTask(hold), Outcome::Held(_)) => drop(self.held.insert(hold.task)),
            (Event::TickLease(..), Outcome::RecheckDue(lease)) => {
                assert!(lease.recheck_at.is_some_and(|at| at > self.now), "it is due again");
                self.check_not_cut(lease.id, self.now);
            }
            (_, Outcome::Forgotten) => {
                let forgets = [
                    effects.forget_approval.is_some(),
                    effects.forget_deny.is_some(),
                    effects.forget_lease.is_some(),
                    effects.forget_task.is_some(),
                ];
                assert_eq!(forgets.into_iter().filter(|forgets| *forgets).count(), 1);
            }
            (_, Outcome::AlreadyEnded(_) | Outcome::Nothing) => {}
            (event, outcome) => panic!("{event:?} gave {outcome:?}"),
        }
    }

    /// I2, and that nothing is above it that ended.
    fn check_started(&mut self, start: &StartTask, task: &Task, effects: &Effects) {
        let key = (start.agent.clone(), start.request.id.clone());
        assert!(!self.answered.contains_key(&key), "I3: this request was answered before");
        for ttl in [Some(start.ttl), start.max_ttl].into_iter().flatten() {
            assert!(task.deadline <= self.now.plus(ttl.as_duration()));
        }
        assert!(start.fence.as_ref().is_none_or(|fence| fence.policy_revision == self.policy));
        let asker = start.parent.map_or(&start.agent, |parent| &self.declared[&parent].agent).clone();
        self.check_consent(effects, &asker, &BTreeMap::new(), start.approval.as_ref(), task.id.to_string());
        assert!(task.path.depth() < taskpass_types::TaskPath::MAX_DEPTH);
        if let Some(parent) = start.parent {
            self.check_alive(parent);
            let mut agents = task.agents.clone();
            agents.dedup();
            let different: BTreeSet<_> = agents.iter().collect();
            assert_eq!(different.len(), agents.len(), "nobody gets back what they handed on");
            assert!(start.scopes.is_subset(&self.declared[&parent].scopes), "I2: scopes");
            assert!(task.deadline <= self.declared[&parent].deadline, "I2: deadline");
        }
        self.check_task_is_free(task, false);
        self.answered.insert(key, (start.request.clone(), RequestTarget::Task(task.id)));
        self.tasks.push(task.id);
        let declared = Declared {
            parent: start.parent,
            agent: start.agent.clone(),
            deadline: task.deadline,
            scopes: start.scopes.clone(),
        };
        self.declared.insert(task.id, declared);
    }

    fn check_planned(&mut self, plan: &PlanLease, lease: &Lease, effects: &Effects) {
        let key = (plan.agent.clone(), plan.request.id.clone());
        assert!(!self.answered.contains_key(&key), "I3: this request was answered before");
        assert_eq!((lease.id, lease.renewal), (plan.id, 0));
        self.check_issued(lease, plan.ttl, &plan.obligations, plan.evidence_expires_at);
        self.check_credentials(plan);
        self.check_consent(
            effects,
            &plan.agent,
            &plan.obligations.approvals,
            plan.approval.as_ref(),
            lease.id.to_string(),
        );
        assert_eq!(lease.approval, effects.approval.as_ref().map(|approval| approval.id));
        assert_eq!((lease.uses, lease.max_uses), (0, plan.obligations.max_uses));
        assert_eq!(self.declared[&plan.task].agent, plan.agent);
        for action in &plan.actions {
            let scope = Scope { resource: plan.resource.clone(), action: action.clone() };
            assert!(self.declared[&plan.task].scopes.contains(&scope), "I2: scopes");
        }
        self.answered.insert(key, (plan.request.clone(), RequestTarget::Lease(lease.id)));
        self.leases.push(lease.id);
        self.granted.insert(lease.id, (lease.grant(), lease.last_expiry));
    }

    fn check_renewed(&mut self, renew: &RenewLease, lease: &Lease) {
        let (before, last_expiry) = &self.granted[&lease.id];
        assert!(self.now < *last_expiry, "I5: an expired lease is not revived");
        assert!(!self.ended_leases.contains_key(&lease.id), "I5: nor is an ended one");
        assert_eq!(before.agent(), Some(&renew.agent));
        assert_eq!(lease.renewal, before.renewal + 1);
        assert_eq!(lease.actions, before.actions, "a renewal does not widen");
        assert_eq!(lease.last_expiry, lease.expires_at.max(*last_expiry));
        self.check_issued(lease, renew.ttl, &renew.obligations, renew.evidence_expires_at);
        self.check_not_cut(lease.id, self.now);
        assert!(
            self.cuts.get(&lease.id).is_none_or(|cut| lease.expires_at <= *cut),
            "no renewal passes the cut"
        );
        assert!(renew.obligations.approvals.is_empty() || lease.approval.is_some(), "nobody approved this");
        assert!(
            renew.obligations.max_uses.is_none_or(|max| lease.max_uses.is_some_and(|stored| stored <= max)),
            "uses are only lowered"
        );
        self.granted.insert(lease.id, (lease.grant(), lease.last_expiry));
    }

    /// I2 and I13 for a credential that is about to be signed.
    fn check_issued(&self, lease: &Lease, ttl: Ttl, obligations: &Obligations, evidence: Timestamp) {
        let task = lease.task().unwrap();
        self.check_alive(task);
        assert!(!self.held.contains(&task), "held after a kill");
        self.check_lease_is_free(lease);
        assert_eq!(lease.policy_revision, self.policy, "decided under the policies in force");
        assert!(obligations.revocability.is_none_or(|least| lease.revocability >= least), "obliged");
        assert!(!obligations.bound || lease.confirmation.is_some(), "obliged");
        let recheck = obligations.recheck.map(|every| self.now.plus(every.as_duration()));
        assert_eq!((lease.recheck, lease.recheck_at), (obligations.recheck, recheck));
        let policy_max = obligations.max_ttl.map_or(Duration::MAX, Ttl::as_duration);
        let limits = [ttl.as_duration(), policy_max, self.world.limits.max_ttl(lease.kind)];
        for limit in limits {
            assert!(lease.expires_at <= self.now.plus(limit), "I2: not longer than {limit:?}");
        }
        assert!(lease.expires_at <= evidence, "I2: not longer than the evidence");
        for above in self.chain(task) {
            assert!(lease.expires_at <= self.declared[&above].deadline, "I13: not past a deadline");
        }
        assert!(lease.expires_at > self.now, "what is issued is not expired");
        assert_eq!(lease.expires_at, lease.expires_at.floor_to_secs());
    }

    /// A repeat is the same credential, and only while it may be accepted.
    fn check_same(&self, lease: &Lease) {
        let task = lease.task().unwrap();
        self.check_alive(task);
        assert!(!self.ended_leases.contains_key(&lease.id), "I3: a retry after a revoke says revoked");
        assert!(!self.held.contains(&task), "held after a kill");
        self.check_not_cut(lease.id, self.now);
        self.check_lease_is_free(lease);
        assert_eq!(lease.grant(), self.granted[&lease.id].0, "I3: the same credential");
        assert!(self.now < lease.expires_at);
    }

    fn check_refusal(&self, event: &Event, refusal: &Refusal) {
        let (agent, request) = match event {
            Event::PlanLease(plan) => (&plan.agent, &plan.request),
            Event::StartTask(start) => (&start.agent, &start.request),
            _ => return,
        };
        let Some((first, target)) = self.answered.get(&(agent.clone(), request.id.clone())) else { return };
        let same = match (event, target) {
            (Event::PlanLease(plan), RequestTarget::Lease(lease)) => {
                self.granted[lease].0.task_path.task() == Some(plan.task)
            }
            (Event::StartTask(start), RequestTarget::Task(task)) => {
                self.declared[task].parent == start.parent
            }
            _ => false,
        };
        if first != request || !same {
            assert_eq!(refusal.reason(), Reason::RequestIdReused, "I3");
            return;
        }
        let ended = match target {
            RequestTarget::Lease(lease) => self.ended_leases.contains_key(lease),
            RequestTarget::Task(task) => self.ended_tasks.contains_key(task),
            RequestTarget::Approval(_) => false,
        };
        assert!(!ended || refusal.kind() == Kind::Ended, "I3: a retry after an end says so: {refusal:?}");
    }

    /// The task and all above it.
    pub(crate) fn chain(&self, task: TaskId) -> impl Iterator<Item = TaskId> + '_ {
        std::iter::successors(Some(task), |task| self.declared[task].parent)
    }

    /// I5: whoever gets something has nothing above it that has ended.
    pub(crate) fn check_alive(&self, task: TaskId) {
        for above in self.chain(task) {
            assert!(!self.ended_tasks.contains_key(&above), "I5: {above} has ended");
            assert!(self.now < self.declared[&above].deadline, "I13: {above} is past its deadline");
        }
    }

    fn end_task(&mut self, task: &Task) {
        let before = self.ended_tasks.insert(task.id, task.end().unwrap().clone());
        assert_eq!(before, None, "an end happens once");
    }

    fn end_lease(&mut self, lease: &Lease) {
        let before = self.ended_leases.insert(lease.id, lease.end().unwrap().clone());
        assert_eq!(before, None, "an end happens once");
    }

    /// A request id is free again once its record is gone, which takes as long as a task may run.
    fn forget(&mut self, effects: &Effects) {
        let kept = self.world.limits.task_max;
        if let Some((_, id)) = &effects.forget_task {
            assert!(self.now >= self.ended_tasks[id].at.plus(kept));
            self.answered.retain(|_, (_, target)| *target != RequestTarget::Task(*id));
            self.held.remove(id);
        }
        if let Some((_, id)) = &effects.forget_lease {
            assert!(self.now >= self.ended_leases[id].at.plus(kept));
            self.answered.retain(|_, (_, target)| *target != RequestTarget::Lease(*id));
        }
        if let Some((_, id)) = effects.forget_approval {
            self.forget_approval(id);
        }
    }

    /// Ends are final, and the counts are what they count.
    fn check_records(&self) {
        for task in self.world.tasks.values() {
            assert_eq!(task.end(), self.ended_tasks.get(&task.id));
            assert_eq!(task.deadline, self.declared[&task.id].deadline);
            let live = self.world.live_leases(task.id).count() + self.world.live_children(task.id).count();
            assert_eq!(usize::try_from(task.live_below).unwrap(), live, "what lives below {}", task.id);
            assert!(task.live_below <= self.world.limits.live_per_task);
            assert!(task.issued <= self.world.limits.issued_per_task);
            self.check_counts(task);
        }
        for lease in self.world.leases.values() {
            assert_eq!(lease.end(), self.ended_leases.get(&lease.id));
            assert_eq!(lease.hard_stop, self.declared[&lease.task().unwrap()].deadline);
            assert!(lease.expires_at <= lease.last_expiry && lease.last_expiry <= lease.hard_stop, "I13");
            self.check_cuts(lease);
        }
        for (id, declared) in &self.declared {
            let gone = !self.world.tasks.contains_key(id);
            assert!(!gone || self.world.live_leases(*id).next().is_none(), "nothing lives below nothing");
            assert!(declared.parent.is_none_or(|parent| parent != *id));
        }
    }

    /// A deny record is kept for longer than any credential under it.
    fn check_denies(&self) {
        for deny in self.world.denies.values() {
            for (lease, (grant, last_expiry)) in &self.granted {
                // How long any of them lives is all that such a record can know.
                if Wide::of(&deny.subject).is_some() {
                    let longest = self.world.limits.max_ttl(CredentialKind::X509);
                    assert!(deny.until > deny.at.plus(longest));
                    continue;
                }
                let under = match &deny.subject {
                    DenySubject::Lease(id) => id == lease,
                    DenySubject::Task(id) => grant.task_path.contains(*id),
                    other => panic!("nothing here denies {other:?}"),
                };
                assert!(!under || deny.until > *last_expiry, "{deny:?} is forgotten before {lease} expires");
            }
        }
    }
}

fn is_wide(end: Option<&End>) -> bool {
    end.is_some_and(|end| end.reason == EndReason::Killed && end.by == "widely")
}

/// What happened, for who wants to know whether it ever does.
fn name(effects: &Effects) -> Option<&'static str> {
    match &effects.outcome {
        Outcome::Planned(lease) if lease.approval.is_some() => Some("issued as approved"),
        Outcome::Running(task) if task.approval.is_some() => Some("started as approved"),
        Outcome::CallAllowed { approval: Some(_), .. } => Some("called as approved"),
        Outcome::CallAllowed { lease: Some(_), .. } => Some("called with a lease"),
        Outcome::Approval(approval) => match approval.state {
            ApprovalState::Denied { .. } => Some("denied"),
            ApprovalState::Expired { .. } => Some("expired"),
            ApprovalState::Granted { .. } => Some("granted"),
            _ => None,
        },
        Outcome::Renewed(lease) if lease.cut.is_some() => Some("renewed before the cut"),
        Outcome::LeaseEnded(ended) if ended.record.cut.is_some() && ended.deny.is_some() => Some("cut"),
        Outcome::RecheckDue(_) => Some("rechecked"),
        Outcome::Held(_) => Some("held"),
        Outcome::Barred(_) => Some("barred"),
        Outcome::LeaseEnded(ended) if is_wide(ended.record.end()) => Some("expired under a wide end"),
        _ => None,
    }
}
