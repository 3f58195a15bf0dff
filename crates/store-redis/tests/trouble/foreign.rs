//! Another application's keys where ours belong: whoever needs them is refused, nobody else is, and nothing is half done.

use crate::world::{
    Fleet, NOW, end_task, has_ended, keys, kill, plan, plan_as, row, said_why, server, settings, start,
    why_not,
};
use std::time::Duration;
use taskpass_lease::Outcome;
use taskpass_servers::{Server, until};
use taskpass_store::{LeaseQuery, Store as _, TaskQuery, dump::Source as _};
use taskpass_store_redis::Export;
use taskpass_types::{LeaseId, Reason, TenantId};

async fn replace(server: &Server, key: &[u8]) {
    server.command(&[b"SET".as_slice(), key, b"theirs"]).await.accepted();
}

async fn remove(server: &Server, key: &[u8]) {
    server.command(&[b"DEL".as_slice(), key]).await.accepted();
}

/// What a commit would write without having looked: the leases that are due at some time, and those below a task.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_whole_is_not_written_at_all() {
    let server = server(&[]).await;
    let fleet = Fleet::at(&server).await;
    let [one, two] = &fleet.brokers;
    let tenant = TenantId::default();
    // It is due when the others will be, which the end of an id tells.
    let before = plan(one, fleet.task).await.unwrap();
    let alike = || {
        let mut bytes = *LeaseId::new().as_bytes();
        bytes[14..].copy_from_slice(&before.as_bytes()[14..]);
        LeaseId::from_bytes(bytes)
    };
    for prefix in ["{taskpass}:schedule:", "{taskpass}:below:", "{taskpass}:schedule"] {
        let pages = keys(&server, prefix).await;
        let pages: Vec<_> =
            pages.into_iter().filter(|key| prefix.ends_with(':') || key == prefix.as_bytes()).collect();
        assert!(!pages.is_empty(), "{prefix}");
        let mut kept = Vec::new();
        for page in &pages {
            let aside = [b"aside:", &page[..]].concat();
            server.command(&[b"RENAME".as_slice(), page, &aside]).await.accepted();
            replace(&server, page).await;
            kept.push(aside);
        }
        let lease = alike();
        let refusal = plan_as(one, fleet.task, lease).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::StoreUnavailable, "{prefix}");
        said_why(&refusal);
        assert!(refusal.context().is_some_and(|why| why.contains("another application")), "{refusal:?}");
        for store in &fleet.brokers {
            assert_eq!(store.lease(&tenant, lease).await.unwrap(), None, "{prefix}: not even a part of it");
        }
        for (aside, page) in kept.iter().zip(&pages) {
            server.command(&[b"RENAME".as_slice(), aside, page]).await.accepted();
        }
        assert!(!plan_as(two, fleet.task, lease).await.unwrap().replayed(), "{prefix}");
        fleet.has_one(lease).await;
    }
}

