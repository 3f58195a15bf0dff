//! Waiting for what a server does in its own time, and ports nobody else uses.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::{Ipv4Addr, TcpListener},
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

/// No event of a healthy server takes longer, not even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// Looks every 10 ms until there is something to see, and returns it.
///
/// # Panics
///
/// After 30 s, with `what` in the message.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let watch = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(DEADLINE, watch)
        .await
        .unwrap_or_else(|_| panic!("waited {} s for this: {what}", DEADLINE.as_secs()))
}

/// Like [`until`], for what is true or not.
pub(crate) async fn until_true<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    until(what, || {
        let seen = look();
        async { seen.await.then_some(()) }
    })
    .await;
}

/// A port of 127.0.0.1 at which nobody listens.
///
/// It lies below the range from which the kernel takes ports for outgoing connections, so that none of these takes it
/// while its server is down. Each process begins at a random place and hands out no port twice in a row.
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: LazyLock<AtomicU16> =
        LazyLock::new(|| AtomicU16::new((RandomState::new().hash_one(0) % u64::from(COUNT)) as u16));
    (0..COUNT)
        .map(|_| FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("no port of 127.0.0.1 is free")
}
