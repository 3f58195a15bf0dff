//! What the tests share: a broker on a real socket that asks the test for every answer.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use taskpass_client::{Broker, Endpoint};
use taskpass_proto::v1::{
    self,
    approval_service_server::{ApprovalService, ApprovalServiceServer},
    credential_service_server::{CredentialService, CredentialServiceServer},
    task_service_server::{TaskService, TaskServiceServer},
};
use taskpass_types::Reason;
use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot},
};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::task::TaskTracker;
use tonic::{Code, Request, Response, Status, transport::Server};
use tonic_types::{ErrorDetails, StatusExt};

/// A call that waits for the test's answer.
pub(crate) struct Asked<Q, R> {
    pub(crate) request: Q,
    reply: oneshot::Sender<Result<R, Status>>,
}

impl<Q, R> Asked<Q, R> {
    pub(crate) fn answer(self, answer: R) -> Q {
        let _ = self.reply.send(Ok(answer));
        self.request
    }

    pub(crate) fn refuse(self, status: Status) -> Q {
        let _ = self.reply.send(Err(status));
        self.request
    }
}

pub(crate) enum Call {
    Cancel(Asked<v1::CancelTaskRequest, v1::CancelTaskResponse>),
    Approval(Asked<v1::GetApprovalRequest, v1::GetApprovalResponse>),
    Complete(Asked<v1::CompleteTaskRequest, v1::CompleteTaskResponse>),
    Get(Asked<v1::GetTaskRequest, v1::GetTaskResponse>),
    Heartbeat(Asked<v1::HeartbeatTaskRequest, v1::HeartbeatTaskResponse>),
    Issue(Asked<v1::IssueCredentialRequest, v1::IssueCredentialResponse>),
    List(Asked<v1::ListTasksRequest, v1::ListTasksResponse>),
    Receipt(Asked<v1::GetTaskReceiptRequest, v1::GetTaskReceiptResponse>),
    Renew(Asked<v1::RenewCredentialRequest, v1::RenewCredentialResponse>),
    Start(Asked<v1::StartTaskRequest, v1::StartTaskResponse>),
    /// The test answers with all that the stream will say.
    Watch(Asked<v1::WatchApprovalsRequest, Vec<v1::Approval>>),
}

#[derive(Clone)]
struct Fake(mpsc::Sender<Call>);

impl Fake {
    async fn ask<Q, R>(
        &self,
        call: fn(Asked<Q, R>) -> Call,
        request: Request<Q>,
    ) -> Result<Response<R>, Status> {
        let (reply, answer) = oneshot::channel();
        let over = |_| Status::aborted("the test is over");
        self.0.send(call(Asked { request: request.into_inner(), reply })).await.map_err(|_| over(()))?;
        answer.await.map_err(|_| over(()))?.map(Response::new)
    }
}

macro_rules! calls {
    ($service:ident: $($method:ident($request:ident) -> $response:ident = $call:ident,)*) => {
        #[tonic::async_trait]
        impl $service for Fake {
            $(async fn $method(&self, request: Request<v1::$request>) -> Result<Response<v1::$response>, Status> {
                self.ask(Call::$call, request).await
            })*
        }
    };
}

calls! { TaskService:
    start_task(StartTaskRequest) -> StartTaskResponse = Start,
    get_task(GetTaskRequest) -> GetTaskResponse = Get,
    list_tasks(ListTasksRequest) -> ListTasksResponse = List,
    heartbeat_task(HeartbeatTaskRequest) -> HeartbeatTaskResponse = Heartbeat,
    complete_task(CompleteTaskRequest) -> CompleteTaskResponse = Complete,
    cancel_task(CancelTaskRequest) -> CancelTaskResponse = Cancel,
    get_task_receipt(GetTaskReceiptRequest) -> GetTaskReceiptResponse = Receipt,
}

calls! { CredentialService:
    issue_credential(IssueCredentialRequest) -> IssueCredentialResponse = Issue,
    renew_credential(RenewCredentialRequest) -> RenewCredentialResponse = Renew,
}

type Changes = tokio_stream::Iter<std::vec::IntoIter<Result<v1::WatchApprovalsResponse, Status>>>;

#[tonic::async_trait]
impl ApprovalService for Fake {
    type WatchApprovalsStream = Changes;

    async fn get_approval(
        &self,
        request: Request<v1::GetApprovalRequest>,
    ) -> Result<Response<v1::GetApprovalResponse>, Status> {
        self.ask(Call::Approval, request).await
    }

