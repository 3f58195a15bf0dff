//! Random policies that are valid, and random requests about the few things that they speak of.

use crate::{AgentFacts, Request, ResourceFacts, TaskFacts, UserFacts, Verb};
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};
use taskpass_types::{
    ActionName, AgentId, Counters, CredentialKind, ResourceName, Revocability, TaskKind, Timestamp, ToolName,
    Ttl,
};

const AGENTS: [&str; 4] = ["dev/maya", "dev/noor", "ci/bot", "solo"];
const USERS: [&str; 3] = ["maya@acme.test", "noor@acme.test", "orchestrator/scheduler"];
const GROUPS: [&str; 4] = ["dev", "ci", "night", "dev/maya"];
const RESOURCES: [&str; 4] = ["s3", "s3/reports", "billing-api", "s3/reports/eu"];
const ACTIONS: [&str; 3] = ["invoice:read", "invoice:write", "invoice:delete"];
const TOOLS: [&str; 2] = ["refund.create", "search"];
const PURPOSES: [&str; 3] = ["close November", "a refund", ""];

/// Conditions that hold, fail, or do neither; between them they read all there is.
const CONDITIONS: [&str; 36] = [
    "",
    "",
    "",
    r#"when { context.action == "invoice:read" }"#,
    r#"when { context.action == "invoice:write" }"#,
    r#"when { context.action == "invoice:delete" }"#,
    "unless { context.bound }",
    r#"when { principal.labels.contains("labelled=true") }"#,
    r#"when { resource has environment && resource.labels.contains("labelled=true") }"#,
    "when { context.ttl_seconds * 9223372036854775807 > 0 }",
    r#"when { context.task.depth < 1 || principal in Group::"night" }"#,
    r#"when { principal.owner in Group::"night" }"#,
    r#"when { principal.owner.labels.contains("labelled=true") }"#,
    r#"when { context.task.initiator in Group::"night" }"#,
    r#"unless { context.task.initiator.labels.contains("labelled=true") }"#,
    "when { context.task.initiator == principal.owner }",
    r#"when { context has delegate_to && context.delegate_to in Group::"dev" }"#,
    r#"when { context has delegate_to && context.delegate_to.owner in Group::"night" }"#,
    r#"unless { context has delegate_to && context.delegate_to.attested.contains("unix:uid:1000") }"#,
    "when { context has delegate_to }",
    r#"when { context has tool && context.tool like "refund.*" }"#,
    "unless { context has tool }",
    "when { context.counters.credentials < 2 }",
    "when { context.counters.live == context.counters.tool_calls }",
    "when { context.counters == {credentials: 1, live: 0, tool_calls: 0} }",
    "when { context.now.hour >= 9 && context.now.hour < 17 }",
    r#"unless { ["saturday", "sunday"].contains(context.now.weekday) }"#,
    "when { context.now.minute < 30 }",
    "when { context.now.unix_seconds > 1000000 }",
    r#"when { context.task has sensitivity && context.task.sensitivity == "high" }"#,
    "when { context has task.sensitivity }",
    r#"when { context.task.purpose like "*November*" && context.task.kind == "close-books" }"#,
    r#"when { context.task.labels.contains("labelled=true") }"#,
    "when { context.attestation_age_seconds > 3 && context.ttl_seconds > 1 }",
    r#"when { context.kind == "jwt" } unless { context.revocability == "bounded" }"#,
    "when { if context.bound then {a: context}.a.task.depth > 1 else [context.task].isEmpty() }",
];

const ANNOTATIONS: [&str; 5] = [
    "",
    r#"@max_ttl("5m")"#,
    r#"@approval("2 of leads, 1 of night") @max_credentials("3")"#,
    r#"@bound("required") @recheck("30s") @max_calls("3 per minute")"#,
    r#"@revocability("bounded") @max_uses("2") @max_ttl("1m")"#,
];

