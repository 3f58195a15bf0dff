//! The exchange: what is handed out, and that nothing is when any step fails (I1).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod support;

use std::{collections::BTreeMap, time::Duration};
use support::{World, csr, issue, meddled::Meddled, policies, request, start, token};
use taskpass_broker::{AfterKill, Held, IssueAsk, StartAsk};
use taskpass_crypto::{Expect, TokenKeys};
use taskpass_issue::{Credential, Form};
use taskpass_lease::{EndLease, EndTask, Event, PolicyOrigin, SetPolicies};
use taskpass_store::{LeaseQuery, TaskQuery};
use taskpass_types::{AgentId, Clock as _, EndReason, Reason, Ttl};

#[tokio::test]
async fn a_token_says_what_was_decided_and_is_recorded_before_and_after() {
    let world = World::new().await;
    let task = world.task("ci/bot").await;
    let issued = world.issue("ci/bot", task.id).await.unwrap();

    let keys = TokenKeys::parse(world.keys.jwks_json().as_bytes()).unwrap();
    let audience = "billing-api".parse().unwrap();
    let expect = Expect {
        issuer: "https://taskpass.acme.test",
        audience: Some(&audience),
        now: world.clock.now(),
        leeway: taskpass_crypto::Leeway::ZERO,
    };
    let grant = keys.verify(&token(&issued), &expect).unwrap();
    assert_eq!(grant, issued.lease.grant());
    assert_eq!(grant.subject.as_str(), format!("spiffe://acme.test/ci/bot/task/{}", task.id));
    assert_eq!(grant.expires_at.since(grant.issued_at), Duration::from_secs(300));

    let lease = issued.lease.id.to_string();
    let about: Vec<_> =
        world.entries().await.into_iter().filter(|entry| entry.lease.as_ref() == Some(&lease)).collect();
    let codes: Vec<_> = about.iter().map(|entry| entry.code.as_str()).collect();
    assert_eq!(codes, ["TP201I", "TP201S"]);
    assert_eq!(about[0].actor, "agent/ci/bot");
    assert_eq!(about[0].policies, [r#"test.cedar:2 "read""#]);
}

#[tokio::test]
async fn a_certificate_is_issued_for_the_key_of_a_csr() {
    let world = World::new().await;
    let task = world.task("ci/bot").await;
    let ask = IssueAsk { form: Form::Certificate { csr: csr() }, ..issue(task.id) };
    let issued = world.broker.issue(world.caller("ci/bot"), ask).await.unwrap();
    let Credential::Certificate(chain) = &issued.credential else { panic!("a certificate was asked for") };
    let bundle = taskpass_crypto::CaBundle::from_pem(world.keys.ca_bundle_pem().as_bytes()).unwrap();
    let chain: Vec<_> = chain.iter().map(|der| der.clone().into()).collect();
    let grant = bundle.verify(&chain, world.clock.now(), taskpass_crypto::Leeway::ZERO).unwrap();
    assert_eq!(grant, issued.lease.grant());
}

#[tokio::test]
async fn who_is_nobody_or_nobodys_gets_nothing_and_that_is_recorded() {
    let world = World::new().await;
    let stranger = world.broker.caller(&world.identity("stranger")).unwrap_err();
    assert_eq!(stranger.reason(), Reason::AgentNotRegistered);
    let orphan = world.broker.start_task(world.caller("orphan"), start()).await.unwrap_err();
    assert_eq!(orphan.reason(), Reason::AgentWithoutOwner);
    let expired = world.identity("ci/bot");
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(world.broker.caller(&expired).unwrap_err().reason(), Reason::AttestationExpired);
    let refusals: Vec<_> = world.entries().await.into_iter().filter_map(|entry| entry.refusal).collect();
    assert_eq!(refusals, ["AGENT_NOT_REGISTERED", "AGENT_WITHOUT_OWNER", "ATTESTATION_EXPIRED"]);
}

#[tokio::test]
async fn who_could_be_two_agents_is_none() {
    let world = World::new().await;
    let twin = world.broker.caller(&world.identity("twin")).unwrap_err();
    assert_eq!(twin.reason(), Reason::AgentAmbiguous);
    assert!(twin.message().contains("`ci/castor`") && twin.message().contains("`ci/pollux`"), "{twin}");
    let refusals: Vec<_> = world.entries().await.into_iter().filter_map(|entry| entry.refusal).collect();
    assert_eq!(refusals, ["AGENT_AMBIGUOUS"]);
}

#[tokio::test]
async fn what_is_foreign_is_not_found() {
    let world = World::new().await;
    let task = world.task("ci/bot").await;
    let lease = world.issue("ci/bot", task.id).await.unwrap().lease.id;
    let other = world.caller("ci/other");
    let unknown = world.issue("ci/other", taskpass_types::TaskId::new()).await.err().unwrap();
    let foreign = world.issue("ci/other", task.id).await.err().unwrap();
    assert_eq!((foreign.reason(), foreign.message()), (Reason::TaskNotFound, unknown.message()));
    assert_eq!(world.broker.task(&other, task.id).await.unwrap_err().reason(), Reason::TaskNotFound);
    assert_eq!(
        world.broker.heartbeat(other.clone(), task.id).await.unwrap_err().reason(),
        Reason::TaskNotFound
    );
    let ended = world.broker.end_task(other.clone(), task.id, EndReason::Cancelled, "").await;
    assert_eq!(ended.unwrap_err().reason(), Reason::TaskNotFound);
    assert_eq!(world.broker.lease(&other, lease).await.unwrap_err().reason(), Reason::LeaseNotFound);
    assert_eq!(world.renew("ci/other", lease).await.err().unwrap().reason(), Reason::LeaseNotFound);
    let killed = world.broker.kill_lease(other.clone(), lease, AfterKill::Hold, "").await;
    assert_eq!(killed.unwrap_err().reason(), Reason::NotPermitted);
    assert!(world.broker.tasks(&other, TaskQuery::default()).await.unwrap().items.is_empty());
    assert!(world.broker.leases(&other, LeaseQuery::default()).await.unwrap().items.is_empty());
    assert!(world.broker.task(&world.caller("operator"), task.id).await.is_ok());
}

#[tokio::test]
async fn an_orchestrator_starts_tasks_for_agents_and_holds_none() {
    let world = World::new().await;
    let orchestrator = world.caller("orchestrator");
    let bot = AgentId::new("ci/bot").unwrap();
    let ask = StartAsk { agent: Some(bot.clone()), ..start() };
    let task = world.broker.start_task(orchestrator.clone(), ask.clone()).await.unwrap();
    assert_eq!((task.agent(), task.initiator.as_str()), (Some(&bot), "orchestrator/scheduler"));
    assert!(world.issue("ci/bot", task.id).await.is_ok());
    let own = world.broker.issue(orchestrator.clone(), issue(task.id)).await.err().unwrap();
    assert_eq!(own.reason(), Reason::NotPermitted);
    let unknown = StartAsk { agent: Some(AgentId::new("ci/nobody").unwrap()), ..start() };
    assert_eq!(
        world.broker.start_task(orchestrator, unknown).await.unwrap_err().reason(),
        Reason::AgentNotFound
    );
    let by_agent = world.broker.start_task(world.caller("ci/other"), ask).await.unwrap_err();
    assert_eq!(by_agent.reason(), Reason::NotPermitted);
}

#[tokio::test]
async fn an_agent_cannot_say_that_somebody_else_started_its_task() {
    let world = World::new().await;
    let ask = StartAsk { initiator: Some("maya@acme.test".parse().unwrap()), ..start() };
    let refused = world.broker.start_task(world.caller("ci/bot"), ask.clone()).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::NotPermitted);
    let ask = StartAsk { agent: Some(AgentId::new("ci/bot").unwrap()), ..ask };
    let task = world.broker.start_task(world.caller("orchestrator"), ask).await.unwrap();
    assert_eq!(task.initiator.as_str(), "maya@acme.test");
}

#[tokio::test]
async fn a_denial_names_policy_decision_and_fix() {
    let world = World::new().await;
    let task = world.task("ci/bot").await;
    let ask = IssueAsk { actions: ["invoice:delete".parse().unwrap()].into(), ..issue(task.id) };
    let denied = world.broker.issue(world.caller("ci/bot"), ask).await.err().unwrap();
    assert_eq!(denied.reason(), Reason::PolicyDenied);
    assert!(denied.message().contains("invoice:delete"), "{denied}");
    assert!(denied.fix_text().is_some_and(|fix| !fix.is_empty()));
    let metadata: BTreeMap<_, _> = denied.metadata().collect();
    assert!(metadata["decision"].starts_with("dc_"));
    let both = ["invoice:delete".parse().unwrap(), "invoice:read".parse().unwrap()];
    let ask = IssueAsk { actions: both.into(), ..issue(task.id) };
    let denied = world.broker.issue(world.caller("ci/bot"), ask).await.err().unwrap();
    assert_eq!(denied.reason(), Reason::PolicyDenied, "each scope is decided on its own");
    let undeclared = IssueAsk { actions: ["invoice:list".parse().unwrap()].into(), ..issue(task.id) };
    let undeclared = world.broker.issue(world.caller("ci/bot"), undeclared).await.err().unwrap();
    assert_eq!(undeclared.reason(), Reason::ScopeExceedsTask);
}

#[tokio::test]
async fn the_ttl_is_bounded_by_kind_policy_task_and_evidence() {
    let world = World::new().await;
    let task = world.task("ci/bot").await;
    let with = |secs| IssueAsk { ttl: Some(Ttl::from_secs(secs).unwrap()), ..issue(task.id) };
    let above = world.broker.issue(world.caller("ci/bot"), with(901)).await.err().unwrap();
    assert_eq!(above.reason(), Reason::TtlOutOfRange);
    let by_policy = world.broker.issue(world.caller("ci/bot"), with(900)).await.unwrap().lease;
    assert_eq!(by_policy.expires_at.since(by_policy.issued_at), Duration::from_secs(600));
    world.clock.advance(Duration::from_secs(3600 - 120));
    let by_task = world.broker.issue(world.caller("ci/bot"), with(900)).await.unwrap().lease;
    assert_eq!(by_task.expires_at, task.deadline);
    let mut identity = (*world.identity("ci/bot")).clone();
    identity.expires_at = world.clock.now().plus(Duration::from_secs(30));
    let caller = world.broker.caller(&identity.into()).unwrap();
    let by_evidence = world.broker.issue(caller, with(900)).await.unwrap().lease;
    assert_eq!(by_evidence.expires_at.since(by_evidence.issued_at), Duration::from_secs(30));
}

#[tokio::test]
async fn one_request_id_one_lease() {
    let world = World::new().await;
    let task = world.task("ci/bot").await;
    let ask = IssueAsk { request: request("r1"), ..issue(task.id) };
    let first = world.broker.issue(world.caller("ci/bot"), ask.clone()).await.unwrap();
    let again = world.broker.issue(world.caller("ci/bot"), ask.clone()).await.unwrap();
    assert_eq!(first.lease, again.lease);
    let other = IssueAsk { ttl: Some(Ttl::from_secs(60).unwrap()), ..ask.clone() };
    let other = world.broker.issue(world.caller("ci/bot"), other).await.err().unwrap();
    assert_eq!(other.reason(), Reason::RequestIdReused);
    world
        .broker
        .kill_lease(world.caller("operator"), first.lease.id, AfterKill::Reissue, "odd")
        .await
        .unwrap();
    let late = world.broker.issue(world.caller("ci/bot"), ask).await.err().unwrap();
    assert_eq!(late.reason(), Reason::LeaseEnded);
    let leases = world.broker.leases(&world.caller("operator"), LeaseQuery::default()).await.unwrap();
    assert_eq!(leases.items.len(), 1);
}

#[tokio::test]
async fn a_repeat_that_fails_leaves_what_was_handed_out_before() {
    let world = World::new().await;
    let task = world.task("ci/bot").await;
    let ask = IssueAsk { request: request("r1"), ..issue(task.id) };
    let first = world.broker.issue(world.caller("ci/bot"), ask.clone()).await.unwrap();
    world.audit.fail_next(1);
    let repeat = world.broker.issue(world.caller("ci/bot"), ask.clone()).await.err().unwrap();
    assert_eq!(repeat.reason(), Reason::AuditUnavailable);
    let again = world.broker.issue(world.caller("ci/bot"), ask).await.unwrap();
    assert_eq!(again.lease, first.lease);
}

#[tokio::test]
async fn without_an_audit_log_nothing_is_granted_and_everything_can_be_ended() {
    let world = World::new().await;
    let task = world.task("ci/bot").await;
    let before = world.issue("ci/bot", task.id).await.unwrap();
    world.audit.fail_always();
    let refused = world.issue("ci/bot", task.id).await.err().unwrap();
    assert_eq!(refused.reason(), Reason::AuditUnavailable);
    let refused = world.renew("ci/bot", before.lease.id).await.err().unwrap();
    assert_eq!(refused.reason(), Reason::AuditUnavailable);
    let refused = world.broker.start_task(world.caller("ci/bot"), start()).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::AuditUnavailable);
    let refused =
        world.broker.release_hold(world.caller("operator"), Held::Lease(before.lease.id)).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::AuditUnavailable);
    let noted = world.entries().await.into_iter().filter(|entry| entry.code == "TP602F");
    let noted: Vec<_> = noted.map(|entry| entry.refusal).collect();
    assert_eq!(
        noted,
        vec![Some("AUDIT_UNAVAILABLE".to_owned()); 4],
        "what was refused is told when it can be"
    );
    let live = LeaseQuery { active: true, ..LeaseQuery::default() };
    let live = world.broker.leases(&world.caller("operator"), live).await.unwrap().items;
    let live: Vec<_> = live.iter().map(|lease| lease.id).collect();
    assert_eq!(live, [before.lease.id], "what was planned and not handed out has ended; what was, has not");
    let ended =
        world.broker.end_task(world.caller("ci/bot"), task.id, EndReason::Completed, "").await.unwrap();
    assert!(ended.end().is_some());
}

