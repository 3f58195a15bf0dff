//! A lease is signed by the generation that it was planned for, as long as that one is there.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use rcgen::{CertificateParams, KeyPair};
use std::{sync::Arc, time::Duration};
use taskpass_crypto::{KeyPolicy, KeyRing, SealKey};
use taskpass_issue::{Form, Issuer, JwtIssuer, X509Issuer};
use taskpass_lease::{Event, Fence, Limits, PlanLease, Request, StartTask};
use taskpass_store::{Embedded, MemoryBackend, Prepared, Store};
use taskpass_types::{
    DecisionId, LeaseId, ManualClock, PolicyRevision, Reason, Refusal, RequestId, SpiffeId, TaskId, TenantId,
    Timestamp, TrustDomain, Ttl,
};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A lease of what `issuer` issues, planned for the key that would sign now.
async fn prepared(issuer: &dyn Issuer, form: &Form) -> Prepared {
    let store = Embedded::new(MemoryBackend::new(Limits::default()).unwrap());
    let (tenant, task, lease) = (TenantId::default(), TaskId::new(), LeaseId::new());
    let revision = PolicyRevision::new("p1").unwrap();
    let request = |id: String| Request { id: RequestId::new(id).unwrap(), digest: [0; 32] };
    let start = StartTask {
        tenant: tenant.clone(),
        id: task,
        parent: None,
        agent: "ci/bot".parse().unwrap(),
        owner: "maya@acme.test".parse().unwrap(),
        kind: "task".parse().unwrap(),
        purpose: String::new(),
        scopes: ["api:read".parse().unwrap()].into(),
        initiator: "maya".parse().unwrap(),
        labels: Default::default(),
        ttl: Ttl::from_secs(600).unwrap(),
        heartbeat: None,
        request: request(task.to_string()),
    };
    let plan = PlanLease {
        tenant,
        id: lease,
        task,
        agent: "ci/bot".parse().unwrap(),
        subject: SpiffeId::new(format!("spiffe://acme.test/ci/bot/task/{task}")).unwrap(),
        resource: "api".parse().unwrap(),
        actions: ["read".parse().unwrap()].into(),
        kind: issuer.kind(),
        revocability: issuer.revocability(),
        confirmation: issuer.accept(form.clone()).unwrap().confirmation,
        ttl: Ttl::from_secs(60).unwrap(),
        policy_max_ttl: None,
        evidence_expires_at: NOW.plus(Duration::from_secs(600)),
        decision: DecisionId::new(),
        policies: Vec::new(),
        fence: Fence { policy_revision: revision.clone() },
        key_generation: issuer.key_generation(),
        request: request(lease.to_string()),
    };
    store.apply(Event::SetPolicyRevision(revision), NOW).await.unwrap();
    store.apply(Event::StartTask(Box::new(start)), NOW).await.unwrap();
    store.apply(Event::PlanLease(Box::new(plan)), NOW).await.unwrap().into_prepared().unwrap()
}

#[tokio::test]
async fn a_retired_generation_signs_what_was_planned_for_it_until_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let seal = SealKey::generate_file(&dir.path().join("seal")).unwrap();
    let policy = KeyPolicy::new(TrustDomain::new("acme.test").unwrap());
    let keep = policy.retire_keep;
    let clock = ManualClock::new(NOW);
    let keys = Arc::new(KeyRing::open(&dir.path().join("keys"), &seal, &clock, policy).unwrap());
    let request = CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap();
    let issuers: [(Box<dyn Issuer>, Form); 2] = [
        (
            Box::new(JwtIssuer::new(keys.clone(), "https://taskpass.acme.test".to_owned())),
            Form::Token { jkt: None },
        ),
        (Box::new(X509Issuer::new(keys.clone())), Form::Certificate { csr: request.der().to_vec() }),
    ];
    let mut planned = Vec::new();
    for (issuer, form) in &issuers {
        planned.push([prepared(&**issuer, form).await, prepared(&**issuer, form).await]);
    }
    keys.rotate(NOW).unwrap();
    keys.activate_now(NOW).unwrap();
    let mut late = Vec::new();
    for ((issuer, form), [early, rest]) in issuers.iter().zip(planned) {
        issuer.issue(early, &issuer.accept(form.clone()).unwrap()).await.unwrap();
        late.push(rest);
    }
    keys.tick(NOW.plus(keep)).unwrap();
    for ((issuer, form), rest) in issuers.iter().zip(late) {
        let issued = issuer.issue(rest, &issuer.accept(form.clone()).unwrap()).await;
        let refusal: Refusal = issued.err().unwrap();
        assert_eq!(refusal.reason(), Reason::SignerUnavailable, "{}", issuer.kind());
        assert!(refusal.fix_text().is_some());
    }
}
