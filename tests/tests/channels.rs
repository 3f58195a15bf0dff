//! One end, asked of every channel: the feed, introspection, the status list, the revocation list. Each accepts before and refuses after.

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use std::process::Command;
use taskpass_crypto::TokenKeys;
use taskpass_e2e::{
    Broker, Client, Settings, World, certificate,
    resource::{self, Answer, Caller, ask, signed},
    start, token, until,
};
use taskpass_servers::{Kind, Options, Server};

/// `prod/demo-api` is the resource `demo-api`; `prod/other-api` is another one.
const VERIFIERS: &str = r#"
[[verifiers]]
name = "demo-api"
selectors = ["spiffe:id:spiffe://acme.test/prod/demo-api"]
[[verifiers]]
name = "other"
selectors = ["spiffe:id:spiffe://acme.test/prod/other-api"]
resources = ["other-api", "third-api"]
[channels]
api_url = "https://taskpass.acme.test:7443"
"#;

fn world() -> World {
    World::with(Settings { more: VERIFIERS, ..Settings::default() })
}

/// Posts a form as `who`, over mutual TLS and HTTP/1.1.
async fn post(world: &World, who: &str, path: &str, form: &str) -> Answer {
    let identity = world.authority.svid(who);
    let caller =
        Caller::certified(world.api(), &world.authority.pem(), &identity.chain_pem, &identity.key_pem).await;
    caller.unwrap().form(path, form).await.unwrap()
}

/// What introspection says to `who`; the status is 200.
async fn introspect(world: &World, who: &str, token: &str) -> Value {
    let answer =
        post(world, who, "/introspect", &format!("token={token}&token_type_hint=access_token")).await;
    assert!(answer.is_ok(), "{answer:?}");
    serde_json::from_str(&answer.text).unwrap()
}

const CHECK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/openssl/check");

/// What `openssl verify` says of a certificate by the script of `deploy/examples`, given the authorities and the revocation lists as they are served.
fn openssl(world: &World, authorities: &str, lists: &str, leaf: &str) -> Result<(), String> {
    for (name, text) in [("authorities.pem", authorities), ("lists.pem", lists), ("leaf.pem", leaf)] {
        world.write(name, text);
    }
    let files = ["authorities.pem", "lists.pem", "leaf.pem"].map(|name| world.path(name));
    let output = Command::new(CHECK).args(files).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) }
}

/// A certificate of a task, with its key.
async fn certify(agent: &Client, task: &str) -> taskpass_e2e::Signed {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    let (_, chain) = agent.issue_certificate(certificate(task, csr)).await.unwrap();
    signed(&chain, &key)
}

/// Whether the status list that a token names says that it has ended; as a resource server would look, in Python.
async fn listed(world: &World, broker: &Broker, token: &str) -> bool {
    let place = &taskpass_crypto::jws::inspect_unverified(token).unwrap().claims["status"]["status_list"];
    let uri = place["uri"].as_str().unwrap();
    let list = until("there is a status list", async || {
        let answer = broker.read(world, uri.strip_prefix("https://taskpass.acme.test").unwrap()).await;
        answer.is_ok().then_some(answer.text)
    })
    .await;
    let said = taskpass_crypto::jws::inspect_unverified(&list).unwrap();
    assert_eq!((&said.header["typ"], &said.claims["sub"]), (&json!("statuslist+jwt"), &json!(uri)));
    let keys = TokenKeys::parse(broker.jwks(world).await.as_bytes()).unwrap();
    assert!(keys.verify_signature(&list).is_err(), "a status list is no access token");
    let look = "import base64, sys, zlib\n\
                lst = zlib.decompress(base64.urlsafe_b64decode(sys.argv[1] + '=' * (-len(sys.argv[1]) % 4)))\n\
                print(len(lst), lst[int(sys.argv[2]) // 8] >> int(sys.argv[2]) % 8 & 1)";
    let mut python = Command::new("python3");
    python.args(["-c", look, said.claims["status_list"]["lst"].as_str().unwrap(), &place["idx"].to_string()]);
    let output = python.output().expect("`python3` is there");
    match String::from_utf8_lossy(&output.stdout).trim() {
        "8192 0" => false,
        "8192 1" => true,
        other => panic!("{other}: {output:?}"),
    }
}

