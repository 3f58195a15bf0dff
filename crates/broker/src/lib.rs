//! The use cases, and the reconcilers that work without being asked. Ports only: no adapter is named here.
//!
//! Two roads. *Exchange*: identity -> agent and task -> decision per scope -> durable lease -> durable audit -> signature
//! -> comparison -> a last look -> release; any step that fails ends it, and nothing was handed out. *Death*: one deny
//! record, written first and waited for by nobody but its caller; everything else follows from it.
//!
//! Invariants: issuing fails closed, revoking waits for nothing (rule 5 of the design): a broken audit log or policy
//! stops grants and never a kill. A caller learns of its own tasks and leases only; what is foreign is *not found*.

mod approvals;
mod ask;
mod callers;
mod channels;
mod closure;
mod credentials;
mod decide;
mod drift;
mod explain;
mod feed;
mod fleet;
mod kills;
mod leases;
mod plans;
mod policy;
mod probes;
mod reconcile;
mod registry;
mod tasks;
mod tools;
mod verifiers;

pub use approvals::ApprovalFeed;
pub use ask::{IssueAsk, RenewAsk, StartAsk};
pub use callers::{Caller, Role};
pub use channels::{AuthorityCrls, ChannelSettings, Crl, Crls, RevokedToken};
pub use closure::Closure;
pub use credentials::Issued;
pub use drift::{DriftRule, DriftRules, DriftRulesError, Finding, Subject, Then, Trigger};
pub use explain::{
    Explained, PastDecision, Replay, ReplayChange, ReplaySum, Report, SimulateAsk, decision_not_found,
};
pub use feed::{DenyFeed, FeedMessage, Resume, VerificationKeys, WatchAsk};
pub use kills::{AfterKill, KillAsk, KillPlan, KillSelector, KillWhat, Killed};
pub use leases::Held;
pub use plans::{Plan, PlanAsk};
pub use policy::{PolicyKeeper, PolicyStatus};
pub use probes::{Marker, ProbeCount, Probed};
pub use reconcile::{PolicyFiles, Reconcilers};
pub use registry::{
    Registered, Registration, Registry, RegistryError, RegistryKeeper, ResourceEntry, RoleEntry, UserEntry,
};
pub use tools::{CallAsk, CallDecision, CallOutcome};
pub use verifiers::{Acknowledged, Dead, Enforcement, Standing, VerifierStanding};

use arc_swap::ArcSwap;
use std::{sync::Arc, time::Duration};
use taskpass_attest::Identity;
use taskpass_audit::{Action, Actor, Event, Recorder};
use taskpass_crypto::KeyRing;
use taskpass_issue::Issuer;
use taskpass_lease::Task;
use taskpass_store::Store;
use taskpass_types::{Clock, Counters, CredentialKind, Reason, Refusal, TenantId, TrustDomain, Ttl};
use tokio_util::task::TaskTracker;

/// What the composition root puts together.
pub struct Parts {
    /// Where tasks and leases live.
    pub store: Arc<dyn Store>,
    /// Where everything is written down.
    pub audit: Arc<dyn Recorder>,
    /// One per kind of credential.
    pub issuers: Vec<Arc<dyn Issuer>>,
    /// What verifiers check against.
    pub keys: Arc<KeyRing>,
    /// The policies in force.
    pub policies: Arc<PolicyKeeper>,
    /// Who is who.
    pub registry: Arc<RegistryKeeper>,
    /// What drift leads to.
    pub drift: ArcSwap<DriftRules>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The broker's own choices.
    pub settings: Settings,
}

/// The broker's own choices.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The trust domain of the identities that it gives.
    pub trust_domain: TrustDomain,
    /// The `iss` of its tokens.
    pub issuer: String,
    /// How long a token lives when nobody says.
    pub jwt_ttl: Ttl,
    /// How long a certificate lives when nobody says.
    pub x509_ttl: Ttl,
    /// How long a task runs when nobody says.
    pub task_ttl: Ttl,
    /// Whether other brokers may be on the same store.
    pub fleet: bool,
    /// This broker's name among them.
    pub broker: String,
    /// What the standard channels say of themselves.
    pub channels: ChannelSettings,
}

/// The broker. Cheap to clone.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    parts: Parts,
    work: TaskTracker,
    /// Held while the policies change, so that changes come one after the other.
    changing: tokio::sync::Mutex<()>,
    plans: plans::Plans,
    kill_plans: kills::KillPlans,
    /// The registry under which all that lives was last decided anew.
    swept: ArcSwap<Registry>,
    /// What it knows of its fleet.
    fleet: fleet::Fleet,
    /// Who follows its feed.
    verifiers: verifiers::Verifiers,
    /// What it keeps for those who do not follow the feed.
    channels: channels::Channels,
    /// Wakes the reconciler that looks at the policy files.
    reload: tokio::sync::Notify,
    /// Receipts that are being made.
    closing: closure::Closing,
}

impl Broker {
    /// Puts the parts together. Nothing runs yet: see [`Reconcilers`].
    pub fn new(parts: Parts) -> Self {
        let changing = tokio::sync::Mutex::new(());
        let (work, plans) = (TaskTracker::new(), plans::Plans::default());
        let kill_plans = kills::KillPlans::default();
        let swept = ArcSwap::new(parts.registry.current());
        let (fleet, reload) = (fleet::Fleet::default(), tokio::sync::Notify::new());
        let (channels, verifiers) = (channels::Channels::default(), verifiers::Verifiers::default());
        let closing = closure::Closing::default();
        Self(Arc::new(Inner {
            parts,
            work,
            changing,
            plans,
            kill_plans,
            swept,
            fleet,
            verifiers,
            channels,
            reload,
            closing,
        }))
    }

