//! `icmp`: echo requests to one address, and who answered them.
//!
//! Architecture invariant: a host that the guest names goes through the same checks as any other target. An answer counts
//! only if it comes from the very address that was asked, with the number of the socket, a sequence number that went out,
//! and a token that nobody else knows. That nobody answers is what was to be found out, and no error; that this host may
//! not or can't ask is the prober's trouble.

use super::{
    Lease, Lender,
    call::{Call, LATE, Stage},
    dial::{self, Destination},
    egress,
    error::{Blame, Failure, Phase},
    lender::Permit,
    net::IpFamily,
    target::Host,
    throttle::Scarce,
};
use crate::domain::time::Mono;
use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto},
};
use std::{
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
    time::Duration,
};
use tokio::net::UdpSocket;

/// Echo requests of one call.
pub const COUNT_MAX: u8 = 100;
/// Least time from one to the next.
pub const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// Bytes behind the header: the token must fit, and what is too large for any link's packet is no question of echoes.
pub const PAYLOAD_MIN: u16 = TOKEN_BYTES as u16;
pub const PAYLOAD_MAX: u16 = 9_000;

/// What tells our answers from anybody else's.
const TOKEN_BYTES: usize = 16;
type Token = [u8; TOKEN_BYTES];

const HEADER_BYTES: usize = 8;
/// The longest header of IPv4, which comes with what a raw socket receives.
const IP_HEADER_MAX: usize = 60;
/// Packets after which the other jobs of this thread have a turn; a raw socket gets those of the whole host.
const TURN: u32 = 64;
/// How long to wait before asking again whether the host may send more.
const RATE_PAUSE: Duration = Duration::from_millis(10);

/// Whom to ask, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Name or address.
    pub host: String,
    /// Address family.
    pub family: IpFamily,
    /// How many echo requests.
    pub count: u8,
    /// Milliseconds from one request to the next.
    pub interval_ms: u32,
    /// Milliseconds that are waited for the last answers.
    pub wait_ms: u32,
    /// Bytes behind the header of each request.
    pub payload_bytes: u16,
    /// Milliseconds for everything; never more than the job has left.
    pub timeout_ms: Option<u32>,
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// To which request, from 0 on.
    pub sequence: u16,
    /// Microseconds from the request to its answer.
    pub rtt_us: u64,
    /// Time to live that was left, where the system tells it: through a raw socket, over IPv4.
    pub ttl: Option<u8>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The address that was asked.
    pub peer: String,
    /// Microseconds that looking the name up took.
    pub resolve_us: u64,
    /// How many requests went out.
    pub sent: u16,
    /// The answers in the order in which they came, each once.
    pub replies: Vec<Reply>,
}

/// Why the host refuses to ask before it looks at grants, if it does.
pub(super) fn refusal(request: &Request) -> Option<Failure> {
    if request.timeout_ms == Some(0) {
        return Some(Failure::invalid("timeout-ms is 0"));
    }
    let host = || Host::parse(&request.host).map_err(Failure::invalid);
    check(request).and_then(|()| host()).err()
}

/// What of an answer has come after that much time: requests that had not gone out by then, and answers that had not come,
/// are none.
pub(super) fn within(request: &Request, response: Response, span: Duration) -> Response {
    let interval = Duration::from_millis(request.interval_ms.into());
    let resolved = Duration::from_micros(response.resolve_us);
    let went_out = |sequence: u16| resolved.saturating_add(interval.saturating_mul(sequence.into()));
    let sent = (0..response.sent)
        .take_while(|sequence| *sequence == 0 || went_out(*sequence) < span)
        .count();
    let sent = u16::try_from(sent).unwrap_or(u16::MAX);
    let in_time = |reply: &Reply| {
        let came = went_out(reply.sequence).saturating_add(Duration::from_micros(reply.rtt_us));
        reply.sequence < sent && came <= span
    };
    Response {
        sent,
        replies: response.replies.into_iter().filter(in_time).collect(),
        ..response
    }
}

/// How long it takes to ask and to hear that: until the last answer if all have come, and otherwise as long as answers are
/// waited for.
#[must_use]
pub fn takes(request: &Request, response: &Response) -> Duration {
    let interval = Duration::from_millis(request.interval_ms.into());
    let went_out = |sequence: u16| interval.saturating_mul(sequence.into());
    let last = went_out(u16::from(request.count).saturating_sub(1));
    let span = if response.replies.len() < usize::from(request.count) {
        last.saturating_add(Duration::from_millis(request.wait_ms.into()))
    } else {
        let came =
            |reply: &Reply| went_out(reply.sequence).saturating_add(Duration::from_micros(reply.rtt_us));
        response.replies.iter().map(came).max().unwrap_or(last)
    };
    Duration::from_micros(response.resolve_us).saturating_add(span)
}

