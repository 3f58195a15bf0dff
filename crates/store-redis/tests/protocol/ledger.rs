//! The ledger and the servers that keep it: one primary, its replicas, and what a failover leaves of them.
//!
//! Invariants: a replica holds a prefix of what its primary did; every promotion and every restart begins another
//! history, which whoever opens a connection can see (`master_replid`); a write happens at one server, at once, or not
//! at all.

/// The task that has a parent, as a set of one.
pub(crate) const CHILD: Tasks = 0b01;
/// Its parent.
pub(crate) const PARENT: Tasks = 0b10;
/// The task path of the lease: an end of any of these ends it.
pub(crate) const PATH: Tasks = CHILD | PARENT;

/// A set of tasks.
pub(crate) type Tasks = u8;
/// A set of brokers.
pub(crate) type Brokers = u8;

/// The one lease of the one request that all brokers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub(crate) id: u8,
    pub(crate) renewed: bool,
}

/// All records, as one server has them. Content stands for stamps: every record here changes only forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ledger {
    /// How many commits led here.
    pub(crate) seq: u8,
    /// Who does not serve with this one gets nothing committed; 0 once the ledger was wiped.
    pub(crate) generation: u8,
    /// The history that the generation was made for.
    pub(crate) made_for: u8,
    /// The brokers whose journals went into the ledger since.
    pub(crate) replayed: Brokers,
    /// Whether the tasks were ever started.
    pub(crate) started: bool,
    /// Tasks with a deny record, which is the same write as their end.
    pub(crate) ended: Tasks,
    pub(crate) policy: u8,
    pub(crate) lease: Option<Lease>,
}

impl Ledger {
    /// Both tasks run, nothing is issued.
    pub(crate) fn new() -> Self {
        let (seq, generation, made_for, policy) = (1, 1, 0, 1);
        Self {
            seq,
            generation,
            made_for,
            replayed: Brokers::MAX,
            started: true,
            ended: 0,
            policy,
            lease: None,
        }
    }

    /// After a FLUSHALL.
    fn wiped() -> Self {
        Self { generation: 0, started: false, ..Self::new() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Primary,
    /// It was the primary, thinks that it still is, and is so to the brokers that reach it; it has no replica.
    CutOff,
    Attached,
    /// Was not synced with the primary that there is now; may be promoted all the same.
    Detached,
    Down,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub(crate) role: Role,
    /// Which life as a primary this is.
    pub(crate) history: u8,
    pub(crate) ledger: Ledger,
    /// What the primary did and this replica did not yet.
    behind: Vec<Ledger>,
}

/// A connection, and what its owner was told when it opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    pub(crate) server: usize,
    pub(crate) history: u8,
    pub(crate) generation: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Servers(Vec<Server>);

impl Servers {
    /// A primary, its replicas, and a server that can take the place of one that failed.
    pub(crate) fn new(replicas: usize, spare: bool, ledger: Ledger) -> Self {
        let server = |role| Server { role, history: 0, ledger, behind: Vec::new() };
        let mut servers = vec![server(Role::Primary)];
        servers.extend(std::iter::repeat_n(server(Role::Attached), replicas));
        servers.extend(spare.then(|| server(Role::Down)));
        Self(servers)
    }

    pub(crate) fn get(&self, server: usize) -> &Server {
        &self.0[server]
    }

    pub(crate) fn indices(&self) -> std::ops::Range<usize> {
        0..self.0.len()
    }

    pub(crate) fn primary(&self) -> usize {
        self.indices().find(|at| self.0[*at].role == Role::Primary).unwrap_or(0)
    }

    /// Where a command arrives. A connection ends with the history that it was opened to; who connects again without
    /// looking (`bound` is false) talks to whatever is the primary now.
    pub(crate) fn route(&self, session: Session, bound: bool) -> Option<usize> {
        if self.open(session) { Some(session.server) } else { (!bound).then(|| self.primary()) }
    }

    /// Whether the connection still stands.
    pub(crate) fn open(&self, session: Session) -> bool {
        let server = &self.0[session.server];
        server.history == session.history && matches!(server.role, Role::Primary | Role::CutOff)
    }

    /// Commits at a primary, which streams it to the attached. Gives the number of the commit.
    pub(crate) fn commit(&mut self, at: usize, change: impl FnOnce(&mut Ledger)) -> u8 {
        let ledger = &mut self.0[at].ledger;
        change(ledger);
        ledger.seq += 1;
        let ledger = *ledger;
        self.stream(at, ledger);
        ledger.seq
    }

    fn stream(&mut self, from: usize, ledger: Ledger) {
        if self.0[from].role == Role::Primary {
            for replica in self.0.iter_mut().filter(|server| server.role == Role::Attached) {
                replica.behind.push(ledger);
            }
        }
    }

    /// How many replicas of this primary are attached, and how many of them have commit `seq`.
    pub(crate) fn acks(&self, at: usize, seq: u8) -> (usize, usize) {
        if self.0[at].role != Role::Primary {
            return (0, 0);
        }
        let attached = || self.0.iter().filter(|server| server.role == Role::Attached);
        (attached().count(), attached().filter(|replica| replica.ledger.seq >= seq).count())
    }

    /// A replica does one more of what its primary did.
    pub(crate) fn replicate(&mut self, at: usize) -> Option<()> {
        let replica = &mut self.0[at];
        if replica.behind.is_empty() {
            return None;
        }
        replica.ledger = replica.behind.remove(0);
        Some(())
    }

    /// A server becomes a replica of the primary that there is now, by a full sync.
    pub(crate) fn attach(&mut self, at: usize, replicas: usize) -> Option<()> {
        let attached = self.0.iter().filter(|server| server.role == Role::Attached).count();
        if matches!(self.0[at].role, Role::Primary | Role::Attached) || attached >= replicas {
            return None;
        }
        let ledger = self.0[self.primary()].ledger;
        self.0[at] = Server { role: Role::Attached, history: 0, ledger, behind: Vec::new() };
        Some(())
    }

    /// A failover to any replica, however far behind. The old primary is gone, or cut off from all but some brokers.
    pub(crate) fn promote(&mut self, at: usize, history: u8, cut_off: bool) -> Option<()> {
        if !matches!(self.0[at].role, Role::Attached | Role::Detached) {
            return None;
        }
        let old = self.primary();
        self.detach();
        // What a server has that is gone is of no more interest.
        let gone = Server { role: Role::Down, history: 0, ledger: Ledger::new(), behind: Vec::new() };
        if cut_off {
            self.0[old].role = Role::CutOff
        } else {
            self.0[old] = gone
        }
        self.0[at].role = Role::Primary;
        self.0[at].history = history;
        Some(())
    }

    /// FLUSHALL: a command like any other, so the history goes on and replicas follow.
    pub(crate) fn wipe(&mut self) {
        let at = self.primary();
        let wiped = Ledger { seq: self.0[at].ledger.seq, ..Ledger::wiped() };
        self.commit(at, |ledger| *ledger = wiped);
    }

    /// The primary is started again from an older file.
    pub(crate) fn restore(&mut self, backup: Ledger, history: u8) {
        let at = self.primary();
        self.detach();
        self.0[at].ledger = backup;
        self.0[at].history = history;
    }

    fn detach(&mut self) {
        for replica in self.0.iter_mut().filter(|server| server.role == Role::Attached) {
            replica.role = Role::Detached;
            replica.behind.clear();
        }
    }
}
