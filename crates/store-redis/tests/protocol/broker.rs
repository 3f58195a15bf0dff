//! What a broker does, one step at a time; between two steps anything else may happen.

use crate::{
    design::{Design, JournalOnly, Look, Recovery, Wait},
    ledger::{CHILD, Lease, Ledger, PATH, Role, Session, Tasks},
    world::{World, take},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    Serving(Session),
    /// Knows that the ledger may have another history, or begins to live.
    Lost,
    /// Has made or found the generation of this history.
    Begun(Session),
    /// Has its own journal in the ledger.
    Replayed(Session),
}

/// A credential on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ask {
    session: Session,
    /// The policy revision it was decided under.
    policy: u8,
    stage: Stage,
    /// Nobody waits for it any more; what was sent may arrive all the same.
    abandoned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Decided on what was loaded; the commit is on its way. The lease is the one to renew, if there was one.
    Decided(Option<Lease>),
    Intended(Lease, u8),
    /// Replicas have the intent.
    Durable(Lease),
    /// The last look was a read, which nobody has confirmed yet.
    Read {
        lease: Lease,
        late: bool,
        old: bool,
    },
    /// The last look was committed; whether an end or a newer policy had been acknowledged by then.
    Looked {
        lease: Lease,
        seq: u8,
        late: bool,
        old: bool,
    },
}

/// What changes for everybody: the end of a task, or a policy revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Change {
    End(Tasks),
    Policy,
}

/// A change on its way; the session and the commit, once it is in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Changing {
    change: Change,
    committed: Option<(Session, u8)>,
}

/// What outlives a crash of the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Journal {
    ended: Tasks,
    policy: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Broker {
    mode: Mode,
    journal: Journal,
    ask: Option<Ask>,
    changing: Option<Changing>,
    noted: Tasks,
}

impl Broker {
    pub(crate) fn serving(session: Session) -> Self {
        Self {
            mode: Mode::Serving(session),
            journal: Journal::default(),
            ask: None,
            changing: None,
            noted: 0,
        }
    }

    /// The session it serves with.
    pub(crate) fn session(&self) -> Option<Session> {
        if let Mode::Serving(session) = self.mode { Some(session) } else { None }
    }

    /// Whether it knows of no history that it could serve.
    pub(crate) fn lost(&self) -> bool {
        self.mode == Mode::Lost
    }

    /// Whether a credential is on its way.
    pub(crate) fn asked(&self) -> bool {
        self.ask.is_some()
    }

    /// Whether an end or a policy revision is on its way.
    pub(crate) fn changes(&self) -> bool {
        self.changing.is_some()
    }

    /// The ends that it answered for from its journal alone.
    pub(crate) fn noted(&self) -> Tasks {
        self.noted
    }

    /// Whether the lease's task is alive, by the ledger and by what this broker knows besides.
    fn alive(&self, design: &Design, ledger: &Ledger) -> bool {
        let looked_at = if design.ancestors { PATH } else { CHILD };
        ledger.started && ledger.ended & looked_at == 0 && !self.journal_ends(design)
    }

    fn journal_ends(&self, design: &Design) -> bool {
        design.overlay && self.journal.ended & PATH != 0
    }
}

impl Journal {
    fn apply(self, ledger: &mut Ledger) {
        ledger.ended |= self.ended;
        ledger.policy = ledger.policy.max(self.policy);
    }

    fn is_in(self, ledger: &Ledger) -> bool {
        self.ended & !ledger.ended == 0 && self.policy <= ledger.policy
    }
}

// Issue and renewal.
impl World {
    /// Somebody asks for the credential, or for the next one of the same lease: load and decide.
    pub(crate) fn ask(&mut self, design: &Design, at: usize, renew: bool) -> Option<()> {
        take(if renew { &mut self.left.renewals } else { &mut self.left.issues })?;
        let broker = &mut self.brokers[at];
        let session = broker.session()?;
        let ledger = self.servers.get(self.servers.route(session, design.bound)?).ledger;
        if broker.ask.is_some() || !broker.alive(design, &ledger) {
            return None;
        }
        let stage = match ledger.lease {
            // The same request again: it gets the lease that there is, and nothing has to be written.
            Some(lease) if !renew => Stage::Intended(lease, 0),
            Some(lease) if lease.renewed => return None,
            lease if lease.is_some() == renew => Stage::Decided(lease),
            _ => return None,
        };
        broker.ask = Some(Ask { session, policy: ledger.policy, stage, abandoned: false });
        Some(())
    }

