//! Services in Python and Node with the files of `deploy/examples`: they know the broker's keys and status lists, and refuse
//! what has ended within the 6 s that they promise.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value, json};
use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use taskpass_e2e::{
    Broker, Client, World,
    resource::{Answer, Caller},
    start, token, until,
};
use taskpass_servers::free_port;
use tokio::time::Instant;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples");
const INSTALLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/servers");
const ISSUER: &str = "https://taskpass.acme.test";
/// What the README files say.
const BOUND: Duration = Duration::from_secs(6);

/// A service of the examples. Killed when it is dropped.
struct Service {
    child: Child,
    address: SocketAddr,
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A command that finds what `cargo xtask servers` installed.
fn python(script: &str) -> Command {
    let mut python = Command::new("python3");
    python.arg(format!("{EXAMPLES}/python/{script}")).env("PYTHONPATH", installed("python"));
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

fn installed(name: &str) -> PathBuf {
    let path = Path::new(INSTALLED).join(name);
    assert!(path.is_dir(), "`{name}` is missing and the test needs it: run `cargo xtask servers`");
    path
}

/// Node looks for packages beside the file, so the example is put beside them.
fn node(world: &World) -> Command {
    let directory = world.path("node");
    if !directory.exists() {
        fs::create_dir(&directory).unwrap();
        for file in ["service.mjs", "taskpass-tokens.mjs", "package.json"] {
            fs::copy(format!("{EXAMPLES}/node/{file}"), directory.join(file)).unwrap();
        }
        let modules = installed("node/node_modules").canonicalize().unwrap();
        std::os::unix::fs::symlink(modules, directory.join("node_modules")).unwrap();
    }
    let mut node = Command::new("node");
    node.arg(directory.join("service.mjs"));
    node
}

impl Service {
    async fn start(world: &World, mut command: Command, audience: &str) -> Self {
        let port = free_port();
        command.args(["--broker", &format!("http://{}", world.http())]);
        command.args(["--issuer", ISSUER, "--audience", audience, "--port", &port.to_string()]);
        let service = Self {
            child: command.stdin(Stdio::null()).spawn().unwrap(),
            address: ([127, 0, 0, 1], port).into(),
        };
        until("the service listens", async || Caller::plain(service.address).await.ok().map(drop)).await;
        service
    }

    async fn ask(&self, token: Option<&str>) -> Answer {
        Caller::plain(self.address).await.unwrap().get("/reports", token).await.unwrap()
    }
}

/// A token that is signed by whoever knows the public key as a secret, by nobody, or by the broker, but with other parts.
fn forged(token: &str, jwks: &str) -> Vec<(&'static str, String)> {
    let parts: Vec<_> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{token}") };
    let said: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    let with = |name: &str, value: Value| {
        let mut header = said.clone();
        header[name] = value;
        URL_SAFE_NO_PAD.encode(header.to_string())
    };
    let unsigned = with("alg", json!("none"));
    let symmetric = with("alg", json!("HS256"));
    let key = serde_json::from_str::<Value>(jwks).unwrap()["keys"][0]["x"].as_str().unwrap().to_owned();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &URL_SAFE_NO_PAD.decode(key).unwrap());
    let mac = hmac::sign(&key, format!("{symmetric}.{claims}").as_bytes());
    let mut longer: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    longer["exp"] = json!(4_000_000_000_u64);
    let longer = URL_SAFE_NO_PAD.encode(longer.to_string());
    vec![
        ("nobody signed it", format!("{unsigned}.{claims}.")),
        ("signed with the public key", format!("{symmetric}.{claims}.{}", URL_SAFE_NO_PAD.encode(mac))),
        ("of another type", format!("{}.{claims}.{signature}", with("typ", json!("JWT")))),
        ("of another key", format!("{}.{claims}.{signature}", with("kid", json!("other")))),
        ("with a later end", format!("{header}.{longer}.{signature}")),
        ("without a signature", format!("{header}.{claims}.")),
        ("no token", "x".to_owned()),
    ]
}

async fn refuses_what_is_no_good_and_what_has_ended(
    world: &World,
    broker: &Broker,
    command: impl Fn() -> Command,
) {
    let service = Service::start(world, command(), "demo-api").await;
    let elsewhere = Service::start(world, command(), "other-api").await;
    let agent = world.connect_local().await;
    let (task, other) = (agent.start_task(start()).await.unwrap(), agent.start_task(start()).await.unwrap());
    let (lease, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    let (_, beside) = agent.issue_token(token(&other.id)).await.unwrap();

    let answer = until("the status list is there", async || {
        let answer = service.ask(Some(&jwt)).await;
        (answer.status != 503).then_some(answer)
    })
    .await;
    assert!(answer.is_ok(), "{answer:?}");
    assert!(answer.text.contains("dev/maya") && answer.text.contains(&lease.id), "{answer:?}");
    assert!(service.ask(Some(&beside)).await.is_ok());
    assert_eq!(service.ask(None).await.status, 401);
    assert_eq!(elsewhere.ask(Some(&jwt)).await.status, 401, "for another audience");
    for (what, token) in forged(&jwt, &broker.jwks(world).await) {
        assert_eq!(service.ask(Some(&token)).await.status, 401, "{what}");
    }
    let bound = Client::connect(&world.endpoint(&world.authority.svid("dev/bot"))).await;
    let tied = bound.start_task(start()).await.unwrap();
    let (_, tied) = bound.issue_token(token(&tied.id)).await.unwrap();
    assert_eq!(service.ask(Some(&tied)).await.status, 401, "bound to a certificate");
    let uri = taskpass_crypto::jws::inspect_unverified(&jwt).unwrap().claims["status"]["status_list"]["uri"]
        .clone();
    let list = broker.read(world, uri.as_str().unwrap().strip_prefix(ISSUER).unwrap()).await.text;
    assert_eq!(service.ask(Some(&list)).await.status, 401, "a status list is no token");

    agent.complete(&task.id).await.unwrap();
    let ended = Instant::now();
    let refused = until("the service refuses", async || {
        let answer = service.ask(Some(&jwt)).await;
        (!answer.is_ok()).then_some(answer)
    })
    .await;
    assert!(ended.elapsed() < BOUND, "{:?}", ended.elapsed());
    assert_eq!(refused.status, 401, "{refused:?}");
    assert!(service.ask(Some(&beside)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_service_refuses_what_has_ended() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    refuses_what_is_no_good_and_what_has_ended(&world, &broker, || python("service.py")).await;
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_service_refuses_what_has_ended() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    refuses_what_is_no_good_and_what_has_ended(&world, &broker, || node(&world)).await;
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_broker_services_accept_nothing() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let services = [
        Service::start(&world, python("service.py"), "demo-api").await,
        Service::start(&world, node(&world), "demo-api").await,
    ];
    let agent = world.connect_local().await;
    let task = agent.start_task(start()).await.unwrap();
    let (_, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    for service in &services {
        until("it accepts", async || service.ask(Some(&jwt)).await.is_ok().then_some(())).await;
    }
    broker.kill();
    let gone = Instant::now();
    for service in &services {
        let status = until("it accepts no more", async || {
            let answer = service.ask(Some(&jwt)).await;
            (!answer.is_ok()).then_some(answer.status)
        })
        .await;
        assert_eq!(status, 503);
    }
    assert!(gone.elapsed() < BOUND, "{:?}", gone.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn joserfc_reads_tokens() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let jwks = broker.jwks(&world).await;
    world.write("jwks.json", &jwks);
    let agent = world.connect_local().await;
    let task = agent.start_task(start()).await.unwrap();
    let (_, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    let check = |token: &str, audience: &str| {
        let mut command = python("check_with_joserfc.py");
        command.arg(world.path("jwks.json")).args([ISSUER, audience]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), said.trim().to_owned())
    };
    assert_eq!(check(&jwt, "demo-api"), (true, "dev/maya".to_owned()));
    let (good, said) = check(&jwt, "other-api");
    assert!(!good && said.starts_with("refused: "), "{said}");
    for (what, token) in forged(&jwt, &jwks) {
        let (good, said) = check(&token, "demo-api");
        assert!(!good && said.starts_with("refused: "), "{what}: {said}");
    }
    broker.assert_well(&world).await;
}
