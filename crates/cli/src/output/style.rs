//! How things are shown: relative and short for people at a terminal, exact and whole for programs.

use super::text::clip;
use std::time::Duration;
use taskpass_types::Timestamp;

/// How much of an id people see: its prefix and eight characters, more than enough to name one.
const SHORT_ID: usize = 11;

/// The manner of one output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) now: Timestamp,
    /// Whether a person looks at it.
    pub(crate) terminal: bool,
}

impl Style {
    /// An id: enough of it to be typed, or all of it.
    pub(crate) fn id(&self, id: &str) -> String {
        if self.terminal { id.chars().take(SHORT_ID).collect() } else { id.to_owned() }
    }

    /// A long text: its beginning, or all of it.
    pub(crate) fn text(&self, text: &str) -> String {
        if self.terminal { clip(text, 40) } else { text.to_owned() }
    }

    /// A sentence at the end of a line: so much of it that it is understood, or all of it.
    pub(crate) fn sentence(&self, text: &str) -> String {
        if self.terminal { clip(text, 100) } else { text.to_owned() }
    }

    /// A time in the past: `3m ago`, or RFC 3339.
    pub(crate) fn past(&self, at: Option<Timestamp>) -> String {
        self.show(at, |at| format!("{} ago", rough(self.now.since(at))))
    }

    /// A time in the future: `4m12s`, or RFC 3339.
    pub(crate) fn left(&self, at: Option<Timestamp>) -> String {
        self.show(at, |at| match at.since(self.now) {
            Duration::ZERO => "over".to_owned(),
            left => rough(left),
        })
    }

    fn show(&self, at: Option<Timestamp>, relative: impl Fn(Timestamp) -> String) -> String {
        match at {
            None => "-".to_owned(),
            Some(at) if self.terminal => relative(at),
            Some(at) => at.to_string(),
        }
    }
}

/// The two largest units of a span: `2d3h`, `4m12s`, `41s`.
fn rough(span: Duration) -> String {
    let secs = span.as_secs();
    let (days, hours, minutes) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", secs % 60),
        (0, _, _) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_rough() {
        for (secs, shown) in [(0, "0s"), (41, "41s"), (252, "4m12s"), (3600, "1h00m"), (90_061, "1d01h")] {
            assert_eq!(rough(Duration::from_secs(secs)), shown);
        }
    }

    #[test]
    fn people_see_relative_times_and_short_ids_and_programs_the_whole() {
        let now = Timestamp::from_secs(1_700_000_000);
        let (then, soon) =
            (Some(now.minus(Duration::from_secs(180))), Some(now.plus(Duration::from_secs(41))));
        let id = "tk_0123456789abcdefghjkmnpqrs";
        let people = Style { now, terminal: true };
        assert_eq!((people.past(then), people.left(soon)), ("3m00s ago".to_owned(), "41s".to_owned()));
        assert_eq!((people.left(then), people.left(None)), ("over".to_owned(), "-".to_owned()));
        assert_eq!(people.id(id), "tk_01234567");
        let program = Style { now, terminal: false };
        assert_eq!(program.left(soon), "2023-11-14T22:14:01.000Z");
        assert_eq!(program.id(id), id);
    }
}