fn end_task(event: &Event) -> Option<Event> {
    let Event::PlanLease(plan) = event else { return None };
    let (tenant, by) = (plan.tenant.clone(), "operator/maya".to_owned());
    Some(Event::EndTask(EndTask { tenant, task: plan.task, reason: EndReason::Cancelled, by }))
}

fn end_lease(event: &Event) -> Option<Event> {
    let Event::RenewLease(renew) = event else { return None };
    let (tenant, by) = (renew.tenant.clone(), "operator/maya".to_owned());
    Some(Event::EndLease(EndLease { tenant, lease: renew.lease, reason: EndReason::Killed, by, hold: false }))
}

#[tokio::test]
async fn what_ends_while_it_is_being_signed_is_not_released() {
    let written = async |world: &World| {
        let entries = world.entries().await.into_iter();
        entries.map(|entry| entry.code).filter(|code| code.starts_with("TP20")).collect::<Vec<_>>()
    };
    let world = World::with(|store| Meddled::after(store, end_task)).await;
    let task = world.task("ci/bot").await;
    let refused = world.issue("ci/bot", task.id).await.err().unwrap();
    assert_eq!(refused.reason(), Reason::LeaseEnded);
    assert_eq!(written(&world).await, ["TP201I", "TP201F"]);

    let world = World::with(|store| Meddled::after(store, end_lease)).await;
    let task = world.task("ci/bot").await;
    let lease = world.issue("ci/bot", task.id).await.unwrap().lease.id;
    let refused = world.renew("ci/bot", lease).await.err().unwrap();
    assert_eq!(refused.reason(), Reason::LeaseEnded);
    assert_eq!(written(&world).await, ["TP201I", "TP201S", "TP202I", "TP202F"]);
}

#[tokio::test]
async fn policies_that_change_meanwhile_decide_anew() {
    let world = World::new().await;
    let task = world.task("ci/bot").await;
    // The store already fences by policies that this broker has not taken up: as between two steps of a change.
    let newer = policies("permit (principal, action, resource);");
    let revision = newer.revision().clone();
    let set = SetPolicies {
        revision: revision.clone(),
        sources: newer.sources().map(|(name, text)| (name.to_owned(), text.to_owned())).collect(),
        by: "another broker".to_owned(),
        origin: PolicyOrigin::Files,
        fence: None,
    };
    let event = Event::SetPolicies(Box::new(set));
    world.store.apply(event, world.clock.now()).await.unwrap();
    let (issued, adopted) =
        tokio::join!(world.issue("ci/bot", task.id), async { world.broker.adopt_policies(newer).await });
    adopted.unwrap();
    assert_eq!(issued.unwrap().lease.policy_revision, revision);
}
