//! What an act means among what exists by now.

use crate::{
    common::{self, agent, fence, group, quorum, request, resource, scope, secs},
    history::{Act, Asker, Needs, PEOPLE, QUORUMS, Ties},
    model::Model,
};
use std::time::Duration;
use taskpass_lease::{
    ApprovalUse, BarWide, CallTool, EndLease, EndTask, Event, Heartbeat, HeldFor, HoldKey, HoldTask,
    PlanLease, ReleaseHold, ReleaseWide, RenewLease, Request, RequestApproval, StartTask, Verdict,
};
use taskpass_types::{
    ActionName, AgentId, ApprovalId, Confirmation, CredentialKind, EndReason, Epoch, LeaseId, Obligations,
    Revocability, TaskId, TenantId,
};

impl Model {
    fn nth_task(&self, nth: usize) -> TaskId {
        newest(&self.tasks, nth).unwrap_or(TaskId::from_bytes([1; 16]))
    }

    fn nth_lease(&self, nth: usize) -> LeaseId {
        newest(&self.leases, nth).unwrap_or(LeaseId::from_bytes([1; 16]))
    }

    fn nth_approval(&self, nth: usize) -> ApprovalId {
        let asked: Vec<_> = self.asked.keys().copied().collect();
        newest(&asked, nth).unwrap_or(ApprovalId::from_bytes([1; 16]))
    }

    fn holder(&self, task: TaskId) -> AgentId {
        self.declared.get(&task).map_or(agent("nobody"), |task| task.agent.clone())
    }

    pub(crate) fn event(&self, act: &Act) -> Event {
        let tenant = TenantId::default();
        match act {
            Act::Ask(act) => Event::RequestApproval(Box::new(RequestApproval {
                agent: asker(act.usual),
                quorums: QUORUMS[act.quorums]
                    .iter()
                    .map(|(name, count, members)| quorum(name, *count, members))
                    .collect(),
                fence: fence(&revision(act.revision)),
                ..common::ask(ApprovalId::new(), self.nth_task(act.task), act.digest)
            })),
            Act::Bar { nth, end, hold } => Event::BarWide(BarWide {
                tenant,
                wide: Self::nth_wide(*nth),
                end: *end,
                hold: hold.map(|secs| match secs {
                    0 => HeldFor::Good,
                    secs => HeldFor::Until(self.now.plus(Duration::from_secs(secs))),
                }),
                by: "widely".to_owned(),
            }),
            Act::Lift { nth } => Event::ReleaseWide(ReleaseWide { tenant, wide: Self::nth_wide(*nth) }),
            Act::Call(act) => {
                let lease = act.lease.map(|nth| self.nth_lease(nth));
                // A lease is mostly used under its own task.
                let task = lease.and_then(|lease| self.granted.get(&lease)?.0.task_path.task());
                Event::CallTool(Box::new(CallTool {
                    agent: asker(act.usual),
                    action: action(act.write),
                    obligations: Obligations {
                        max_calls_per_minute: act.in_a_minute,
                        max_uses: act.uses,
                        approvals: obliged(&act.needs),
                        ..Obligations::default()
                    },
                    fence: fence(&revision(act.revision)),
                    approval: self.using(&act.needs),
                    ..common::call(task.unwrap_or(self.nth_task(act.task)), lease)
                }))
            }
            Act::Cut { lease, away } => {
                let at = self.now.as_millis().saturating_add_signed(*away);
                Event::CutLease(common::cut(
                    self.nth_lease(*lease),
                    taskpass_types::Timestamp::from_millis(at),
                ))
            }
            Act::EndLease { lease, hold } => Event::EndLease(EndLease {
                tenant,
                lease: self.nth_lease(*lease),
                reason: EndReason::Killed,
                by: "operator".to_owned(),
                hold: *hold,
            }),
            Act::EndTask { task } => Event::EndTask(EndTask {
                tenant,
                task: self.nth_task(*task),
                reason: EndReason::Completed,
                by: "operator".to_owned(),
            }),
            Act::ForgetDeny { epoch } => Event::ForgetDeny(tenant, Epoch(*epoch)),
            Act::Heartbeat { task } => Event::Heartbeat(Heartbeat { tenant, task: self.nth_task(*task) }),
            Act::Hold { task, lease } => {
                let task = self.nth_task(*task);
                Event::HoldTask(HoldTask {
                    tenant,
                    agent: self.holder(task),
                    task,
                    resource: resource(),
                    by: "operator".to_owned(),
                    lease: lease.map(|nth| self.nth_lease(nth)),
                })
            }
            Act::Plan(act) => Event::PlanLease(Box::new(PlanLease {
                agent: asker(act.asker.usual),
                actions: [action(act.write)].into(),
                kind: if act.x509 { CredentialKind::X509 } else { CredentialKind::Jwt },
                confirmation: act.x509.then(|| Confirmation::KeyThumbprint("key".to_owned())),
                ttl: secs(act.ttl),
                obligations: obligations(&act.ties),
                evidence_expires_at: self.now.plus(Duration::from_millis(act.evidence)),
                fence: fence(&revision(act.revision)),
                approval: self.using(&act.ties.needs),
                request: asked(&act.asker),
                ..common::plan(LeaseId::new(), self.nth_task(act.task))
            })),
            Act::ReleaseHold { task } => {
                let task = self.nth_task(*task);
                let agent = self.holder(task);
                Event::ReleaseHold(ReleaseHold { key: HoldKey { tenant, agent, task, resource: resource() } })
            }
            Act::Renew(act) => Event::RenewLease(Box::new(RenewLease {
                agent: asker(act.asker.usual),
                ttl: secs(act.ttl),
                obligations: obligations(&act.ties),
                evidence_expires_at: self.now.plus(Duration::from_millis(act.evidence)),
                fence: fence(&revision(act.revision)),
                ..common::renew(self.nth_lease(act.lease), asked(&act.asker).id.as_str())
            })),
            Act::SetPolicy { revision: nth } => {
                Event::SetPolicies(Box::new(common::policies(&revision(*nth))))
            }
            Act::Settle { task, slice } => Event::SettleTask(tenant, self.nth_task(*task), *slice),
            Act::Start(act) => {
                let scopes = [Some(scope("read")), act.write.then(|| scope("write"))];
                Event::StartTask(Box::new(StartTask {
                    agent: asker(act.asker.usual),
                    ttl: secs(act.ttl),
                    max_ttl: act.max_ttl.map(secs),
                    heartbeat: act.heartbeat.map(secs),
                    scopes: scopes.into_iter().flatten().collect(),
                    fence: act.revision.map(|nth| fence(&revision(nth))),
                    approval: self.using(&act.needs),
                    request: asked(&act.asker),
                    ..common::start(TaskId::new(), act.parent.map(|parent| self.nth_task(parent)))
                }))
            }
            Act::TickApproval { approval } => Event::TickApproval(tenant, self.nth_approval(*approval)),
            Act::TickLease { lease } => Event::TickLease(tenant, self.nth_lease(*lease)),
            Act::TickTask { task } => Event::TickTask(tenant, self.nth_task(*task)),
            Act::Vote { approval, person, deny } => {
                let verdict = if *deny { Verdict::Deny } else { Verdict::Approve };
                Event::Vote(Box::new(common::vote(self.nth_approval(*approval), PEOPLE[*person], verdict)))
            }
        }
    }

