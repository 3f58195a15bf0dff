//! Approvals: who may judge, what counts as yes, and what nothing may rest on.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod common;
#[path = "common/scene.rs"]
mod scene;
#[path = "model/world.rs"]
mod world;

use common::{AGENT, agent, ask, call, group, needs, person, plan, policies, quorum, renew, secs, start};
use scene::{NOW, Scene, metadata, reason};
use std::{collections::BTreeMap, time::Duration};
use taskpass_lease::{
    ApprovalState, ApprovalUse, CallTool, CastVote, Event, Limits, Outcome, PlanLease, Quorum, RenewLease,
    RequestApproval, StartTask, Verdict, Vote,
};
use taskpass_types::{
    ApprovalId, Initiator, LeaseId, Obligations, Owner, Reason, Refusal, TaskId, TenantId, Ttl,
};

/// A plan that needs one of `finance`, with the approval that it names.
fn approved(scene: &Scene, id: Option<ApprovalId>, digest: u8) -> PlanLease {
    PlanLease {
        obligations: obliged(),
        approval: Some(needs(id, digest)),
        ..plan(LeaseId::new(), scene.task)
    }
}

fn obliged() -> Obligations {
    Obligations { approvals: BTreeMap::from([(group("finance"), 1)]), ..Obligations::default() }
}

fn asked(scene: &mut Scene, digest: u8) -> ApprovalId {
    scene.ask(ask(ApprovalId::new(), scene.task, digest)).unwrap().id
}

#[test]
fn a_granted_approval_is_used_once_by_what_it_was_asked_for() {
    let mut scene = Scene::new();
    let first = approved(&scene, None, 1);
    assert_eq!(reason(scene.plan(first.clone())), Reason::ApprovalRequired, "nobody was asked");
    let id = asked(&mut scene, 1);
    let waits = scene.plan(first.clone()).unwrap_err();
    assert_eq!(
        (waits.reason(), metadata(&waits, "approval")),
        (Reason::ApprovalRequired, Some(id.to_string()))
    );
    let granted = scene.vote(id, "ben", Verdict::Approve).unwrap();
    assert_eq!(granted.state, ApprovalState::Granted { at: NOW });
    let lease = scene.plan(first.clone()).unwrap();
    assert_eq!(lease.approval, Some(id));
    let used = ApprovalState::Used { at: NOW, by: lease.id.to_string() };
    assert_eq!(scene.world.approvals[&id].state, used);
    assert_eq!(scene.plan(first).unwrap().id, lease.id, "a repeat needs no approval again");
    for named in [None, Some(id)] {
        let again = approved(&scene, named, 1);
        assert_eq!(reason(scene.plan(again)), Reason::ApprovalRequired, "single use");
    }
}

#[test]
fn a_changed_request_is_not_what_was_approved() {
    let mut scene = Scene::new();
    let id = scene.granted(1);
    let other_agent = StartTask { agent: agent("ci/other"), ..start(TaskId::new(), None) };
    let others = scene.start(other_agent).unwrap().id;
    let cases: [(PlanLease, Reason); 5] = [
        (approved(&scene, Some(id), 2), Reason::ApprovalMismatch),
        (approved(&scene, None, 2), Reason::ApprovalRequired),
        (approved(&scene, Some(ApprovalId::new()), 1), Reason::ApprovalNotFound),
        (PlanLease { approval: None, ..approved(&scene, None, 1) }, Reason::ApprovalRequired),
        (
            PlanLease { agent: agent("ci/other"), task: others, ..approved(&scene, Some(id), 1) },
            Reason::ApprovalNotFound,
        ),
    ];
    for (plan, expected) in cases {
        assert_eq!(reason(scene.plan(plan.clone())), expected, "{:?}", plan.approval);
    }
    scene.plan(approved(&scene, Some(id), 1)).unwrap();
}

