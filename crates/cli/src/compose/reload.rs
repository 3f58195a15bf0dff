//! What changes on disk while serving: trust bundles, the server's certificate, and who and what is registered. A file that
//! is missing or broken changes nothing; the one before stays.

use super::parts;
use crate::config::Config;
use std::{os::unix::fs::MetadataExt as _, path::Path, sync::Arc, time::Duration};
use taskpass_attest::{Clients, spiffe::BundleFiles};
use taskpass_broker::Broker;
use taskpass_net::ServerCertificate;
use taskpass_types::{Reason, Refusal};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_millis(500);

/// The configuration file as it is before anything is opened by it: whoever is told that the broker is ready, and edits it at
/// once, has edited a file that is being watched.
pub(super) struct Seen(Option<Stamp>);

impl Seen {
    pub(super) fn now(config: &Config) -> Self {
        Self(config.file.as_deref().and_then(stamp))
    }
}

/// The running look-outs.
pub(super) struct Reloading {
    work: TaskTracker,
    stop: CancellationToken,
    now: Arc<Notify>,
}

impl Reloading {
    pub(super) fn start(
        config: &Config,
        broker: &Broker,
        (bundles, clients): (Arc<BundleFiles>, Arc<Clients>),
        certificate: Option<Arc<ServerCertificate>>,
        seen: Seen,
    ) -> Self {
        let (work, stop, now) = (TaskTracker::new(), CancellationToken::new(), Arc::new(Notify::new()));
        let look = Arc::new(Look { tls: config.tls.clone(), bundles, certificate });
        let mut registered =
            Registered { config: config.clone(), broker: broker.clone(), clients, seen: seen.0, newer: None };
        let asked = now.clone();
        let round = async move {
            loop {
                let asked = tokio::time::timeout(EVERY, asked.notified()).await.is_ok();
                let (look, moved) = (look.clone(), registered);
                let looked = tokio::task::spawn_blocking(move || {
                    look.round();
                    let mut registered = moved;
                    registered.round(asked);
                    registered
                });
                match looked.await {
                    Ok(back) => registered = back,
                    Err(error) => {
                        tracing::error!(%error, "looking for changed files failed, and ends");
                        return;
                    }
                }
            }
        };
        work.spawn(stop.clone().run_until_cancelled_owned(round));
        work.close();
        Self { work, stop, now }
    }

    /// Looks now, and takes up the configuration even if it seems to be the same.
    pub(super) fn now(&self) {
        self.now.notify_one();
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.work.wait().await;
    }
}

/// Trust bundles and the server's certificate.
struct Look {
    tls: Option<crate::config::TlsFiles>,
    bundles: Arc<BundleFiles>,
    certificate: Option<Arc<ServerCertificate>>,
}

impl Look {
    fn round(&self) {
        for error in self.bundles.reload().errors {
            tracing::warn!(%error, "a trust bundle could not be read; the one before stays");
        }
        if let (Some(certificate), Some(files)) = (&self.certificate, &self.tls)
            && let Err(error) = certificate.reload_pem_files(&files.certificate, &files.key)
        {
            tracing::warn!(%error, "the server's certificate could not be read; the one before stays");
        }
    }
}

/// Who and what is registered, as the configuration said when it was last taken up or refused.
struct Registered {
    broker: Broker,
    clients: Arc<Clients>,
    config: Config,
    seen: Option<Stamp>,
    /// What the last look saw, if that differs: a change is taken up when two looks agree.
    newer: Option<Stamp>,
}

/// Enough to notice every change that an editor, `cp`, `mv` or `chmod` makes.
type Stamp = (u64, i64, i64, u64);

impl Registered {
    fn round(&mut self, asked: bool) {
        let Some(file) = self.config.file.clone() else { return };
        let now = stamp(&file);
        let settled = now != self.seen && now == self.newer;
        self.newer = now;
        if settled || asked {
            self.seen = now;
            self.take_up(&file);
        }
    }

    fn take_up(&mut self, file: &Path) {
        let refuse = |why: &dyn std::fmt::Display| {
            let refusal =
                Refusal::new(Reason::FieldInvalid, format!("the configuration is not valid: {why}"));
            self.broker.refuse_registry(&refusal.fix("taskpass serve --check --config FILE"));
        };
        let config = match Config::load(file) {
            Ok(config) => config,
            Err(error) => return refuse(&error),
        };
        let registered = parts::registry(&config)
            .and_then(|registry| parts::clients(&config, &self.clients).map(|()| registry));
        match registered {
            Ok((registry, drift)) => {
                if !same_otherwise(&self.config, &config) {
                    tracing::warn!(
                        "parts of the configuration that changed take effect at the next start only"
                    );
                }
                self.broker.adopt_registry(registry, drift);
                self.config = config;
            }
            Err(error) => refuse(&error),
        }
    }
}

/// Whether two configurations are the same but for what is taken up while serving.
fn same_otherwise(a: &Config, b: &Config) -> bool {
    let fixed = |config: &Config| Config {
        agents: Vec::new(),
        clients: Vec::new(),
        users: Vec::new(),
        operators: Vec::new(),
        orchestrators: Vec::new(),
        verifiers: Vec::new(),
        resources: Vec::new(),
        drift: Vec::new(),
        ..config.clone()
    };
    fixed(a) == fixed(b)
}

fn stamp(file: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.ino(), meta.ctime(), meta.ctime_nsec(), meta.len()))
}
