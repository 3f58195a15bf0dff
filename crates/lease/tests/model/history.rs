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
    EndLease { lease: usize, hold: bool },
    EndTask { task: usize },
    ForgetDeny { epoch: u64 },
    Heartbeat { task: usize },
    Plan(Plan),
    ReleaseHold { task: usize },
    Renew(Renew),
    SetPolicy { revision: u8 },
    Settle { task: usize, slice: u32 },
    Start(Start),
    TickLease { lease: usize },
    TickTask { task: usize },
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
    pub(crate) policy_max: Option<u64>,
    /// How long the evidence is good for, in milliseconds.
    pub(crate) evidence: u64,
    pub(crate) revision: u8,
    pub x509: bool,
    pub(crate) write: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Renew {
    pub(crate) lease: usize,
    pub(crate) asker: Asker,
    pub(crate) ttl: u64,
    pub(crate) policy_max: Option<u64>,
    pub(crate) evidence: u64,
    pub(crate) revision: u8,
}

#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) parent: Option<usize>,
    pub(crate) asker: Asker,
    pub(crate) ttl: u64,
    pub(crate) heartbeat: Option<u64>,
    pub(crate) write: bool,
}

pub(crate) fn any_step() -> impl Strategy<Value = Step> {
    let jump = prop_oneof![
        8 => 0..3_000_i64,
        2 => -5_000..400_000_i64,
        1 => -90_000_000..90_000_000_i64,
    ];
    (jump, any_act()).prop_map(|(jump, act)| Step { jump, act })
}

fn any_act() -> impl Strategy<Value = Act> {
    let nth = 0..10_usize;
    prop_oneof![
        2 => (nth.clone(), any::<bool>()).prop_map(|(lease, hold)| Act::EndLease { lease, hold }),
        2 => nth.clone().prop_map(|task| Act::EndTask { task }),
        1 => (1..6_u64).prop_map(|epoch| Act::ForgetDeny { epoch }),
        2 => nth.clone().prop_map(|task| Act::Heartbeat { task }),
        9 => any_plan().prop_map(Act::Plan),
        1 => nth.clone().prop_map(|task| Act::ReleaseHold { task }),
        6 => any_renew().prop_map(Act::Renew),
        1 => any_revision().prop_map(|revision| Act::SetPolicy { revision }),
        3 => (nth.clone(), 1..3_u32).prop_map(|(task, slice)| Act::Settle { task, slice }),
        6 => any_start().prop_map(Act::Start),
        4 => nth.clone().prop_map(|lease| Act::TickLease { lease }),
        4 => nth.prop_map(|task| Act::TickTask { task }),
    ]
}

fn any_asker() -> impl Strategy<Value = Asker> {
    let digest = prop_oneof![9 => Just(0), 1 => Just(1)];
    (prop::bool::weighted(0.9), 0..16_u8, digest).prop_map(|(usual, request, digest)| Asker {
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

fn any_plan() -> impl Strategy<Value = Plan> {
    (
        (0..10_usize, any_asker(), any_ttl(), prop::option::of(any_ttl())),
        (any_evidence(), any_revision(), any::<bool>(), prop::bool::weighted(0.3)),
    )
        .prop_map(|((task, asker, ttl, policy_max), (evidence, revision, x509, write))| Plan {
            task,
            asker,
            ttl,
            policy_max,
            evidence,
            revision,
            x509,
            write,
        })
}

fn any_renew() -> impl Strategy<Value = Renew> {
    ((0..10_usize, any_asker(), any_ttl(), prop::option::of(any_ttl())), (any_evidence(), any_revision()))
        .prop_map(|((lease, asker, ttl, policy_max), (evidence, revision))| Renew {
            lease,
            asker,
            ttl,
            policy_max,
            evidence,
            revision,
        })
}

fn any_start() -> impl Strategy<Value = Start> {
    (
        prop::option::weighted(0.6, 0..10_usize),
        any_asker(),
        any_ttl(),
        prop::option::weighted(0.3, any_ttl()),
        any::<bool>(),
    )
        .prop_map(|(parent, asker, ttl, heartbeat, write)| Start {
            parent,
            asker,
            ttl,
            heartbeat,
            write,
        })
}
