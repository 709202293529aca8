//! Sockets as `wasi:sockets` has them: a name is looked up first, and its address connected to later, by the guest.
//!
//! Architecture invariant: the order is that of the other interfaces. A name is looked up only if a grant covers it;
//! an address is connected or sent to only if a grant covers it or a name that this very execution had resolved to it;
//! its class is checked in both cases, and the permit is there before the descriptor. Nothing can be listened on.

use super::{
    Failure, Lease, Lender, Phase,
    call::{Call, Stage},
    dial::{self, Destination},
    egress::{self, Transport},
    lender::Permit,
    net::IpFamily,
    stream::Stream,
    target::Host,
    throttle::Pace,
};
use crate::domain::outcome::Denial;
use rustix::net::{RecvFlags, sockopt};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd,
    sync::{Arc, atomic::AtomicBool},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use tokio::{io::Interest, net::UdpSocket};

/// Names that one execution can have looked up; the oldest is forgotten.
const NAMES_MAX: usize = 64;
/// Bytes of a kernel's buffer that a guest can ask for, each way.
pub const BUFFER_BYTES_MAX: u64 = 256 << 10;
/// Longest datagram.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;

/// What names resolved to, in one execution.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<(Host, Vec<IpAddr>)>);

impl Names {
    fn remember(&mut self, host: Host, addresses: Vec<IpAddr>) {
        self.0.retain(|(known, _)| *known != host);
        if self.0.len() >= NAMES_MAX {
            self.0.remove(0);
        }
        self.0.push((host, addresses));
    }

    /// The names that resolved to that address.
    pub(super) fn of(&self, address: IpAddr) -> impl Iterator<Item = &Host> {
        self.0
            .iter()
            .filter(move |(_, addresses)| addresses.contains(&address))
            .map(|(host, _)| host)
    }
}

/// What a guest may set of a connection. None: as the system has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `SO_KEEPALIVE`.
    pub keep_alive: Option<bool>,
    /// `TCP_KEEPIDLE`, at least a second.
    pub keep_idle: Option<Duration>,
    /// `TCP_KEEPINTVL`, at least a second.
    pub keep_interval: Option<Duration>,
    /// `TCP_KEEPCNT`.
    pub keep_count: Option<u32>,
    /// Hops of a packet, at least 1.
    pub hop_limit: Option<u8>,
    /// Bytes of the kernel's buffer for what arrives; at most [`BUFFER_BYTES_MAX`].
    pub receive_bytes: Option<u64>,
    /// Bytes of the kernel's buffer for what is sent; at most [`BUFFER_BYTES_MAX`].
    pub send_bytes: Option<u64>,
}

impl Options {
    /// Sets what is not none.
    pub(super) fn apply(&self, socket: impl AsFd) -> io::Result<()> {
        let socket = socket.as_fd();
        if let Some(on) = self.keep_alive {
            sockopt::set_socket_keepalive(socket, on)?;
        }
        if let Some(idle) = self.keep_idle {
            sockopt::set_tcp_keepidle(socket, idle)?;
        }
        if let Some(interval) = self.keep_interval {
            sockopt::set_tcp_keepintvl(socket, interval)?;
        }
        if let Some(count) = self.keep_count {
            sockopt::set_tcp_keepcnt(socket, count)?;
        }
        if let Some(hops) = self.hop_limit {
            match sockopt::socket_domain(socket)? {
                rustix::net::AddressFamily::INET6 => {
                    sockopt::set_ipv6_unicast_hops(socket, Some(hops))?;
                }
                _ => sockopt::set_ip_ttl(socket, hops.into())?,
            }
        }
        let fit = |bytes: u64| usize::try_from(bytes.min(BUFFER_BYTES_MAX)).unwrap_or(usize::MAX);
        if let Some(bytes) = self.receive_bytes {
            sockopt::set_socket_recv_buffer_size(socket, fit(bytes))?;
        }
        if let Some(bytes) = self.send_bytes {
            sockopt::set_socket_send_buffer_size(socket, fit(bytes))?;
        }
        Ok(())
    }
}

/// Runs a call that the guest can stop waiting for. What failed taints the execution at once, whatever the guest asks
/// next; so does a call that is given up while the host itself was busy with it.
pub(super) async fn settled<T>(
    call: &Call<'_>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    struct GivenUp<'a, 'c>(Option<&'a Call<'c>>);
    impl Drop for GivenUp<'_, '_> {
        fn drop(&mut self) {
            if let Some(call) = self.0 {
                call.lease.taint(call.given_up());
            }
        }
    }
    let mut given_up = GivenUp(Some(call));
    let result = call.bound(work).await;
    given_up.0 = None;
    if let Err(failure) = &result {
        call.lease.taint(failure.taint.clone());
    }
    result
}

/// What an error of an open socket means. One that is the host's own trouble taints the execution.
pub fn failed(lease: &Lease, error: &io::Error) -> Failure {
    let failure = Failure::io(Phase::Processing, error);
    lease.taint(failure.taint.clone());
    failure
}

