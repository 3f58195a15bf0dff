//! Answers that end with the credential that they are given for: a stream of a gRPC call, of server-sent events, of a large
//! file. A body that is done at once is not one of them.

use crate::connection::Watch;
use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    error::Error,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tonic::{Code, Status};

pin_project! {
    /// A body that is cut off when its credential ends: with the status `UNAUTHENTICATED` and the reason in a gRPC call,
    /// with an error otherwise, which closes the stream, or the connection of HTTP/1.
    pub struct GuardedBody<B> {
        #[pin]
        inner: Option<B>,
        watch: Option<Watch>,
        grpc: bool,
        cut: bool,
    }
}

impl<B> GuardedBody<B> {
    /// Of a request that was refused.
    pub(crate) fn empty() -> Self {
        Self { inner: None, watch: None, grpc: false, cut: false }
    }
}

impl<B> Body for GuardedBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.project();
        let (false, Some(mut inner), Some(watch)) = (*this.cut, this.inner.as_pin_mut(), this.watch) else {
            return Poll::Ready(None);
        };
        let polled = inner.as_mut().poll_frame(context);
        let rejected = match &polled {
            Poll::Ready(None | Some(Err(_))) => None,
            // The last of it: whoever was verified when they asked gets a short answer whole, and no broken connection.
            Poll::Ready(Some(Ok(_))) if inner.is_end_stream() => None,
            Poll::Ready(Some(Ok(_))) => watch.still_good().err(),
            Poll::Pending => match watch.poll(context) {
                Poll::Ready(rejected) => Some(rejected),
                Poll::Pending => return Poll::Pending,
            },
        };
        let Some(rejected) = rejected else {
            return Poll::Ready(ready!(polled).map(|frame| frame.map_err(Into::into)));
        };
        tracing::info!(code = rejected.code(), %rejected, "cutting an answer off");
        *this.cut = true;
        if !*this.grpc {
            return Poll::Ready(Some(Err(rejected.into())));
        }
        let mut trailers = http::HeaderMap::new();
        let status = Status::new(Code::Unauthenticated, rejected.to_string());
        let said = status.add_header(&mut trailers).map(|()| Frame::trailers(trailers));
        Poll::Ready(Some(said.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.cut || self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

pin_project! {
    /// What a verified service answers.
    pub struct Answer<F, B> {
        #[pin]
        answer: Kind<F, B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<F, B> {
        Verified { #[pin] inner: F, watch: Option<Watch>, grpc: bool },
        Refused { response: Option<Response<GuardedBody<B>>> },
    }
}

impl<F, B> Answer<F, B> {
    pub(crate) fn verified(inner: F, watch: Watch, grpc: bool) -> Self {
        Self { answer: Kind::Verified { inner, watch: Some(watch), grpc } }
    }

    pub(crate) fn refused(response: Response<GuardedBody<B>>) -> Self {
        Self { answer: Kind::Refused { response: Some(response) } }
    }
}

impl<F, B, E> Future for Answer<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<GuardedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().answer.project() {
            KindProjection::Verified { inner, watch, grpc } => {
                let response = ready!(inner.poll(context))?;
                let (watch, grpc) = (watch.take(), *grpc);
                Poll::Ready(Ok(response.map(|body| GuardedBody {
                    inner: Some(body),
                    watch,
                    grpc,
                    cut: false,
                })))
            }
            // Whoever polls again after the answer waits, as the contract of futures allows.
            KindProjection::Refused { response } => {
                response.take().map_or(Poll::Pending, |it| Poll::Ready(Ok(it)))
            }
        }
    }
}
