//! What a check sees of real servers, as they should be and as they should not be.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

mod support;

use support::{DURABLE, PASSWORD, STANDARD, account, fill, open, settings, users};
use taskpass_servers::{Kind, Options, Server};
use taskpass_store_redis::{
    OpenError, Settings, TlsFiles,
    check::{self, Line, Mark, Report},
};
use taskpass_types::SystemClock;

async fn look(settings: &Settings) -> Report {
    check::check(settings, &SystemClock::default()).await
}

fn line<'a>(report: &'a Report, what: &str) -> &'a Line {
    report.lines.iter().find(|line| line.what == what).unwrap_or_else(|| panic!("no `{what}`: {report:#?}"))
}

fn failed(report: &Report) -> Vec<&str> {
    report.failed().map(|line| line.what).collect()
}

async fn server(lines: &[&str]) -> Server {
    let lines = lines.iter().map(|line| (*line).to_owned()).collect();
    Server::start(Kind::Redis, Options { lines, ..Options::default() }).await
}

#[tokio::test]
async fn a_server_as_it_should_be_passes_for_a_broker_s_user() {
    for kind in Kind::ALL {
        let login = Some(("admin".to_owned(), PASSWORD.to_owned()));
        let options = Options { users_acl: Some(users()), login, ..Options::default() };
        let server = Server::start(kind, options).await;
        let mine = || Settings { account: account("taskpass", PASSWORD), ..settings(&server, STANDARD) };
        let report = look(&mine()).await;
        assert_eq!(report.count(Mark::Fail) + report.count(Mark::Warn), 0, "{report:#?}");
        assert!(line(&report, "server").seen.starts_with(&kind.to_string()), "{report:#?}");
        assert_eq!(line(&report, "fsync").mark, Mark::Look);
        assert!(line(&report, "ledger").seen.contains("empty"), "{report:#?}");

        let store = open(mine()).await.unwrap();
        fill(&store, 3).await;
        let report = look(&mine()).await;
        assert!(line(&report, "ledger").seen.contains("begun for this server"), "{report:#?}");
        let about = check::about(&mine()).await.unwrap();
        assert!(
            about.at_home && about.history.is_some() && about.sequence > 10 && about.denied >= 3,
            "{about:?}"
        );
        assert!(about.pages.iter().all(|(_, count)| *count > 0), "{about:?}");
        // Another run of the server: nobody knows yet what it lost.
        drop(store);
        server.restart().await;
        assert_eq!(line(&look(&mine()).await, "ledger").mark, Mark::Warn);
    }
}

#[tokio::test]
async fn a_user_with_too_many_rights_is_told_which_are_enough() {
    let server = server(&[]).await;
    let report = look(&settings(&server, STANDARD)).await;
    let rights = line(&report, "rights");
    assert_eq!(rights.mark, Mark::Warn);
    assert!(rights.seen.contains("CONFIG GET") && rights.fix.contains("~{taskpass}:*"), "{rights:?}");
    assert_eq!(line(&report, "fsync").seen, "always", "who sees it is told");
    assert_eq!(failed(&report), [""; 0]);
}

#[tokio::test]
async fn durable_is_proven_with_a_replica_and_refused_without() {
    let primary = server(&[]).await;
    let report = look(&settings(&primary, DURABLE)).await;
    assert_eq!(failed(&report), ["write", "replicas"], "{report:#?}");
    let Err(OpenError::NotDurable(why)) = open(settings(&primary, DURABLE)).await else {
        panic!("a broker must not start");
    };
    assert_eq!(failed(&why), ["write", "replicas"]);
    assert!(
        check::about(&settings(&primary, STANDARD)).await.unwrap().generation.is_none(),
        "nothing was begun"
    );

    let replica =
        Server::start(Kind::Redis, Options { replica_of: Some(primary.port()), ..Options::default() }).await;
    primary.in_sync(&replica).await;
    let report = look(&settings(&primary, DURABLE)).await;
    assert_eq!(failed(&report), [""; 0], "{report:#?}");
    assert!(line(&report, "write").seen.contains("1 replicas confirmed"), "{report:#?}");
    drop(open(settings(&primary, DURABLE)).await.unwrap());

    // It follows, as far as the server knows, and confirms nothing.
    replica.pause();
    assert_eq!(failed(&look(&settings(&primary, DURABLE)).await), ["write"]);
    replica.resume();
    let asked_the_replica = look(&settings(&replica, STANDARD)).await;
    assert!(line(&asked_the_replica, "server").seen.contains("no primary"), "{asked_the_replica:#?}");
}

