//! What the tests share: a broker that says what the test tells it to, over the real wire, and credentials that the
//! verifier trusts.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use futures::{StreamExt, stream::BoxStream};
use std::{sync::Arc, time::Duration};
use taskpass_crypto::{CsrKey, KeyPolicy, KeyRing, SealKey, x509::csr};
use taskpass_proto::v1::{
    AcknowledgeDeniesRequest, AcknowledgeDeniesResponse, AnswerProbesRequest, AnswerProbesResponse,
    DenyRecord, EndReason, VerificationKeys, WatchDeniesRequest, WatchDeniesResponse,
    deny_record::Subject,
    revocation_service_server::{RevocationService, RevocationServiceServer},
};
use taskpass_types::{
    ActionName, AgentId, Clock, DecisionId, Epoch, Grant, HistoryId, KeyGeneration, LeaseId, ManualClock,
    Owner, PolicyRevision, ResourceName, SpiffeId, TaskId, TaskPath, TenantId, Timestamp, TrustDomain,
};
use taskpass_verify::{Verifier, VerifierBuilder};
use tokio::{net::UnixListener, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_util::task::TaskTracker;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint, Server},
};

pub(crate) const ISSUER: &str = "https://taskpass.acme.test";
pub(crate) const T0: Timestamp = Timestamp::from_secs(1_790_000_000);
pub(crate) const MAX_STALE: Duration = Duration::from_secs(60);
pub(crate) const SESSION: &str = "vs_00000000000000000000000001";
pub(crate) const HISTORY: HistoryId = HistoryId([1; 16]);

/// One call of `WatchDenies`, for the test to answer.
pub(crate) struct Session {
    pub(crate) request: WatchDeniesRequest,
    pub(crate) answers: mpsc::Sender<Result<WatchDeniesResponse, Status>>,
}

impl Session {
    pub(crate) async fn say(&self, message: WatchDeniesResponse) {
        self.answers.send(Ok(message)).await.unwrap();
    }
}

struct Fake {
    sessions: mpsc::Sender<Session>,
    acknowledged: mpsc::Sender<AcknowledgeDeniesRequest>,
    answered: mpsc::Sender<AnswerProbesRequest>,
}

#[tonic::async_trait]
impl RevocationService for Fake {
    type WatchDeniesStream = BoxStream<'static, Result<WatchDeniesResponse, Status>>;

    async fn acknowledge_denies(
        &self,
        request: Request<AcknowledgeDeniesRequest>,
    ) -> Result<Response<AcknowledgeDeniesResponse>, Status> {
        self.acknowledged
            .send(request.into_inner())
            .await
            .map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(AcknowledgeDeniesResponse {}))
    }

    async fn answer_probes(
        &self,
        request: Request<AnswerProbesRequest>,
    ) -> Result<Response<AnswerProbesResponse>, Status> {
        self.answered
            .send(request.into_inner())
            .await
            .map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(AnswerProbesResponse {}))
    }

    async fn watch_denies(
        &self,
        request: Request<WatchDeniesRequest>,
    ) -> Result<Response<Self::WatchDeniesStream>, Status> {
        let (answers, stream) = mpsc::channel(16);
        let session = Session { request: request.into_inner(), answers };
        self.sessions.send(session).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }
}

/// A broker's feed on a Unix socket, and the keys of the broker.
pub(crate) struct Broker {
    pub(crate) channel: Channel,
    pub(crate) sessions: mpsc::Receiver<Session>,
    pub(crate) acknowledged: mpsc::Receiver<AcknowledgeDeniesRequest>,
    pub(crate) answered: mpsc::Receiver<AnswerProbesRequest>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ring: KeyRing,
    _dir: tempfile::TempDir,
}

