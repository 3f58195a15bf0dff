//! `taskpass tool authorize`.

use super::call::{Call, arguments, exit, salt};
use crate::{
    error::{Exit, Failure},
    session::{Outcome, Session},
    view::CallView,
};
use clap::Args;
use taskpass_proto::v1;

/// Ask whether a tool may be called, before it is
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass tool authorize --task tk_9f2c4x --tool refund.create --resource payments-api:refund:create
  call=$(taskpass tool authorize --lease $LEASE --tool refund.create -r payments-api:refund:create \\
      --arguments call.json -o name) && ./refund call.json

Exit code 3 when it is denied, 8 when people have to approve it first, 7 when a budget is used up. The arguments
stay here: the broker gets a salted digest. Keep the salt with them to prove them later.")]
pub(crate) struct Authorize {
    #[command(flatten)]
    call: Call,
    /// A file with the arguments; `-`: standard input
    #[arg(long, value_name = "FILE|-")]
    arguments: Option<String>,
}

impl Authorize {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let arguments = arguments(self.arguments.as_deref())?;
        let request = v1::AuthorizeToolCallRequest {
            call: Some(self.call.message(arguments.as_ref())),
            approval_id: String::new(),
        };
        let answer = session.broker().await?.authorize_call(request).await?;
        let decision = answer
            .decision
            .ok_or_else(|| Failure::new(Exit::Unexpected, "the broker's answer has no decision in it"))?;
        let decision = CallView::new(answer.call_id, decision, salt(arguments.as_ref()));
        session.out.one(&decision)?;
        Ok(exit(&decision))
    }
}
