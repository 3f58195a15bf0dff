//! The channels for those who do not follow the feed say what the deny records say.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod support;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use support::{
    World, csr, issue,
    meddled::{Meddled, Unreadable},
    policies, start,
};
use taskpass_broker::{AfterKill, IssueAsk, Issued, RenewAsk, RevokedToken, StartAsk};
use taskpass_crypto::{jws, x509::CrlShard};
use taskpass_issue::{Credential, Form};
use taskpass_lease::{DenyKeys, Event};
use taskpass_types::{
    AgentId, Clock as _, EndReason, KeyGeneration, LeaseId, Reason, StatusListId, TaskId, TenantId, Ttl,
};
use x509_parser::{
    prelude::{FromDer as _, X509Certificate},
    revocation_list::CertificateRevocationList,
};

const POLICY: &str = r#"
permit (principal, action in [Action::"issue", Action::"renew"], resource);
permit (principal, action == Action::"delegate", resource);
"#;

async fn world() -> World {
    let world = World::new().await;
    world.broker.adopt_policies(policies(POLICY)).await.unwrap();
    world.broker.publish_crls().await.unwrap();
    world
}

type Serial = Vec<u8>;

fn serial(issued: &Issued) -> Serial {
    let Credential::Certificate(chain) = &issued.credential else { panic!("a certificate was asked for") };
    X509Certificate::from_der(&chain[0]).unwrap().1.raw_serial().to_vec()
}

async fn certify(world: &World, who: &str, task: TaskId) -> (LeaseId, Serial) {
    let ask = IssueAsk { form: Form::Certificate { csr: csr() }, ..issue(task) };
    let issued = world.broker.issue(world.caller(who), ask).await.unwrap();
    (issued.lease.id, serial(&issued))
}

async fn renew(world: &World, who: &str, lease: LeaseId) -> Serial {
    let form = Form::Certificate { csr: csr() };
    let ask = RenewAsk { request: None, lease, ttl: None, form };
    serial(&world.broker.renew(world.caller(who), ask).await.unwrap())
}

/// What the one list names, with the reasons.
fn listed(world: &World) -> BTreeSet<(Serial, u8)> {
    let crls = world.broker.crls().unwrap();
    assert_eq!(crls.authorities.len(), 1);
    named(&crls.authorities[0].whole().unwrap().der)
}

fn named(der: &[u8]) -> BTreeSet<(Serial, u8)> {
    let (_, list) = CertificateRevocationList::from_der(der).unwrap();
    list.iter_revoked_certificates()
        .map(|one| (one.raw_serial().to_vec(), one.reason_code().unwrap().1.0))
        .collect()
}

async fn list(world: &World) -> BTreeSet<(Serial, u8)> {
    world.broker.publish_crls().await.unwrap();
    listed(world)
}

#[tokio::test]
async fn what_ended_is_listed_with_its_renewals_and_its_tree_and_nothing_beside_it() {
    let world = world().await;
    let (killed_in, ended, lives) =
        (world.task("ci/bot").await, world.task("ci/bot").await, world.task("ci/bot").await);
    let (killed, first) = certify(&world, "ci/bot", killed_in.id).await;
    let again = renew(&world, "ci/bot", killed).await;
    let (_, beside) = certify(&world, "ci/bot", killed_in.id).await;
    let (_, own) = certify(&world, "ci/bot", ended.id).await;
    let child = StartAsk {
        parent: Some(ended.id),
        agent: Some(AgentId::new("ci/other").unwrap()),
        scopes: ["billing-api:invoice:read".parse().unwrap()].into(),
        ..start()
    };
    let child = world.broker.start_task(world.caller("ci/bot"), child).await.unwrap();
    let (_, below) = certify(&world, "ci/other", child.id).await;
    let (_, living) = certify(&world, "ci/bot", lives.id).await;
    // A token is no certificate, whatever ends it.
    world.issue("ci/bot", ended.id).await.unwrap();
    assert!(list(&world).await.is_empty());

    world.broker.kill_lease(world.caller("operator"), killed, AfterKill::Reissue, "").await.unwrap();
    assert_eq!(list(&world).await, [(first.clone(), 9), (again.clone(), 9)].into());
    world.broker.end_task(world.caller("ci/bot"), ended.id, EndReason::Completed, "").await.unwrap();
    let all: BTreeSet<_> = [(first, 9), (again, 9), (own, 5), (below, 5)].into();
    assert_eq!(list(&world).await, all);
    // Marked by the reconciler or not.
    world.broker.work_off_schedule().await.unwrap();
    assert_eq!(list(&world).await, all);
    for serial in [beside, living] {
        assert!(!listed(&world).iter().any(|(listed, _)| *listed == serial));
    }
}

