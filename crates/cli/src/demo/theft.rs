//! Somebody with a copy of a credential, who uses it without pause: that is how the demo knows when it is refused.

use super::stopwatch::Instant;
use crate::sandbox::Caller;
use anyhow::{Context, bail};
use std::time::Duration;

/// How long to wait for a refusal, or for an end, before the demo fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// What is done with the copy.
#[derive(Clone, Copy, Debug)]
pub(super) enum Use {
    Read,
    Refund,
}

/// A copy of a credential. A certificate's is its connection.
pub(super) struct Theft {
    caller: Caller,
    token: Option<String>,
    used: Use,
}

/// When a credential was first refused, and what the resource server said.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) at: Instant,
    pub(super) why: String,
}

impl Theft {
    pub(super) fn new(caller: Caller, token: Option<String>, used: Use) -> Self {
        Self { caller, token, used }
    }

    pub(super) async fn until_refused(&mut self) -> anyhow::Result<Refusal> {
        loop {
            let token = self.token.as_deref();
            let answer = match self.used {
                Use::Read => self.caller.get("/invoices", token).await?,
                Use::Refund => self.caller.post("/refunds", token, "7302").await?,
            };
            match answer.status {
                200 => {}
                401 => return Ok(Refusal { at: Instant::now(), why: answer.text }),
                other => bail!("unexpected answer {other}: {}", answer.text),
            }
        }
    }

    /// Goes on while `ending` ends the credential, and gives what `ending` gave and the refusal.
    pub(super) async fn during<T>(
        &mut self,
        ending: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(T, Refusal)> {
        let (ended, refused) = tokio::join!(ending, in_time(self.until_refused()));
        Ok((ended?, refused?))
    }
}

/// Waits for refusals, not for ever.
pub(super) async fn in_time<T>(refusal: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(PATIENCE, refusal).await.context("what was ended should have been refused by now")?
}
