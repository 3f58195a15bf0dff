//! Makes an identity of the process at the other end of a Unix socket.

use super::{
    UnixPeer,
    executable::{Executable, ExecutableError, Executables},
    peer::gone,
};
use crate::{Attestor, Evidence, Identity, Selector, digest, port::foreign};
use async_trait::async_trait;
use std::{sync::Arc, time::Duration};
use taskpass_types::{Reason, Refusal, Timestamp};

/// How long a credential may lean on one look at a local process. The process itself is looked at far more often: a
/// connection's peer is attested anew every minute, and cut off when it has ended or runs another program.
pub const UNIX_IDENTITY_LIFE: Duration = Duration::from_secs(15 * 60);

/// Attests [`Evidence::Unix`]: selectors `unix:uid`, `unix:gid`, and `unix:path`, `unix:sha256` where the broker may
/// read the executable. A fact that cannot be established yields no selector, so that nothing matches by its absence.
#[derive(Clone, Default)]
pub struct UnixAttestor {
    executables: Arc<Executables>,
}

impl UnixAttestor {
    /// With an empty cache of digests.
    pub fn new() -> Self {
        Self::default()
    }

    async fn inspect(&self, peer: &UnixPeer) -> Result<Option<Executable>, Refusal> {
        let (executables, looked_at) = (self.executables.clone(), peer.clone());
        let found = tokio::task::spawn_blocking(move || executables.inspect(looked_at.process())).await;
        match found
            .map_err(|error| Refusal::new(Reason::Internal, "the caller was not inspected").because(error))?
        {
            Ok(executable) => Ok(Some(executable)),
            Err(ExecutableError::Forbidden(_)) => Ok(None),
            Err(ExecutableError::Gone(error)) => Err(gone(peer.pid()).because(error)),
            Err(error) => Err(unusable(peer, &error)),
        }
    }
}

fn unusable(peer: &UnixPeer, error: &ExecutableError) -> Refusal {
    let pid = peer.pid();
    Refusal::new(Reason::AttestationInvalid, format!("process `{pid}` cannot be attested: {error}"))
        .fix("restart the process from its installed executable")
        .with("pid", pid)
        .because(format_args!("{error:?}"))
}

#[async_trait]
impl Attestor for UnixAttestor {
    fn accepts(&self, evidence: &Evidence) -> bool {
        matches!(evidence, Evidence::Unix(_))
    }

    async fn attest(&self, evidence: &Evidence, now: Timestamp) -> Result<Identity, Refusal> {
        let Evidence::Unix(peer) = evidence else {
            return Err(foreign(evidence));
        };
        let executable = self.inspect(peer).await?;
        if !peer.is_alive() {
            return Err(gone(peer.pid()));
        }
        Ok(identity(peer, executable.as_ref(), now))
    }
}

fn identity(peer: &UnixPeer, executable: Option<&Executable>, now: Timestamp) -> Identity {
    let path = executable.and_then(|executable| executable.path.as_deref());
    let sha256 = executable.map(|executable| executable.sha256.as_str());
    let (uid, gid, pid) = (peer.uid(), peer.gid(), peer.pid());
    Identity {
        selectors: [Selector::uid(uid), Selector::gid(gid)]
            .into_iter()
            .chain(path.and_then(|path| Selector::path(path).ok()))
            .chain(sha256.and_then(|sha256| Selector::sha256(sha256).ok()))
            .collect(),
        spiffe_id: None,
        confirmation: None,
        description: format!("unix uid={uid} pid={pid} exe={}", path.map_or("?".into(), printable)),
        evidence_digest: digest::hex(&digest::of_parts([
            &b"unix"[..],
            &uid.to_be_bytes(),
            &gid.to_be_bytes(),
            &pid.to_be_bytes(),
            &peer.process().started().to_be_bytes(),
            path.unwrap_or_default().as_bytes(),
            sha256.unwrap_or_default().as_bytes(),
        ])),
        verified_at: now,
        expires_at: now.plus(UNIX_IDENTITY_LIFE),
    }
}

/// A path on one line of the audit log, whatever its owner named it.
fn printable(path: &str) -> String {
    path.escape_debug().take(256).collect()
}