#[test]
fn what_is_required_now_must_have_been_asked_for() {
    let mut scene = Scene::new();
    let required = |name: &str, count| BTreeMap::from([(group(name), count)]);
    let harder = [required("finance", 2), required("security", 1)];
    let id = scene.granted(1);
    for required in harder {
        let stricter = Obligations { approvals: required.clone(), ..Obligations::default() };
        let asks = ApprovalUse { required, ..needs(Some(id), 1) };
        let by_policy = PlanLease { obligations: stricter, ..approved(&scene, Some(id), 1) };
        let by_use = PlanLease { approval: Some(asks), ..approved(&scene, Some(id), 1) };
        for plan in [by_policy, by_use] {
            let refusal = scene.plan(plan).unwrap_err();
            assert_eq!((refusal.reason(), metadata(&refusal, "approval")), (Reason::ApprovalRequired, None));
        }
    }
    let more = RequestApproval {
        quorums: vec![quorum("finance", 2, &["ann", "ben"])],
        ..ask(ApprovalId::new(), scene.task, 1)
    };
    let newer = scene.ask(more).unwrap();
    assert_ne!(newer.id, id, "another question");
    assert!(newer.is_pending());
}

/// Nothing is used up where none is needed.
#[test]
fn an_approval_that_nobody_needs_stays() {
    let mut scene = Scene::new();
    let id = scene.granted(1);
    let unneeded = ApprovalUse { required: BTreeMap::new(), ..needs(Some(id), 1) };
    let free = PlanLease { approval: Some(unneeded), ..plan(LeaseId::new(), scene.task) };
    assert_eq!(scene.plan(free).unwrap().approval, None);
    scene.plan(approved(&scene, Some(id), 1)).unwrap();
}

#[test]
fn who_answers_for_a_request_does_not_judge_it() {
    let members = ["ann", "maya@acme.test", "Maya@ACME.test", "lee@acme.test", "LEE@acme.test", AGENT];
    let mut scene = Scene::new();
    let begun = StartTask {
        initiator: Initiator::new("operator/Lee@acme.test").unwrap(),
        ..start(TaskId::new(), None)
    };
    let task = scene.start(begun).unwrap().id;
    let request =
        RequestApproval { quorums: vec![quorum("finance", 1, &members)], ..ask(ApprovalId::new(), task, 1) };
    let id = scene.ask(request).unwrap().id;
    for by in members.iter().skip(1).chain(&["ben", "Ann"]) {
        for verdict in [Verdict::Approve, Verdict::Deny] {
            assert_eq!(reason(scene.vote(id, by, verdict)), Reason::ApproverNotEligible, "{by}");
        }
    }
    assert_eq!(reason(scene.vote(ApprovalId::new(), "ann", Verdict::Approve)), Reason::ApprovalNotFound);
    scene.vote(id, "ann", Verdict::Approve).unwrap();
}

/// The owner at the time of asking counts, whoever it was when the task began.
#[test]
fn a_new_owner_does_not_judge_either() {
    let mut scene = Scene::new();
    let request =
        RequestApproval { owner: Owner::new("ann").unwrap(), ..ask(ApprovalId::new(), scene.task, 1) };
    let id = scene.ask(request).unwrap().id;
    assert_eq!(reason(scene.vote(id, "ann", Verdict::Approve)), Reason::ApproverNotEligible);
    scene.vote(id, "ben", Verdict::Approve).unwrap();
}

#[test]
fn one_person_is_one_vote_in_any_spelling() {
    let mut scene = Scene::new();
    let two = RequestApproval {
        quorums: vec![quorum("finance", 2, &["ann", "ANN", "ben"])],
        ..ask(ApprovalId::new(), scene.task, 1)
    };
    let id = scene.ask(two).unwrap().id;
    assert!(scene.vote(id, "ann", Verdict::Approve).unwrap().is_pending());
    for by in ["ann", "ANN"] {
        assert_eq!(reason(scene.vote(id, by, Verdict::Approve)), Reason::ApprovalSettled);
    }
    let granted = scene.vote(id, "ben", Verdict::Approve).unwrap();
    assert_eq!(granted.state, ApprovalState::Granted { at: NOW });
    let by: Vec<_> = granted.votes.iter().map(|Vote { by, .. }| by.as_str()).collect();
    assert_eq!(by, ["ann", "ben"]);
}

