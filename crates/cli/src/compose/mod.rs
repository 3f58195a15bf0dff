//! The composition root: the only place that names adapters and puts a broker together.
//!
//! Order matters twice. Up: what could be lost is opened before anything is served. Down: stop accepting, let calls end,
//! stop the reconcilers, close the store and the audit log last.

mod ledger;
mod parts;
mod reload;

pub use ledger::{PasswordError, settings};
pub use parts::{StartError, seal};

use crate::config::Config;
use parts::Adapters;
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use taskpass_api::{Api, ApiLimits, HttpFace, Places};
use taskpass_attest::Clients;
use taskpass_audit::{Action, Actor, Event, Recorder};
use taskpass_broker::{Broker, PolicyFiles, Reconcilers};
use taskpass_net::{
    Acceptor, ClientAuth, Drain, Drained, Protocol, ServerCertificate, Tls, UnixSocket, listen_tcp,
};
use taskpass_types::{Clock, SystemClock, TenantId};

/// How long calls may take to end when the server stops.
const DRAIN: Duration = Duration::from_secs(10);

/// A broker that serves.
pub struct Server {
    broker: Broker,
    audit: Arc<taskpass_audit::AuditLog>,
    drain: Drain,
    reconcilers: Reconcilers,
    reloading: reload::Reloading,
    /// Where it is reached.
    pub addresses: Addresses,
}

/// Where a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The Unix socket.
    pub socket: PathBuf,
    /// gRPC over mTLS.
    pub api: Option<SocketAddr>,
    /// What anyone may read.
    pub http: SocketAddr,
}

impl Server {
    /// Opens everything, binds everything, serves.
    ///
    /// # Errors
    /// What could not be opened or bound, and why; nothing is left running.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        // Before the policies are loaded: what is edited from here on is a change.
        let seen = reload::Seen::now(config);
        let policy_files =
            PolicyFiles::new(config.policy.dir.clone(), config.policy.poll, config.data.policies_seen());
        let adapters = Adapters::open(config, &clock).await?;
        let (audit, attestors, bundles) =
            (adapters.audit.clone(), adapters.attestors.clone(), adapters.bundles.clone());
        let broker = Broker::new(adapters.into_parts(config, clock.clone())?);
        let files = broker.policy_revision();
        broker.begin(policy_files.seen().as_ref()).await?;
        policy_files.remember(&files);
        let drain = Drain::new();
        let clients = Arc::new(Clients::default());
        parts::clients(config, &clients)?;
        let api = Api {
            broker: broker.clone(),
            audit: audit.clone(),
            clients: clients.clone(),
            places: Arc::new(places(config)),
            clock: clock.clone(),
            drain: drain.clone(),
        };
        let acceptor = || {
            let (attestors, clock) = (attestors.clone(), clock.clone());
            Acceptor::new(attestors, clock, config.connections.clone(), drain.clone())
        };
        // Whoever fills the listener that is open to all takes nobody's place at the API.
        let (attested, open) = (acceptor(), acceptor());

        let certificate = server_certificate(config)?;
        let addresses = listen(config, &api, [&attested, &open], certificate.as_ref()).await?;
        audit.note(Event::outcome(&TenantId::default(), Action::BrokerStart, Actor::Broker("serve")));
        Ok(Self {
            reconcilers: Reconcilers::start(&broker, Some(policy_files)),
            reloading: reload::Reloading::start(config, &broker, (bundles, clients), certificate, seen),
            broker,
            audit,
            drain,
            addresses,
        })
    }

    /// Takes up what changed on disk, now: policies, who and what is registered, trust bundles, certificates.
    pub fn reload(&self) {
        self.broker.reload();
        self.reloading.now();
    }

    /// Stops accepting, lets what is under way end, closes everything.
    pub async fn stop(self) {
        if let Drained::Killed(left) = self.drain.finish(DRAIN).await {
            tracing::warn!(left, "connections were still open at the end of the drain, and were cut");
        }
        self.broker.drained().await;
        self.reloading.stop().await;
        self.reconcilers.stop().await;
        // The last entry has to be durable before the process ends; if it cannot be, the log says why.
        let stopped = Event::outcome(&TenantId::default(), Action::BrokerStop, Actor::Broker("serve"));
        if let Err(refusal) = self.audit.record(stopped).await {
            tracing::warn!(?refusal, "the stop could not be written down");
        }
    }
}

fn server_certificate(config: &Config) -> Result<Option<Arc<ServerCertificate>>, StartError> {
    let files = config.tls.as_ref();
    Ok(files.map(|files| ServerCertificate::from_pem_files(&files.certificate, &files.key)).transpose()?)
}

/// Binds all listeners before any of them serves.
async fn listen(
    config: &Config,
    api: &Api,
    [attested, open]: [&Acceptor; 2],
    certificate: Option<&Arc<ServerCertificate>>,
) -> Result<Addresses, StartError> {
    let bind = |what: &'static str, address: SocketAddr| {
        listen_tcp(address).map_err(|error| StartError::Bind { what, address, error })
    };
    let socket = UnixSocket::bind(&config.listen.socket, config.listen.socket_mode.into())?;
    let http = bind("http", config.listen.http)?;
    let tls = match (config.listen.api, certificate) {
        (Some(address), Some(certificate)) => {
            let tls = Tls::new(certificate.clone(), ClientAuth::Required, Protocol::Http2OrHttp1)?;
            Some((bind("api", address)?, tls))
        }
        _ => None,
    };
    let addresses = Addresses {
        socket: socket.path().to_owned(),
        api: tls.as_ref().and_then(|(listener, _)| listener.local_addr().ok()),
        http: http.local_addr().map_err(|error| StartError::Bind {
            what: "http",
            address: config.listen.http,
            error,
        })?,
    };
    let limits = ApiLimits::default();
    let routes = taskpass_api::routes(api, &limits).await.map_err(StartError::Reflection)?;
    if let Some((listener, tls)) = tls {
        let (api, routes, limits) = (api.clone(), routes.clone(), limits.clone());
        let incoming = attested.tls(listener, tls);
        serve(&api.clone(), "api", async move { taskpass_api::serve(&api, routes, &limits, incoming).await });
    }
    let (local, incoming) = (api.clone(), attested.unix(socket));
    serve(api, "socket", async move { taskpass_api::serve(&local, routes, &limits, incoming).await });
    let face = HttpFace::new(api.clone(), crate::metrics::render());
    serve(api, "http", taskpass_api::serve_open(face, open.tcp(http)));
    Ok(addresses)
}

fn serve<E: std::fmt::Display>(
    api: &Api,
    what: &'static str,
    serving: impl Future<Output = Result<(), E>> + Send + 'static,
) {
    api.drain.tasks().spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, what, "a listener failed");
        }
    });
}

fn places(config: &Config) -> Places {
    Places {
        issuer: config.issuer.as_str().to_owned(),
        api: config.channels.api_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()),
        assertions: !config.clients.is_empty(),
    }
}
