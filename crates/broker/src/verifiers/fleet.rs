//! The verifiers that follow the other brokers of a fleet: each broker says which follow it, so that a receipt of any counts
//! them all.
//!
//! Invariant: a verifier is sent nothing before it is said that it follows, so none is missed by a receipt; what a broker said
//! that has been silent since counts as gone.

use super::{Entry, Follows, Verifiers};
use crate::Broker;
use std::{collections::BTreeMap, time::Duration};
use taskpass_lease::{Event, Follower, Followers, ShareFollowers};
use taskpass_types::{HistoryId, Refusal, Timestamp};

/// How many verifiers a broker says; with more it says that these are not all.
const MOST: usize = 1_024;
/// A broker that has said nothing for so long is gone, and its verifiers with it.
const SILENT: Duration = Duration::from_secs(10);

/// The verifiers of the others, as they were read last.
#[derive(Default)]
pub(crate) struct Others {
    entries: Vec<Entry>,
    /// Somebody has more than they said.
    incomplete: bool,
}

impl Others {
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(super) fn is_complete(&self) -> bool {
        !self.incomplete
    }

    fn of(all: BTreeMap<String, Followers>, own: &str, history: HistoryId, now: Timestamp) -> Self {
        let mut others = Self::default();
        for (_, followers) in all.into_iter().filter(|(broker, _)| broker != own) {
            others.incomplete |= !followers.complete;
            let silent = followers.at.plus(SILENT) < now;
            let counts = followers.history == history;
            others.entries.extend(followers.verifiers.into_iter().map(|one| Entry {
                gone: one.gone || silent,
                enforces: one.enforces.filter(|_| counts),
                // What it was sent since, nobody said: of one that follows it is taken to be all, of one whose broker is silent
                // all that this could still send before it was cut off from the store too.
                heard: match one.gone {
                    true => one.heard,
                    false => silent.then(|| followers.at.plus(SILENT)),
                },
                lied: one.lied,
                ..Entry::new(Follows {
                    tenant: one.tenant,
                    name: one.name,
                    audience: one.audience,
                    max_stale: one.max_stale,
                })
            }));
        }
        others
    }
}

impl Verifiers {
    /// All that follow this broker, for the others.
    fn followers(&self, history: HistoryId, now: Timestamp) -> Followers {
        let entries = self.entries.lock();
        let known = entries.values().filter(|entry| !entry.is_forgotten(now));
        let mut verifiers: Vec<_> = known.map(Entry::follower).collect();
        drop(entries);
        let complete = verifiers.len() <= MOST;
        // Whoever is here before whoever is gone.
        verifiers.sort_by(|one, two| {
            (one.gone, &one.name, &one.audience).cmp(&(two.gone, &two.name, &two.audience))
        });
        verifiers.truncate(MOST);
        Followers { at: now, history, complete, verifiers }
    }
}

impl Entry {
    fn follower(&self) -> Follower {
        Follower {
            tenant: self.follows.tenant.clone(),
            name: self.follows.name.clone(),
            audience: self.follows.audience.clone(),
            max_stale: self.follows.max_stale,
            heard: self.heard,
            enforces: self.enforces,
            lied: self.lied,
            gone: self.gone,
        }
    }
}

impl Broker {
    /// Says which verifiers follow this broker, in a fleet.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn share_followers(&self) -> Result<(), Refusal> {
        let (parts, now) = (self.parts(), self.now());
        if !parts.settings.fleet {
            return Ok(());
        }
        let followers = self.0.verifiers.followers(parts.store.history(), now);
        let share = ShareFollowers { broker: parts.settings.broker.clone(), followers };
        parts.store.apply(Event::ShareFollowers(Box::new(share)), now).await.map(drop)
    }

    /// Reads what the others say of theirs, in a fleet. When the store does not answer, what was read last counts.
    pub(crate) async fn read_followers(&self) {
        let parts = self.parts();
        if !parts.settings.fleet {
            return;
        }
        match parts.store.followers().await {
            Ok(all) => {
                let others = Others::of(all, &parts.settings.broker, parts.store.history(), self.now());
                *self.0.verifiers.others.lock() = others;
            }
            Err(refusal) => tracing::debug!(?refusal, "it is not known which verifiers follow other brokers"),
        }
    }
}
