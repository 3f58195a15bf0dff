//! Approvals: waiting for them as an agent, and voting on them as a person.
//!
//! Invariant: time that runs out is told as that ([`Reason::ApprovalExpired`], [`Reason::ApprovalRequired`]), never as a
//! denial.

use crate::{Broker, Error, retry};
use std::{fmt, future::Future, sync::Arc, time::Duration};
use taskpass_proto::v1::{self, approval_service_client::ApprovalServiceClient};
use taskpass_types::Reason;
use tokio::time::{sleep, timeout};
use tonic::{Code, Streaming};

/// Told once for each approval that is waited for.
type Told = dyn Fn(&v1::Approval) + Send + Sync;

/// How long to wait when people have to approve, and whom to tell about it.
#[derive(Clone)]
pub(crate) struct Patience {
    at_most: Duration,
    told: Arc<Told>,
}

impl Patience {
    pub(crate) fn new(at_most: Duration, told: impl Fn(&v1::Approval) + Send + Sync + 'static) -> Self {
        Self { at_most, told: Arc::new(told) }
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").field("at_most", &self.at_most).finish_non_exhaustive()
    }
}

impl Broker {
    /// Reads one approval, by its id or the beginning of it.
    pub async fn find_approval(&self, approval: impl Into<String>) -> Result<v1::Approval, Error> {
        let request = v1::GetApprovalRequest { approval_id: approval.into() };
        let answer = self
            .call(request, |channel, request| async move {
                ApprovalServiceClient::new(channel).get_approval(request).await
            })
            .await?;
        answer.approval.ok_or_else(|| Error::unexpected("the approval is missing"))
    }

    /// One page of approvals, newest first.
    pub async fn list_approvals(
        &self,
        request: v1::ListApprovalsRequest,
    ) -> Result<v1::ListApprovalsResponse, Error> {
        self.call(request, |channel, request| async move {
            ApprovalServiceClient::new(channel).list_approvals(request).await
        })
        .await
    }

    /// Streams approvals as they change: one until it is settled, or with an empty id all that we may see.
    pub async fn watch_approvals(
        &self,
        approval: impl Into<String>,
    ) -> Result<Streaming<v1::WatchApprovalsResponse>, Error> {
        let request = v1::WatchApprovalsRequest { approval_id: approval.into() };
        self.call(request, |channel, request| async move {
            ApprovalServiceClient::new(channel).watch_approvals(request).await
        })
        .await
    }

    /// Votes, for people. The agent receives `reason`.
    pub async fn decide_approval(
        &self,
        approval: impl Into<String>,
        approve: bool,
        reason: impl Into<String>,
    ) -> Result<v1::Approval, Error> {
        let request =
            v1::DecideApprovalRequest { approval_id: approval.into(), approve, reason: reason.into() };
        let answer = self
            .call(request, |channel, request| async move {
                ApprovalServiceClient::new(channel).decide_approval(request).await
            })
            .await?;
        answer.approval.ok_or_else(|| Error::unexpected("the approval is missing"))
    }

    /// Waits until an approval is settled or used, however often the connection breaks meanwhile.
    ///
    /// # Errors
    /// `APPROVAL_REQUIRED` when it is still pending after `patience`; whatever the broker refuses.
    pub async fn wait_for_approval(
        &self,
        approval: impl Into<String>,
        patience: Duration,
    ) -> Result<v1::Approval, Error> {
        let id = approval.into();
        match timeout(patience, self.settled(&id)).await {
            Ok(settled) => settled,
            Err(_) => Err(Error::local(
                Code::FailedPrecondition,
                Some(Reason::ApprovalRequired),
                format!("nobody has decided `{id}` yet"),
            )
            .with("approval", &id)),
        }
    }

    async fn settled(&self, id: &str) -> Result<v1::Approval, Error> {
        let mut attempt = 0;
        loop {
            match self.next_settled(id).await {
                Ok(Some(approval)) => return Ok(approval),
                Ok(None) => {}
                Err(error) if error.is_retryable() => tracing::debug!(%error, "watching the approval again"),
                Err(error) => return Err(error),
            }
            sleep(retry::backoff(attempt)).await;
            attempt += 1;
        }
    }

    /// `None`: the stream ended before the approval was settled.
    async fn next_settled(&self, id: &str) -> Result<Option<v1::Approval>, Error> {
        let mut stream = self.watch_approvals(id).await?;
        while let Some(next) = stream.message().await? {
            match next.approval {
                Some(approval) if approval.state() != v1::ApprovalState::Pending => {
                    return Ok(Some(approval));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Asks, and when people have to approve first, waits for them and asks the same once more.
    pub(crate) async fn approved<T, F>(
        &self,
        patience: Option<&Patience>,
        ask: impl Fn() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let error = match ask().await {
            Err(error) if error.reason() == Some(Reason::ApprovalRequired) => error,
            answer => return answer,
        };
        let (Some(patience), Some(id)) = (patience, error.metadata().get("approval").cloned()) else {
            return Err(error);
        };
        (patience.told)(&self.find_approval(&id).await?);
        self.wait_for_approval(&id, patience.at_most).await?;
        // Whatever came of it, the broker says it best.
        ask().await
    }
}
