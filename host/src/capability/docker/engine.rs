//! One conversation with an engine: HTTP/1 over its unix socket, all requests of a call on one connection.

use super::super::{
    Lender, WaitGuard,
    call::{Call, Stage},
    error::{ErrorCode, Failure, Phase},
    lender::Permit,
    log::one_line,
};
use super::Trouble;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header::HOST};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, Connection, SendRequest},
};
use hyper_util::rt::TokioIo;
use std::{
    future::{Future, poll_fn},
    io,
    path::Path,
    pin::{Pin, pin},
};
use tokio::net::UnixStream;

/// Bytes of an answer's body.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 32 << 10;

type Wire = Connection<TokioIo<UnixStream>, Empty<Bytes>>;

/// An open connection to an engine.
pub(super) struct Engine<'a> {
    sender: SendRequest<Empty<Bytes>>,
    /// None once it has ended.
    connection: Option<Pin<Box<Wire>>>,
    /// `/v1.47`; empty for an engine that does not say.
    version: String,
    _permit: Permit,
    /// The engine is the target: from the first try to connect on, the call waits for it.
    _waiting: WaitGuard<'a>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// A request without an answer.
pub(super) enum Lost {
    /// It can't have reached the engine.
    Unsent(Failure),
    /// It may have.
    Sent(Failure),
}

impl Answer {
    /// What the engine says about a refusal.
    pub(super) fn message(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Said {
            message: String,
        }
        let said: Said = serde_json::from_slice(&self.body).ok()?;
        Some(one_line(&said.message))
    }
}

impl<'a> Engine<'a> {
    /// Connects and asks for the version, so that an engine that does not answer is found out before anything is
    /// changed.
    pub(super) async fn connect(lender: &Lender, call: &Call<'a>, socket: &Path) -> Result<Self, Trouble> {
        let permit = lender.shared.socket(call).await;
        call.enter(Stage::Connect);
        let waiting = call.lease.waiting.begin();
        let stream = UnixStream::connect(socket)
            .await
            .map_err(|error| unreachable(socket, &error))?;
        let (sender, connection) = http1::Builder::new()
            .max_header_size(HEAD_BYTES_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::hyper(Phase::Connect, &error))?;
        let mut engine = Self {
            sender,
            connection: Some(Box::pin(connection)),
            version: String::new(),
            _permit: permit,
            _waiting: waiting,
        };
        call.enter(Stage::Processing);
        let ping = engine
            .ask(Method::GET, "/_ping")
            .await
            .map_err(Lost::into_failure)?;
        if ping.0.status != 200 {
            return Err(Trouble::Engine(
                super::Error::Unavailable(format!("the engine answered its ping with {}", ping.0.status))
                    .into(),
            ));
        }
        engine.version = ping
            .1
            .filter(|version| is_version(version))
            .map_or_else(String::new, |version| format!("/v{version}"));
        Ok(engine)
    }

    /// Asks for something.
    pub(super) async fn get(&mut self, path: &str) -> Result<Answer, Failure> {
        let path = format!("{}{path}", self.version);
        let (answer, _) = self.ask(Method::GET, &path).await.map_err(Lost::into_failure)?;
        Ok(answer)
    }

    /// Changes something, within what is left of the call's time.
    pub(super) async fn post(&mut self, call: &Call<'_>, path: &str) -> Result<Answer, Lost> {
        let path = format!("{}{path}", self.version);
        let asked = async { Ok(self.ask(Method::POST, &path).await) };
        match call.bound(asked).await {
            Ok(answer) => answer.map(|(answer, _)| answer),
            Err(failure) => Err(Lost::Sent(failure)),
        }
    }

    /// Sends a request and reads the answer; beside it the `api-version`.
    async fn ask(&mut self, method: Method, path: &str) -> Result<(Answer, Option<String>), Lost> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = method;
        *request.uri_mut() = path
            .parse()
            .map_err(|error: http::uri::InvalidUri| Lost::Unsent(Failure::invalid(error.to_string())))?;
        request
            .headers_mut()
            .insert(HOST, HeaderValue::from_static("docker"));
        let Self {
            sender, connection, ..
        } = self;
        let work = async {
            sender
                .ready()
                .await
                .map_err(|error| Lost::Unsent(Failure::hyper(Phase::Processing, &error)))?;
            let answer = sender.try_send_request(request).await.map_err(|mut error| {
                let unsent = error.take_message().is_some();
                let failure = Failure::hyper(Phase::Processing, error.error());
                if unsent {
                    Lost::Unsent(failure)
                } else {
                    Lost::Sent(failure)
                }
            })?;
            let version = answer
                .headers()
                .get("api-version")
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned);
            let status = answer.status().as_u16();
            // The status has said it all; a body that breaks off changes nothing about that.
            let body = read(answer.into_body()).await.unwrap_or_default();
            Ok((Answer { status, body }, version))
        };
        drive(connection, work).await
    }
}

impl Lost {
    fn into_failure(self) -> Failure {
        match self {
            Self::Unsent(failure) | Self::Sent(failure) => failure,
        }
    }
}

async fn read(mut incoming: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        if let Ok(data) = frame?.into_data() {
            let room = BODY_BYTES_MAX - body.len();
            body.extend_from_slice(data.get(..room).unwrap_or(&data));
            if body.len() == BODY_BYTES_MAX {
                break;
            }
        }
    }
    Ok(body)
}

/// Polls the connection beside the work, for as long as both last.
async fn drive<C, W>(connection: &mut Option<Pin<Box<C>>>, work: W) -> W::Output
where
    C: Future,
    W: Future,
{
    let mut work = pin!(work);
    poll_fn(|cx| {
        let ended = connection
            .as_mut()
            .is_some_and(|connection| connection.as_mut().poll(cx).is_ready());
        if ended {
            *connection = None;
        }
        work.as_mut().poll(cx)
    })
    .await
}

/// An engine that is not there is down; one that this host may not talk to is the host's trouble.
fn unreachable(socket: &Path, error: &io::Error) -> Failure {
    let message = format!("the engine at {} can't be reached: {error}", socket.display());
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::WouldBlock => {
            Failure::new(ErrorCode::ConnectionRefused, Phase::Connect, message)
        }
        _ => Failure::host(Phase::Connect, message),
    }
}

/// `1.47`.
fn is_version(text: &str) -> bool {
    let number = |part: &str| (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.')
        .is_some_and(|(major, minor)| number(major) && number(minor))
}
