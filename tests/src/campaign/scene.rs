//! Where rounds are played: servers, and what can strike there.

use super::{Fault, Report, clock, fleet::Fleet, stage::Stage};
use fastrand::Rng;
use std::{io::Write as _, time::Duration};
use taskpass_servers::Kind;

/// One set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// One server, reached through a proxy for each broker; `standard`.
    Alone(Kind),
    /// A Cluster of three primaries and three replicas; `durable`.
    Cluster(Kind),
    /// A primary and a replica watched by three Sentinels; `durable`.
    Sentinels(Kind),
}

/// How many rounds share one set-up: what it writes stays bounded, and its certificates live an hour.
const ROUNDS: usize = 120;

impl Scene {
    pub(super) const ALL: [Self; 4] = [
        Self::Alone(Kind::Redis),
        Self::Alone(Kind::Valkey),
        Self::Sentinels(Kind::Redis),
        Self::Cluster(Kind::Valkey),
    ];

    /// How many of all rounds are played here, in parts: a failover takes many times as long as the other faults.
    pub(super) fn weight(self) -> usize {
        match self {
            Self::Alone(_) => 5,
            Self::Cluster(_) | Self::Sentinels(_) => 1,
        }
    }

    fn faults(self) -> Vec<Fault> {
        let alone = [
            Fault::AnswersLost,
            Fault::BrokerKilled,
            Fault::BrokerPaused,
            Fault::BrokersKilled,
            Fault::ClientsPaused,
            Fault::ConnectionsDropped,
            Fault::Cut,
            Fault::Delayed,
            Fault::Flushed,
            Fault::FlushedBehindCut,
            Fault::FlushedBehindPause,
            Fault::FlushedUnseen,
            Fault::OlderCopy,
            Fault::OlderCopyBehindCut,
            Fault::OutOfMemory,
            Fault::PowerLost,
            Fault::ScriptsFlushed,
            Fault::ServerAndBrokerKilled,
            Fault::ServerKilled,
            Fault::ServerPaused,
            Fault::TailLost,
        ];
        let replicated = [
            Fault::PrimaryKilled,
            Fault::PrimaryReplaced,
            Fault::PrimaryFrozen,
            Fault::PrimaryKilledBehindLag,
            Fault::ReplicaKilled,
            Fault::BrokerKilled,
            Fault::BrokersKilled,
        ];
        match self {
            Self::Alone(_) if clock::is_there() => [&alone[..], &[Fault::ClockStepped]].concat(),
            Self::Alone(_) => alone.to_vec(),
            Self::Cluster(_) => [&replicated[..], &[Fault::SlotMoved, Fault::SlotMoved]].concat(),
            Self::Sentinels(_) => replicated.to_vec(),
        }
    }

    /// Plays `rounds` rounds. Every fault comes once before any comes again.
    pub(super) async fn play(self, rounds: usize, only: Option<&str>, random: &mut Rng, report: &mut Report) {
        let mut faults = self.faults();
        faults.retain(|fault| only.is_none_or(|only| format!("{fault:?}") == only));
        let (mut deck, mut left) = (Vec::new(), if faults.is_empty() { 0 } else { rounds });
        while left > 0 {
            let rounds = left.min(ROUNDS);
            let (mut stage, ledgers) = Stage::set(self).await;
            let mut fleet = Fleet::start(&ledgers).await;
            fleet.recovers().await;
            for _ in 0..rounds {
                if deck.is_empty() {
                    deck.clone_from(&faults);
                    random.shuffle(&mut deck);
                }
                let Some(fault) = deck.pop() else { continue };
                self.round(fault, &mut stage, &mut fleet, random, report).await;
            }
            fleet.stop().await;
            left -= rounds;
        }
    }

    async fn round(
        self,
        fault: Fault,
        stage: &mut Stage,
        fleet: &mut Fleet,
        random: &mut Rng,
        report: &mut Report,
    ) {
        fleet.history.next_round(fault.is_lossy());
        let (name, mut clients) = (format!("r{}", report.rounds), random.fork());
        let strike = async |fleet: &mut Fleet| {
            fault.strike(stage, fleet, random).await;
            fleet.recovers().await
        };
        let recovery = fleet.under_load(&name, &mut clients, strike).await;
        let followed = fleet.check().await;
        note(report, self, fault, [recovery, recovery + followed], fleet);
    }
}

/// `back`: after which time the brokers granted, and after which the verifiers accepted it.
fn note(report: &mut Report, scene: Scene, fault: Fault, back: [Duration; 2], fleet: &Fleet) {
    let counts = fleet.history.next_round(false);
    let place = format!("round {}, {scene:?} {fault:?}", report.rounds);
    let line = format!(
        "{place}: {} answered, {} not, {} ended, granting after {:.2} s, accepted after {:.2} s",
        counts.answered,
        counts.unanswered,
        counts.ended,
        back[0].as_secs_f64(),
        back[1].as_secs_f64()
    );
    report.rounds += 1;
    *report.faults.entry(format!("{scene:?} {fault:?}")).or_default() += 1;
    report.answered += counts.answered;
    report.unanswered += counts.unanswered;
    report.ended += counts.ended;
    let at_place = |what: &String| format!("{place}: {what}");
    report.lost.extend(counts.lost.iter().map(at_place));
    report.broken.extend(counts.broken.iter().map(at_place));
    for (longest, back) in [&mut report.longest_recovery, &mut report.longest_return].into_iter().zip(back) {
        if back > longest.0 {
            *longest = (back, place.clone());
        }
    }
    // A campaign without a terminal is as good.
    let mut stderr = std::io::stderr();
    drop(writeln!(stderr, "{line}"));
    for what in counts.lost.iter().chain(&counts.broken) {
        drop(writeln!(stderr, "  {what}"));
    }
}