#[tokio::test]
async fn a_server_that_forgets_or_evicts_is_not_durable() {
    for (lines, what) in [
        ("appendonly no", "aof"),
        ("maxmemory-policy allkeys-lru", "eviction"),
        ("maxmemory-policy volatile-ttl", "eviction"),
    ] {
        let server = server(&[lines]).await;
        let report = look(&settings(&server, DURABLE)).await;
        assert!(failed(&report).contains(&what), "{lines}: {report:#?}");
        let Err(error) = open(settings(&server, DURABLE)).await else {
            panic!("{lines}: a broker must not start")
        };
        let fix = &line(&report, what).fix;
        assert!(error.to_string().contains(fix), "{error}");
        let report = look(&settings(&server, STANDARD)).await;
        assert_ne!(line(&report, what).mark, Mark::Ok, "{lines}: {report:#?}");
    }
}

#[tokio::test]
async fn whoever_cannot_get_in_is_told_what_to_change() {
    let server = server(&["requirepass secret"]).await;
    for (account, expected) in [
        (None, "password"),
        (account("default", "wrong"), "password"),
        (account("nobody", "secret"), "password"),
    ] {
        let report = look(&Settings { account, ..settings(&server, STANDARD) }).await;
        assert_eq!(failed(&report), ["server"], "{report:#?}");
        assert!(line(&report, "server").fix.contains(expected), "{report:#?}");
        let said = format!("{report:?}");
        assert!(!said.contains("secret") && !said.contains("wrong"), "{said}");
    }
    let port = server.port();
    drop(server);
    let nobody = Server::start(Kind::Redis, Options::default()).await;
    let mut gone = settings(&nobody, STANDARD);
    drop(nobody);
    let report = look(&gone).await;
    assert!(line(&report, "server").fix.contains("see that it runs"), "{port}: {report:#?}");
    gone.ledger = "no name".to_owned();
    assert_eq!(failed(&look(&gone).await), ["ledger"]);
}

#[tokio::test]
async fn only_the_authority_of_the_server_is_believed() {
    let tls = || Options { tls: true, ..Options::default() };
    let (server, other) = (Server::start(Kind::Redis, tls()).await, Server::start(Kind::Redis, tls()).await);
    let with = |authority: &Server| {
        let files = TlsFiles { ca: authority.ca_pem_path(), client: None };
        Settings { tls: Some(files), ..settings(&server, STANDARD) }
    };
    let report = look(&with(&server)).await;
    assert_eq!((failed(&report), line(&report, "tls").seen.as_str()), (Vec::new(), "on"), "{report:#?}");
    let report = look(&with(&other)).await;
    assert!(line(&report, "server").fix.contains("tls.ca"), "{report:#?}");
    assert_eq!(failed(&look(&settings(&server, STANDARD)).await), ["server"], "in the clear");
}

#[tokio::test]
async fn another_application_s_keys_are_not_ours_to_touch() {
    for (key, value) in
        [("{taskpass}:control", "SET"), ("{taskpass}:tasks", "SET"), ("{taskpass}:probe", "SET")]
    {
        let server = server(&[]).await;
        server.command(&[value, key, "theirs"]).await.accepted();
        let report = look(&settings(&server, STANDARD)).await;
        assert!(report.failed().any(|line| line.fix.contains("another application")), "{key}: {report:#?}");
        assert_eq!(server.command(&["GET", key]).await.text().as_deref(), Some("theirs"), "{key}");
    }
}

#[tokio::test]
async fn what_the_server_says_leads_to_the_way_out() {
    let lonely = server(&["min-replicas-to-write 1"]).await;
    let report = look(&settings(&lonely, STANDARD)).await;
    assert!(line(&report, "write").fix.contains("min-replicas-to-write"), "{report:#?}");
    let full = server(&["maxmemory 1mb"]).await;
    let report = look(&settings(&full, STANDARD)).await;
    assert!(line(&report, "write").fix.contains("maxmemory"), "{report:#?}");

    let login = Some(("admin".to_owned(), PASSWORD.to_owned()));
    let guarded =
        Server::start(Kind::Redis, Options { users_acl: Some(users()), login, ..Options::default() }).await;
    let other = Settings {
        account: account("taskpass", PASSWORD),
        ledger: "other".to_owned(),
        ..settings(&guarded, STANDARD)
    };
    let report = look(&other).await;
    assert!(failed(&report).contains(&"write"), "{report:#?}");
    assert!(report.failed().all(|line| line.fix.contains("~{other}:*")), "{report:#?}");
}
