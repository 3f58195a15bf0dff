//! `taskpass hold set`.

use super::Held;
use crate::{
    args::proto_span,
    error::{Exit, Failure},
    session::{Outcome, Session},
    span::Span,
    view::WideHoldView,
};
use clap::Args;
use taskpass_proto::v1;

/// Refuse whatever comes of an agent, an owner, a resource or everybody; ends nothing that is out
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass hold set --all --reason \"incident 42\"             # freeze: nothing is issued, renewed or called
  taskpass hold set --agent ci/bot --for 1h --reason \"odd reads\"

To end what is out as well: taskpass lease kill --all, --agent, --owner or --resource, which holds too.")]
pub(crate) struct Set {
    #[command(flatten)]
    held: Held,
    /// How long; until it is lifted when not said
    #[arg(long = "for", value_name = "SPAN")]
    span: Option<Span>,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", required = true)]
    reason: String,
}

impl Set {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let request = v1::SetHoldRequest {
            wide: Some(self.held.message()?),
            duration: self.span.map(proto_span).transpose()?,
            reason: self.reason,
        };
        let hold = session.broker().await?.set_hold(request).await?.hold;
        let hold =
            hold.ok_or_else(|| Failure::new(Exit::Unexpected, "the broker's answer has no hold in it"))?;
        session.out.one(&WideHoldView::from(hold))?;
        session.out.hint("taskpass hold list    taskpass hold lift");
        Ok(Exit::Done)
    }
}
