//! `taskpass receipt get`.

use super::verify;
use crate::{
    args::Verifiers,
    error::{Exit, Failure},
    session::{Outcome, Session},
    view::ReceiptView,
};
use clap::Args;
use std::{fs, path::PathBuf};
use taskpass_proto::v1;

/// Have the broker sign what became of every credential under an ended task
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass receipt get tk_9f2c4x
  taskpass receipt get tk_9f2c4x --out closure.jws --keys-out keys.json
  taskpass receipt get tk_9f2c4x --wait 10s --require-all-verifiers

Keep the keys with the receipt: the broker forgets old ones. Exit code 9 with --require-all-verifiers unless every
lease is known to be dead.")]
pub(crate) struct Get {
    /// The id, or the first 6 characters or more after `tk_`
    id: String,
    /// Write the signed receipt here
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the public keys that it is checked with here
    #[arg(long, value_name = "FILE")]
    keys_out: Option<PathBuf>,
    #[command(flatten)]
    verifiers: Verifiers,
}

impl Get {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let request = v1::GetTaskReceiptRequest { task_id: self.id, wait: self.verifiers.wait() };
        let v1::GetTaskReceiptResponse { receipt, jwks } =
            session.broker().await?.task_receipt(request).await?;
        // What is kept is what can be checked later.
        let read =
            verify::read(&receipt, jwks.as_bytes()).map_err(|failure| failure.exits(Exit::Unexpected))?;
        let write = |file: &Option<PathBuf>, text: &str| match file {
            None => Ok(()),
            Some(file) => fs::write(file, format!("{text}\n")).map_err(|error| {
                Failure::new(Exit::Unexpected, format!("`{}` cannot be written: {error}", file.display()))
            }),
        };
        write(&self.out, &receipt)?;
        write(&self.keys_out, &jwks)?;
        let view = ReceiptView::new(&read);
        session.out.one(&view)?;
        session.out.hint("taskpass receipt verify FILE --keys KEYS");
        Ok(self.verifiers.exit_if(view.is_dead()))
    }
}