impl Broker {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(T0));
        let ring = ring(&dir.path().join("keys"), &clock);
        let socket = dir.path().join("broker.sock");
        let incoming = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
        let (told, sessions) = mpsc::channel(16);
        let (noted, acknowledged) = mpsc::channel(1024);
        let (said, answered) = mpsc::channel(1024);
        let server = Server::builder().add_service(RevocationServiceServer::new(Fake {
            sessions: told,
            acknowledged: noted,
            answered: said,
        }));
        TaskTracker::new().spawn(server.serve_with_incoming(incoming));
        let channel = Endpoint::from_shared(format!("unix:{}", socket.display())).unwrap().connect_lazy();
        Self { channel, sessions, acknowledged, answered, clock, ring, _dir: dir }
    }

    pub(crate) fn builder(&self) -> VerifierBuilder {
        Verifier::builder(self.channel.clone())
            .audience("billing-api")
            .max_stale(MAX_STALE)
            .clocks(self.clock.clone(), self.clock.clone())
    }

    pub(crate) async fn session(&mut self) -> Session {
        self.sessions.recv().await.unwrap()
    }

    /// A verifier that has applied an empty snapshot at epoch 0.
    pub(crate) async fn ready(&mut self) -> (Verifier, Session) {
        let verifier = self.builder().start().unwrap();
        let session = self.session().await;
        session.say(self.snapshot(0, vec![])).await;
        verifier.ready().await;
        (verifier, session)
    }

    pub(crate) fn snapshot(&self, epoch: u64, records: Vec<DenyRecord>) -> WatchDeniesResponse {
        WatchDeniesResponse {
            history_id: HISTORY.to_string(),
            after_epoch: 0,
            epoch,
            snapshot: true,
            records,
            send_time: time(self.clock.now()),
            keys: Some(keys(&self.ring)),
            more: false,
            session_id: SESSION.to_owned(),
            probes: Vec::new(),
        }
    }

    pub(crate) fn delta(&self, after_epoch: u64, records: Vec<DenyRecord>) -> WatchDeniesResponse {
        let epoch = records.last().map_or(after_epoch, |record| record.epoch);
        let session_id = String::new();
        WatchDeniesResponse {
            after_epoch,
            snapshot: false,
            keys: None,
            session_id,
            ..self.snapshot(epoch, records)
        }
    }

    pub(crate) fn token(&self, grant: &Grant) -> String {
        self.ring.signer().sign(ISSUER, grant).unwrap()
    }
}

pub(crate) fn ring(dir: &std::path::Path, clock: &ManualClock) -> KeyRing {
    let seal = SealKey::from_env_value(&format!("01{}", "5a".repeat(31))).unwrap();
    KeyRing::open(dir, &seal, clock, KeyPolicy::new(trust_domain())).unwrap()
}

pub(crate) fn keys(ring: &KeyRing) -> VerificationKeys {
    VerificationKeys {
        issuer: ISSUER.into(),
        trust_domain: trust_domain().to_string(),
        jwks: ring.jwks_json().to_string(),
        ca_certificates: ring.ca_certificates().into_iter().map(Into::into).collect(),
    }
}

pub(crate) fn trust_domain() -> TrustDomain {
    TrustDomain::new("acme.test").unwrap()
}

pub(crate) fn time(at: Timestamp) -> Option<prost_types::Timestamp> {
    let nanos = i32::try_from(at.as_millis() % 1000).unwrap() * 1_000_000;
    Some(prost_types::Timestamp { seconds: i64::try_from(at.as_secs()).unwrap(), nanos })
}

/// A record that outlives the credentials of [`grant`].
pub(crate) fn record(epoch: u64, subject: Subject) -> DenyRecord {
    DenyRecord {
        epoch,
        subject: Some(subject),
        reason: EndReason::Completed.into(),
        by: "ci/invoice-bot".into(),
        time: time(T0),
        until: time(T0.plus(Duration::from_secs(900))),
    }
}

pub(crate) fn lease(epoch: u64, grant: &Grant) -> DenyRecord {
    record(epoch, Subject::LeaseId(grant.lease.to_string()))
}

/// What a child task of `ci/planner`'s was granted: to read and write invoices for five minutes.
pub(crate) fn grant() -> Grant {
    let task = TaskId::new();
    let agents = ["ci/planner", "ci/invoice-bot"].map(|agent| AgentId::new(agent).unwrap());
    Grant {
        tenant: TenantId::default(),
        lease: LeaseId::new(),
        renewal: 0,
        task_path: TaskPath::root(TaskId::new()).child(task).unwrap(),
        subject: SpiffeId::from_parts(&trust_domain(), &format!("ci/invoice-bot/task/{task}")).unwrap(),
        agents: agents.to_vec(),
        owner: Owner::new("maya@acme.test").unwrap(),
        resource: ResourceName::new("billing-api").unwrap(),
        actions: ["invoice:read", "invoice:write"].map(|action| ActionName::new(action).unwrap()).to_vec(),
        decision: DecisionId::new(),
        policy_revision: PolicyRevision::new("a1b2c3d4e5f6").unwrap(),
        key_generation: KeyGeneration(1),
        deny_epoch: Epoch::default(),
        confirmation: None,
        status: None,
        issued_at: T0,
        expires_at: T0.plus(Duration::from_secs(300)),
    }
}

/// A key in the form that certificates are signed for.
pub(crate) fn csr_key() -> CsrKey {
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    csr::public_key(request.der()).unwrap()
}

pub(crate) async fn reached(verifier: &Verifier, epoch: u64) {
    verifier.watch_epoch().wait_for(|held| *held == Some(Epoch(epoch))).await.unwrap();
}
