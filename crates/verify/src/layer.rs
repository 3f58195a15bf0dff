//! A tower layer for any HTTP server, axum and tonic alike: verified, or refused before the service sees it.
//!
//! Finds exactly one `Authorization: Bearer` header; without one, the certificate that the TLS client presented. Puts
//! [`Granted`] into the request's extensions. The check is made once per request; an answer that is still being given when
//! the credential ends is cut off. What a service waits for meanwhile, and what it reads from a request, it can guard with
//! [`Verifier::denied`].

use crate::{
    Granted, PeerCertificates, Rejected, Verifier,
    body::{Answer, GuardedBody},
    connection::Watch,
};
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE},
};
use std::task::{Context, Poll};
use taskpass_types::{ActionName, ParseNameError};
use tonic::{Code, Status};
use tower::{Layer, Service};

/// Lets only verified requests through; made by [`Verifier::layer`].
#[derive(Clone, Debug)]
pub struct VerifyLayer {
    verifier: Verifier,
    action: Option<ActionName>,
}

impl Verifier {
    /// A layer that lets only verified requests through.
    pub fn layer(&self) -> VerifyLayer {
        VerifyLayer { verifier: self.clone(), action: None }
    }
}

impl VerifyLayer {
    /// Also requires that `action` is granted; a request without it is answered 403.
    pub fn require(&self, action: impl AsRef<str>) -> Result<Self, ParseNameError> {
        Ok(Self { verifier: self.verifier.clone(), action: Some(ActionName::new(action)?) })
    }
}

impl<S> Layer<S> for VerifyLayer {
    type Service = Verified<S>;

    fn layer(&self, inner: S) -> Verified<S> {
        Verified { inner, layer: self.clone() }
    }
}

/// A service behind a [`VerifyLayer`].
#[derive(Clone, Debug)]
pub struct Verified<S> {
    inner: S,
    layer: VerifyLayer,
}

impl<S, B, R> Service<Request<B>> for Verified<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<GuardedBody<R>>;
    type Error = S::Error;
    type Future = Answer<S::Future, R>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let grpc = is_grpc(request.headers());
        let checked = self.layer.check(&request);
        self.layer.verifier.checked(&checked);
        match checked {
            Ok(granted) => {
                let watch = Watch::new(&self.layer.verifier, granted.clone());
                request.extensions_mut().insert(granted);
                Answer::verified(self.inner.call(request), watch, grpc)
            }
            Err(rejected) => {
                tracing::debug!(code = rejected.code(), %rejected, "request refused");
                Answer::refused(refuse(&rejected, grpc))
            }
        }
    }
}

impl VerifyLayer {
    fn check<B>(&self, request: &Request<B>) -> Result<Granted, Rejected> {
        let peer = request.extensions().get::<PeerCertificates>().map(|peer| peer.0.as_slice());
        let granted = match (bearer(request.headers())?, peer) {
            (Some(token), peer) => self.verifier.judge_token(token, peer.and_then(<[_]>::first)),
            (None, Some(chain)) if !chain.is_empty() => self.verifier.judge_certificate(chain),
            (None, _) => Err(Rejected::Missing),
        }?;
        if let Some(action) = &self.action {
            granted.require(action)?;
        }
        Ok(granted)
    }
}

/// The token of the one `Authorization` header (RFC 6750 section 2.1); `None` without the header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Rejected> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Rejected::HeaderInvalid);
    }
    let (scheme, token) =
        value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(Rejected::HeaderInvalid)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.contains(' ') {
        return Err(Rejected::HeaderInvalid);
    }
    Ok(Some(token))
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn refuse<R>(rejected: &Rejected, grpc: bool) -> Response<GuardedBody<R>> {
    let status = StatusCode::from_u16(rejected.http_status()).unwrap_or(StatusCode::UNAUTHORIZED);
    let mut response = if grpc {
        let code = match status {
            StatusCode::FORBIDDEN => Code::PermissionDenied,
            StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
            _ => Code::Unauthenticated,
        };
        Status::new(code, rejected.to_string()).into_http::<()>().map(|()| GuardedBody::empty())
    } else {
        let mut response = Response::new(GuardedBody::empty());
        *response.status_mut() = status;
        response
    };
    let challenge = rejected.www_authenticate().and_then(|value| HeaderValue::try_from(value).ok());
    if let Some(challenge) = challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}
