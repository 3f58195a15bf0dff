//! The feed as a state machine: however a history is cut into messages, the same is denied; whatever is lost, doubled or
//! swapped, the held epoch never says more than was applied.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use proptest::{collection::vec, prelude::*};
use std::slice::from_ref;
use taskpass_types::{
    AgentId, DenySubject, EndReason, Epoch, HistoryId, KeyGeneration, LeaseId, Owner, PolicyRevision,
    ResourceName, TaskId, Timestamp,
};
use taskpass_verify::{
    denies::{Denies, Record, TooMany},
    feed::{Applied, Feed, Position, Resync},
    wire::Message,
};

const HISTORY: HistoryId = HistoryId([1; 16]);
const OTHER: HistoryId = HistoryId([2; 16]);
const NEVER: Timestamp = Timestamp::from_millis(0);

fn subject() -> impl Strategy<Value = DenySubject> {
    // Few of each kind, so that subjects come up more than once.
    (0..8_u8, 0..4_u8).prop_map(|(kind, number)| match kind {
        0 => DenySubject::Agent(AgentId::new(format!("ci/bot-{number}")).unwrap()),
        1 => DenySubject::KeyGeneration(KeyGeneration(number.into())),
        2 => DenySubject::Lease(LeaseId::from_bytes([number; 16])),
        3 => DenySubject::Owner(Owner::new(format!("maya-{number}@acme.test")).unwrap()),
        4 => DenySubject::PolicyRevision(PolicyRevision::new(format!("r{number}")).unwrap()),
        5 => DenySubject::Resource(ResourceName::new(format!("api-{number}")).unwrap()),
        6 => DenySubject::Task(TaskId::from_bytes([number; 16])),
        _ => DenySubject::Tenant,
    })
}

/// Records with epochs from 1 on, without gaps.
fn history() -> impl Strategy<Value = Vec<Record>> {
    vec((subject(), 1..50_u64), 0..40).prop_map(|entries| {
        let record = |(i, (subject, until)): (usize, (DenySubject, u64))| Record {
            epoch: Epoch(i as u64 + 1),
            subject,
            reason: Some(EndReason::Killed),
            until: Timestamp::from_secs(until),
        };
        entries.into_iter().enumerate().map(record).collect()
    })
}

fn snapshot(records: &[Record]) -> Message {
    let epoch = records.last().map_or(Epoch(0), |record| record.epoch);
    Message {
        history: HISTORY,
        after: Epoch(0),
        epoch,
        snapshot: true,
        records: records.to_vec(),
        sent_at: NEVER,
        keys: None,
        more: false,
        session: None,
        probes: Vec::new(),
    }
}

fn delta(after: u64, records: &[Record]) -> Message {
    let epoch = records.last().map_or(Epoch(after), |record| record.epoch);
    Message { after: Epoch(after), epoch, snapshot: false, ..snapshot(records) }
}

/// A snapshot of the first records, then the rest in pieces.
fn split(records: &[Record], cuts: &[usize]) -> Vec<Message> {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut % (records.len() + 1)).chain([records.len()]).collect();
    ends.sort_unstable();
    let mut start = ends[0];
    let mut messages = vec![snapshot(&records[..start])];
    for end in ends {
        messages.push(delta(start as u64, &records[start..end]));
        start = end;
    }
    messages
}

fn set(feed: &Feed) -> Vec<Record> {
    feed.denies().read().records()
}

fn fed(messages: impl IntoIterator<Item = Message>, horizon: Timestamp) -> Feed {
    let mut feed = Feed::new(1000);
    for message in messages {
        feed.apply(message, horizon).unwrap();
    }
    feed
}

proptest! {
    #[test]
    fn any_split_is_one_snapshot(records in history(), cuts in vec(0..100_usize, 1..6), horizon in 0..60_u64) {
        let horizon = Timestamp::from_secs(horizon);
        let whole = fed([snapshot(&records)], horizon);
        // The last heartbeat forgets what the last records brought in already ended.
        let last = delta(records.len() as u64, &[]);
        let pieces = fed(split(&records, &cuts).into_iter().chain([last]), horizon);
        prop_assert_eq!(set(&whole), set(&pieces));
        prop_assert_eq!(whole.position(), pieces.position());
    }

    #[test]
    fn a_damaged_stream_never_claims_what_it_did_not_apply(
        records in history(),
        cuts in vec(0..100_usize, 1..8),
        order in vec((0..10_usize, 0..8_u8), 0..20),
    ) {
        let messages = split(&records, &cuts);
        let mut feed = Feed::new(1000);
        for (pick, damage) in order {
            let mut message = messages[pick % messages.len()].clone();
            match damage {
                0 if !message.snapshot => message.history = OTHER,
                1 => message.records.push(lease(message.epoch.0 + 1)),
                2 => message.records.reverse(),
                _ => {}
            }
            let before = (feed.position(), set(&feed));
            if feed.apply(message, NEVER).is_err() {
                prop_assert_eq!(&before, &(feed.position(), set(&feed)), "a refused message left something");
            }
            let held = feed.position().map_or(0, |held| held.epoch.0 as usize);
            let expected = fed([snapshot(&records[..held])], NEVER);
            prop_assert_eq!(set(&feed), set(&expected), "epoch {} is held, but not all of it", held);
            prop_assert!(before.0.is_none_or(|before| before.epoch.0 as usize <= held), "the held epoch went back");
        }
    }
}

