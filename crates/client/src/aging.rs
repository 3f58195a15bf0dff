//! A connection that ends before the identity that it was made with does.
//!
//! TLS looks at our certificate once, when the connection is made; a connection that goes on for days would outlive it
//! and be refused. The next one is made with whatever is in the files by then. What is under way when it ends is asked
//! for again by those who may.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use taskpass_types::Timestamp;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// What part of the rest of our certificate's life a connection lasts; a random part of the spread is added.
const PART: f64 = 0.7;
const SPREAD: f64 = 0.2;
/// A certificate that nobody renews in time must not make us connect in a loop.
const SHORTEST: Duration = Duration::from_secs(5);

/// A stream that says that it has ended when its time is over.
pub(crate) struct Aging<S> {
    stream: S,
    /// `None`: it has no end of its own.
    end: Option<Pin<Box<Sleep>>>,
}

impl<S> Aging<S> {
    pub(crate) fn new(stream: S, life: Option<Duration>) -> Self {
        Self { stream, end: life.map(|life| Box::pin(sleep(life))) }
    }
}

/// How long a connection may last that is made now with a certificate that ends at `not_after`.
pub(crate) fn life(now: Timestamp, not_after: Timestamp) -> Duration {
    not_after.since(now).mul_f64(fastrand::f64().mul_add(SPREAD, PART)).max(SHORTEST)
}

impl<S: AsyncRead + Unpin> AsyncRead for Aging<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(end) = &mut self.end
            && end.as_mut().poll(context).is_ready()
        {
            // Nothing was put into the buffer: the end of the stream.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Aging<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test(start_paused = true)]
    async fn ends_when_its_time_is_over_and_stays_so() {
        let (near, mut far) = tokio::io::duplex(8);
        let mut aging = Aging::new(near, Some(Duration::from_secs(60)));
        tokio::io::AsyncWriteExt::write_all(&mut far, b"x").await.unwrap();
        assert_eq!(aging.read_u8().await.unwrap(), b'x');
        for _ in 0..2 {
            assert_eq!(aging.read(&mut [0; 8]).await.unwrap(), 0);
        }
    }

    #[test]
    fn a_connection_lasts_for_most_of_the_certificate_and_never_for_nothing() {
        let now = Timestamp::from_secs(1000);
        for _ in 0..100 {
            let hour = life(now, Timestamp::from_secs(4600));
            assert!((2519..=3241).contains(&hour.as_secs()), "{hour:?}");
        }
        assert_eq!(life(now, Timestamp::from_secs(900)), SHORTEST);
    }
}
