//! What a transition will look at, told from the event alone.
//!
//! A store that is far away fetches these rows in one round before it runs the transition. It is a hint and nothing rests
//! on it: a row that is missing here costs one more round, a row too many a few bytes. What is only known from another row
//! (the tasks above a task, the task of a lease) is not here.

use crate::{
    Due, DueWhat,
    record::{
        FOLLOWERS_KEY, KEYS_KEY, POLICY_KEY, approval_key, bars_key, deny_key, due_key, epoch_key, hold_key,
        lease_key, pending_key, request_key, running_key, task_key, turn_key,
    },
    tables::Table,
    terms,
};
use taskpass_lease::{ApprovalUse, Event, HoldKey, RequestKey};
use taskpass_types::{AgentId, RequestId, ResourceName, TaskId, TenantId};

type Row = (Table, Vec<u8>);

pub(crate) fn due(due: &Due) -> Vec<Row> {
    let record = match &due.what {
        DueWhat::Approval(tenant, id) => approval(tenant, *id),
        DueWhat::Deny(tenant, epoch) => (Table::Denies, deny_key(tenant, *epoch)),
        DueWhat::Lease(tenant, id) => lease(tenant, *id),
        DueWhat::Task(tenant, id) => task(tenant, *id),
    };
    vec![(Table::Schedule, due_key(due)), record]
}

pub(crate) fn event(event: &Event) -> Vec<Row> {
    match event {
        Event::BarWide(bar) => vec![epoch(&bar.tenant), bars(&bar.tenant)],
        Event::CallTool(call) => {
            let mut rows = vec![policy(), bars(&call.tenant), task(&call.tenant, call.task)];
            rows.push(hold(&call.tenant, &call.agent, call.task, &call.resource));
            rows.extend(call.lease.map(|id| lease(&call.tenant, id)));
            rows.extend(consent(&call.tenant, &call.agent, call.approval.as_ref()));
            rows
        }
        Event::CutLease(cut) => vec![epoch(&cut.tenant), bars(&cut.tenant), lease(&cut.tenant, cut.lease)],
        Event::EndLease(end) => vec![epoch(&end.tenant), bars(&end.tenant), lease(&end.tenant, end.lease)],
        Event::EndTask(end) => vec![epoch(&end.tenant), task(&end.tenant, end.task)],
        Event::DenyKeys(deny) => vec![epoch(&deny.tenant)],
        Event::ForgetDeny(tenant, epoch) => vec![(Table::Denies, deny_key(tenant, *epoch))],
        Event::Heartbeat(beat) => vec![task(&beat.tenant, beat.task)],
        Event::HoldTask(held) => {
            vec![task(&held.tenant, held.task), hold(&held.tenant, &held.agent, held.task, &held.resource)]
        }
        Event::PlanLease(plan) => {
            let mut rows = vec![policy(), lease(&plan.tenant, plan.id), task(&plan.tenant, plan.task)];
            rows.push(bars(&plan.tenant));
            rows.push(request(&plan.tenant, &plan.agent, &plan.request.id));
            rows.push(hold(&plan.tenant, &plan.agent, plan.task, &plan.resource));
            rows.extend(terms::foreseen(plan).map(|key| (Table::Terms, key)));
            rows.extend(consent(&plan.tenant, &plan.agent, plan.approval.as_ref()));
            rows
        }
        Event::ReleaseHold(release) => vec![(Table::Holds, hold_key(&release.key))],
        Event::ReleaseWide(release) => vec![bars(&release.tenant)],
        Event::RenewLease(renew) => vec![policy(), bars(&renew.tenant), lease(&renew.tenant, renew.lease)],
        Event::RequestApproval(ask) => {
            let mut rows = vec![policy(), task(&ask.tenant, ask.task), approval(&ask.tenant, ask.id)];
            rows.push((Table::Meta, pending_key(&ask.tenant, &ask.agent)));
            rows.extend(approved(&ask.tenant, &ask.agent, &ask.digest));
            rows
        }
        Event::SetPolicies(_) => vec![policy()],
        Event::SettleTask(tenant, id, _) => vec![task(tenant, *id)],
        Event::ShareFollowers(_) => vec![(Table::Meta, FOLLOWERS_KEY.to_vec())],
        Event::ShareKeys(_) => vec![(Table::Meta, KEYS_KEY.to_vec())],
        Event::StartTask(start) => {
            let mut rows = vec![policy(), bars(&start.tenant), task(&start.tenant, start.id)];
            rows.push(request(&start.tenant, &start.agent, &start.request.id));
            rows.push((Table::Meta, running_key(&start.tenant, &start.agent)));
            rows.extend(start.parent.map(|parent| task(&start.tenant, parent)));
            rows
        }
        Event::TakeTurn(take) => vec![(Table::Meta, turn_key(take.duty))],
        Event::TickApproval(tenant, id) => vec![approval(tenant, *id)],
        Event::TickLease(tenant, id) => vec![epoch(tenant), bars(tenant), lease(tenant, *id)],
        Event::TickTask(tenant, id) => vec![epoch(tenant), task(tenant, *id)],
        Event::Vote(cast) => vec![approval(&cast.tenant, cast.approval)],
    }
}

fn policy() -> Row {
    (Table::Meta, POLICY_KEY.to_vec())
}

fn epoch(tenant: &TenantId) -> Row {
    (Table::Meta, epoch_key(tenant))
}

fn bars(tenant: &TenantId) -> Row {
    (Table::Meta, bars_key(tenant))
}

fn task(tenant: &TenantId, id: TaskId) -> Row {
    (Table::Tasks, task_key(tenant, id))
}

fn lease(tenant: &TenantId, id: taskpass_types::LeaseId) -> Row {
    (Table::Leases, lease_key(tenant, id))
}

fn approval(tenant: &TenantId, id: taskpass_types::ApprovalId) -> Row {
    (Table::Approvals, approval_key(tenant, id))
}

fn hold(tenant: &TenantId, agent: &AgentId, task: TaskId, resource: &ResourceName) -> Row {
    let (tenant, agent, resource) = (tenant.clone(), agent.clone(), resource.clone());
    (Table::Holds, hold_key(&HoldKey { tenant, agent, task, resource }))
}

fn request(tenant: &TenantId, agent: &AgentId, id: &RequestId) -> Row {
    let key = RequestKey { tenant: tenant.clone(), agent: agent.clone(), id: id.clone() };
    (Table::Requests, request_key(&key))
}

fn approved(tenant: &TenantId, agent: &AgentId, digest: &[u8; 32]) -> Option<Row> {
    let key = RequestKey::of_approval(tenant, agent, digest).ok()?;
    Some((Table::Requests, request_key(&key)))
}

fn consent(tenant: &TenantId, agent: &AgentId, asked: Option<&ApprovalUse>) -> Option<Row> {
    match asked? {
        ApprovalUse { id: Some(id), .. } => Some(approval(tenant, *id)),
        ApprovalUse { digest, .. } => approved(tenant, agent, digest),
    }
}
