//! The protocol of many brokers on one Redis, checked in all reachable states.
//!
//! Tests against real servers try some orders of events; what loses an acknowledged end is an order that nobody tried.
//! Here the protocol is small enough to try them all: a primary with replicas that lag, failovers to any of them, old
//! primaries that some brokers still reach, wiped and restored ledgers, brokers that crash between any two steps and
//! commits that arrive after everybody has forgotten them.
//!
//! This file has the designs that the code may follow, `limits` what each of them does not promise, and `refuted` what
//! happens without each rule: that the checker finds the fault of those is the test of the model itself.
//!
//! What is assumed: a journal is durable and is kept as long as a credential or a task of it could live; names of
//! histories and generations never come again; a verifier that heard a deny record keeps it until the credential has
//! expired; the configuration says how many replicas there are and, for a guarded ledger, which brokers.

#![expect(clippy::indexing_slicing, reason = "tests may panic")]
#![expect(clippy::print_stdout, reason = "how many states there are, and the way to a fault, are the result")]

mod broker;
mod check;
mod design;
mod ledger;
mod limits;
mod model;
mod refuted;
mod world;

use check::Case;
use design::{Budget, Design, Scenario};

/// Nothing that was acknowledged is lost by a failover, even while some brokers still talk to the old primary.
#[test]
fn durable_survives_a_failover_with_a_partition() {
    let budget = Budget { failovers: 1, ..Budget::END };
    let scenario = Scenario::new(1, budget).partitioned();
    Case { name: "durable, failover, partition", design: Design::DURABLE, scenario }.holds(200_000);
    let scenario = Scenario::new(1, Budget { failovers: 1, ..Budget::POLICY }).partitioned();
    Case { name: "durable, policy, partition", design: Design::DURABLE, scenario }.holds(100_000);
}

#[test]
fn durable_survives_two_failovers() {
    let scenario = Scenario::new(1, Budget { failovers: 2, ..Budget::END });
    Case { name: "durable, two failovers", design: Design::DURABLE, scenario }.holds(300_000);
}

#[test]
fn durable_survives_the_promotion_of_either_replica() {
    let scenario = Scenario::new(2, Budget { failovers: 1, ..Budget::END });
    Case { name: "durable, two replicas", design: Design::DURABLE, scenario }.holds(300_000);
}

#[test]
fn durable_survives_a_failover_during_a_renewal() {
    let scenario = Scenario::new(1, Budget { failovers: 1, renewals: 1, ..Budget::END });
    Case { name: "durable, renewal", design: Design::DURABLE, scenario }.holds(300_000);
}

/// The end that a broker noted while it had no ledger is in the ledger before that broker serves.
#[test]
fn durable_survives_a_crash_of_a_broker() {
    let scenario = Scenario::new(1, Budget { failovers: 1, crashes: 1, ..Budget::END });
    Case { name: "durable, crash", design: Design::DURABLE, scenario }.holds(100_000);
}

/// A retry finds the lease that there is, by whichever broker and after whatever outcome.
#[test]
fn durable_gives_one_request_one_lease() {
    let scenario = Scenario::new(1, Budget { failovers: 1, ..Budget::RETRIES });
    Case { name: "durable, retries", design: Design::DURABLE, scenario }.holds(40_000);
    let scenario = Scenario::new(1, Budget { failovers: 1, issues: 2, ..Budget::RETRIES }).partitioned();
    Case { name: "durable, retries, partition", design: Design::DURABLE, scenario }.holds(50_000);
}

/// The intent of a lease need not be waited for, if the last look is: replicas have both or the credential stays here.
#[test]
fn durable_may_wait_once() {
    let design = Design { intent: design::Wait::Not, ..Design::DURABLE };
    let scenario = Scenario::new(1, Budget { failovers: 1, ..Budget::RETRIES });
    Case { name: "durable, one wait, retries", design, scenario }.holds(40_000);
    let scenario = Scenario::new(1, Budget { failovers: 1, ..Budget::END });
    Case { name: "durable, one wait", design, scenario }.holds(40_000);
}

/// The last look may be a read, if a commit that is sent after it is confirmed before the credential goes out.
#[test]
fn durable_may_prove_many_looks_with_one_commit() {
    let design = Design { look: design::Look::ReadAndProve, ..Design::DURABLE };
    let scenario = Scenario::new(1, Budget { failovers: 1, ..Budget::END }).partitioned();
    Case { name: "durable, proved read, partition", design, scenario }.holds(200_000);
    let scenario = Scenario::new(1, Budget { failovers: 1, ..Budget::RETRIES });
    Case { name: "durable, proved read, retries", design, scenario }.holds(40_000);
}

/// No replica helps against a wipe or a restore: the journals of the whole fleet have to be in the ledger first.
#[test]
fn guarded_survives_a_wipe() {
    let scenario = Scenario::new(1, Budget { wipes: 1, crashes: 1, ..Budget::END });
    Case { name: "guarded, wipe, crash", design: Design::GUARDED, scenario }.holds(200_000);
}

#[test]
fn guarded_survives_a_restore() {
    let scenario = Scenario::new(1, Budget { restores: 1, ..Budget::END });
    Case { name: "guarded, restore", design: Design::GUARDED, scenario }.holds(80_000);
    let scenario = Scenario::new(1, Budget { restores: 1, ..Budget::POLICY });
    Case { name: "guarded, restore, policy", design: Design::GUARDED, scenario }.holds(40_000);
}

/// Ends and policies are waited for, so a failover does not lose them; leases are not.
#[test]
fn standard_survives_two_failovers() {
    let scenario = Scenario::new(1, Budget { failovers: 2, ..Budget::END });
    Case { name: "standard, two failovers", design: Design::STANDARD, scenario }.holds(300_000);
    let scenario = Scenario::new(1, Budget { failovers: 1, ..Budget::POLICY });
    Case { name: "standard, policy", design: Design::STANDARD, scenario }.holds(20_000);
}

/// Without replicas a restart may lose what was acknowledged last; without waiting a failover does.
#[test]
fn alone_survives_what_its_journals_remember() {
    let scenario = Scenario::new(0, Budget { restores: 1, crashes: 1, ..Budget::END });
    Case { name: "alone, restart, crash", design: Design::ALONE, scenario }.holds(40_000);
    let scenario = Scenario::new(0, Budget { restores: 1, ..Budget::POLICY });
    Case { name: "alone, restart, policy", design: Design::ALONE, scenario }.holds(1_000);
    let scenario = Scenario::new(1, Budget { failovers: 1, ..Budget::END });
    Case { name: "alone, failover", design: Design::ALONE, scenario }.holds(40_000);
}
