//! `taskpass policy show`: the text of policies, as the broker has it.

use crate::{
    error::{Exit, Failure},
    output::{Format, Record, Style, text::safe},
    session::{Outcome, Session},
};
use clap::Args;
use serde::Serialize;

/// Show the text of the policies in force, or of those of the history
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass policy show
  taskpass policy show 5d3ec6 --file refunds.cedar > refunds.cedar
  taskpass policy show -o name")]
pub(crate) struct Show {
    /// The revision, or its first 6 characters or more; those in force when not said
    #[arg(default_value = "", hide_default_value = true)]
    revision: String,
    /// Only this file, exactly as it is
    #[arg(long, value_name = "NAME")]
    file: Option<String>,
}

#[derive(Serialize)]
struct FileView {
    name: String,
    text: String,
}

impl Show {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let files = session.broker().await?.policy_set(self.revision).await?;
        let mut files: Vec<_> = files.into_iter().map(|(name, text)| FileView { name, text }).collect();
        if let Some(wanted) = &self.file {
            files.retain(|file| file.name == *wanted);
            if files.is_empty() {
                return Err(Failure::new(Exit::NotFound, format!("there is no file `{wanted}` among them"))
                    .fix("taskpass policy show -o name"));
            }
        }
        if session.out.format != Format::Table {
            session.out.list(&files, "")?;
            return Ok(Exit::Done);
        }
        for file in &files {
            if self.file.is_none() {
                session.out.print(&format!("// ---- {}\n", safe(&file.name)))?;
            }
            session.out.print(&shown(&file.text, &session.out.style))?;
        }
        Ok(Exit::Done)
    }
}

/// The text itself for a file or a pipe; for a terminal, nothing that it would obey.
fn shown(text: &str, style: &Style) -> String {
    if !style.terminal {
        return text.to_owned();
    }
    let line = |line: &str| line.split('\t').map(safe).collect::<Vec<_>>().join("\t") + "\n";
    text.lines().map(line).collect()
}

impl Record for FileView {
    const KIND: &'static str = "PolicyFile";
    const COLUMNS: &'static [&'static str] = &["FILE", "BYTES"];

    fn name(&self) -> String {
        self.name.clone()
    }
    fn row(&self, _: &Style) -> Vec<String> {
        vec![self.name.clone(), self.text.len().to_string()]
    }
    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        vec![("file", self.row(style).join(" "))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::keys;
    use taskpass_types::Timestamp;

    #[test]
    fn a_terminal_obeys_nothing_and_a_pipe_gets_all() {
        let style = |terminal| Style { now: Timestamp::default(), terminal };
        let text = "permit (\n\tprincipal, // \u{1b}[2J\u{202e}\n);";
        assert_eq!(shown(text, &style(false)), text);
        assert_eq!(shown(text, &style(true)), "permit (\n\tprincipal, // \\u{1b}[2J\\u{202e}\n);\n");
    }

    #[test]
    fn keys_are_stable() {
        let file = FileView { name: "a.cedar".into(), text: String::new() };
        insta::assert_snapshot!(keys(&file), @r"
        .name
        .text
        ");
    }
}
