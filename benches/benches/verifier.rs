//! The whole check of a resource server while it holds 100,000 deny records, for a credential five tasks deep, beside the
//! signature alone.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark may panic; criterion's macros make public items"
)]

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use criterion::{Criterion, criterion_group, criterion_main};
use futures::{StreamExt as _, stream::BoxStream};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use std::{hint::black_box, time::Duration};
use taskpass_bench::fixtures;
use taskpass_crypto::{KeyPolicy, KeyRing, SealKey};
use taskpass_proto::v1::{
    AcknowledgeDeniesRequest, AcknowledgeDeniesResponse, AnswerProbesRequest, AnswerProbesResponse,
    DenyRecord, EndReason, VerificationKeys, WatchDeniesRequest, WatchDeniesResponse,
    deny_record::Subject,
    revocation_service_server::{RevocationService, RevocationServiceServer},
};
use taskpass_types::{Clock as _, HistoryId, SpiffeId, SystemClock, TaskId, Timestamp};
use taskpass_verify::Verifier;
use tokio::{net::UnixListener, runtime::Runtime};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{
    Request, Response, Status,
    transport::{Endpoint, Server},
};

const RECORDS: u64 = 100_000;
/// How many tasks deep the credential is.
const PATH: usize = 5;
/// How many records one message carries.
const PAGE: u64 = 1_000;

/// A feed that says everything at once and then nothing.
struct Feed(Vec<WatchDeniesResponse>);

#[tonic::async_trait]
impl RevocationService for Feed {
    type WatchDeniesStream = BoxStream<'static, Result<WatchDeniesResponse, Status>>;

    async fn acknowledge_denies(
        &self,
        _: Request<AcknowledgeDeniesRequest>,
    ) -> Result<Response<AcknowledgeDeniesResponse>, Status> {
        Ok(Response::new(AcknowledgeDeniesResponse {}))
    }

    async fn answer_probes(
        &self,
        _: Request<AnswerProbesRequest>,
    ) -> Result<Response<AnswerProbesResponse>, Status> {
        Ok(Response::new(AnswerProbesResponse {}))
    }

    async fn watch_denies(
        &self,
        _: Request<WatchDeniesRequest>,
    ) -> Result<Response<Self::WatchDeniesStream>, Status> {
        let pages = futures::stream::iter(self.0.clone().into_iter().map(Ok));
        Ok(Response::new(pages.chain(futures::stream::pending()).boxed()))
    }
}

fn pages(keys: &VerificationKeys, now: Timestamp) -> Vec<WatchDeniesResponse> {
    let page = |first: u64| WatchDeniesResponse {
        history_id: HistoryId([1; 16]).to_string(),
        after_epoch: first,
        epoch: first + PAGE,
        snapshot: first == 0,
        records: (first + 1..=first + PAGE).map(|epoch| record(epoch, now)).collect(),
        send_time: Some(time(now)),
        keys: (first == 0).then(|| keys.clone()),
        more: first + PAGE < RECORDS,
        session_id: String::new(),
        probes: Vec::new(),
    };
    (0..RECORDS / PAGE).map(|number| page(number * PAGE)).collect()
}

fn record(epoch: u64, now: Timestamp) -> DenyRecord {
    DenyRecord {
        epoch,
        subject: Some(Subject::TaskId(TaskId::new().to_string())),
        reason: EndReason::Completed.into(),
        by: "agent/dev/bench".to_owned(),
        time: Some(time(now)),
        until: Some(time(now.plus(Duration::from_secs(3600)))),
    }
}

fn time(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: i64::try_from(at.as_secs()).unwrap(), nanos: 0 }
}

/// The uncompressed point of the one key.
fn point(jwks: &str) -> Vec<u8> {
    let keys: serde_json::Value = serde_json::from_str(jwks).unwrap();
    let part = |name: &str| {
        let text = keys.pointer(&format!("/keys/0/{name}")).and_then(serde_json::Value::as_str).unwrap();
        BASE64URL.decode(text).unwrap()
    };
    [vec![4], part("x"), part("y")].concat()
}

fn check(criterion: &mut Criterion) {
    let (runtime, dir, clock) =
        (Runtime::new().unwrap(), tempfile::tempdir().unwrap(), SystemClock::default());
    let _inside = runtime.enter();
    let seal = SealKey::generate_file(&dir.path().join("seal")).unwrap();
    let policy = KeyPolicy::new(fixtures::trust_domain().unwrap());
    let ring = KeyRing::open(&dir.path().join("keys"), &seal, &clock, policy).unwrap();
    let keys = VerificationKeys {
        issuer: fixtures::ISSUER.to_owned(),
        trust_domain: fixtures::trust_domain().unwrap().to_string(),
        jwks: ring.jwks_json().to_string(),
        ca_certificates: ring.ca_certificates().into_iter().map(Into::into).collect(),
    };
    let socket = dir.path().join("feed.sock");
    let incoming = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
    let feed = RevocationServiceServer::new(Feed(pages(&keys, clock.now())));
    let serving = Server::builder().add_service(feed).serve_with_incoming(incoming);
    tokio_util::task::TaskTracker::new().spawn(serving);

    let channel = Endpoint::from_shared(format!("unix:{}", socket.display())).unwrap().connect_lazy();
    let patience = Duration::from_secs(3600);
    let verifier = Verifier::builder(channel).audience("demo-api").max_stale(patience).start().unwrap();
    runtime.block_on(verifier.ready());
    assert_eq!(verifier.epoch().unwrap().0, RECORDS);

    let mut grant = fixtures::grant(clock.now()).unwrap();
    while grant.task_path.iter().count() < PATH {
        grant.task_path = grant.task_path.child(TaskId::new()).unwrap();
    }
    let task = grant.task_path.task().unwrap();
    grant.subject =
        SpiffeId::from_parts(&fixtures::trust_domain().unwrap(), &format!("dev/bench/task/{task}")).unwrap();
    let token = ring.signer().sign(fixtures::ISSUER, &grant).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (signature, point) = (BASE64URL.decode(signature).unwrap(), point(ring.jwks_json().as_ref()));
    let bare = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point);
    criterion.bench_function("verifier/the signature alone", |b| {
        b.iter(|| bare.verify(black_box(signed.as_bytes()), &signature).unwrap());
    });
    let granted = verifier.verify_token(&token).unwrap();
    criterion.bench_function("verifier/token, 100,000 denies", |b| {
        b.iter(|| verifier.verify_token(black_box(&token)).unwrap());
    });
    criterion.bench_function("verifier/again, 100,000 denies", |b| {
        b.iter(|| verifier.recheck(black_box(&granted)).unwrap());
    });
}

criterion_group!(benches, check);
criterion_main!(benches);
