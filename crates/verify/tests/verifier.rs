//! The verifier against a broker on a real socket: what the feed says is enforced, what is not heard is not trusted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

mod common;

use common::{Broker, HISTORY, MAX_STALE, T0, csr_key, grant, keys, lease, reached, record, ring, time};
use rustls_pki_types::CertificateDer;
use std::{slice::from_ref, time::Duration};
use taskpass_crypto::thumbprint;
use taskpass_proto::v1::{WatchDeniesResponse, deny_record::Subject};
use taskpass_types::{ActionName, Confirmation, Grant, HistoryId, ResourceName, TenantId};
use taskpass_verify::{Rejected, StartError, Verifier};
use tonic::Status;

type Damage = fn(WatchDeniesResponse) -> WatchDeniesResponse;
type Pick = fn(&Grant) -> Subject;

fn code(result: Result<impl Sized, Rejected>) -> &'static str {
    result.err().map_or("accepted", |rejected| rejected.code())
}

#[tokio::test]
async fn accepts_a_good_token_and_says_what_it_grants() {
    let mut broker = Broker::start();
    let (verifier, _session) = broker.ready().await;
    let grant = grant();
    let granted = verifier.verify_token(&broker.token(&grant)).unwrap();
    assert_eq!(*granted, grant);
    assert!(
        granted.allows("invoice:read") && !granted.allows("invoice:delete") && !granted.allows("invoice:*")
    );
    let delete = ActionName::new("invoice:delete").unwrap();
    assert_eq!(granted.require(&delete), Err(Rejected::ActionNotGranted(delete)));
}

#[tokio::test]
async fn refuses_everything_before_the_first_snapshot() {
    let mut broker = Broker::start();
    let verifier = broker.builder().start().unwrap();
    let token = broker.token(&grant());
    let _session = broker.session().await;
    assert_eq!(code(verifier.verify_token(&token)), "not_ready");
    assert_eq!((verifier.epoch(), verifier.staleness()), (None, None));
}

#[tokio::test]
async fn every_kind_of_subject_is_refused_and_nothing_beside_it() {
    let mut broker = Broker::start();
    let (verifier, session) = broker.ready().await;
    let beside = grant();
    let subjects: [(&str, Pick); 9] = [
        ("lease", |grant| Subject::LeaseId(grant.lease.to_string())),
        ("task", |grant| Subject::TaskId(grant.task_path.task().unwrap().to_string())),
        ("task above", |grant| Subject::TaskId(grant.task_path.iter().next().unwrap().to_string())),
        ("agent", |_| Subject::Agent("ci/invoice-bot-2".into())),
        ("agent above", |_| Subject::Agent("ci/planner-2".into())),
        ("owner", |_| Subject::Owner("noor@acme.test".into())),
        ("revision", |_| Subject::PolicyRevision("f6e5d4c3b2a1".into())),
        ("generations", |_| Subject::KeyGeneration(0)),
        ("resource", |_| Subject::Resource("payments-api".into())),
    ];
    let mut epoch = 0;
    for (what, subject) in subjects {
        let grant = other();
        session.say(broker.delta(epoch, vec![record(epoch + 1, subject(&grant))])).await;
        epoch += 1;
        reached(&verifier, epoch).await;
        assert!(verifier.verify_token(&broker.token(&beside)).is_ok(), "{what}: a stranger is refused");
        let hit = !matches!(what, "generations" | "resource");
        assert_eq!(
            code(verifier.verify_token(&broker.token(&grant))),
            if hit { "denied" } else { "accepted" },
            "{what}"
        );
        // The set begins anew, so that each subject is tested by itself.
        session.say(broker.snapshot(epoch + 1, vec![])).await;
        epoch += 1;
        reached(&verifier, epoch).await;
    }
    for subject in [
        Subject::KeyGeneration(1),
        Subject::KeyGeneration(7),
        Subject::Resource("billing-api".into()),
        Subject::Tenant(true),
    ] {
        let granted = verifier.verify_token(&broker.token(&beside)).unwrap();
        session.say(broker.delta(epoch, vec![record(epoch + 1, subject)])).await;
        reached(&verifier, epoch + 1).await;
        assert_eq!(code(verifier.recheck(&granted)), "denied");
        session.say(broker.snapshot(epoch + 2, vec![])).await;
        epoch += 2;
        reached(&verifier, epoch).await;
    }
}