/// However many look at it, and write beside it, at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_something_else_fails_only_those_who_need_it() {
    let server = server(&[]).await;
    let fleet = Fleet::at(&server).await;
    let tenant = TenantId::default();
    // Pages hold what was made within 16 ms.
    let apart = Duration::from_millis(150);
    tokio::time::sleep(apart).await;
    let known = keys(&server, "{taskpass}:leases:").await;
    let bad = plan(&fleet.brokers[0], fleet.task).await.unwrap();
    let new: Vec<_> =
        keys(&server, "{taskpass}:leases:").await.into_iter().filter(|key| !known.contains(key)).collect();
    tokio::time::sleep(apart).await;
    let good = plan(&fleet.brokers[0], fleet.task).await.unwrap();
    assert_eq!(new.len(), 1);
    for page in &new {
        replace(&server, page).await;
    }
    let mut work = Vec::new();
    for number in 0..60 {
        let store = &fleet.brokers[number % 2];
        let tenant = &tenant;
        work.push(async move {
            if number % 3 == 0 {
                let refusal = kill(store, bad).await.unwrap_err();
                assert_eq!(refusal.reason(), Reason::StoreCorrupt, "it counts as ended");
                assert_eq!(store.lease(tenant, bad).await.unwrap_err().reason(), Reason::StoreCorrupt);
                assert_eq!(
                    store.standing(tenant, bad, NOW).await.unwrap_err().reason(),
                    Reason::StoreCorrupt
                );
            } else {
                let lease = plan(store, fleet.task).await.unwrap();
                store.standing(tenant, lease, NOW).await.unwrap();
                kill(store, lease).await.unwrap();
                assert!(has_ended(store, lease).await.unwrap());
            }
        });
    }
    futures::future::join_all(work).await;
    for store in &fleet.brokers {
        let page = store.leases(&LeaseQuery::default()).await.unwrap();
        assert!(page.unreadable > 0 && page.items.iter().any(|lease| lease.id == good), "{page:?}");
        for task in [Some(fleet.task), None] {
            store.leases(&LeaseQuery { task, ..LeaseQuery::default() }).await.unwrap();
        }
        store.tasks(&TaskQuery::default()).await.unwrap();
    }
    // What is due behind it comes; what was due on it goes.
    let later = NOW.plus(Duration::from_secs(400));
    for _ in 0..20 {
        for due in fleet.brokers[1].due(later, 100).await.unwrap() {
            fleet.brokers[1].apply_due(due, later).await.unwrap();
        }
    }
    assert_eq!(fleet.brokers[1].due(later, 100).await.unwrap(), []);
    assert!(has_ended(&fleet.brokers[1], good).await.unwrap());
    let kept = list_quarantine(&server).await;
    assert!(kept > 0, "set aside when it came up");
    assert!(matches!(end_task(&fleet.brokers[0], fleet.task).await.unwrap(), Outcome::TaskEnded(_)));
}

async fn list_quarantine(server: &Server) -> i64 {
    match server.command(&["HLEN", "{taskpass}:quarantine:"]).await {
        taskpass_servers::Reply::Int(count) => count,
        other => panic!("{other:?}"),
    }
}

/// Where it is the schedule, the other entries are done all the same; where it is deny records, nobody is told that there
/// are none.
#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_goes_on_around_it_and_deny_records_are_not_passed_over() {
    let server = server(&[]).await;
    let fleet = Fleet::at(&server).await;
    let store = &fleet.brokers[0];
    let other = start(store).await.unwrap();
    plan(store, other).await.unwrap();
    let later = NOW.plus(Duration::from_secs(4000));
    let all = store.due(later, 100).await.unwrap();
    let pages = keys(&server, "{taskpass}:schedule:").await;
    assert!(pages.len() > 1, "{pages:?}");
    replace(&server, &pages[0]).await;
    let left = store.due(later, 100).await.unwrap();
    assert!(!left.is_empty() && left.len() < all.len(), "{left:?}");
    remove(&server, &pages[0]).await;

    let denies = keys(&server, "{taskpass}:denies:").await;
    assert!(
        !store.denies_after(&TenantId::default(), Default::default(), 10).await.unwrap().records.is_empty()
    );
    replace(&server, &denies[0]).await;
    let refusal = store.denies_after(&TenantId::default(), Default::default(), 10).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::StoreUnavailable);
    assert!(store.task(&TenantId::default(), other).await.unwrap().is_some(), "looks at other things go on");
}

