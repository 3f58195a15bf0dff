//! The store from below: checked, copied, moved, while brokers run and while none does.

use crate::support::{Run, program, run};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};
use taskpass_cli::{compose::Server, config::Config};
use taskpass_servers::{Kind, Options, Server as Redis};

/// A directory with configurations of several brokers.
struct Ground(tempfile::TempDir);

impl Ground {
    fn new() -> Self {
        let ground = Self(tempfile::tempdir().unwrap());
        let policies = ground.path("policies");
        fs::create_dir_all(&policies).unwrap();
        for (name, text) in taskpass_policy::demo::DEMO {
            fs::write(policies.join(name), text).unwrap();
        }
        taskpass_crypto::SealKey::generate_file(&ground.path("seal.key")).unwrap();
        ground
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The configuration `name`, with a data directory and a socket of its own.
    fn config(&self, name: &str, store: &str) -> PathBuf {
        let uid = fs::metadata(self.0.path()).unwrap().uid();
        let text = format!(
            r#"
            trust_domain = "acme.test"
            issuer = "https://taskpass.acme.test"
            listen = {{ socket = "{name}.sock", socket_mode = "0600", http = "127.0.0.1:0" }}
            data.dir = "{name}"
            keys.seal = {{ file = "seal.key" }}
            policy.dir = "policies"
            agents = [{{ id = "dev/maya", owner = "maya@acme.test", selectors = ["unix:uid:{uid}"] }}]
            operators = [{{ name = "maya", selectors = ["unix:uid:{uid}"] }}]
            {store}
            "#
        );
        let path = self.path(&format!("{name}.toml"));
        fs::write(&path, text).unwrap();
        path
    }
}

fn ledger(redis: &Redis, durability: &str) -> String {
    format!("[store.redis]\naddress = \"{}\"\ntimeout = \"2s\"\n{durability}", redis.address())
}

async fn serve(config: &Path) -> Server {
    Server::start(&Config::load(config).unwrap()).await.unwrap()
}

async fn taskpass(args: &[&str]) -> Run {
    run(program(args)).await
}

async fn json(args: &[&str]) -> Value {
    let run = taskpass(&[args, &["-o", "json"]].concat()).await;
    assert_eq!(run.code, 0, "{args:?}: {}", run.stderr);
    serde_json::from_str(&run.stdout).unwrap()
}

/// What the program says to a broker.
async fn ask(server: &Server, args: &[&str]) -> Value {
    let mut command = program([args, &["-o", "json"]].concat());
    command.env("TASKPASS_SOCKET", &server.addresses.socket);
    let run = run(command).await;
    assert_eq!(run.code, 0, "{args:?}: {}", run.stderr);
    serde_json::from_str(&run.stdout).unwrap()
}

fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_store_is_backed_up_once_its_broker_stopped_and_restored_where_there_is_none() {
    let ground = Ground::new();
    let (old, new) = (ground.config("old", ""), ground.config("new", ""));
    let (file, other) = (ground.path("a.backup"), ground.path("b.backup"));
    let server = serve(&old).await;
    let task = ask(&server, &["task", "start", "close", "-r", "demo-api:invoice:read"]).await;
    let busy = taskpass(&["store", "backup", arg(&file), "-c", arg(&old)]).await;
    assert!(busy.code == 7 && busy.stderr.contains("stop the broker"), "{}: {}", busy.code, busy.stderr);
    assert!(!file.exists());
    server.stop().await;

    // Acknowledged, and not in the store yet: the journal of a full disk.
    let journal = ground.path("old/revocations.journal");
    let empty = fs::read(&journal).unwrap();
    fs::write(&journal, [&[9][..], &empty[1..]].concat()).unwrap();
    let waiting = taskpass(&["store", "backup", arg(&file), "-c", arg(&old)]).await;
    assert!(
        waiting.code == 6 && waiting.stderr.contains("ends wait"),
        "{}: {}",
        waiting.code,
        waiting.stderr
    );
    assert!(taskpass(&["doctor", "-c", arg(&old)]).await.stdout.contains("warn  journal"));
    fs::write(&journal, empty).unwrap();

    let copied = json(&["store", "backup", arg(&file), "-c", arg(&old)]).await;
    assert_eq!(copied["kind"], "StoreCopy");
    assert_eq!(keys(&copied["item"]), ["from", "to", "time", "meanwhile", "total", "rows"]);
    assert_eq!(copied["item"]["rows"]["tasks"], 1);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = taskpass(&["store", "backup", arg(&file), "-c", arg(&old)]).await;
    assert_eq!(again.code, 6, "no backup is written over: {}", again.stderr);

    // Whatever is not a whole backup is refused before anything is written.
    let good = fs::read(&file).unwrap();
    let mut newer = good.clone();
    newer[15] = 2;
    for bad in [&good[..good.len() - 1], &good[..40], b"nothing of the kind", &newer, b""] {
        fs::write(&other, bad).unwrap();
        let refused = taskpass(&["store", "restore", arg(&other), "-c", arg(&new), "--yes"]).await;
        assert_eq!(refused.code, 10, "{}", refused.stderr);
        assert!(refused.stderr.contains("fix"), "{}", refused.stderr);
    }
    let restore = ["store", "restore", arg(&file), "-c", arg(&new)];
    let unsure = taskpass(&restore).await;
    assert!(
        unsure.code == 2 && unsure.stderr.contains("every end since then is forgotten"),
        "{}",
        unsure.stderr
    );
    assert!(!ground.path("new").exists(), "nothing was written");
    let restored = json(&[&restore[..], &["--yes"]].concat()).await;
    assert_eq!(
        (&restored["item"]["rows"], &restored["item"]["time"]),
        (&copied["item"]["rows"], &copied["item"]["time"])
    );
    let twice = taskpass(&[&restore[..], &["--yes"]].concat()).await;
    assert!(twice.code == 6 && twice.stderr.contains("already"), "{}: {}", twice.code, twice.stderr);

    let server = serve(&new).await;
    let shown = ask(&server, &["task", "show", task["item"]["id"].as_str().unwrap()]).await;
    assert_eq!(shown["item"]["state"], "running");
    server.stop().await;
    let history = async |config| json(&["store", "info", "-c", arg(config)]).await["item"]["history"].clone();
    assert_ne!(history(&old).await, history(&new).await, "another life of the store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_moves_to_redis_and_back_with_all_that_is_in_it() {
    let ground = Ground::new();
    let redis = Redis::start(Kind::Redis, Options::default()).await;
    let old = ground.config("old", "");
    let fleet = ground.config("fleet", &ledger(&redis, ""));
    let back = ground.config("back", "");
    let server = serve(&old).await;
    let task = ask(&server, &["task", "start", "close", "-r", "demo-api:invoice:read"]).await;
    let task = task["item"]["id"].as_str().unwrap().to_owned();
    let mut lease = program(["exec", "--task", &task, "-r", "demo-api:invoice:read", "--", "true"]);
    lease.env("TASKPASS_SOCKET", &server.addresses.socket);
    assert_eq!(run(lease).await.code, 0);
    let killed = ask(&server, &["lease", "list"]).await["items"][0]["id"].as_str().unwrap().to_owned();
    ask(&server, &["lease", "kill", &killed, "--reason", "drill"]).await;
    server.stop().await;

    let migrate =
        |from, to| ["store", "migrate", "--from", arg(from), "--to", arg(to), "--yes"].map(str::to_owned);
    let there = migrate(&old, &fleet);
    let there: Vec<&str> = there.iter().map(String::as_str).collect();
    let unsure = taskpass(&there[..6]).await;
    assert_eq!(unsure.code, 2, "{}", unsure.stderr);
    let moved = json(&there).await;
    let twice = taskpass(&there).await;
    assert_eq!(twice.code, 6, "{}", twice.stderr);

    let server = serve(&fleet).await;
    let shown = ask(&server, &["lease", "show", &killed]).await;
    assert_eq!(shown["item"]["state"], "killed", "{shown}");
    let mut again = program(["exec", "--task", &task, "-r", "demo-api:invoice:read", "--", "true"]);
    again.env("TASKPASS_SOCKET", &server.addresses.socket);
    assert_eq!(run(again).await.code, 3, "the hold moved along");
    // A ledger is read while its brokers serve.
    let file = ground.path("fleet.backup");
    let copied = json(&["store", "backup", arg(&file), "-c", arg(&fleet)]).await;
    assert_eq!(copied["item"]["rows"]["holds"], moved["item"]["rows"]["holds"]);
    server.stop().await;

    let home = migrate(&fleet, &back);
    json(&home.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let server = serve(&back).await;
    assert_eq!(ask(&server, &["task", "show", &task]).await["item"]["state"], "running");
    assert_eq!(ask(&server, &["lease", "show", &killed]).await["item"]["state"], "killed");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_durable_promises_is_proven_or_nothing_starts() {
    let ground = Ground::new();
    let redis = Redis::start(Kind::Redis, Options::default()).await;
    let good = ground.config("good", &ledger(&redis, ""));
    let bad = ground.config("bad", &ledger(&redis, "durability = \"durable\"\nreplicas = 1"));
    let checked = json(&["store", "check", "-c", arg(&good)]).await;
    assert_eq!(
        (&checked["kind"], keys(&checked["items"][0])),
        (&"CheckList".into(), vec!["check", "state", "seen", "fix"])
    );
    let info = json(&["store", "info", "-c", arg(&good)]).await;
    assert_eq!((&info["kind"], &info["item"]["kind"]), (&"StoreInfo".into(), &"redis".into()));
    assert_eq!(
        keys(&info["item"]),
        [
            "kind",
            "place",
            "server",
            "run",
            "replicas",
            "ledger",
            "generation",
            "atHome",
            "history",
            "commits",
            "ends",
            "inUse",
            "bytes",
            "rows",
            "pages"
        ]
    );

    let found = taskpass(&["store", "check", "-c", arg(&bad)]).await;
    assert!(found.code == 10 && found.stdout.contains("FAIL  replicas"), "{}: {}", found.code, found.stdout);
    let refused = taskpass(&["serve", "-c", arg(&bad)]).await;
    assert!(
        refused.code == 1 && refused.stderr.contains("not `durable`"),
        "{}: {}",
        refused.code,
        refused.stderr
    );
    assert!(refused.stderr.contains("0 online, 1 have to confirm"), "{}", refused.stderr);
    drop(redis);
    for (command, code) in [("check", 10), ("info", 7)] {
        assert_eq!(taskpass(&["store", command, "-c", arg(&good)]).await.code, code, "{command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_looks_at_everything_and_says_what_to_do() {
    let ground = Ground::new();
    let config = ground.config("house", "");
    let server = serve(&config).await;
    let report = json(&["doctor", "-c", arg(&config)]).await;
    let states: Vec<_> =
        report["items"].as_array().unwrap().iter().map(|line| line["state"].as_str().unwrap()).collect();
    assert!(states.iter().all(|state| *state == "ok"), "{report:#}");
    server.stop().await;

    fs::set_permissions(ground.path("house"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(ground.path("seal.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let log = fs::read_dir(ground.path("house/audit")).unwrap().map(|entry| entry.unwrap().path());
    let log = log.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let text = fs::read_to_string(&log).unwrap().replacen("serve", "nobody", 1);
    fs::write(&log, text).unwrap();
    let found = taskpass(&["doctor", "-c", arg(&config)]).await;
    assert_eq!(found.code, 10, "{}", found.stdout);
    for what in ["seal key", "data", "audit log"] {
        assert!(found.stdout.contains(&format!("FAIL  {what}")), "{what}: {}", found.stdout);
    }
    assert_eq!(
        found.stdout.matches("FAIL").count(),
        found.stdout.matches("fix: ").count(),
        "{}",
        found.stdout
    );
    assert_eq!(taskpass(&["doctor", "-c", arg(&ground.path("missing.toml"))]).await.code, 10);
}