/// A grant that shares nothing with [`grant`] but its resource and key.
fn other() -> Grant {
    let mut other = grant();
    let task = other.task_path.task().unwrap();
    other.agents = ["ci/planner-2", "ci/invoice-bot-2"].map(|agent| agent.parse().unwrap()).to_vec();
    other.subject = format!("spiffe://acme.test/ci/invoice-bot-2/task/{task}").parse().unwrap();
    other.owner = "noor@acme.test".parse().unwrap();
    other.policy_revision = "f6e5d4c3b2a1".parse().unwrap();
    other
}

#[tokio::test]
async fn a_cut_feed_refuses_everything_after_max_stale_and_heals() {
    let mut broker = Broker::start();
    let (verifier, session) = broker.ready().await;
    let token = broker.token(&grant());
    broker.clock.advance(MAX_STALE);
    assert!(verifier.verify_token(&token).is_ok(), "as old as is tolerated");
    broker.clock.advance(Duration::from_millis(1));
    assert_eq!(code(verifier.verify_token(&token)), "feed_stale");
    drop(session);
    let session = broker.session().await;
    session.say(broker.delta(0, vec![])).await;
    session.say(broker.delta(0, vec![lease(1, &grant())])).await;
    reached(&verifier, 1).await;
    assert!(verifier.verify_token(&token).is_ok(), "fresh again");
}

#[tokio::test]
async fn what_waited_in_a_buffer_is_not_news() {
    let mut broker = Broker::start();
    let (verifier, session) = broker.ready().await;
    let token = broker.token(&grant());
    let old = broker.delta(0, vec![lease(1, &grant())]);
    broker.clock.advance(MAX_STALE + Duration::from_secs(1));
    session.say(old).await;
    reached(&verifier, 1).await;
    assert_eq!(code(verifier.verify_token(&token)), "feed_stale", "read now, but sent long ago");
    let anew = broker.session().await;
    assert_eq!(
        (anew.request.history_id.as_str(), anew.request.epoch),
        (&*HISTORY.to_string(), 1),
        "given up and resumed"
    );
}

#[tokio::test]
async fn resumes_from_the_held_epoch() {
    let mut broker = Broker::start();
    let (verifier, session) = broker.ready().await;
    assert_eq!((session.request.history_id.as_str(), session.request.epoch), ("", 0));
    let (first, second) = (grant(), grant());
    session.say(broker.delta(0, vec![lease(1, &first)])).await;
    reached(&verifier, 1).await;
    session.answers.send(Err(Status::unavailable("restarting"))).await.unwrap();
    let session = broker.session().await;
    assert_eq!((session.request.history_id, session.request.epoch), (HISTORY.to_string(), 1));
    let resumed = broker.delta(1, vec![lease(2, &second)]);
    session.answers.send(Ok(resumed)).await.unwrap();
    reached(&verifier, 2).await;
    for grant in [first, second] {
        assert_eq!(code(verifier.verify_token(&broker.token(&grant))), "denied");
    }
}

#[tokio::test]
async fn what_does_not_follow_is_asked_for_anew_and_what_is_held_stays_denied() {
    let gone = grant();
    let bad: [(&str, Damage); 6] = [
        ("a gap", |message| WatchDeniesResponse { after_epoch: 7, epoch: 7, ..message }),
        ("another history", |message| WatchDeniesResponse {
            history_id: HistoryId([2; 16]).to_string(),
            ..message
        }),
        ("no history", |message| WatchDeniesResponse { history_id: "?".into(), ..message }),
        ("no time", |message| WatchDeniesResponse { send_time: None, ..message }),
        ("an unknown subject", |mut message| {
            message.records =
                vec![taskpass_proto::v1::DenyRecord { subject: None, ..record(2, Subject::Tenant(true)) }];
            WatchDeniesResponse { epoch: 2, ..message }
        }),
        ("no tenant", |message| WatchDeniesResponse {
            records: vec![record(2, Subject::Tenant(false))],
            epoch: 2,
            ..message
        }),
    ];
    for (what, damage) in bad {
        let mut broker = Broker::start();
        let (verifier, session) = broker.ready().await;
        session.say(broker.delta(0, vec![lease(1, &gone)])).await;
        reached(&verifier, 1).await;
        session.say(damage(broker.delta(1, vec![]))).await;
        let anew = broker.session().await;
        let unreadable = !matches!(what, "a gap" | "another history");
        assert_eq!(anew.request.epoch, u64::from(unreadable), "{what}");
        assert_eq!(verifier.epoch().map(|epoch| epoch.0), Some(1), "{what}");
        assert_eq!(code(verifier.verify_token(&broker.token(&gone))), "denied", "{what}");
    }
}

