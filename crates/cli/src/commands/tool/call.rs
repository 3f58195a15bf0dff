//! What a tool call is about; and what a denial ends with.

use crate::{
    error::{Exit, Failure},
    view::CallView,
};
use clap::Args;
use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read},
};
use taskpass_client::Arguments;
use taskpass_proto::v1;
use taskpass_types::{Reason, Scope};

/// More than any tool takes.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// One call.
#[derive(Args)]
pub(super) struct Call {
    /// The lease under which it is made
    #[arg(long, value_name = "LEASE", required_unless_present = "task", conflicts_with = "task")]
    lease: Option<String>,
    /// Or else the task
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// The tool, for example `refund.create`
    #[arg(long, value_name = "TOOL")]
    tool: String,
    /// What it acts on and how, `resource:action`
    #[arg(short, long, value_name = "SCOPE")]
    resource: Scope,
}

impl Call {
    pub(super) fn message(self, arguments: Option<&Arguments>) -> v1::ToolCall {
        v1::ToolCall {
            lease_id: self.lease.unwrap_or_default(),
            task_id: self.task.unwrap_or_default(),
            tool: self.tool,
            resource: self.resource.resource.to_string(),
            action: self.resource.action.to_string(),
            arguments_digest: arguments
                .map(|arguments| arguments.digest().to_vec().into())
                .unwrap_or_default(),
        }
    }
}

/// What the broker learns of the arguments in a file; `-`: standard input.
pub(super) fn arguments(file: Option<&str>) -> Result<Option<Arguments>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let failed = |error: io::Error| Failure::usage(format!("`{file}`: {error}"));
    let bytes = match file {
        "-" => read(io::stdin().lock()),
        path => File::open(path).and_then(read),
    };
    Ok(Some(Arguments::new(&bytes.map_err(failed)?)?))
}

fn read(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(io::Error::other("more than 64 MiB of arguments"));
    }
    Ok(bytes)
}

/// What the caller keeps, so that it can prove the arguments later.
pub(super) fn salt(arguments: Option<&Arguments>) -> String {
    let salt = arguments.map(|arguments| *arguments.salt().expose());
    salt.iter().flatten().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A denial is an answer, with the code that the refusal would have.
pub(super) fn exit(decision: &CallView) -> Exit {
    if decision.allowed {
        return Exit::Done;
    }
    Reason::parse(&decision.reason).map_or(Exit::Denied, |reason| Exit::of_kind(reason.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_denial_has_its_code() {
        for (allowed, reason, code) in [
            (true, "", 0),
            (false, "POLICY_DENIED", 3),
            (false, "SCOPE_EXCEEDS_TASK", 3),
            (false, "APPROVAL_REQUIRED", 8),
            (false, "APPROVAL_DENIED", 3),
            (false, "BUDGET_EXCEEDED", 7),
            (false, "TASK_ENDED", 6),
            (false, "SOMETHING_NEWER", 3),
        ] {
            let reason = reason.to_owned();
            let decision = v1::ToolDecision { allowed, reason, ..Default::default() };
            let view = CallView::new(String::new(), decision, String::new());
            assert_eq!(exit(&view).code(), code, "{}", view.reason);
        }
    }

    #[test]
    fn arguments_are_read_and_their_salt_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("arguments.json");
        std::fs::write(&file, "{\"amount\":12}").unwrap();
        let arguments = arguments(file.to_str()).unwrap().unwrap();
        let salt = salt(Some(&arguments));
        assert!(salt.len() == 32 && salt.bytes().all(|b| b.is_ascii_hexdigit()), "{salt}");
        assert!(Arguments::proves(arguments.digest(), arguments.salt().expose(), b"{\"amount\":12}"));
        assert!(super::arguments(Some("/nonexistent")).is_err());
        assert!(super::arguments(None).unwrap().is_none());
    }
}
