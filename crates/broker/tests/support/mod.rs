//! A broker over the in-memory store with a real audit log, real keys, real policies and a clock that tests move.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

pub mod meddled;

use rcgen::{CertificateParams, KeyPair};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use taskpass_attest::{Identity, Selector};
use taskpass_audit::{AuditLog, Entry, Recorder, testing::FaultyRecorder};
use taskpass_broker::{
    Broker, Caller, ChannelSettings, DriftRules, IssueAsk, Issued, Parts, PolicyKeeper, Registered,
    Registration, Registry, RegistryKeeper, RenewAsk, ResourceEntry, Role, RoleEntry, Settings, StartAsk,
    UserEntry,
};
use taskpass_crypto::{KeyPolicy, KeyRing, SealKey};
use taskpass_issue::{Credential, Form, JwtIssuer, X509Issuer};
use taskpass_lease::{Limits, Task};
use taskpass_policy::Policies;
use taskpass_store::{Ledger, MemoryBackend, Store};
use taskpass_types::{
    AgentId, Clock, GroupName, LeaseId, ManualClock, Owner, Refusal, RequestId, ResourceName, TaskId,
    TaskKind, TenantId, Timestamp, TrustDomain, Ttl, UserName,
};

pub const START: Timestamp = Timestamp::from_secs(1_800_000_000);

pub const POLICY: &str = r#"
@id("read") @max_ttl("10m")
permit (principal, action in [Action::"issue", Action::"renew"], resource == Resource::"billing-api")
when { context.action == "invoice:read" };
"#;

pub struct World {
    pub broker: Broker,
    pub store: Arc<dyn Store>,
    pub log: Arc<AuditLog>,
    pub audit: Arc<FaultyRecorder>,
    pub clock: Arc<ManualClock>,
    pub keys: Arc<KeyRing>,
    _dir: tempfile::TempDir,
}

fn channels() -> ChannelSettings {
    ChannelSettings::new("https://taskpass.acme.test".to_owned())
}

impl World {
    pub async fn new() -> Self {
        Self::with(|store| store).await
    }

    /// With the store wrapped by the test.
    pub async fn with(wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>) -> Self {
        Self::open(wrap, channels()).await
    }

    /// With lists of everything that name so many certificates at most.
    pub async fn listing(longest_list: usize) -> Self {
        Self::open(|store| store, ChannelSettings { longest_list, ..channels() }).await
    }

    async fn open(wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>, channels: ChannelSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(START));
        let trust_domain = TrustDomain::new("acme.test").unwrap();
        let seal = SealKey::generate_file(&dir.path().join("seal")).unwrap();
        let policy = KeyPolicy::new(trust_domain.clone());
        let keys = Arc::new(KeyRing::open(&dir.path().join("keys"), &seal, &*clock, policy).unwrap());
        let log = Arc::new(AuditLog::open(&dir.path().join("audit"), clock.clone()).unwrap());
        let audit = Arc::new(FaultyRecorder::new(log.clone()));
        let store = wrap(Arc::new(Ledger::new(MemoryBackend::new(Limits::default()).unwrap())));
        let issuer = "https://taskpass.acme.test".to_owned();
        let broker = Broker::new(Parts {
            store: store.clone(),
            audit: audit.clone(),
            issuers: vec![
                Arc::new(JwtIssuer::new(keys.clone(), issuer.clone())),
                Arc::new(X509Issuer::new(keys.clone(), channels.crl_base.clone())),
            ],
            keys: keys.clone(),
            policies: Arc::new(PolicyKeeper::new(policies(POLICY), START)),
            registry: Arc::new(RegistryKeeper::new(registry(registered()))),
            drift: arc_swap::ArcSwap::from_pointee(DriftRules::default()),
            clock: clock.clone(),
            settings: Settings {
                trust_domain,
                issuer,
                jwt_ttl: Ttl::from_secs(300).unwrap(),
                x509_ttl: Ttl::from_secs(900).unwrap(),
                task_ttl: Ttl::from_secs(3600).unwrap(),
                fleet: false,
                broker: "broker".to_owned(),
                channels,
            },
        });
        broker.begin(None).await.unwrap();
        Self { broker, store, log, audit, clock, keys, _dir: dir }
    }

    /// A caller with one selector.
    pub fn identity(&self, who: &str) -> Arc<Identity> {
        let now = self.clock.now();
        Arc::new(Identity {
            selectors: [Selector::new(format!("spiffe:id:spiffe://acme.test/{who}")).unwrap()].into(),
            spiffe_id: None,
            confirmation: None,
            description: format!("spiffe://acme.test/{who}"),
            evidence_digest: "00"
                .repeat(32)
                .chars()
                .take(62)
                .chain(format!("{:02x}", who.len()).chars())
                .collect(),
            verified_at: now,
            expires_at: now.plus(Duration::from_secs(3600)),
        })
    }

    pub fn caller(&self, who: &str) -> Arc<Caller> {
        self.broker.caller(&self.identity(who)).unwrap()
    }

    pub async fn task(&self, who: &str) -> Task {
        self.broker.start_task(self.caller(who), start()).await.unwrap()
    }

    pub async fn issue(&self, who: &str, task: TaskId) -> Result<Issued, Refusal> {
        self.broker.issue(self.caller(who), issue(task)).await
    }

    pub async fn renew(&self, who: &str, lease: LeaseId) -> Result<Issued, Refusal> {
        let form = Form::Token { jkt: None };
        self.broker.renew(self.caller(who), RenewAsk { request: None, lease, ttl: None, form }).await
    }

    pub async fn entries(&self) -> Vec<Entry> {
        // A note is durable once a later record is.
        let fence = taskpass_audit::Event::outcome(
            &TenantId::default(),
            taskpass_audit::Action::StorePurge,
            taskpass_audit::Actor::Broker("test"),
        );
        let receipt = self.log.record(fence).await.unwrap();
        let lines = self.log.read_from(1, 10_000).unwrap();
        lines.iter().map(|line| line.entry().unwrap()).filter(|entry| entry.seq < receipt.seq).collect()
    }
}

