//! The broker's calls, typed and repeated when that is safe.
//!
//! Invariant: a repeat carries the same request id, so that a call whose answer was lost takes effect once.

use crate::{Endpoint, EndpointError, Error, TaskBuilder, retry};
use std::{future::Future, sync::Arc};
use taskpass_proto::v1::{
    self, agent_service_client::AgentServiceClient, audit_service_client::AuditServiceClient,
    credential_service_client::CredentialServiceClient, kill_service_client::KillServiceClient,
    lease_service_client::LeaseServiceClient, task_service_client::TaskServiceClient,
};
use taskpass_types::{Clock, SystemClock};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tonic::{Response, Status, Streaming, transport::Channel};
use uuid::Uuid;

/// A receipt and its keys are within this many bytes.
const LARGEST_RECEIPT: usize = 16 << 20;

/// A connection to the broker. Clones share it.
#[derive(Clone)]
pub struct Broker {
    channel: Channel,
    pub(crate) clock: Arc<dyn Clock>,
    /// Heartbeats and renewals; their guards end them.
    pub(crate) keepers: TaskTracker,
    /// The last words of dropped guards; [`Broker::drain`] waits for them.
    pub(crate) endings: TaskTracker,
}

impl Broker {
    /// Connects now.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, EndpointError> {
        Ok(Self::new(endpoint.connect().await?))
    }

    /// Over a channel that is there already.
    pub fn new(channel: Channel) -> Self {
        Self {
            channel,
            clock: Arc::new(SystemClock::default()),
            keepers: TaskTracker::new(),
            endings: TaskTracker::new(),
        }
    }

    /// What the calls go over, for other clients: a verifier, health, reflection.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Begins to declare a task; `purpose` is for people.
    pub fn task(&self, purpose: impl Into<String>) -> TaskBuilder {
        TaskBuilder::new(self.clone(), purpose.into())
    }

    /// Waits until what dropped guards still had to say has been said. Call it before the runtime ends.
    pub async fn drain(&self) {
        self.endings.close();
        self.endings.wait().await;
        self.endings.reopen();
    }

    /// What the broker makes of our evidence.
    pub async fn whoami(&self) -> Result<v1::WhoAmIResponse, Error> {
        self.call(v1::WhoAmIRequest {}, |channel, request| async move {
            AgentServiceClient::new(channel).who_am_i(request).await
        })
        .await
    }

    /// Declares a task without a guard: nothing shows life for it and nothing ends it. See [`Broker::task`].
    pub async fn start_task(&self, mut request: v1::StartTaskRequest) -> Result<v1::Task, Error> {
        name(&mut request.request_id);
        let answer = self
            .call(request, |channel, request| async move {
                TaskServiceClient::new(channel).start_task(request).await
            })
            .await?;
        answer.task.ok_or_else(|| Error::unexpected("a started task is missing"))
    }

    /// Reads one task, by its id or the beginning of it.
    pub async fn find_task(&self, task: impl Into<String>) -> Result<v1::Task, Error> {
        let request = v1::GetTaskRequest { task_id: task.into() };
        let answer = self
            .call(request, |channel, request| async move {
                TaskServiceClient::new(channel).get_task(request).await
            })
            .await?;
        answer.task.ok_or_else(|| Error::unexpected("the task is missing"))
    }

    /// One page of tasks, newest first.
    pub async fn list_tasks(&self, request: v1::ListTasksRequest) -> Result<v1::ListTasksResponse, Error> {
        self.call(request, |channel, request| async move {
            TaskServiceClient::new(channel).list_tasks(request).await
        })
        .await
    }

    /// Shows life once; says when the task is ended unless it does again.
    pub async fn heartbeat(&self, task: impl Into<String>) -> Result<Option<prost_types::Timestamp>, Error> {
        let request = v1::HeartbeatTaskRequest { task_id: task.into() };
        let answer = self
            .call(request, |channel, request| async move {
                TaskServiceClient::new(channel).heartbeat_task(request).await
            })
            .await?;
        Ok(answer.silent_time)
    }

    /// Declares a task done. Everything under it dies by one write.
    pub async fn complete_task(&self, task: impl Into<String>) -> Result<v1::Task, Error> {
        let request = v1::CompleteTaskRequest { task_id: task.into(), wait: None };
        self.complete(request).await?.task.ok_or_else(|| Error::unexpected("the completed task is missing"))
    }

    /// The same, and with `wait` says which verifiers enforce it by then.
    pub async fn complete(
        &self,
        request: v1::CompleteTaskRequest,
    ) -> Result<v1::CompleteTaskResponse, Error> {
        self.call(request, |channel, request| async move {
            TaskServiceClient::new(channel).complete_task(request).await
        })
        .await
    }

    /// Calls a task off; `reason` is for the audit log. Everything under it dies by one write.
    pub async fn cancel_task(
        &self,
        task: impl Into<String>,
        reason: impl Into<String>,
    ) -> Result<v1::Task, Error> {
        let request =
            v1::CancelTaskRequest { task_id: task.into(), reason: reason.into(), ..Default::default() };
        self.cancel(request).await?.task.ok_or_else(|| Error::unexpected("the cancelled task is missing"))
    }

    /// The same, and with `wait` says which verifiers enforce it by then.
    pub async fn cancel(&self, request: v1::CancelTaskRequest) -> Result<v1::CancelTaskResponse, Error> {
        self.call(request, |channel, request| async move {
            TaskServiceClient::new(channel).cancel_task(request).await
        })
        .await
    }

    /// Exchanges our identity and one of our tasks for a credential that nothing renews. See
    /// [`Task::lease`](crate::Task::lease).
    pub async fn issue(
        &self,
        mut request: v1::IssueCredentialRequest,
    ) -> Result<(v1::Lease, v1::Credential), Error> {
        name(&mut request.request_id);
        let answer = self
            .call(request, |channel, request| async move {
                CredentialServiceClient::new(channel).issue_credential(request).await
            })
            .await?;
        issued(answer.lease, answer.credential)
    }

    /// Replaces a lease's credential by a fresh one.
    pub async fn renew(
        &self,
        mut request: v1::RenewCredentialRequest,
    ) -> Result<(v1::Lease, v1::Credential), Error> {
        name(&mut request.request_id);
        let answer = self
            .call(request, |channel, request| async move {
                CredentialServiceClient::new(channel).renew_credential(request).await
            })
            .await?;
        issued(answer.lease, answer.credential)
    }

    /// Reads one lease, by its id or the beginning of it.
    pub async fn find_lease(&self, lease: impl Into<String>) -> Result<v1::Lease, Error> {
        let request = v1::GetLeaseRequest { lease_id: lease.into() };
        let answer = self
            .call(request, |channel, request| async move {
                LeaseServiceClient::new(channel).get_lease(request).await
            })
            .await?;
        answer.lease.ok_or_else(|| Error::unexpected("the lease is missing"))
    }

    /// One page of leases, newest first.
    pub async fn list_leases(&self, request: v1::ListLeasesRequest) -> Result<v1::ListLeasesResponse, Error> {
        self.call(request, |channel, request| async move {
            LeaseServiceClient::new(channel).list_leases(request).await
        })
        .await
    }

    /// Ends one lease. For operators.
    pub async fn kill_lease(&self, request: v1::KillLeaseRequest) -> Result<v1::KillLeaseResponse, Error> {
        self.call(request, |channel, request| async move {
            LeaseServiceClient::new(channel).kill_lease(request).await
        })
        .await
    }

    /// Signs what became of every credential under an ended task.
    pub async fn task_receipt(
        &self,
        request: v1::GetTaskReceiptRequest,
    ) -> Result<v1::GetTaskReceiptResponse, Error> {
        self.call(request, |channel, request| async move {
            let client = TaskServiceClient::new(channel);
            client.max_decoding_message_size(LARGEST_RECEIPT).get_task_receipt(request).await
        })
        .await
    }

    /// Shows what a kill would end, and keeps that set. For operators.
    pub async fn plan_kill(&self, selector: v1::KillSelector) -> Result<v1::PlanKillResponse, Error> {
        let request = v1::PlanKillRequest { selector: Some(selector) };
        self.call(request, |channel, request| async move {
            KillServiceClient::new(channel).plan_kill(request).await
        })
        .await
    }

    /// Ends many leases. For operators.
    pub async fn kill_leases(&self, request: v1::KillLeasesRequest) -> Result<v1::KillLeasesResponse, Error> {
        self.call(request, |channel, request| async move {
            KillServiceClient::new(channel).kill_leases(request).await
        })
        .await
    }

    /// Holds something wider than a task. For operators.
    pub async fn set_hold(&self, request: v1::SetHoldRequest) -> Result<v1::SetHoldResponse, Error> {
        self.call(request, |channel, request| async move {
            KillServiceClient::new(channel).set_hold(request).await
        })
        .await
    }

    /// What is held and wider than a task. For operators.
    pub async fn list_holds(&self) -> Result<Vec<v1::WideHold>, Error> {
        let answer = self
            .call(v1::ListHoldsRequest {}, |channel, request| async move {
                KillServiceClient::new(channel).list_holds(request).await
            })
            .await?;
        Ok(answer.holds)
    }

    /// Lets what is held go on; says whether it was held. For operators.
    pub async fn lift_hold(&self, wide: v1::Wide) -> Result<bool, Error> {
        let request = v1::LiftHoldRequest { wide: Some(wide) };
        let answer = self
            .call(request, |channel, request| async move {
                KillServiceClient::new(channel).lift_hold(request).await
            })
            .await?;
        Ok(answer.lifted)
    }

    /// Lifts the hold that the kill of `lease` left; says whether there was one. For operators.
    pub async fn release_hold(&self, lease: impl Into<String>) -> Result<bool, Error> {
        self.release(v1::ReleaseHoldRequest { lease_id: lease.into(), ..Default::default() }).await
    }

    /// Lifts the hold on one resource of a task; says whether there was one. For operators.
    pub async fn release_task_hold(
        &self,
        task: impl Into<String>,
        resource: impl Into<String>,
    ) -> Result<bool, Error> {
        let (task_id, resource) = (task.into(), resource.into());
        self.release(v1::ReleaseHoldRequest { task_id, resource, ..Default::default() }).await
    }

    async fn release(&self, request: v1::ReleaseHoldRequest) -> Result<bool, Error> {
        let answer = self
            .call(request, |channel, request| async move {
                LeaseServiceClient::new(channel).release_hold(request).await
            })
            .await?;
        Ok(answer.released)
    }

    /// Streams the audit log. For operators.
    pub async fn watch_audit(
        &self,
        request: v1::TailAuditRequest,
    ) -> Result<Streaming<v1::TailAuditResponse>, Error> {
        self.call(request, |channel, request| async move {
            AuditServiceClient::new(channel).tail_audit(request).await
        })
        .await
    }

    pub(crate) async fn call<Q, R, F>(&self, request: Q, rpc: impl Fn(Channel, Q) -> F) -> Result<R, Error>
    where
        Q: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        for attempt in 1.. {
            let error = match rpc(self.channel(), request.clone()).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => Error::from(status),
            };
            let Some(pause) = retry::delay(attempt, &error) else {
                return Err(error);
            };
            tracing::debug!(%error, attempt, ?pause, "asking the broker again");
            sleep(pause).await;
        }
        Err(Error::unexpected("it never came"))
    }
}

/// Gives a request an id when its maker did not.
pub(crate) fn name(request_id: &mut String) {
    if request_id.is_empty() {
        *request_id = Uuid::now_v7().to_string();
    }
}

fn issued(
    lease: Option<v1::Lease>,
    credential: Option<v1::Credential>,
) -> Result<(v1::Lease, v1::Credential), Error> {
    lease.zip(credential).ok_or_else(|| Error::unexpected("the lease or its credential is missing"))
}
