//! From a host name to an open connection: resolve, check every address, take a permit, dial that very address.
//!
//! Architecture invariant: no socket is opened to an address that was not checked in the same call.

use super::{
    Lender, WaitGuard,
    call::{Call, Stage},
    egress,
    error::Failure,
    net::IpFamily,
    socket::Options,
    stream::Stream,
    target::Host,
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
};
use tokio::net::{TcpSocket, TcpStream};

/// Addresses of one name that are tried.
const TRIES_MAX: usize = 6;

/// A connection that was just opened.
pub(super) struct Dialled<'a> {
    pub(super) stream: Stream,
    pub(super) peer: SocketAddr,
    pub(super) resolve_us: u64,
    pub(super) connect_us: u64,
    /// From the first try to connect on, the call waits for its target.
    pub(super) waiting: Option<WaitGuard<'a>>,
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
    let start = call.now();
    let addresses = resolve(lender, call, to).await?;
    let resolve_us = match to.host {
        Host::Name(_) => call.micros_since(start),
        Host::Address(_) => 0,
    };
    let permit = lender.shared.socket(call).await;
    call.enter(Stage::Connect);
    let waiting = call.wait_for_target();
    let start = call.now();
    let (stream, peer) = connect(lender, call, &addresses, to.port).await?;
    Ok(Dialled {
        stream: Stream::new(stream, permit, lender.shared.pace(call.lease)),
        peer,
        resolve_us,
        connect_us: call.micros_since(start),
        waiting,
    })
}

/// The addresses of a host that a grant covers by name, every one of them checked. This is a request of its tenant's.
pub(super) async fn resolve(
    lender: &Lender,
    call: &Call<'_>,
    to: Destination<'_>,
) -> Result<Vec<IpAddr>, Failure> {
    lender.shared.admit(call.lease, call.phase())?;
    call.enter(Stage::Resolve);
    let tenant = call.lease.throttle(&lender.shared).id;
    let addresses = lender.resolver.resolve(tenant, to.host, to.family).await?;
    egress::check_addresses(call.lease, to.capability, to.host, &addresses)
        .map_err(|denial| Failure::denied(call.phase(), denial))?;
    Ok(addresses)
}

/// Tries one address after the other. Each but the last gets an equal share of the time that is left, so that one
/// that swallows packets does not eat all of it.
async fn connect(
    lender: &Lender,
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
        let failure = match tokio::time::timeout(share, open(lender, peer, &Options::default())).await {
            Ok(Ok(stream)) => return Ok((stream, peer)),
            Ok(Err(error)) => Failure::io(call.phase(), &error),
            Err(_) => call.timed_out(due, share),
        }
        .at(peer);
        told = Some(failure.or_what_tells_more(told));
    }
    Err(told.unwrap_or_else(|| Failure::host(call.phase(), "no address to connect to")))
}

/// The one place where a connection to a target is opened. Whoever calls this has checked that very address.
pub(super) async fn open(lender: &Lender, peer: SocketAddr, options: &Options) -> io::Result<TcpStream> {
    #[cfg(test)]
    if let Some(recorder) = &lender.shared.recorder {
        return recorder.open(peer).await;
    }
    #[cfg(not(test))]
    let _ = lender;
    let socket = match peer {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    options.apply(&socket)?;
    let stream = socket.connect(peer).await?;
    // Only a hint to the kernel; a connection without it works as well.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