/// Refuses to listen, to accept and to bind to anything but "any address, any port".
#[must_use]
pub fn no_listening(lease: &Lease, wanted: &str) -> Failure {
    let failure = Failure::denied(
        Phase::Prepare,
        Denial {
            capability: "wasi-sockets",
            wanted: wanted.to_owned(),
            grant: "no grant allows to listen; sockets only go out".to_owned(),
        },
    );
    lease.taint(failure.taint.clone());
    failure
}

impl Lender {
    /// Looks a name up and remembers for this execution what it resolved to.
    ///
    /// # Errors
    /// As the resolver's, and a denial if no grant of `tcp` or `udp` covers the name, or one of its addresses is in a
    /// network that is not granted.
    pub async fn look_up(&self, lease: &Lease, name: &str) -> Result<Vec<IpAddr>, Failure> {
        let never = AtomicBool::new(false);
        let call = Call::aside(lease, &self.shared.clock, &never)?;
        let work = async {
            let host = Host::parse(name).map_err(Failure::invalid)?;
            if let Host::Address(address) = host {
                // Nothing is asked, and nothing learnt.
                return Ok(vec![address]);
            }
            egress::check_name(lease, &host).map_err(|denial| Failure::denied(Phase::Prepare, denial))?;
            let to = Destination {
                capability: "wasi-sockets",
                host: &host,
                port: 0,
                family: IpFamily::Any,
            };
            let addresses = dial::resolve(self, &call, to).await?;
            lease.names().remember(host, addresses.clone());
            Ok(addresses)
        };
        settled(&call, work).await
    }

    /// Connects to that very address. `on_target` is set when nothing but the target is waited for any more.
    ///
    /// # Errors
    /// See [`ErrorCode`](super::ErrorCode).
    pub async fn connect(
        &self,
        lease: &Lease,
        peer: SocketAddr,
        options: &Options,
        on_target: &AtomicBool,
    ) -> Result<Stream, Failure> {
        let call = Call::aside(lease, &self.shared.clock, on_target)?;
        let work = async {
            egress::check_peer(lease, Transport::Tcp, peer)
                .map_err(|denial| Failure::denied(Phase::Prepare, denial))?;
            self.shared.admit(lease, Phase::Prepare)?;
            let permit = self.shared.socket(&call).await;
            call.enter(Stage::Connect);
            let _aside = call.wait_for_target();
            let stream = dial::open(self, peer, options)
                .await
                .map_err(|error| Failure::io(call.phase(), &error))?;
            Ok(Stream::new(stream, permit, self.shared.pace(lease)))
        };
        settled(&call, work).await
    }

    /// Opens a socket for datagrams that is bound to a port of the system's choice.
    ///
    /// # Errors
    /// The host's own trouble.
    pub async fn datagrams(&self, lease: &Lease, family: IpFamily) -> Result<Datagrams, Failure> {
        let never = AtomicBool::new(false);
        let call = Call::aside(lease, &self.shared.clock, &never)?;
        let any = match family {
            IpFamily::V6 => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            IpFamily::Any | IpFamily::V4 => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        };
        let work = async {
            let permit = self.shared.socket(&call).await;
            call.enter(Stage::Prepare);
            let socket = UdpSocket::bind(any)
                .await
                .map_err(|error| Failure::io(Phase::Prepare, &error))?;
            Ok(Datagrams {
                socket: Arc::new(socket),
                permit,
                pace: self.shared.pace(lease),
                peer: None,
                has_asked: false,
            })
        };
        settled(&call, work).await
    }

    /// Checks that datagrams may be exchanged with that address and port.
    ///
    /// # Errors
    /// A denial.
    pub fn check_datagrams(&self, lease: &Lease, peer: SocketAddr) -> Result<(), Failure> {
        egress::check_peer(lease, Transport::Udp, peer).map_err(|denial| {
            let failure = Failure::denied(Phase::Prepare, denial);
            lease.taint(failure.taint.clone());
            failure
        })
    }

    /// Sends a datagram, which is a request of its own, to an address that was checked before. None: the kernel's
    /// buffer is full, or the tenant's bytes of this second are used up.
    ///
    /// # Errors
    /// The tenant's quota, or the operating system's.
    pub fn send_datagram(
        &self,
        lease: &Lease,
        socket: &mut Datagrams,
        bytes: &[u8],
        peer: SocketAddr,
    ) -> Result<Option<()>, Failure> {
        if !socket.may_pass() {
            return Ok(None);
        }
        self.shared
            .take_request(lease, Phase::Processing)
            .inspect_err(|failure| {
                lease.taint(failure.taint.clone());
            })?;
        #[cfg(test)]
        if let Some(recorder) = &self.shared.recorder {
            return Err(Failure::io(Phase::Processing, &recorder.record(peer)));
        }
        let sent = match socket.peer {
            Some(_) => socket.socket.try_send(bytes),
            None => socket.socket.try_send_to(bytes, peer),
        };
        if matches!(&sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            self.shared.give_request_back(lease);
            return Ok(None);
        }
        lease.tenant().account.add_request();
        match sent {
            Ok(sent) => {
                socket.has_asked = true;
                socket.permit.tenant.account.add_sent(sent as u64);
                socket.charge(sent);
                Ok(Some(()))
            }
            Err(error) => Err(failed(lease, &error)),
        }
    }

