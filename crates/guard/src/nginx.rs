//! `GET /verify` for nginx's `auth_request`: 2xx lets the request through, 401 and 403 refuse it, anything else is an
//! error, which lets nothing through either.
//!
//! nginx sends the client's own headers along. Those that nginx has to say are set by its configuration, which replaces
//! the client's; a header that comes twice was not.

use crate::{
    certificate,
    judge::{Guard, Question},
};
use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use taskpass_types::ActionName;

/// The client's certificate: `proxy_set_header X-Taskpass-Certificate $ssl_client_escaped_cert`.
const CERTIFICATE: &str = "x-taskpass-certificate";
/// The action that has to be granted; [`ANY`], or without the header: none in particular.
const ACTION: &str = "x-taskpass-action";
/// So that a configuration can tell what it does not mind from what it forgot to say. No action has capital letters.
const ANY: &str = "ANY";

#[derive(Clone)]
struct Face {
    guard: Guard,
    local: bool,
}

/// The routes; `local`: only this machine can ask, so certificates are believed.
pub(crate) fn router(guard: &Guard, local: bool) -> Router {
    Router::new()
        .route("/verify", get(verify))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Face { guard: guard.clone(), local })
}

async fn verify(State(face): State<Face>, headers: HeaderMap) -> Response {
    match question(&headers, face.local) {
        Ok(question) => {
            let mut response = face.guard.judge(question).await.map(|()| Body::empty());
            let kept = HeaderValue::from_static("no-store");
            response.headers_mut().insert(header::CACHE_CONTROL, kept);
            response
        }
        Err(why) => (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
    }
}

async fn metrics(State(face): State<Face>) -> Response {
    match face.guard.counted() {
        Some(counted) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], counted).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn ready(State(face): State<Face>) -> Response {
    match face.guard.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// What is wrong with it is the configuration of nginx, not the client's credential.
fn question(headers: &HeaderMap, local: bool) -> Result<Question, String> {
    let mut certificate = None;
    if local && let Some(text) = once(headers, CERTIFICATE)? {
        certificate = certificate::parse(text).map_err(|error| error.to_string())?;
    }
    let action = once(headers, ACTION)?.filter(|text| *text != ANY).map(|text| {
        ActionName::new(text)
            .map_err(|_| format!("the header `{ACTION}` is no action such as `invoice:read`"))
    });
    Ok(Question {
        authorization: headers.get_all(header::AUTHORIZATION).iter().cloned().collect(),
        certificate,
        action: action.transpose()?,
    })
}

fn once<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(format!("the header `{name}` comes twice: set it by `proxy_set_header`"));
    }
    value.map(|value| value.to_str().map_err(|_| format!("the header `{name}` is no text"))).transpose()
}