fn record(epoch: u64, subject: DenySubject) -> Record {
    let until = Timestamp::from_secs(60);
    Record { epoch: Epoch(epoch), subject, reason: Some(EndReason::Completed), until }
}

fn lease(epoch: u64) -> Record {
    record(epoch, DenySubject::Lease(LeaseId::new()))
}

#[test]
fn a_message_that_does_not_follow_changes_nothing() {
    let (one, two) = (lease(1), lease(2));
    let other = |message| Message { history: OTHER, ..message };
    let gap = Resync::Gap { after: Epoch(3), held: Epoch(2) };
    let cases = [
        ("a gap", delta(3, &[lease(4)]), gap.clone()),
        ("a heartbeat after a gap", delta(3, &[]), gap),
        ("an overlap", delta(1, &[two.clone(), lease(3)]), Resync::Gap { after: Epoch(1), held: Epoch(2) }),
        ("another history", other(delta(2, &[lease(3)])), Resync::History),
        ("a heartbeat of another history", other(delta(2, &[])), Resync::History),
        ("records out of order", delta(2, &[lease(4), lease(3)]), Resync::Order(Epoch(4))),
        ("a record twice", delta(2, &[lease(3), lease(3)]), Resync::Order(Epoch(3))),
        ("a record from before", delta(2, &[lease(2), lease(3)]), Resync::Order(Epoch(2))),
        (
            "a record from the future",
            Message { epoch: Epoch(3), ..delta(2, &[lease(3), lease(4)]) },
            Resync::Order(Epoch(4)),
        ),
        ("an end before its start", Message { epoch: Epoch(1), ..delta(2, &[]) }, Resync::Order(Epoch(1))),
        (
            "a snapshot from before",
            snapshot(from_ref(&one)),
            Resync::WentBack { snapshot: Epoch(1), held: Epoch(2) },
        ),
        ("too many", delta(2, &[lease(3), lease(4), lease(5)]), Resync::TooMany(TooMany(4))),
    ];
    for (what, message, expected) in cases {
        let mut feed = Feed::new(4);
        feed.apply(snapshot(&[one.clone(), two.clone()]), NEVER).unwrap();
        let before = set(&feed);
        assert_eq!(feed.apply(message, NEVER), Err(expected), "{what}");
        assert_eq!(set(&feed), before, "{what}");
        assert_eq!(feed.position(), Some(Position { history: HISTORY, epoch: Epoch(2) }), "{what}");
    }
}

#[test]
fn nothing_but_a_snapshot_begins() {
    let mut feed = Feed::new(4);
    assert_eq!(feed.apply(delta(0, &[lease(1)]), NEVER), Err(Resync::History));
    assert_eq!(feed.position(), None);
}

#[test]
fn repeats_are_harmless_and_no_news() {
    let (one, two) = (lease(1), lease(2));
    let mut feed = fed([snapshot(from_ref(&one)), delta(1, from_ref(&two))], NEVER);
    assert_eq!(feed.apply(delta(1, from_ref(&two)), NEVER), Ok(Applied::Repeat));
    assert_eq!(feed.apply(delta(0, from_ref(&one)), NEVER), Ok(Applied::Repeat));
    assert_eq!(feed.apply(delta(2, &[]), NEVER), Ok(Applied::Whole), "a heartbeat at the held epoch is news");
    assert_eq!(set(&feed).len(), 2);
}

#[test]
fn another_history_replaces_everything() {
    let mut feed = fed([snapshot(&[lease(1), lease(2)])], NEVER);
    let new = lease(1);
    feed.apply(Message { history: OTHER, ..snapshot(from_ref(&new)) }, NEVER).unwrap();
    assert_eq!(set(&feed), [new]);
    assert_eq!(feed.position(), Some(Position { history: OTHER, epoch: Epoch(1) }));
}

#[test]
fn what_can_no_longer_be_accepted_is_forgotten_and_makes_room() {
    let mut feed = Feed::new(2);
    feed.apply(snapshot(&[lease(1), lease(2)]), NEVER).unwrap();
    assert!(feed.apply(delta(2, &[lease(3)]), Timestamp::from_secs(59)).is_err());
    let late = Record { until: Timestamp::from_secs(99), ..lease(3) };
    feed.apply(delta(2, from_ref(&late)), Timestamp::from_secs(60)).unwrap();
    assert_eq!(set(&feed), [late]);
}

