//! A caller without courtesies: what it is told to send is sent once, as it is.

use crate::Refused;
use std::time::Duration;
use taskpass_client::Endpoint;
use taskpass_proto::v1::{
    self, credential::Form, credential_service_client::CredentialServiceClient,
    issue_credential_request::Form as Ask, lease_service_client::LeaseServiceClient,
    task_service_client::TaskServiceClient,
};
use tonic::transport::Channel;

/// A connection to the broker.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
}

/// A task that may read the demo's invoices, for ten minutes.
pub fn start() -> v1::StartTaskRequest {
    v1::StartTaskRequest {
        purpose: "a story".to_owned(),
        scopes: vec!["demo-api:invoice:read".to_owned()],
        ttl: Some(seconds(600)),
        ..Default::default()
    }
}

/// Asks for a token to read the demo's invoices.
pub fn token(task: &str) -> v1::IssueCredentialRequest {
    issue(task, Ask::Token(v1::TokenForm::default()))
}

/// Asks for a certificate to read the demo's invoices.
pub fn certificate(task: &str, csr: impl Into<Vec<u8>>) -> v1::IssueCredentialRequest {
    issue(task, Ask::Certificate(v1::CertificateForm { csr: csr.into().into() }))
}

/// Asks for something to read the demo's invoices with.
pub fn issue(task: &str, form: Ask) -> v1::IssueCredentialRequest {
    v1::IssueCredentialRequest {
        task_id: task.to_owned(),
        resource: "demo-api".to_owned(),
        actions: vec!["invoice:read".to_owned()],
        form: Some(form),
        ..Default::default()
    }
}

fn seconds(seconds: u64) -> prost_types::Duration {
    Duration::from_secs(seconds).try_into().unwrap()
}

impl Client {
    /// Connects now.
    ///
    /// # Panics
    /// When that fails.
    pub async fn connect(endpoint: &Endpoint) -> Self {
        Self { channel: endpoint.connect().await.unwrap() }
    }

    /// On a connection that there is.
    pub fn on(channel: Channel) -> Self {
        Self { channel }
    }

    /// What the calls go over.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The client library on the same connection.
    pub fn library(&self) -> taskpass_client::Broker {
        taskpass_client::Broker::new(self.channel())
    }

    /// Declares a task.
    ///
    /// # Errors
    /// As the broker refuses; so for all below.
    pub async fn start_task(&self, request: v1::StartTaskRequest) -> Result<v1::Task, Refused> {
        let answer = TaskServiceClient::new(self.channel()).start_task(request).await?;
        Ok(answer.into_inner().task.unwrap())
    }

    /// Reads a task.
    ///
    /// # Errors
    /// As the broker refuses.
    pub async fn task(&self, task: &str) -> Result<v1::Task, Refused> {
        let request = v1::GetTaskRequest { task_id: task.to_owned() };
        let answer = TaskServiceClient::new(self.channel()).get_task(request).await?;
        Ok(answer.into_inner().task.unwrap())
    }

    /// Shows life.
    ///
    /// # Errors
    /// As the broker refuses.
    pub async fn heartbeat(&self, task: &str) -> Result<(), Refused> {
        let request = v1::HeartbeatTaskRequest { task_id: task.to_owned() };
        TaskServiceClient::new(self.channel()).heartbeat_task(request).await?;
        Ok(())
    }

    /// Declares a task done.
    ///
    /// # Errors
    /// As the broker refuses.
    pub async fn complete(&self, task: &str) -> Result<v1::Task, Refused> {
        let request = v1::CompleteTaskRequest { task_id: task.to_owned(), ..Default::default() };
        let answer = TaskServiceClient::new(self.channel()).complete_task(request).await?;
        Ok(answer.into_inner().task.unwrap())
    }

    /// Asks for a credential.
    ///
    /// # Errors
    /// As the broker refuses.
    pub async fn issue(&self, request: v1::IssueCredentialRequest) -> Result<(v1::Lease, Form), Refused> {
        let answer =
            CredentialServiceClient::new(self.channel()).issue_credential(request).await?.into_inner();
        Ok((answer.lease.unwrap(), answer.credential.unwrap().form.unwrap()))
    }

    /// Asks for a token.
    ///
    /// # Errors
    /// As the broker refuses.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn issue_token(
        &self,
        request: v1::IssueCredentialRequest,
    ) -> Result<(v1::Lease, String), Refused> {
        match self.issue(request).await? {
            (lease, Form::Token(token)) => Ok((lease, token)),
            (_, Form::Certificate(_)) => panic!("a certificate instead of a token"),
        }
    }

    /// Asks for a certificate; gives its chain in DER, the leaf first.
    ///
    /// # Errors
    /// As the broker refuses.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn issue_certificate(
        &self,
        request: v1::IssueCredentialRequest,
    ) -> Result<(v1::Lease, Vec<Vec<u8>>), Refused> {
        match self.issue(request).await? {
            (lease, Form::Certificate(chain)) => {
                Ok((lease, chain.certificates.into_iter().map(Into::into).collect()))
            }
            (_, Form::Token(_)) => panic!("a token instead of a certificate"),
        }
    }

    /// Asks for another credential under a lease.
    ///
    /// # Errors
    /// As the broker refuses.
    pub async fn renew(&self, request: v1::RenewCredentialRequest) -> Result<(v1::Lease, Form), Refused> {
        let answer =
            CredentialServiceClient::new(self.channel()).renew_credential(request).await?.into_inner();
        Ok((answer.lease.unwrap(), answer.credential.unwrap().form.unwrap()))
    }

    /// Reads a lease.
    ///
    /// # Errors
    /// As the broker refuses.
    pub async fn lease(&self, lease: &str) -> Result<v1::Lease, Refused> {
        let request = v1::GetLeaseRequest { lease_id: lease.to_owned() };
        let answer = LeaseServiceClient::new(self.channel()).get_lease(request).await?;
        Ok(answer.into_inner().lease.unwrap())
    }

    /// Kills a lease.
    ///
    /// # Errors
    /// As the broker refuses.
    pub async fn kill(&self, lease: &str) -> Result<v1::KillLeaseResponse, Refused> {
        let request = v1::KillLeaseRequest {
            lease_id: lease.to_owned(),
            reason: "a story".to_owned(),
            reissue_ok: false,
            wait: None,
            quarantine: None,
        };
        Ok(LeaseServiceClient::new(self.channel()).kill_lease(request).await?.into_inner())
    }

    /// Lifts the hold that killing a lease left.
    ///
    /// # Errors
    /// As the broker refuses.
    pub async fn release(&self, lease: &str) -> Result<bool, Refused> {
        let request = v1::ReleaseHoldRequest { lease_id: lease.to_owned(), ..Default::default() };
        Ok(LeaseServiceClient::new(self.channel()).release_hold(request).await?.into_inner().released)
    }
}
