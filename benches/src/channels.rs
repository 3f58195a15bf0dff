//! How long after the call that ends a task each standard channel says so; and the table of the documentation.
//!
//! Each is asked again and again until it tells, by a caller that has nothing else to do: what is measured is the channel, not
//! how often somebody looks at it.

use crate::{
    clock, death,
    drive::Figures,
    exchange::{IssueSlot, Kind},
    process::BrokerProcess,
    report::{Report, Target},
    world::World,
};
use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use std::time::{Duration, Instant};
use taskpass_client::Broker;
use taskpass_proto::v1::{CredentialKind, credential::Form};
use taskpass_types::LeaseId;
use tonic::transport::Channel;
use tower::{Service as _, ServiceExt as _};

/// How long a channel may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// One row.
struct Row {
    channel: &'static str,
    bound: &'static str,
    figures: Figures,
}

/// Ends `rounds` tasks for each channel, one after the other.
pub async fn run(rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let world = World::new()?;
    let broker = BrokerProcess::start(&world, "broker").await?;
    let asker = Asker::new(&world, &broker).await?;
    let rows = [
        Row {
            channel: "deny feed",
            bound: "5 s (`max_stale`), then nothing is accepted",
            figures: death::measure(&world, broker.port, rounds).await?.from_call,
        },
        Row {
            channel: "introspection",
            bound: "the next answer",
            figures: asker.measure(Kind::Jwt, rounds, async |one| asker.is_inactive(one).await).await?,
        },
        Row {
            channel: "status list",
            bound: "5 s (`ttl`), or the time between two fetches",
            figures: asker.measure(Kind::Jwt, rounds, async |one| asker.is_set(one).await).await?,
        },
        Row {
            channel: "revocation list",
            bound: "the time between two fetches",
            figures: asker.measure(Kind::X509, rounds, async |one| asker.is_listed(one).await).await?,
        },
    ];
    for Row { channel, figures, .. } in &rows {
        report.add("channels", Target::noted(&format!("{channel}, p50 ms"), figures.p50), figures)?;
        report.add("channels", Target::noted(&format!("{channel}, p99 ms"), figures.p99), figures)?;
    }
    report.say("\n| channel | bound promised | p99 measured |\n|---|---|---|")?;
    for Row { channel, bound, figures } in rows {
        report.say(&format!("| {channel} | {bound} | {:.1} ms |", figures.p99))?;
    }
    Ok(())
}

/// A credential and its lease.
struct One {
    lease: LeaseId,
    /// Empty for a certificate.
    token: String,
}

/// Who issues, ends and asks.
struct Asker {
    agent: Channel,
    verifier: Channel,
    http: Client<HttpConnector, Full<Bytes>>,
    port: u16,
}

impl Asker {
    async fn new(world: &World, broker: &BrokerProcess) -> anyhow::Result<Self> {
        Ok(Self {
            agent: world.endpoint(&world.agent, broker.port)?.connect().await?,
            verifier: world.endpoint(&world.verifier, broker.port)?.connect().await?,
            http: Client::builder(TokioExecutor::new()).build_http(),
            port: broker.http,
        })
    }

    /// From the call that ends a task to the moment when `tells` says so, which it must not before.
    async fn measure(
        &self,
        kind: Kind,
        rounds: usize,
        tells: impl AsyncFn(&One) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Figures> {
        let (broker, began) = (Broker::new(self.agent.clone()), clock::now());
        let mut took = Vec::new();
        for _ in 0..rounds {
            let mut slot = IssueSlot::new(self.agent.clone(), kind).await?;
            let one = One::of(slot.issue().await?)?;
            ensure!(!tells(&one).await?, "it says that a living task has ended");
            let called = clock::now();
            let complete = async { anyhow::Ok(broker.complete_task(slot.task()).await?) };
            let told = async {
                while !tells(&one).await? {}
                anyhow::Ok(clock::now())
            };
            let both = async { tokio::try_join!(complete, told) };
            let (_, told): (_, Instant) =
                tokio::time::timeout(PATIENCE, both).await.context("it never told")??;
            took.push(told - called);
        }
        Ok(Figures::of(took, began.elapsed()))
    }

    /// RFC 7662, over mutual TLS.
    async fn is_inactive(&self, one: &One) -> anyhow::Result<bool> {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/introspect")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(tonic::body::Body::new(Full::new(Bytes::from(format!("token={}", one.token)))))?;
        let answer = self.verifier.clone().ready().await?.call(request).await?;
        ensure!(answer.status() == StatusCode::OK, "introspection answers {}", answer.status());
        let body = answer.into_body().collect().await?.to_bytes();
        let said: Value = serde_json::from_slice(&body)?;
        Ok(!said.get("active").and_then(Value::as_bool).context("no `active`")?)
    }

    /// The bit of a token, on a list that is fetched anew.
    async fn is_set(&self, one: &One) -> anyhow::Result<bool> {
        let token = payload(&one.token)?;
        let place = |member: &str| token.pointer(&format!("/status/status_list/{member}"));
        let uri = place("uri").and_then(Value::as_str).context("the token is on no status list")?;
        let index = usize::try_from(place("idx").and_then(Value::as_u64).context("no index")?)?;
        let path = uri.find("/status-lists/").and_then(|at| uri.get(at..)).context("no path")?;
        let list = payload(std::str::from_utf8(&self.get(path).await?)?)?;
        let packed = list.pointer("/status_list/lst").and_then(Value::as_str).context("no list")?;
        let packed = BASE64URL.decode(packed)?;
        let bits = miniz_oxide::inflate::decompress_to_vec_zlib(&packed)
            .map_err(|error| anyhow::anyhow!("a status list cannot be unpacked: {error:?}"))?;
        let byte = bits.get(index / 8).context("the index is beyond the list")?;
        Ok(byte >> (index % 8) & 1 == 1)
    }

    /// Whether a certificate's serial number is on the revocation list.
    async fn is_listed(&self, one: &One) -> anyhow::Result<bool> {
        let (list, serial) = (self.get("/crl/1").await?, one.lease.serial(0));
        Ok(list.windows(serial.len()).any(|window| window == serial))
    }

    async fn get(&self, path: &str) -> anyhow::Result<Bytes> {
        let uri = format!("http://127.0.0.1:{}{path}", self.port).parse()?;
        loop {
            let answer = self.http.get(http::Uri::clone(&uri)).await?;
            match answer.status() {
                StatusCode::OK => return Ok(answer.into_body().collect().await?.to_bytes()),
                // There is none yet.
                StatusCode::SERVICE_UNAVAILABLE => tokio::time::sleep(Duration::from_millis(1)).await,
                other => anyhow::bail!("`{path}` answers {other}"),
            }
        }
    }
}

impl One {
    fn of(answer: taskpass_proto::v1::IssueCredentialResponse) -> anyhow::Result<Self> {
        let lease = answer.lease.context("no lease")?;
        let token = match answer.credential.and_then(|credential| credential.form) {
            Some(Form::Token(token)) => token,
            _ if lease.kind() == CredentialKind::X509 => String::new(),
            _ => anyhow::bail!("no token"),
        };
        Ok(Self { lease: lease.id.parse()?, token })
    }
}

/// What a signed text says; ours, so it need not be verified here.
fn payload(jws: &str) -> anyhow::Result<Value> {
    let payload = jws.split('.').nth(1).context("no JWS")?;
    Ok(serde_json::from_slice(&BASE64URL.decode(payload)?)?)
}