#[test]
fn every_group_has_to_agree() {
    let mut scene = Scene::new();
    let both = RequestApproval {
        quorums: vec![quorum("finance", 1, &["ann"]), quorum("security", 1, &["ben", "cy"])],
        ..ask(ApprovalId::new(), scene.task, 1)
    };
    let id = scene.ask(both).unwrap().id;
    assert!(scene.vote(id, "ben", Verdict::Approve).unwrap().is_pending());
    assert!(scene.vote(id, "cy", Verdict::Approve).unwrap().is_pending());
    assert!(!scene.vote(id, "ann", Verdict::Approve).unwrap().is_pending());
}

#[test]
fn a_no_outweighs_every_yes_until_it_is_used() {
    let mut scene = Scene::new();
    let id = scene.granted(1);
    let denied = scene.vote(id, "ben", Verdict::Deny).unwrap();
    assert!(matches!(denied.state, ApprovalState::Denied { .. }));
    for named in [None, Some(id)] {
        let refusal = scene.plan(approved(&scene, named, 1)).unwrap_err();
        assert_eq!(refusal.reason(), Reason::ApprovalDenied);
        assert!(refusal.message().contains("`ben` denied this: not before the audit"), "{refusal}");
    }
    let refusal = scene.ask(ask(ApprovalId::new(), scene.task, 1)).unwrap_err();
    assert!(refusal.message().contains("not before the audit"), "{refusal}");
    assert_eq!(reason(scene.vote(id, "ann", Verdict::Approve)), Reason::ApprovalSettled);
    scene.pass(600);
    assert_eq!(reason(scene.plan(approved(&scene, Some(id), 1))), Reason::ApprovalDenied, "it stays a no");
    let again = scene.ask(ask(ApprovalId::new(), scene.task, 1)).unwrap();
    assert!(again.id != id && again.is_pending(), "after its time it may be asked again");

    let used = scene.granted(2);
    scene.plan(approved(&scene, Some(used), 2)).unwrap();
    assert_eq!(reason(scene.vote(used, "ben", Verdict::Deny)), Reason::ApprovalSettled, "too late");
}

#[test]
fn a_time_out_is_no_denial() {
    let mut scene = Scene::new();
    let (pending, granted) = (asked(&mut scene, 1), scene.granted(2));
    scene.now = NOW.plus(Duration::from_millis(599_999));
    let late = asked(&mut scene, 3);
    scene.vote(late, "ann", Verdict::Approve).unwrap();
    assert_eq!(scene.ask(ask(ApprovalId::new(), scene.task, 1)).unwrap().id, pending);
    // The clock alone says so; nothing has marked them yet.
    scene.now = NOW.plus(Duration::from_secs(600));
    for id in [pending, granted] {
        assert_eq!(reason(scene.vote(id, "ben", Verdict::Approve)), Reason::ApprovalExpired);
        assert_eq!(reason(scene.vote(id, "ben", Verdict::Deny)), Reason::ApprovalExpired);
    }
    let late = scene.plan(approved(&scene, Some(granted), 2)).unwrap_err();
    assert_eq!(late.reason(), Reason::ApprovalExpired);
    assert!(late.message().contains("no denial"), "{late}");
    assert_eq!(reason(scene.plan(approved(&scene, None, 2))), Reason::ApprovalRequired);
    assert_ne!(scene.ask(ask(ApprovalId::new(), scene.task, 2)).unwrap().id, granted);
    for id in [pending, granted] {
        let effects = scene.apply(Event::TickApproval(TenantId::default(), id)).unwrap();
        let Outcome::Approval(expired) = effects.outcome else { panic!("it is due") };
        assert_eq!(expired.state, ApprovalState::Expired { at: scene.now });
        assert_eq!(reason(scene.vote(id, "ben", Verdict::Approve)), Reason::ApprovalExpired);
    }
    assert_eq!(reason(scene.plan(approved(&scene, Some(granted), 2))), Reason::ApprovalExpired);
}

