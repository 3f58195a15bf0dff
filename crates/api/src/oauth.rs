//! Introspection (RFC 7662) and revocation (RFC 7009), on the connections on which gRPC is spoken: the client is who its
//! connection was attested as, by a certificate over TLS or by the kernel on the Unix socket.
//!
//! Invariant: an answer that says nothing about the token, because something went wrong, is never a 200.

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
use taskpass_broker::{Caller, RevokedToken};
use taskpass_net::Peer;
use taskpass_types::{Grant, Kind, Reason, Refusal, Secret};

/// A token has at most 8 KiB, and there is little besides it.
const MAX_FORM: usize = 16 * 1024;
/// Sooner than the server gives up on a call, for that would be a 200 of gRPC.
const PATIENCE: Duration = Duration::from_secs(5);

/// The routes, beside those of gRPC.
pub(crate) fn router(api: &Api) -> Router {
    Router::new()
        .route("/introspect", post(introspect))
        .route("/revoke", post(revoke))
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(axum::middleware::from_fn(in_time))
        .with_state(api.clone())
}

/// What a request asks about.
struct Form {
    token: Secret<String>,
    hint: Option<String>,
}

impl Form {
    /// A parameter without a value counts as left out; none may come twice (RFC 6749 section 3.2).
    fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, &'static str> {
        const FORM: &str = "application/x-www-form-urlencoded";
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case(FORM) {
            return Err("the body has to be application/x-www-form-urlencoded");
        }
        let (mut token, mut hint) = (None, None);
        for (name, value) in form_urlencoded::parse(body).filter(|(_, value)| !value.is_empty()) {
            let place = match &*name {
                "token" => &mut token,
                "token_type_hint" => &mut hint,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return Err("a parameter comes twice");
            }
        }
        let token = Secret::new(token.ok_or("`token` is missing")?);
        Ok(Self { token, hint })
    }
}

fn error(status: StatusCode, code: &str, description: &str) -> Response {
    let body = Json(json!({ "error": code, "error_description": description }));
    (status, [(header::CACHE_CONTROL, "no-store")], body).into_response()
}

/// What went wrong on our side is not the client's fault; all else is that it is not who may ask.
fn refused(refusal: &Refusal) -> Response {
    match refusal.kind() {
        Kind::Unavailable | Kind::OutcomeUnknown => unavailable(refusal),
        Kind::Internal => error(StatusCode::INTERNAL_SERVER_ERROR, "server_error", refusal.message()),
        _ => error(StatusCode::UNAUTHORIZED, "invalid_client", refusal.message()),
    }
}

impl Api {
    /// Who asks, and about what.
    async fn asked(
        &self,
        peer: Option<Extension<Peer>>,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(Arc<Caller>, Form), Response> {
        let caller = self.client(peer).await?;
        let form = Form::parse(headers, body)
            .map_err(|why| error(StatusCode::BAD_REQUEST, "invalid_request", why))?;
        Ok((caller, form))
    }

    async fn client(&self, peer: Option<Extension<Peer>>) -> Result<Arc<Caller>, Response> {
        let Some(Extension(peer)) = peer else {
            return Err(refused(&Refusal::new(Reason::AttestationInvalid, "the connection has no identity")));
        };
        self.attested(&peer).await.map_err(|refusal| refused(&refusal))
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
        let (caller, form) = api.asked(peer, &headers, &body).await?;
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
        let (caller, form) = api.asked(peer, &headers, &body).await?;
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

    fn parse(kind: &'static str, body: &str) -> Result<(String, Option<String>), &'static str> {
        let headers = [(header::CONTENT_TYPE, header::HeaderValue::from_static(kind))].into_iter().collect();
        Form::parse(&headers, body.as_bytes()).map(|form| (form.token.expose().clone(), form.hint))
    }

    #[test]
    fn a_form_has_one_token_and_may_have_a_hint() {
        let form = "application/x-www-form-urlencoded";
        assert_eq!(parse(form, "token=a.b-c").unwrap(), ("a.b-c".to_owned(), None));
        assert_eq!(
            parse(
                "Application/X-WWW-Form-Urlencoded; charset=utf-8",
                "token_type_hint=x%20y&client_id=z&token=a%2E"
            )
            .unwrap(),
            ("a.".to_owned(), Some("x y".to_owned()))
        );
        for body in [
            "",
            "token=",
            "token",
            "tokens=a",
            "token=a&token=b",
            "token=a&token=a",
            "token=a&token_type_hint=b&token_type_hint=b",
        ] {
            assert!(parse(form, body).is_err(), "{body}");
        }
        for kind in ["application/json", "text/plain", "", "multipart/form-data"] {
            assert!(parse(kind, "token=a").is_err(), "{kind}");
        }
    }

    #[test]
    fn what_is_our_fault_is_no_200_and_no_401() {
        for reason in Reason::ALL {
            let status = refused(&Refusal::new(*reason, "no")).status();
            let expected = match reason.kind() {
                Kind::Unavailable | Kind::OutcomeUnknown => 503,
                Kind::Internal => 500,
                _ => 401,
            };
            assert_eq!(status.as_u16(), expected, "{reason:?}");
        }
    }
}
