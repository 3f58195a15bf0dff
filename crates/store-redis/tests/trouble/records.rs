//! Records that cannot be read, and accounts that are not let in.

use crate::world::{Fleet, NOW, end_task, keys, plan, row, server, settings, start};
use std::time::Duration;
use taskpass_lease::{Event, Limits, Outcome};
use taskpass_servers::{Kind, Options, Server};
use taskpass_store::{DueWhat, Store as _, conformance::events};
use taskpass_store_redis::{Account, OpenError, RedisBackend, RedisStore, Settings};
use taskpass_types::{Reason, Secret, TenantId};

async fn open(server: &Server) -> RedisStore {
    let store = crate::world::open(settings(server.port())).await.unwrap();
    store.apply(Event::SetPolicies(Box::new(events::set_policies("r1"))), NOW).await.unwrap();
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_is_refused_set_aside_and_stops_nothing_else() {
    for value in [&b"12345678\x09newer"[..], b"12345678\x01older", b"short", b"", b"12345678\x02\x00damaged"]
    {
        let server = Server::start(Kind::Redis, Options::default()).await;
        let store = open(&server).await;
        let tenant = TenantId::default();
        let (task, other) = (start(&store).await.unwrap(), start(&store).await.unwrap());
        let lease = plan(&store, task).await.unwrap();
        let (key, field) = row(&server, "{taskpass}:leases:").await;
        server.command(&[b"HSET".as_slice(), &key, &field, value]).await.accepted();
        assert_eq!(
            store.lease(&tenant, lease).await.unwrap_err().reason(),
            Reason::StoreCorrupt,
            "{value:?}"
        );
        assert_eq!(store.standing(&tenant, lease, NOW).await.unwrap_err().reason(), Reason::StoreCorrupt);
        let renew = Event::RenewLease(Box::new(events::renew(&tenant, lease, "again")));
        assert_eq!(store.apply(renew, NOW).await.unwrap_err().reason(), Reason::StoreCorrupt);
        plan(&store, other).await.unwrap();
        // When it is due it goes out of the way, for good.
        let later = NOW.plus(Duration::from_secs(400));
        for due in store.due(later, 100).await.unwrap() {
            if matches!(due.what, DueWhat::Lease(..)) {
                store.apply_due(due, later).await.unwrap();
            }
        }
        assert!(store.lease(&tenant, lease).await.unwrap().is_none());
        let quarantine = server.command(&["HLEN", "{taskpass}:quarantine:"]).await;
        assert_eq!(format!("{quarantine:?}"), "Int(1)", "{value:?}");
        // And its task ends as any other.
        let ended = store.apply(events::end_task(&tenant, task), NOW).await.unwrap();
        assert!(matches!(ended.outcome(), Outcome::TaskEnded(_)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_terms_a_lease_is_refused_and_its_task_ends() {
    let server = server(&[]).await;
    let fleet = Fleet::at(&server).await;
    let (tenant, [one, two]) = (TenantId::default(), &fleet.brokers);
    let lease = plan(one, fleet.task).await.unwrap();
    for page in keys(&server, "{taskpass}:terms:").await {
        server.command(&[b"DEL".as_slice(), &page]).await.accepted();
    }
    for store in [one, two] {
        assert_eq!(store.standing(&tenant, lease, NOW).await.unwrap_err().reason(), Reason::StoreCorrupt);
        let renew = Event::RenewLease(Box::new(events::renew(&tenant, lease, "again")));
        assert_eq!(store.apply(renew, NOW).await.unwrap_err().reason(), Reason::StoreCorrupt);
    }
    assert!(matches!(end_task(two, fleet.task).await.unwrap(), Outcome::TaskEnded(_)));
}

/// Also when the task goes first, and two brokers tidy up.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_of_what_is_forgotten() {
    let server = server(&[]).await;
    let fleet = Fleet::at(&server).await;
    let [one, two] = &fleet.brokers;
    let late = plan(one, fleet.task).await.unwrap();
    for _ in 0..20 {
        plan(two, fleet.task).await.unwrap();
    }
    end_task(one, fleet.task).await.unwrap();
    let minute = Duration::from_secs(60);
    one.apply(events::end_lease(&TenantId::default(), late, false), NOW.plus(minute)).await.unwrap();
    for passed in [Duration::ZERO, Limits::default().kept(), Limits::default().kept() + 2 * minute] {
        let now = NOW.plus(passed);
        for _ in 0..3 {
            let due = one.due(now, 100).await.unwrap();
            let work = due.into_iter().enumerate();
            futures::future::join_all(
                work.map(|(number, due)| fleet.brokers[number % 2].apply_due(due, now)),
            )
            .await;
        }
    }
    for table in ["tasks", "leases", "terms", "below", "requests", "schedule"] {
        assert_eq!(keys(&server, &format!("{{taskpass}}:{table}")).await, Vec::<Vec<u8>>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_is_told_so_and_no_password_is() {
    let lines = vec!["requirepass opensesame".to_owned()];
    let login = Some(("default".to_owned(), "opensesame".to_owned()));
    let server = Server::start(Kind::Redis, Options { lines, login, ..Options::default() }).await;
    let account = |password: &str| Some(Account { user: None, password: Secret::new(password.to_owned()) });
    for account in [None, account("hunter2")] {
        let wrong = Settings { account, ..settings(server.port()) };
        let error = RedisBackend::open(wrong, Limits::default(), None).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        assert!(matches!(error, OpenError::Unreachable(_)), "{error}");
    }
    let right = Settings { account: account("opensesame"), ..settings(server.port()) };
    RedisBackend::open(right, Limits::default(), None).await.unwrap();
    let nobody = Settings { place: settings(1).place, ..settings(server.port()) };
    assert!(matches!(
        RedisBackend::open(nobody, Limits::default(), None).await,
        Err(OpenError::Unreachable(_))
    ));
}