#[tokio::test]
async fn a_certificate_stays_until_it_was_listed_beyond_its_expiry() {
    let world = world().await;
    let task = world.task("ci/bot").await;
    let (_, serial) = certify(&world, "ci/bot", task.id).await;
    world.broker.end_task(world.caller("ci/bot"), task.id, EndReason::Completed, "").await.unwrap();
    let mut beyond = 0;
    for _ in 0..200 {
        world.clock.advance(Duration::from_secs(10));
        let names = list(&world).await;
        let past = world.clock.now() > support::START.plus(Duration::from_secs(900));
        if names.is_empty() {
            assert!(beyond > 0, "it was never listed beyond its expiry");
            return;
        }
        assert_eq!(names, [(serial.clone(), 5)].into());
        beyond += u32::from(past);
    }
    panic!("it is listed for ever");
}

#[tokio::test]
async fn lists_are_signed_anew_in_time_and_their_number_only_grows() {
    let world = world().await;
    let mut before = world.broker.crls().unwrap();
    world.broker.publish_crls().await.unwrap();
    assert_eq!(world.broker.crls().unwrap().number, before.number, "nothing changed");
    let task = world.task("ci/bot").await;
    world.broker.end_task(world.caller("ci/bot"), task.id, EndReason::Completed, "").await.unwrap();
    // At the same moment of the clock.
    world.broker.publish_crls().await.unwrap();
    for _ in 0..10 {
        let now = world.broker.crls().unwrap();
        assert!(now.number > before.number);
        let (_, list) =
            CertificateRevocationList::from_der(&now.authorities[0].whole().unwrap().der).unwrap();
        let left =
            list.next_update().unwrap().timestamp() - i64::try_from(world.clock.now().as_secs()).unwrap();
        assert!((1..=60).contains(&left), "{left}");
        let pem = now.pem().unwrap();
        assert_eq!(std::str::from_utf8(&pem).unwrap().matches("BEGIN X509 CRL").count(), 1);
        before = now;
        world.clock.advance(Duration::from_secs(21));
        world.broker.publish_crls().await.unwrap();
    }
}

#[tokio::test]
async fn an_end_makes_one_part_of_the_list_anew_and_the_parts_say_what_the_whole_says() {
    let world = world().await;
    let mut all = BTreeSet::new();
    for round in 0..40 {
        let before = world.broker.crls().unwrap();
        let task = world.task("ci/bot").await;
        let (lease, serial) = certify(&world, "ci/bot", task.id).await;
        world.broker.end_task(world.caller("ci/bot"), task.id, EndReason::Completed, "").await.unwrap();
        all.insert((serial.clone(), 5));
        assert_eq!(list(&world).await, all);
        let now = world.broker.crls().unwrap();
        let mut parts = BTreeSet::new();
        for shard in CrlShard::all() {
            let [was, is] = [&before, &now].map(|crls| crls.authorities[0].part(shard).unwrap());
            if shard == CrlShard::of(lease) {
                assert!(is.number > was.number && named(&is.der).contains(&(serial.clone(), 5)), "{round}");
            } else {
                assert!(Arc::ptr_eq(&is.der, &was.der) && is.number == was.number, "{round}: {shard:?}");
            }
            parts.extend(named(&is.der));
        }
        assert_eq!(parts, all);
    }
    // In time, all of them.
    world.clock.advance(Duration::from_secs(21));
    let before = world.broker.crls();
    assert_eq!(before.unwrap_err().reason(), Reason::StoreUnavailable);
    list(&world).await;
    let crls = world.broker.crls().unwrap();
    assert!(CrlShard::all().all(|shard| crls.authorities[0].part(shard).unwrap().number == crls.number));
}

