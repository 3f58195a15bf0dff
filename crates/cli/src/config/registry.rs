//! The lists: whose certificates are believed, who may do what, and what policies know of resources.

use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};
use taskpass_attest::{
    Selector,
    spiffe::{BundleFile, BundleFormat},
};
use taskpass_types::{AgentId, GroupName, Owner, ResourceName, TrustDomain, UserName};

/// `[[bundles]]`: the authorities of a trust domain whose X.509-SVIDs are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleEntry {
    /// Whose; nothing in the file is believed about it.
    pub trust_domain: TrustDomain,
    /// Where; read again when it changes.
    pub file: PathBuf,
    /// How it is written.
    #[serde(default)]
    pub format: BundleForm,
}

/// How a bundle is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BundleForm {
    /// `CERTIFICATE` blocks.
    #[default]
    Pem,
    /// A SPIFFE bundle document.
    Spiffe,
}

impl From<BundleEntry> for BundleFile {
    fn from(entry: BundleEntry) -> Self {
        let format = match entry.format {
            BundleForm::Pem => BundleFormat::Pem,
            BundleForm::Spiffe => BundleFormat::Spiffe,
        };
        Self { trust_domain: entry.trust_domain, path: entry.file, format }
    }
}

/// What a caller's evidence has to prove, all of it. Never empty: everyone would match.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeSet<Selector>")]
pub struct Selectors(BTreeSet<Selector>);

impl Selectors {
    /// The set.
    pub fn into_set(self) -> BTreeSet<Selector> {
        self.0
    }
}

impl TryFrom<BTreeSet<Selector>> for Selectors {
    type Error = &'static str;

    fn try_from(selectors: BTreeSet<Selector>) -> Result<Self, &'static str> {
        if selectors.is_empty() {
            return Err(
                "there is no selector, so every caller would match, expected at least one, such as those that \
                        `taskpass whoami` shows",
            );
        }
        Ok(Self(selectors))
    }
}

/// `[[agents]]`: a workload that can hold credentials.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentEntry {
    /// Its name, and the path of its SPIFFE ID here.
    pub id: AgentId,
    /// The person who answers for it. Nothing is issued without one.
    pub owner: Option<Owner>,
    /// What its evidence has to prove.
    pub selectors: Selectors,
    /// For policies.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// For policies, besides the groups that its name implies.
    #[serde(default)]
    pub groups: Vec<GroupName>,
    /// Nothing is issued to it, and what it holds ends.
    #[serde(default)]
    pub suspended: bool,
}

/// `[[users]]`: a person that policies and approvals know.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// What owners and initiators are called.
    pub name: UserName,
    /// What their evidence has to prove. Without it they are known, but cannot approve.
    pub selectors: Option<Selectors>,
    /// The groups that policies and approvals speak of.
    #[serde(default)]
    pub groups: Vec<GroupName>,
    /// For policies.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// `[[operators]]`, `[[orchestrators]]`: who has a role.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleEntry {
    /// What the audit log calls it.
    pub name: String,
    /// What its evidence has to prove.
    pub selectors: Selectors,
}

/// `[[verifiers]]`: a resource server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifierEntry {
    /// What the audit log calls it.
    pub name: String,
    /// What its evidence has to prove.
    pub selectors: Selectors,
    /// The resources that it is: it is told of nothing else. None: of everything that is denied, and about tokens for the
    /// resource that is named as it is.
    #[serde(default)]
    pub resources: BTreeSet<ResourceName>,
}

/// `[[clients]]`: who proves at the OAuth endpoints by a signed assertion that it has the selector `oauth:client:<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientEntry {
    /// The `client_id`.
    pub name: ClientName,
    /// A JWK set with its public keys, of which it has the private ones.
    pub jwks: PathBuf,
}

/// What a client is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ClientName(String);

impl TryFrom<String> for ClientName {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, &'static str> {
        match Selector::client(&name) {
            Ok(_) => Ok(Self(name)),
            Err(_) => Err("it is no client's name, expected 1 to 128 of letters, digits, `-`, `_`, `.`, `/`"),
        }
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `[[resources]]`: what policies know of a resource. One that is not listed has no labels.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceConfig {
    /// The resource.
    pub name: ResourceName,
    /// For policies.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// For policies, for example `production`.
    pub environment: Option<String>,
    /// For policies, for example `high`.
    pub sensitivity: Option<String>,
}
