//! What the clients asked for and were told, over the rounds of a scene.
//!
//! An answer that never came is kept as what it is: neither yes nor no. Only what was said can have been broken.

use super::now;
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Instant};

/// Who asked: the agent on the Unix socket, or the one with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Local,
    Certified,
}

/// How far an end got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// Nobody asked for it.
    #[default]
    No,
    /// Somebody did, and may not have heard what became of it.
    Asked,
    /// It was acknowledged.
    Acknowledged,
}

/// One task with one lease, as far as its client knows.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) who: Who,
    pub(super) task: String,
    /// It ends with the task above it, too.
    pub(super) below: bool,
    /// The request id of the token.
    pub(super) request: String,
    pub(super) lease: Option<String>,
    /// Every token that was released under the lease.
    pub(super) tokens: Vec<String>,
    pub(super) ending: Ending,
    /// A fault since may have taken it away.
    pub(super) lossy: bool,
    pub(super) since: Instant,
}

/// All of a scene, shared by its clients.
#[derive(Clone, Default)]
pub(super) struct History(Arc<Mutex<Log>>);

/// What was counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// Calls that were answered: granted, done, or refused for a reason.
    pub(super) answered: usize,
    /// Calls whose answer was *unavailable*, or never came.
    pub(super) unanswered: usize,
    /// Ends that were acknowledged.
    pub(super) ended: usize,
    /// Acknowledged ends that did not hold.
    pub(super) lost: Vec<String>,
    /// Whatever else contradicts the invariants.
    pub(super) broken: Vec<String>,
}

#[derive(Default)]
struct Log {
    told: Vec<Told>,
    /// The lease that each request id was answered with.
    requests: HashMap<String, String>,
    /// The fault of this round may take away what was acknowledged, or lets clocks disagree.
    lossy: bool,
    counts: Counts,
}

impl History {
    /// A new round; gives what the last one counted.
    pub(super) fn next_round(&self, lossy: bool) -> Counts {
        let mut log = self.0.lock();
        log.lossy = lossy;
        log.requests.clear();
        for told in &mut log.told {
            told.lossy |= lossy;
        }
        std::mem::take(&mut log.counts)
    }

    pub(super) fn begin(&self, who: Who, task: String, below: bool, request: String) -> usize {
        let mut log = self.0.lock();
        let (lossy, ending, since) = (log.lossy, Ending::No, now());
        log.told.push(Told {
            who,
            task,
            below,
            request,
            lease: None,
            tokens: Vec::new(),
            ending,
            lossy,
            since,
        });
        log.told.len() - 1
    }

    pub(super) fn is_lossy(&self) -> bool {
        self.0.lock().lossy
    }

    /// A credential was released.
    pub(super) fn released(&self, number: usize, lease: String, token: String) {
        let mut log = self.0.lock();
        let request = log.told[number].request.clone();
        let first = log.requests.entry(request.clone()).or_insert_with(|| lease.clone()).clone();
        if first != lease {
            log.counts.broken.push(format!("I3: {request} got {first} and {lease}"));
        }
        log.told[number].lease = Some(lease);
        log.told[number].tokens.push(token);
    }

    /// An end got that far.
    pub(super) fn ending(&self, numbers: &[usize], ending: Ending) {
        let mut log = self.0.lock();
        for number in numbers {
            log.told[*number].ending = log.told[*number].ending.max(ending);
            log.counts.ended += usize::from(ending == Ending::Acknowledged);
        }
    }

    pub(super) fn answered(&self) {
        self.0.lock().counts.answered += 1;
    }

    pub(super) fn unanswered(&self) {
        self.0.lock().counts.unanswered += 1;
    }

    pub(super) fn lost(&self, what: String) {
        self.0.lock().counts.lost.push(what);
    }

    pub(super) fn broken(&self, what: String) {
        self.0.lock().counts.broken.push(what);
    }

    /// How many ends were acknowledged in this round.
    pub(super) fn ends(&self) -> usize {
        self.0.lock().counts.ended
    }

    pub(super) fn get(&self, number: usize) -> Told {
        self.0.lock().told[number].clone()
    }

    pub(super) fn told(&self) -> Vec<Told> {
        self.0.lock().told.clone()
    }

    /// Keeps of what was checked only these; they are checked again after the next faults.
    pub(super) fn keep(&self, told: Vec<Told>) {
        self.0.lock().told = told;
    }
}
