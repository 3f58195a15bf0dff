//! What every attestor must do, as a suite that each adapter's tests call.

use crate::{Attestor, Evidence};
use rustls_pki_types::CertificateDer;
use taskpass_types::{Reason, Timestamp};

/// What the suite needs to know about an adapter.
pub struct Subject<'a> {
    /// The adapter.
    pub attestor: &'a dyn Attestor,
    /// Evidence that it must accept at `now`.
    pub good: Evidence,
    /// Evidence of another kind, perfectly good elsewhere.
    pub foreign: Evidence,
    /// When.
    pub now: Timestamp,
    /// Whether the evidence itself ends, so that attesting after that must be refused; a process only ends by ending.
    pub ends_by_time: bool,
}

/// Runs the suite.
///
/// # Errors
/// The first rule of [`Attestor`]'s contract that the adapter breaks.
pub async fn check(subject: Subject<'_>) -> Result<(), String> {
    let Subject { attestor, good, foreign, now, ends_by_time } = subject;
    ensure(attestor.accepts(&good), "accepts its own kind of evidence")?;
    ensure(!attestor.accepts(&foreign), "does not accept another kind of evidence")?;

    let first =
        attestor.attest(&good, now).await.map_err(|refusal| format!("refuses good evidence: {refusal:?}"))?;
    ensure(first.verified_at == now, "`verified_at` is the time that was passed")?;
    ensure(first.is_current(now), "an identity holds when it is made")?;
    ensure(!first.is_current(first.expires_at), "an identity does not hold when it expires")?;
    ensure(!first.selectors.is_empty(), "an identity has selectors")?;
    ensure(is_digest(&first.evidence_digest), "the digest is 64 lower-case hexadecimal digits")?;

    let again = attestor
        .attest(&good, now)
        .await
        .map_err(|refusal| format!("refuses the second time: {refusal:?}"))?;
    ensure(first == again, "the same evidence at the same time gives the same identity")?;

    refused(attestor, &foreign, now, "foreign evidence", &[Reason::AttestationInvalid]).await?;
    for garbage in garbage(&good) {
        // A turned bit in a date makes it an expired one.
        refused(
            attestor,
            &garbage,
            now,
            "garbage",
            &[Reason::AttestationInvalid, Reason::AttestationExpired],
        )
        .await?;
    }
    if ends_by_time {
        let late = Timestamp::from_secs(first.expires_at.as_secs() + 1);
        refused(attestor, &good, late, "expired evidence", &[Reason::AttestationExpired]).await?;
    }
    Ok(())
}

fn ensure(holds: bool, rule: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("broken rule: {rule}")) }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

async fn refused(
    attestor: &dyn Attestor,
    evidence: &Evidence,
    now: Timestamp,
    what: &str,
    reasons: &[Reason],
) -> Result<(), String> {
    match attestor.attest(evidence, now).await {
        Ok(identity) => Err(format!("accepts {what} as {identity:?}")),
        Err(refusal) if reasons.contains(&refusal.reason()) => Ok(()),
        Err(refusal) => Err(format!("refuses {what} with another reason: {refusal:?}")),
    }
}

/// Evidence that nobody may accept: too little, too much, and the good one cut short or with one bit turned.
fn garbage(good: &Evidence) -> Vec<Evidence> {
    let Evidence::X509(chain) = good else {
        return vec![Evidence::X509(Vec::new())];
    };
    let leaf = chain.first().map(AsRef::as_ref).unwrap_or_default();
    let cut = (0..leaf.len()).step_by(7).map(|len| leaf.get(..len).unwrap_or_default().to_vec());
    let turned = (0..leaf.len()).map(|at| {
        let mut bytes = leaf.to_vec();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1;
        }
        bytes
    });
    let leaves =
        [Vec::new(), vec![0x30], vec![0xff; 64], vec![0x30; 1 << 20]].into_iter().chain(cut).chain(turned);
    let with_leaf = |leaf| {
        Evidence::X509(
            [CertificateDer::from(leaf)].into_iter().chain(chain.iter().skip(1).cloned()).collect(),
        )
    };
    let too_long = Evidence::X509(chain.iter().cycle().take(100).cloned().collect());
    leaves.map(with_leaf).chain([Evidence::X509(Vec::new()), too_long]).collect()
}