#[test]
fn an_approval_lasts_no_longer_than_its_task() {
    let mut scene = Scene::new();
    let short = StartTask { ttl: secs(100), ..start(TaskId::new(), None) };
    let task = scene.start(short).unwrap();
    assert_eq!(scene.ask(ask(ApprovalId::new(), task.id, 1)).unwrap().expires_at, task.deadline);
    scene.end(task.id);
    assert_eq!(reason(scene.ask(ask(ApprovalId::new(), task.id, 2))), Reason::TaskEnded);
}

#[test]
fn what_nobody_could_approve_is_refused_at_once() {
    let sixty_five: Vec<String> = (0..65).map(|nth| format!("p{nth}")).collect();
    let sixty_five: Vec<&str> = sixty_five.iter().map(String::as_str).collect();
    let cases: [(Vec<Quorum>, Reason); 9] = [
        (vec![quorum("finance", 1, &[])], Reason::ApproverNotEligible),
        (vec![quorum("finance", 1, &["maya@acme.test", "MAYA@acme.test"])], Reason::ApproverNotEligible),
        (vec![quorum("finance", 2, &["ann", "Ann", "maya@acme.test"])], Reason::ApproverNotEligible),
        (vec![quorum("finance", 1, &["ann"]), quorum("security", 1, &[])], Reason::ApproverNotEligible),
        (vec![], Reason::FieldInvalid),
        (vec![quorum("finance", 0, &["ann"])], Reason::FieldInvalid),
        (vec![quorum("finance", 1, &["ann"]), quorum("finance", 1, &["ben"])], Reason::FieldInvalid),
        (vec![quorum("finance", 1, &sixty_five)], Reason::FieldInvalid),
        ((0..9).map(|nth| quorum(&format!("g{nth}"), 1, &["ann"])).collect(), Reason::FieldInvalid),
    ];
    for (quorums, expected) in cases {
        let mut scene = Scene::new();
        let refusal = scene
            .ask(RequestApproval { quorums: quorums.clone(), ..ask(ApprovalId::new(), scene.task, 1) })
            .unwrap_err();
        assert_eq!(refusal.reason(), expected, "{quorums:?}");
        assert!(expected != Reason::ApproverNotEligible || refusal.fix_text().is_some());
    }
    let mut scene = Scene::new();
    for verb in ["", "seventeen letters"] {
        let request = RequestApproval { verb: verb.to_owned(), ..ask(ApprovalId::new(), scene.task, 1) };
        assert_eq!(reason(scene.ask(request)), Reason::FieldInvalid);
    }
}

#[test]
fn only_the_holder_asks_and_only_under_the_policies_in_force() {
    let mut scene = Scene::new();
    let request = ask(ApprovalId::new(), scene.task, 1);
    let foreign = RequestApproval { agent: agent("ci/other"), ..request.clone() };
    assert_eq!(reason(scene.ask(foreign)), Reason::TaskNotFound);
    scene.apply(Event::SetPolicies(Box::new(policies("r2")))).unwrap();
    assert_eq!(reason(scene.ask(request)), Reason::PolicyChanged);
}

#[test]
fn an_agent_waits_for_so_many_at_once() {
    let mut scene = Scene::new();
    scene.world.limits = Limits { approvals_per_agent: 2, ..Limits::default() };
    let first = asked(&mut scene, 1);
    assert_eq!(asked(&mut scene, 1), first, "the same question is one");
    asked(&mut scene, 2);
    assert_eq!(reason(scene.ask(ask(ApprovalId::new(), scene.task, 3))), Reason::QuotaExceeded);
    scene.vote(first, "ann", Verdict::Approve).unwrap();
    asked(&mut scene, 3);
}

