//! Arguments that several commands take, parsed once.

use crate::{error::Failure, span::Span};
use clap::Args;
use std::{future::Future, str::FromStr};
use taskpass_types::{ActionName, ResourceName, Scope};

/// `resource:action[,action]…`: what is asked for at one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) resource: ResourceName,
    pub(crate) actions: Vec<ActionName>,
}

impl Ask {
    /// Every pair, as the API writes them.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = String> + '_ {
        self.actions.iter().map(|action| format!("{}:{action}", self.resource))
    }
}

impl FromStr for Ask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut actions = text.split(',');
        let first: Scope = actions.next().unwrap_or_default().parse().map_err(|error| format!("{error}"))?;
        let more =
            actions.map(ActionName::new).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        Ok(Self { resource: first.resource, actions: [first.action].into_iter().chain(more).collect() })
    }
}

/// `name=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err("expected `name=value`".to_owned()),
        }
    }
}

/// How the task of `task start` and `exec` is declared.
#[derive(Args, Debug, Default)]
pub(crate) struct Declaration {
    /// The class of task that policy speaks of
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// A label, for people and policies; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) label: Vec<Pair>,
    /// For orchestrators and operators: who or what it is done for; you when not said
    #[arg(long, value_name = "NAME")]
    pub(crate) initiator: Option<String>,
    /// How long the task may run; 1h when not said
    #[arg(long, value_name = "SPAN")]
    pub(crate) task_ttl: Option<Span>,
}

/// How much of a list.
#[derive(Args, Debug)]
pub(crate) struct Paging {
    /// How many at most; 0: all
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) limit: usize,
    /// Where the page before ended
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    pub(crate) page_token: String,
}

/// The largest page that the broker gives.
const PAGE: usize = 1000;

impl Paging {
    /// Reads pages until there are enough. `fetch` takes a size and a token and gives a page and the next token.
    pub(crate) async fn collect<T, F>(
        &self,
        fetch: impl Fn(u32, String) -> F,
    ) -> Result<(Vec<T>, String), Failure>
    where
        F: Future<Output = Result<(Vec<T>, String), taskpass_client::Error>>,
    {
        let limit = if self.limit == 0 { usize::MAX } else { self.limit };
        let mut all = Vec::new();
        let mut token = self.page_token.clone();
        loop {
            let size = u32::try_from(limit.saturating_sub(all.len()).min(PAGE)).unwrap_or_default();
            let (page, next) = fetch(size, token).await?;
            all.extend(page);
            token = next;
            if token.is_empty() || all.len() >= limit {
                return Ok((all, token));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ask_is_a_resource_and_its_actions() {
        let ask: Ask = "billing-api:invoice:read,invoice:list".parse().unwrap();
        assert_eq!(ask.resource.as_str(), "billing-api");
        assert_eq!(
            ask.scopes().collect::<Vec<_>>(),
            ["billing-api:invoice:read", "billing-api:invoice:list"]
        );
        for bad in [
            "",
            "billing-api",
            "billing-api:",
            ":read",
            "billing-api:read,",
            "billing-api:read, list",
            "A:read",
        ] {
            assert!(bad.parse::<Ask>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_pair_has_both_halves() {
        assert_eq!("a=b=c".parse(), Ok(Pair { name: "a".to_owned(), value: "b=c".to_owned() }));
        for bad in ["", "a", "a=", "=b"] {
            assert!(bad.parse::<Pair>().is_err(), "{bad:?} was accepted");
        }
    }

    #[tokio::test]
    async fn pages_are_followed_up_to_the_limit() {
        let fetch = |size: u32, token: String| async move {
            let start: u32 = token.parse().unwrap_or(0);
            let end = (start + size.min(3)).min(7);
            let next = if end < 7 { end.to_string() } else { String::new() };
            Ok(((start..end).collect::<Vec<_>>(), next))
        };
        let collect = async |limit| Paging { limit, page_token: String::new() }.collect(fetch).await.unwrap();
        assert_eq!(collect(0).await, ((0..7).collect(), String::new()));
        assert_eq!(collect(5).await, ((0..5).collect(), "5".to_owned()));
        assert_eq!(collect(7).await, ((0..7).collect(), String::new()));
    }
}