    async fn list_approvals(
        &self,
        _: Request<v1::ListApprovalsRequest>,
    ) -> Result<Response<v1::ListApprovalsResponse>, Status> {
        Err(Status::unimplemented("no test lists approvals"))
    }

    async fn watch_approvals(
        &self,
        request: Request<v1::WatchApprovalsRequest>,
    ) -> Result<Response<Changes>, Status> {
        let approvals = self.ask(Call::Watch, request).await?.into_inner();
        let changes: Vec<_> = approvals
            .into_iter()
            .map(|approval| Ok(v1::WatchApprovalsResponse { approval: Some(approval) }))
            .collect();
        Ok(Response::new(tokio_stream::iter(changes)))
    }

    async fn decide_approval(
        &self,
        _: Request<v1::DecideApprovalRequest>,
    ) -> Result<Response<v1::DecideApprovalResponse>, Status> {
        Err(Status::unimplemented("no test votes"))
    }
}

/// A broker, and a client of it.
pub(crate) struct Served {
    pub(crate) calls: mpsc::Receiver<Call>,
    pub(crate) broker: Broker,
    pub(crate) endpoint: Endpoint,
    _dir: tempfile::TempDir,
}

/// The next call, which must be of this kind.
macro_rules! next {
    ($served:expr, $kind:ident) => {
        match $served.calls.recv().await.unwrap() {
            common::Call::$kind(asked) => asked,
            other => panic!("expected {}, got {}", stringify!($kind), other.name()),
        }
    };
}
pub(crate) use next;

impl Call {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Approval(_) => "Approval",
            Self::Cancel(_) => "Cancel",
            Self::Complete(_) => "Complete",
            Self::Get(_) => "Get",
            Self::Heartbeat(_) => "Heartbeat",
            Self::Issue(_) => "Issue",
            Self::List(_) => "List",
            Self::Receipt(_) => "Receipt",
            Self::Renew(_) => "Renew",
            Self::Start(_) => "Start",
            Self::Watch(_) => "Watch",
        }
    }
}

pub(crate) async fn serve() -> Served {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("broker.sock");
    let incoming = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
    let (told, calls) = mpsc::channel(16);
    let server = Server::builder()
        .add_service(TaskServiceServer::new(Fake(told.clone())))
        .add_service(CredentialServiceServer::new(Fake(told.clone())))
        .add_service(ApprovalServiceServer::new(Fake(told)));
    TaskTracker::new().spawn(server.serve_with_incoming(incoming));
    let endpoint = Endpoint::unix(&socket);
    let broker = Broker::connect(&endpoint).await.unwrap();
    Served { calls, broker, endpoint, _dir: dir }
}

pub(crate) fn task(heartbeat: Option<Duration>) -> v1::Task {
    let heartbeat_interval = heartbeat.map(|span| span.try_into().unwrap());
    v1::Task { id: "tk_1".into(), heartbeat_interval, ..Default::default() }
}

/// A lease whose credential lives for `life` from now on.
pub(crate) fn lease(life: Duration, hard_stop: Duration) -> v1::Lease {
    let at = |span| Some(prost_types::Timestamp::from(now() + span));
    v1::Lease {
        id: "ls_1".into(),
        create_time: at(Duration::ZERO),
        expire_time: at(life),
        hard_stop_time: at(hard_stop),
        ..Default::default()
    }
}

#[expect(clippy::disallowed_methods, reason = "the client reads the same clock")]
fn now() -> SystemTime {
    let now = SystemTime::now();
    assert!(now > UNIX_EPOCH);
    now
}

pub(crate) fn token(text: &str) -> Option<v1::Credential> {
    Some(v1::Credential { form: Some(v1::credential::Form::Token(text.into())) })
}

pub(crate) fn refusal(code: Code, reason: Reason, message: &str) -> Status {
    let details =
        ErrorDetails::with_error_info(reason.code(), "taskpass", [("fix".into(), "do it right".into())]);
    Status::with_error_details(code, message, details)
}

/// The refusal of a request that people have to approve first.
pub(crate) fn approval_required() -> Status {
    let metadata = [("approval".into(), "ap_1".into())];
    let details = ErrorDetails::with_error_info(Reason::ApprovalRequired.code(), "taskpass", metadata);
    Status::with_error_details(Code::FailedPrecondition, "people have to approve this first", details)
}

pub(crate) fn approval(state: v1::ApprovalState) -> v1::Approval {
    v1::Approval { id: "ap_1".into(), state: state.into(), ..Default::default() }
}
