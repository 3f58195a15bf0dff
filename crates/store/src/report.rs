//! What a check says: one line for each thing that was looked at, with what was seen and what to do about it.

/// How one thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// As it should be, and that was seen.
    Ok,
    /// Cannot be seen from here; somebody who may has to look.
    Look,
    /// Rarely meant.
    Warn,
    /// Not what was promised.
    Fail,
}

impl Mark {
    /// Its word; a state is never colour alone.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Look => "look",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How it is.
    pub mark: Mark,
    /// What was looked at, one word or two.
    pub what: &'static str,
    /// What was seen.
    pub seen: String,
    /// What to do about it; empty when there is nothing to do.
    pub fix: String,
}

/// All that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order in which it was.
    pub lines: Vec<Line>,
}

impl Report {
    /// It is as it should be.
    pub fn ok(&mut self, what: &'static str, seen: impl Into<String>) {
        self.say(Mark::Ok, what, seen, "");
    }

    /// It is not, or nobody can tell from here.
    pub fn say(&mut self, mark: Mark, what: &'static str, seen: impl Into<String>, fix: impl Into<String>) {
        self.lines.push(Line { mark, what, seen: seen.into(), fix: fix.into() });
    }

    /// The lines that fail.
    pub fn failed(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.mark == Mark::Fail)
    }

    /// How many lines have this mark.
    pub fn count(&self, mark: Mark) -> usize {
        self.lines.iter().filter(|line| line.mark == mark).count()
    }
}
