//! Entries as people and programs read them.

use crate::LeafHash;
use serde::{Deserialize, Serialize};

/// One entry as it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryLine {
    /// Its number.
    pub seq: u64,
    /// Its canonical JSON, without the newline.
    pub json: String,
}

impl EntryLine {
    /// Its hash.
    pub fn hash(&self) -> LeafHash {
        LeafHash::of(self.json.as_bytes())
    }

    /// Its members, for display.
    ///
    /// # Errors
    /// When it is no entry.
    pub fn entry(&self) -> Result<Entry, serde_json::Error> {
        serde_json::from_str(&self.json)
    }
}

/// The members of an entry, as texts: an older program can show what a newer one wrote. All texts are safe to print.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1.
    pub seq: u64,
    /// When it happened: RFC 3339, UTC, milliseconds.
    pub time: String,
    /// The stable code of action and result.
    pub code: String,
    /// `intent` or `outcome`.
    pub phase: String,
    /// What was done, `noun.verb`.
    pub action: String,
    /// For which tenant.
    pub tenant: String,
    /// Who did it, `kind/name`.
    pub actor: String,
    /// The hash of the entry before it.
    pub prev: String,
    /// What may be done at the resource.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// The agent that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The approval that it is about, or that it used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
    /// SHA-256 of a tool call's salted arguments, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
    /// The selectors that attestation proved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attested: Vec<String>,
    /// The tool call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// What a call outside the declared scopes led to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consequence: Option<String>,
    /// How many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// The deny record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// SHA-256 of the evidence, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// When it ends by itself, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Who or what the task is done for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiator: Option<String>,
    /// What the decision was asked, see [`crate::Inputs`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<String>,
    /// The token's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The id of a signing key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The generation of a signing key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_generation: Option<u64>,
    /// The kind of the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Labels, `name=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The lease that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    /// Why it was refused, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the permission is tied to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obligations: Vec<String>,
    /// Who answers for the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The task above the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The policies that determined the decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// The policies that were in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_revision: Option<String>,
    /// The declared purpose, or an operator's reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Why the task or lease ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The code of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// The caller's idempotency key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Where the credential is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The rule that says what a drift leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What was asked for or declared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// How sensitive the task is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<String>,
    /// The certificate's serial number, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// `true`: the rule only watches, nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<String>,
    /// The task that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The class of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_kind: Option<String>,
    /// Who would hold the child task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The tool that is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The members that were too long and are cut.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub truncated: Vec<String>,
    /// For how long it was asked or granted, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_secs: Option<u64>,
}
