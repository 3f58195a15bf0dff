//! How a verifier is set up.

use crate::{Verifier, clock::Stopwatch};
use std::{path::PathBuf, sync::Arc, time::Duration};
use taskpass_types::{Clock, ParseNameError, ResourceName, SystemClock, TenantId};
use tonic::transport::Channel;

const MAX_STALE: Duration = Duration::from_secs(5);
/// Some 90 MB, and once more while a snapshot replaces them.
const MAX_RECORDS: usize = 1_000_000;

/// Why a verifier does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The audience or the tenant is no name.
    #[error(transparent)]
    Name(#[from] ParseNameError),
    /// Without an audience, a token for any resource would be accepted.
    #[error("the verifier has no audience: say for which resource it checks")]
    NoAudience,
}

/// Sets up a [`Verifier`]; made by [`Verifier::builder`].
#[must_use = "nothing happens before `start`"]
pub struct VerifierBuilder {
    pub(crate) channel: Channel,
    audience: Option<String>,
    tenant: Option<String>,
    pub(crate) instance: String,
    pub(crate) max_stale: Option<Duration>,
    pub(crate) max_records: usize,
    pub(crate) cache: Option<PathBuf>,
    pub(crate) clocks: (Arc<dyn Clock>, Arc<dyn Clock>),
}

impl VerifierBuilder {
    pub(crate) fn new(channel: Channel) -> Self {
        Self {
            channel,
            audience: None,
            tenant: None,
            instance: format!("{}-{:04x}", std::process::id(), fastrand::u16(..)),
            max_stale: Some(MAX_STALE),
            max_records: MAX_RECORDS,
            cache: None,
            clocks: (Arc::new(SystemClock::default()), Arc::new(Stopwatch::default())),
        }
    }

    /// The resource that is guarded: the one `aud` of tokens, the one resource of certificates. Required.
    pub fn audience(mut self, resource: impl Into<String>) -> Self {
        self.audience = Some(resource.into());
        self
    }

    /// The tenant whose credentials are taken; `default` when not said. The feed must be the same tenant's.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// What receipts call this process, for example `web-1`; its process id and some letters when not said. Two processes
    /// must not share a name.
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.instance = name.into();
        self
    }

    /// How long the broker may be silent before everything is refused; 5 s when not said. See also
    /// [`VerifierBuilder::until_expiry`].
    pub fn max_stale(mut self, limit: Duration) -> Self {
        self.max_stale = Some(limit);
        self
    }

    /// When the broker is silent, go on accepting what is not known to be denied, until it expires: instead of
    /// `max_stale`, for a server that must not stop with the broker. What ends meanwhile is accepted until the feed comes
    /// back or the credential expires, and receipts say so. Nothing is accepted before the broker was heard once,
    /// by this process or by the one that wrote its [`VerifierBuilder::cache`].
    pub fn until_expiry(mut self) -> Self {
        self.max_stale = None;
        self
    }

    /// How many deny records are held at most; 1,000,000 when not said. A feed with more is not followed, so that
    /// everything is refused rather than something forgotten.
    pub fn max_records(mut self, limit: usize) -> Self {
        self.max_records = limit;
        self
    }

    /// A file of this process alone, in a directory that exists, to start from when the broker is not there: what is
    /// denied, the keys, and when the broker was last heard. With `max_stale` it counts only while that is no longer ago;
    /// with [`VerifierBuilder::until_expiry`] it counts until what it accepts has expired. One that is damaged, or of
    /// another tenant or audience, is not used; the log says so. Beside it lies a file that locks it.
    pub fn cache(mut self, file: impl Into<PathBuf>) -> Self {
        self.cache = Some(file.into());
        self
    }

    /// What expiry and what staleness is measured by, for tests.
    pub fn clocks(mut self, wall: Arc<dyn Clock>, stopwatch: Arc<dyn Clock>) -> Self {
        self.clocks = (wall, stopwatch);
        self
    }

    /// Begins to follow the feed. Everything is refused until the first snapshot; see [`Verifier::ready`]. Must be
    /// called in a Tokio runtime.
    pub fn start(mut self) -> Result<Verifier, StartError> {
        let audience = ResourceName::new(self.audience.take().ok_or(StartError::NoAudience)?)?;
        let tenant = self.tenant.take().map(TenantId::new).transpose()?.unwrap_or_default();
        Ok(Verifier::start(self, audience, tenant))
    }
}
