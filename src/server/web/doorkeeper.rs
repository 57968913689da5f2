//! The way in for browsers: how many may stand here, and how long.
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio::time::Sleep;

use crate::domain::limits;
use crate::infra::metrics::Metrics;
use crate::infra::metrics::SessionGuard;
use crate::infra::net::limit::ConnectionLimits;
use crate::infra::net::limit::Guard;
use crate::server::web::Crowding;

/// Lets connections in, counts them, and hands them to `inner` (TLS, or nothing).
#[derive(Clone)]
pub struct Doorkeeper<A> {
    inner: A,
    crowd: ConnectionLimits,
    metrics: Option<Arc<Metrics>>,
}

impl<A> Doorkeeper<A> {
    /// Lets in as many as `crowding` allows. With `metrics` each counts as a session of `https`.
    pub fn new(inner: A, crowding: Crowding, metrics: Option<Arc<Metrics>>) -> Self {
        let crowd = ConnectionLimits::new(crowding.connections, crowding.per_address);
        Self { inner, crowd, metrics }
    }
}

impl<A, S> Accept<TcpStream, S> for Doorkeeper<A>
where
    A: Accept<TcpStream, S>,
    A::Future: Send + 'static,
    A::Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A::Service: Send + 'static,
{
    type Stream = Visit<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let place = stream.peer_addr().ok().and_then(|peer| self.crowd.admit(peer.ip()).ok());
        let Some(place) = place else {
            let full = io::Error::new(io::ErrorKind::ConnectionRefused, "too many connections");
            return Box::pin(std::future::ready(Err(full)));
        };
        // Pages are small: waiting to fill a segment only makes them late.
        let _ = stream.set_nodelay(true);
        let entered = self.inner.accept(stream, service);
        let guard = self.metrics.as_ref().map(|metrics| metrics.session("https"));
        Box::pin(async move {
            let (stream, service) = entered.await?;
            Ok((Visit::new(stream, limits::WEB_IDLE_TIMEOUT, place, guard), service))
        })
    }
}

/// A connection that ends when nothing moves on it, and after its longest life in any case.
///
/// hyper times request headers, and we time requests; between the two, before the first octet
/// and while a browser reads an answer, only this does.
pub struct Visit<S> {
    stream: S,
    patience: Duration,
    idle: Pin<Box<Sleep>>,
    end: Pin<Box<Sleep>>,
    _place: Guard,
    _guard: Option<SessionGuard>,
}

impl<S> Visit<S> {
    fn new(stream: S, patience: Duration, place: Guard, guard: Option<SessionGuard>) -> Self {
        Self {
            stream,
            idle: Box::pin(tokio::time::sleep(patience)),
            patience,
            end: Box::pin(tokio::time::sleep(limits::WEB_CONNECTION_LIFETIME)),
            _place: place,
            _guard: guard,
        }
    }

    /// What a finished or waiting operation means for the clocks.
    fn timed<T>(
        &mut self,
        poll: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        let over = || Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut)));
        if self.end.as_mut().poll(context).is_ready() {
            return over();
        }
        match poll {
            Poll::Ready(done) => {
                let now = Instant::now();
                let later = now + self.patience;
                self.idle.as_mut().reset(later);
                Poll::Ready(done)
            }
            Poll::Pending if self.idle.as_mut().poll(context).is_ready() => over(),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Visit<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.timed(poll, context)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Visit<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, octets);
        self.timed(poll, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, octets);
        self.timed(poll, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        // A flush with nothing to flush is no life sign.
        if poll.is_ready() { poll } else { self.timed(poll, context) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(context);
        if poll.is_ready() { poll } else { self.timed(poll, context) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_connection_is_closed() {
        use tokio::io::AsyncReadExt;
        let crowd = ConnectionLimits::new(1, 1);
        let place = crowd.admit("192.0.2.1".parse().unwrap()).unwrap();
        let (_peer, stream) = tokio::io::duplex(64);
        let mut visit = Visit::new(stream, Duration::from_millis(20), place, None);
        let error = visit.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
