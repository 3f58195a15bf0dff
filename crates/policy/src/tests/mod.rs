//! What needs a look inside: the slice against the whole set, classes against decisions, and requests against the schema.

mod random;

use crate::{
    Class, Decision, Policies, Request,
    decide::{Verdict, conclude},
    reads::{Attribute, Reads},
    rule, schema,
};
use cedar_policy::{Entities, PolicySet};
use proptest::prelude::*;
use random::{Asked, asked, open_policy, pair, policy};
use std::collections::HashSet;

/// Decides without slices, without anything kept, and with all of the context.
fn oracle(policies: &Policies) -> impl Fn(&Request<'_>) -> Decision {
    let whole = PolicySet::from_policies(policies.rules.iter().map(|rule| rule.policy.clone())).unwrap();
    move |request| {
        let entities = request.entities(Reads::EVERYTHING).unwrap();
        let verdict = Verdict::of(&policies.rules, request, Reads::EVERYTHING, &whole, &entities).unwrap();
        conclude(policies, request, &verdict)
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
        let oracle = oracle(&policies);
        for question in questions {
            question.put(|request| {
                let expected = oracle(request);
                prop_assert_eq!(&policies.decide(request), &expected);
                prop_assert_eq!(&policies.decide(request), &expected, "from the cache");
                Ok(())
            })?;
        }
    }

    #[test]
    fn requests_of_one_class_are_decided_alike(
        texts in prop::collection::vec(prop_oneof![policy(), open_policy()], 0..8),
        pairs in prop::collection::vec(pair(), 1..60),
    ) {
        let policies = Policies::from_sources([("p.cedar", texts.concat())]).unwrap();
        let oracle = oracle(&policies);
        let of = |asked: &Asked| asked.put(|request| {
            let Decision { effect, determining, obligations, .. } = oracle(request);
            (policies.class(request), (effect, determining, obligations))
        });
        for (one, other) in pairs {
            let ((class, decided), (other_class, other_decided)) = (of(&one), of(&other));
            prop_assert!(
                class != other_class || decided == other_decided,
                "{one:?} and {other:?}: {decided:?} and {other_decided:?}"
            );
            prop_assert_eq!(&class, &of(&one).0, "facts that were built anew say the same");
        }
    }

    #[test]
    fn every_request_fits_the_schema(question in asked()) {
        question.put(|request| {
            let entities = request.entities(Reads::EVERYTHING).unwrap();
            Entities::from_entities(entities.iter().cloned(), Some(&*schema::PARSED)).unwrap();
            let question = request.question(Reads::EVERYTHING).unwrap();
            question.context().unwrap().validate(&schema::PARSED, request.verb.uid()).unwrap();
        });
    }
}

/// Requests that differ in their task's purpose and labels, and in nothing else.
fn classes(policy: &str, count: usize) -> HashSet<Class> {
    let policies = Policies::from_sources([("p.cedar", policy)]).unwrap();
    let class = |n: usize| {
        Asked::default()
            .put_with_purpose(&format!("order {n}"), |request: &Request<'_>| policies.class(request))
    };
    (0..count).map(class).collect()
}

#[test]
fn what_no_policy_reads_makes_no_class() {
    let unread = r#"permit(principal, action, resource) when { context.task.depth < 3 && context.action like "invoice:*" };"#;
    assert_eq!(classes(unread, 10_000).len(), 1);
    let elsewhere = r#"permit(principal == Agent::"other", action, resource) when { context.task.purpose like "order*" };"#;
    assert_eq!(classes(elsewhere, 100).len(), 1, "only the policies of the slice count");
    let read = r#"permit(principal, action, resource) when { context.task.purpose like "order*" };"#;
    assert_eq!(classes(read, 100).len(), 100);
    let whole = r#"permit(principal, action, resource) when { {a: context}.a.bound };"#;
    assert_eq!(classes(whole, 100).len(), 100, "what is not understood reads everything");
}

#[test]
fn a_slice_holds_what_can_apply_and_no_other() {
    let others: String = (0..1_000)
        .map(|n| format!("permit(principal == Agent::\"other/{n}\", action, resource);\n"))
        .chain(
            (0..1_000).map(|n| format!("forbid(principal, action, resource == Resource::\"other-{n}\");\n")),
        )
        .collect();
    let open =
        "permit(principal, action, resource);\nforbid(principal, action, resource) when { context.bound };";
    let policies = Policies::from_sources([("p.cedar", format!("{others}{open}"))]).unwrap();
    Asked::default().put(|request| {
        let slice = policies.slices.find(&policies.rules, request).unwrap();
        let mut numbers: Vec<_> =
            slice.policies.policies().filter_map(|policy| rule::number(policy.id())).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [2_000, 2_001], "of {} policies", policies.rules.len());
    });
}

#[test]
fn classes_of_different_policies_are_never_equal() {
    let open = "permit(principal, action, resource);";
    let one = classes(open, 1);
    assert_eq!(one, classes(open, 1));
    assert!(one.is_disjoint(&classes(&format!("{open} "), 1)));
}

#[test]
fn each_attribute_that_is_read_tells_classes_apart() {
    let (one, other) = (Asked::default(), Asked::default().with_another_context());
    for attribute in Attribute::ALL {
        let (record, name) = attribute.place();
        let record = record.map(|record| format!(".{record}")).unwrap_or_default();
        let text = format!("permit(principal, action, resource) when {{ context{record} has {name} }};");
        let policies = Policies::from_sources([("p.cedar", text)]).unwrap();
        let class = |asked: &Asked| asked.put(|request| policies.class(request));
        assert_ne!(class(&one), class(&other), "{attribute:?}");
        assert_eq!(class(&one), class(&one), "{attribute:?}");
    }
    let open = Policies::from_sources([("p.cedar", "permit(principal, action, resource);")]).unwrap();
    let class = |asked: &Asked| asked.put(|request| open.class(request));
    assert_eq!(class(&one), class(&other), "agent, verb and resource are the same");
}
