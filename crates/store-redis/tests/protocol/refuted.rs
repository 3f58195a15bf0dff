//! What each rule is for: the design without it, and what then goes wrong.

use crate::{
    check::Case,
    design::{
        Budget, Design, Generations, Histories, JournalOnly, Look, Recovery, Scenario,
        Wait::{self, All, Attached, Not, One, OtherConnection},
    },
    model::{FORGET, ISSUE, ONCE, OWN, POLICY, RELEASE},
};

const FAILOVER: Budget = Budget { failovers: 1, ..Budget::END };
const CRASH: Budget = Budget { crashes: 1, ..Budget::END };
const WIPE: Budget = Budget { wipes: 1, ..Budget::END };
const RESTORE: Budget = Budget { restores: 1, ..Budget::END };

fn refute(name: &str, design: Design, scenario: Scenario, property: &'static str) {
    Case { name, design, scenario }.refutes(property);
}

#[test]
fn without_stamps_a_lease_is_written_under_an_end() {
    let design = Design { stamps: false, ..Design::DURABLE };
    refute("no stamps", design, Scenario::new(1, Budget::END), ISSUE);
}

#[test]
fn without_the_ancestors_the_end_of_the_parent_is_missed() {
    let design = Design { ancestors: false, ..Design::DURABLE };
    refute("only the task itself, issue", design, Scenario::new(1, Budget::END), ISSUE);
    refute("only the task itself, release", design, Scenario::new(1, Budget::END), RELEASE);
}

#[test]
fn without_the_policy_in_the_last_look_an_old_decision_is_released() {
    let design = Design { policy: false, ..Design::DURABLE };
    refute("policy not checked", design, Scenario::new(1, Budget::POLICY), POLICY);
}

#[test]
fn without_a_last_look_a_credential_is_released_under_an_end() {
    let design = Design { look: Look::Skipped, ..Design::DURABLE };
    refute("no last look", design, Scenario::new(1, Budget::END), RELEASE);
}

/// An old primary answers a read as if nothing had happened, and a retry that only reads has nothing to wait for.
#[test]
fn a_last_look_that_only_reads_sees_the_past() {
    let design = Design { look: Look::Read, ..Design::DURABLE };
    refute("look is a read, partition", design, Scenario::new(1, FAILOVER).partitioned(), RELEASE);
    let retries = Budget { failovers: 1, ..Budget::RETRIES };
    refute("look is a read, retries", design, Scenario::new(1, retries), ONCE);
}

/// Every way to wait that is not "for all, on the connection that wrote".
#[test]
fn an_end_that_was_not_waited_for_is_lost() {
    let waiting = |change: Wait| Design { change, ..Design::DURABLE };
    refute("no wait", waiting(Not), Scenario::new(1, FAILOVER), ISSUE);
    refute("wait on another connection", waiting(OtherConnection), Scenario::new(1, FAILOVER), ISSUE);
    refute("wait for one of two", waiting(One), Scenario::new(2, FAILOVER), ISSUE);
    refute("wait for who is attached", waiting(Attached), Scenario::new(1, FAILOVER).partitioned(), FORGET);
}

#[test]
fn a_lease_that_was_not_waited_for_comes_twice() {
    let design = Design { release: Not, intent: Not, ..Design::DURABLE };
    let retries = Budget { failovers: 1, issues: 2, ..Budget::RETRIES };
    refute("no wait for leases", design, Scenario::new(1, retries), ONCE);
    let design = Design { intent: All, ..design };
    let retries = Budget { failovers: 1, ..Budget::RETRIES };
    refute("wait for the intent only", design, Scenario::new(1, retries), ONCE);
}

/// Who ends what somebody else has just ended must not take that for durable.
#[test]
fn an_end_that_was_there_already_is_lost() {
    let design = Design { rewrite: false, ..Design::DURABLE };
    let ends = Budget { failovers: 1, ..Budget::ENDS };
    refute("no second write", design, Scenario { brokers: 3, ..Scenario::new(1, ends) }, FORGET);
}

#[test]
fn an_acknowledgement_before_the_commit_is_a_lie() {
    let design = Design { ack_first: true, ..Design::DURABLE };
    refute("acknowledged first", design, Scenario::new(1, Budget::END), ISSUE);
    let design = Design { ack_first: true, journal: false, ..Design::DURABLE };
    refute("acknowledged first, no journal", design, Scenario::new(1, CRASH), FORGET);
}

/// While one broker cannot reach the ledger, the others can: they issue under the end that they do not know.
#[test]
fn a_journal_alone_does_not_end_anything_for_the_fleet() {
    let design = Design { journal_only: JournalOnly::Done, ..Design::GUARDED };
    refute("journal alone is an acknowledgement", design, Scenario::new(1, CRASH), ISSUE);
}

#[test]
fn a_journal_that_is_not_replayed_is_no_journal() {
    let design = Design { recovery: Recovery::Nobodys, ..Design::DURABLE };
    refute("no replay", design, Scenario::new(1, CRASH), FORGET);
    let design = Design { journal: false, ..Design::GUARDED };
    refute("no journal", design, Scenario::new(1, RESTORE), ISSUE);
}

/// Between the note and the replay, only the journal knows.
#[test]
fn a_broker_that_does_not_read_its_own_journal_releases_under_it() {
    let design = Design { overlay: false, ..Design::GUARDED };
    refute("no overlay", design, Scenario::new(1, WIPE), OWN);
}

#[test]
fn one_journal_is_not_enough_where_nobody_waits() {
    let design = Design { recovery: Recovery::Own, ..Design::ALONE };
    refute("alone, own journal", design, Scenario::new(1, FAILOVER), ISSUE);
    refute("alone, own journal, restart", design, Scenario::new(0, RESTORE), ISSUE);
}

#[test]
fn without_the_fence_a_wiped_ledger_is_served() {
    let design = Design { fence: false, ..Design::GUARDED };
    refute("no generation fence", design, Scenario::new(1, WIPE), FORGET);
    let design = Design { generations: Generations::Counted, ..Design::GUARDED };
    refute("generations are counted", design, Scenario::new(1, WIPE), FORGET);
}

/// The fence alone does not tell a new history before somebody has made its generation.
#[test]
fn a_connection_that_comes_back_unseen_serves_the_wrong_history() {
    let design = Design { bound: false, ..Design::ALONE };
    refute("connects again, failover", design, Scenario::new(1, FAILOVER), RELEASE);
    let design = Design { bound: false, ..Design::GUARDED };
    refute("connects again, restore", design, Scenario::new(1, RESTORE), ISSUE);
    let design = Design { histories: Histories::Starts, ..Design::ALONE };
    let twice = Budget { failovers: 2, ..Budget::END };
    refute("history told by the start of a server", design, Scenario::new(1, twice), RELEASE);
}