/// Asks, and waits for the answers.
pub(super) async fn ping(lender: &Lender, lease: &Lease, request: Request) -> Result<Response, Failure> {
    let call = Call::begin(lease, &lender.shared.clock, request.timeout_ms)?;
    check(&request)?;
    // Large, and most jobs do without.
    let (peer, resolve_us, permit) = call.bound(Box::pin(prepare(lender, &call, &request))).await?;
    call.enter(Stage::Processing);
    #[cfg(test)]
    if let Some(recorder) = &lender.shared.recorder {
        return Err(Failure::io(
            call.phase(),
            &recorder.record(SocketAddr::new(peer, 0)),
        ));
    }
    let mut token = Token::default();
    lender.shared.tls.random(&mut token)?;
    let socket = Socket::open(peer, token).map_err(|error| no_socket(&call, &error))?;
    let exchange = Exchange {
        lender,
        call: &call,
        request: &request,
        socket,
        token,
        sent_at: Vec::with_capacity(request.count.into()),
        replies: Vec::with_capacity(request.count.into()),
        buffer: vec![0; IP_HEADER_MAX + HEADER_BYTES + usize::from(request.payload_bytes)],
        permit,
    };
    let (sent, replies) = Box::pin(exchange.run()).await?;
    Ok(Response {
        peer: peer.to_string(),
        resolve_us,
        sent,
        replies,
    })
}

fn check(request: &Request) -> Result<(), Failure> {
    if !(1..=COUNT_MAX).contains(&request.count) {
        return Err(Failure::invalid(format!(
            "count is {}; it is 1 to {COUNT_MAX}",
            request.count
        )));
    }
    if Duration::from_millis(request.interval_ms.into()) < INTERVAL_MIN && request.count > 1 {
        let least = INTERVAL_MIN.as_millis();
        return Err(Failure::invalid(format!(
            "interval-ms is {}; it is at least {least}",
            request.interval_ms
        )));
    }
    if !(PAYLOAD_MIN..=PAYLOAD_MAX).contains(&request.payload_bytes) {
        return Err(Failure::invalid(format!(
            "payload-bytes is {}; it is {PAYLOAD_MIN} to {PAYLOAD_MAX}",
            request.payload_bytes
        )));
    }
    Ok(())
}

async fn prepare(
    lender: &Lender,
    call: &Call<'_>,
    request: &Request,
) -> Result<(IpAddr, u64, Permit), Failure> {
    let host = Host::parse(&request.host).map_err(Failure::invalid)?;
    egress::check_icmp(call.lease, &host).map_err(|denial| Failure::denied(Phase::Prepare, denial))?;
    let start = call.now();
    let to = Destination {
        capability: "icmp",
        host: &host,
        port: 0,
        family: request.family,
    };
    let addresses = dial::resolve(lender, call, to).await?;
    let resolve_us = match host {
        Host::Name(_) => call.micros_since(start),
        Host::Address(_) => 0,
    };
    let peer = addresses
        .first()
        .copied()
        .ok_or_else(|| Failure::host(Phase::Resolve, "there is no address to ask"))?;
    let permit = lender.shared.socket(call).await;
    Ok((peer, resolve_us, permit))
}

fn no_socket(call: &Call<'_>, error: &io::Error) -> Failure {
    if Blame::of(error) == Blame::Host && is_forbidden(error) {
        return Failure::host(
            call.phase(),
            "this host may not send echo requests: let its group be within the sysctl net.ipv4.ping_group_range (as \
             in \"0 2147483647\"), or give it CAP_NET_RAW",
        );
    }
    Failure::host(call.phase(), format!("no socket for echo requests: {error}"))
}

