//! What was granted against what was used: a pure function of both.

use super::activity::{Activity, AgentUse, PairUse};
use crate::span;
use serde::Serialize;
use std::{collections::BTreeSet, time::Duration};
use taskpass_proto::v1;

/// Something that an operator should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) kind: FindingKind,
    pub(super) agent: String,
    /// Empty when it is about the agent as such.
    pub(super) resource: String,
    pub(super) actions: Vec<String>,
    pub(super) what: String,
}

/// What kind of thing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FindingKind {
    /// Nobody answers for the agent.
    NoOwner,
    /// The agent did nothing in the window.
    Idle,
    /// Tasks ended because nobody showed life.
    Silent,
    /// Tasks ran into their deadline.
    TimedOut,
    /// Declared, and no lease was ever issued for it.
    NeverIssued,
    /// Issued, and no tool call was ever made with it.
    NeverCalled,
    /// Asked for much longer than its tasks run.
    TtlTooLong,
    /// Renewed over and over: it was asked for too shortly.
    TtlTooShort,
}

impl FindingKind {
    /// The word.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::NoOwner => "no owner",
            Self::Idle => "idle",
            Self::Silent => "silent",
            Self::TimedOut => "timed out",
            Self::NeverIssued => "never issued",
            Self::NeverCalled => "never called",
            Self::TtlTooLong => "ttl too long",
            Self::TtlTooShort => "ttl too short",
        }
    }
}

/// From how many renewals of a lease on, on average, its time to live was too short.
const MANY_RENEWALS: u64 = 10;

/// Times to live that people would write, in seconds.
const STEPS: [u64; 13] =
    [30, 60, 120, 300, 600, 900, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 12 * 3600, 24 * 3600];

/// The next time to live that people would write.
pub(super) fn step(span: Duration) -> Duration {
    let secs = span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0));
    let hours = secs.div_ceil(3600).saturating_mul(3600);
    Duration::from_secs(STEPS.into_iter().find(|step| *step >= secs).unwrap_or(hours))
}

/// Everything that is worth a look, agents first, by name.
pub(super) fn judge(activity: &Activity, agents: &[v1::Agent]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for agent in agents {
        of_registration(agent, activity, &mut findings);
    }
    for (agent, used) in &activity.agents {
        of_tasks(agent, used, &mut findings);
    }
    for ((agent, resource), used) in &activity.pairs {
        let mut say = |kind, actions: &BTreeSet<&String>, what: String| {
            let actions = actions.iter().map(ToString::to_string).collect();
            findings.push(Finding { kind, agent: agent.clone(), resource: resource.clone(), actions, what });
        };
        of_scopes(used, activity.calls_are_logged, &mut say);
        of_life(used, &mut say);
    }
    findings.sort_by(|a, b| (a.kind, &a.agent, &a.resource).cmp(&(b.kind, &b.agent, &b.resource)));
    findings
}

fn of_registration(agent: &v1::Agent, activity: &Activity, findings: &mut Vec<Finding>) {
    let mut say = |kind, what: &str| {
        let (agent, what) = (agent.id.clone(), what.to_owned());
        findings.push(Finding { kind, agent, resource: String::new(), actions: Vec::new(), what });
    };
    if agent.owner.is_empty() {
        say(
            FindingKind::NoOwner,
            "nobody answers for it, and nothing is issued to it: name an owner, or remove it",
        );
    }
    if !activity.agents.contains_key(&agent.id) {
        say(FindingKind::Idle, "no task, no lease and no call: does it still exist?");
    }
}

fn of_tasks(agent: &str, used: &AgentUse, findings: &mut Vec<Finding>) {
    let of = used.tasks_ended;
    for (kind, count, what) in [
        (FindingKind::Silent, used.silent, "fell silent: their processes died, or never showed life"),
        (
            FindingKind::TimedOut,
            used.timed_out,
            "timed out: they are not completed, or take longer than declared",
        ),
    ] {
        if count > 0 {
            let (agent, what) = (agent.to_owned(), format!("{count} of {of} tasks {what}"));
            findings.push(Finding { kind, agent, resource: String::new(), actions: Vec::new(), what });
        }
    }
}

fn of_scopes(
    used: &PairUse,
    calls_are_logged: bool,
    say: &mut impl FnMut(FindingKind, &BTreeSet<&String>, String),
) {
    let unused = used.declared.iter().filter(|(action, declared)| {
        declared.used == 0 && !used.issued.contains_key(*action) && !used.delegated(action)
    });
    let tasks = unused.clone().map(|(_, declared)| declared.tasks).max().unwrap_or_default();
    let unused: BTreeSet<_> = unused.map(|(action, _)| action).collect();
    if !unused.is_empty() {
        say(
            FindingKind::NeverIssued,
            &unused,
            format!("declared by {tasks} tasks, and no lease was issued for it"),
        );
    }
    let uncalled = used.issued.iter().filter(|(action, _)| !used.called.contains_key(*action));
    let leases = uncalled.clone().map(|(_, leases)| *leases).max().unwrap_or_default();
    let uncalled: BTreeSet<_> = uncalled.map(|(action, _)| action).collect();
    if calls_are_logged && !uncalled.is_empty() {
        let calls: u64 = used.called.values().sum();
        let what = format!("in {leases} leases, and never called; {calls} calls of others at this resource");
        say(FindingKind::NeverCalled, &uncalled, what);
    }
}

