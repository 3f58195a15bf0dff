//! `taskpass audit tail`.

use crate::{
    error::{Exit, Failure},
    output::{Format, Record, Style, text::safe},
    session::{Outcome, Session},
};
use clap::Args;
use serde::{Serialize, Serializer};
use serde_json::Value;
use taskpass_audit::{Entry, EntryLine};
use taskpass_client::Error;
use taskpass_proto::v1;

/// Show the newest audit entries, and follow
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass audit tail -f
  taskpass audit tail --from 88106 -o jsonl | jq 'select(.refusal)'")]
pub(crate) struct Tail {
    /// Go on as entries are written
    #[arg(short, long)]
    follow: bool,
    /// How many of the newest to begin with
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    last: u32,
    /// From this entry on, instead
    #[arg(long, value_name = "SEQ", conflicts_with = "last")]
    from: Option<u64>,
}

impl Tail {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        if self.follow && session.out.format.is_document() {
            return Err(Failure::usage("one document cannot be followed").fix("use -o jsonl"));
        }
        let request =
            v1::TailAuditRequest { from_seq: self.from.unwrap_or(0), last: self.last, follow: self.follow };
        let mut entries = session.broker().await?.watch_audit(request).await?;
        let mut all = Vec::new();
        while let Some(answer) = entries.message().await.map_err(Error::from)? {
            let line = EntryView(EntryLine { seq: answer.seq, json: answer.entry });
            match session.out.format {
                Format::Json | Format::Yaml => all.push(line),
                Format::Jsonl => session.out.jsonl(&line)?,
                Format::Name => session.out.print(&format!("{}\n", line.name()))?,
                Format::Table => {
                    session.out.print(&format!("{}\n", safe(&line.row(&session.out.style).join("  "))))?
                }
            }
        }
        if session.out.format.is_document() {
            session.out.list(&all, "")?;
        }
        Ok(Exit::Done)
    }
}

/// An entry; in JSON it is what is on disk.
struct EntryView(EntryLine);

impl Serialize for EntryView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<Value>(&self.0.json).unwrap_or_default().serialize(serializer)
    }
}

impl Record for EntryView {
    const KIND: &'static str = "AuditEntry";
    const COLUMNS: &'static [&'static str] = &["TIME", "CODE", "ACTION", "ACTOR", "ABOUT"];

    fn name(&self) -> String {
        self.0.seq.to_string()
    }

    fn row(&self, style: &Style) -> Vec<String> {
        let Ok(entry) = self.0.entry() else {
            return vec![format!("entry {} cannot be read", self.0.seq)];
        };
        let time = if style.terminal { entry.time.get(11..19).unwrap_or(&entry.time) } else { &entry.time };
        vec![
            time.to_owned(),
            entry.code.clone(),
            format!("{:<17}", entry.action),
            entry.actor.clone(),
            about(&entry, style),
        ]
    }

    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        vec![("entry", self.row(style).join(" "))]
    }
}

/// What an entry is about, the larger thing first.
fn about(entry: &Entry, style: &Style) -> String {
    let id = |id: &Option<String>| id.as_deref().map(|id| style.id(id));
    let refused = match (&entry.refusal, &entry.message) {
        (Some(code), Some(message)) => Some(format!("{code}: {message}")),
        (code, _) => code.clone(),
    };
    [
        id(&entry.task),
        id(&entry.lease),
        entry.agent.clone(),
        entry.resource.clone(),
        (!entry.actions.is_empty()).then(|| entry.actions.join(",")),
        entry.purpose.as_ref().map(|purpose| format!("\"{purpose}\"")),
        entry.reason.clone(),
        refused,
        id(&entry.decision),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use taskpass_types::Timestamp;

    const STYLE: Style = Style { now: Timestamp::from_secs(0), terminal: false };

    #[test]
    fn an_entry_is_one_line_for_people_and_itself_for_programs() {
        let json = r#"{"action":"lease.issue","actor":"agent/ci/bot","agent":"ci/bot","code":"TP021F","lease":"ls_1","message":"no permit","phase":"outcome","prev":"","refusal":"POLICY_DENIED","resource":"billing-api","seq":7,"tenant":"default","time":"2026-11-23T14:27:31.000Z"}"#;
        let view = EntryView(EntryLine { seq: 7, json: json.to_owned() });
        let row = view.row(&STYLE);
        assert_eq!(row[0], "2026-11-23T14:27:31.000Z");
        assert_eq!(row[4], "ls_1 ci/bot billing-api POLICY_DENIED: no permit");
        assert_eq!(serde_json::to_string(&view).unwrap(), json);
    }

    #[test]
    fn an_entry_of_another_form_is_shown_as_such() {
        let view = EntryView(EntryLine { seq: 7, json: "{".to_owned() });
        assert_eq!(view.row(&STYLE), ["entry 7 cannot be read"]);
    }
}