pub fn policies(text: &str) -> Policies {
    Policies::from_sources([("test.cedar", text)]).unwrap()
}

fn selectors(who: &str) -> BTreeSet<Selector> {
    [Selector::new(format!("spiffe:id:spiffe://acme.test/{who}")).unwrap()].into()
}

pub fn registry(registered: Registered) -> Registry {
    Registry::new(TenantId::default(), registered).unwrap()
}

/// Who is registered; a test changes what it is about.
pub fn registered() -> Registered {
    let agent = |name: &str, owner: Option<&str>| Registration {
        tenant: TenantId::default(),
        id: AgentId::new(name).unwrap(),
        owner: owner.map(|owner| Owner::new(owner).unwrap()),
        selectors: selectors(name),
        labels: Default::default(),
        groups: Vec::new(),
        suspended: false,
    };
    let user = |name: &str, groups: &[&str]| UserEntry {
        name: UserName::new(format!("{name}@acme.test")).unwrap(),
        selectors: selectors(&format!("person/{name}")),
        groups: groups.iter().map(|group| GroupName::new(group).unwrap()).collect(),
        labels: Default::default(),
    };
    Registered {
        agents: vec![
            agent("ci/bot", Some("maya@acme.test")),
            agent("ci/other", Some("maya@acme.test")),
            agent("orphan", None),
            Registration { selectors: selectors("twin"), ..agent("ci/castor", Some("maya@acme.test")) },
            Registration { selectors: selectors("twin"), ..agent("ci/pollux", Some("maya@acme.test")) },
        ],
        users: vec![
            user("maya", &["leads"]),
            user("noor", &["leads"]),
            user("ines", &["leads", "security"]),
            user("omar", &[]),
        ],
        roles: vec![
            role(Role::Operator, "maya", "operator", &[]),
            role(Role::Orchestrator, "scheduler", "orchestrator", &[]),
            role(Role::Verifier, "billing-api", "verifier", &[]),
            role(Role::Verifier, "mail", "mail-verifier", &["mail"]),
        ],
        resources: vec![ResourceEntry {
            name: ResourceName::new("billing-api").unwrap(),
            labels: Default::default(),
            environment: None,
            sensitivity: Some("low".to_owned()),
        }],
    }
}

fn role(role: Role, name: &str, selector: &str, resources: &[&str]) -> RoleEntry {
    let resources = resources.iter().map(|name| ResourceName::new(*name).unwrap()).collect();
    RoleEntry { role, name: name.to_owned(), selectors: selectors(selector), resources }
}

pub fn start() -> StartAsk {
    StartAsk {
        request: None,
        kind: TaskKind::new("close-books").unwrap(),
        purpose: "close the November invoices".to_owned(),
        scopes: ["billing-api:invoice:read".parse().unwrap(), "billing-api:invoice:delete".parse().unwrap()]
            .into(),
        ttl: None,
        heartbeat: None,
        labels: Default::default(),
        initiator: None,
        agent: None,
        parent: None,
        sensitivity: None,
        approval: None,
    }
}

pub fn issue(task: TaskId) -> IssueAsk {
    IssueAsk {
        request: None,
        task,
        resource: ResourceName::new("billing-api").unwrap(),
        actions: ["invoice:read".parse().unwrap()].into(),
        ttl: None,
        form: Form::Token { jkt: None },
        approval: None,
    }
}

pub fn request(id: &str) -> Option<RequestId> {
    Some(RequestId::new(id).unwrap())
}

pub fn token(issued: &Issued) -> String {
    match &issued.credential {
        Credential::Token(token) => token.expose().clone(),
        Credential::Certificate(_) => panic!("a token was asked for"),
    }
}

pub fn csr() -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    CertificateParams::default().serialize_request(&key).unwrap().der().to_vec()
}