#[tokio::test]
async fn another_history_begins_anew() {
    let mut broker = Broker::start();
    let (verifier, session) = broker.ready().await;
    let (first, second) = (grant(), grant());
    session.say(broker.snapshot(9, vec![lease(9, &first)])).await;
    reached(&verifier, 9).await;
    let history_id = HistoryId([2; 16]).to_string();
    session.say(WatchDeniesResponse { history_id, ..broker.snapshot(3, vec![lease(3, &second)]) }).await;
    reached(&verifier, 3).await;
    assert_eq!(code(verifier.verify_token(&broker.token(&first))), "accepted");
    assert_eq!(code(verifier.verify_token(&broker.token(&second))), "denied");
}

#[tokio::test]
async fn a_set_beyond_its_bound_is_not_followed() {
    let mut broker = Broker::start();
    let verifier = broker.builder().max_records(1).start().unwrap();
    let session = broker.session().await;
    session.say(broker.snapshot(2, vec![lease(1, &grant()), lease(2, &grant())])).await;
    broker.session().await;
    assert_eq!(code(verifier.verify_token(&broker.token(&grant()))), "not_ready");
}

#[tokio::test]
async fn keys_follow_the_feed() {
    let mut broker = Broker::start();
    let (verifier, session) = broker.ready().await;
    let dir = tempfile::tempdir().unwrap();
    let old = broker.token(&grant());
    let new = ring(&dir.path().join("keys"), &broker.clock);
    let token = new.signer().sign(common::ISSUER, &grant()).unwrap();
    assert_eq!(code(verifier.verify_token(&token)), "key_unknown");
    let rotated = WatchDeniesResponse { keys: Some(keys(&new)), ..broker.delta(0, vec![lease(1, &grant())]) };
    session.say(rotated).await;
    reached(&verifier, 1).await;
    assert_eq!(code(verifier.verify_token(&token)), "accepted");
    assert_eq!(code(verifier.verify_token(&old)), "key_unknown", "its key was withdrawn");
}

#[tokio::test]
async fn hostile_tokens() {
    let mut broker = Broker::start();
    let (verifier, _session) = broker.ready().await;
    let good = broker.token(&grant());
    let (signed, _) = good.rsplit_once('.').unwrap();
    let other = broker.token(&grant());
    let (_, signature) = other.rsplit_once('.').unwrap();
    let sign = |change: fn(&mut Grant)| {
        let mut grant = grant();
        change(&mut grant);
        broker.token(&grant)
    };
    for (what, expected, token) in [
        ("empty", "segment_count", String::new()),
        ("no token", "segment_count", "deadbeef".into()),
        ("padding", "base64_invalid", format!("{good}=")),
        ("another's signature", "signature_invalid", format!("{signed}.{signature}")),
        ("no signature", "signature_invalid", format!("{signed}.")),
        ("too long", "too_long", "a".repeat(9000)),
        (
            "another audience",
            "audience_mismatch",
            sign(|grant| grant.resource = ResourceName::new("payments-api").unwrap()),
        ),
        ("another tenant", "tenant_mismatch", sign(|grant| grant.tenant = TenantId::new("other").unwrap())),
        (
            "expired",
            "expired",
            sign(|grant| {
                grant.issued_at = T0.minus(Duration::from_secs(60));
                grant.expires_at = T0.minus(Duration::from_secs(5));
            }),
        ),
        (
            "from the future",
            "issued_in_future",
            sign(|grant| grant.issued_at = T0.plus(Duration::from_secs(6))),
        ),
        (
            "bound to a key",
            "key_binding",
            sign(|grant| {
                grant.confirmation = Some(Confirmation::KeyThumbprint("A".repeat(43)));
            }),
        ),
    ] {
        assert_eq!(code(verifier.verify_token(&token)), expected, "{what}");
    }
}

