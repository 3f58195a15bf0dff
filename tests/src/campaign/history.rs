//! What the clients were told.

use parking_lot::Mutex;
use std::sync::Arc;

/// One task with one token, as far as its client knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) task: String,
    /// The request id of the token.
    pub(super) request: String,
    pub(super) lease: Option<(String, String)>,
    /// An end was asked for.
    pub(super) ending: bool,
    /// And acknowledged.
    pub(super) ended: bool,
}

/// All of a round, shared by its clients.
#[derive(Clone, Default)]
pub(super) struct History(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    told: Vec<Told>,
    answered: usize,
    unanswered: usize,
    broken: Vec<String>,
}

impl History {
    pub(super) fn begin(&self, task: String, request: String) -> usize {
        let mut log = self.0.lock();
        log.told.push(Told { task, request, ..Told::default() });
        log.told.len() - 1
    }

    pub(super) fn note(&self, number: usize, change: impl FnOnce(&mut Told)) {
        change(&mut self.0.lock().told[number]);
    }

    pub(super) fn answered(&self) {
        self.0.lock().answered += 1;
    }

    pub(super) fn unanswered(&self) {
        self.0.lock().unanswered += 1;
    }

    pub(super) fn broken(&self, what: String) {
        self.0.lock().broken.push(what);
    }

    /// How many ends were acknowledged so far.
    pub(super) fn ends(&self) -> usize {
        self.0.lock().told.iter().filter(|told| told.ended).count()
    }

    pub(super) fn told(&self) -> Vec<Told> {
        self.0.lock().told.clone()
    }

    /// Answered, unanswered, broken.
    pub(super) fn counts(&self) -> (usize, usize, Vec<String>) {
        let log = self.0.lock();
        (log.answered, log.unanswered, log.broken.clone())
    }
}
