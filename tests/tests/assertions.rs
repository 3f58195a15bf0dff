//! Services without a certificate ask about tokens and revoke them: they sign assertions, each good for one request.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use taskpass_e2e::{
    Broker, Settings, World,
    resource::{Answer, Caller},
    start, token, until,
};
use taskpass_types::{Clock as _, SystemClock};

/// `billing-web` asks for the demo's resource, `ledger-web` for another, `ops-web` is an operator, `nobody-web` is nothing.
const MORE: &str = r#"
[[clients]]
name = "billing-web"
jwks = "billing-web.json"
[[clients]]
name = "ledger-web"
jwks = "ledger-web.json"
[[clients]]
name = "ops-web"
jwks = "ops-web.json"
[[clients]]
name = "nobody-web"
jwks = "nobody-web.json"
[[verifiers]]
name = "billing-web"
selectors = ["oauth:client:billing-web"]
resources = ["demo-api"]
[[verifiers]]
name = "ledger-web"
selectors = ["oauth:client:ledger-web"]
resources = ["ledger-api"]
[[operators]]
name = "ops-web"
selectors = ["oauth:client:ops-web"]
"#;
const ISSUER: &str = "https://taskpass.acme.test";
const NAMES: [&str; 4] = ["billing-web", "ledger-web", "ops-web", "nobody-web"];

/// Who signs for a client.
struct Key {
    name: &'static str,
    key: EcdsaKeyPair,
}

impl Key {
    fn new(name: &'static str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random);
        Self { name, key: key.unwrap() }
    }

    fn jwks(&self) -> String {
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (BASE64URL.encode(x), BASE64URL.encode(y));
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "1", "x": x, "y": y }] }).to_string()
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "ES256", "kid": "1" });
        let signed = [&header, claims].map(|part| BASE64URL.encode(part.to_string())).join(".");
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64URL.encode(signature))
    }

    fn claims(&self) -> Value {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        let exp = SystemClock::default().now().plus(Duration::from_secs(60)).as_secs();
        json!({ "iss": self.name, "sub": self.name, "aud": ISSUER, "jti": id, "exp": exp })
    }

    fn fresh(&self) -> String {
        self.sign(&self.claims())
    }
}

fn world() -> (World, [Key; 4]) {
    let world = World::with(Settings { more: MORE, ..Settings::default() });
    let keys = NAMES.map(Key::new);
    for key in &keys {
        world.write(&format!("{}.json", key.name), &key.jwks());
    }
    (world, keys)
}

/// Posts to the HTTP listener, which knows nobody.
async fn post(world: &World, path: &str, token: &str, assertion: &str) -> Answer {
    let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    let form = format!("token={token}&client_assertion_type={kind}&client_assertion={assertion}");
    Caller::plain(world.http()).await.unwrap().form(path, &form).await.unwrap()
}

async fn introspect(world: &World, key: &Key, token: &str) -> Value {
    let answer = post(world, "/introspect", token, &key.fresh()).await;
    assert!(answer.is_ok(), "{answer:?}");
    serde_json::from_str(&answer.text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_about_its_own_tokens_and_an_operator_revokes_them() {
    let (world, [billing, ledger, ops, nobody]) = world();
    let broker = Broker::start(&world).await;
    let agent = world.connect_local().await;
    let task = agent.start_task(start()).await.unwrap();
    let (lease, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    let inactive = json!({ "active": false });

    let told = introspect(&world, &billing, &jwt).await;
    assert_eq!((&told["active"], &told["urn:taskpass:grant"]["lease"]), (&json!(true), &json!(lease.id)));
    assert_eq!(introspect(&world, &ledger, &jwt).await, inactive, "for another resource");
    for garbage in ["x", "a.b.c", &jwt[..jwt.len() - 4], &billing.fresh()] {
        assert_eq!(introspect(&world, &billing, garbage).await, inactive, "{garbage}");
    }
    let answer = post(&world, "/introspect", &jwt, &nobody.fresh()).await;
    assert_eq!(answer.status, 401, "it proved who it is, and that is nobody: {answer:?}");

    let answer = post(&world, "/revoke", &jwt, &billing.fresh()).await;
    assert!(answer.is_ok(), "as RFC 7009 wants it: {answer:?}");
    assert_eq!(introspect(&world, &billing, &jwt).await["active"], json!(true), "it is not its own");
    assert!(post(&world, "/revoke", &jwt, &ops.fresh()).await.is_ok());
    assert_eq!(introspect(&world, &billing, &jwt).await, inactive);
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_proves_nothing_is_an_invalid_client() {
    let (world, [billing, ledger, ..]) = world();
    let broker = Broker::start(&world).await;
    let agent = world.connect_local().await;
    let task = agent.start_task(start()).await.unwrap();
    let (_, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    let used = billing.fresh();
    assert!(post(&world, "/introspect", &jwt, &used).await.is_ok());
    let with = |name: &str, value: Value| {
        let mut claims = billing.claims();
        claims[name] = value;
        billing.sign(&claims)
    };
    let expired = json!(SystemClock::default().now().as_secs() - 10);
    let none = format!("{}.{}.", BASE64URL.encode(r#"{"alg":"none"}"#), used.split('.').nth(1).unwrap());
    let stranger = Key { name: "billing-web", key: Key::new("").key };
    let before = std::fs::read(world.audit().join("audit.log")).unwrap().len();
    for (what, assertion) in [
        ("used before", used),
        ("for another audience", with("aud", json!("https://other.acme.test"))),
        ("for the other endpoint", with("aud", json!(format!("{ISSUER}/revoke")))),
        ("expired", with("exp", expired)),
        ("of another tenant's client", Key::new("tenant-b-web").fresh()),
        ("signed with another's key", stranger.fresh()),
        ("of one, about another", with("sub", json!(ledger.name))),
        ("nobody signed it", none),
        ("a token of ours", jwt.clone()),
    ] {
        let answer = post(&world, "/introspect", &jwt, &assertion).await;
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        assert!(
            answer.text.contains("invalid_client") && !answer.text.contains("active"),
            "{what}: {answer:?}"
        );
    }
    let mut open = Caller::plain(world.http()).await.unwrap();
    let answer = open.form("/introspect", &format!("token={jwt}")).await.unwrap();
    assert_eq!(answer.status, 401, "nothing at all: {answer:?}");
    let answer = open.form("/introspect", &format!("token={jwt}&client_assertion=x")).await.unwrap();
    assert_eq!(answer.status, 400, "without its type: {answer:?}");
    // Anybody can send such things, and must not fill the disk with them.
    let after = std::fs::read(world.audit().join("audit.log")).unwrap().len();
    assert_eq!(after, before);
    assert!(
        post(&world, "/introspect", &jwt, &with("aud", json!(format!("{ISSUER}/introspect")))).await.is_ok()
    );
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_struck_off_is_nobody_and_the_metadata_names_the_way() {
    let (world, [billing, ..]) = world();
    let broker = Broker::start(&world).await;
    let answer = broker.read(&world, "/.well-known/oauth-authorization-server").await;
    let metadata: Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(metadata["introspection_endpoint"], json!(format!("{ISSUER}/introspect")));
    assert_eq!(metadata["introspection_endpoint_auth_methods_supported"], json!(["private_key_jwt"]));
    assert!(introspect(&world, &billing, "x").await.is_object());

    // The same file without the clients.
    world.write("taskpass.toml", &world.config_text(Settings::default()));
    until("it is nobody", async || {
        (post(&world, "/introspect", "x", &billing.fresh()).await.status == 401).then_some(())
    })
    .await;
    broker.assert_well(&world).await;
}
