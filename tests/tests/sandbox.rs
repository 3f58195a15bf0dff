//! The two commands that need nothing: `demo` shows the promise, `dev` lets one try it.

use rustix::process::{Pid, Signal, kill_process};
use std::{fs, net::SocketAddr, path::Path, process::Stdio};
use taskpass_e2e::{Run, program, resource::Caller, run, until};
use taskpass_servers::{Kind, Options, Reply, Server};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

/// What a chapter shows, besides its line in the summary.
type Promised = (&'static str, &'static [&'static str]);

const BOTH: &[&str] =
    &["accepted   token 200, certificate 200", "refused    token ", "refused    certificate "];

/// The chapters that need nothing.
const CHAPTERS: [Promised; 8] = [
    ("the task completes", BOTH),
    ("the task times out", BOTH),
    ("the agent's process is killed", BOTH),
    (
        "a refund that needs a person",
        &["no vote    the agent", "approved   by noor@dev.test", "denied     ", "refused    token "],
    ),
    ("what was handed on ends from above", &["no wider   ", "refused    token ", "other half: 200"]),
    ("a tool is called outside its scope", &["written    ", "denied     ", "refused    token "]),
    ("a previewed policy is applied", &["would take 2 of ", "refused    both tokens ", "200, 200"]),
    ("a policy file is edited on disk", BOTH),
];

/// The chapter that needs a ledger to share.
const FLEET: Promised = (
    "a broker dies, its fleet goes on",
    &[
        "agreed     both publish the same keys",
        "with SIGKILL",
        "silent     the second broker",
        "accepted   token of the dead broker 200, of the living 200",
        "refused    token of the dead broker after ",
        "refused    token of the living broker after ",
        "chain intact",
    ],
);

/// Every chapter was played and measured, and no other.
fn assert_shown(shown: &Run, promised: &[Promised]) {
    assert_eq!(shown.code, 0, "{}{}", shown.stdout, shown.stderr);
    let (chapters, summary) = shown.stdout.split_once("from the end of the task").unwrap();
    let chapters: Vec<_> = chapters.split("\n-- ").skip(1).collect();
    assert_eq!(chapters.len(), promised.len(), "{}", shown.stdout);
    for (title, lines) in promised {
        let chapter = chapters.iter().find(|chapter| chapter.starts_with(title));
        let chapter = chapter.unwrap_or_else(|| panic!("`{title}` is missing: {}", shown.stdout));
        for line in *lines {
            assert!(chapter.contains(line), "{line:?} is missing: {chapter}");
        }
        let line = summary.lines().find(|line| line.starts_with(title)).unwrap();
        let measured = if *lines == BOTH { 2 } else { 1 };
        assert_eq!(line.matches(" ms").count(), measured, "{line}");
    }
    assert!(!shown.stdout.contains("FAILED"), "{}", shown.stdout);
    assert!(summary.contains("chain intact"), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_what_is_promised() {
    let shown = run(program(["demo"])).await;
    assert_shown(&shown, &CHAPTERS);
    let last = shown.stdout.lines().last().unwrap();
    assert!(last.contains("taskpass demo --redis"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_on_a_shared_ledger_also_has_a_broker_die() {
    let server = Server::start(Kind::Redis, Options::default()).await;
    let shown = run(program(["demo", "--redis", &server.address()])).await;
    assert_shown(&shown, &[&CHAPTERS[..], &[FLEET]].concat());
    // The ledger that it names is the one that it used.
    let ledger = shown.stdout.lines().find_map(|line| line.trim_start().strip_prefix("ledger ")).unwrap();
    let name = ledger.trim_start().split(' ').next().unwrap();
    let found = server.command(&["KEYS", &format!("{{{name}}}:*")]).await;
    assert!(matches!(&found, Reply::List(keys) if !keys.is_empty()), "{name}: {found:?}");
}

/// The program, for which `home` is the user's.
fn at_home(home: &Path, args: &[&str]) -> Command {
    let mut command = program(args);
    command.env("XDG_RUNTIME_DIR", home).env("USER", "maya");
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_is_found_by_other_commands_protects_something_and_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("sandbox");
    let mut dev = at_home(home.path(), &["dev", "--dir", dir.to_str().unwrap()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(dev.stdout.take().unwrap()).lines();
    let mut banner = Vec::new();
    while banner.last().is_none_or(|line: &String| !line.starts_with("Ctrl-C stops")) {
        banner.push(lines.next_line().await.unwrap().expect("the banner goes on"));
    }
    let after = |word: &str| {
        let line = banner.iter().find_map(|line| line.trim_start().strip_prefix(word));
        line.unwrap_or_else(|| panic!("{word} is not in {banner:?}")).trim_start()
    };
    let demo = after("Demo API").strip_prefix("http://").unwrap().split('/').next().unwrap();
    let demo: SocketAddr = demo.parse().unwrap();
    let get =
        async |token: Option<&str>| Caller::plain(demo).await.unwrap().get("/invoices", token).await.unwrap();
    assert_eq!(get(None).await.status, 401);

    // Another command of the same user finds it by itself; its token is good as long as it runs.
    let file = home.path().join("token");
    let script =
        format!("printf %s \"$TASKPASS_TOKEN\" > {0}.new && mv {0}.new {0}; read _ || :", file.display());
    let ask = ["exec", "--task", "read invoices", "--resource", "demo-api:invoice:read", "--"];
    let mut exec = at_home(home.path(), &[&ask[..], &["sh", "-c", &script]].concat());
    let mut exec = exec.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let token = until("the command has its token", async || fs::read_to_string(&file).ok()).await;
    let answer = get(Some(&token)).await;
    assert!(answer.is_ok(), "{answer:?}");
    drop(exec.stdin.take());
    assert_eq!(exec.wait().await.unwrap().code(), Some(0));
    until("the token is refused", async || (get(Some(&token)).await.status == 401).then_some(())).await;

    let context = home.path().join("taskpass/context.toml");
    assert!(context.exists());
    kill_process(Pid::from_raw(i32::try_from(dev.id().unwrap()).unwrap()).unwrap(), Signal::TERM).unwrap();
    assert!(dev.wait().await.unwrap().success());
    assert!(!context.exists(), "others would look for a broker that is gone");
    assert!(dir.join("data/audit").exists(), "a directory that was named is kept");
    let nobody = run(at_home(home.path(), &["whoami"])).await;
    assert_eq!(nobody.code, 7, "{}", nobody.stderr);
}
