//! What a verifier adds to the bare signature check, in one process.

use crate::{clock, death::verifier, exchange::IssueSlot, world::World};
use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use std::{hint::black_box, time::Duration};
use taskpass_proto::v1::{
    WatchDeniesRequest, credential::Form, revocation_service_client::RevocationServiceClient,
};

/// Blocks of each, alternating.
const BLOCKS: usize = 21;
/// Checks in a block.
const BLOCK: u32 = 400;

/// One check each, in microseconds: medians over the blocks.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Offline {
    /// ring alone, over the bytes that were signed.
    pub bare: f64,
    /// The whole check: form, signature, claims, expiry, binding, denies, freshness.
    pub full: f64,
    /// The same token again without its signature: expiry, denies, freshness.
    pub recheck: f64,
}

/// Measures with a token of `slot` and the feed of the broker on `port`.
pub async fn measure(world: &World, port: u16, slot: &mut IssueSlot) -> anyhow::Result<Offline> {
    let credential = slot.issue().await?.credential.and_then(|credential| credential.form);
    let Some(Form::Token(token)) = credential else { bail!("no token") };
    let verifier = verifier(world, port).await?;
    let point = signing_key(world, port).await?;
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point);
    let (signed, signature) = token.rsplit_once('.').context("no signature")?;
    let signature = BASE64URL.decode(signature)?;
    let peer = Some(&world.agent.der);
    let granted = verifier.verify_bound_token(&token, peer)?;
    let (mut bare, mut full, mut recheck) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..BLOCKS {
        bare.push(block(|| key.verify(black_box(signed.as_bytes()), &signature).is_ok())?);
        full.push(block(|| verifier.verify_bound_token(black_box(&token), peer).is_ok())?);
        recheck.push(block(|| verifier.recheck(black_box(&granted)).is_ok())?);
    }
    Ok(Offline { bare: median(bare), full: median(full), recheck: median(recheck) })
}

fn block(check: impl Fn() -> bool) -> anyhow::Result<Duration> {
    let began = clock::now();
    for _ in 0..BLOCK {
        if !check() {
            bail!("a good token was refused");
        }
    }
    Ok(began.elapsed() / BLOCK)
}

fn median(mut spans: Vec<Duration>) -> f64 {
    spans.sort_unstable();
    spans.get(spans.len() / 2).map_or(0.0, |span| span.as_secs_f64() * 1e6)
}

/// The uncompressed point of the one key that the broker publishes.
async fn signing_key(world: &World, port: u16) -> anyhow::Result<Vec<u8>> {
    let channel = world.endpoint(&world.verifier, port)?.connect().await?;
    let mut client = RevocationServiceClient::new(channel);
    let mut feed = client.watch_denies(WatchDeniesRequest::default()).await?.into_inner();
    let first = feed.message().await?.context("the feed ended")?;
    let keys: serde_json::Value = serde_json::from_str(&first.keys.context("no keys")?.jwks)?;
    let part = |name: &str| {
        let text = keys.pointer(&format!("/keys/0/{name}")).and_then(serde_json::Value::as_str);
        anyhow::Ok(BASE64URL.decode(text.context("no P-256 key")?)?)
    };
    Ok([vec![4], part("x")?, part("y")?].concat())
}
