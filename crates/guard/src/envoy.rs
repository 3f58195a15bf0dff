//! `envoy.service.auth.v3.Authorization/Check`, Envoy's external authorization by gRPC.
//!
//! Invariant: a refusal is an answer, never a failed call: with `failure_mode_allow` Envoy would let the request through.
//! So it is also when the broker was not heard.

use crate::{
    certificate, facts,
    judge::{Guard, Question},
};
use envoy_types::pb::{
    envoy::{
        config::core::v3::{
            HeaderMap, HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction,
        },
        service::auth::v3::{
            AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
            authorization_server::{Authorization, AuthorizationServer},
            check_response::HttpResponse,
        },
        r#type::v3::HttpStatus,
    },
    google::{
        protobuf::{ListValue, Struct, Value, value::Kind},
        rpc::Status as RpcStatus,
    },
};
use taskpass_types::ActionName;
use taskpass_verify::Granted;
use tonic::{Code, Request, Response, Status};

/// The largest message that is read: Envoy's headers, 60 KiB unless told otherwise, and a certificate.
const MAX_MESSAGE: usize = 128 * 1024;
/// The action that a route demands, among `context_extensions` of its `check_settings`, which no client can set.
const ACTION: &str = "taskpass.action";
const AUTHORIZATION: &str = "authorization";

pub(crate) struct Face {
    guard: Guard,
    local: bool,
}

/// The service; `local`: only this machine can ask, so certificates are believed.
pub(crate) fn service(guard: &Guard, local: bool) -> AuthorizationServer<Face> {
    AuthorizationServer::new(Face { guard: guard.clone(), local }).max_decoding_message_size(MAX_MESSAGE)
}

#[tonic::async_trait]
impl Authorization for Face {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let answer = match question(attributes, self.local) {
            Ok(question) => self.guard.judge(question).await,
            Err(why) => {
                tracing::warn!(why, "Envoy's configuration is wrong, and the request was refused");
                facts::broken()
            }
        };
        Ok(Response::new(response(&answer)))
    }
}

/// What is wrong with it is the configuration of Envoy, not the client's credential.
fn question(attributes: AttributeContext, local: bool) -> Result<Question, &'static str> {
    let action = attributes.context_extensions.get(ACTION);
    let action = action.map(|text| ActionName::new(text).map_err(|_| "`taskpass.action` is no action"));
    let presented = attributes.source.map(|peer| peer.certificate).filter(|_| local).unwrap_or_default();
    let certificate = certificate::parse(&presented).map_err(|_| "the client certificate cannot be read")?;
    let http = attributes.request.and_then(|request| request.http).unwrap_or_default();
    let joined = http.headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    // With `encode_raw_headers` they come one by one instead. Otherwise Envoy joins those of one name by commas, which no
    // token has.
    let raw = http.header_map.as_ref().map(raw).unwrap_or_default();
    let values = joined.into_iter().chain(raw).map(http::HeaderValue::from_bytes);
    let authorization = values.collect::<Result<_, _>>().map_err(|_| "`authorization` is no header")?;
    Ok(Question { authorization, certificate, action: action.transpose()? })
}

fn raw(map: &HeaderMap) -> Vec<&[u8]> {
    let mine = map.headers.iter().filter(|header| header.key.eq_ignore_ascii_case(AUTHORIZATION));
    let bytes = |header: &'_ HeaderValue| header.raw_value.is_empty();
    mine.map(|header| if bytes(header) { header.value.as_bytes() } else { &header.raw_value }).collect()
}

fn response(answer: &http::Response<()>) -> CheckResponse {
    match answer.extensions().get::<Granted>() {
        Some(granted) if answer.status().is_success() => accepted(granted),
        _ => refused(answer),
    }
}

fn accepted(granted: &Granted) -> CheckResponse {
    let headers = facts::list(granted).into_iter().map(|(name, value)| header(name, value)).collect();
    CheckResponse {
        status: Some(rpc(Code::Ok)),
        dynamic_metadata: Some(metadata(granted)),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse { headers, ..Default::default() })),
    }
}

fn refused(answer: &http::Response<()>) -> CheckResponse {
    let code = match answer.status() {
        http::StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        http::StatusCode::FORBIDDEN => Code::PermissionDenied,
        _ => Code::Unavailable,
    };
    let challenge = answer.headers().get(http::header::WWW_AUTHENTICATE);
    let challenge = challenge.and_then(|value| value.to_str().ok());
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: i32::from(answer.status().as_u16()) }),
        headers: challenge.map(|value| header("www-authenticate", value.to_owned())).into_iter().collect(),
        body: String::new(),
    };
    CheckResponse {
        status: Some(rpc(code)),
        dynamic_metadata: None,
        http_response: Some(HttpResponse::DeniedResponse(denied)),
    }
}

/// Replaces what the client may have sent under that name.
fn header(name: &str, value: String) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value, ..Default::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    }
}

fn rpc(code: Code) -> RpcStatus {
    RpcStatus { code: code.into(), ..Default::default() }
}

/// For Envoy's logs and for other filters: under `envoy.filters.http.ext_authz`.
fn metadata(granted: &Granted) -> Struct {
    let text = |text: String| Value { kind: Some(Kind::StringValue(text)) };
    let list = |values: Vec<Value>| Value { kind: Some(Kind::ListValue(ListValue { values })) };
    let tasks = granted.task_path.iter().map(|task| text(task.to_string())).collect();
    let actions = granted.actions.iter().map(|action| text(action.to_string())).collect();
    let agent = granted.agent().map(ToString::to_string).unwrap_or_default();
    let fields = [
        ("lease", text(granted.lease.to_string())),
        ("task", text(granted.task_path.task().map(|task| task.to_string()).unwrap_or_default())),
        ("task_path", list(tasks)),
        ("agent", text(agent)),
        ("owner", text(granted.owner.to_string())),
        ("actions", list(actions)),
    ];
    Struct { fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
}
