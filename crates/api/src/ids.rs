//! Ids as people type them: in full, or the beginning of one.

use crate::Api;
use futures::{FutureExt as _, future::BoxFuture};
use std::{fmt::Display, str::FromStr};
use taskpass_broker::Caller;
use taskpass_store::{ApprovalQuery, LeaseQuery, TaskQuery};
use taskpass_types::{ApprovalId, LeaseId, PlanId, Reason, Refusal, TaskId};

/// How much of an id, without its prefix, is enough to look for it.
const SHORTEST: usize = 6;
/// How many records are looked at for it.
const LOOK_AT: usize = 100_000;

impl Api {
    pub(crate) async fn task_id(&self, caller: &Caller, text: &str) -> Result<TaskId, Refusal> {
        let page = |before| {
            async move {
                let query = TaskQuery { limit: 1_000, before, ..TaskQuery::default() };
                let page = self.broker.tasks(caller, query).await?;
                Ok((page.items.iter().map(|task| task.id).collect(), page.next))
            }
            .boxed()
        };
        find(text, TaskId::PREFIX, "task", Reason::TaskNotFound, page).await
    }

    pub(crate) async fn lease_id(&self, caller: &Caller, text: &str) -> Result<LeaseId, Refusal> {
        let page = |before| {
            async move {
                let query = LeaseQuery { limit: 1_000, before, ..LeaseQuery::default() };
                let page = self.broker.leases(caller, query).await?;
                Ok((page.items.iter().map(|lease| lease.id).collect(), page.next))
            }
            .boxed()
        };
        find(text, LeaseId::PREFIX, "lease", Reason::LeaseNotFound, page).await
    }

    pub(crate) async fn approval_id(&self, caller: &Caller, text: &str) -> Result<ApprovalId, Refusal> {
        let page = |before| {
            async move {
                let query = ApprovalQuery { limit: 1_000, before, ..ApprovalQuery::default() };
                let page = self.broker.approvals(caller, query).await?;
                Ok((page.items.iter().map(|approval| approval.id).collect(), page.next))
            }
            .boxed()
        };
        find(text, ApprovalId::PREFIX, "approval", Reason::ApprovalNotFound, page).await
    }

    pub(crate) async fn plan_id(&self, caller: &Caller, text: &str) -> Result<PlanId, Refusal> {
        let page = |_| async move { Ok((self.broker.plan_ids(caller)?, None)) }.boxed();
        find(text, PlanId::PREFIX, "plan", Reason::PlanNotFound, page).await
    }
}

/// The one that a text names, read page by page where only its beginning is given.
async fn find<'a, Id>(
    text: &str,
    prefix: &str,
    what: &str,
    missing: Reason,
    page: impl Fn(Option<Id>) -> BoxFuture<'a, Result<(Vec<Id>, Option<Id>), Refusal>>,
) -> Result<Id, Refusal>
where
    Id: Copy + Display + FromStr<Err: Display>,
{
    if let Some(id) = parse(text, prefix)? {
        return Ok(id);
    }
    let (mut matches, mut looked_at, mut before) = (Vec::new(), 0, None);
    loop {
        let (ids, next) = page(before).await?;
        looked_at += ids.len();
        matches.extend(ids.into_iter().filter(|id| id.to_string().starts_with(text)));
        match next {
            Some(_) if looked_at < LOOK_AT => before = next,
            _ => return one(text, what, missing, &matches),
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
        [] if missing == Reason::PlanNotFound => {
            Err(Refusal::new(missing, "there is no such plan, or it is older than ten minutes")
                .fix("look at the change again: taskpass policy diff --live DIR"))
        }
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
