//! What a design does not promise, and that it keeps all the rest.

use crate::{
    check::Case,
    design::{Budget, Design, Scenario},
    model::{FORGET, ISSUE, ONCE, RELEASE},
};

/// A lease that was not waited for may be lost by a failover, and with it the memory that its request was answered.
#[test]
fn standard_may_forget_a_request() {
    let scenario = Scenario::new(1, Budget { failovers: 1, issues: 2, ..Budget::RETRIES });
    Case { name: "standard, retries", design: Design::STANDARD, scenario }.gives_up(&[ONCE], 10_000);
}

/// A broker that still talks to the old primary releases until it notices: nobody has to confirm it.
#[test]
fn standard_releases_from_an_old_primary() {
    let scenario = Scenario::new(1, Budget { failovers: 1, ..Budget::END }).partitioned();
    Case { name: "standard, partition", design: Design::STANDARD, scenario }.gives_up(&[RELEASE], 100_000);
}

/// A ledger that was set back forgets requests as well. Ends it does not forget.
#[test]
fn guarded_may_forget_a_request_in_a_restore() {
    let scenario = Scenario::new(1, Budget { restores: 1, issues: 2, ..Budget::RETRIES });
    Case { name: "guarded, restore, retries", design: Design::GUARDED, scenario }.gives_up(&[ONCE], 10_000);
}

/// Its own journal is all that a broker has. Until the others have replayed theirs, what they acknowledged is missing.
#[test]
fn durable_may_forget_in_a_wipe_or_a_restore() {
    let scenario = Scenario::new(1, Budget { wipes: 1, ..Budget::END });
    Case { name: "durable, wipe", design: Design::DURABLE, scenario }.gives_up(&[FORGET], 10_000);
    let scenario = Scenario::new(1, Budget { restores: 1, ..Budget::END });
    let limits = &[FORGET, ISSUE, RELEASE];
    Case { name: "durable, restore", design: Design::DURABLE, scenario }.gives_up(limits, 10_000);
}

/// A commit that is sent again on another connection is harmless by itself where all is waited for, as long as nobody
/// sets the ledger back (see `refuted`); but the history that it arrives in may lack what this broker noted.
#[test]
fn durable_may_miss_its_own_note_when_it_connects_again_unseen() {
    let design = Design { bound: false, ..Design::DURABLE };
    let scenario = Scenario::new(1, Budget { failovers: 1, ..Budget::END }).partitioned();
    Case { name: "durable, connects again", design, scenario }.gives_up(&[FORGET], 200_000);
}