const CONSEQUENCES: [&str; 4] = ["", "", r#"@outside_scope("report")"#, r#"@outside_scope("kill")"#];

/// Text of one policy: any scope that Cedar's grammar has, any condition of the list, any obligations.
pub(super) fn policy() -> impl Strategy<Value = String> {
    let principal = prop_oneof![
        Just("principal".to_owned()),
        Just("principal is Agent".to_owned()),
        (0..4usize).prop_map(|i| format!("principal == Agent::\"{}\"", AGENTS[i])),
        (0..4usize).prop_map(|i| format!("principal in Agent::\"{}\"", AGENTS[i])),
        (0..4usize).prop_map(|i| format!("principal in Group::\"{}\"", GROUPS[i])),
        (0..4usize).prop_map(|i| format!("principal is Agent in Group::\"{}\"", GROUPS[i])),
    ];
    let action = prop_oneof![
        Just("action".to_owned()),
        (0..4usize).prop_map(|i| format!("action == {}", Verb::ALL[i].uid())),
        (0..4usize).prop_map(|i| format!("action in {}", Verb::ALL[i].uid())),
        (0..4usize, 0..4usize).prop_map(|(i, j)| format!(
            "action in [{}, {}]",
            Verb::ALL[i].uid(),
            Verb::ALL[j].uid()
        )),
    ];
    let resource = prop_oneof![
        Just("resource".to_owned()),
        Just("resource is Resource".to_owned()),
        (0..4usize).prop_map(|i| format!("resource == Resource::\"{}\"", RESOURCES[i])),
        (0..4usize).prop_map(|i| format!("resource in Resource::\"{}\"", RESOURCES[i])),
        (0..4usize).prop_map(|i| format!("resource is Resource in Resource::\"{}\"", RESOURCES[i])),
    ];
    (effect(), principal, action, resource, prop::sample::select(&CONDITIONS[..]))
        .prop_map(|(effect, p, a, r, condition)| format!("{effect} ({p}, {a}, {r}) {condition};\n"))
}

/// One that only its condition restricts.
pub(super) fn open_policy() -> impl Strategy<Value = String> {
    (effect(), prop::sample::select(&CONDITIONS[..]))
        .prop_map(|(effect, condition)| format!("{effect} (principal, action, resource) {condition};\n"))
}

fn effect() -> impl Strategy<Value = String> {
    let permit =
        prop::sample::select(&ANNOTATIONS[..]).prop_map(|obligations| format!("{obligations} permit"));
    let effect = prop_oneof![4 => permit, 1 => Just("forbid".to_owned())];
    (effect, prop::sample::select(&CONSEQUENCES[..]))
        .prop_map(|(effect, consequence)| format!("{consequence} {effect}"))
}

/// What a request is made of: a small number for each thing that can differ.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked([usize; 20]);

pub(super) fn asked() -> impl Strategy<Value = Asked> {
    prop::array::uniform20(0..60usize).prop_map(Asked)
}

/// Two requests that differ in little.
pub(super) fn pair() -> impl Strategy<Value = (Asked, Asked)> {
    let differs = prop::array::uniform20(prop::bool::weighted(0.15));
    (asked(), asked(), differs).prop_map(|(one, mut other, differs)| {
        for ((other, one), differs) in other.0.iter_mut().zip(one.0).zip(differs) {
            if !differs {
                *other = one;
            }
        }
        (one, other)
    })
}

impl Asked {
    /// The same agent, verb and resource; everything of the context is another.
    pub(super) fn with_another_context(mut self) -> Self {
        // Purpose, the labels of the task only, and from the action on all that there is.
        self.0[0] += 1;
        self.0[3] ^= 2;
        for (thing, step) in self.0.iter_mut().skip(10).zip([1, 7, 1, 1, 1, 1, 1, 5, 10, 16]) {
            *thing += step;
        }
        self
    }

    pub(super) fn put<T>(&self, answer: impl FnOnce(&Request<'_>) -> T) -> T {
        self.put_with_purpose(PURPOSES[self.0[0] % 3], answer)
    }

    pub(super) fn put_with_purpose<T>(&self, purpose: &str, answer: impl FnOnce(&Request<'_>) -> T) -> T {
        let [
            _,
            agent,
            groups,
            labelled,
            owner,
            user_groups,
            user_labels,
            verb,
            resource,
            environment,
            action,
            kind,
            ttl,
            bound,
            depth,
            initiator,
            age,
            now,
            counters,
            other,
        ] = self.0;
        let labels = |is: bool| BTreeMap::from([("labelled".to_owned(), is.to_string())]);
        let is = |bits: usize, bit: usize| bits >> bit & 1 == 1;
        // Whatever role a user has in a request, what is known of it is the same.
        let user = |i: usize| {
            let groups = is(user_groups, i % 3).then_some("night");
            UserFacts::new(USERS[i % 3], groups, &labels(is(user_labels, i % 3)))
        };
        let known = |i: usize, owner: usize, attested: &[String]| {
            let groups = (0..4).filter(|group| is(groups, *group)).map(|group| GROUPS[group]);
            let id = AgentId::new(AGENTS[i % 4]).unwrap();
            AgentFacts::new(&id, &user(owner), groups, &labels(is(labelled, 0)), attested)
        };
        let optional = |i: usize, words: &[&'static str]| words.get(i % (words.len() + 1)).copied();
        let task_labels = match purpose.strip_prefix("order ") {
            Some(order) => BTreeMap::from([("order".to_owned(), order.to_owned())]),
            None => labels(is(labelled, 1)),
        };
        let kind_name = TaskKind::new(["close-books", "refund"][kind / 2 % 2]).unwrap();
        let sensitivity = optional(other / 12, &["high", "low"]);
        let task =
            TaskFacts::new(&kind_name, purpose, &user(initiator), depth % 3, &task_labels, sensitivity);
        let name = ResourceName::new(RESOURCES[resource % 4]).unwrap();
        let environment = is(environment, 0).then_some("prod");
        answer(&Request {
            agent: &known(agent, owner, &["unix:uid:1000".to_owned()]),
            verb: Verb::ALL[verb % 4],
            resource: &ResourceFacts::new(&name, &labels(is(labelled, 2)), environment, environment),
            action: &ActionName::new(ACTIONS[action % 3]).unwrap(),
            kind: [CredentialKind::Jwt, CredentialKind::X509][kind % 2],
            revocability: [Revocability::Bounded, Revocability::Immediate][kind / 4 % 2],
            ttl: Ttl::from_secs([1, 600][ttl % 2]).unwrap(),
            bound: is(bound, 0),
            task: &task,
            attestation_age: Duration::from_secs(u64::try_from(age % 6).unwrap()),
            // Every nine hours and ten minutes.
            now: Timestamp::from_secs(u64::try_from(now).unwrap() * 33_000),
            counters: Counters {
                credentials: u32::try_from(counters % 3).unwrap(),
                live: u32::try_from(counters / 3 % 2).unwrap(),
                tool_calls: u32::try_from(counters / 6 % 2).unwrap(),
            },
            tool: optional(other, &TOOLS).map(|tool| ToolName::new(tool).unwrap()).as_ref(),
            delegate_to: (other / 3 % 4 > 0).then(|| known(agent + other / 3, other, &[])).as_ref(),
        })
    }
}
