//! A design is a set of choices; what there is to do and what may fail is a scenario.
//!
//! Every choice has a safe answer, which the code makes, and unsafe ones, which are here to show what each rule is for.

/// How long a broker waits for replicas before it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Not,
    /// For one replica.
    One,
    /// For as many as are attached right now.
    Attached,
    /// For as many as the configuration says that there are.
    All,
    /// For all, but on a connection that wrote nothing: the server says yes at once.
    OtherConnection,
}

/// The last look at the ledger before a credential is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Skipped,
    /// A read.
    Read,
    /// A commit: a primary that was replaced cannot confirm it.
    Commit,
    /// A read, and then any commit of this broker: one serves all that were read before it.
    ReadAndProve,
}

/// Whose journals are in the ledger before a broker serves a new generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    Nobodys,
    Own,
    /// Those of all brokers that the configuration names.
    Fleet,
}

/// How the next generation gets its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generations {
    /// By chance, so it never comes again.
    Fresh,
    /// One more than the ledger has.
    Counted,
}

/// What tells one history of the ledger from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Histories {
    /// Each promotion and each restart makes a name (`master_replid`).
    Promotions,
    /// Each start of a server makes one (`run_id`): a server that is promoted again has the name that it had.
    Starts,
}

/// What a broker answers for an end that only its journal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JournalOnly {
    /// That this broker refuses from now on, and that the fleet will.
    Noted,
    /// That it is done.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Design {
    /// A commit checks that what the decision rested on has not changed.
    pub(crate) stamps: bool,
    /// A commit checks the generation.
    pub(crate) fence: bool,
    /// Commands go to the history that the broker recovered for, or nowhere.
    pub(crate) bound: bool,
    /// A look at a task looks at the tasks above it.
    pub(crate) ancestors: bool,
    /// Commit and last look check the policy revision.
    pub(crate) policy: bool,
    /// After the intent of a lease.
    pub(crate) intent: Wait,
    pub(crate) look: Look,
    /// After the last look, if that is a commit.
    pub(crate) release: Wait,
    /// After an end or a new policy revision.
    pub(crate) change: Wait,
    /// Ends and policy revisions go to the journal before they go to the ledger.
    pub(crate) journal: bool,
    /// A broker goes by its own journal as well as by the ledger.
    pub(crate) overlay: bool,
    /// A change that the ledger has already is written again, so that there is something to wait for.
    pub(crate) rewrite: bool,
    /// They are acknowledged before they go anywhere.
    pub(crate) ack_first: bool,
    pub(crate) journal_only: JournalOnly,
    pub(crate) recovery: Recovery,
    pub(crate) generations: Generations,
    pub(crate) histories: Histories,
}

impl Design {
    /// Nothing is acknowledged or released that some replica lacks.
    pub(crate) const DURABLE: Self = Self {
        stamps: true,
        fence: true,
        bound: true,
        ancestors: true,
        policy: true,
        intent: Wait::All,
        look: Look::Commit,
        release: Wait::All,
        change: Wait::All,
        journal: true,
        overlay: true,
        rewrite: true,
        ack_first: false,
        journal_only: JournalOnly::Noted,
        recovery: Recovery::Own,
        generations: Generations::Fresh,
        histories: Histories::Promotions,
    };

    /// Leases are not waited for; ends and policies are.
    pub(crate) const STANDARD: Self = Self { intent: Wait::Not, release: Wait::Not, ..Self::DURABLE };

    /// Nobody is waited for, as with a primary that has no replica: only the journals remember.
    pub(crate) const ALONE: Self = Self { change: Wait::Not, recovery: Recovery::Fleet, ..Self::STANDARD };

    /// For a ledger that somebody may wipe or set back: no replica helps, only the journals do.
    pub(crate) const GUARDED: Self = Self { recovery: Recovery::Fleet, ..Self::DURABLE };
}

/// What there is to do, and what may go wrong, each so many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    pub(crate) issues: u8,
    pub(crate) renewals: u8,
    pub(crate) ends: u8,
    pub(crate) policies: u8,
    pub(crate) failovers: u8,
    pub(crate) crashes: u8,
    pub(crate) wipes: u8,
    pub(crate) restores: u8,
}

impl Budget {
    const NOTHING: Self = Self {
        issues: 0,
        renewals: 0,
        ends: 0,
        policies: 0,
        failovers: 0,
        crashes: 0,
        wipes: 0,
        restores: 0,
    };
    /// One credential, against the end of a task.
    pub(crate) const END: Self = Self { issues: 1, ends: 1, ..Self::NOTHING };
    /// One credential, against a new policy.
    pub(crate) const POLICY: Self = Self { issues: 1, policies: 1, ..Self::NOTHING };
    /// One request, made again and again.
    pub(crate) const RETRIES: Self = Self { issues: 3, ..Self::NOTHING };
    /// Ends only, the same one twice.
    pub(crate) const ENDS: Self = Self { ends: 2, ..Self::NOTHING };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scenario {
    pub(crate) brokers: usize,
    pub(crate) replicas: usize,
    /// After a failover some brokers may still reach the old primary, while a spare server takes its place.
    pub(crate) partition: bool,
    pub(crate) budget: Budget,
}

impl Scenario {
    /// Two brokers and a primary.
    pub(crate) const fn new(replicas: usize, budget: Budget) -> Self {
        Self { brokers: 2, replicas, partition: false, budget }
    }

    pub(crate) const fn partitioned(self) -> Self {
        Self { partition: true, ..self }
    }
}
