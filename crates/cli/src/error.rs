//! Why a command fails, in one shape everywhere: what, why, fix, ids.

pub(crate) use crate::exit::Exit;
use crate::output::{
    API_VERSION, Format, Output,
    text::{safe, safe_json},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
};
use taskpass_client::{EndpointError, Error as ClientError};
use taskpass_types::Reason;

/// A command that failed.
#[derive(Debug)]
pub(crate) struct Failure(Box<Inner>);

#[derive(Debug)]
struct Inner {
    exit: Exit,
    reason: String,
    what: String,
    why: Vec<String>,
    fix: Vec<String>,
    ids: BTreeMap<String, String>,
    /// Nobody reads what we write, which is what `| head` does.
    unread: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            exit,
            reason: String::new(),
            what: what.into(),
            why: Vec::new(),
            fix: Vec::new(),
            ids: BTreeMap::new(),
            unread: false,
        }))
    }

    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    #[must_use]
    pub(crate) fn why(mut self, why: impl Into<String>) -> Self {
        self.0.why.push(why.into());
        self
    }

    #[must_use]
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.0.fix.push(fix.into());
        self
    }

    /// Ends with this code.
    #[must_use]
    pub(crate) fn exits(mut self, exit: Exit) -> Self {
        self.0.exit = exit;
        self
    }

    /// The ways out, in place of all others.
    #[must_use]
    pub(crate) fn instead(mut self, fixes: impl IntoIterator<Item = String>) -> Self {
        self.0.fix = fixes.into_iter().collect();
        self
    }

    /// An id that the message speaks of.
    #[must_use]
    pub(crate) fn id(mut self, name: &str, id: &str) -> Self {
        self.0.ids.insert(name.to_owned(), id.to_owned());
        self
    }

    /// The stable code, for programs.
    #[must_use]
    pub(crate) fn reason(mut self, reason: Reason) -> Self {
        self.0.reason = reason.code().to_owned();
        self
    }

    /// The id with this name.
    pub(crate) fn find_id(&self, name: &str) -> Option<&str> {
        self.0.ids.get(name).map(String::as_str)
    }

    /// Before its command runs, `exec` has a code of its own for what no other code says better.
    #[must_use]
    pub(crate) fn before_start(mut self) -> Self {
        if matches!(self.0.exit, Exit::Unexpected) {
            self.0.exit = Exit::NotStarted;
        }
        self
    }

    pub(crate) fn exit(&self) -> Exit {
        if self.0.unread { Exit::Done } else { self.0.exit }
    }

    /// What happened, in one line.
    pub(crate) fn what(&self) -> &str {
        &self.0.what
    }

    /// Shows it on standard error.
    pub(crate) fn report(&self, out: &Output) {
        if self.0.unread {
            return;
        }
        let text = match out.format {
            // JSON is YAML, too.
            Format::Json | Format::Jsonl | Format::Yaml => self.json(),
            Format::Name | Format::Table => self.text(out.color()),
        };
        // Nobody is left to tell when standard error is closed.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    fn text(&self, color: bool) -> String {
        let (start, end) = if color { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
        let mut text = format!("{start}error[{}]{end}: {}\n", self.0.exit.word(), safe(&self.0.what));
        block(&mut text, "why", self.0.why.iter().map(|line| safe(line).into_owned()));
        block(&mut text, "fix", self.0.fix.iter().map(|line| safe(line).into_owned()));
        let ids = self.0.ids.iter().map(|(key, value)| format!("{} {}", safe(key), safe(value)));
        block(
            &mut text,
            "ids",
            std::iter::once(ids.collect::<Vec<_>>().join("  ")).filter(|line| !line.is_empty()),
        );
        text
    }

    fn json(&self) -> String {
        let body = json!({
            "apiVersion": API_VERSION,
            "kind": "Error",
            "code": self.0.exit.word(),
            "exitCode": self.0.exit.code(),
            "reason": self.0.reason,
            "what": self.0.what,
            "why": self.0.why,
            "fix": self.0.fix,
            "ids": self.0.ids,
        });
        format!("{}\n", safe_json(&body.to_string()))
    }
}

