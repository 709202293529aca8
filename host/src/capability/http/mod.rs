//! `http`: one request on a new connection, one answer.
//!
//! Architecture invariant: each redirect goes through every check that the request itself went through, and
//! credentials stay with the origin they were given for. Head, body, redirects and time are bounded.

mod exchange;
mod outgoing;
pub mod streaming;
#[cfg(test)]
mod tests;
pub mod upload;

use super::{
    Lease, Lender,
    call::Call,
    egress,
    error::{ErrorCode, Failure, Phase},
    net::{IpFamily, Timings, TlsFacts, TlsOptions},
};
use exchange::Hop;
use outgoing::Outgoing;
use std::pin::pin;

/// Fields of a head, asked or answered.
pub const HEADERS_MAX: usize = 100;
/// Bytes of a head, asked or answered.
pub const HEAD_BYTES_MAX: usize = 32 << 10;
/// Bytes of a request's body.
pub const REQUEST_BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of an answer's body that are read when the guest names no bound.
pub const BODY_BYTES_DEFAULT: usize = 1 << 20;
/// Bytes of an answer's body that are read at most.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// Redirects at most, whatever the guest allows.
pub const REDIRECTS_MAX: u8 = 20;

/// One header field. A name may appear more than once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Field name.
    pub name: String,
    /// Field value; bytes that are not UTF-8 arrive as U+FFFD.
    pub value: String,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Method, upper case.
    pub method: String,
    /// Absolute `http:` or `https:` URL without user information.
    pub url: String,
    /// Header fields; `host`, `content-length` and `transfer-encoding` are the host's.
    pub headers: Vec<Header>,
    /// Body, if any.
    pub body: Option<Vec<u8>>,
    /// How many redirects to follow; none: an answer that redirects is an answer as any other.
    pub max_redirects: u8,
    /// Address family.
    pub family: IpFamily,
    /// How to speak TLS; the defaults verify against the host's roots.
    pub tls: Option<TlsOptions>,
    /// Milliseconds for everything; never more than the job has left.
    pub timeout_ms: Option<u32>,
    /// Read at most that much of the body; the host has a bound of its own.
    pub max_body_bytes: Option<u32>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// Header fields in order.
    pub headers: Vec<Header>,
    /// The body, or its beginning.
    pub body: Vec<u8>,
    /// True when the body was longer than what was read.
    pub body_truncated: bool,
    /// The URL that answered, after redirects.
    pub url: String,
    /// How many redirects were followed.
    pub redirects: u8,
    /// Address and port that answered.
    pub peer: String,
    /// Phase timings of the last hop.
    pub timings: Timings,
    /// TLS facts of the last hop.
    pub tls: Option<TlsFacts>,
}

/// Whether a guest that composes its own head may not set that field: it says how the connection is used, or where the
/// message ends. The length of a body it may say, and is held to it.
#[must_use]
pub fn is_forbidden(name: &::http::HeaderName) -> bool {
    outgoing::is_hosts_own(name) && name != ::http::header::CONTENT_LENGTH
}

/// Why the host refuses a request before it looks at grants, if it does.
pub(super) fn refusal(request: &Request) -> Option<Failure> {
    if request.timeout_ms == Some(0) {
        return Some(Failure::invalid("timeout-ms is 0"));
    }
    Outgoing::check(request.clone()).err()
}

/// Bytes of an answer's body that are read.
pub(super) fn body_max(request: &Request) -> usize {
    request.max_body_bytes.map_or(BODY_BYTES_DEFAULT, |bytes| {
        usize::try_from(bytes).unwrap_or(usize::MAX).min(BODY_BYTES_MAX)
    })
}

/// Sends a request and reads the answer.
pub(super) async fn send(lender: &Lender, lease: &Lease, request: Request) -> Result<Response, Failure> {
    let call = Call::begin(lease, &lender.shared.clock, request.timeout_ms)?;
    // Pinned here: a future that is handed on by value is stored twice.
    let work = pin!(follow(lender, &call, request));
    call.bound(work).await
}

async fn follow(lender: &Lender, call: &Call<'_>, request: Request) -> Result<Response, Failure> {
    let redirects_max = request.max_redirects.min(REDIRECTS_MAX);
    let body_max = body_max(&request);
    let mut outgoing = Outgoing::check(request)?;
    let mut redirects = 0;
    loop {
        egress::check_http(call.lease, &outgoing.target)
            .map_err(|denial| Failure::denied(Phase::Prepare, denial))?;
        match exchange::once(lender, call, &outgoing, redirects_max > 0, body_max).await? {
            Hop::Answer(answer) => {
                return Ok(Response { redirects, ..*answer });
            }
            Hop::Redirect { .. } if redirects == redirects_max => {
                return Err(Failure::new(
                    ErrorCode::TooManyRedirects,
                    Phase::Processing,
                    format!("more than {redirects_max} redirects"),
                ));
            }
            Hop::Redirect { status, location } => {
                redirects += 1;
                outgoing = outgoing.redirected(status, &location)?;
            }
        }
    }
}
