//! One request, one verdict: an HTTP response without a body, whoever asked.

use crate::facts;
use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use rustls_pki_types::CertificateDer;
use std::{convert::Infallible, fmt, sync::Arc, time::Duration};
use taskpass_types::ActionName;
use taskpass_verify::{Granted, PeerCertificates, Verifier};
use tower::{Layer as _, ServiceExt as _, service_fn};

/// What a proxy tells of a request. Nothing else of it is looked at.
#[derive(Debug, Default)]
pub(crate) struct Question {
    /// Every `Authorization` header; more than one is refused.
    pub(crate) authorization: Vec<HeaderValue>,
    /// What the TLS client presented and proved.
    pub(crate) certificate: Option<CertificateDer<'static>>,
    /// What has to be granted.
    pub(crate) action: Option<ActionName>,
}

/// Judges requests for one resource. Clones share everything.
#[derive(Clone, Debug)]
pub struct Guard {
    verifier: Verifier,
    max_stale: Duration,
    metrics: Option<Metrics>,
}

/// Renders what the process counted, in Prometheus' text format.
#[derive(Clone)]
pub struct Metrics(pub Arc<dyn Fn() -> String + Send + Sync>);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Guard {
    /// A guard that judges by `verifier`, which refuses everything when it has not heard the broker for `max_stale`.
    pub fn new(verifier: Verifier, max_stale: Duration) -> Self {
        Self { verifier, max_stale, metrics: None }
    }

    /// The same, which answers `/metrics` with what `metrics` renders.
    pub fn metrics(self, metrics: Metrics) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// What was counted, if anybody counts.
    pub(crate) fn counted(&self) -> Option<String> {
        self.metrics.as_ref().map(|Metrics(render)| render())
    }

    /// Whether anything can be accepted now; `Err` says why not.
    pub(crate) fn ready(&self) -> Result<(), String> {
        match self.verifier.staleness() {
            None => Err("the deny feed has not begun yet".to_owned()),
            Some(age) if age > self.max_stale => Err(format!("the deny feed is {} s old", age.as_secs())),
            Some(_) => Ok(()),
        }
    }

    /// 200 with the facts about the grant, as headers and as [`Granted`] in the extensions; or the refusal of
    /// `taskpass-verify`'s layer, with its challenge.
    ///
    /// The layer is asked with a request that is made here. One that came from a client could choose the form of the
    /// refusal: that of gRPC is an HTTP 200.
    pub(crate) async fn judge(&self, question: Question) -> Response<()> {
        let mut request = Request::new(());
        for value in question.authorization {
            request.headers_mut().append(AUTHORIZATION, value);
        }
        if let Some(certificate) = question.certificate {
            request.extensions_mut().insert(PeerCertificates(vec![certificate]));
        }
        let mut layer = self.verifier.layer();
        if let Some(action) = question.action {
            match layer.require(action.as_str()) {
                Ok(stricter) => layer = stricter,
                Err(_) => return facts::broken(),
            }
        }
        let accepted = service_fn(async |request: Request<()>| {
            Ok::<_, Infallible>(request.extensions().get::<Granted>().map_or_else(facts::broken, facts::of))
        });
        let Ok(response) = layer.layer(accepted).oneshot(request).await;
        response.map(drop)
    }
}
