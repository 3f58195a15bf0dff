//! The rights that we tell people to give a broker's user are enough, and no more than enough.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

mod support;

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};
use support::{DURABLE, PASSWORD, STANDARD, account, open, settings, users};
use taskpass_lease::Limits;
use taskpass_servers::{Kind, Options, Reply, Server};
use taskpass_store::conformance::{self, Home};
use taskpass_store_redis::{
    RedisBackend, RedisStore, Settings,
    check::{self, Mark},
};
use taskpass_types::SystemClock;

/// As deploy/redis has it, but for where the file with the users is.
async fn guarded(kind: Kind, more: &[&str], replica_of: Option<u16>) -> Server {
    let login = Some(("admin".to_owned(), PASSWORD.to_owned()));
    let ours =
        include_str!("../../../deploy/redis/redis.conf").lines().filter(|line| !line.starts_with("aclfile"));
    // What a server refuses to everybody would prove nothing.
    let open = ["enable-debug-command yes", "enable-module-command yes"];
    let lines = ours.chain(open).chain(more.iter().copied()).map(str::to_owned).collect();
    Server::start(kind, Options { users_acl: Some(users()), login, lines, replica_of, ..Options::default() })
        .await
}

fn as_broker(server: &Server) -> Settings {
    Settings { account: account("taskpass", PASSWORD), ..settings(server, STANDARD) }
}

struct Guarded(Arc<Server>);

impl Home for Guarded {
    type Store = RedisStore;

    fn open(&self, limits: Limits) -> RedisStore {
        let open = RedisBackend::open(as_broker(&self.0), limits, None);
        RedisStore::new(
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(open)).unwrap(),
        )
    }

    fn crash(&self, store: RedisStore, limits: Limits) -> RedisStore {
        drop(store);
        self.open(limits)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_s_user_can_do_all_that_a_store_does() {
    for kind in Kind::ALL {
        let server = Arc::new(guarded(kind, &[], None).await);
        // Each behaviour wants an empty ledger, and the user has only one.
        macro_rules! behave {
            ($($behaviour:ident)*) => {
                $(
                    server.command(&["FLUSHALL"]).await.accepted();
                    conformance::$behaviour(Guarded(server.clone())).await;
                )*
            };
        }
        behave!(
            a_task_starts_and_its_leases_live_under_it one_deny_record_ends_a_tree every_deny_record_is_announced
            a_hold_lasts_until_it_is_released deadlines_and_silence_end_tasks records_go_after_their_retention
            pages_are_newest_first_and_complete an_approval_survives_and_is_found the_history_of_policies_is_bounded
            every_approval_is_announced
        );
    }
}

#[tokio::test]
async fn a_replica_s_user_can_follow_and_no_more() {
    for kind in Kind::ALL {
        let primary = guarded(kind, &[], None).await;
        let login = [format!("masterauth \"{PASSWORD}\""), "masteruser replica".to_owned()];
        let login: Vec<&str> = login.iter().map(String::as_str).collect();
        let replica = guarded(kind, &login, Some(primary.port())).await;
        primary.in_sync(&replica).await;
        let durable = Settings { durability: DURABLE, ..as_broker(&primary) };
        let report = check::check(&durable, &SystemClock::default()).await;
        assert_eq!(report.count(Mark::Fail) + report.count(Mark::Warn), 0, "{report:#?}");
        drop(open(durable).await.unwrap());
        for command in [&["GET", "x"][..], &["INFO"], &["FLUSHALL"]] {
            let reply = primary.command_as("replica", PASSWORD, command).await;
            assert!(
                matches!(&reply, Reply::Error(error) if error.starts_with("NOPERM")),
                "{command:?}: {reply:?}"
            );
        }
        let admin = Settings { account: account("admin", PASSWORD), ..settings(&primary, STANDARD) };
        let report = check::check(&admin, &SystemClock::default()).await;
        assert!(report.lines.iter().any(|line| line.what == "fsync" && line.seen == "always"), "{report:#?}");
    }
}

#[tokio::test]
async fn a_broker_s_user_can_do_nothing_else() {
    for kind in Kind::ALL {
        let server = guarded(kind, &[], None).await;
        drop(open(as_broker(&server)).await.unwrap());
        server.command(&["SET", "other:key", "theirs"]).await.accepted();
        for command in [
            "CONFIG GET maxmemory",
            "CONFIG SET appendonly no",
            "KEYS *",
            "SCAN 0",
            "DBSIZE",
            "FLUSHALL",
            "FLUSHDB",
            "EVAL return(1) 0",
            "SCRIPT FLUSH",
            "SCRIPT KILL",
            "FUNCTION LIST",
            "DEBUG SLEEP 0",
            "GET other:key",
            "HGET other:key field",
            "SET {taskpass}:control x",
            "DEL {taskpass}:control",
            "EXPIRE {taskpass}:control 1",
            "RENAME {taskpass}:control x",
            "PUBLISH other news",
            "SUBSCRIBE other",
            "PSUBSCRIBE *",
            "ACL WHOAMI",
            "CLIENT KILL TYPE normal",
            "CLUSTER RESET",
            "REPLICAOF NO ONE",
            "SHUTDOWN NOSAVE",
            "MONITOR",
            "MODULE LIST",
        ] {
            let arguments: Vec<_> = command.split(' ').collect();
            match server.command_as("taskpass", PASSWORD, &arguments).await {
                Reply::Error(error) if error.starts_with("NOPERM") => {}
                reply => panic!("{kind}: `{command}`: {reply:?}"),
            }
        }
        assert_eq!(server.command(&["GET", "other:key"]).await.text().as_deref(), Some("theirs"));
        let stranger = server.command_as("taskpass", "guessed", &["PING"]).await;
        assert!(matches!(&stranger, Reply::Error(error) if error.starts_with("WRONGPASS")), "{stranger:?}");
        assert!(matches!(server.command_as("default", "", &["PING"]).await, Reply::Error(_)));
    }
}

/// What a script calls, the user may call, or the script fails half way.
#[test]
fn the_rights_are_what_the_scripts_call_and_what_the_link_needs() {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/scripts");
    let mut needed: BTreeSet<String> =
        ["cluster|keyslot", "cluster|slots", "evalsha", "info", "ping", "script|load", "subscribe", "time"]
            .into_iter()
            .chain(["unsubscribe", "wait"])
            .map(str::to_owned)
            .collect();
    for script in fs::read_dir(scripts).unwrap() {
        let text = fs::read_to_string(script.unwrap().path()).unwrap();
        let calls = text.split("call('").skip(1);
        needed.extend(calls.filter_map(|rest| rest.split('\'').next()).map(str::to_lowercase));
    }
    let users = users();
    let line = users.lines().find(|line| line.starts_with("user taskpass ")).unwrap();
    let given: BTreeSet<String> =
        line.split(' ').filter_map(|word| word.strip_prefix('+')).map(str::to_owned).collect();
    assert_eq!(given, needed);
}