/// What `curl` gets, headers and all.
fn curl(arguments: &[&str]) -> String {
    let mut curl = Command::new("curl");
    let output = curl.args(["--silent", "--max-time", "20", "--dump-header", "-"]).args(arguments).output();
    String::from_utf8_lossy(&output.expect("`curl` is there").stdout).into_owned()
}

async fn lists(world: &World, broker: &Broker) -> String {
    until("there are revocation lists", async || {
        let answer = broker.read(world, "/crl.pem").await;
        answer.is_ok().then_some(answer.text)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_end_is_seen_by_every_channel() {
    let world = world();
    let broker = Broker::start(&world).await;
    let server = resource::serve(&world, &broker).await;
    let identity = world.authority.svid("dev/bot");
    let agent = Client::connect(&world.endpoint(&identity)).await;
    let (task, other) = (agent.start_task(start()).await.unwrap(), agent.start_task(start()).await.unwrap());
    let (lease, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    let (leaf, beside) = (certify(&agent, &task.id).await, certify(&agent, &other.id).await);
    let authorities = broker.ca_pem(&world).await;

    assert!(ask(&world, &server, Some(&identity), Some(&jwt)).await.is_ok());
    assert!(ask(&world, &server, Some(&leaf), None).await.is_ok());
    let told = introspect(&world, "prod/demo-api", &jwt).await;
    assert_eq!(
        (&told["active"], &told["client_id"], &told["aud"]),
        (&json!(true), &json!("dev/bot"), &json!("demo-api"))
    );
    assert_eq!(
        (&told["scope"], &told["iss"]),
        (&json!("invoice:read"), &json!("https://taskpass.acme.test"))
    );
    assert_eq!(told["urn:taskpass:grant"]["lease"], json!(lease.id));
    assert!(told["cnf"]["x5t#S256"].is_string(), "{told}");
    assert!(!listed(&world, &broker, &jwt).await);
    let before = lists(&world, &broker).await;
    assert_eq!(openssl(&world, &authorities, &before, &leaf.chain_pem), Ok(()));

    agent.complete(&task.id).await.unwrap();
    // The authority needs no time.
    assert_eq!(introspect(&world, "prod/demo-api", &jwt).await, json!({ "active": false }));
    for (client, token) in [(&identity, Some(jwt.as_str())), (&leaf, None)] {
        let late = until("the feed's verifier refuses", async || {
            let late = ask(&world, &server, Some(client), token).await;
            (late.status == 401).then_some(late.text)
        })
        .await;
        assert!(late.contains("ended: completed"), "{late}");
    }
    let why = until("openssl refuses", async || {
        openssl(&world, &authorities, &lists(&world, &broker).await, &leaf.chain_pem).err()
    })
    .await;
    assert!(why.contains("certificate revoked"), "{why}");
    assert!(listed(&world, &broker, &jwt).await, "both lists are made at once");
    let after = lists(&world, &broker).await;
    assert_eq!(openssl(&world, &authorities, &after, &beside.chain_pem), Ok(()));
    // Without a list, and with one of another authority, nothing is accepted.
    assert!(openssl(&world, &authorities, "", &beside.chain_pem).is_err());
    broker.assert_well(&world).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_attested_verifiers_are_told_and_only_about_their_own() {
    let world = world();
    let broker = Broker::start(&world).await;
    let agent = world.connect("dev/bot").await;
    let task = agent.start_task(start()).await.unwrap();
    let (_, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    let inactive = json!({ "active": false });
    assert_eq!(introspect(&world, "prod/demo-api", &jwt).await["active"], json!(true));
    assert_eq!(introspect(&world, "ops/oncall", &jwt).await["active"], json!(true));
    assert_eq!(introspect(&world, "prod/other-api", &jwt).await, inactive, "for another resource");
    for garbage in ["x", "a.b.c", &jwt[..jwt.len() - 4]] {
        assert_eq!(introspect(&world, "prod/demo-api", garbage).await, inactive);
    }
    for nobody in ["dev/bot", "dev/rival", "platform/scheduler", "prod/stranger"] {
        let answer = post(&world, nobody, "/introspect", &format!("token={jwt}")).await;
        assert_eq!(answer.status, 401, "{nobody}: {answer:?}");
        assert!(answer.text.contains("invalid_client") && !answer.text.contains("active"), "{answer:?}");
    }
    for (nobody, status) in [("dev/rival", 200), ("platform/scheduler", 200), ("prod/stranger", 401)] {
        let answer = post(&world, nobody, "/revoke", &format!("token={jwt}")).await;
        assert_eq!(answer.status, status, "{nobody}: {answer:?}");
        assert_eq!(introspect(&world, "prod/demo-api", &jwt).await["active"], json!(true), "{nobody}");
    }
    for (path, form, status) in [
        ("/introspect", "", 400),
        ("/introspect", "token=a&token=b", 400),
        ("/revoke", "token_type_hint=access_token", 400),
    ] {
        assert_eq!(post(&world, "prod/demo-api", path, form).await.status, status, "{path} {form}");
    }
    let long = format!("token={}", "x".repeat(20_000));
    assert_eq!(post(&world, "prod/demo-api", "/introspect", &long).await.status, 413);
    // Where nobody is attested, nobody is told.
    let mut open = Caller::plain(world.http()).await.unwrap();
    assert_eq!(open.form("/introspect", &format!("token={jwt}")).await.unwrap().status, 404);
    assert_eq!(open.form("/revoke", &format!("token={jwt}")).await.unwrap().status, 404);
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_revokes_its_token_by_itself() {
    let world = world();
    let broker = Broker::start(&world).await;
    let server = resource::serve(&world, &broker).await;
    let identity = world.authority.svid("dev/bot");
    let agent = Client::connect(&world.endpoint(&identity)).await;
    let task = agent.start_task(start()).await.unwrap();
    let (lease, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    let (_, sibling) = agent.issue_token(token(&task.id)).await.unwrap();
    // Whatever the hint says.
    let answer =
        post(&world, "dev/bot", "/revoke", &format!("token={jwt}&token_type_hint=refresh_token")).await;
    assert!(answer.is_ok() && answer.text.is_empty(), "{answer:?}");
    assert_eq!(introspect(&world, "prod/demo-api", &jwt).await, json!({ "active": false }));
    until("the feed's verifier refuses", async || {
        (ask(&world, &server, Some(&identity), Some(&jwt)).await.status == 401).then_some(())
    })
    .await;
    assert!(ask(&world, &server, Some(&identity), Some(&sibling)).await.is_ok());
    assert!(agent.lease(&lease.id).await.unwrap().end.is_some());
    for (form, status, says) in [
        (format!("token={jwt}"), 200, ""),
        ("token=unknown".to_owned(), 200, ""),
        ("token=unknown&token_type_hint=access_token".to_owned(), 200, ""),
        ("token=unknown&token_type_hint=refresh_token".to_owned(), 400, "unsupported_token_type"),
    ] {
        let answer = post(&world, "dev/bot", "/revoke", &form).await;
        assert_eq!(answer.status, status, "{form}: {answer:?}");
        assert!(answer.text.contains(says), "{form}: {answer:?}");
    }
    broker.assert_well(&world).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_says_what_there_is() {
    let world = world();
    let broker = Broker::start(&world).await;
    let answer = broker.read(&world, "/.well-known/oauth-authorization-server").await;
    let metadata: Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(metadata["issuer"], "https://taskpass.acme.test");
    assert_eq!(metadata["introspection_endpoint"], "https://taskpass.acme.test:7443/introspect");
    assert_eq!(metadata["revocation_endpoint_auth_methods_supported"], json!(["tls_client_auth"]));
    let jwks = metadata["jwks_uri"].as_str().unwrap().strip_prefix("https://taskpass.acme.test").unwrap();
    assert!(broker.read(&world, jwks).await.is_ok());
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_says_the_same_and_without_its_ledger_nothing() {
    let ledger = Server::start(Kind::Redis, Options::default()).await;
    let more = format!("{VERIFIERS}[store.redis]\naddress = \"127.0.0.1:{}\"\n", ledger.port());
    let settings = || Settings { more: &more, ..Settings::default() };
    let (one, two) = {
        let one = World::with(settings());
        let two = one.beside(settings());
        (one, two)
    };
    let (first, second) = (Broker::start(&one).await, Broker::start(&two).await);
    let agent = one.connect("dev/bot").await;
    let task = agent.start_task(start()).await.unwrap();
    let (_, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    let leaf = certify(&agent, &task.id).await;
    let authorities = first.ca_pem(&one).await;
    until("both have the same keys", async || (second.ca_pem(&two).await == authorities).then_some(())).await;
    assert_eq!(openssl(&two, &authorities, &lists(&two, &second).await, &leaf.chain_pem), Ok(()));
    assert_eq!(introspect(&two, "prod/demo-api", &jwt).await["active"], json!(true));

    agent.complete(&task.id).await.unwrap();
    assert_eq!(introspect(&two, "prod/demo-api", &jwt).await, json!({ "active": false }));
    let why = until("openssl refuses with the other broker's list", async || {
        openssl(&two, &authorities, &lists(&two, &second).await, &leaf.chain_pem).err()
    })
    .await;
    assert!(why.contains("certificate revoked"), "{why}");
    // Of a list that the other broker began.
    assert!(listed(&two, &second, &jwt).await);

    ledger.kill();
    let answer = post(&two, "prod/demo-api", "/introspect", &format!("token={jwt}")).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    until("there is no list any more", async || {
        (second.read(&two, "/crl.pem").await.status == 503).then_some(())
    })
    .await;
    ledger.restart().await;
    let after = lists(&two, &second).await;
    let why = openssl(&two, &authorities, &after, &leaf.chain_pem).unwrap_err();
    assert!(why.contains("certificate revoked"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_to_be_had_in_der_and_an_unchanged_one_costs_nothing() {
    let world = world();
    let broker = Broker::start(&world).await;
    lists(&world, &broker).await;
    let (url, file) = (|path: &str| format!("http://{}{path}", world.http()), world.path("crl.der"));
    let file = file.to_str().unwrap();
    let headers = curl(&["--output", file, &url("/crl/1")]).to_lowercase();
    assert!(headers.contains(" 200 ") && headers.contains("content-type: application/pkix-crl"), "{headers}");
    let mut openssl = Command::new("openssl");
    openssl.args(["crl", "-inform", "DER", "-noout", "-crlnumber", "-nextupdate", "-in", file]);
    let output = openssl.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("crlNumber") && said.contains("nextUpdate"),
        "{output:?}"
    );
    until("a list comes a second time", async || {
        let first = curl(&[&url("/crl.pem")]);
        let tag = first.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
        let again = curl(&["--header", &format!("If-None-Match: {tag}"), &url("/crl.pem")]);
        again.contains(" 304 ").then_some(())
    })
    .await;
    for missing in ["/crl/2", "/status-lists/x", "/status-lists/1-AB"] {
        assert!(curl(&[&url(missing)]).contains(" 404 "), "{missing}");
    }
    assert!(curl(&[&url("/crl/x")]).contains(" 400 "));
    broker.assert_well(&world).await;
}

/// What openssl says of a certificate when it fetches the list from where the certificate says.
fn openssl_online(world: &World, authorities: &str, name: &str, leaf: &str) -> Result<(), String> {
    world.write("authorities.pem", authorities);
    world.write(name, leaf);
    let mut check = Command::new(format!("{CHECK}-online"));
    let output = check.args([world.path("authorities.pem"), world.path(name)]).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_says_where_the_part_of_the_list_is_that_names_it() {
    let world = world();
    let own = format!("http://{}", world.http());
    let more = format!("{VERIFIERS}crl_url = \"{own}\"\n");
    world.write("taskpass.toml", &world.config_text(Settings { more: &more, ..Settings::default() }));
    let broker = Broker::start(&world).await;
    let agent = world.connect("dev/bot").await;
    let (task, other) = (agent.start_task(start()).await.unwrap(), agent.start_task(start()).await.unwrap());
    let (leaf, beside) = (certify(&agent, &task.id).await, certify(&agent, &other.id).await);
    let authorities = broker.ca_pem(&world).await;
    lists(&world, &broker).await;
    assert_eq!(openssl_online(&world, &authorities, "leaf.pem", &leaf.chain_pem), Ok(()));
    agent.complete(&task.id).await.unwrap();
    let why = until("openssl refuses", async || {
        openssl_online(&world, &authorities, "leaf.pem", &leaf.chain_pem).err()
    })
    .await;
    assert!(why.contains("certificate revoked"), "{why}");
    assert_eq!(openssl_online(&world, &authorities, "beside.pem", &beside.chain_pem), Ok(()));
    // In a file, the part that it names knows it; another one says nothing about it, not even that it is good.
    let (part, url) = part_of(&world, "leaf.pem");
    let foreign = url.replace(&format!("/1/{part}"), &format!("/1/{}", (part + 1) % 32));
    for (url, says) in [(&url, "certificate revoked"), (&foreign, "CRL scope")] {
        let file = world.path("part.der");
        let headers = curl(&["--output", file.to_str().unwrap(), url]).to_lowercase();
        assert!(
            headers.contains(" 200 ") && headers.contains("content-type: application/pkix-crl"),
            "{headers}"
        );
        let mut check = Command::new(CHECK);
        let files = ["authorities.pem", "part.der", "leaf.pem"].map(|name| world.path(name));
        let output = check.args(files).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(says), "{said}");
    }
    for missing in ["/crl/1/32", "/crl/2/0"] {
        assert_eq!(broker.read(&world, missing).await.status, 404, "{missing}");
    }
    assert_eq!(broker.read(&world, "/crl/1/256").await.status, 400);
    // Nobody can fetch one any more: nothing is good.
    broker.kill();
    assert!(openssl_online(&world, &authorities, "beside.pem", &beside.chain_pem).is_err());
}

/// The part of the revocation list that a certificate names, and where it is, as openssl reads it.
fn part_of(world: &World, leaf: &str) -> (u32, String) {
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-ext", "crlDistributionPoints", "-in"]).arg(world.path(leaf));
    let said = String::from_utf8(openssl.output().unwrap().stdout).unwrap();
    let url =
        said.lines().find_map(|line| line.trim().strip_prefix("URI:")).expect("it names one").to_owned();
    (url.rsplit('/').next().unwrap().parse().unwrap(), url)
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_speaks_what_clients_speak() {
    let world = world();
    let broker = Broker::start(&world).await;
    let agent = world.connect("dev/bot").await;
    let task = agent.start_task(start()).await.unwrap();
    let (_, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    let identity = world.authority.svid("prod/demo-api");
    let files = [
        ("root.pem", world.authority.pem()),
        ("svid.pem", identity.chain_pem),
        ("svid.key", identity.key_pem),
    ];
    for (name, text) in &files {
        world.write(name, text);
    }
    let paths = files.map(|(name, _)| world.path(name).to_str().unwrap().to_owned());
    let [root, chain, key] = paths.each_ref().map(String::as_str);
    let (url, form) = (format!("https://{}/introspect", world.api()), format!("token={jwt}"));
    let certified = ["--cacert", root, "--cert", chain, "--key", key, "--data", &form];
    for (version, status) in [("--http1.1", "HTTP/1.1 200"), ("--http2", "HTTP/2 200")] {
        let said = curl(&[&certified[..], &[version, &url]].concat());
        assert!(said.starts_with(status) && said.contains("\"active\":true"), "{version}: {said}");
        assert!(said.to_lowercase().contains("cache-control: no-store"), "{said}");
        let got = curl(&[&certified[..6], &[version, &url]].concat());
        assert!(got.contains(" 405"), "only POST: {got}");
    }
    // Without a certificate there is no connection.
    assert_eq!(curl(&["--cacert", root, "--data", &form, &url]), "");
    let socket = world.path("api.sock");
    let local = ["--unix-socket", socket.to_str().unwrap(), "--data", &form, "http://localhost/introspect"];
    let said = curl(&local);
    assert!(said.contains("\"active\":true"), "{said}");
    broker.assert_well(&world).await;
}
