//! `tls`: one handshake, and what it showed.
//!
//! Architecture invariant: a chain that is not good is told and not refused; nothing but the steps before the handshake
//! is ever sent over such a connection.

use super::{
    Lease, Lender,
    call::{Call, Stage},
    dial::{Destination, dial},
    egress::{self, Transport},
    error::{Failure, Phase},
    net::{IpFamily, Timings, TlsFacts, TlsOptions},
    target::Host,
    tcp::{self, Step},
    tls,
};
use std::sync::Arc;

/// Protocols that can be offered, and bytes of one's name.
pub const ALPN_MAX: usize = 16;
pub const ALPN_BYTES_MAX: usize = 255;

/// With whom to shake hands, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Address family.
    pub family: IpFamily,
    /// How to speak TLS. With `insecure` the chain is not judged at all.
    pub tls: TlsOptions,
    /// Application protocols to offer, most wanted first.
    pub alpn: Vec<String>,
    /// What is said in the clear before the handshake.
    pub before: Vec<Step>,
    /// Milliseconds for everything; never more than the job has left.
    pub timeout_ms: Option<u32>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Address and port that answered.
    pub peer: String,
    /// Phase timings.
    pub timings: Timings,
    /// What the handshake showed.
    pub tls: TlsFacts,
    /// The same certificates in DER.
    pub chain: Vec<Vec<u8>>,
    /// What is wrong with the chain.
    pub refusal: Option<Failure>,
}

/// Why the host refuses a request before it looks at grants, if it does.
pub(super) fn refusal(request: &Request) -> Option<Failure> {
    if request.timeout_ms == Some(0) {
        return Some(Failure::invalid("timeout-ms is 0"));
    }
    check(request).err()
}

/// Connects, shakes hands and closes.
pub(super) async fn shake(lender: &Lender, lease: &Lease, request: Request) -> Result<Response, Failure> {
    let call = Call::begin(lease, &lender.shared.clock, request.timeout_ms)?;
    let work = std::pin::pin!(meet(lender, &call, request));
    call.bound(work).await
}

async fn meet(lender: &Lender, call: &Call<'_>, request: Request) -> Result<Response, Failure> {
    let host = check(&request)?;
    egress::check_pair(call.lease, Transport::Tcp, &host, request.port)
        .map_err(|denial| Failure::denied(Phase::Prepare, denial))?;
    let name = tls::server_name(&request.tls, &host)?;
    let alpn = request.alpn.into_iter().map(String::into_bytes).collect();
    let (config, judge) = lender.shared.tls.judging(&request.tls, alpn).await?;
    let to = Destination {
        capability: "tls",
        host: &host,
        port: request.port,
        family: request.family,
    };
    let dialled = dial(lender, call, to).await?;
    // Held to the end of the handshake.
    let _waiting = dialled.waiting;
    let start = call.now();
    let stream = tcp::before(call, dialled.stream, &request.before).await?;
    let processing_us = if request.before.is_empty() {
        0
    } else {
        call.micros_since(start)
    };
    call.enter(Stage::Tls);
    let (stream, facts, tls_us) = stream.start_tls(call, Arc::new(config), name).await?;
    Ok(Response {
        peer: dialled.peer.to_string(),
        timings: Timings {
            resolve_us: dialled.resolve_us,
            connect_us: dialled.connect_us,
            tls_us,
            processing_us,
            transfer_us: 0,
        },
        tls: facts,
        chain: stream.chain(),
        refusal: judge.refusal().map(|error| Failure::tls(Phase::Tls, error)),
    })
}

/// Holds a request to its bounds.
fn check(request: &Request) -> Result<Host, Failure> {
    let host = Host::parse(&request.host).map_err(Failure::invalid)?;
    tcp::check_steps(request.port, &request.before, 1)?;
    let fits = |name: &String| (1..=ALPN_BYTES_MAX).contains(&name.len());
    if request.alpn.len() > ALPN_MAX || !request.alpn.iter().all(fits) {
        return Err(Failure::invalid(format!(
            "alpn: at most {ALPN_MAX} names of 1 to {ALPN_BYTES_MAX} bytes"
        )));
    }
    Ok(host)
}
