//! `tcp`: a short dialogue over one connection.
//!
//! Architecture invariant: the transcript, what is sent and the number of steps are bounded, and searching the
//! transcript costs time in proportion to its length, whatever peer and guest agree on.

#[cfg(test)]
mod tests;
mod transcript;

use super::{
    Lease, Lender,
    call::{Call, Stage},
    dial::{Destination, dial},
    egress::{self, Transport},
    error::{ErrorCode, Failure, Phase},
    net::{IpFamily, Timings, TlsFacts, TlsOptions},
    stream::Stream,
    target::Host,
    tls::{self, Inside},
};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{collections::VecDeque, sync::Arc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use transcript::Transcript;

/// Steps of a dialogue.
pub const STEPS_MAX: usize = 64;
/// Bytes that a dialogue sends.
pub const SENT_BYTES_MAX: usize = 1 << 20;
/// Bytes that an expectation looks for.
pub const NEEDLE_BYTES_MAX: usize = 16 << 10;
/// Bytes that are received when the guest names no bound.
pub const RECEIVED_BYTES_DEFAULT: usize = 64 << 10;
/// Bytes that are received at most.
pub const RECEIVED_BYTES_MAX: usize = 1 << 20;

/// What to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// These bytes anywhere in what arrives from now on.
    Contains(Vec<u8>),
    /// A whole line, ended by a line feed.
    Line,
}

/// One step of a dialogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Read until the expectation is met. What arrived behind an earlier expectation counts.
    Expect(Expectation),
    /// Begin TLS on the open connection. What arrived before it counts for no later expectation.
    StartTls(TlsOptions),
}

/// A dialogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Address family.
    pub family: IpFamily,
    /// Speak TLS from the start.
    pub tls: Option<TlsOptions>,
    /// At most 64 steps; none only connects.
    pub steps: Vec<Step>,
    /// Milliseconds for everything; never more than the job has left.
    pub timeout_ms: Option<u32>,
    /// Read at most that much in all; the host has a bound of its own.
    pub max_bytes: Option<u32>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Address and port that answered.
    pub peer: String,
    /// Everything that was received.
    pub received: Vec<u8>,
    /// Index of the step whose expectation was not met because the peer closed the connection or sent too
    /// much; none when all were met.
    pub unmet: Option<u32>,
    /// Phase timings.
    pub timings: Timings,
    /// TLS facts.
    pub tls: Option<TlsFacts>,
}

/// Why the host refuses a request before it looks at grants, if it does.
pub(super) fn refusal(request: &Request) -> Option<Failure> {
    if request.timeout_ms == Some(0) {
        return Some(Failure::invalid("timeout-ms is 0"));
    }
    let host = Host::parse(&request.host).map_err(Failure::invalid);
    host.and_then(|_| check(request)).err()
}

/// Bytes that are received at most.
pub(super) fn received_max(request: &Request) -> usize {
    request.max_bytes.map_or(RECEIVED_BYTES_DEFAULT, |bytes| {
        usize::try_from(bytes)
            .unwrap_or(usize::MAX)
            .min(RECEIVED_BYTES_MAX)
    })
}

/// Connects, goes through the steps and closes.
pub(super) async fn dialogue(lender: &Lender, lease: &Lease, request: Request) -> Result<Response, Failure> {
    let call = Call::begin(lease, &lender.shared.clock, request.timeout_ms)?;
    let work = std::pin::pin!(converse(lender, &call, request));
    call.bound(work).await
}

async fn converse(lender: &Lender, call: &Call<'_>, request: Request) -> Result<Response, Failure> {
    let host = Host::parse(&request.host).map_err(Failure::invalid)?;
    check(&request)?;
    egress::check_pair(call.lease, Transport::Tcp, &host, request.port)
        .map_err(|denial| Failure::denied(Phase::Prepare, denial))?;
    let mut secure = prepared(lender, &host, &request).await?;
    let to = Destination {
        capability: "tcp",
        host: &host,
        port: request.port,
        family: request.family,
    };
    let dialled = dial(lender, call, to).await?;
    // Held to the end of the dialogue.
    let _waiting = dialled.waiting;
    let max = received_max(&request);
    let mut talk = Talk {
        call,
        stream: dialled.stream,
        transcript: Transcript::new(max),
        timings: Timings {
            resolve_us: dialled.resolve_us,
            connect_us: dialled.connect_us,
            ..Timings::default()
        },
        tls: None,
    };
    if request.tls.is_some() {
        talk = talk.start_tls(&mut secure).await?;
    }
    call.enter(Stage::Processing);
    let start = call.now();
    let tls_before_us = talk.timings.tls_us;
    let mut unmet = None;
    for (index, step) in (0..).zip(&request.steps) {
        match step {
            Step::Send(bytes) => talk.send(bytes).await?,
            Step::Expect(expectation) => {
                if !talk.expect(expectation).await? {
                    unmet = Some(index);
                    break;
                }
            }
            Step::StartTls(_) => talk = talk.start_tls(&mut secure).await?,
        }
    }
    if !request.steps.is_empty() {
        let in_tls_us = talk.timings.tls_us - tls_before_us;
        talk.timings.processing_us = call.micros_since(start).saturating_sub(in_tls_us).max(1);
    }
    Ok(Response {
        peer: dialled.peer.to_string(),
        received: talk.transcript.into_bytes(),
        unmet,
        timings: talk.timings,
        tls: talk.tls,
    })
}

