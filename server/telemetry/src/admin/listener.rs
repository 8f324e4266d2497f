//! Bounds on the admin HTTP's connections: how many, and how long one may say and take nothing.

use axum::serve::Listener;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Most connections at a time. More wait in the kernel until one ends.
const CONNECTIONS_MAX: usize = 32;
/// A connection on which nothing moves for so long is closed: it may not keep others out. Prometheus asks every
/// minute at the most and connects again.
const IDLE_MAX: Duration = Duration::from_secs(75);

/// A listener with those bounds.
pub(super) struct BoundedListener {
    listener: TcpListener,
    room: Arc<Semaphore>,
    idle_max: Duration,
}

impl BoundedListener {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self::with_bounds(listener, CONNECTIONS_MAX, IDLE_MAX)
    }

    fn with_bounds(listener: TcpListener, connections_max: usize, idle_max: Duration) -> Self {
        Self {
            listener,
            room: Arc::new(Semaphore::new(connections_max)),
            idle_max,
        }
    }
}

impl Listener for BoundedListener {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoundedStream, SocketAddr) {
        let room = Arc::clone(&self.room).acquire_owned().await;
        let room = room.expect("the semaphore is never closed");
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let stream = BoundedStream {
            stream,
            idle: Box::pin(sleep(self.idle_max)),
            idle_max: self.idle_max,
            _room: room,
        };
        (stream, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that counts against the listener's bounds.
pub(super) struct BoundedStream {
    stream: TcpStream,
    /// Ends when nothing has moved for `idle_max`.
    idle: Pin<Box<Sleep>>,
    idle_max: Duration,
    _room: OwnedSemaphorePermit,
}

impl BoundedStream {
    /// Passes `moved` on, and puts the end of the connection off if something moved.
    fn watch<T>(&mut self, context: &mut Context<'_>, moved: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.idle.as_mut().reset(Instant::now() + self.idle_max);
            return moved;
        }
        match self.idle.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let moved = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.watch(context, moved)
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, moved)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::pin::pin;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn listener(connections_max: usize, idle_max: Duration) -> (BoundedListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        (
            BoundedListener::with_bounds(listener, connections_max, idle_max),
            address,
        )
    }

    #[tokio::test]
    async fn one_connection_too_many_waits_until_another_ends() {
        let (mut listener, address) = listener(1, IDLE_MAX).await;
        let _clients = (
            TcpStream::connect(address).await.expect("listening"),
            TcpStream::connect(address).await.expect("listening"),
        );
        let (first, _) = listener.accept().await;
        let mut second = pin!(listener.accept());
        let early = poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_ready())).await;
        assert!(!early);
        drop(first);
        second.await;
    }

    #[tokio::test]
    async fn a_connection_on_which_nothing_moves_is_closed() {
        let (mut listener, address) = listener(1, Duration::from_millis(20)).await;
        let mut client = TcpStream::connect(address).await.expect("listening");
        let (mut stream, _) = listener.accept().await;
        client.write_all(b"GET").await.expect("connected");
        let mut bytes = [0; 8];
        assert_eq!(stream.read(&mut bytes).await.expect("some came"), 3);
        let error = stream.read(&mut bytes).await.expect_err("nothing came");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
