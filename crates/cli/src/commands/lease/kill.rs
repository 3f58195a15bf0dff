//! `taskpass lease kill`.

use super::many::{Care, Many, Selector};
use crate::{
    args::{Verifiers, proto_span},
    error::{Exit, Failure},
    output::{Record, Style},
    session::{Outcome, Session},
    span::Span,
    view::{EnforcementView, LeaseView},
};
use clap::Args;
use serde::Serialize;
use taskpass_client::Broker;
use taskpass_proto::v1;

/// End leases now, and hold the agent off until released
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass lease kill ls_7h2kq4 --reason \"odd spike in reads\"
  taskpass lease kill ls_7h2kq4 --reissue-ok        # only rotate: the agent may ask again
  taskpass lease kill --agent ci/bot --reason \"odd reads\"              # all of it, by one record; asks first
  taskpass lease kill --agent ci/bot --quarantine 1h --reason \"look at it\" --yes
  taskpass lease kill --resource billing-api --older-than 1h --dry-run
  taskpass lease kill --plan pl_5xd3k9 --reason \"as agreed\"
  taskpass lease kill --all --reason \"incident 42\" --yes --confirm default

A kill of all that an agent, an owner, a resource or the tenant has also holds it off, until `taskpass hold lift`.")]
pub(crate) struct Kill {
    /// The ids, or the first 6 characters or more after `ls_`
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten, next_help_heading = "Or which leases")]
    selector: Selector,
    #[command(flatten, next_help_heading = "With care")]
    care: Care,
    /// Why, for the audit log; required for more than one
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not hold: the agent may ask again at once
    #[arg(long)]
    reissue_ok: bool,
    /// Instead of holding agent, task and resource until released, hold whole agents that long
    #[arg(long, value_name = "SPAN", conflicts_with = "reissue_ok")]
    quarantine: Option<Span>,
    /// Yes, all of them
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    verifiers: Verifiers,
}

/// One kill.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KillView {
    lease: LeaseView,
    held: bool,
    /// Null without a quarantine.
    quarantine_seconds: Option<u64>,
    /// Null: not waited for, or it ended with what was above it.
    enforcement: Option<EnforcementView>,
}

impl Kill {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        self.check()?;
        if self.ids.is_empty() {
            let many = Many {
                selector: &self.selector,
                care: &self.care,
                reason: self.reason.as_deref(),
                reissue_ok: self.reissue_ok,
                quarantine: self.quarantine,
                yes: self.yes,
                verifiers: self.verifiers,
            };
            return many.run(session).await;
        }
        let broker = session.broker().await?;
        if let [id] = self.ids.as_slice() {
            let killed = self.kill(&broker, id, session).await?;
            session.out.one(&killed)?;
            self.say_next(session, std::slice::from_ref(&killed));
            return Ok(self.verifiers.exit([&killed.enforcement]));
        }
        let (mut killed, mut failed) = (Vec::new(), Vec::new());
        for id in &self.ids {
            match self.kill(&broker, id, session).await {
                Ok(view) => killed.push(view),
                Err(failure) => failed.push(failure),
            }
        }
        session.out.list(&killed, "")?;
        self.say_next(session, &killed);
        Ok(match session.finish(killed.len(), &failed)? {
            Exit::Done => self.verifiers.exit(killed.iter().map(|killed| &killed.enforcement)),
            other => other,
        })
    }

    /// Several at once are confirmed, and explained to whoever reads the audit log.
    fn check(&self) -> Result<(), Failure> {
        let selects = !self.selector.is_empty();
        if !self.ids.is_empty() && (selects || self.care.is_about_many()) {
            return Err(Failure::usage("leases are either named or selected").fix("leave out the ids"));
        }
        if self.ids.is_empty() && selects == self.care.plans() {
            let how = "say either ids, or which leases (--agent, --owner, --resource, …, --all), or --plan";
            return Err(Failure::usage("it is not said what to kill").fix(how));
        }
        if self.ids.len() < 2 {
            return Ok(());
        }
        if !self.yes {
            return Err(Failure::usage(format!("{} leases would be killed", self.ids.len())).fix("add --yes"));
        }
        if self.reason.is_none() {
            return Err(Failure::usage("killing several leases needs a reason").fix("add --reason TEXT"));
        }
        Ok(())
    }

    async fn kill(&self, broker: &Broker, id: &str, session: &Session) -> Result<KillView, Failure> {
        let request = v1::KillLeaseRequest {
            lease_id: id.to_owned(),
            reason: self.reason.clone().unwrap_or_default(),
            reissue_ok: self.reissue_ok,
            wait: self.verifiers.wait(),
            quarantine: self.quarantine.map(proto_span).transpose()?,
        };
        let answer = broker.kill_lease(request).await?;
        let lease = answer
            .lease
            .ok_or_else(|| Failure::new(Exit::Unexpected, "the broker's answer has no lease in it"))?;
        Ok(KillView {
            lease: LeaseView::new(lease, session.now()),
            held: answer.held,
            quarantine_seconds: self.quarantine.map(|span| span.as_duration().as_secs()),
            enforcement: answer.enforcement.map(EnforcementView::from),
        })
    }

    fn say_next(&self, session: &Session, killed: &[KillView]) {
        let quarantined = killed.iter().find(|killed| killed.quarantine_seconds.is_some());
        if let Some(KillView { lease, .. }) = quarantined {
            session.out.hint(&format!("undo the quarantine: taskpass hold lift --agent {}", lease.agent));
        } else if let Some(held) = killed.iter().find(|killed| killed.held) {
            session.out.hint(&format!(
                "undo the hold: taskpass lease release {}",
                session.out.style.id(&held.lease.id)
            ));
        }
    }
}

impl KillView {
    fn hold(&self) -> String {
        if let Some(seconds) = self.quarantine_seconds {
            format!("all that {} does, for {seconds}s", self.lease.agent)
        } else if self.held {
            format!("{} + its task + {}", self.lease.agent, self.lease.resource)
        } else {
            "none, the agent may ask again".to_owned()
        }
    }

    fn ended(&self, style: &Style) -> String {
        self.lease.end.as_ref().map_or_else(String::new, |end| end.sentence(style))
    }
}

impl Record for KillView {
    const KIND: &'static str = "LeaseKill";
    const COLUMNS: &'static [&'static str] = &["LEASE", "END", "HOLD"];

    fn name(&self) -> String {
        self.lease.id.clone()
    }
    fn row(&self, style: &Style) -> Vec<String> {
        vec![style.id(&self.lease.id), self.ended(style), self.hold()]
    }
    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        let killed = [("lease", self.lease.id.clone()), ("end", self.ended(style)), ("hold", self.hold())];
        let enforced = self.enforcement.iter().flat_map(|enforcement| enforcement.details(style));
        killed.into_iter().chain(enforced).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kill(ids: usize, yes: bool, reason: Option<&str>) -> Result<(), Failure> {
        let ids = vec!["ls_7h2kq4".to_owned(); ids];
        let verifiers = Verifiers::default();
        let (selector, care) = (Selector::default(), Care::default());
        let reason = reason.map(str::to_owned);
        Kill { ids, selector, care, reason, reissue_ok: false, quarantine: None, yes, verifiers }.check()
    }

    #[test]
    fn several_need_a_yes_and_a_reason() {
        assert!(kill(1, false, None).is_ok());
        assert_eq!(kill(2, false, Some("stale")).unwrap_err().exit(), Exit::Usage);
        assert_eq!(kill(2, true, None).unwrap_err().exit(), Exit::Usage);
        assert!(kill(2, true, Some("stale")).is_ok());
    }
}
