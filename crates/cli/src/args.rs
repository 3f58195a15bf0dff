//! Arguments that several commands take, parsed once.

use crate::{
    error::{Exit, Failure},
    output::Output,
    span::Span,
    view::EnforcementView,
};
use clap::Args;
use std::{future::Future, str::FromStr, time::Duration};
use taskpass_proto::v1;
use taskpass_types::{ActionName, ResourceName, Scope, Timestamp};

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
    /// For orchestrators and operators: how sensitive it is, for policies
    #[arg(long, value_name = "WORD")]
    pub(crate) sensitivity: Option<String>,
    /// How long the task may run; 1h when not said
    #[arg(long, value_name = "SPAN")]
    pub(crate) task_ttl: Option<Span>,
}

/// How long verifiers are waited for when nobody says.
const VERIFIERS: Duration = Duration::from_secs(2);

/// How long to wait for verifiers to enforce an end.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Verifiers {
    /// Wait that long for verifiers to enforce it, at most 30s; 2s when not said
    #[arg(long, value_name = "SPAN")]
    wait: Option<Span>,
    /// Do not wait for verifiers, and do not say which enforce it
    #[arg(long, conflicts_with_all = ["wait", "require_all_verifiers"])]
    no_wait: bool,
    /// End with code 9 unless every verifier that it concerns enforces it by then
    #[arg(long)]
    require_all_verifiers: bool,
}

impl Verifiers {
    pub(crate) fn wait(self) -> Option<prost_types::Duration> {
        let wait = self.wait.map_or(VERIFIERS, Span::as_duration);
        prost_types::Duration::try_from(wait).ok().filter(|_| !self.no_wait)
    }

    /// How a command ends after what was learned of each end.
    pub(crate) fn exit<'a>(self, ends: impl IntoIterator<Item = &'a Option<EnforcementView>>) -> Exit {
        self.exit_if(ends.into_iter().flatten().all(EnforcementView::is_complete))
    }

    /// The same, of one question.
    pub(crate) fn exit_if(self, all: bool) -> Exit {
        if self.require_all_verifiers && !all { Exit::Partly } else { Exit::Done }
    }
}

/// Whether to wait when people have to approve.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    /// When people have to approve, wait for them that long; without it the command ends with code 8
    #[arg(long = "wait-approval", value_name = "SPAN")]
    pub(crate) at_most: Option<Span>,
}

impl Patience {
    /// How long, if at all, and what to do once it is known which approval is waited for: people are told.
    pub(crate) fn told(
        self,
        out: Output,
    ) -> Option<(Duration, impl Fn(&v1::Approval) + Send + Sync + 'static)> {
        let span = self.at_most?;
        Some((span.as_duration(), move |approval: &v1::Approval| out.say(&waiting(approval, span))))
    }
}

/// For whoever looks at the terminal of the agent that waits.
fn waiting(approval: &v1::Approval, span: Span) -> String {
    let id = &approval.id;
    let quorums = approval.quorums.iter().map(|quorum| format!("{} of `{}`", quorum.count, quorum.group));
    let quorums = quorums.collect::<Vec<_>>().join(" and ");
    format!("taskpass: waiting up to {span} until {quorums} say: taskpass approve {id}")
}

/// Since when: a span that is looked back, or an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    Ago(Span),
    At(Timestamp),
}

impl Since {
    /// The instant.
    pub(crate) fn instant(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(span) => now.minus(span.as_duration()),
            Self::At(at) => at,
        }
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        text.parse().map(Self::Ago).map_err(|_| {
            let text: String = text.escape_debug().take(40).collect();
            format!(
                "`{text}` is no span and no instant, expected for example `24h` or `2026-11-23T22:12:52Z`"
            )
        })
    }
}

/// As protobuf writes a span.
pub(crate) fn proto_span(span: Span) -> Result<prost_types::Duration, Failure> {
    span.as_duration().try_into().map_err(|_| Failure::usage(format!("`{span}` is too long")))
}

/// As protobuf writes an instant.
pub(crate) fn proto_time(at: Timestamp) -> prost_types::Timestamp {
    let millis = at.as_millis();
    prost_types::Timestamp {
        seconds: i64::try_from(millis / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(millis % 1000 * 1_000_000).unwrap_or_default(),
    }
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
    fn whoever_waits_says_what_for_and_how_to_approve_it() {
        let quorum = |group: &str, count| v1::Quorum { group: group.to_owned(), count, ..Default::default() };
        let quorums = vec![quorum("finance", 2), quorum("security", 1)];
        let approval = v1::Approval { id: "ap_31c7q0".to_owned(), quorums, ..Default::default() };
        let told = waiting(&approval, "10m".parse().unwrap());
        assert!(told.contains("10m until 2 of `finance` and 1 of `security`"), "{told}");
        assert!(told.ends_with("taskpass approve ap_31c7q0"), "{told}");
        assert!(Patience::default().at_most.is_none());
    }

    #[test]
    fn a_pair_has_both_halves() {
        assert_eq!("a=b=c".parse(), Ok(Pair { name: "a".to_owned(), value: "b=c".to_owned() }));
        for bad in ["", "a", "a=", "=b"] {
            assert!(bad.parse::<Pair>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn since_is_a_span_or_an_instant() {
        let now = Timestamp::from_secs(10_000);
        for (text, secs) in [("1h", 6_400), ("90s", 9_910), ("1970-01-01T00:01:00Z", 60)] {
            assert_eq!(text.parse::<Since>().unwrap().instant(now), Timestamp::from_secs(secs), "{text}");
        }
        assert_eq!("365d".parse::<Since>().unwrap().instant(now), Timestamp::default(), "not before 1970");
        for bad in ["", "yesterday", "5", "2026-11-23", "5m\u{1b}[31m"] {
            let error = bad.parse::<Since>().unwrap_err();
            assert!(error.contains("24h") && !error.contains('\u{1b}'), "{error}");
        }
    }

    #[test]
    fn instants_keep_their_milliseconds() {
        let proto = proto_time(Timestamp::from_millis(1_999));
        assert_eq!((proto.seconds, proto.nanos), (1, 999_000_000));
        assert!(proto_time(Timestamp::from_millis(u64::MAX)).seconds > 0);
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
