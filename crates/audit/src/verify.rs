//! The verifier: reads the whole log with bounded memory and names the first thing that is wrong.
//!
//! What it finds without help from elsewhere: every changed, removed, repeated, moved or inserted entry, and every cut
//! behind which `HEAD` was not rewritten too. Whoever rewrites the log and `HEAD` is found by an [`Anchor`].

use crate::{
    Anchor, AuditError, Fault, LOG_FILE, MAX_ENTRY_BYTES,
    chain::{Chain, Link},
    file::{HEAD_FILE, Head},
};
use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::Path,
};

/// What a good log contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many entries.
    pub records: u64,
    /// The time of the first.
    pub first: Option<String>,
    /// The time of the last.
    pub last: Option<String>,
    /// The last entry; an anchor for the next time.
    pub head: Anchor,
    /// Bytes of an entry that is being written, or that a crash left unfinished.
    pub unfinished: u64,
}

/// The first thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The number that the entry should have.
    pub seq: u64,
    /// Its line, from 1; the same number, unless lines are missing.
    pub line: u64,
    /// The time that the entry gives, if it is readable.
    pub time: Option<String>,
    /// What is wrong.
    pub fault: Fault,
    /// The entries from 1 to this one are intact.
    pub intact: u64,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} (line {}", self.seq, self.line)?;
        if let Some(time) = &self.time {
            write!(f, ", {time}")?;
        }
        write!(f, ") is broken: {}; ", self.fault)?;
        match self.intact {
            0 => write!(f, "no entry before it is known to be intact"),
            intact => write!(f, "entries 1 to {intact} are intact"),
        }
    }
}

/// Why a log could not be found good.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is not as it was written.
    #[error("{0}")]
    Broken(Box<Broken>),
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] AuditError),
}

/// Checks the log in `dir`, also while a broker writes it: form, numbers, chain, times, `HEAD`, and the `anchor` if there
/// is one.
///
/// # Errors
/// [`VerifyError::Broken`] with the first broken entry; [`VerifyError::Unreadable`] when there is no log to check.
pub fn verify_dir(dir: &Path, anchor: Option<Anchor>) -> Result<Report, VerifyError> {
    let path = dir.join(LOG_FILE);
    // `HEAD` first: entries that are written meanwhile are then behind it.
    let head =
        Head::load(dir)?.ok_or_else(|| AuditError::Head { head: dir.join(HEAD_FILE), what: "missing" })?;
    let log = File::open(&path).map_err(AuditError::io("open", &path))?;
    let known = Known { head, anchor };
    verify(BufReader::with_capacity(1 << 16, log), known)
        .map_err(AuditError::io("read", path))?
        .map_err(|broken| VerifyError::Broken(Box::new(broken)))
}

/// What is known of the log from elsewhere.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    pub(crate) head: Head,
    pub(crate) anchor: Option<Anchor>,
}

pub(crate) fn verify(log: impl BufRead, known: Known) -> io::Result<Result<Report, Broken>> {
    let mut lines = Lines::new(log);
    let mut chain = Chain::new();
    let mut first = None;
    let mut end = 0;
    let mut unfinished = 0;
    while let Some(line) = lines.next()? {
        let length = u64::try_from(line.len()).unwrap_or(0);
        let Some(entry) = line.strip_suffix(b"\n") else {
            if end >= known.head.length && line.len() <= MAX_ENTRY_BYTES {
                unfinished = length;
                break;
            }
            return Ok(Err(broken(&chain, line, Fault::Unended)));
        };
        let before = chain.clone();
        end += length;
        if let Err(fault) = chain.accept(entry).and_then(|()| known.check(&chain, end)) {
            return Ok(Err(broken(&before, entry, fault)));
        }
        first.get_or_insert_with(|| chain.time.clone());
    }
    if let Some(place) = known.missing(&chain, end) {
        return Ok(Err(broken(&chain, b"", Fault::Missing { place })));
    }
    let last = first.is_some().then(|| chain.time.clone());
    Ok(Ok(Report { records: chain.seq, first, last, head: chain.anchor(), unfinished }))
}

impl Known {
    fn check(&self, chain: &Chain, end: u64) -> Result<(), Fault> {
        if chain.seq == self.head.seq && end != self.head.length {
            return Err(Fault::End { expected: self.head.length, found: end });
        }
        let head = ("`HEAD`", self.head.seq, self.head.hash);
        let anchor = self.anchor.map(|anchor| ("the anchor", anchor.seq, anchor.hash));
        for (place, seq, expected) in [Some(head), anchor].into_iter().flatten() {
            if seq == chain.seq && expected != chain.hash {
                return Err(Fault::Hash { place, expected, found: chain.hash });
            }
        }
        Ok(())
    }

    fn missing(&self, chain: &Chain, end: u64) -> Option<&'static str> {
        if chain.seq < self.head.seq || end < self.head.length {
            return Some("`HEAD`");
        }
        self.anchor.filter(|anchor| chain.seq < anchor.seq).map(|_| "the anchor")
    }
}

fn broken(before: &Chain, entry: &[u8], fault: Fault) -> Broken {
    // A wrong `prev` accuses the entry before as much as this one.
    let intact = if fault == Fault::Prev { before.seq.saturating_sub(1) } else { before.seq };
    let seq = before.seq.saturating_add(1);
    let time = Link::parse(entry).ok().map(|link| link.time.to_owned());
    Broken { seq, line: seq, time, fault, intact }
}

/// Lines of bounded length. One that is too long is given without an end, and so is the last if it has none.
pub(crate) struct Lines<R> {
    log: R,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(log: R) -> Self {
        Self { log, line: Vec::new() }
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let limit = u64::try_from(MAX_ENTRY_BYTES).unwrap_or(u64::MAX);
        let read = self.log.by_ref().take(limit + 1).read_until(b'\n', &mut self.line)?;
        if self.line.len() > MAX_ENTRY_BYTES {
            self.line.pop_if(|last| *last == b'\n');
        }
        Ok((read > 0).then_some(self.line.as_slice()))
    }
}