    /// Whether a datagram from there is for the guest.
    #[must_use]
    pub fn takes_datagrams(&self, lease: &Lease, from: SocketAddr) -> bool {
        egress::check_peer(lease, Transport::Udp, from).is_ok()
    }
}

/// A socket for datagrams. Gives its permit back when the descriptor is closed.
pub struct Datagrams {
    socket: Arc<UdpSocket>,
    permit: Permit,
    pace: Option<Pace>,
    peer: Option<SocketAddr>,
    has_asked: bool,
}

impl Datagrams {
    /// The socket's own end.
    ///
    /// # Errors
    /// The operating system's.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sets what the options say.
    ///
    /// # Errors
    /// The operating system's.
    pub fn configure(&self, options: &Options) -> io::Result<()> {
        options.apply(&*self.socket)
    }

    /// Exchanges datagrams with that peer alone, which was checked before; none: with whoever is granted.
    ///
    /// # Errors
    /// The operating system's.
    pub fn connect(&mut self, peer: Option<SocketAddr>) -> io::Result<()> {
        match peer {
            Some(peer) => rustix::net::connect(&*self.socket, &peer)?,
            None if self.peer.is_some() => rustix::net::connect_unspec(&*self.socket)?,
            None => {}
        }
        self.peer = peer;
        Ok(())
    }

    /// The only peer, if there is one.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Whether there is anybody who could answer.
    #[must_use]
    pub fn has_asked(&self) -> bool {
        self.has_asked
    }

    /// Ready when the tenant's bytes of this second are not used up.
    pub fn poll_pace(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.pace {
            Some(pace) => pace.poll_ready(cx),
            None => Poll::Ready(()),
        }
    }

    /// Waits until a datagram can be taken, or the system says that the last one reached nobody.
    pub fn readable(&self) -> impl Future<Output = ()> + Send + use<> {
        let socket = Arc::clone(&self.socket);
        async move {
            let _ = socket.ready(Interest::READABLE | Interest::ERROR).await;
        }
    }

    /// Ready when a datagram can be sent.
    pub fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll_pace(cx));
        self.socket.poll_send_ready(cx).map(|_| ())
    }

    /// Takes a datagram that has arrived, from whomever. None: there is none.
    ///
    /// # Errors
    /// The operating system's, such as that nobody listens where the last one was sent to.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<(usize, SocketAddr)>> {
        if !self.may_pass() {
            return Ok(None);
        }
        // Tokio's own receives only look at what is readable, and an error is not; it takes one interest at a time.
        let mut take = || {
            let (_, length, from) = rustix::net::recvfrom(&*self.socket, &mut *buffer, RecvFlags::empty())?;
            let from = from.and_then(|from| SocketAddr::try_from(from).ok());
            Ok((length, from.ok_or(io::ErrorKind::InvalidData)?))
        };
        let taken = match self.socket.try_io(Interest::READABLE, &mut take) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.socket.try_io(Interest::ERROR, &mut take)
            }
            taken => taken,
        };
        match taken {
            Ok((length, from)) => {
                self.permit.tenant.account.add_received(length as u64);
                self.charge(length);
                Ok(Some((length, from)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn may_pass(&mut self) -> bool {
        self.poll_pace(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn charge(&self, bytes: usize) {
        if let Some(pace) = &self.pace {
            pace.charge(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};
    use crate::domain::{
        grant::{HostPattern, TcpGrant},
        tenant::{Quotas, Tenant},
    };
    use std::future::poll_fn;

    /// The runtime has not heard yet that the new socket can be written to, and so the first one does not go out.
    #[tokio::test]
    async fn a_datagram_that_does_not_go_out_is_no_request() {
        let quotas = Quotas {
            requests_per_second: Some(1),
            ..Quotas::default()
        };
        let tenant = Arc::new(Tenant::new("a", quotas));
        let any = TcpGrant::Pattern {
            host: HostPattern::Any,
            port: None,
        };
        let lease = testing::loopback().udp([any]).tenant(&tenant).done();
        let bench = testing::bench();
        let taker = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let peer = taker.local_addr().unwrap();
        let mut socket = bench.lender.datagrams(&lease, IpFamily::V4).await.unwrap();
        let sent = bench.lender.send_datagram(&lease, &mut socket, b"x", peer);
        assert_eq!(sent.unwrap(), None);
        assert_eq!(tenant.account.used().requests, 0);
        poll_fn(|cx| socket.poll_writable(cx)).await;
        let sent = bench.lender.send_datagram(&lease, &mut socket, b"x", peer);
        assert_eq!(sent.unwrap(), Some(()));
        let sent = bench.lender.send_datagram(&lease, &mut socket, b"x", peer);
        assert!(sent.is_err());
        assert_eq!(tenant.account.used().requests, 1);
    }
}
