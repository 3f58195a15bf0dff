//! What was planned after an agent, an owner, a resource or the tenant was ended is not under that end; under any other it is.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use common::grant;
use taskpass_types::{DenySubject, Epoch, Grant, Timestamp};
use taskpass_verify::denies::{Denies, Record};

#[test]
fn only_what_was_planned_before_is_under_a_wide_end() {
    let whom = grant();
    let wide = [
        DenySubject::Agent(whom.agents.first().unwrap().clone()),
        DenySubject::Owner(whom.owner.clone()),
        DenySubject::Resource(whom.resource.clone()),
        DenySubject::Tenant,
    ];
    let narrow = [
        DenySubject::KeyGeneration(whom.key_generation),
        DenySubject::Lease(whom.lease),
        DenySubject::PolicyRevision(whom.policy_revision.clone()),
        DenySubject::Task(whom.task_path.task().unwrap()),
    ];
    let both = wide.into_iter().map(|subject| (subject, true)).chain(narrow.map(|subject| (subject, false)));
    for (subject, is_wide) in both {
        let (now, until) = (Timestamp::from_secs(1), Timestamp::from_secs(99));
        let record = Record { epoch: Epoch(5), subject: subject.clone(), reason: None, until };
        let mut denies = Denies::default();
        denies.extend(vec![record], now, 9).unwrap();
        for (planned_at, refused) in [(0, true), (4, true), (5, !is_wide), (6, !is_wide)] {
            let grant = Grant { deny_epoch: Epoch(planned_at), ..whom.clone() };
            assert_eq!(denies.find(&grant).is_some(), refused, "{subject:?}, planned at {planned_at}");
        }
    }
}
