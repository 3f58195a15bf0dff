//! What brokers agree on: one set of keys after the other, one holder of a duty at a time.

use std::time::Duration;
use taskpass_lease::{
    DenyKeys, Duty, Effects, Event, Limits, Outcome, ShareKeys, SharedKeys, TakeTurn, Turn, View, step,
};
use taskpass_types::{DenySubject, Epoch, KeyGeneration, Reason, Refusal, TenantId, Timestamp};

const NOW: Timestamp = Timestamp::from_secs(1_000);

fn run(view: View, event: &Event, now: Timestamp) -> Result<Effects, Refusal> {
    step(view, event, &Limits::default(), now)
}

#[test]
fn keys_replace_exactly_what_they_were_made_from() {
    let share = |over| Event::ShareKeys(Box::new(ShareKeys { over, sealed: vec![7] }));
    let first = run(View::default(), &share(0), NOW).unwrap().keys.unwrap();
    assert_eq!(first, SharedKeys { number: 1, sealed: vec![7] });
    let shared = || View { keys: Some(first.clone()), ..View::default() };
    assert_eq!(run(shared(), &share(0), NOW).unwrap_err().reason(), Reason::Superseded);
    assert_eq!(run(shared(), &share(2), NOW).unwrap_err().reason(), Reason::Superseded);
    assert_eq!(run(shared(), &share(1), NOW).unwrap().keys.unwrap().number, 2);
}

#[test]
fn a_duty_has_one_holder_and_changes_when_it_is_silent() {
    let take = |broker: &str, now: Timestamp| {
        let until = now.plus(Duration::from_secs(3));
        Event::TakeTurn(TakeTurn { duty: Duty::Drift, broker: broker.to_owned(), until })
    };
    let held = |turn: &Option<Turn>| View { turn: turn.clone(), ..View::default() };
    let mut turn = None;
    let mut ask = |broker: &str, secs: u64| {
        let now = NOW.plus(Duration::from_secs(secs));
        let effects = run(held(&turn), &take(broker, now), now).unwrap();
        if let Some((duty, new)) = effects.turn {
            assert_eq!(duty, Duty::Drift);
            turn = Some(new);
        }
        let Outcome::Turn(turn) = effects.outcome else { panic!("it says nothing") };
        (turn.broker, turn.number)
    };
    assert_eq!(ask("a", 0), ("a".to_owned(), 1));
    assert_eq!(ask("b", 1), ("a".to_owned(), 1));
    assert_eq!(ask("a", 2), ("a".to_owned(), 1), "kept");
    assert_eq!(ask("b", 4), ("a".to_owned(), 1));
    assert_eq!(ask("b", 5), ("b".to_owned(), 2), "silent for three seconds");
    assert_eq!(ask("a", 5), ("b".to_owned(), 2));
}

#[test]
fn what_old_keys_signed_is_denied_for_as_long_as_it_could_live() {
    let deny = DenyKeys {
        tenant: TenantId::default(),
        generation: KeyGeneration(3),
        by: "broker/recovery".to_owned(),
    };
    let view = View { epoch: Epoch(8), ..View::default() };
    let deny = run(view, &Event::DenyKeys(deny), NOW).unwrap().deny.unwrap();
    assert_eq!((deny.epoch, deny.subject), (Epoch(9), DenySubject::KeyGeneration(KeyGeneration(3))));
    assert!(deny.until > NOW.plus(Limits::default().x509_max));
}
