//! The smallest store: maps, and what each event has to see.

use std::collections::BTreeMap;
use taskpass_lease::{
    Approval, ApprovalUse, Bars, Effects, Event, Hold, HoldChange, HoldKey, Lease, Limits, RequestKey,
    RequestRecord, RequestTarget, Task, View, step,
};
use taskpass_types::{
    AgentId, ApprovalId, DenyRecord, Epoch, LeaseId, PolicyRevision, Refusal, ResourceName, TaskId, TenantId,
    Timestamp,
};

#[derive(Default)]
pub(crate) struct World {
    pub(crate) limits: Limits,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    pub(crate) leases: BTreeMap<LeaseId, Lease>,
    pub(crate) approvals: BTreeMap<ApprovalId, Approval>,
    pub(crate) requests: BTreeMap<RequestKey, RequestRecord>,
    pub(crate) holds: BTreeMap<HoldKey, Hold>,
    pub(crate) bars: Bars,
    pub(crate) denies: BTreeMap<Epoch, DenyRecord>,
    pub(crate) epoch: Epoch,
    pub(crate) policy: Option<PolicyRevision>,
    pub(crate) policies: u64,
}

impl World {
    /// Decides, and keeps what was decided.
    pub(crate) fn apply(&mut self, event: &Event, now: Timestamp) -> Result<Effects, Refusal> {
        let effects = step(self.view(event), event, &self.limits, now)?;
        self.save(&effects);
        Ok(effects)
    }

    fn view(&self, event: &Event) -> View {
        let mut view = View { epoch: self.epoch, policy_revision: self.policy.clone(), ..View::default() };
        view.bars = self.bars.clone();
        match event {
            Event::BarWide(_) | Event::ReleaseWide(_) => {}
            Event::CallTool(call) => {
                self.see_task(&mut view, call.task);
                view.lease = call.lease.and_then(|id| self.leases.get(&id).cloned());
                view.hold = self.hold(call.task, &call.agent, &call.resource);
                view.approval = self.approval_of(&call.agent, call.approval.as_ref());
            }
            Event::CutLease(cut) => self.see_lease(&mut view, cut.lease),
            // Not about any of these records; see tests/fleet.rs.
            Event::DenyKeys(_) | Event::ShareFollowers(_) | Event::ShareKeys(_) | Event::TakeTurn(_) => {}
            Event::ForgetDeny(_, epoch) => view.deny = self.denies.get(epoch).cloned(),
            Event::EndLease(end) => self.see_lease(&mut view, end.lease),
            Event::EndTask(end) => self.see_task(&mut view, end.task),
            Event::Heartbeat(beat) => self.see_task(&mut view, beat.task),
            Event::HoldTask(hold) => {
                self.see_task(&mut view, hold.task);
                view.hold = self.hold(hold.task, &hold.agent, &hold.resource);
            }
            Event::PlanLease(plan) => {
                self.see_task(&mut view, plan.task);
                let (agent, id) = (plan.agent.clone(), plan.request.id.clone());
                view.request = self.requests.get(&RequestKey { tenant: tenant(), agent, id }).cloned();
                if let Some(RequestRecord { target: RequestTarget::Lease(id), .. }) = view.request {
                    view.lease = self.leases.get(&id).cloned();
                }
                view.hold = self.hold(plan.task, &plan.agent, &plan.resource);
                view.approval = self.approval_of(&plan.agent, plan.approval.as_ref());
            }
            Event::ReleaseHold(release) => view.hold = self.holds.get(&release.key).cloned(),
            Event::RenewLease(renew) => {
                self.see_lease(&mut view, renew.lease);
                if let Some(lease) = &view.lease {
                    view.hold = self.hold(lease.task().unwrap(), &renew.agent, &lease.resource);
                }
            }
            Event::RequestApproval(ask) => {
                self.see_task(&mut view, ask.task);
                let key = RequestKey::of_approval(&ask.tenant, &ask.agent, &ask.digest).unwrap();
                view.request = self.requests.get(&key).cloned();
                view.approval = self.newest_approval(&ask.agent, &ask.digest);
                let waits = |found: &&Approval| found.agent == ask.agent && found.is_pending();
                view.pending_approvals =
                    u32::try_from(self.approvals.values().filter(waits).count()).unwrap();
            }
            Event::SetPolicies(_) => view.newest_policies = self.policies,
            Event::SettleTask(_, id, slice) => {
                view.task = self.tasks.get(id).cloned();
                let slice = usize::try_from(*slice).unwrap();
                view.leases_below = self.live_leases(*id).take(slice).cloned().collect();
                let rest = slice - view.leases_below.len();
                view.children_below = self.live_children(*id).take(rest).cloned().collect();
            }
            Event::StartTask(start) => {
                let (agent, id) = (start.agent.clone(), start.request.id.clone());
                view.request = self.requests.get(&RequestKey { tenant: tenant(), agent, id }).cloned();
                if let Some(RequestRecord { target: RequestTarget::Task(id), .. }) = view.request {
                    view.replayed_task = self.tasks.get(&id).cloned();
                }
                let mine = |task: &&Task| task.end().is_none() && task.agent() == Some(&start.agent);
                view.running_tasks = u32::try_from(self.tasks.values().filter(mine).count()).unwrap();
                if let Some(parent) = start.parent {
                    self.see_task(&mut view, parent);
                }
                let asker = view.task.as_ref().and_then(Task::agent).unwrap_or(&start.agent);
                view.approval = self.approval_of(asker, start.approval.as_ref());
            }
            Event::TickApproval(_, id) => view.approval = self.approvals.get(id).cloned(),
            Event::TickLease(_, id) => self.see_lease(&mut view, *id),
            Event::TickTask(_, id) => self.see_task(&mut view, *id),
            Event::Vote(cast) => view.approval = self.approvals.get(&cast.approval).cloned(),
        }
        view
    }