    fn parts(&self) -> &Parts {
        &self.0.parts
    }

    fn now(&self) -> taskpass_types::Timestamp {
        self.parts().clock.now()
    }

    /// Runs a use case to its end, also when whoever asked hangs up: what was begun durably is not left half done.
    ///
    /// # Errors
    /// What `work` refuses; `INTERNAL` when it panicked.
    pub async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Refusal> {
        match self.0.work.spawn(work).await {
            Ok(result) => result,
            Err(error) => {
                Err(Refusal::new(Reason::Internal, "the request failed inside the broker").because(error))
            }
        }
    }

    /// Waits until every use case that was begun has ended.
    pub async fn drained(&self) {
        self.0.work.close();
        self.0.work.wait().await;
    }

    /// What the caller's identity means here. A caller that is nobody is refused, and that is written down.
    ///
    /// # Errors
    /// `ATTESTATION_EXPIRED`, `AGENT_NOT_REGISTERED`, `AGENT_AMBIGUOUS`.
    pub fn caller(&self, identity: &Arc<Identity>) -> Result<Arc<Caller>, Refusal> {
        let caller = if identity.is_current(self.now()) {
            self.registry().resolve(identity)
        } else {
            Err(Refusal::new(Reason::AttestationExpired, "the evidence of your identity has expired")
                .fix("connect again with a fresh identity"))
        };
        caller.inspect_err(|refusal| self.refused_peer(&identity.description, refusal))
    }

    /// Writes down that a caller was not even attested.
    pub fn refused_peer(&self, description: &str, refusal: &Refusal) {
        metrics::counter!("taskpass_refused_total", "reason" => refusal.reason().code()).increment(1);
        let actor = Actor::Peer(description.to_owned());
        self.note(Event::outcome(&TenantId::default(), Action::AttestRefuse, actor).refusal(refusal));
    }

    /// Whether it can grant: the store answers, the audit log is written, policies are loaded.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn ready(&self) -> Result<(), Refusal> {
        let health = self.parts().audit.health();
        if let Some(why) = health.failing {
            return Err(
                Refusal::new(Reason::AuditUnavailable, "the audit log cannot be written").because(why)
            );
        }
        self.parts().store.policy_revision().await.map(drop)
    }

    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.parts().registry.current()
    }

    /// Puts another registry and other drift rules in force. Whoever calls is looked up anew, and what is out is decided
    /// anew.
    pub fn adopt_registry(&self, registry: Registry, drift: DriftRules) {
        self.parts().drift.store(Arc::new(drift));
        let count = u64::try_from(registry.agents().len()).unwrap_or(u64::MAX);
        self.parts().registry.swap(registry);
        let event = Event::outcome(&TenantId::default(), Action::RegistryLoad, Actor::Broker("registry"));
        self.note(event.count(count));
    }

    /// Keeps an invalid registry out, and says so to operators.
    pub fn refuse_registry(&self, why: &Refusal) {
        tracing::error!(%why, "the configuration on disk is not valid; the one before stays in force");
        let event = Event::outcome(&TenantId::default(), Action::RegistryRefuse, Actor::Broker("registry"));
        self.note(event.refusal(why));
    }

    /// Takes up the policy files, now and even if they seem to be the same.
    pub fn reload(&self) {
        self.0.reload.notify_one();
    }

    pub(crate) async fn reload_asked(&self) {
        self.0.reload.notified().await;
    }

    /// Every registered agent, by name.
    ///
    /// # Errors
    /// `NOT_PERMITTED`.
    pub fn agents(&self, caller: &Caller) -> Result<Vec<Registration>, Refusal> {
        caller.require(&[Role::Operator])?;
        let mut agents = self.registry().agents().to_vec();
        agents.retain(|agent| agent.tenant == caller.tenant);
        agents.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Ok(agents)
    }

    /// What a task and all of its tree have used so far.
    pub(crate) async fn counters(&self, task: &Task) -> Result<Counters, Refusal> {
        let root = task.path.iter().next().filter(|root| *root != task.id);
        let root = match root {
            Some(root) => self.parts().store.task(&task.tenant, root).await?,
            None => None,
        };
        Ok(task.counters(root.as_ref().unwrap_or(task)))
    }

    /// The `iss` of its tokens.
    pub fn issuer(&self) -> &str {
        &self.parts().settings.issuer
    }

    fn note(&self, event: Event) {
        self.parts().audit.note(event);
    }

    fn issuer_of(&self, kind: CredentialKind) -> Result<Arc<dyn Issuer>, Refusal> {
        let issuer = self.parts().issuers.iter().find(|issuer| issuer.kind() == kind);
        issuer.cloned().ok_or_else(|| {
            Refusal::new(Reason::FieldInvalid, format!("`{kind}` credentials are not issued here"))
                .with("kind", kind)
        })
    }

    fn default_ttl(&self, kind: CredentialKind) -> Ttl {
        match kind {
            CredentialKind::Jwt => self.parts().settings.jwt_ttl,
            CredentialKind::X509 => self.parts().settings.x509_ttl,
        }
    }
}

/// How often a request is decided anew when the policies change under it.
const DECIDE_ATTEMPTS: usize = 3;
/// How long it waits for the new policies to be in force.
const POLICY_PATIENCE: Duration = Duration::from_secs(1);
