//! From a host name to an open connection: resolve, check every address, take a permit, dial that very address.
//!
//! Architecture invariant: no socket is opened to an address that was not checked in the same call.

use super::{
    Lender, WaitGuard,
    call::{Call, Stage},
    egress,
    error::{ErrorCode, Failure},
    net::{IpFamily, TlsFacts},
    target::Host,
    tls, tls_facts,
};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Addresses of one name that are tried.
const TRIES_MAX: usize = 6;

/// A connection, with TLS or without. Gives its permit back when the descriptor is closed.
pub(super) struct Stream {
    io: Io,
    permit: OwnedSemaphorePermit,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that was just opened.
pub(super) struct Dialled<'a> {
    pub(super) stream: Stream,
    pub(super) peer: SocketAddr,
    pub(super) resolve_us: u64,
    pub(super) connect_us: u64,
    /// From the first try to connect on, the call waits for its target.
    pub(super) waiting: WaitGuard<'a>,
}

/// Where to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Destination<'a> {
    /// For denials.
    pub(super) capability: &'static str,
    pub(super) host: &'a Host,
    pub(super) port: u16,
    pub(super) family: IpFamily,
}

/// Opens a connection.
pub(super) async fn dial<'a>(
    lender: &Lender,
    call: &Call<'a>,
    to: Destination<'_>,
) -> Result<Dialled<'a>, Failure> {
    call.enter(Stage::Resolve);
    let start = call.now();
    let addresses = lender.resolver.resolve(to.host, to.family).await?;
    let resolve_us = match to.host {
        Host::Name(_) => call.micros_since(start),
        Host::Address(_) => 0,
    };
    egress::check_addresses(call.lease, to.capability, to.host, &addresses)
        .map_err(|denial| Failure::denied(call.phase(), denial))?;
    let permit = lender.shared.socket(call).await?;
    call.enter(Stage::Connect);
    let waiting = call.lease.waiting.begin();
    let start = call.now();
    let (stream, peer) = connect(call, &addresses, to.port).await?;
    Ok(Dialled {
        stream: Stream {
            io: Io::Plain(stream),
            permit,
        },
        peer,
        resolve_us,
        connect_us: call.micros_since(start),
        waiting,
    })
}

/// Tries one address after the other. Each but the last gets an equal share of the time that is left, so that one
/// that swallows packets does not eat all of it.
async fn connect(
    call: &Call<'_>,
    addresses: &[IpAddr],
    port: u16,
) -> Result<(TcpStream, SocketAddr), Failure> {
    let mut told: Option<Failure> = None;
    let tries = addresses.len().min(TRIES_MAX);
    for (index, address) in addresses.iter().take(TRIES_MAX).enumerate() {
        let share = call.left() / u32::try_from(tries - index).unwrap_or(u32::MAX);
        let due = call.now().after(share);
        let peer = SocketAddr::new(*address, port);
        let failure = match tokio::time::timeout(share, TcpStream::connect(peer)).await {
            Ok(Ok(stream)) => {
                // Only a hint to the kernel; a connection without it works as well.
                let _ = stream.set_nodelay(true);
                return Ok((stream, peer));
            }
            Ok(Err(error)) => Failure::io(call.phase(), &error),
            Err(_) => call.timed_out(due, share),
        }
        .at(peer);
        // Of several failures the first tells most, but one that only says that this family or network is not
        // to be had here tells least.
        let vague = |failure: &Failure| matches!(failure.code, ErrorCode::Unreachable | ErrorCode::Host);
        told = match told {
            Some(first) if !vague(&first) || vague(&failure) => Some(first),
            _ => Some(failure),
        };
    }
    Err(told.unwrap_or_else(|| Failure::host(call.phase(), "no address to connect to")))
}

impl Stream {
    /// Begins TLS. Says what the handshake showed and how many microseconds it took.
    pub(super) async fn start_tls(
        self,
        call: &Call<'_>,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<(Self, TlsFacts, u64), Failure> {
        call.enter(Stage::Tls);
        let start = call.now();
        let Io::Plain(stream) = self.io else {
            return Err(Failure::invalid("TLS is spoken already"));
        };
        let stream = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|error| tls::handshake_failure(&error))?;
        let facts = tls_facts::facts(stream.get_ref().1);
        let tls_us = call.micros_since(start);
        let stream = Self {
            io: Io::Tls(Box::new(stream)),
            permit: self.permit,
        };
        Ok((stream, facts, tls_us))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Io::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Io::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
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
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
