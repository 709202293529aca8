//! An open connection, with TLS or without: counted, and held back where its tenant's quota says so.
//!
//! Architecture invariant: every byte that goes to or comes from a target passes here, and the permit is given back
//! when the descriptor is closed, not before.

use super::{
    call::{Call, Stage},
    error::Failure,
    lender::Permit,
    net::TlsFacts,
    socket::Options,
    throttle::Pace,
    tls, tls_facts,
};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A connection, with TLS or without.
pub struct Stream(Io);

enum Io {
    Plain(Wire),
    Tls(Box<TlsStream<Wire>>),
}

impl Stream {
    pub(super) fn new(stream: TcpStream, permit: Permit, pace: Option<Pace>) -> Self {
        Self(Io::Plain(Wire {
            stream,
            permit,
            pace: pace.map(Box::new),
            sent: 0,
            received: 0,
        }))
    }

    /// Begins TLS. Says what the handshake showed and how many microseconds it took.
    pub(super) async fn start_tls(
        self,
        call: &Call<'_>,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<(Self, TlsFacts, u64), Failure> {
        call.enter(Stage::Tls);
        let start = call.now();
        let Io::Plain(wire) = self.0 else {
            return Err(Failure::invalid("TLS is spoken already"));
        };
        let stream = TlsConnector::from(config)
            .connect(name, wire)
            .await
            .map_err(|error| tls::handshake_failure(&error))?;
        let facts = tls_facts::facts(stream.get_ref().1);
        let tls_us = call.micros_since(start);
        Ok((Self(Io::Tls(Box::new(stream))), facts, tls_us))
    }

    /// The chain that the peer showed, in DER; nothing without TLS.
    pub(super) fn chain(&self) -> Vec<Vec<u8>> {
        match &self.0 {
            Io::Plain(_) => Vec::new(),
            Io::Tls(stream) => tls_facts::chain(stream.get_ref().1),
        }
    }

    /// The connection's own end.
    ///
    /// # Errors
    /// The operating system's.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.wire().stream.local_addr()
    }

    /// The other end.
    ///
    /// # Errors
    /// The operating system's; a connection that was reset has none.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.wire().stream.peer_addr()
    }

    /// Sets what the options say.
    ///
    /// # Errors
    /// The operating system's.
    pub fn configure(&self, options: &Options) -> io::Result<()> {
        options.apply(&self.wire().stream)
    }

    /// Hops of a packet, as the system has them.
    #[cfg(test)]
    pub(crate) fn hop_limit(&self) -> u32 {
        rustix::net::sockopt::ip_ttl(&self.wire().stream).unwrap()
    }

    /// Says to the peer, or to the system, that one direction is done with.
    ///
    /// # Errors
    /// The operating system's.
    pub fn shut(&self, direction: std::net::Shutdown) -> io::Result<()> {
        let direction = match direction {
            std::net::Shutdown::Read => rustix::net::Shutdown::Read,
            std::net::Shutdown::Write => rustix::net::Shutdown::Write,
            std::net::Shutdown::Both => rustix::net::Shutdown::Both,
        };
        Ok(rustix::net::shutdown(&self.wire().stream, direction)?)
    }

    /// Ready when something can be read, or nothing ever will be.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let wire = self.wire_mut();
        ready!(wire.poll_pace(cx));
        wire.stream.poll_read_ready(cx).map(|_| ())
    }

    /// Ready when something can be written, or nothing ever will be.
    pub fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let wire = self.wire_mut();
        ready!(wire.poll_pace(cx));
        wire.stream.poll_write_ready(cx).map(|_| ())
    }

    fn wire(&self) -> &Wire {
        match &self.0 {
            Io::Plain(wire) => wire,
            Io::Tls(stream) => stream.get_ref().0,
        }
    }

    fn wire_mut(&mut self) -> &mut Wire {
        match &mut self.0 {
            Io::Plain(wire) => wire,
            Io::Tls(stream) => stream.get_mut().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Io::Plain(wire) => Pin::new(wire).poll_read(cx, buffer),
            Io::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Io::Plain(wire) => Pin::new(wire).poll_write(cx, bytes),
            Io::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Io::Plain(wire) => Pin::new(wire).poll_flush(cx),
            Io::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            // A plain connection is shut down when it has done its work, and then it is dropped: closing it tells the
            // peer the same.
            Io::Plain(_) => Poll::Ready(Ok(())),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Io::Plain(wire) => Pin::new(wire).poll_write_vectored(cx, parts),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Io::Plain(wire) => wire.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

/// What goes over the network.
struct Wire {
    stream: TcpStream,
    permit: Permit,
    pace: Option<Box<Pace>>,
    sent: u64,
    received: u64,
}

impl Wire {
    fn poll_pace(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.pace
            .as_mut()
            .map_or(Poll::Ready(()), |pace| pace.poll_ready(cx))
    }

    fn charge(&self, bytes: usize) {
        if let Some(pace) = &self.pace {
            pace.charge(bytes);
        }
    }

    fn wrote(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = polled {
            self.sent += bytes as u64;
            self.charge(bytes);
        }
        polled
    }
}

impl Drop for Wire {
    /// Entered once for each connection: an account is shared by all workers.
    fn drop(&mut self) {
        let account = &self.permit.tenant.account;
        account.add_sent(self.sent);
        account.add_received(self.received);
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_pace(cx));
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let bytes = buffer.filled().len() - before;
        self.received += bytes as u64;
        self.charge(bytes);
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_pace(cx));
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_pace(cx));
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