/// Lines under one name, which stands before the first.
fn block(text: &mut String, name: &str, lines: impl Iterator<Item = String>) {
    for (i, line) in lines.enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:<5} {line}", if i == 0 { name } else { "" });
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match error.reason() {
            Some(reason) => Exit::of_kind(reason.kind()),
            None => Exit::of_code(error.code()),
        };
        let mut failure = Self::new(exit, error.message());
        failure.0.reason = error.reason_code().to_owned();
        failure.0.fix.extend(error.fix().map(str::to_owned));
        // The field and what is wrong with it are in the message already, when it is the only one.
        failure.0.why.extend(
            error
                .fields()
                .filter(|(_, problem)| *problem != error.message())
                .map(|(field, problem)| format!("`{field}`: {problem}")),
        );
        failure.0.ids = error.metadata().clone();
        failure.0.ids.remove("field");
        failure
    }
}

impl From<EndpointError> for Failure {
    fn from(error: EndpointError) -> Self {
        let what = error.to_string();
        match &error {
            EndpointError::Connect { why, .. } if why.to_lowercase().contains("permission denied") => {
                Self::new(Exit::Unavailable, what)
                    .fix("join the group of the broker's socket, or ask its operator to let you in")
            }
            EndpointError::Connect { .. } => Self::new(Exit::Unavailable, what)
                .fix("start a broker on this machine:  taskpass dev")
                .fix("or say where it is:  --address unix:/path/to/api.sock, or TASKPASS_ADDRESS"),
            _ => Self::usage(what).fix("taskpass help environment"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let unread = error.kind() == io::ErrorKind::BrokenPipe;
        let mut failure = Self::new(Exit::Unexpected, error.to_string());
        failure.0.unread = unread;
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> Failure {
        let mut failure = Failure::new(Exit::Denied, "`payments-api:refund:create` was denied")
            .why("policy `limit` forbids it: \u{1b}[31m900 > 500")
            .fix("ask for less")
            .fix("or ask a person");
        failure.0.reason = "POLICY_DENIED".to_owned();
        failure.0.ids.insert("decision".to_owned(), "dc_7QK2".to_owned());
        failure.0.ids.insert("task".to_owned(), "tk_9f2c".to_owned());
        failure
    }

    #[test]
    fn people_get_what_why_fix_ids_and_no_escape_sequence() {
        insta::assert_snapshot!(denied().text(false), @r"
        error[denied]: `payments-api:refund:create` was denied
          why   policy `limit` forbids it: \u{1b}[31m900 > 500
          fix   ask for less
                or ask a person
          ids   decision dc_7QK2  task tk_9f2c
        ");
        assert!(denied().text(true).starts_with("\u{1b}[1;31merror[denied]\u{1b}[0m: "));
    }

    #[test]
    fn programs_get_the_same_as_json() {
        insta::assert_snapshot!(denied().json(), @r#"{"apiVersion":"taskpass.v1","kind":"Error","code":"denied","exitCode":3,"reason":"POLICY_DENIED","what":"`payments-api:refund:create` was denied","why":["policy `limit` forbids it: \u001b[31m900 > 500"],"fix":["ask for less","or ask a person"],"ids":{"decision":"dc_7QK2","task":"tk_9f2c"}}"#);
    }

    #[test]
    fn an_unreachable_broker_is_code_7_with_a_way_out() {
        let connect = |why: &str| {
            Failure::from(EndpointError::Connect { address: "unix:/run/t.sock".into(), why: why.into() })
        };
        let nobody = connect("No such file or directory (os error 2)");
        assert_eq!(nobody.exit().code(), 7);
        assert!(nobody.text(false).contains("taskpass dev"), "{}", nobody.text(false));
        let locked = connect("Permission denied (os error 13)");
        assert!(locked.text(false).contains("group"), "{}", locked.text(false));
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.exit().code(), 0);
    }
}
