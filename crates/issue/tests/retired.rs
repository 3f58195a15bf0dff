//! A lease is signed by the generation that it was planned for, as long as that one is there.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use rcgen::{CertificateParams, KeyPair};
use std::{sync::Arc, time::Duration};
use taskpass_crypto::{KeyPolicy, KeyRing, SealKey};
use taskpass_issue::{Form, Issuer, JwtIssuer, X509Issuer};
use taskpass_lease::{Event, Limits, PlanLease};
use taskpass_store::{Ledger, MemoryBackend, Prepared, Store, conformance::events};
use taskpass_types::{LeaseId, ManualClock, Reason, Refusal, TaskId, TenantId, Timestamp, TrustDomain};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A lease of what `issuer` issues, planned for the key that would sign now.
async fn prepared(issuer: &dyn Issuer, form: &Form) -> Prepared {
    let store = Ledger::new(MemoryBackend::new(Limits::default()).unwrap());
    let (tenant, task, lease) = (TenantId::default(), TaskId::new(), LeaseId::new());
    let plan = PlanLease {
        kind: issuer.kind(),
        revocability: issuer.revocability(),
        confirmation: issuer.accept(form.clone()).unwrap().confirmation,
        evidence_expires_at: NOW.plus(Duration::from_secs(600)),
        key_generation: issuer.key_generation(),
        status: None,
        ..events::plan(&tenant, lease, task)
    };
    store.apply(Event::SetPolicies(Box::new(events::set_policies("r1"))), NOW).await.unwrap();
    store.apply(Event::StartTask(Box::new(events::start(&tenant, task, None))), NOW).await.unwrap();
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
        (
            Box::new(X509Issuer::new(keys.clone(), "https://taskpass.acme.test".to_owned())),
            Form::Certificate { csr: request.der().to_vec() },
        ),
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