#[tokio::test]
async fn no_part_grows_old_however_often_others_change() {
    let world = world().await;
    for _ in 0..20 {
        let task = world.task("ci/bot").await;
        certify(&world, "ci/bot", task.id).await;
        world.broker.end_task(world.caller("ci/bot"), task.id, EndReason::Completed, "").await.unwrap();
        world.clock.advance(Duration::from_secs(10));
        world.broker.publish_crls().await.unwrap();
        let (crls, now) = (world.broker.crls().unwrap(), world.clock.now().as_secs());
        for shard in CrlShard::all() {
            let der = &crls.authorities[0].part(shard).unwrap().der;
            let (_, list) = CertificateRevocationList::from_der(der).unwrap();
            let until = u64::try_from(list.next_update().unwrap().timestamp()).unwrap();
            assert!(until >= now + 30, "{shard:?} is good for {} s", until.saturating_sub(now));
        }
    }
}

#[tokio::test]
async fn with_too_many_for_one_list_there_are_its_parts() {
    let world = World::listing(2).await;
    world.broker.adopt_policies(policies(POLICY)).await.unwrap();
    let mut all = BTreeSet::new();
    for count in 1..=4 {
        let task = world.task("ci/bot").await;
        let (lease, serial) = certify(&world, "ci/bot", task.id).await;
        world.broker.end_task(world.caller("ci/bot"), task.id, EndReason::Completed, "").await.unwrap();
        world.broker.publish_crls().await.unwrap();
        all.insert((serial.clone(), 5));
        let crls = world.broker.crls().unwrap();
        let lists = &crls.authorities[0];
        assert!(named(&lists.part(CrlShard::of(lease)).unwrap().der).contains(&(serial, 5)));
        if count <= 2 {
            assert_eq!(listed(&world), all);
            assert!(crls.pem().is_ok());
        } else {
            // One that leaves some out would call them good.
            assert_eq!(lists.whole().unwrap_err().reason(), Reason::StoreUnavailable);
            assert_eq!(crls.pem().unwrap_err().reason(), Reason::StoreUnavailable);
        }
    }
    world.clock.advance(Duration::from_secs(2_000));
    assert!(list(&world).await.is_empty(), "when they have expired there is a list of everything again");
}

#[tokio::test]
async fn without_news_of_the_store_there_is_no_list() {
    let world = World::new().await;
    assert_eq!(world.broker.crls().unwrap_err().reason(), Reason::StoreUnavailable, "before the first look");
    world.broker.publish_crls().await.unwrap();
    world.clock.advance(Duration::from_millis(4_999));
    assert!(world.broker.crls().is_ok());
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.broker.crls().unwrap_err().reason(), Reason::StoreUnavailable);
    world.broker.publish_crls().await.unwrap();
    assert!(world.broker.crls().is_ok());
}

#[tokio::test]
async fn an_authority_that_counts_no_more_has_no_list() {
    let world = world().await;
    let old = world.keys.ca().generation();
    assert_eq!(world.broker.crls().unwrap().authorities[0].generation, old);
    let deny = DenyKeys { tenant: TenantId::default(), generation: old, by: "recovery".to_owned() };
    world.store.apply(Event::DenyKeys(deny), world.clock.now()).await.unwrap();
    world.broker.publish_crls().await.unwrap();
    assert!(world.broker.crls().unwrap().authorities.is_empty());
    world.keys.replace_all(world.clock.now()).unwrap();
    world.broker.publish_crls().await.unwrap();
    let lists = world.broker.crls().unwrap();
    assert_eq!(
        lists.authorities.iter().map(|one| one.generation).collect::<Vec<_>>(),
        [KeyGeneration(old.0 + 1)]
    );
}

