//! The two streams of a connection.
//!
//! Architecture invariant: a guest buffers at most [`BUFFER_BYTES`] here; everything else waits in the kernel, or in
//! the guest.

use super::{Alive, pending::on_target};
use crate::capability::{Lease, socket, stream::Stream};
use bytes::{Buf, Bytes, BytesMut};
use std::{
    io,
    net::Shutdown,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

/// Bytes that one read brings or that wait to be written.
const BUFFER_BYTES: usize = 64 << 10;

/// A connection that a socket and its two streams share.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Mutex<Both>>,
    lease: Arc<Lease>,
    _alive: Alive,
}

struct Both {
    stream: Stream,
    /// What the guest has written and the kernel has not taken yet.
    unsent: BytesMut,
    no_more_in: bool,
    no_more_out: bool,
}

impl Connection {
    pub fn new(stream: Stream, lease: &Arc<Lease>, alive: &Alive) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Both {
                stream,
                unsent: BytesMut::new(),
                no_more_in: false,
                no_more_out: false,
            })),
            lease: Arc::clone(lease),
            _alive: Arc::clone(alive),
        }
    }

    fn both(&self) -> MutexGuard<'_, Both> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection itself, for its options and addresses.
    pub fn lock(&self) -> impl std::ops::Deref<Target = Stream> + '_ {
        Locked(self.both())
    }

    /// One direction is done with. That the peer has gone meanwhile is no error.
    pub fn shut(&self, direction: Shutdown) {
        let mut both = self.both();
        if direction != Shutdown::Read {
            // What has not been sent by now is sent if the kernel takes it.
            let _ = both.poll_send(&mut Context::from_waker(Waker::noop()));
            both.no_more_out = true;
        }
        if direction != Shutdown::Write {
            both.no_more_in = true;
        }
        let _ = both.stream.shut(direction);
    }

    fn failed(&self, error: io::Error) -> StreamError {
        socket::failed(&self.lease, &error);
        StreamError::LastOperationFailed(error.into())
    }
}

struct Locked<'a>(MutexGuard<'a, Both>);

impl std::ops::Deref for Locked<'_> {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.0.stream
    }
}

impl Both {
    /// Ready when nothing is unsent.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(sent);
        }
        Poll::Ready(Ok(()))
    }
}

/// What arrives.
pub struct Input(Connection);

impl Input {
    pub fn new(connection: Connection) -> Self {
        Self(connection)
    }
}

impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let mut both = self.0.both();
        if both.no_more_in {
            return Err(StreamError::Closed);
        }
        let mut room = vec![0; size.min(BUFFER_BYTES)];
        if room.is_empty() {
            return Ok(Bytes::new());
        }
        let mut buffer = ReadBuf::new(&mut room);
        let mut cx = Context::from_waker(Waker::noop());
        let polled = Pin::new(&mut both.stream).poll_read(&mut cx, &mut buffer);
        let length = buffer.filled().len();
        match polled {
            Poll::Pending => Ok(Bytes::new()),
            Poll::Ready(Ok(())) if length == 0 => {
                both.no_more_in = true;
                Err(StreamError::Closed)
            }
            Poll::Ready(Ok(())) => {
                room.truncate(length);
                Ok(room.into())
            }
            Poll::Ready(Err(error)) => {
                both.no_more_in = true;
                drop(both);
                Err(self.0.failed(error))
            }
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        on_target(&self.0.lease, |cx| {
            let mut both = self.0.both();
            if both.no_more_in {
                return Poll::Ready(());
            }
            both.stream.poll_readable(cx)
        })
        .await;
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.0.shut(Shutdown::Read);
    }
}

/// What is sent.
pub struct Output(Connection);

impl Output {
    pub fn new(connection: Connection) -> Self {
        Self(connection)
    }

    fn send(&self, cx: &mut Context<'_>) -> Poll<StreamResult<()>> {
        let mut both = self.0.both();
        if both.no_more_out {
            return Poll::Ready(Err(StreamError::Closed));
        }
        match ready!(both.poll_send(cx)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(error) => {
                both.no_more_out = true;
                drop(both);
                Poll::Ready(Err(self.0.failed(error)))
            }
        }
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        {
            let mut both = self.0.both();
            if both.no_more_out {
                return Err(StreamError::Closed);
            }
            if bytes.len() > BUFFER_BYTES.saturating_sub(both.unsent.len()) {
                return Err(StreamError::trap("write exceeds what check-write allows"));
            }
            both.unsent.extend_from_slice(&bytes);
        }
        match self.send(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        match self.send(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let mut cx = Context::from_waker(Waker::noop());
        match self.send(&mut cx) {
            Poll::Ready(result) => result.map(|()| BUFFER_BYTES),
            Poll::Pending => Ok(0),
        }
    }

    /// The guest is done with it: what it has written goes out first.
    async fn cancel(&mut self) {
        self.ready().await;
        self.0.shut(Shutdown::Write);
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        on_target(&self.0.lease, |cx| {
            let mut both = self.0.both();
            if both.no_more_out || ready!(both.poll_send(cx)).is_err() {
                // What it was shows with the next write.
                return Poll::Ready(());
            }
            Poll::Ready(())
        })
        .await;
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.0.shut(Shutdown::Write);
    }
}