    pub(crate) fn live_leases(&self, task: TaskId) -> impl Iterator<Item = &Lease> {
        self.leases.values().filter(move |lease| lease.task() == Some(task) && lease.end().is_none())
    }

    pub(crate) fn live_children(&self, parent: TaskId) -> impl Iterator<Item = &Task> {
        self.tasks.values().filter(move |task| task.parent() == Some(parent) && task.end().is_none())
    }

    pub(crate) fn hold(&self, task: TaskId, agent: &AgentId, resource: &ResourceName) -> Option<Hold> {
        let (agent, resource) = (agent.clone(), resource.clone());
        self.holds.get(&HoldKey { tenant: tenant(), agent, task, resource }).cloned()
    }

    fn approval_of(&self, agent: &AgentId, asked: Option<&ApprovalUse>) -> Option<Approval> {
        let asked = asked?;
        match asked.id {
            Some(id) => self.approvals.get(&id).cloned(),
            None => self.newest_approval(agent, &asked.digest),
        }
    }

    fn newest_approval(&self, agent: &AgentId, digest: &[u8; 32]) -> Option<Approval> {
        let key = RequestKey::of_approval(&tenant(), agent, digest).unwrap();
        match self.requests.get(&key)?.target {
            RequestTarget::Approval(id) => self.approvals.get(&id).cloned(),
            RequestTarget::Lease(_) | RequestTarget::Task(_) => None,
        }
    }

    fn see_task(&self, view: &mut View, id: TaskId) {
        view.task = self.tasks.get(&id).cloned();
        for above in view.task.iter().flat_map(|task| task.path.iter()).filter(|above| *above != id) {
            view.ancestors.extend(self.tasks.get(&above).cloned());
        }
    }

    fn see_lease(&self, view: &mut View, id: LeaseId) {
        view.lease = self.leases.get(&id).cloned();
        if let Some(task) = view.lease.as_ref().and_then(Lease::task) {
            self.see_task(view, task);
        }
    }

    fn save(&mut self, effects: &Effects) {
        self.tasks.extend(effects.tasks.iter().map(|task| (task.id, task.clone())));
        self.leases.extend(effects.leases.iter().map(|lease| (lease.id, lease.clone())));
        self.approvals.extend(effects.approval.iter().map(|approval| (approval.id, approval.clone())));
        if let Some(deny) = &effects.deny {
            self.epoch = deny.epoch;
            self.denies.insert(deny.epoch, deny.clone());
        }
        match &effects.hold {
            Some(HoldChange::Set(key, hold)) => drop(self.holds.insert(key.clone(), hold.clone())),
            Some(HoldChange::Clear(key)) => drop(self.holds.remove(key)),
            None => {}
        }
        if let Some((_, bars)) = &effects.bars {
            self.bars = bars.clone();
        }
        self.requests.extend(effects.request.clone());
        if let Some(set) = &effects.policies {
            (self.policy, self.policies) = (Some(set.info.revision.clone()), set.info.number);
        }
        if let Some((_, id)) = &effects.forget_approval {
            self.approvals.remove(id);
            self.requests.retain(|_, record| record.target != RequestTarget::Approval(*id));
        }
        if let Some((_, id)) = &effects.forget_task {
            self.tasks.remove(id);
            self.requests.retain(|_, record| record.target != RequestTarget::Task(*id));
            self.holds.retain(|key, _| key.task != *id);
        }
        if let Some((_, id)) = &effects.forget_lease {
            self.leases.remove(id);
            self.requests.retain(|_, record| record.target != RequestTarget::Lease(*id));
        }
        if let Some((_, epoch)) = &effects.forget_deny {
            self.denies.remove(epoch);
        }
    }
}

fn tenant() -> TenantId {
    TenantId::default()
}
