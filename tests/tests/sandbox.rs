//! The two commands that need nothing: `demo` shows the promise, `dev` lets one try it.

use rustix::process::{Pid, Signal, kill_process};
use std::{fs, net::SocketAddr, path::Path, process::Stdio};
use taskpass_e2e::{program, resource::Caller, run, until};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_what_is_promised() {
    let shown = run(program(["demo"])).await;
    assert_eq!(shown.code, 0, "{}{}", shown.stdout, shown.stderr);
    let (chapters, summary) = shown.stdout.split_once("from the end of the task").unwrap();
    let chapters: Vec<_> = chapters.split("\n-- ").skip(1).collect();
    assert_eq!(chapters.len(), 8, "{}", shown.stdout);
    let both = ["accepted   token 200, certificate 200", "refused    token ", "refused    certificate "];
    for (title, promised) in [
        ("the task completes", &both[..]),
        ("the task times out", &both),
        ("the agent's process is killed", &both),
        (
            "a refund that needs a person",
            &["no vote    the agent", "approved   by noor@dev.test", "denied     ", "refused    token "],
        ),
        ("what was handed on ends from above", &["no wider   ", "refused    token ", "other half: 200"]),
        ("a tool is called outside its scope", &["written    ", "denied     ", "refused    token "]),
        ("a previewed policy is applied", &["would take 2 of ", "refused    both tokens ", "200, 200"]),
        ("a policy file is edited on disk", &both),
    ] {
        let chapter = chapters.iter().find(|chapter| chapter.starts_with(title));
        let chapter = chapter.unwrap_or_else(|| panic!("`{title}` is missing: {}", shown.stdout));
        for line in promised {
            assert!(chapter.contains(line), "{line:?} is missing: {chapter}");
        }
        let line = summary.lines().find(|line| line.starts_with(title)).unwrap();
        let measured = promised.iter().filter(|line| line.starts_with("refused")).count();
        assert_eq!(line.matches(" ms").count(), measured, "{line}");
    }
    assert!(!shown.stdout.contains("FAILED"), "{}", shown.stdout);
    assert!(summary.contains("chain intact"), "{summary}");
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
