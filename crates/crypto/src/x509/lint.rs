//! Reads a certificate back before it is signed and compares it with what was decided, field by field (I4).

use super::{CsrKey, LintError, ProfileError, der, leaf::Leaf};
use taskpass_types::{Confirmation, Grant};

/// Bytes that passed the linter: all that an authority's key signs for others.
pub(super) struct Linted<'a>(&'a [u8]);

impl<'a> Linted<'a> {
    /// Lints the certificate `der`, whose signature may still be missing.
    pub(super) fn check(der: &'a [u8], key: &CsrKey, grant: &Grant, crl: &str) -> Result<Self, LintError> {
        lint(der, key, grant, crl)?;
        Ok(Self(der::to_be_signed(der).ok_or(ProfileError::Malformed)?))
    }

    /// What may be signed.
    pub(super) fn to_be_signed(&self) -> &'a [u8] {
        self.0
    }
}

/// Whether the certificate `der` is in the profile, for this key, and says exactly this grant. Its signature is not
/// looked at. `crl` is where the revocation list is that would name it: see [`super::CrlShard::url`].
pub fn lint(der: &[u8], key: &CsrKey, grant: &Grant, crl: &str) -> Result<(), LintError> {
    let leaf = Leaf::read(der)?;
    if leaf.key != *key.public_key() {
        return Err(LintError::KeyDiffers);
    }
    if let Some(field) = first_difference(&leaf.grant, grant) {
        return Err(LintError::GrantDiffers(field));
    }
    if leaf.crl.as_deref() != Some(crl) {
        return Err(LintError::CrlDistributionPointDiffers);
    }
    match &grant.confirmation {
        None => Ok(()),
        Some(Confirmation::KeyThumbprint(jkt)) if jkt == key.jkt() => Ok(()),
        Some(_) => Err(LintError::ConfirmationDiffers),
    }
}

/// The name of the first field in which two grants differ. A field that is added to `Grant` does not compile here
/// until it is compared.
fn first_difference(a: &Grant, b: &Grant) -> Option<&'static str> {
    let Grant {
        tenant,
        lease,
        renewal,
        task_path,
        agents,
        owner,
        subject,
        resource,
        actions,
        decision,
        policy_revision,
        key_generation,
        deny_epoch,
        confirmation,
        status,
        issued_at,
        expires_at,
    } = a;
    let same = [
        (*tenant == b.tenant, "tenant"),
        (*lease == b.lease, "lease"),
        (*renewal == b.renewal, "renewal"),
        (*task_path == b.task_path, "task_path"),
        (*agents == b.agents, "agents"),
        (*owner == b.owner, "owner"),
        (*subject == b.subject, "subject"),
        (*resource == b.resource, "resource"),
        (*actions == b.actions, "actions"),
        (*decision == b.decision, "decision"),
        (*policy_revision == b.policy_revision, "policy_revision"),
        (*key_generation == b.key_generation, "key_generation"),
        (*deny_epoch == b.deny_epoch, "deny_epoch"),
        (*confirmation == b.confirmation, "confirmation"),
        (*status == b.status, "status"),
        (*issued_at == b.issued_at, "issued_at"),
        (*expires_at == b.expires_at, "expires_at"),
    ];
    same.into_iter().find_map(|(same, field)| (!same).then_some(field))
}