/// Its place in the table of requests is not anybody's to take.
#[test]
fn a_request_id_that_looks_like_a_digest_is_not_overwritten() {
    let mut scene = Scene::new();
    let id = format!("ap:{}", "01".repeat(30));
    let mut taken = plan(LeaseId::new(), scene.task);
    taken.request = common::request(&id, 0);
    scene.plan(taken.clone()).unwrap();
    assert_eq!(reason(scene.ask(ask(ApprovalId::new(), scene.task, 1))), Reason::RequestIdReused);
    scene.plan(taken).unwrap();
}

#[test]
fn a_renewal_rests_on_the_approval_of_its_lease() {
    let mut scene = Scene::new();
    let id = scene.granted(1);
    let with = scene.plan(approved(&scene, Some(id), 1)).unwrap().id;
    let without = scene.plan(plan(LeaseId::new(), scene.task)).unwrap().id;
    let stricter = |lease| RenewLease { obligations: obliged(), ..renew(lease, "more") };
    scene.renew(stricter(with)).unwrap();
    assert_eq!(reason(scene.renew(stricter(without))), Reason::ApprovalRequired);
    scene.renew(renew(without, "more")).unwrap();
}

/// The one who hands on asks; the approval is used by the child task, once.
#[test]
fn a_delegation_rests_on_the_parents_approval() {
    let mut scene = Scene::new();
    let to_other = |scene: &Scene, id| StartTask {
        agent: agent("ci/other"),
        approval: Some(needs(id, 1)),
        ..start(TaskId::new(), Some(scene.task))
    };
    assert_eq!(reason(scene.start(to_other(&scene, None))), Reason::ApprovalRequired);
    let id = scene.granted(1);
    let begun = to_other(&scene, None);
    let child = scene.start(begun.clone()).unwrap();
    assert_eq!(child.approval, Some(id));
    assert_eq!(scene.start(begun).unwrap().id, child.id, "a repeat needs no approval again");
    assert_eq!(reason(scene.start(to_other(&scene, Some(id)))), Reason::ApprovalRequired);
}

#[test]
fn a_tool_call_uses_its_approval_up() {
    let mut scene = Scene::new();
    let id = scene.granted(1);
    let needed =
        CallTool { obligations: obliged(), approval: Some(needs(None, 1)), ..call(scene.task, None) };
    scene.call(needed.clone()).unwrap();
    assert_eq!(scene.world.approvals[&id].state, ApprovalState::Used { at: NOW, by: needed.id.to_string() });
    assert_eq!(reason(scene.call(needed)), Reason::ApprovalRequired);
    assert_eq!(scene.world.tasks[&scene.task].calls, 1);
}

/// What is refused for another reason leaves the approval as it is.
#[test]
fn a_refusal_uses_nothing_up() {
    let mut scene = Scene::new();
    let id = scene.granted(1);
    let too_long = PlanLease { ttl: Ttl::from_secs(100_000).unwrap(), ..approved(&scene, Some(id), 1) };
    assert_eq!(reason(scene.plan(too_long)), Reason::TtlOutOfRange);
    scene.plan(approved(&scene, Some(id), 1)).unwrap();
}

#[test]
fn a_long_sentence_is_cut_and_a_no_without_one_is_a_no() {
    for (why, expected) in [("é".repeat(1000), "é".repeat(500)), (String::new(), String::new())] {
        let mut scene = Scene::new();
        let id = asked(&mut scene, 1);
        let cast = CastVote { why, ..common::vote(id, "ann", Verdict::Deny) };
        scene.apply(Event::Vote(Box::new(cast))).unwrap();
        let by = person("ann");
        assert_eq!(scene.world.approvals[&id].state, ApprovalState::Denied { by, why: expected, at: NOW });
        let refused: Refusal = scene.plan(approved(&scene, Some(id), 1)).unwrap_err();
        assert_eq!(refused.reason(), Reason::ApprovalDenied);
    }
}