/// Fields and members that are not ours, in pages and directories that are.
#[tokio::test(flavor = "multi_thread")]
async fn strange_rows_in_pages_of_ours() {
    let server = server(&[]).await;
    let fleet = Fleet::at(&server).await;
    let (store, tenant) = (&fleet.brokers[0], TenantId::default());
    let lease = plan(store, fleet.task).await.unwrap();
    for table in ["leases", "tasks", "denies", "approvals", "requests", "meta", "policies", "holds"] {
        let prefix = format!("{{taskpass}}:{table}:");
        if keys(&server, &prefix).await.is_empty() || table == "denies" {
            continue;
        }
        let (page, _) = row(&server, &prefix).await;
        for (field, value) in [
            (&b"x"[..], &b""[..]),
            (b"", b"\0"),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"1234567"),
            (b"12345678901", b"garbage-garbage-garbage"),
        ] {
            server.command(&[b"HSET".as_slice(), &page, field, value]).await.accepted();
        }
    }
    for table in ["leases", "tasks", "schedule"] {
        let directory = format!("{{taskpass}}:{table}");
        for member in [&b""[..], b"x", b"\xff\xff\xff\xff\xff\xff"] {
            server.command(&[b"ZADD".as_slice(), directory.as_bytes(), b"0", member]).await.accepted();
        }
    }
    for page in
        keys(&server, "{taskpass}:schedule:").await.iter().chain(&keys(&server, "{taskpass}:below:").await)
    {
        for member in [&b""[..], b"x", b"\xff\xff\xff"] {
            server.command(&[b"ZADD".as_slice(), page, b"0", member]).await.accepted();
        }
    }
    fleet.serves_again().await;
    for task in [Some(fleet.task), None] {
        let page = store.leases(&LeaseQuery { task, ..LeaseQuery::default() }).await.unwrap();
        assert!(page.items.iter().any(|found| found.id == lease), "{task:?}: {page:?}");
    }
    let later = NOW.plus(Duration::from_secs(400));
    for _ in 0..10 {
        for due in store.due(later, 100).await.unwrap() {
            store.apply_due(due, later).await.unwrap();
        }
    }
    assert!(store.lease(&tenant, lease).await.unwrap().unwrap().end().is_some(), "it expired in its time");
    assert!(matches!(end_task(store, fleet.task).await.unwrap(), Outcome::TaskEnded(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_hash_that_is_something_else() {
    let server = server(&[]).await;
    let fleet = Fleet::at(&server).await;
    server.command(&["RENAME", "{taskpass}:control", "aside"]).await.accepted();
    replace(&server, b"{taskpass}:control").await;
    fleet.refuses().await;
    let said = why_not(settings(server.port())).await;
    assert!(said.contains("no Taskpass ledger"), "{said}");
    server.command(&["RENAME", "aside", "{taskpass}:control"]).await.accepted();
    fleet.serves_again().await;
    // A count that is none: nothing is written that could not be counted.
    let sequence = server.command(&["HGET", "{taskpass}:control", "sequence"]).await.text().unwrap();
    server.command(&["HSET", "{taskpass}:control", "sequence", "many"]).await.accepted();
    let lease = LeaseId::new();
    said_why(&plan_as(&fleet.brokers[0], fleet.task, lease).await.unwrap_err());
    let rows = keys(&server, "{taskpass}:leases:").await.len();
    server.command(&["HSET", "{taskpass}:control", "sequence", &sequence]).await.accepted();
    assert_eq!(keys(&server, "{taskpass}:leases:").await.len(), rows);
    fleet.serves_again().await;
    let found =
        until("it is read", || async { fleet.brokers[0].lease(&TenantId::default(), lease).await.ok() });
    assert_eq!(found.await, None);
}

/// A backup without what was there would be taken for a whole one.
#[tokio::test(flavor = "multi_thread")]
async fn no_backup_is_made_of_what_is_not_whole() {
    let server = server(&[]).await;
    let fleet = Fleet::at(&server).await;
    plan(&fleet.brokers[0], fleet.task).await.unwrap();
    let pages = keys(&server, "{taskpass}:schedule:").await;
    replace(&server, &pages[0]).await;
    let mut export = Export::open(&settings(server.port())).await.unwrap();
    let error = loop {
        match export.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it went through"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("another application"), "{error}");
}
