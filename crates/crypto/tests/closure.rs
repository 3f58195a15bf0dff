//! Receipts: what is signed comes back, nothing else does, and neither a token passes for a receipt nor the other way round.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

mod common;

use common::{ISSUER, T0, grant, keys};
use std::time::Duration;
use taskpass_crypto::{
    Expect, KeyRing, Leeway, TokenError, TokenKeys,
    jws::{
        ClosedLease, ClosedOutcome, ClosedTask, ClosedVerifier, ClosureError, ClosureReceipt,
        read_back_closure,
    },
};
use taskpass_types::{
    CredentialKind, EndReason, Epoch, Initiator, LeaseId, Revocability, TaskId, TaskKind, TaskPath, TenantId,
    Timestamp,
};

fn lease(outcome: ClosedOutcome) -> ClosedLease {
    let grant = grant();
    ClosedLease {
        id: LeaseId::new(),
        task: TaskId::new(),
        agent: grant.agents[0].clone(),
        resource: grant.resource,
        kind: CredentialKind::Jwt,
        revocability: Revocability::Bounded,
        renewals: 2,
        expires_at: T0.plus(Duration::from_millis(300_123)),
        outcome,
        until: (!outcome.is_dead()).then(|| T0.plus(Duration::from_secs(5))),
    }
}

fn receipt() -> ClosureReceipt {
    let grant = grant();
    let task = ClosedTask {
        path: TaskPath::root(TaskId::new()),
        agent: grant.agents[0].clone(),
        owner: grant.owner,
        kind: TaskKind::new("close-books").unwrap(),
        initiator: Initiator::new("maya@acme.test").unwrap(),
        started_at: T0,
        ended_at: T0.plus(Duration::from_millis(1)),
        reason: EndReason::Completed,
        by: "agent/ci/invoice-bot".to_owned(),
        epoch: Some(Epoch(7)),
    };
    let leases: Vec<_> = ClosedOutcome::ALL.map(lease).into();
    let verifier = |state: &str, accepts_until| ClosedVerifier {
        name: "billing-api/web-1".to_owned(),
        audience: None,
        state: state.to_owned(),
        after_millis: Some(3),
        accepts_until,
    };
    ClosureReceipt {
        leases_total: 5,
        leases,
        tasks_below: 1,
        verifiers: vec![verifier("enforces", None), verifier("offline", Some(T0))],
        audit: "7:00".to_owned(),
        ..ClosureReceipt::new(ISSUER.to_owned(), T0, TenantId::default(), task)
    }
}

fn public(ring: &KeyRing) -> TokenKeys {
    TokenKeys::parse(ring.jwks_json().as_bytes()).unwrap()
}

#[test]
fn a_receipt_comes_back_as_it_was_signed() {
    let keys = keys();
    let receipt = receipt();
    let text = keys.ring.signer().sign_closure(&receipt).unwrap();
    assert_eq!(read_back_closure(&text).unwrap(), receipt);
    // A file ends with a newline.
    let read = public(&keys.ring).verify_closure(&format!("{text}\n")).unwrap();
    assert_eq!(read, receipt);
    assert_eq!(read.count(ClosedOutcome::Retrying), 1);
    assert_eq!(read.open_until(), Some(T0.plus(Duration::from_secs(5))));
}

#[test]
fn every_flipped_letter_is_noticed() {
    let keys = keys();
    let text = keys.ring.signer().sign_closure(&receipt()).unwrap();
    let public = public(&keys.ring);
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes).unwrap();
        if forged != text {
            assert!(public.verify_closure(&forged).is_err(), "letter {at}");
        }
    }
    for cut in [0, 1, text.len() / 2, text.len() - 1] {
        assert!(public.verify_closure(&text[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn another_key_or_another_kind_of_token_is_none() {
    let (keys, others) = (keys(), common::keys_with(common::policy()));
    let text = keys.ring.signer().sign_closure(&receipt()).unwrap();
    assert!(matches!(
        public(&others.ring).verify_closure(&text),
        Err(ClosureError::Token(TokenError::KeyUnknown))
    ));
    let token = keys.ring.signer().sign(ISSUER, &grant()).unwrap();
    assert!(matches!(
        public(&keys.ring).verify_closure(&token),
        Err(ClosureError::Token(TokenError::TypMismatch))
    ));
    let expect = Expect { issuer: ISSUER, audience: None, now: T0, leeway: Leeway::ZERO };
    let short = ClosureReceipt { leases: Vec::new(), ..receipt() };
    let short = keys.ring.signer().sign_closure(&short).unwrap();
    assert!(matches!(public(&keys.ring).verify(&short, &expect), Err(TokenError::TypMismatch)));
}

#[test]
fn what_contradicts_itself_is_not_signed() {
    let keys = keys();
    let good = receipt();
    let with = |lease: ClosedLease| ClosureReceipt { leases: vec![lease], ..receipt() };
    let dead = lease(ClosedOutcome::DeadConfirmed);
    let open = lease(ClosedOutcome::ExpiresBy);
    let early = ClosedTask { ended_at: Timestamp::from_secs(1), ..good.task.clone() };
    for (what, bad) in [
        ("dead, and yet accepted until", with(ClosedLease { until: Some(T0), ..dead })),
        ("not dead, and no time", with(ClosedLease { until: None, ..open })),
        ("more than there were", ClosureReceipt { leases_total: 4, ..receipt() }),
        ("ended before it began", ClosureReceipt { task: early, ..receipt() }),
    ] {
        assert!(keys.ring.signer().sign_closure(&bad).is_err(), "{what}");
    }
}