    /// The server executes the commit of the intent.
    pub(crate) fn intend(&mut self, design: &Design, at: usize) -> Option<()> {
        let ask = self.brokers[at].ask?;
        let Stage::Decided(seen) = ask.stage else { return None };
        let to = self.servers.route(ask.session, design.bound)?;
        let server = self.servers.get(to);
        let ledger = server.ledger;
        if design.fence && ledger.generation != ask.session.generation {
            return self.fenced(at, ask.session);
        }
        let same = ledger.lease == seen && (!design.policy || ledger.policy == ask.policy);
        let looked_at = if design.ancestors { PATH } else { CHILD };
        if design.stamps && !(same && ledger.started && ledger.ended & looked_at == 0) {
            self.brokers[at].ask = None;
            return Some(());
        }
        self.witness.issued_late |= server.role == Role::Primary && self.witness.path_ended();
        let lease = match seen {
            Some(lease) => Lease { renewed: true, ..lease },
            None => Lease { id: self.new_lease(), renewed: false },
        };
        let seq = self.servers.commit(to, |ledger| ledger.lease = Some(lease));
        let stage = Stage::Intended(lease, seq);
        self.brokers[at].ask = (!ask.abandoned).then_some(Ask { stage, ..ask });
        Some(())
    }

    /// Enough replicas say that they have the intent.
    pub(crate) fn intent_durable(&mut self, design: &Design, at: usize) -> Option<()> {
        let ask = self.brokers[at].ask?;
        let Stage::Intended(lease, seq) = ask.stage else { return None };
        if !self.waited(design.intent, ask.session, seq) {
            return None;
        }
        self.brokers[at].ask = Some(Ask { stage: Stage::Durable(lease), ..ask });
        Some(())
    }

    /// It was signed. The last look before it goes out.
    pub(crate) fn look(&mut self, design: &Design, at: usize) -> Option<()> {
        let ask = self.brokers[at].ask?;
        let Stage::Durable(lease) = ask.stage else { return None };
        let late = self.witness.path_ended();
        let old = ask.policy < self.witness.policy;
        if design.look == Look::Skipped {
            return self.release(at, lease, late, old);
        }
        let to = self.servers.route(ask.session, design.bound)?;
        let ledger = self.servers.get(to).ledger;
        let same = ledger.lease == Some(lease) && (!design.policy || ledger.policy == ask.policy);
        if design.fence && ledger.generation != ask.session.generation {
            return self.fenced(at, ask.session);
        }
        if !same || !self.brokers[at].alive(design, &ledger) {
            self.brokers[at].ask = None;
            return Some(());
        }
        if design.look == Look::Read {
            return self.release(at, lease, late, old);
        }
        if design.look == Look::ReadAndProve {
            self.brokers[at].ask = Some(Ask { stage: Stage::Read { lease, late, old }, ..ask });
            return Some(());
        }
        let seq = self.servers.commit(to, |_| ());
        if design.release == Wait::Not {
            return self.release(at, lease, late, old);
        }
        self.brokers[at].ask = Some(Ask { stage: Stage::Looked { lease, seq, late, old }, ..ask });
        Some(())
    }

    /// Commits something, whatever it is, at the primary that was read.
    pub(crate) fn prove(&mut self, design: &Design, at: usize) -> Option<()> {
        let ask = self.brokers[at].ask?;
        let Stage::Read { lease, late, old } = ask.stage else { return None };
        let to = self.servers.route(ask.session, design.bound)?;
        if design.fence && self.servers.get(to).ledger.generation != ask.session.generation {
            return self.fenced(at, ask.session);
        }
        let seq = self.servers.commit(to, |_| ());
        self.brokers[at].ask = Some(Ask { stage: Stage::Looked { lease, seq, late, old }, ..ask });
        Some(())
    }