#[tokio::test]
async fn what_an_older_key_signed_is_on_the_list_of_that_key() {
    let world = world().await;
    let task = world.broker.start_task(
        world.caller("ci/bot"),
        StartAsk { ttl: Some(Ttl::from_secs(8 * 3600).unwrap()), ..start() },
    );
    let task = task.await.unwrap();
    let (lease, first) = certify(&world, "ci/bot", task.id).await;
    let (_, other) = certify(&world, "ci/bot", task.id).await;
    world.keys.rotate(world.clock.now()).unwrap();
    world.keys.activate_now(world.clock.now()).unwrap();
    let second = renew(&world, "ci/bot", lease).await;
    world.broker.end_task(world.caller("ci/bot"), task.id, EndReason::Completed, "").await.unwrap();
    world.broker.publish_crls().await.unwrap();
    let crls = world.broker.crls().unwrap();
    let named: Vec<BTreeSet<Serial>> = crls
        .authorities
        .iter()
        .map(|lists| {
            let both = [&lists.whole().unwrap().der, &lists.part(CrlShard::of(lease)).unwrap().der];
            let [whole, part] = both.map(|der| named(der).into_iter().map(|(serial, _)| serial).collect());
            assert!(BTreeSet::is_subset(&part, &whole));
            assert!(part.contains(&first));
            whole
        })
        .collect();
    assert_eq!(named.len(), 2);
    assert!(named[0].contains(&first) && named[0].contains(&other));
    assert!(named[1].contains(&second) && !named[1].contains(&other));
    let pem = crls.pem().unwrap();
    assert_eq!(std::str::from_utf8(&pem).unwrap().matches("BEGIN X509 CRL").count(), 2);
}

async fn tokens(world: &World) -> (TaskId, LeaseId, String) {
    let task = world.task("ci/bot").await;
    let issued = world.issue("ci/bot", task.id).await.unwrap();
    (task.id, issued.lease.id, support::token(&issued))
}

/// A good token, of a broker with other keys.
async fn another_brokers() -> String {
    let world = world().await;
    tokens(&world).await.2
}

async fn is_active(world: &World, who: &str, token: &str) -> bool {
    world.broker.introspect(&world.caller(who), token).await.unwrap().is_some()
}

#[tokio::test]
async fn a_verifier_is_told_about_live_tokens_for_it_and_about_nothing_else() {
    let world = world().await;
    let (task, lease, token) = tokens(&world).await;
    let told = world.broker.introspect(&world.caller("verifier"), &token).await.unwrap().unwrap();
    assert_eq!((told.lease, told.agent().unwrap().as_str()), (lease, "ci/bot"));
    let (head, signature) = token.rsplit_once('.').unwrap();
    let ledger = StartAsk { scopes: ["ledger-api:entry:read".parse().unwrap()].into(), ..start() };
    let ledger = world.broker.start_task(world.caller("ci/bot"), ledger).await.unwrap();
    let ask = IssueAsk {
        resource: "ledger-api".parse().unwrap(),
        actions: ["entry:read".parse().unwrap()].into(),
        ..issue(ledger.id)
    };
    let elsewhere = support::token(&world.broker.issue(world.caller("ci/bot"), ask).await.unwrap());
    for bad in [
        String::new(),
        "garbage".to_owned(),
        "a.b.c".to_owned(),
        "x".repeat(20_000),
        head.to_owned(),
        format!("{head}.{}", "A".repeat(signature.len())),
        another_brokers().await,
        elsewhere.clone(),
    ] {
        assert!(!is_active(&world, "verifier", &bad).await, "{bad}");
    }
    assert!(is_active(&world, "operator", &elsewhere).await, "an operator sees all");
    for nobody in ["ci/bot", "ci/other", "orchestrator", "person/noor"] {
        let refused = world.broker.introspect(&world.caller(nobody), &token).await.unwrap_err();
        assert_eq!(refused.reason(), Reason::NotPermitted, "{nobody}");
    }
    world.broker.end_task(world.caller("ci/bot"), task, EndReason::Completed, "").await.unwrap();
    assert!(!is_active(&world, "verifier", &token).await);
    assert!(!is_active(&world, "operator", &token).await);
}

