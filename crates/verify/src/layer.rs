//! A tower layer for any HTTP server, axum and tonic alike: verified, or refused before the service sees it.
//!
//! Finds exactly one `Authorization: Bearer` header; without one, the certificate that the TLS client presented. Puts
//! [`Granted`] into the request's extensions. The check is made once per request: a service with long streams also asks
//! [`Verifier::denied`].

use crate::{Granted, Rejected, Verifier};
use futures::future::Either;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE},
};
use rustls_pki_types::CertificateDer;
use std::{
    future::{Ready, ready},
    task::{Context, Poll},
};
use taskpass_types::{ActionName, ParseNameError};
use tonic::{Code, Status};
use tower::{Layer, Service};

/// The certificates that the TLS client presented, leaf first. The server puts them into each request's extensions,
/// after the handshake has proved that the client holds the leaf's key; nobody else may.
#[derive(Clone, Debug)]
pub struct PeerCertificates(pub Vec<CertificateDer<'static>>);

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
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<R>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.layer.check(&request) {
            Ok(granted) => {
                request.extensions_mut().insert(granted);
                Either::Left(self.inner.call(request))
            }
            Err(rejected) => {
                tracing::debug!(code = rejected.code(), %rejected, "request refused");
                let response = refuse(&rejected, is_grpc(request.headers()));
                Either::Right(ready(Ok(response)))
            }
        }
    }
}

impl VerifyLayer {
    fn check<B>(&self, request: &Request<B>) -> Result<Granted, Rejected> {
        let peer = request.extensions().get::<PeerCertificates>().map(|peer| peer.0.as_slice());
        let granted = match (bearer(request.headers())?, peer) {
            (Some(token), peer) => self.verifier.verify_bound_token(token, peer.and_then(<[_]>::first)),
            (None, Some(chain)) if !chain.is_empty() => self.verifier.verify_certificate(chain),
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

fn refuse<R: Default>(rejected: &Rejected, grpc: bool) -> Response<R> {
    let status = StatusCode::from_u16(rejected.http_status()).unwrap_or(StatusCode::UNAUTHORIZED);
    let mut response = if grpc {
        let code = match status {
            StatusCode::FORBIDDEN => Code::PermissionDenied,
            StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
            _ => Code::Unauthenticated,
        };
        Status::new(code, rejected.to_string()).into_http()
    } else {
        let mut response = Response::new(R::default());
        *response.status_mut() = status;
        response
    };
    let challenge = rejected.www_authenticate().and_then(|value| HeaderValue::try_from(value).ok());
    if let Some(challenge) = challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}