    /// Enough replicas say that they have the last look.
    pub(crate) fn look_durable(&mut self, design: &Design, at: usize) -> Option<()> {
        let ask = self.brokers[at].ask?;
        let Stage::Looked { lease, seq, late, old } = ask.stage else { return None };
        if !self.waited(design.release, ask.session, seq) {
            return None;
        }
        if self.brokers[at].journal_ends(design) {
            self.brokers[at].ask = None;
            return Some(());
        }
        self.release(at, lease, late, old)
    }

    fn release(&mut self, at: usize, lease: Lease, late: bool, old: bool) -> Option<()> {
        let broker = &mut self.brokers[at];
        broker.ask = None;
        self.witness.released |= 1 << lease.id;
        self.witness.released_late |= late;
        self.witness.released_old |= old;
        self.witness.released_own |= broker.noted & PATH != 0;
        Some(())
    }

    /// The caller hangs up or the broker's patience ends.
    pub(crate) fn give_up(&mut self, at: usize) -> Option<()> {
        let ask = self.brokers[at].ask.as_mut()?;
        let in_flight = matches!(ask.stage, Stage::Decided(_)) && !ask.abandoned;
        if in_flight {
            ask.abandoned = true
        } else {
            self.brokers[at].ask = None
        }
        Some(())
    }

    /// The server refused for the generation: whoever serves with it has to recover.
    fn fenced(&mut self, at: usize, session: Session) -> Option<()> {
        let broker = &mut self.brokers[at];
        broker.ask = None;
        if broker.session() == Some(session) {
            broker.mode = Mode::Lost;
        }
        Some(())
    }
}

// Ends and policy revisions.
impl World {
    /// Somebody ends a task or sets a policy.
    pub(crate) fn change(&mut self, design: &Design, at: usize, change: Change) -> Option<()> {
        let broker = &mut self.brokers[at];
        if broker.changing.is_some() {
            return None;
        }
        match change {
            Change::End(_) => take(&mut self.left.ends)?,
            Change::Policy => broker.session().and_then(|_| take(&mut self.left.policies))?,
        }
        if design.journal {
            match change {
                Change::End(tasks) => broker.journal.ended |= tasks,
                Change::Policy => broker.journal.policy = 2,
            }
        }
        broker.changing = Some(Changing { change, committed: None });
        if design.ack_first {
            self.acknowledge(change);
        }
        Some(())
    }

    /// The server executes the commit of the change.
    pub(crate) fn commit_change(&mut self, design: &Design, at: usize) -> Option<()> {
        let changing = self.brokers[at].changing?;
        let session = self.brokers[at].session()?;
        if changing.committed.is_some_and(|(with, _)| with == session) {
            return None;
        }
        let to = self.servers.route(session, design.bound)?;
        if design.fence && self.servers.get(to).ledger.generation != session.generation {
            self.brokers[at].mode = Mode::Lost;
            return Some(());
        }
        let ledger = self.servers.get(to).ledger;
        let after = match changing.change {
            Change::End(tasks) => Ledger { ended: ledger.ended | tasks, ..ledger },
            Change::Policy => Ledger { policy: 2, ..ledger },
        };
        let write = design.rewrite || after != ledger;
        let seq = if write { self.servers.commit(to, |ledger| *ledger = after) } else { 0 };
        self.brokers[at].changing = Some(Changing { committed: Some((session, seq)), ..changing });
        Some(())
    }

    /// Enough replicas say that they have it. To acknowledge at once is the harder case.
    pub(crate) fn change_durable(&mut self, design: &Design, at: usize) -> Option<()> {
        let changing = self.brokers[at].changing?;
        let (session, seq) = changing.committed?;
        if !self.waited(design.change, session, seq) {
            return None;
        }
        self.brokers[at].changing = None;
        self.acknowledge(changing.change);
        Some(())
    }

    /// The ledger cannot be asked, and an end never waits: the journal has it.
    pub(crate) fn note_end(&mut self, design: &Design, at: usize) -> Option<()> {
        let broker = &mut self.brokers[at];
        let Changing { change: Change::End(tasks), .. } = broker.changing? else { return None };
        if broker.session().is_some() || !design.journal {
            return None;
        }
        broker.changing = None;
        broker.noted |= tasks;
        if design.journal_only == JournalOnly::Done {
            self.acknowledge(Change::End(tasks));
        }
        Some(())
    }