/// Goes through steps that are said before a handshake which is no step itself. That an expectation is not met is an
/// error.
pub(super) async fn before(call: &Call<'_>, stream: Stream, steps: &[Step]) -> Result<Stream, Failure> {
    if steps.is_empty() {
        return Ok(stream);
    }
    call.enter(Stage::Processing);
    let mut talk = Talk {
        call,
        stream,
        transcript: Transcript::new(RECEIVED_BYTES_DEFAULT),
        timings: Timings::default(),
        tls: None,
    };
    for (index, step) in steps.iter().enumerate() {
        let met = match step {
            Step::Send(bytes) => talk.send(bytes).await.map(|()| true)?,
            Step::Expect(expectation) => talk.expect(expectation).await?,
            Step::StartTls(_) => return Err(Failure::invalid("the handshake comes after the last step")),
        };
        if !met {
            let text = format!("the peer did not say what step {index} before the handshake waits for");
            return Err(Failure::new(ErrorCode::Protocol, Phase::Processing, text));
        }
    }
    Ok(talk.stream)
}

fn check(request: &Request) -> Result<(), Failure> {
    check_steps(request.port, &request.steps, usize::from(request.tls.is_some()))
}

/// Holds a dialogue to its bounds; it may have one handshake in all.
pub(super) fn check_steps(port: u16, steps: &[Step], mut handshakes: usize) -> Result<(), Failure> {
    if port == 0 {
        return Err(Failure::invalid("port 0 can't be connected to"));
    }
    if steps.len() > STEPS_MAX {
        return Err(Failure::invalid(format!("more than {STEPS_MAX} steps")));
    }
    let mut sent = 0;
    for step in steps {
        match step {
            Step::Send(bytes) => sent += bytes.len(),
            Step::Expect(Expectation::Contains(needle)) if needle.len() > NEEDLE_BYTES_MAX => {
                return Err(Failure::invalid(format!(
                    "an expectation is longer than {NEEDLE_BYTES_MAX} bytes"
                )));
            }
            Step::Expect(_) => {}
            Step::StartTls(_) => handshakes += 1,
        }
    }
    if sent > SENT_BYTES_MAX {
        return Err(Failure::invalid(format!(
            "sends more than {SENT_BYTES_MAX} bytes"
        )));
    }
    if handshakes > 1 {
        return Err(Failure::invalid("TLS can begin only once"));
    }
    Ok(())
}

type Secure = VecDeque<(Arc<ClientConfig>, ServerName<'static>)>;

/// What is wrong with TLS options is known before anything is sent.
async fn prepared(lender: &Lender, host: &Host, request: &Request) -> Result<Secure, Failure> {
    let in_steps = request.steps.iter().filter_map(|step| match step {
        Step::StartTls(options) => Some(options),
        Step::Send(_) | Step::Expect(_) => None,
    });
    let mut secure = VecDeque::new();
    for options in request.tls.iter().chain(in_steps) {
        let config = lender.shared.tls.get(options, Inside::Bytes).await?;
        secure.push_back((config, tls::server_name(options, host)?));
    }
    Ok(secure)
}

/// A dialogue that goes on.
struct Talk<'a> {
    call: &'a Call<'a>,
    stream: Stream,
    transcript: Transcript,
    timings: Timings,
    tls: Option<TlsFacts>,
}

impl Talk<'_> {
    async fn start_tls(self, secure: &mut Secure) -> Result<Self, Failure> {
        let (config, name) = secure
            .pop_front()
            .ok_or_else(|| Failure::invalid("TLS can begin only once"))?;
        let (stream, facts, tls_us) = self.stream.start_tls(self.call, config, name).await?;
        self.call.enter(Stage::Processing);
        let mut transcript = self.transcript;
        // Whatever a stranger put behind the plain answer must not pass for something said under TLS.
        transcript.skip();
        Ok(Self {
            stream,
            transcript,
            timings: Timings {
                tls_us,
                ..self.timings
            },
            tls: Some(facts),
            ..self
        })
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| Failure::io(Phase::Processing, &error))
    }

    /// Whether the expectation was met before the peer closed the connection or sent too much.
    async fn expect(&mut self, expectation: &Expectation) -> Result<bool, Failure> {
        let needle = match expectation {
            Expectation::Contains(needle) => needle.as_slice(),
            Expectation::Line => b"\n",
        };
        let mut search = self.transcript.search(needle);
        let mut chunk = [0; 4096];
        loop {
            if self.transcript.find(&mut search) {
                return Ok(true);
            }
            let room = self.transcript.room().min(chunk.len());
            let Some(buffer) = chunk.get_mut(..room).filter(|buffer| !buffer.is_empty()) else {
                return Ok(false);
            };
            match self.stream.read(buffer).await {
                Ok(0) => return Ok(false),
                Ok(length) => self.transcript.push(buffer.get(..length).unwrap_or_default()),
                // A TLS peer that closes without saying so has closed all the same.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) => return Err(Failure::io(Phase::Processing, &error)),
            }
        }
    }
}