#[tokio::test]
async fn each_token_of_a_lease_expires_by_itself() {
    let world = world().await;
    let (_, lease, first) = tokens(&world).await;
    world.clock.advance(Duration::from_secs(200));
    let second = support::token(&world.renew("ci/bot", lease).await.unwrap());
    assert!(is_active(&world, "verifier", &first).await && is_active(&world, "verifier", &second).await);
    world.clock.advance(Duration::from_secs(100));
    assert!(!is_active(&world, "verifier", &first).await, "not even within a leeway");
    assert!(is_active(&world, "verifier", &second).await);
    world.broker.kill_lease(world.caller("operator"), lease, AfterKill::Reissue, "").await.unwrap();
    assert!(!is_active(&world, "verifier", &second).await);
}

#[tokio::test]
async fn what_cut_off_keys_signed_is_not_active() {
    let world = world().await;
    let (_, _, token) = tokens(&world).await;
    assert!(is_active(&world, "verifier", &token).await);
    let generation = world.keys.ca().generation();
    let deny = DenyKeys { tenant: TenantId::default(), generation, by: "recovery".to_owned() };
    world.store.apply(Event::DenyKeys(deny), world.clock.now()).await.unwrap();
    assert!(!is_active(&world, "verifier", &token).await);
}

#[tokio::test]
async fn only_the_holder_and_operators_revoke_a_token_and_nobody_else_is_told() {
    let world = world().await;
    let (_, lease, token) = tokens(&world).await;
    let revoke =
        async |who: &str, token: &str| world.broker.revoke_token(world.caller(who), token).await.unwrap();
    for stranger in ["ci/other", "verifier", "orchestrator", "person/noor"] {
        assert_eq!(revoke(stranger, &token).await, RevokedToken::Dead, "{stranger}");
        assert!(is_active(&world, "verifier", &token).await, "{stranger}");
    }
    let tried =
        world.entries().await.into_iter().filter(|entry| entry.code == "TP602S" || entry.code == "TP602F");
    assert_eq!(tried.filter(|entry| entry.lease == Some(lease.to_string())).count(), 4);
    assert_eq!(revoke("ci/bot", "garbage").await, RevokedToken::Foreign);
    assert_eq!(revoke("ci/bot", &token).await, RevokedToken::Dead);
    assert!(!is_active(&world, "verifier", &token).await);
    let ended = world.store.lease(&TenantId::default(), lease).await.unwrap().unwrap();
    assert_eq!(ended.end().unwrap().reason, EndReason::Cancelled);
    // Again, and of another that has expired: nothing to do, and no error.
    assert_eq!(revoke("ci/bot", &token).await, RevokedToken::Dead);
    let (task, lease, other) = tokens(&world).await;
    assert_eq!(revoke("operator", &other).await, RevokedToken::Dead);
    assert!(world.store.lease(&TenantId::default(), lease).await.unwrap().unwrap().end().is_some());
    assert!(world.store.task(&TenantId::default(), task).await.unwrap().unwrap().end().is_none());
    let (_, lease, old) = tokens(&world).await;
    world.clock.advance(Duration::from_secs(301));
    assert_eq!(revoke("ci/bot", &old).await, RevokedToken::Dead);
    assert!(world.store.lease(&TenantId::default(), lease).await.unwrap().unwrap().end().is_none());
}

/// Which bit of a status list is set for a token; `now` and `ttl` are as they should be.
fn status(world: &World, token: &str) -> bool {
    let claims = jws::inspect_unverified(token).unwrap().claims;
    let place = &claims["status"]["status_list"];
    let (uri, index) =
        (place["uri"].as_str().unwrap(), usize::try_from(place["idx"].as_u64().unwrap()).unwrap());
    let id = uri.strip_prefix("https://taskpass.acme.test/status-lists/").unwrap().parse().unwrap();
    let (list, _) = world.broker.status_list(&id).unwrap();
    let said = jws::inspect_unverified(&list).unwrap().claims;
    assert_eq!(said["sub"], uri);
    assert_eq!(said["iat"], world.clock.now().as_secs());
    let lst = URL_SAFE_NO_PAD.decode(said["status_list"]["lst"].as_str().unwrap()).unwrap();
    let bytes = miniz_oxide::inflate::decompress_to_vec_zlib(&lst).unwrap();
    assert_eq!(bytes.len(), 8192);
    bytes[index / 8] >> (index % 8) & 1 == 1
}

