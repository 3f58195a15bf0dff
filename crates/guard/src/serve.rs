//! Listening: HTTP/1.1 and HTTP/2 on the same socket, bounded, until told to stop.

use crate::{Guard, envoy, health, nginx};
use axum::{
    Router,
    extract::Request,
    http::{Method, StatusCode},
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{either::Either, sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;

/// Requests at a time on one HTTP/2 connection. Envoy has few connections and many requests.
const STREAMS: u32 = 1024;
/// The headers of one request: what nginx and Envoy take by default, and a certificate.
const HEADERS: u32 = 96 * 1024;
/// How long a head may take, and a connection may say nothing at its beginning.
const PATIENCE: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How long `accept` rests after an error, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// What connections may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections of all listeners together; more wait in the kernel.
    pub connections: usize,
    /// How long a connection lives; then it is told to end, and gets `drain` for it.
    pub age: Duration,
    /// How long requests may take to end when a connection or the whole guard stops.
    pub drain: Duration,
}

impl Default for Limits {
    /// 1024, an hour, 10 s.
    fn default() -> Self {
        Self { connections: 1024, age: Duration::from_secs(3600), drain: Duration::from_secs(10) }
    }
}

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    /// Whoever reaches it reaches the guard; believed about certificates on loopback addresses only.
    Tcp(TcpListener),
    /// Whoever may open its file.
    Unix(UnixListener),
}

impl Listener {
    /// Whether only this machine can ask.
    fn is_local(&self) -> bool {
        match self {
            Self::Tcp(listener) => listener.local_addr().is_ok_and(|address| address.ip().is_loopback()),
            Self::Unix(_) => true,
        }
    }

    async fn accept(&self) -> io::Result<Either<TcpStream, UnixStream>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Either::Left(stream))
            }
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Either::Right(stream)),
        }
    }
}

impl Guard {
    /// Answers on all of `listeners` until `stop` is cancelled, and then until what is under way has ended.
    pub async fn serve(&self, listeners: Vec<Listener>, limits: Limits, stop: CancellationToken) {
        let (work, places) = (TaskTracker::new(), Arc::new(Semaphore::new(limits.connections)));
        for listener in listeners {
            let router = self.router(listener.is_local());
            let serving = Serving {
                router,
                limits: limits.clone(),
                places: places.clone(),
                stop: stop.clone(),
                work: work.clone(),
            };
            work.spawn(stop.clone().run_until_cancelled_owned(serving.accept(listener)));
        }
        stop.cancelled().await;
        work.close();
        work.wait().await;
    }

    /// What gRPC does not know it answers with an HTTP 200 and `grpc-status`, which nginx would take for a yes. So a path
    /// that is not there is a 404, and gRPC is for POST, which `auth_request` never is.
    fn router(&self, local: bool) -> Router {
        let services = Routes::new(envoy::service(self, local)).add_service(health::service(self));
        let grpc = services.into_axum_router().reset_fallback();
        grpc.layer(from_fn(only_post)).merge(nginx::router(self, local))
    }
}

async fn only_post(request: Request, next: Next) -> Response {
    match *request.method() {
        Method::POST => next.run(request).await,
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

#[derive(Clone)]
struct Serving {
    router: Router,
    limits: Limits,
    places: Arc<Semaphore>,
    stop: CancellationToken,
    work: TaskTracker,
}

impl Serving {
    /// An error is a reason to pause, never to leave. A place is taken only for a connection that is there: a listener
    /// that waits for one must not keep the others from theirs.
    async fn accept(self, listener: Listener) {
        loop {
            let stream = match listener.accept().await {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            // Closed never.
            let Ok(place) = self.places.clone().acquire_owned().await else { return };
            let serving = self.clone();
            self.work.spawn(async move {
                serving.connection(stream).await;
                drop(place);
            });
        }
    }

    async fn connection(self, stream: Either<TcpStream, UnixStream>) {
        if timeout(PATIENCE, speaks(&stream)).await.is_err() {
            return;
        }
        let builder = builder();
        let service = TowerToHyperService::new(self.router);
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            ended = connection.as_mut() => return note(ended),
            () = self.stop.cancelled() => {}
            () = sleep(self.limits.age) => {}
        }
        connection.as_mut().graceful_shutdown();
        if let Ok(ended) = timeout(self.limits.drain, connection).await {
            note(ended);
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(usize::try_from(HEADERS).unwrap_or(usize::MAX));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(PATIENCE);
    builder
}

/// Waits until something comes.
async fn speaks(stream: &Either<TcpStream, UnixStream>) -> io::Result<()> {
    match stream {
        Either::Left(stream) => stream.readable().await,
        Either::Right(stream) => stream.readable().await,
    }
}

fn note(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}
