//! The exchange as it should be: identity and task for a credential, use, completion, death.

use rcgen::{CertificateParams, KeyPair};
use taskpass_crypto::{Expect, Leeway, TokenKeys};
use taskpass_e2e::{
    Broker, Client, Settings, Signed, World, certificate,
    resource::{self, ask, signed},
    start, token, until,
};
use taskpass_types::{Clock as _, Confirmation, ResourceName, SystemClock};

/// A key and the request to certify it.
fn request() -> (KeyPair, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    (key, csr)
}

/// Runs the whole road for one caller. `identity` is what it came with over TCP.
async fn road(world: &World, broker: &Broker, agent: &Client, identity: Option<&Signed>) {
    let server = resource::serve(world, broker).await;
    let task = agent.start_task(start()).await.unwrap();
    let (lease, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    assert_eq!((lease.task_id.as_str(), lease.bound), (task.id.as_str(), identity.is_some()));
    let (key, csr) = request();
    let (_, chain) = agent.issue_certificate(certificate(&task.id, csr)).await.unwrap();
    let issued = signed(&chain, &key);

    let by_token = ask(world, &server, identity, Some(&jwt)).await;
    assert!(by_token.is_ok(), "{by_token:?}");
    let by_certificate = ask(world, &server, Some(&issued), None).await;
    assert!(by_certificate.is_ok(), "{by_certificate:?}");
    assert!(by_certificate.text.contains(&task.agent), "{by_certificate:?}");
    if identity.is_some() {
        // Stolen, and presented without a certificate, or with that of somebody else.
        let rival = world.authority.svid("dev/rival");
        for thief in [None, Some(&rival), Some(&issued)] {
            let stolen = ask(world, &server, thief, Some(&jwt)).await;
            assert_eq!(stolen.status, 401, "{stolen:?}");
            assert!(stolen.text.contains("another client certificate"), "{stolen:?}");
        }
    }
    assert_eq!(ask(world, &server, None, None).await.status, 401);

    let ended = agent.complete(&task.id).await.unwrap();
    let epoch = ended.end.unwrap().epoch;
    until("the verifier enforces the end", async || server.verifier.epoch().filter(|held| held.0 >= epoch))
        .await;
    for (client, token) in [(identity, Some(jwt.as_str())), (Some(&issued), None)] {
        let late = ask(world, &server, client, token).await;
        assert_eq!(late.status, 401, "{late:?}");
        assert!(late.text.contains("ended: completed"), "{late:?}");
    }
    world
        .recorded("the end, with its epoch", |entry| {
            entry.code == "TP103S" && entry.task.as_deref() == Some(&task.id) && entry.epoch == Some(epoch)
        })
        .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_x509_svid_over_mtls_gets_a_token_and_a_certificate_that_die_with_the_task() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let identity = world.authority.svid("dev/bot");
    let agent = Client::connect(&world.endpoint(&identity)).await;
    road(&world, &broker, &agent, Some(&identity)).await;
    broker.assert_well(&world).await;
    let (status, log) = broker.stop().await;
    assert!(status.success(), "{status}: {log}");
    world.assert_intact();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unix_socket_is_as_good() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let agent = world.connect_local().await;
    road(&world, &broker, &agent, None).await;
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_the_jwks_can_check_a_token_of_either_algorithm() {
    for alg in ["ES256", "EdDSA"] {
        let world = World::with(Settings { alg, ..Settings::default() });
        let broker = Broker::start(&world).await;
        let identity = world.authority.svid("dev/bot");
        let agent = Client::connect(&world.endpoint(&identity)).await;
        let task = agent.start_task(start()).await.unwrap();
        let (lease, jwt) = agent.issue_token(token(&task.id)).await.unwrap();

        let keys = TokenKeys::parse(broker.jwks(&world).await.as_bytes()).unwrap();
        let audience = ResourceName::new("demo-api").unwrap();
        let expect = |issuer| Expect {
            issuer,
            audience: Some(&audience),
            now: SystemClock::default().now(),
            leeway: Leeway::MAX,
        };
        let grant = keys.verify(&jwt, &expect("https://taskpass.acme.test")).unwrap();
        assert_eq!(grant.lease.to_string(), lease.id);
        assert_eq!(grant.subject.as_str(), format!("spiffe://acme.test/dev/bot/task/{}", task.id));
        assert!(matches!(grant.confirmation, Some(Confirmation::CertificateThumbprint(_))));
        assert_eq!(grant.owner.as_str(), "maya@acme.test");
        assert!(keys.verify(&jwt, &expect("https://taskpass.evil.test")).is_err());
        let (head, _) = jwt.rsplit_once('.').unwrap();
        assert!(
            keys.verify(&format!("{head}.{}", "A".repeat(86)), &expect("https://taskpass.acme.test"))
                .is_err()
        );

        world
            .recorded("who got it, for what, and by which policy", |entry| {
                entry.code == "TP201I"
                    && entry.actor == "agent/dev/bot"
                    && entry.lease.as_deref() == Some(&lease.id)
                    && entry.policies.iter().any(|policy| policy.contains("dev-may-read-invoices"))
            })
            .await;
        broker.assert_well(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_signing_key_is_written_down_as_every_other_one() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let jwks: serde_json::Value = serde_json::from_str(&broker.jwks(&world).await).unwrap();
    let kid = jwks["keys"][0]["kid"].as_str().unwrap().to_owned();
    // Not with the next start.
    broker.stop().await;
    let broker = Broker::start(&world).await;
    broker.assert_well(&world).await;
    let about_keys = world.entries().into_iter().filter(|entry| entry.action.starts_with("key."));
    let about_keys: Vec<_> =
        about_keys.map(|entry| (entry.code, entry.key_generation, entry.key.is_some())).collect();
    let entry = |code: &str, named| (code.to_owned(), Some(1), named);
    assert_eq!(
        about_keys,
        [entry("TP501I", false), entry("TP502I", false), entry("TP501S", true), entry("TP502S", true)]
    );
    world.recorded("the key that verifiers see", |entry| entry.key.as_deref() == Some(&kid)).await;
}
