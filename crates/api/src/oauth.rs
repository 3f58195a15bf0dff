//! Introspection (RFC 7662) and revocation (RFC 7009). On the connections on which gRPC is spoken the client is who its
//! connection was attested as, by a certificate over TLS or by the kernel on the Unix socket. Anywhere, and on the HTTP
//! listener only so, it can sign an assertion (RFC 7523).
//!
//! Invariants: an answer that says nothing about the token, because something went wrong, is never a 200. Where anybody can
//! connect, a stranger costs a signature at most, and leaves nothing behind: no entry in the audit log, no memory.

mod form;

use self::form::Form;
use crate::{Api, channels::unavailable};
use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use taskpass_attest::Unproven;
use taskpass_broker::{Caller, RevokedToken};
use taskpass_net::Peer;
use taskpass_types::{Grant, Kind, Reason, Refusal, Secret};
use tokio::sync::Semaphore;

/// A token has at most 8 KiB, and there is little besides it.
const MAX_FORM: usize = 16 * 1024;
/// Sooner than the server gives up on a call, for that would be a 200 of gRPC.
const PATIENCE: Duration = Duration::from_secs(5);

/// Requests at a time on the HTTP listener; above it they are told to come again.
const OPEN_REQUESTS: usize = 64;

/// The routes on the HTTP listener, where only an assertion says who asks.
pub(crate) fn open_router(api: &Api) -> Router {
    let places = Arc::new(Semaphore::new(OPEN_REQUESTS));
    let bounded = async |State(places): State<Arc<Semaphore>>, request: Request, next: Next| match places
        .try_acquire()
    {
        Ok(_place) => next.run(request).await,
        Err(_) => unavailable(&Refusal::new(Reason::QuotaExceeded, "too many requests at a time")),
    };
    router(api).layer(axum::middleware::from_fn_with_state(places, bounded))
}

/// The routes, beside those of gRPC.
pub(crate) fn router(api: &Api) -> Router {
    Router::new()
        .route("/introspect", post(introspect))
        .route("/revoke", post(revoke))
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(axum::middleware::from_fn(in_time))
        .with_state(api.clone())
}

fn error(status: StatusCode, code: &str, description: &str) -> Response {
    let body = Json(json!({ "error": code, "error_description": description }));
    (status, [(header::CACHE_CONTROL, "no-store")], body).into_response()
}

/// What went wrong on our side is not the client's fault, and too much is for later; all else is that it is not who may ask.
fn refused(refusal: &Refusal) -> Response {
    match refusal.kind() {
        Kind::Unavailable | Kind::OutcomeUnknown | Kind::Exhausted => unavailable(refusal),
        Kind::Internal => error(StatusCode::INTERNAL_SERVER_ERROR, "server_error", refusal.message()),
        _ => error(StatusCode::UNAUTHORIZED, "invalid_client", refusal.message()),
    }
}

impl Api {
    /// Who asks, and about what.
    async fn asked(
        &self,
        peer: Option<Extension<Peer>>,
        path: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(Arc<Caller>, Form), Response> {
        let form = Form::parse(headers, body)
            .map_err(|why| error(StatusCode::BAD_REQUEST, "invalid_request", why))?;
        let caller = match (peer, &form.assertion) {
            (Some(Extension(peer)), None) => self.attested(&peer).await,
            (_, assertion) => self.client(assertion.as_ref(), form.client.as_deref(), path),
        };
        let caller = caller.map_err(|refusal| refused(&refusal))?;
        Ok((caller, form))
    }

    /// Who signed the assertion. What is wrong with one is for the log: it would tell a stranger which clients there are.
    fn client(
        &self,
        assertion: Option<&Secret<String>>,
        said: Option<&str>,
        path: &str,
    ) -> Result<Arc<Caller>, Refusal> {
        let nobody = || Refusal::new(Reason::AttestationInvalid, "nothing proves who the client is");
        let assertion = assertion.ok_or_else(nobody)?.expose();
        let audiences = self.places.audiences(path);
        let audiences: Vec<_> = audiences.iter().map(String::as_str).collect();
        match self.clients.identify(assertion, said, &audiences, self.clock.now()) {
            Ok(identity) => self.broker.caller(&identity),
            // It has proved who it is.
            Err(why @ Unproven::TooMany) => Err(Refusal::new(Reason::QuotaExceeded, why.to_string())),
            Err(why) => {
                metrics::counter!("taskpass_assertions_refused_total").increment(1);
                tracing::debug!(%why, "a client's assertion was refused");
                Err(nobody().because(why))
            }
        }
    }
}

/// Bounds the whole request, its body included. What was begun runs to its end.
async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(PATIENCE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            unavailable(&Refusal::new(Reason::OutcomeUnknown, "it took too long; it may have happened"))
        }
    }
}

async fn introspect(
    State(api): State<Api>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = async {
        let (caller, form) = api.asked(peer, "/introspect", &headers, &body).await?;
        let broker = api.broker.clone();
        let work = async move { broker.introspect(&caller, form.token.expose()).await };
        api.broker.detached(work).await.map_err(|refusal| refused(&refusal))
    };
    match asked.await {
        Ok(grant) => {
            let body = grant.map_or_else(inactive, |grant| active(&api, &grant));
            ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
        }
        Err(response) => response,
    }
}

/// The same, whatever is wrong with a token: who asks about one that is not for them learns nothing.
fn inactive() -> Value {
    json!({ "active": false })
}

/// What the token itself says, and what a client of RFC 7662 looks for besides.
fn active(api: &Api, grant: &Grant) -> Value {
    let Some(mut claims) = taskpass_crypto::jws::claims(api.broker.issuer(), grant) else {
        return inactive();
    };
    let scope = grant.actions.iter().map(|action| action.as_str()).collect::<Vec<_>>().join(" ");
    claims.insert("active".to_owned(), json!(true));
    claims.insert("scope".to_owned(), json!(scope));
    claims.insert("token_type".to_owned(), json!("Bearer"));
    Value::Object(claims)
}

async fn revoke(
    State(api): State<Api>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = async {
        let (caller, form) = api.asked(peer, "/revoke", &headers, &body).await?;
        let (broker, hint) = (api.broker.clone(), form.hint);
        let work = async move { broker.revoke_token(caller, form.token.expose()).await };
        let done = api.broker.detached(work).await.map_err(|refusal| refused(&refusal))?;
        Ok::<_, Response>((done, hint))
    };
    match asked.await {
        // The hint is only where to look first: a token of ours is revoked whatever it says.
        Ok((RevokedToken::Foreign, Some(hint))) if hint != "access_token" => {
            error(StatusCode::BAD_REQUEST, "unsupported_token_type", "only access tokens are issued here")
        }
        Ok(_) => ([(header::CACHE_CONTROL, "no-store")], StatusCode::OK).into_response(),
        Err(response) => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_our_fault_is_no_200_and_no_401() {
        for reason in Reason::ALL {
            let status = refused(&Refusal::new(*reason, "no")).status();
            let expected = match reason.kind() {
                Kind::Unavailable | Kind::OutcomeUnknown | Kind::Exhausted => 503,
                Kind::Internal => 500,
                _ => 401,
            };
            assert_eq!(status.as_u16(), expected, "{reason:?}");
        }
    }
}
