//! Ids as people type them: in full, or the beginning of one.

use crate::Api;
use std::{fmt::Display, str::FromStr};
use taskpass_broker::Caller;
use taskpass_store::{LeaseQuery, TaskQuery};
use taskpass_types::{LeaseId, Reason, Refusal, TaskId};

/// How much of an id, without its prefix, is enough to look for it.
const SHORTEST: usize = 6;
/// How many records are looked at for it.
const LOOK_AT: usize = 100_000;

impl Api {
    pub(crate) async fn task_id(&self, caller: &Caller, text: &str) -> Result<TaskId, Refusal> {
        if let Some(id) = parse(text, TaskId::PREFIX)? {
            return Ok(id);
        }
        let (mut matches, mut looked_at) = (Vec::new(), 0);
        let mut query = TaskQuery { limit: 1_000, ..TaskQuery::default() };
        loop {
            let page = self.broker.tasks(caller, query.clone()).await?;
            looked_at += page.items.len();
            matches
                .extend(page.items.iter().map(|task| task.id).filter(|id| id.to_string().starts_with(text)));
            match page.next {
                Some(next) if looked_at < LOOK_AT => query.before = Some(next),
                _ => return one(text, "task", Reason::TaskNotFound, &matches),
            }
        }
    }

    pub(crate) async fn lease_id(&self, caller: &Caller, text: &str) -> Result<LeaseId, Refusal> {
        if let Some(id) = parse(text, LeaseId::PREFIX)? {
            return Ok(id);
        }
        let (mut matches, mut looked_at) = (Vec::new(), 0);
        let mut query = LeaseQuery { limit: 1_000, ..LeaseQuery::default() };
        loop {
            let page = self.broker.leases(caller, query.clone()).await?;
            looked_at += page.items.len();
            matches.extend(
                page.items.iter().map(|lease| lease.id).filter(|id| id.to_string().starts_with(text)),
            );
            match page.next {
                Some(next) if looked_at < LOOK_AT => query.before = Some(next),
                _ => return one(text, "lease", Reason::LeaseNotFound, &matches),
            }
        }
    }
}

/// A whole id; `None` for what may be the beginning of one.
fn parse<Id: FromStr<Err: Display>>(text: &str, prefix: &str) -> Result<Option<Id>, Refusal> {
    match text.parse() {
        Ok(id) => Ok(Some(id)),
        Err(error) => {
            let beginning = text.strip_prefix(prefix).is_some_and(|rest| {
                (SHORTEST..26).contains(&rest.len())
                    && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            });
            if beginning {
                return Ok(None);
            }
            Err(Refusal::new(Reason::FieldInvalid, error.to_string())
                .fix(format!("give the whole id, or at least {SHORTEST} characters after `{prefix}`"))
                .with("field", "id"))
        }
    }
}

fn one<Id: Copy + Display>(text: &str, what: &str, missing: Reason, matches: &[Id]) -> Result<Id, Refusal> {
    match matches {
        [id] => Ok(*id),
        [] => Err(Refusal::new(missing, format!("there is no such {what}, or it is not yours"))
            .fix(format!("list your {what}s with `taskpass {what} list`"))),
        several => {
            let names = several.iter().take(5).map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
            Err(Refusal::new(
                Reason::FieldInvalid,
                format!("`{text}` is the beginning of several {what}s: {names}"),
            )
            .fix("give more of the id")
            .with("field", "id"))
        }
    }
}
