//! What may happen. The numbers choose among what exists by then.

use proptest::prelude::*;

/// One event and how far the clock jumps before it, in milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) jump: i64,
    pub(crate) act: Act,
}

/// One event.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Ask(Ask),
    /// How long it holds, in seconds; 0: for good.
    Bar {
        nth: usize,
        end: bool,
        hold: Option<u64>,
    },
    Call(Call),
    /// How far from now, in milliseconds.
    Cut {
        lease: usize,
        away: i64,
    },
    EndLease {
        lease: usize,
        hold: bool,
    },
    EndTask {
        task: usize,
    },
    ForgetDeny {
        epoch: u64,
    },
    Heartbeat {
        task: usize,
    },
    Hold {
        task: usize,
        lease: Option<usize>,
    },
    Lift {
        nth: usize,
    },
    Plan(Plan),
    ReleaseHold {
        task: usize,
    },
    Renew(Renew),
    SetPolicy {
        revision: u8,
    },
    Settle {
        task: usize,
        slice: u32,
    },
    Start(Start),
    TickApproval {
        approval: usize,
    },
    TickLease {
        lease: usize,
    },
    TickTask {
        task: usize,
    },
    Vote {
        approval: usize,
        person: usize,
        deny: bool,
    },
}

/// Whose spelling of a name is whose, and who may vote, is for the model to know.
pub(crate) const PEOPLE: [&str; 7] =
    ["ann", "ben", "cy", "ANN", "maya@acme.test", "Maya@acme.test", "nobody"];

/// Which groups, with how many of whom. `maya@acme.test` owns every agent.
pub(crate) const QUORUMS: [&[(&str, u8, &[&str])]; 4] = [
    &[("finance", 1, &["ann", "ben"])],
    &[("finance", 2, &["ann", "ben", "ANN", "maya@acme.test"])],
    &[("finance", 1, &["ann", "maya@acme.test"]), ("security", 1, &["cy", "ann"])],
    &[("finance", 2, &["ann", "ANN", "maya@acme.test", "Maya@acme.test"])],
];

#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) task: usize,
    pub(crate) usual: bool,
    pub(crate) digest: u8,
    pub(crate) quorums: usize,
    pub(crate) revision: u8,
}

/// What a request says about approval.
#[derive(Clone, Debug)]
pub(crate) struct Needs {
    /// Which approval it names.
    pub(crate) id: Option<usize>,
    pub(crate) digest: u8,
    pub(crate) quorums: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) task: usize,
    pub(crate) lease: Option<usize>,
    pub(crate) usual: bool,
    pub(crate) write: bool,
    pub(crate) revision: u8,
    pub(crate) in_a_minute: Option<u32>,
    pub(crate) uses: Option<u32>,
    pub(crate) needs: Option<Needs>,
}

/// What policy ties a credential to.
#[derive(Clone, Debug)]
pub(crate) struct Ties {
    pub(crate) max_ttl: Option<u64>,
    pub(crate) credentials: Option<u32>,
    pub(crate) uses: Option<u32>,
    pub(crate) recheck: Option<u64>,
    pub(crate) bound: bool,
    pub(crate) immediate: bool,
    pub(crate) needs: Option<Needs>,
}

#[derive(Clone, Debug)]
pub(crate) struct Asker {
    /// Whether the asker is the usual agent.
    pub(crate) usual: bool,
    /// Which request id; few, so that they meet again.
    pub(crate) request: u8,
    /// Which content.
    pub(crate) digest: u8,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) task: usize,
    pub(crate) asker: Asker,
    pub(crate) ttl: u64,
    pub(crate) ties: Ties,
    /// How long the evidence is good for, in milliseconds.
    pub(crate) evidence: u64,
    pub(crate) revision: u8,
    pub(crate) x509: bool,
    pub(crate) write: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Renew {
    pub(crate) lease: usize,
    pub(crate) asker: Asker,
    pub(crate) ttl: u64,
    pub(crate) ties: Ties,
    pub(crate) evidence: u64,
    pub(crate) revision: u8,
}

#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) parent: Option<usize>,
    pub(crate) asker: Asker,
    pub(crate) ttl: u64,
    pub(crate) max_ttl: Option<u64>,
    pub(crate) heartbeat: Option<u64>,
    pub(crate) write: bool,
    pub(crate) revision: Option<u8>,
    pub(crate) needs: Option<Needs>,
}

