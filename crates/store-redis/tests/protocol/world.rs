//! All that there is: servers, brokers, and what an onlooker knows who sees every broker at once.
//!
//! A release and the last look before it are one moment here. In truth a credential travels after that look; a deny
//! record that comes in between names a task of its path, so verifiers refuse it.

use crate::{
    broker::Broker,
    design::{Budget, Design, Generations, Histories, Scenario, Wait},
    ledger::{Ledger, PATH, Role, Servers, Session, Tasks},
};

/// What was promised and what was broken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Witness {
    /// Tasks whose end was acknowledged.
    pub(crate) ended: Tasks,
    /// The newest policy revision that was acknowledged.
    pub(crate) policy: u8,
    /// Leases a credential of which was released, as a set.
    pub(crate) released: u8,
    /// A lease was written under an acknowledged end.
    pub(crate) issued_late: bool,
    /// A credential was released under an acknowledged end.
    pub(crate) released_late: bool,
    /// A broker released a credential under an end that it had itself noted.
    pub(crate) released_own: bool,
    /// A credential was released that rests on a policy older than an acknowledged one.
    pub(crate) released_old: bool,
}

impl Witness {
    pub(crate) fn path_ended(&self) -> bool {
        self.ended & PATH != 0
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) servers: Servers,
    pub(crate) brokers: Vec<Broker>,
    pub(crate) left: Budget,
    pub(crate) witness: Witness,
    /// An older state of the ledger that somebody kept.
    pub(crate) backup: Option<Ledger>,
    replicas: usize,
    generations: u8,
    histories: u8,
    leases: u8,
}

/// Takes one from a budget.
pub(crate) fn take(left: &mut u8) -> Option<()> {
    *left = left.checked_sub(1)?;
    Some(())
}

impl World {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let session = Session { server: 0, history: 0, generation: 1 };
        Self {
            servers: Servers::new(scenario.replicas, scenario.partition, Ledger::new()),
            brokers: vec![Broker::serving(session); scenario.brokers],
            left: scenario.budget,
            witness: Witness { policy: 1, ..Witness::default() },
            backup: None,
            replicas: scenario.replicas,
            generations: 1,
            histories: 0,
            leases: 0,
        }
    }

    pub(crate) fn primary(&self) -> &Ledger {
        &self.servers.get(self.servers.primary()).ledger
    }

    pub(crate) fn new_lease(&mut self) -> u8 {
        self.leases += 1;
        self.leases
    }

    pub(crate) fn new_generation(&mut self, design: &Design, ledger: &Ledger) -> u8 {
        self.generations += 1;
        match design.generations {
            Generations::Fresh => self.generations,
            Generations::Counted => ledger.generation + 1,
        }
    }

    fn new_history(&mut self) -> u8 {
        self.histories += 1;
        self.histories
    }

    /// Whether a WAIT that follows commit `seq` on `session` is answered with enough.
    pub(crate) fn waited(&self, wait: Wait, session: Session, seq: u8) -> bool {
        let (attached, acks) = self.servers.acks(session.server, seq);
        match wait {
            Wait::Not => true,
            _ if !self.servers.open(session) => false,
            Wait::OtherConnection => true,
            Wait::One => acks >= 1,
            Wait::Attached => acks >= attached,
            Wait::All => acks >= self.replicas,
        }
    }

    pub(crate) fn fail_over(&mut self, design: &Design, to: usize, cut_off: bool) -> Option<()> {
        take(&mut self.left.failovers)?;
        let history = match design.histories {
            Histories::Promotions => self.new_history(),
            Histories::Starts => u8::try_from(to).ok()?,
        };
        self.servers.promote(to, history, cut_off)
    }

    pub(crate) fn attach(&mut self, at: usize) -> Option<()> {
        self.servers.attach(at, self.replicas)
    }

    pub(crate) fn wipe(&mut self) -> Option<()> {
        take(&mut self.left.wipes)?;
        self.servers.wipe();
        Some(())
    }

    /// Somebody keeps a copy of the ledger, for a restore that comes.
    pub(crate) fn back_up(&mut self) -> Option<()> {
        (self.left.restores > 0 && self.backup.is_none()).then(|| self.backup = Some(*self.primary()))
    }

    pub(crate) fn restore(&mut self) -> Option<()> {
        let backup = self.backup.take()?;
        take(&mut self.left.restores)?;
        let history = self.new_history();
        self.servers.restore(backup, history);
        Some(())
    }

    /// Whether this broker would get a commit through to the primary.
    pub(crate) fn serves(&self, broker: &Broker, design: &Design) -> bool {
        let reached = broker.session().and_then(|session| {
            let server = self.servers.get(self.servers.route(session, design.bound)?);
            let passes = !design.fence || server.ledger.generation == session.generation;
            (server.role == Role::Primary && passes).then_some(())
        });
        reached.is_some()
    }

    /// Whether no broker serves from a primary that lacks what was promised.
    pub(crate) fn remembers(&self, design: &Design) -> bool {
        let ledger = self.primary();
        self.brokers.iter().filter(|broker| self.serves(broker, design)).all(|broker| {
            let promised = self.witness.ended | broker.noted();
            promised & !ledger.ended == 0 && self.witness.policy <= ledger.policy
        })
    }
}
