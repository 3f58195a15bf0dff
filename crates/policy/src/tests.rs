//! What needs a look inside: the slice against the whole set, and requests against the schema.

use crate::{
    AgentFacts, Policies, Request, ResourceFacts, TaskFacts, Verb,
    decide::{Verdict, conclude},
    schema,
};
use cedar_policy::{Entities, PolicySet};
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};
use taskpass_types::{
    ActionName, AgentId, CredentialKind, Initiator, Owner, ResourceName, Revocability, TaskKind, Ttl,
};

const AGENTS: [&str; 4] = ["dev/maya", "dev/noor", "ci/bot", "solo"];
const GROUPS: [&str; 4] = ["dev", "ci", "night", "dev/maya"];
const RESOURCES: [&str; 4] = ["s3", "s3/reports", "billing-api", "s3/reports/eu"];
const ACTIONS: [&str; 3] = ["invoice:read", "invoice:write", "invoice:delete"];

/// Text of one policy: any scope that Cedar's grammar has, and conditions that hold, fail, or do neither.
fn policy() -> impl Strategy<Value = String> {
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
    let condition = prop_oneof![
        3 => Just(String::new()),
        3 => (0..3usize).prop_map(|i| format!("when {{ context.action == \"{}\" }}", ACTIONS[i])),
        1 => Just("unless { context.bound }".to_owned()),
        1 => Just("when { principal.labels.contains(\"labelled=true\") }".to_owned()),
        1 => Just("when { resource has environment && resource.labels.contains(\"labelled=true\") }".to_owned()),
        1 => Just("when { context.ttl_seconds * 9223372036854775807 > 0 }".to_owned()),
        1 => Just("when { context.task.depth < 1 || principal in Group::\"night\" }".to_owned()),
    ];
    let effect = prop_oneof![4 => Just("permit"), 1 => Just("forbid"), 2 => Just("@max_ttl(\"5m\") permit")];
    (effect, principal, action, resource, condition)
        .prop_map(|(effect, p, a, r, condition)| format!("{effect} ({p}, {a}, {r}) {condition};\n"))
}

/// What a request is made of.
#[derive(Clone, Debug)]
struct Asked {
    agent: usize,
    groups: Vec<usize>,
    verb: usize,
    resource: usize,
    action: usize,
    bound: bool,
    depth: usize,
    labelled: bool,
}

fn asked() -> impl Strategy<Value = Asked> {
    let who = (0..4usize, prop::collection::vec(0..4usize, 0..3), any::<bool>());
    let what = (0..4usize, 0..4usize, 0..3usize, any::<bool>(), 0..3usize);
    (who, what).prop_map(|((agent, groups, labelled), (verb, resource, action, bound, depth))| Asked {
        agent,
        groups,
        labelled,
        verb,
        resource,
        action,
        bound,
        depth,
    })
}

impl Asked {
    fn put<T>(&self, answer: impl FnOnce(&Request<'_>) -> T) -> T {
        let labels = BTreeMap::from([("labelled".to_owned(), self.labelled.to_string())]);
        let groups: Vec<String> = self.groups.iter().map(|i| GROUPS[*i].to_owned()).collect();
        let id = AgentId::new(AGENTS[self.agent]).unwrap();
        let owner = Owner::new("maya@acme.test").unwrap();
        let agent = AgentFacts::new(&id, &owner, &groups, &labels, &["unix:uid:1000".to_owned()]);
        let name = ResourceName::new(RESOURCES[self.resource]).unwrap();
        let environment = self.bound.then_some("prod");
        let resource = ResourceFacts::new(&name, &labels, environment, environment);
        let initiator = Initiator::new("maya@acme.test").unwrap();
        let task =
            TaskFacts::new(&TaskKind::new("close-books").unwrap(), "why", &initiator, self.depth, &labels);
        answer(&Request {
            agent: &agent,
            verb: Verb::ALL[self.verb],
            resource: &resource,
            action: &ActionName::new(ACTIONS[self.action]).unwrap(),
            kind: CredentialKind::Jwt,
            revocability: Revocability::Bounded,
            ttl: Ttl::from_secs(600).unwrap(),
            bound: self.bound,
            task: &task,
            attestation_age: Duration::from_secs(5),
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_slice_decides_what_the_whole_set_does(
        texts in prop::collection::vec(policy(), 0..25),
        questions in prop::collection::vec(asked(), 1..25),
    ) {
        let policies = Policies::from_sources([("p.cedar", texts.concat())]).unwrap();
        let whole = PolicySet::from_policies(policies.rules.iter().map(|rule| rule.policy.clone())).unwrap();
        for question in questions {
            question.put(|request| {
                let verdict = Verdict::of(&policies.rules, request, &whole, &request.entities().unwrap()).unwrap();
                let expected = conclude(&policies, request, &verdict);
                prop_assert_eq!(&policies.decide(request), &expected);
                prop_assert_eq!(&policies.decide(request), &expected, "from the cache");
                Ok(())
            })?;
        }
    }

    #[test]
    fn every_request_fits_the_schema(question in asked()) {
        question.put(|request| {
            Entities::from_entities(request.entities().unwrap().iter().cloned(), Some(&*schema::PARSED)).unwrap();
            let question = request.question().unwrap();
            question.context().unwrap().validate(&schema::PARSED, request.verb.uid()).unwrap();
        });
    }
}
