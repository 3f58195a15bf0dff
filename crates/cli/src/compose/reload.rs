//! What changes on disk while serving: trust bundles and the server's certificate. A file that is missing or broken
//! changes nothing; the one before stays.

use crate::config::Config;
use std::{sync::Arc, time::Duration};
use taskpass_attest::spiffe::BundleFiles;
use taskpass_net::ServerCertificate;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const EVERY: Duration = Duration::from_secs(2);

/// The running look-outs.
pub(super) struct Reloading {
    work: TaskTracker,
    stop: CancellationToken,
}

impl Reloading {
    pub(super) fn start(
        config: &Config,
        bundles: Arc<BundleFiles>,
        certificate: Option<Arc<ServerCertificate>>,
    ) -> Self {
        let (work, stop) = (TaskTracker::new(), CancellationToken::new());
        let files = config.tls.clone();
        let look = move || {
            for error in bundles.reload().errors {
                tracing::warn!(%error, "a trust bundle could not be read; the one before stays");
            }
            if let (Some(certificate), Some(files)) = (&certificate, &files)
                && let Err(error) = certificate.reload_pem_files(&files.certificate, &files.key)
            {
                tracing::warn!(%error, "the server's certificate could not be read; the one before stays");
            }
        };
        let look = Arc::new(look);
        let round = async move {
            loop {
                tokio::time::sleep(EVERY).await;
                let look = look.clone();
                if let Err(error) = tokio::task::spawn_blocking(move || look()).await {
                    tracing::error!(%error, "looking for changed files failed");
                }
            }
        };
        work.spawn(stop.clone().run_until_cancelled_owned(round));
        work.close();
        Self { work, stop }
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.work.wait().await;
    }
}
