//! The main road: an attested caller and its task for a credential.

use crate::{
    drive::Slot,
    echo::Sizes,
    world::{ACTION, RESOURCE},
};
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use prost::Message as _;
use taskpass_client::Broker;
use taskpass_proto::v1::{
    CertificateForm, IssueCredentialRequest, IssueCredentialResponse, StartTaskRequest, TokenForm,
    credential::Form, credential_service_client::CredentialServiceClient,
    issue_credential_request::Form as Asked,
};
use tonic::transport::Channel;
use uuid::Uuid;

/// What to issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A token, ES256.
    Jwt,
    /// A certificate, P-256.
    X509,
}

/// One caller with a task of its own; a clone shares the task.
#[derive(Clone)]
pub struct IssueSlot {
    client: CredentialServiceClient<Channel>,
    request: IssueCredentialRequest,
}

impl IssueSlot {
    /// Starts a task over `channel` to issue under.
    pub async fn new(channel: Channel, kind: Kind) -> anyhow::Result<Self> {
        let form = match kind {
            Kind::Jwt => Asked::Token(TokenForm::default()),
            Kind::X509 => Asked::Certificate(CertificateForm { csr: csr()? }),
        };
        let request = IssueCredentialRequest {
            task_id: start_task(&Broker::new(channel.clone())).await?,
            resource: RESOURCE.to_owned(),
            actions: vec![ACTION.to_owned()],
            form: Some(form),
            ..Default::default()
        };
        Ok(Self { client: CredentialServiceClient::new(channel), request })
    }

    /// Issues once.
    pub async fn issue(&mut self) -> anyhow::Result<IssueCredentialResponse> {
        Ok(self.client.issue_credential(self.request()).await?.into_inner())
    }

    /// The next request, with an idempotency key such as our client gives.
    fn request(&self) -> IssueCredentialRequest {
        IssueCredentialRequest { request_id: Uuid::now_v7().to_string(), ..self.request.clone() }
    }

    /// Its task.
    pub fn task(&self) -> &str {
        &self.request.task_id
    }

    /// How large request and answer are.
    pub async fn sizes(&mut self) -> anyhow::Result<Sizes> {
        Ok(Sizes { ask: self.request().encoded_len(), answer: self.issue().await?.encoded_len() })
    }
}

impl Slot for IssueSlot {
    async fn call(&mut self) -> anyhow::Result<()> {
        let answer = self.issue().await?;
        let form = answer.credential.and_then(|credential| credential.form).context("no credential")?;
        match form {
            Form::Certificate(chain) => ensure!(!chain.certificates.is_empty(), "no certificate"),
            Form::Token(token) => ensure!(token.starts_with("ey"), "no token"),
        }
        Ok(())
    }
}

/// Starts a task for an hour and gives its id.
pub async fn start_task(broker: &Broker) -> anyhow::Result<String> {
    let request = StartTaskRequest {
        kind: "task".to_owned(),
        purpose: "measure".to_owned(),
        scopes: vec![format!("{RESOURCE}:{ACTION}")],
        ..Default::default()
    };
    Ok(broker.start_task(request).await?.id)
}

fn csr() -> anyhow::Result<Bytes> {
    let request = rcgen::CertificateParams::default().serialize_request(&rcgen::KeyPair::generate()?)?;
    Ok(request.der().to_vec().into())
}
