//! What the demo tells, one after the other.

use super::{approval, delegation, ending::Ending, fleet, preview, stage::Stage, tools};
use std::{io::Write, time::Duration};

/// One story with one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chapter {
    Approval,
    Delegation,
    Ending(Ending),
    Fleet,
    Preview,
    Tools,
}

/// How long after the end each credential was refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    pub(super) token: Duration,
    /// `None`: the story has none.
    pub(super) certificate: Option<Duration>,
}

impl Chapter {
    /// The last one edits a policy file, after which there is nothing left to read.
    pub(super) const ALL: [Self; 9] = [
        Self::Ending(Ending::Complete),
        Self::Ending(Ending::TimeOut),
        Self::Ending(Ending::Silence),
        Self::Approval,
        Self::Delegation,
        Self::Tools,
        Self::Preview,
        Self::Fleet,
        Self::Ending(Ending::Drift),
    ];

    /// Whether it can be played: a fleet needs a ledger to share.
    pub(super) fn fits(self, stage: &Stage) -> bool {
        self != Self::Fleet || stage.ledger.is_some()
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Approval => "a refund that needs a person",
            Self::Delegation => "what was handed on ends from above",
            Self::Ending(ending) => ending.title(),
            Self::Fleet => "a broker dies, its fleet goes on",
            Self::Preview => "a previewed policy is applied",
            Self::Tools => "a tool is called outside its scope",
        }
    }

    pub(super) async fn play(self, stage: &Stage, out: &mut dyn Write) -> anyhow::Result<Refused> {
        writeln!(out, "-- {}", self.title())?;
        match self {
            Self::Approval => approval::play(stage, out).await,
            Self::Delegation => delegation::play(stage, out).await,
            Self::Ending(ending) => ending.play(stage, out).await,
            Self::Fleet => fleet::play(stage, out).await,
            Self::Preview => preview::play(stage, out).await,
            Self::Tools => tools::play(stage, out).await,
        }
    }
}