#[tokio::test]
async fn a_bound_token_needs_its_certificate() {
    let mut broker = Broker::start();
    let (verifier, _session) = broker.ready().await;
    let (mine, stolen) = (CertificateDer::from(vec![1; 64]), CertificateDer::from(vec![2; 64]));
    let token = broker.token(&Grant { confirmation: Some(thumbprint::certificate(&mine)), ..grant() });
    assert_eq!(code(verifier.verify_bound_token(&token, Some(&mine))), "accepted");
    assert_eq!(code(verifier.verify_bound_token(&token, Some(&stolen))), "certificate_binding");
    assert_eq!(code(verifier.verify_token(&token)), "certificate_binding");
}

#[tokio::test]
async fn certificates_are_checked_like_tokens() {
    let mut broker = Broker::start();
    let (verifier, session) = broker.ready().await;
    let certify = |grant: &Grant| {
        let key = csr_key();
        let grant =
            Grant { confirmation: Some(Confirmation::KeyThumbprint(key.jkt().into())), ..grant.clone() };
        CertificateDer::from(broker.ring.ca().sign(common::ISSUER, &key, &grant).unwrap())
    };
    let grant = grant();
    let good = certify(&grant);
    assert_eq!(verifier.verify_certificate(from_ref(&good)).unwrap().lease, grant.lease);
    let payments = Grant { resource: ResourceName::new("payments-api").unwrap(), ..grant.clone() };
    assert_eq!(code(verifier.verify_certificate(&[certify(&payments)])), "audience_mismatch");
    assert_eq!(code(verifier.verify_certificate(&[])), "chain_length");
    assert_eq!(code(verifier.verify_certificate(&[CertificateDer::from(vec![0; 64])])), "untrusted");
    session.say(broker.delta(0, vec![lease(1, &grant)])).await;
    reached(&verifier, 1).await;
    assert_eq!(code(verifier.verify_certificate(&[good])), "denied");
}

#[tokio::test]
async fn a_broker_without_an_authority_vouches_for_no_certificate() {
    let mut broker = Broker::start();
    let (verifier, session) = broker.ready().await;
    let keys = taskpass_proto::v1::VerificationKeys { ca_certificates: vec![], ..keys(&broker.ring) };
    session.say(WatchDeniesResponse { keys: Some(keys), ..broker.delta(0, vec![lease(1, &grant())]) }).await;
    reached(&verifier, 1).await;
    assert_eq!(code(verifier.verify_certificate(&[CertificateDer::from(vec![0; 64])])), "untrusted");
}

#[tokio::test]
async fn a_connection_hears_of_the_end_of_its_grant() {
    let mut broker = Broker::start();
    let (verifier, session) = broker.ready().await;
    let granted = verifier.verify_token(&broker.token(&grant())).unwrap();
    assert_eq!(verifier.recheck(&granted), Ok(()));
    let denied = verifier.denied(&granted);
    session.say(broker.delta(0, vec![lease(1, &granted)])).await;
    let rejected = denied.await;
    assert_eq!(rejected.to_string(), format!("lease {} ended: completed", granted.lease));
    assert_eq!(
        rejected.www_authenticate().unwrap(),
        format!(
            r#"Bearer error="invalid_token", error_description="lease {} ended: completed""#,
            granted.lease
        )
    );
}

#[tokio::test]
async fn a_connection_hears_of_expiry_and_silence() {
    let mut broker = Broker::start();
    let (verifier, session) = broker.ready().await;
    let granted = verifier.verify_token(&broker.token(&grant())).unwrap();
    broker.clock.advance(MAX_STALE * 2);
    assert_eq!(verifier.denied(&granted).await.code(), "feed_stale");
    broker.clock.advance(Duration::from_secs(300));
    assert_eq!(verifier.denied(&granted).await.code(), "expired");
    drop(session);
}