#[test]
fn an_end_that_was_put_off_is_kept() {
    let mut denies = Denies::default();
    let put_off = Record { until: Timestamp::from_secs(90), ..record(2, DenySubject::Tenant) };
    denies.extend(vec![record(1, DenySubject::Tenant), put_off.clone()], NEVER, 9).unwrap();
    denies.extend(vec![], Timestamp::from_secs(60), 9).unwrap();
    assert_eq!(denies.records(), [put_off]);
    denies.extend(vec![], Timestamp::from_secs(90), 9).unwrap();
    assert!(denies.is_empty());
}

/// The pages in which a broker says so many records, the first of them a snapshot.
fn pages(records: &[Record]) -> Vec<Message> {
    let mut pages: Vec<_> = records
        .chunks(PAGE)
        .map(|page| delta(page.first().map_or(0, |first| first.epoch.0 - 1), page))
        .collect();
    pages[0].snapshot = true;
    let last = pages.len() - 1;
    pages[..last].iter_mut().for_each(|page| page.more = true);
    pages
}

/// How many records go into one message here.
const PAGE: usize = 512;

#[test]
fn a_snapshot_in_pages_is_in_force_only_when_it_is_complete() {
    let records: Vec<_> = (1..=PAGE as u64 * 2 + 1).map(lease).collect();
    let last = Position { history: HISTORY, epoch: Epoch(records.len() as u64) };
    let mut feed = Feed::new(2000);
    let results: Vec<_> =
        pages(&records).into_iter().map(|page| (feed.apply(page, NEVER), feed.position())).collect();
    assert_eq!(
        results,
        [(Ok(Applied::Part), None), (Ok(Applied::Part), None), (Ok(Applied::Whole), Some(last))]
    );
    assert_eq!(set(&feed).len(), records.len());

    // Once more, of the same history: what is held stays until the last page.
    for page in pages(&records) {
        feed.apply(page, NEVER).unwrap();
        assert_eq!((set(&feed).len(), feed.position()), (records.len(), Some(last)));
    }
}

#[test]
fn a_snapshot_whose_pages_do_not_follow_is_dropped() {
    let records: Vec<_> = (1..=PAGE as u64 * 3).map(lease).collect();
    let [first, second, third] = <[_; 3]>::try_from(pages(&records)).unwrap();
    let mut feed = Feed::new(2000);
    feed.apply(first.clone(), NEVER).unwrap();
    let (after, held) = (Epoch(1024), Epoch(512));
    assert_eq!(feed.apply(third, NEVER), Err(Resync::Gap { after, held }));
    assert_eq!(feed.apply(second.clone(), NEVER), Err(Resync::History), "its beginning is gone");
    feed.apply(first, NEVER).unwrap();
    feed.begin();
    assert_eq!(feed.apply(second, NEVER), Err(Resync::History), "nor does it go on in another session");
}

#[test]
fn news_with_more_to_come_is_enforced_at_once_and_says_nothing_of_freshness() {
    let records: Vec<_> = (1..=PAGE as u64).map(lease).collect();
    let mut feed = fed([snapshot(&[])], NEVER);
    let part = Message { more: true, ..delta(0, &records) };
    assert_eq!(feed.apply(part, NEVER), Ok(Applied::Part));
    assert_eq!(set(&feed).len(), PAGE);
    assert_eq!(feed.apply(delta(PAGE as u64, &[]), NEVER), Ok(Applied::Whole));
}

#[test]
fn resuming_behind_what_was_forgotten_skips_numbers_and_misses_nothing() {
    let mut feed = fed([snapshot(&[lease(1), lease(2)])], NEVER);
    // Epochs 3 to 6 had ended by themselves; 10 to 12 concern others.
    let resumed = Message { epoch: Epoch(12), ..delta(2, &[lease(7), lease(9)]) };
    assert_eq!(feed.apply(resumed, NEVER), Ok(Applied::Whole));
    assert_eq!(feed.position(), Some(Position { history: HISTORY, epoch: Epoch(12) }));
    assert_eq!(set(&feed).len(), 4);
    let doubled = Message { epoch: Epoch(12), ..delta(2, &[lease(7)]) };
    assert_eq!(feed.apply(doubled, NEVER), Ok(Applied::Repeat));
    assert_eq!(
        feed.apply(delta(9, &[lease(10)]), NEVER),
        Ok(Applied::Repeat),
        "late, and known by its number"
    );
    assert_eq!(feed.apply(delta(12, &[lease(13)]), NEVER), Ok(Applied::Whole));
}
