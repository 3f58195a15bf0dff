//! `taskpass guard`: the verifier beside nginx or Envoy.

use crate::{
    connect,
    error::{Exit, Failure},
    session::{Outcome, Session},
    span::Span,
};
use clap::Args;
use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};
use taskpass_guard::{Guard, Limits, Listener, Metrics};
use taskpass_net::{SocketAccess, SocketFile, UnixSocket, listen_tcp};
use taskpass_verify::Verifier;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

const MAX_STALE: Duration = Duration::from_secs(5);

/// Check credentials for a server that cannot do it itself: nginx, Envoy
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass guard --audience billing-api
  taskpass guard --audience billing-api --listen unix:/run/taskpass/guard.sock
  taskpass guard --audience billing-api --address https://broker.acme.test:7443 --instance web-1

It has to be registered with the broker under [[verifiers]]. It answers GET /verify for nginx (auth_request), the gRPC
service envoy.service.auth.v3.Authorization for Envoy, /livez, /readyz, the gRPC health check and /metrics. When it
has not heard the broker for --max-stale it refuses everything, and so it does before it has heard it at all. It
belongs on the machine of the server that asks: certificates of clients are believed on Unix sockets and loopback
addresses only.")]
pub(crate) struct GuardCommand {
    /// The resource that is guarded: the one audience of the credentials that are accepted
    #[arg(long, value_name = "RESOURCE")]
    audience: String,
    /// Where to answer: `host:port` or `unix:/path`; may be repeated
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7430")]
    listen: Vec<Place>,
    /// The tenant whose credentials are accepted; `default` when not said
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// What receipts call this process; its process id and some letters when not said
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// How long the broker may be silent before everything is refused; 5s when not said
    #[arg(long, value_name = "SPAN")]
    max_stale: Option<Span>,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err("the path of a socket begins with `/`"),
            None => {
                text.parse().map(Self::Tcp).map_err(|_| "expected `host:port` in numbers, or `unix:/path`")
            }
        }
    }
}

impl Place {
    /// The file is to be kept as long as it is listened on.
    fn bind(&self) -> Result<(Listener, Option<SocketFile>), Failure> {
        let failed = |why: String| Failure::new(Exit::Unexpected, "the guard does not start").why(why);
        match self {
            Self::Unix(path) => {
                let socket = UnixSocket::bind(path, SocketAccess::Group);
                let (listener, file) = socket.map_err(|error| failed(error.to_string()))?.into_parts();
                Ok((Listener::Unix(listener), Some(file)))
            }
            Self::Tcp(address) => {
                let listener = listen_tcp(*address)
                    .map_err(|error| failed(format!("cannot listen on `{address}`: {error}")))?;
                if !address.ip().is_loopback() {
                    tracing::warn!(%address, "not a loopback address: no client certificate is believed there");
                }
                Ok((Listener::Tcp(listener), None))
            }
        }
    }
}

impl GuardCommand {
    pub(super) fn run(self, session: &Session) -> Outcome {
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(self.serve(session))
    }

    async fn serve(self, session: &Session) -> Outcome {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        // Before the verifier, which counts from its beginning.
        let metrics = Metrics(crate::metrics::render());
        let verifier = self.verifier(session)?;
        let bound = self.listen.iter().map(Place::bind).collect::<Result<Vec<_>, _>>()?;
        let (listeners, _files): (Vec<_>, Vec<_>) = bound.into_iter().unzip();
        let stop = CancellationToken::new();
        let guard = Guard::new(verifier.clone(), self.max_stale()).metrics(metrics);
        let serving = guard.serve(listeners, Limits::default(), stop.clone());
        tracing::info!(addresses = ?self.listen, audience = self.audience, "refusing until the broker is heard");
        let ready = async {
            verifier.ready().await;
            tracing::info!("ready");
            std::future::pending::<()>().await;
        };
        let told = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = ready => {}
            }
            tracing::info!("stopping");
            stop.cancel();
        };
        tokio::join!(serving, told);
        Ok(Exit::Done)
    }

    /// Connects when it can: a broker that is away is no reason not to start, and refuses everything meanwhile.
    fn verifier(&self, session: &Session) -> Result<Verifier, Failure> {
        let endpoint = connect::endpoint(session.address.as_deref(), |name| std::env::var(name).ok())?;
        let builder = Verifier::builder(endpoint.connect_lazy()?).audience(&self.audience);
        let builder = self.tenant.iter().fold(builder, |builder, tenant| builder.tenant(tenant));
        let builder = self.instance.iter().fold(builder, |builder, name| builder.instance(name));
        let verifier = builder.max_stale(self.max_stale()).start();
        verifier.map_err(|error| Failure::usage(error.to_string()).fix("taskpass help guard"))
    }

    fn max_stale(&self) -> Duration {
        self.max_stale.map_or(MAX_STALE, Span::as_duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_or_a_socket() {
        assert_eq!("127.0.0.1:7430".parse(), Ok(Place::Tcp(([127, 0, 0, 1], 7430).into())));
        assert_eq!("unix:/run/g.sock".parse(), Ok(Place::Unix("/run/g.sock".into())));
        for bad in
            ["", "7430", "localhost:7430", "unix:g.sock", "unix:", "/run/g.sock", "https://127.0.0.1:1"]
        {
            assert!(bad.parse::<Place>().is_err(), "{bad:?} was accepted");
        }
    }
}