#[tokio::test]
async fn a_tokens_bit_is_set_when_it_ends_and_no_other() {
    let world = world().await;
    let (task, lease, first) = tokens(&world).await;
    let second = support::token(&world.renew("ci/bot", lease).await.unwrap());
    let sibling = support::token(&world.issue("ci/bot", task).await.unwrap());
    let (ending, _, other) = tokens(&world).await;
    world.broker.publish_crls().await.unwrap();
    for token in [&first, &second, &sibling, &other] {
        assert!(!status(&world, token));
    }
    world.broker.kill_lease(world.caller("operator"), lease, AfterKill::Reissue, "").await.unwrap();
    world.broker.publish_crls().await.unwrap();
    assert!(status(&world, &first) && status(&world, &second), "a lease and its renewals end together");
    assert!(!status(&world, &sibling) && !status(&world, &other));
    world.broker.end_task(world.caller("ci/bot"), ending, EndReason::Completed, "").await.unwrap();
    world.broker.publish_crls().await.unwrap();
    assert!(status(&world, &other) && status(&world, &first) && !status(&world, &sibling));
    world.clock.advance(Duration::from_secs(5));
    let id = StatusListId::new(KeyGeneration(1), [0; 12]);
    assert_eq!(world.broker.status_list(&id).unwrap_err().reason(), Reason::StoreUnavailable);
}

#[tokio::test]
async fn a_list_of_keys_that_were_cut_off_has_every_bit_set() {
    let world = world().await;
    let (_, _, before) = tokens(&world).await;
    let generation = world.keys.ca().generation();
    let deny = DenyKeys { tenant: TenantId::default(), generation, by: "recovery".to_owned() };
    world.store.apply(Event::DenyKeys(deny), world.clock.now()).await.unwrap();
    world.keys.replace_all(world.clock.now()).unwrap();
    let (_, _, after) = tokens(&world).await;
    world.broker.publish_crls().await.unwrap();
    assert!(status(&world, &before) && !status(&world, &after));
}

#[tokio::test]
async fn what_cannot_be_read_is_never_good() {
    for by_task in [false, true] {
        let unreadable = Arc::new(Unreadable::default());
        let damaged = unreadable.clone();
        let world = World::with(move |store| Meddled::damaged(store, damaged)).await;
        let (task, lease, token) = tokens(&world).await;
        let (_, beside, other) = tokens(&world).await;
        world.broker.publish_crls().await.unwrap();
        // Alone it is no reason to say nothing: nothing above it has ended.
        unreadable.lock().insert(lease);
        assert!(!is_active(&world, "verifier", &token).await && is_active(&world, "verifier", &other).await);
        world.broker.publish_crls().await.unwrap();
        assert!(world.broker.crls().is_ok());
        if by_task {
            world.broker.end_task(world.caller("ci/bot"), task, EndReason::Completed, "").await.unwrap();
        } else {
            unreadable.lock().clear();
            world.broker.kill_lease(world.caller("operator"), lease, AfterKill::Reissue, "").await.unwrap();
            unreadable.lock().insert(lease);
        }
        let refused = world.broker.publish_crls().await.unwrap_err();
        assert_eq!(refused.reason(), Reason::StoreCorrupt);
        assert_eq!(world.broker.crls().unwrap_err().reason(), Reason::StoreUnavailable);
        world.broker.kill_lease(world.caller("operator"), beside, AfterKill::Reissue, "").await.unwrap();
        // For as long as a certificate lives, and no longer.
        world.clock.advance(Duration::from_secs(3601));
        world.broker.publish_crls().await.unwrap();
        assert!(world.broker.crls().is_ok());
    }
}
