//! All rows of a ledger come out, and make the same ledger elsewhere.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

mod support;

use std::collections::BTreeMap;
use support::{STANDARD, apply, fill, open, settings};
use taskpass_lease::Event;
use taskpass_servers::{Kind, Options, Reply, Server};
use taskpass_store::{
    Store as _, TaskQuery,
    conformance::events,
    dump::{DumpError, Row, Sink, Source, copy},
    tables::Table,
};
use taskpass_store_redis::{Export, Import, Settings};
use taskpass_types::{LeaseId, TaskId, TenantId};

#[derive(Default)]
struct Rows(Vec<Row>);

#[async_trait::async_trait]
impl Sink for Rows {
    async fn put(&mut self, rows: &[Row]) -> Result<(), DumpError> {
        self.0.extend_from_slice(rows);
        Ok(())
    }
    async fn finish(&mut self) -> Result<(), DumpError> {
        Ok(())
    }
}

#[async_trait::async_trait]
impl Source for Rows {
    async fn next(&mut self) -> Result<Option<Vec<Row>>, DumpError> {
        let rows = std::mem::take(&mut self.0);
        Ok((!rows.is_empty()).then_some(rows))
    }
}

async fn rows(settings: &Settings) -> Vec<Row> {
    let mut rows = Rows::default();
    copy(&mut Export::open(settings).await.unwrap(), &mut rows).await.unwrap();
    rows.0.sort_by(|a, b| (a.table, &a.key).cmp(&(b.table, &b.key)));
    rows.0
}

/// Every key of a ledger with the number of its entries, by the server itself.
async fn keys(server: &Server, ledger: &str) -> BTreeMap<Vec<u8>, Reply> {
    let tag = format!("{{{ledger}}}:");
    let Reply::List(keys) = server.command(&["KEYS", &format!("{tag}*")]).await else { panic!("no list") };
    let mut found = BTreeMap::new();
    for key in keys {
        let Reply::Bytes(key) = key else { panic!("no key") };
        let kind = server.command(&[&b"TYPE"[..], &key]).await.text().unwrap();
        let count = if kind == "zset" { &b"ZCARD"[..] } else { b"HLEN" };
        let count = server.command(&[count, &key]).await;
        let name = key[tag.len()..].to_vec();
        if name != b"control" && name != b"probe" {
            found.insert(name, count);
        }
    }
    found
}

fn at(server: &Server, ledger: &str) -> Settings {
    Settings { ledger: ledger.to_owned(), ..settings(server, STANDARD) }
}

#[tokio::test]
async fn every_row_goes_and_the_ledger_lives_on() {
    for kind in Kind::ALL {
        let server = Server::start(kind, Options::default()).await;
        let store = open(at(&server, "old")).await.unwrap();
        let tasks = fill(&store, 40).await;
        // A broker that serves shows from time to time that it could write, which counts as a commit.
        store.backend().close().await;
        let old = rows(&at(&server, "old")).await;
        for table in Table::ALL.into_iter().filter(|table| *table != Table::Quarantine) {
            assert!(old.iter().any(|row| row.table == table), "nothing in {table:?}");
        }

        let mut source = Export::open(&at(&server, "old")).await.unwrap();
        let mut sink = Import::begin(&at(&server, "new"), "a", false).await.unwrap();
        let counts = copy(&mut source, &mut sink).await.unwrap();
        assert_eq!(counts.values().sum::<u64>(), old.len() as u64);
        assert_eq!(source.meanwhile(), 0);
        assert_eq!(keys(&server, "new").await, keys(&server, "old").await, "no page was passed over");

        let (new, store) = (open(at(&server, "new")).await.unwrap(), open(at(&server, "old")).await.unwrap());
        assert_eq!(rows(&at(&server, "new")).await, old);
        assert_ne!(new.history(), store.history());
        assert!(!*new.mending().borrow(), "nothing was lost");
        let tenant = TenantId::default();
        let query = TaskQuery { tenant: tenant.clone(), limit: 1000, ..TaskQuery::default() };
        assert_eq!(new.tasks(&query).await.unwrap().items.len(), 80);
        let epoch = store.denies_after(&tenant, Default::default(), 1).await.unwrap().epoch;
        assert_eq!(new.denies_after(&tenant, Default::default(), 1).await.unwrap().epoch, epoch);
        apply(&new, events::end_task(&tenant, tasks[1])).await;
        assert!(new.task(&tenant, tasks[1]).await.unwrap().unwrap().end().is_some());
        assert!(store.task(&tenant, tasks[1]).await.unwrap().unwrap().end().is_none(), "the old one stays");
    }
}

#[tokio::test]
async fn commits_that_happen_meanwhile_are_counted() {
    let server = Server::start(Kind::Redis, Options::default()).await;
    let store = open(at(&server, "taskpass")).await.unwrap();
    fill(&store, 2).await;
    let mut source = Export::open(&at(&server, "taskpass")).await.unwrap();
    source.next().await.unwrap();
    apply(&store, Event::StartTask(Box::new(events::start(&TenantId::default(), TaskId::new(), None)))).await;
    copy(&mut source, &mut Rows::default()).await.unwrap();
    assert!(source.meanwhile() >= 1);
}

#[tokio::test]
async fn rows_go_only_where_there_is_nothing() {
    let server = Server::start(Kind::Redis, Options::default()).await;
    let begin = async |ledger: &str| Import::begin(&at(&server, ledger), "a", false).await;
    assert!(Export::open(&at(&server, "taskpass")).await.is_err(), "there is no ledger");
    drop(open(at(&server, "served")).await.unwrap());
    assert!(matches!(begin("served").await, Err(DumpError::NotEmpty(_))));
    // The control hash is gone, the rest is not.
    let store = open(at(&server, "headless")).await.unwrap();
    fill(&store, 1).await;
    drop(store);
    server.command(&["DEL", "{headless}:control"]).await.accepted();
    assert!(matches!(begin("headless").await, Err(DumpError::NotEmpty(_))));
    // Somebody else's.
    server.command(&["SET", "{theirs}:control", "theirs"]).await.accepted();
    let error = begin("theirs").await.unwrap_err();
    assert!(error.fix().contains("another application"), "{error}: {}", error.fix());
}

#[tokio::test]
async fn what_broke_off_is_served_by_nobody_and_goes_on_with_the_same_rows() {
    let server = Server::start(Kind::Redis, Options::default()).await;
    let store = open(at(&server, "old")).await.unwrap();
    fill(&store, 3).await;
    let all = rows(&at(&server, "old")).await;
    let mut broken = Import::begin(&at(&server, "new"), "a", true).await.unwrap();
    broken.put(&all[..20]).await.unwrap();
    drop(broken);

    let error = open(at(&server, "new")).await.unwrap_err();
    assert!(error.to_string().contains("is being restored"), "{error}");
    let other = LeaseId::new().to_string();
    assert!(matches!(Import::begin(&at(&server, "new"), &other, true).await, Err(DumpError::NotEmpty(_))));
    let mut again = Import::begin(&at(&server, "new"), "a", true).await.unwrap();
    copy(&mut Rows(all.clone()), &mut again).await.unwrap();
    assert!(matches!(again.put(&all[..1]).await, Err(DumpError::NotEmpty(_))), "it is whole");
    assert!(matches!(Import::begin(&at(&server, "new"), "a", true).await, Err(DumpError::NotEmpty(_))));

    let new = open(at(&server, "new")).await.unwrap();
    assert_eq!(rows(&at(&server, "new")).await, all);
    assert!(*new.mending().borrow(), "ends are missing, so nothing that was signed before may count");
}
