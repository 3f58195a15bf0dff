//! What the brokers of a fleet agree on through their store: the keys that they sign with, whose turn a duty is, and that
//! what older keys signed counts no more.
//!
//! Invariants: a set of keys replaces exactly the one that it was made from, so two brokers cannot both make the next; a
//! duty has one holder at a time by the clocks of the brokers, and each change of holder has a greater number.

use crate::{Effects, Limits, Outcome, View, step, wide};
use serde::{Deserialize, Serialize};
use std::fmt;
use taskpass_types::{
    DenyRecord, DenySubject, EndReason, KeyGeneration, Reason, Refusal, TenantId, Timestamp,
};

/// Share the signing keys with the fleet.
#[derive(Clone, Debug)]
pub struct ShareKeys {
    /// The number of the set that this one was made from; 0 when there was none.
    pub over: u64,
    /// All generations, sealed: the store never sees a key.
    pub sealed: Vec<u8>,
}

/// The signing keys of a fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedKeys {
    /// Counts the sets that were ever shared.
    pub number: u64,
    /// All generations, sealed.
    pub sealed: Vec<u8>,
}

/// Something that one broker of a fleet does for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Duty {
    /// Working off the schedule.
    Deadlines,
    /// Deciding anew what lives when the policies change.
    Drift,
}

impl Duty {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deadlines => "deadlines",
            Self::Drift => "drift",
        }
    }
}

impl fmt::Display for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Take a turn at a duty, or keep it.
#[derive(Clone, Debug)]
pub struct TakeTurn {
    /// Which.
    pub duty: Duty,
    /// Who.
    pub broker: String,
    /// Until when; whoever does not take it again by then has lost it.
    pub until: Timestamp,
}

/// Whose turn a duty is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The holder.
    pub broker: String,
    /// Counts the holders.
    pub number: u64,
    /// Until when.
    pub until: Timestamp,
}

/// Refuse whatever keys up to a generation signed.
#[derive(Clone, Debug)]
pub struct DenyKeys {
    /// The tenant.
    pub tenant: TenantId,
    /// The newest generation that counts no more.
    pub generation: KeyGeneration,
    /// Who, in words.
    pub by: String,
}

pub(crate) fn share_keys(view: &View, share: &ShareKeys) -> Result<Effects, Refusal> {
    let number = view.keys.as_ref().map_or(0, |keys| keys.number);
    if number != share.over {
        return Err(Refusal::new(Reason::Superseded, "another broker changed the signing keys meanwhile")
            .with("number", number));
    }
    let keys = SharedKeys { number: number.saturating_add(1), sealed: share.sealed.clone() };
    Ok(Effects { keys: Some(keys.clone()), outcome: Outcome::KeysShared(keys.number), ..Effects::default() })
}

pub(crate) fn take_turn(view: &View, take: &TakeTurn, now: Timestamp) -> Effects {
    let mine = |turn: &Turn| turn.broker == take.broker;
    if let Some(turn) = view.turn.as_ref().filter(|turn| !mine(turn) && now < turn.until) {
        return Effects { outcome: Outcome::Turn(turn.clone()), ..Effects::default() };
    }
    let number = match &view.turn {
        Some(turn) if mine(turn) => turn.number,
        before => before.as_ref().map_or(0, |turn| turn.number).saturating_add(1),
    };
    let turn = Turn { broker: take.broker.clone(), number, until: take.until };
    Effects { turn: Some((take.duty, turn.clone())), outcome: Outcome::Turn(turn), ..Effects::default() }
}

pub(crate) fn deny_keys(view: &View, deny: &DenyKeys, limits: &Limits, now: Timestamp) -> Effects {
    let deny = DenyRecord {
        tenant: deny.tenant.clone(),
        epoch: view.epoch.next(),
        subject: DenySubject::KeyGeneration(deny.generation),
        reason: EndReason::Killed,
        by: step::bounded(&deny.by),
        at: now,
        until: wide::last_expiry(limits, now),
        audiences: Vec::new(),
    };
    Effects { deny: Some(deny.clone()), outcome: Outcome::Denied(Box::new(deny)), ..Effects::default() }
}