fn of_life(used: &PairUse, say: &mut impl FnMut(FindingKind, &BTreeSet<&String>, String)) {
    let none = BTreeSet::new();
    if let Some(longest) = used.longest.filter(|longest| step(*longest).saturating_mul(2) <= used.asked) {
        let what = format!(
            "asked for {}, and its tasks ran for {} at most: {} is enough",
            span::show(used.asked),
            rounded(longest),
            span::show(step(longest))
        );
        say(FindingKind::TtlTooLong, &none, what);
    }
    if used.leases > 0 && used.renewals >= used.leases.saturating_mul(MANY_RENEWALS) {
        let PairUse { leases, renewals, asked, .. } = used;
        let what =
            format!("{renewals} renewals of {leases} leases: {} is short for its tasks", rounded(*asked));
        say(FindingKind::TtlTooShort, &none, what);
    }
}

/// Whole seconds, for people.
pub(super) fn rounded(span: Duration) -> String {
    span::show(Duration::from_secs(span.as_secs().max(1)))
}

#[cfg(test)]
mod tests {
    use super::{
        super::activity::tests::{USED, activity},
        *,
    };

    fn registered(id: &str, owner: &str) -> v1::Agent {
        v1::Agent { id: id.to_owned(), owner: owner.to_owned(), ..Default::default() }
    }

    /// Kind, agent, resource and actions of each.
    fn found(lines: &[&str], agents: &[v1::Agent]) -> Vec<(FindingKind, String)> {
        judge(&activity(0, lines), agents)
            .into_iter()
            .map(|f| (f.kind, format!("{} {} {}", f.agent, f.resource, f.actions.join(","))))
            .collect()
    }

    #[test]
    fn a_time_to_live_is_one_that_people_would_write() {
        for (millis, secs) in [
            (0, 30),
            (30_000, 30),
            (30_001, 60),
            (190_000, 300),
            (3_600_000, 3600),
            (3_601_000, 7200),
            (90_000_000, 90_000),
            (90_000_001, 93_600),
        ] {
            assert_eq!(step(Duration::from_millis(millis)).as_secs(), secs, "{millis}");
        }
        assert!(step(Duration::MAX) >= Duration::from_secs(u64::MAX / 3600 * 3600), "no overflow");
    }

    #[test]
    fn what_was_used_as_declared_is_no_finding() {
        let lines = [
            "10 outcome task.start task=t1 agent=ci/bot scopes=api:read",
            "11 intent lease.issue lease=l1 task=t1 agent=ci/bot resource=api actions=read ttl=300",
            "11 outcome lease.issue lease=l1",
            "12 outcome call.authorize call=c1 agent=ci/bot resource=api actions=read",
            "200 outcome task.end task=t1 reason=completed",
        ];
        assert_eq!(found(&lines, &[registered("ci/bot", "maya")]), []);
    }

    #[test]
    fn each_kind_is_found() {
        use FindingKind::*;
        let start = "1 outcome task.start task=t1 agent=ci/bot scopes=api:read,api:write";
        let issue =
            "2 intent lease.issue lease=l1 task=t1 agent=ci/bot resource=api actions=read,write ttl=60";
        let issued = "2 outcome lease.issue lease=l1";
        let call = "3 outcome call.authorize call=c1 agent=ci/bot resource=api actions=read";
        for (lines, agents, kind, about) in [
            (&[][..], vec![registered("ci/bot", "maya")], Idle, "ci/bot  "),
            (&[start], vec![registered("ci/bot", "")], NoOwner, "ci/bot  "),
            (&[start, issue, issued, "9 outcome task.end task=t1 reason=silent"], vec![], Silent, "ci/bot  "),
            (
                &[start, issue, issued, "9 outcome task.end task=t1 reason=timed_out"],
                vec![],
                TimedOut,
                "ci/bot  ",
            ),
            (USED, vec![], NeverIssued, "ci/bot api write"),
            (&[start, issue, issued, call], vec![], NeverCalled, "ci/bot api write"),
            (USED, vec![], TtlTooLong, "ci/bot api "),
        ] {
            let found = found(lines, &agents);
            assert!(found.contains(&(kind, about.to_owned())), "{kind:?}: {found:?}");
        }
    }

    #[test]
    fn a_task_that_runs_may_still_use_what_it_declared() {
        assert_eq!(found(&USED[..5], &[]), []);
    }

    #[test]
    fn nothing_is_uncalled_where_no_calls_are_logged() {
        let found = found(USED, &[]);
        assert!(found.iter().all(|(kind, _)| *kind != FindingKind::NeverCalled), "{found:?}");
    }

    #[test]
    fn what_is_handed_on_is_used() {
        let mut lines = USED.to_vec();
        lines.insert(
            1,
            "10 outcome task.start task=t2 parent=t1 actor=agent/ci/bot agent=ci/child scopes=api:write",
        );
        let found = found(&lines, &[]);
        assert!(found.iter().all(|(kind, _)| *kind != FindingKind::NeverIssued), "{found:?}");
    }

    #[test]
    fn renewals_over_and_over_are_found_with_their_numbers() {
        let renew = [
            "5 intent lease.renew lease=l1 task=t1 agent=ci/bot resource=api actions=read ttl=60",
            "5 outcome lease.renew lease=l1",
        ];
        let mut lines = USED[..3].to_vec();
        lines.extend(std::iter::repeat_n(renew, 10).flatten());
        let findings = judge(&activity(0, &lines), &[]);
        let what = &findings.iter().find(|finding| finding.kind == FindingKind::TtlTooShort).unwrap().what;
        assert_eq!(what, "10 renewals of 1 leases: 1h is short for its tasks");
        lines.truncate(lines.len() - 2);
        assert_eq!(judge(&activity(0, &lines), &[]), []);
    }
}
