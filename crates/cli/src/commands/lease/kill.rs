//! `taskpass lease kill`.

use crate::{
    args::Verifiers,
    error::{Exit, Failure},
    output::{Record, Style},
    session::{Outcome, Session},
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
  taskpass lease list --agent ci/bot -o name | xargs -r taskpass lease kill --yes --reason stale")]
pub(crate) struct Kill {
    /// The ids, or the first 6 characters or more after `ls_`
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Why, for the audit log; required for more than one
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not hold: the agent may ask again at once
    #[arg(long)]
    reissue_ok: bool,
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
    /// Null: not waited for, or it ended with what was above it.
    enforcement: Option<EnforcementView>,
}

impl Kill {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        self.check()?;
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
        };
        let answer = broker.kill_lease(request).await?;
        let lease = answer
            .lease
            .ok_or_else(|| Failure::new(Exit::Unexpected, "the broker's answer has no lease in it"))?;
        Ok(KillView {
            lease: LeaseView::new(lease, session.now()),
            held: answer.held,
            enforcement: answer.enforcement.map(EnforcementView::from),
        })
    }

    fn say_next(&self, session: &Session, killed: &[KillView]) {
        if let Some(held) = killed.iter().find(|killed| killed.held) {
            session.out.hint(&format!(
                "undo the hold: taskpass lease release {}",
                session.out.style.id(&held.lease.id)
            ));
        }
    }
}

impl KillView {
    fn hold(&self) -> String {
        if self.held {
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
        Kill { ids, reason: reason.map(str::to_owned), reissue_ok: false, yes, verifiers }.check()
    }

    #[test]
    fn several_need_a_yes_and_a_reason() {
        assert!(kill(1, false, None).is_ok());
        assert_eq!(kill(2, false, Some("stale")).unwrap_err().exit(), Exit::Usage);
        assert_eq!(kill(2, true, None).unwrap_err().exit(), Exit::Usage);
        assert!(kill(2, true, Some("stale")).is_ok());
    }
}
