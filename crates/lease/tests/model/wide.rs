//! Ends and holds that are wider than a task, as the rules have them: what was there before an end is dead for good, whatever
//! the clocks do; nothing comes of what is held.

use crate::{common, model::Model};
use taskpass_lease::{BarWide, HeldFor, Lease, Task, Wide};
use taskpass_types::{AgentId, Grant, LeaseId};

impl Model {
    /// What the nth thing is that can be barred: the two agents, the owner, the resource and the tenant.
    pub(crate) fn nth_wide(nth: usize) -> Wide {
        let start = common::start(taskpass_types::TaskId::from_bytes([1; 16]), None);
        match nth {
            0 => Wide::Agent(common::agent(common::AGENT)),
            1 => Wide::Agent(common::agent("ci/other")),
            2 => Wide::Owner(start.owner),
            3 => Wide::Resource(common::resource()),
            _ => Wide::Tenant,
        }
    }

    pub(crate) fn check_barred(&mut self, bar: &BarWide) {
        if bar.end {
            let under = |grant: &Grant| is_under(&bar.wide, &grant.agents, true);
            let dead = self.granted.iter().filter(|(_, (grant, _))| under(grant)).map(|(id, _)| *id);
            self.widely_dead.extend(dead);
        }
        self.forget_holds();
        if let Some(held) = bar.hold {
            self.widely_held.insert(bar.wide.clone(), held);
        }
    }

    pub(crate) fn check_lifted(&mut self, wide: &Wide) {
        assert!(self.widely_held.remove(wide).is_some_and(|held| self.is_on(held)), "it was held");
        self.forget_holds();
    }

    /// A hold that was over when somebody wrote is over, also if the clock goes back.
    fn forget_holds(&mut self) {
        let now = self.now;
        self.widely_held.retain(|_, held| {
            matches!(held, HeldFor::Until(until) if now < *until) || *held == HeldFor::Good
        });
    }

    fn is_on(&self, held: HeldFor) -> bool {
        match held {
            HeldFor::Good => true,
            HeldFor::Until(until) => self.now < until,
        }
    }

    fn check_not_held(&self, agents: &[AgentId], on_resource: bool) {
        for (wide, held) in &self.widely_held {
            let under = is_under(wide, agents, on_resource);
            assert!(!under || !self.is_on(*held), "{wide} is held");
        }
    }

    /// It is about to be signed, or used.
    pub(crate) fn check_lease_is_free(&self, lease: &Lease) {
        self.check_lives(lease.id);
        self.check_not_held(&lease.agents, true);
    }

    pub(crate) fn check_lives(&self, lease: LeaseId) {
        assert!(!self.widely_dead.contains(&lease), "I5: {lease} was under a wide end");
    }

    pub(crate) fn check_task_is_free(&self, task: &Task, on_resource: bool) {
        self.check_not_held(&task.agents, on_resource);
    }
}

/// All that the histories do is of one owner and for one resource.
fn is_under(wide: &Wide, agents: &[AgentId], on_resource: bool) -> bool {
    match wide {
        Wide::Agent(agent) => agents.contains(agent),
        Wide::Owner(_) | Wide::Tenant => true,
        Wide::Resource(_) => on_resource,
    }
}