    fn using(&self, needs: &Option<Needs>) -> Option<ApprovalUse> {
        needs.as_ref().map(|needs| ApprovalUse {
            id: needs.id.map(|nth| self.nth_approval(nth)),
            digest: [needs.digest; 32],
            required: obliged(&Some(needs.clone())),
        })
    }
}

/// The newest are the ones that most likely live.
fn newest<Id: Copy>(ids: &[Id], nth: usize) -> Option<Id> {
    ids.iter().rev().nth(nth % ids.len().max(1)).copied()
}

fn obliged(needs: &Option<Needs>) -> std::collections::BTreeMap<taskpass_types::GroupName, u8> {
    let quorums = needs.as_ref().map_or(&[][..], |needs| QUORUMS[needs.quorums]);
    quorums.iter().map(|(name, count, _)| (group(name), *count)).collect()
}

fn obligations(ties: &Ties) -> Obligations {
    Obligations {
        max_ttl: ties.max_ttl.map(secs),
        revocability: ties.immediate.then_some(Revocability::Immediate),
        bound: ties.bound,
        approvals: obliged(&ties.needs),
        max_credentials: ties.credentials,
        max_uses: ties.uses,
        recheck: ties.recheck.map(secs),
        ..Obligations::default()
    }
}

fn action(write: bool) -> ActionName {
    ActionName::new(if write { "write" } else { "read" }).unwrap()
}

fn asker(usual: bool) -> AgentId {
    agent(if usual { common::AGENT } else { "ci/other" })
}

fn asked(asker: &Asker) -> Request {
    request(&format!("q{}", asker.request), asker.digest)
}

fn revision(nth: u8) -> String {
    format!("r{nth}")
}