#[tokio::test]
async fn does_not_start_without_a_proper_audience() {
    let broker = Broker::start();
    let start = |audience: Option<&str>| {
        let builder = Verifier::builder(broker.channel.clone());
        audience.into_iter().fold(builder, |builder, name| builder.audience(name)).start().err()
    };
    assert_eq!(start(None), Some(StartError::NoAudience));
    assert!(matches!(start(Some("Billing API")), Some(StartError::Name(_))));
}

#[tokio::test]
async fn a_record_is_kept_as_long_as_what_it_refuses_could_be_accepted() {
    let mut broker = Broker::start();
    let (verifier, session) = broker.ready().await;
    let grant = grant();
    let granted = verifier.verify_token(&broker.token(&grant)).unwrap();
    let mut ended = lease(1, &grant);
    ended.until = time(grant.expires_at);
    session.say(broker.delta(0, vec![ended])).await;
    reached(&verifier, 1).await;
    for millis in [299_999, 300_000, 304_999] {
        broker.clock.advance(
            T0.plus(Duration::from_millis(millis)).since(taskpass_types::Clock::now(&*broker.clock)),
        );
        assert_eq!(code(verifier.recheck(&granted)), "denied", "after {millis} ms");
    }
    broker.clock.advance(Duration::from_millis(1));
    assert_eq!(code(verifier.recheck(&granted)), "expired");
}

#[tokio::test]
async fn the_first_page_of_a_snapshot_accepts_nothing_yet() {
    let mut broker = Broker::start();
    let verifier = broker.builder().start().unwrap();
    let session = broker.session().await;
    let late = grant();
    let page = broker.snapshot(512, (1..=512).map(|epoch| lease(epoch, &grant())).collect());
    session.say(WatchDeniesResponse { more: true, ..page }).await;
    let token = broker.token(&late);
    // The keys come with the first page: from then on only the feed stands between the token and its acceptance.
    while code(verifier.verify_token("")) == "not_ready" {
        tokio::task::yield_now().await;
    }
    assert_eq!(code(verifier.verify_token(&token)), "not_ready");
    session.say(broker.delta(512, vec![lease(513, &late)])).await;
    verifier.ready().await;
    assert_eq!(code(verifier.verify_token(&token)), "denied");
}

#[tokio::test]
async fn what_is_enforced_is_acknowledged_and_nothing_before() {
    let mut broker = Broker::start();
    let verifier = broker.builder().instance("web-1").start().unwrap();
    let session = broker.session().await;
    assert_eq!(
        (session.request.audience.as_str(), session.request.instance.as_str()),
        ("billing-api", "web-1")
    );
    let stale = session.request.max_stale.unwrap();
    assert_eq!(u64::try_from(stale.seconds).unwrap(), MAX_STALE.as_secs());
    // The first page of a snapshot is not enforced yet.
    let page = broker.snapshot(3, vec![lease(1, &grant())]);
    session.say(WatchDeniesResponse { more: true, epoch: 1, ..page.clone() }).await;
    session
        .say(WatchDeniesResponse {
            session_id: String::new(),
            probes: Vec::new(),
            snapshot: false,
            after_epoch: 1,
            records: vec![],
            keys: None,
            ..page
        })
        .await;
    verifier.ready().await;
    let first = broker.acknowledged.recv().await.unwrap();
    assert_eq!((first.session_id.as_str(), first.epoch), (common::SESSION, 3));
    assert_eq!(first.history_id, HISTORY.to_string());
    // What concerns others is skipped, and covered all the same.
    session.say(WatchDeniesResponse { epoch: 9, ..broker.delta(3, vec![]) }).await;
    assert_eq!(broker.acknowledged.recv().await.unwrap().epoch, 9);
    // A message that does not follow is not.
    session.say(WatchDeniesResponse { epoch: 12, ..broker.delta(11, vec![]) }).await;
    let session = broker.session().await;
    session.say(broker.snapshot(12, vec![])).await;
    assert_eq!(broker.acknowledged.recv().await.unwrap().epoch, 12);
}