fn is_forbidden(error: &io::Error) -> bool {
    [Errno::ACCESS, Errno::PERM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// A socket that sends echo requests to one address.
struct Socket {
    /// No socket of UDP, but one that datagrams go through in the same way.
    fd: UdpSocket,
    peer: SocketAddr,
    /// By which the kernel tells the answers to this socket from those to others, or we ourselves do.
    number: u16,
    raw: bool,
}

impl Socket {
    /// One that needs no privilege, and where there is none, a raw one.
    fn open(peer: IpAddr, token: Token) -> io::Result<Self> {
        match Self::unprivileged(peer) {
            Ok(socket) => Ok(socket),
            // What a kernel says that knows no such sockets, or whose range of groups does not hold ours.
            Err(first) => {
                Self::raw(peer, token).map_err(|error| if is_forbidden(&error) { error } else { first })
            }
        }
    }

    fn unprivileged(peer: IpAddr) -> io::Result<Self> {
        let (fd, any) = Self::bare(peer, SocketType::DGRAM)?;
        // The port of such a socket is the number in its requests.
        rustix::net::bind(&fd, &SocketAddr::new(any, 0))?;
        let own = SocketAddr::try_from(rustix::net::getsockname(&fd)?)?;
        Self::made(fd, peer, own.port(), false)
    }

    fn raw(peer: IpAddr, token: Token) -> io::Result<Self> {
        let (fd, _) = Self::bare(peer, SocketType::RAW)?;
        let [.., high, low] = token;
        Self::made(fd, peer, u16::from_be_bytes([high, low]), true)
    }

    fn bare(peer: IpAddr, kind: SocketType) -> io::Result<(OwnedFd, IpAddr)> {
        let (family, protocol, any) = match peer {
            IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, Ipv4Addr::UNSPECIFIED.into()),
            IpAddr::V6(_) => (
                AddressFamily::INET6,
                ipproto::ICMPV6,
                Ipv6Addr::UNSPECIFIED.into(),
            ),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(family, kind, flags, Some(protocol))?;
        Ok((fd, any))
    }

    fn made(fd: OwnedFd, peer: IpAddr, number: u16, raw: bool) -> io::Result<Self> {
        Ok(Self {
            fd: UdpSocket::from_std(fd.into())?,
            peer: SocketAddr::new(peer, 0),
            number,
            raw,
        })
    }

    fn send(&self, packet: &[u8]) -> io::Result<()> {
        rustix::net::sendto(&self.fd, packet, SendFlags::empty(), &self.peer)?;
        Ok(())
    }

    /// Without waiting, and beside the runtime, which has perhaps not heard yet that there is something.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<IpAddr>)> {
        let (_, length, from) = rustix::net::recvfrom(&self.fd, buffer, RecvFlags::empty())?;
        let from = from.and_then(|from| SocketAddr::try_from(from).ok());
        Ok((length, from.map(|from| from.ip())))
    }
}

/// An echo request. The kernel fills in the checksum where it is not IPv4, and the number where the socket is no raw one.
fn packet(v4: bool, number: u16, sequence: u16, token: &Token, payload_bytes: u16) -> Vec<u8> {
    let kind = if v4 { 8 } else { 128 };
    let mut packet = vec![kind, 0, 0, 0];
    packet.extend(number.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.extend(token);
    let rest = usize::from(payload_bytes).saturating_sub(token.len());
    packet.extend((0..=u8::MAX).cycle().take(rest));
    if v4 {
        let [high, low] = checksum(&packet).to_be_bytes();
        for (byte, value) in packet.iter_mut().skip(2).zip([high, low]) {
            *byte = value;
        }
    }
    packet
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        let word = match pair {
            [high, low] => u16::from_be_bytes([*high, *low]),
            [high] => u16::from_be_bytes([*high, 0]),
            _ => 0,
        };
        sum += u32::from(word);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

/// What of a packet is an answer to us: its sequence number, and the time to live that was left, where it is told.
fn answer(
    packet: &[u8],
    v4: bool,
    raw: bool,
    number: u16,
    token: &Token,
    payload_bytes: u16,
) -> Option<(u16, Option<u8>)> {
    let (mut packet, mut ttl) = (packet, None);
    if v4 && raw {
        // Such a socket gets what stands before it, too.
        let words = usize::from(packet.first()? & 0x0f);
        ttl = packet.get(8).copied();
        packet = packet.get(words * 4..)?;
    }
    let (header, payload) = packet.split_first_chunk::<HEADER_BYTES>()?;
    let [kind, code, _, _, id @ .., high, low] = header;
    let answers = *kind == if v4 { 0 } else { 129 } && *code == 0;
    let ours = *id == number.to_be_bytes() && payload.starts_with(token);
    if !answers || !ours || payload.len() != usize::from(payload_bytes) {
        return None;
    }
    Some((u16::from_be_bytes([*high, *low]), ttl))
}

/// Requests and answers of one call.
struct Exchange<'a> {
    lender: &'a Lender,
    call: &'a Call<'a>,
    request: &'a Request,
    socket: Socket,
    token: Token,
    /// By sequence number.
    sent_at: Vec<Mono>,
    replies: Vec<Reply>,
    buffer: Vec<u8>,
    permit: Permit,
}

impl Exchange<'_> {
    /// Sends one request after the other, listening all the while. Returns how many went out, and the answers.
    async fn run(mut self) -> Result<(u16, Vec<Reply>), Failure> {
        let count = u16::from(self.request.count);
        for sequence in 0..count {
            if sequence > 0 && self.call.left().is_zero() {
                break;
            }
            self.send(sequence).await?;
            let last = sequence + 1 == count;
            let span = if last {
                self.request.wait_ms
            } else {
                self.request.interval_ms
            };
            let span = Duration::from_millis(span.into()).min(self.call.left());
            let due = self.call.now().after(span);
            let _waiting = self.call.wait_for_target();
            match tokio::time::timeout(span, self.listen(last)).await {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => return Err(failure),
                // Whoever looks at the clock that late has measured nothing.
                Err(_) if self.call.now().since(due) > LATE => return Err(self.call.timed_out(due, span)),
                Err(_) => {}
            }
        }
        // What lies there and nobody was woken for.
        while let Ok((length, from)) = self.socket.receive(&mut self.buffer) {
            self.heard(length, from);
        }
        let sent = u16::try_from(self.sent_at.len()).unwrap_or(u16::MAX);
        Ok((sent, self.replies))
    }

    async fn send(&mut self, sequence: u16) -> Result<(), Failure> {
        if sequence > 0 {
            // The first was admitted with its look-up.
            self.lender.shared.admit(self.call.lease, self.call.phase())?;
        }
        self.wait_for_rate().await?;
        let packet = packet(
            self.socket.peer.is_ipv4(),
            self.socket.number,
            sequence,
            &self.token,
            self.request.payload_bytes,
        );
        if let Some(mut pace) = self.lender.shared.pace(self.call.lease) {
            let ready = poll_fn(|cx| pace.poll_ready(cx));
            if tokio::time::timeout(self.call.left(), ready).await.is_err() {
                return Err(self.call.timed_out(self.call.now(), self.call.span()));
            }
            pace.charge(packet.len());
        }
        self.sent_at.push(self.call.now());
        self.socket
            .send(&packet)
            .map_err(|error| Failure::io(self.call.phase(), &error).at_host(self.socket.peer.ip()))?;
        self.permit.tenant.account.add_sent(packet.len() as u64);
        Ok(())
    }

    /// Waits until the host may send one more.
    async fn wait_for_rate(&self) -> Result<(), Failure> {
        let shared = &self.lender.shared;
        let throttle = self.call.lease.throttle(shared);
        loop {
            let scarce = match shared.throttles.echo(throttle, self.call.now(), shared.echo_rate) {
                Ok(()) => return Ok(()),
                Err(scarce) => scarce,
            };
            if self.call.left().is_zero() {
                let phase = self.call.phase();
                return Err(match scarce {
                    Scarce::Own(rate) => Failure::quota(
                        phase,
                        format!(
                            "the tenant `{}` has sent its {rate} echo requests of this second",
                            self.call.lease.tenant()
                        ),
                    ),
                    Scarce::All => Failure::host(
                        phase,
                        format!(
                            "the host has sent its {} echo requests of this second; [host] echo-rate allows more",
                            shared.echo_rate
                        ),
                    ),
                });
            }
            tokio::time::sleep(RATE_PAUSE.min(self.call.left())).await;
        }
    }

    /// Takes answers as they come. Ends when `last` went out and everything was answered.
    async fn listen(&mut self, last: bool) -> Result<(), Failure> {
        let mut taken = 0_u32;
        loop {
            if last && self.replies.len() == self.sent_at.len() {
                return Ok(());
            }
            let (length, from) = self
                .socket
                .fd
                .recv_from(&mut self.buffer)
                .await
                .map_err(|error| Failure::io(self.call.phase(), &error).at_host(self.socket.peer.ip()))?;
            self.heard(length, Some(from.ip()));
            taken += 1;
            if taken.is_multiple_of(TURN) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Makes a reply of what lies in the buffer, if it is one.
    fn heard(&mut self, length: usize, from: Option<IpAddr>) {
        if from != Some(self.socket.peer.ip()) {
            return;
        }
        let packet = self.buffer.get(..length).unwrap_or_default();
        let Some((sequence, ttl)) = answer(
            packet,
            self.socket.peer.is_ipv4(),
            self.socket.raw,
            self.socket.number,
            &self.token,
            self.request.payload_bytes,
        ) else {
            return;
        };
        let known = self.replies.iter().any(|reply| reply.sequence == sequence);
        if let Some(sent_at) = self.sent_at.get(usize::from(sequence))
            && !known
        {
            self.permit.tenant.account.add_received(length as u64);
            self.replies.push(Reply {
                sequence,
                rtt_us: self.call.micros_since(*sent_at),
                ttl,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::error::ErrorCode, *};

    const TOKEN: Token = *b"0123456789abcdef";

    fn echoed(v4: bool, number: u16, sequence: u16) -> Vec<u8> {
        let mut packet = packet(v4, number, sequence, &TOKEN, 20);
        packet[0] = if v4 { 0 } else { 129 };
        packet
    }

    #[test]
    fn a_request_is_as_rfc_792_has_it() {
        let packet = packet(true, 0x1234, 7, &TOKEN, 20);
        assert_eq!(packet[..2], [8, 0]);
        assert_eq!(packet[4..8], [0x12, 0x34, 0, 7]);
        assert_eq!(packet[8..24], TOKEN);
        assert_eq!(packet.len(), 28);
        assert_eq!(checksum(&packet), 0, "the sum over all of it is nothing");
        // The example of RFC 1071.
        assert_eq!(
            checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]),
            !0xddf2
        );
        assert_eq!(checksum(&[0xff]), !0xff00);
    }

    #[test]
    fn only_what_answers_us_is_an_answer() {
        for v4 in [true, false] {
            let good = echoed(v4, 5, 3);
            let read = |packet: &[u8]| answer(packet, v4, false, 5, &TOKEN, 20);
            assert_eq!(read(&good), Some((3, None)));
            // Kind, code, number, token, and a length that is another.
            for place in [0, 1, 4, 5, 8, 23] {
                let mut bad = good.clone();
                bad[place] ^= 1;
                assert_eq!(read(&bad), None, "{v4} {place}");
            }
            assert_eq!(read(&good[..27]), None);
            assert_eq!(read(&[good.as_slice(), &[0]].concat()), None);
            for short in 0..8 {
                assert_eq!(read(&good[..short]), None);
            }
        }
    }

    #[test]
    fn a_raw_socket_over_v4_tells_the_time_to_live() {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 63];
        packet.resize(20, 0);
        packet.extend(echoed(true, 5, 3));
        assert_eq!(answer(&packet, true, true, 5, &TOKEN, 20), Some((3, Some(63))));
        // A header that claims to be longer than there is.
        packet[0] = 0x4f;
        assert_eq!(answer(&packet[..40], true, true, 5, &TOKEN, 20), None);
        assert_eq!(answer(&[], true, true, 5, &TOKEN, 20), None);
    }

    #[test]
    fn what_can_not_be_asked_for() {
        let good = Request {
            host: "127.0.0.1".into(),
            family: IpFamily::Any,
            count: 1,
            interval_ms: 0,
            wait_ms: 0,
            payload_bytes: 56,
            timeout_ms: None,
        };
        assert!(check(&good).is_ok());
        for (bad, part) in [
            (
                Request {
                    count: 0,
                    ..good.clone()
                },
                "count",
            ),
            (
                Request {
                    count: 101,
                    ..good.clone()
                },
                "count",
            ),
            (
                Request {
                    count: 2,
                    interval_ms: 9,
                    ..good.clone()
                },
                "interval-ms",
            ),
            (
                Request {
                    payload_bytes: 15,
                    ..good.clone()
                },
                "payload-bytes",
            ),
            (
                Request {
                    payload_bytes: 9_001,
                    ..good.clone()
                },
                "payload-bytes",
            ),
        ] {
            let failure = check(&bad).unwrap_err();
            assert_eq!(failure.code, ErrorCode::InvalidRequest);
            assert!(failure.message.contains(part), "{failure:?}");
        }
    }
}
