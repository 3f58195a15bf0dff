//! Hears what other brokers wrote.
//!
//! The ledger counts the commits with a deny record and those with an approval. A commit publishes the counts, which makes
//! others hear of it at once; what is published may be lost, so they also look at the counts again and again.

use crate::{fetch::texts, texts::Texts, writer::Shared};
use futures::StreamExt as _;
use parking_lot::Mutex;
use redis::Value;
use std::{sync::Arc, time::Duration};
use taskpass_store::Signals;

/// How often everybody looks although nothing was heard.
const LOOK: Duration = Duration::from_millis(500);

/// How many commits there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) denied: u64,
    pub(crate) approvals: u64,
}

/// What those who wait were told of.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<News>);

impl Heard {
    /// Tells those who wait, if it is news.
    pub(crate) fn hear(&self, news: News, signals: &Signals) {
        let mut heard = self.0.lock();
        let (denied, approvals) = (news.denied > heard.denied, news.approvals > heard.approvals);
        heard.denied = heard.denied.max(news.denied);
        heard.approvals = heard.approvals.max(news.approvals);
        signals.tell_of(denied, approvals);
    }

    /// Counts from here: another ledger may have begun anew.
    pub(crate) fn begin(&self, news: News, signals: &Signals) {
        *self.0.lock() = news;
        signals.tell_all();
    }
}

pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        let client = shared.serving.read().as_ref().map(|serving| serving.client.clone());
        if let Some(client) = client {
            listen(&shared, &client).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Passes on what is heard until the connection breaks or another server is the primary.
async fn listen(shared: &Shared, client: &redis::Client) {
    let Ok(mut subscription) = client.get_async_pubsub().await else { return };
    if subscription.subscribe(shared.layout.channel()).await.is_err() {
        return;
    }
    let mut messages = subscription.on_message();
    while is_primary(shared, client) {
        let news = match tokio::time::timeout(LOOK, messages.next()).await {
            Ok(None) => return,
            Ok(Some(message)) => parse(message.get_payload_bytes()),
            Err(_) => look(shared).await,
        };
        if let Some(news) = news {
            shared.news.hear(news, &shared.signals);
        }
    }
}

fn is_primary(shared: &Shared, client: &redis::Client) -> bool {
    let serving = shared.serving.read();
    let address = |client: &redis::Client| client.get_connection_info().addr().to_string();
    serving.as_ref().is_some_and(|serving| address(&serving.client) == address(client))
}

fn parse(counts: &[u8]) -> Option<News> {
    let (denied, approvals) = std::str::from_utf8(counts).ok()?.split_once(' ')?;
    Some(News { denied: denied.parse().ok()?, approvals: approvals.parse().ok()? })
}

async fn look(shared: &Shared) -> Option<News> {
    let mut reader = shared.reader().ok()?;
    let control = shared.layout.control();
    let asked = [&b"row"[..], b"denied", b"row", b"approvals"].map(<[u8]>::to_vec);
    let answers =
        reader.read(&Texts::from(vec![control.clone(), control]), &Texts::from(asked.to_vec())).await.ok()?;
    let counts = texts(Value::Array(answers.into_iter().map(or_zero).collect())).ok()?;
    parse(&counts.join(&b' '))
}

fn or_zero(answer: Value) -> Value {
    match answer {
        Value::Nil => Value::BulkString(b"0".to_vec()),
        answer => answer,
    }
}