    fn acknowledge(&mut self, change: Change) {
        match change {
            Change::End(tasks) => self.witness.ended |= tasks,
            Change::Policy => self.witness.policy = 2,
        }
    }
}

// Crash and recovery.
impl World {
    /// Memory is gone; a commit that was sent may still arrive.
    pub(crate) fn crash(&mut self, at: usize) -> Option<()> {
        take(&mut self.left.crashes)?;
        let broker = &mut self.brokers[at];
        broker.mode = Mode::Lost;
        broker.changing = None;
        broker.ask = broker
            .ask
            .filter(|ask| matches!(ask.stage, Stage::Decided(_)))
            .map(|ask| Ask { abandoned: true, ..ask });
        Some(())
    }

    /// A broker sees that its ledger has another history, or another generation.
    pub(crate) fn notice(&mut self, at: usize) -> Option<()> {
        let (Mode::Serving(session) | Mode::Begun(session) | Mode::Replayed(session)) = self.brokers[at].mode
        else {
            return None;
        };
        let primary = self.servers.get(self.servers.primary());
        let current = primary.history == session.history && primary.ledger.generation == session.generation;
        (!current).then(|| self.brokers[at].mode = Mode::Lost)
    }

    /// Connects, and makes the generation of this history if nobody did.
    pub(crate) fn begin(&mut self, design: &Design, at: usize, to: usize) -> Option<()> {
        let server = self.servers.get(to);
        let reachable = matches!(server.role, Role::Primary | Role::CutOff);
        if self.brokers[at].mode != Mode::Lost || !reachable {
            return None;
        }
        let found = Session { server: to, history: server.history, generation: server.ledger.generation };
        self.brokers[at].mode = Mode::Begun(self.generation(design, found));
        Some(())
    }

    fn generation(&mut self, design: &Design, session: Session) -> Session {
        let ledger = self.servers.get(session.server).ledger;
        if ledger.generation != 0 && ledger.made_for == session.history {
            return Session { generation: ledger.generation, ..session };
        }
        let generation = self.new_generation(design, &ledger);
        self.servers.commit(session.server, |ledger| {
            ledger.generation = generation;
            ledger.made_for = session.history;
            ledger.replayed = 0;
        });
        Session { generation, ..session }
    }

    /// Puts its journal into the ledger, and says so there.
    pub(crate) fn replay(&mut self, design: &Design, at: usize) -> Option<()> {
        let Mode::Begun(session) = self.brokers[at].mode else { return None };
        let to = self.servers.route(session, true)?;
        let ledger = self.servers.get(to).ledger;
        if ledger.generation != session.generation {
            self.brokers[at].mode = Mode::Lost;
            return Some(());
        }
        let journal = self.brokers[at].journal;
        if design.recovery != Recovery::Nobodys {
            let mut after = ledger;
            journal.apply(&mut after);
            if design.recovery == Recovery::Fleet {
                after.replayed |= 1 << at;
            }
            if after != ledger {
                self.servers.commit(to, |ledger| *ledger = after);
            }
        }
        self.brokers[at].mode = Mode::Replayed(session);
        Some(())
    }

    fn all_replayed(&self, ledger: &Ledger) -> bool {
        (0..self.brokers.len()).all(|at| ledger.replayed & 1 << at != 0)
    }

    /// Serves, once enough journals are in the ledger.
    pub(crate) fn serve(&mut self, design: &Design, at: usize) -> Option<()> {
        let Mode::Replayed(session) = self.brokers[at].mode else { return None };
        let to = self.servers.route(session, true)?;
        let ledger = self.servers.get(to).ledger;
        if ledger.generation != session.generation {
            self.brokers[at].mode = Mode::Lost;
            return Some(());
        }
        // What was noted since has to go in as well.
        if design.recovery != Recovery::Nobodys && !self.brokers[at].journal.is_in(&ledger) {
            self.brokers[at].mode = Mode::Begun(session);
            return Some(());
        }
        if design.recovery == Recovery::Fleet && !self.all_replayed(&ledger) {
            return None;
        }
        self.brokers[at].mode = Mode::Serving(session);
        Some(())
    }
}
