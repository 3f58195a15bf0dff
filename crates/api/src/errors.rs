//! Errors that the transport makes by itself (a message too large, an unknown method) get the same shape as ours, and
//! are written down where there was a caller.

use crate::{Api, status};
use axum::{extract::State, middleware::Next, response::Response};
use http::{HeaderMap, Request};
use taskpass_net::Peer;
use taskpass_types::{Reason, Refusal};
use tonic::{Code, Status};

pub(crate) async fn complete(
    State(api): State<Api>,
    request: Request<axum::body::Body>,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().cloned();
    let method = request.uri().path().to_owned();
    let response = next.run(request).await;
    match bare_error(response.headers()) {
        Some(bare) => {
            let refusal = refusal(&bare, &method);
            // Who is nobody here is written down as that.
            if let Some(peer) = peer
                && let Ok(caller) = api.caller_of(&peer).await
            {
                api.broker.refused(&caller, &refusal, |event| event);
            }
            status(&refusal).into_http()
        }
        None => response,
    }
}

/// An error without details: none of ours.
fn bare_error(headers: &HeaderMap) -> Option<Status> {
    let status = Status::from_header_map(headers)?;
    (status.code() != Code::Ok && status.details().is_empty()).then_some(status)
}

fn refusal(bare: &Status, method: &str) -> Refusal {
    match bare.code() {
        Code::OutOfRange | Code::ResourceExhausted => {
            Refusal::new(Reason::FieldInvalid, "the message is larger than this broker accepts")
                .fix("send at most 64 KiB in one message")
                .with("field", "message")
        }
        Code::Unimplemented => {
            Refusal::new(Reason::FieldInvalid, format!("there is no method `{}`", cut(method)))
                .fix("see the API's reflection service, or update the client")
                .with("field", "method")
        }
        Code::DeadlineExceeded | Code::Cancelled => {
            Refusal::new(Reason::OutcomeUnknown, "the deadline passed; it may have happened")
                .fix("ask again with the same request id")
        }
        Code::InvalidArgument | Code::Internal => {
            Refusal::new(Reason::FieldInvalid, "the message could not be read").with("field", "message")
        }
        _ => Refusal::new(Reason::Internal, "the request failed"),
    }
    .because(bare.message())
}

fn cut(text: &str) -> String {
    text.escape_debug().take(128).collect()
}