/// A task to begin with, and what happens then.
pub(crate) fn any_history(steps: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    let first = Start {
        parent: None,
        asker: Asker { usual: true, request: 0, digest: 0 },
        ttl: 15_000,
        max_ttl: None,
        heartbeat: None,
        write: true,
        revision: None,
        needs: None,
    };
    prop::collection::vec(any_step(), steps).prop_map(move |mut steps| {
        steps.insert(0, Step { jump: 0, act: Act::Start(first.clone()) });
        steps
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let jump = prop_oneof![
        40 => 0..3_000_i64,
        8 => -5_000..400_000_i64,
        1 => -90_000_000..90_000_000_i64,
    ];
    (jump, any_act()).prop_map(|(jump, act)| Step { jump, act })
}

fn any_act() -> impl Strategy<Value = Act> {
    let nth = any_nth;
    prop_oneof![
        4 => any_ask().prop_map(Act::Ask),
        1 => (0..5_usize, any::<bool>(), prop::option::weighted(0.4, 0..9_u64))
            .prop_map(|(nth, end, hold)| Act::Bar { nth, end, hold }),
        2 => (0..5_usize).prop_map(|nth| Act::Lift { nth }),
        8 => any_call().prop_map(Act::Call),
        2 => (nth(), -20_000..100_000_i64).prop_map(|(lease, away)| Act::Cut { lease, away }),
        2 => (nth(), any::<bool>()).prop_map(|(lease, hold)| Act::EndLease { lease, hold }),
        1 => nth().prop_map(|task| Act::EndTask { task }),
        1 => (1..6_u64).prop_map(|epoch| Act::ForgetDeny { epoch }),
        2 => nth().prop_map(|task| Act::Heartbeat { task }),
        1 => (nth(), prop::option::of(nth())).prop_map(|(task, lease)| Act::Hold { task, lease }),
        9 => any_plan().prop_map(Act::Plan),
        2 => nth().prop_map(|task| Act::ReleaseHold { task }),
        6 => any_renew().prop_map(Act::Renew),
        1 => any_revision().prop_map(|revision| Act::SetPolicy { revision }),
        3 => (nth(), 1..3_u32).prop_map(|(task, slice)| Act::Settle { task, slice }),
        4 => any_start().prop_map(Act::Start),
        1 => nth().prop_map(|approval| Act::TickApproval { approval }),
        4 => nth().prop_map(|lease| Act::TickLease { lease }),
        4 => nth().prop_map(|task| Act::TickTask { task }),
        8 => (0..4_usize, 0..PEOPLE.len(), prop::bool::weighted(0.1))
            .prop_map(|(approval, person, deny)| Act::Vote { approval, person, deny }),
    ]
}

/// Mostly one of the newest.
fn any_nth() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..2_usize, 1 => 0..10_usize]
}

fn any_asker() -> impl Strategy<Value = Asker> {
    let digest = prop_oneof![9 => Just(0), 1 => Just(1)];
    (prop::bool::weighted(0.9), 0..40_u8, digest).prop_map(|(usual, request, digest)| Asker {
        usual,
        request,
        digest,
    })
}

fn any_ttl() -> impl Strategy<Value = u64> {
    prop_oneof![1..5_u64, 1..900_u64, 1..30_000_u64]
}

fn any_evidence() -> impl Strategy<Value = u64> {
    prop_oneof![1 => 0..5_000_u64, 1 => 0..900_000_u64, 3 => Just(1 << 40)]
}

fn any_revision() -> impl Strategy<Value = u8> {
    prop_oneof![9 => Just(0), 1 => Just(1)]
}

fn any_ask() -> impl Strategy<Value = Ask> {
    (any_nth(), prop::bool::weighted(0.9), 0..2_u8, 0..QUORUMS.len(), any_revision())
        .prop_map(|(task, usual, digest, quorums, revision)| Ask { task, usual, digest, quorums, revision })
}

fn any_needs(weight: f64) -> impl Strategy<Value = Option<Needs>> {
    let quorums = prop_oneof![3 => Just(0), 1 => 0..QUORUMS.len()];
    let needs = (prop::option::weighted(0.3, 0..4_usize), 0..2_u8, quorums);
    prop::option::weighted(weight, needs.prop_map(|(id, digest, quorums)| Needs { id, digest, quorums }))
}

fn any_call() -> impl Strategy<Value = Call> {
    (
        (any_nth(), prop::option::of(any_nth()), prop::bool::weighted(0.9), prop::bool::weighted(0.3)),
        (any_revision(), prop::option::of(0..4_u32), prop::option::weighted(0.3, 0..3_u32), any_needs(0.2)),
    )
        .prop_map(|((task, lease, usual, write), (revision, in_a_minute, uses, needs))| Call {
            task,
            lease,
            usual,
            write,
            revision,
            in_a_minute,
            uses,
            needs,
        })
}

fn any_ties() -> impl Strategy<Value = Ties> {
    (
        (prop::option::of(any_ttl()), prop::option::weighted(0.3, 0..6_u32)),
        (prop::option::weighted(0.3, 0..3_u32), prop::option::weighted(0.3, any_ttl())),
        (prop::bool::weighted(0.1), prop::bool::weighted(0.1), any_needs(0.3)),
    )
        .prop_map(|((max_ttl, credentials), (uses, recheck), (bound, immediate, needs))| Ties {
            max_ttl,
            credentials,
            uses,
            recheck,
            bound,
            immediate,
            needs,
        })
}

fn any_plan() -> impl Strategy<Value = Plan> {
    (
        (any_nth(), any_asker(), any_ttl(), any_ties()),
        (any_evidence(), any_revision(), any::<bool>(), prop::bool::weighted(0.3)),
    )
        .prop_map(|((task, asker, ttl, ties), (evidence, revision, x509, write))| Plan {
            task,
            asker,
            ttl,
            ties,
            evidence,
            revision,
            x509,
            write,
        })
}

fn any_renew() -> impl Strategy<Value = Renew> {
    ((any_nth(), any_asker(), any_ttl(), any_ties()), (any_evidence(), any_revision())).prop_map(
        |((lease, asker, ttl, ties), (evidence, revision))| Renew {
            lease,
            asker,
            ttl,
            ties,
            evidence,
            revision,
        },
    )
}

fn any_start() -> impl Strategy<Value = Start> {
    (
        (prop::option::weighted(0.6, any_nth()), any_asker(), prop_oneof![any_ttl(), 5_000..20_000_u64]),
        (prop::option::weighted(0.2, any_ttl()), prop::option::weighted(0.3, any_ttl()), any::<bool>()),
        (prop::option::of(any_revision()), any_needs(0.3)),
    )
        .prop_map(|((parent, asker, ttl), (max_ttl, heartbeat, write), (revision, needs))| Start {
            parent,
            asker,
            ttl,
            max_ttl,
            heartbeat,
            write,
            revision,
            needs,
        })
}
