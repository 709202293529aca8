//! One hop: connect, TLS, send, read. The connection, and what HTTP/2 has to do beside it, are driven inside the call's
//! own future: a call that is dropped takes everything with it, and what it costs is the guest's own time.

use super::{HEAD_BYTES_MAX, HEADERS_MAX, Header, Response, outgoing::Outgoing};
use crate::capability::{
    Lender, WaitGuard,
    call::{Call, Stage},
    dial::{Destination, dial},
    error::{ErrorCode, Failure},
    net::{Timings, TlsFacts},
    stream::Stream,
    tls::{self, Inside},
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::LOCATION};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    rt::Executor,
};
use hyper_util::rt::TokioIo;
use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

/// Bytes of an HTTP/2 stream that the peer may send unasked.
pub(super) const WINDOW_BYTES: u32 = 256 << 10;

/// What a hop led to. `redirects` of an answer is for the caller to fill in.
pub(super) enum Hop {
    Answer(Box<Response>),
    Redirect { status: u16, location: String },
}

/// What to make of the answer.
#[derive(Clone, Copy)]
struct Wish {
    follow: bool,
    body_max: usize,
}

/// Sends the request once. What TLS and HTTP/2 need is large and boxed, so that a plain call is the smaller for it.
pub(super) async fn once(
    lender: &Lender,
    call: &Call<'_>,
    outgoing: &Outgoing,
    follow: bool,
    body_max: usize,
) -> Result<Hop, Failure> {
    let opened = open(lender, call, outgoing).await?;
    // Held to the end of the hop.
    let _waiting = opened.waiting;
    let (stream, http2) = (opened.stream, opened.http2);
    let wish = Wish { follow, body_max };
    let read = if http2 {
        Box::pin(over_http2(call, outgoing, stream, wish)).await?
    } else {
        over_http1(call, outgoing, stream, wish).await?
    };
    Ok(match read {
        Read::Redirect { status, location } => Hop::Redirect { status, location },
        Read::Answer(answer) => Hop::Answer(Box::new(Response {
            status: answer.head.status.as_u16(),
            version: format!("{:?}", answer.head.version),
            headers: fields(&answer.head.headers),
            body: answer.body,
            body_truncated: answer.truncated,
            url: outgoing.target.url.as_str().to_owned(),
            redirects: 0,
            peer: opened.peer.to_string(),
            timings: Timings {
                processing_us: answer.processing_us,
                transfer_us: answer.transfer_us,
                ..opened.timings
            },
            tls: opened.facts,
        })),
    })
}

/// A connection that is ready for a request.
pub(super) struct Opened<'a> {
    pub(super) stream: Stream,
    pub(super) http2: bool,
    waiting: Option<WaitGuard<'a>>,
    peer: SocketAddr,
    timings: Timings,
    facts: Option<TlsFacts>,
}

/// Connects, and speaks TLS where the URL says so.
pub(super) async fn open<'a>(
    lender: &Lender,
    call: &Call<'a>,
    outgoing: &Outgoing,
) -> Result<Opened<'a>, Failure> {
    let target = &outgoing.target;
    // What is wrong with the TLS options is known before anything is sent.
    let secure = if target.secure {
        call.enter(Stage::Prepare);
        let config = Box::pin(lender.shared.tls.get(&outgoing.tls, Inside::Http)).await?;
        Some((config, tls::server_name(&outgoing.tls, &target.host)?))
    } else {
        None
    };
    let to = Destination {
        capability: "http",
        host: &target.host,
        port: target.port,
        family: outgoing.family,
    };
    let dialled = dial(lender, call, to).await?;
    let mut opened = Opened {
        stream: dialled.stream,
        http2: false,
        waiting: dialled.waiting,
        peer: dialled.peer,
        timings: Timings {
            resolve_us: dialled.resolve_us,
            connect_us: dialled.connect_us,
            ..Timings::default()
        },
        facts: None,
    };
    if let Some((config, name)) = secure {
        let (stream, facts, tls_us) = Box::pin(opened.stream.start_tls(call, config, name)).await?;
        opened.stream = stream;
        opened.timings.tls_us = tls_us;
        opened.http2 = facts.alpn.as_deref() == Some("h2");
        opened.facts = Some(facts);
    }
    Ok(opened)
}

/// Holds the head of an answer against the bound on its fields.
pub(super) fn check_head(call: &Call<'_>, head: &http::response::Parts) -> Result<(), Failure> {
    if head.headers.len() > HEADERS_MAX {
        return Err(Failure::new(
            ErrorCode::Protocol,
            call.phase(),
            format!("the head of the answer has more than {HEADERS_MAX} fields"),
        ));
    }
    Ok(())
}

enum Read {
    Answer(Box<Answer>),
    Redirect { status: u16, location: String },
}

struct Answer {
    head: http::response::Parts,
    body: Vec<u8>,
    truncated: bool,
    processing_us: u64,
    transfer_us: u64,
}

async fn over_http1(
    call: &Call<'_>,
    outgoing: &Outgoing,
    stream: Stream,
    wish: Wish,
) -> Result<Read, Failure> {
    let request = outgoing.http1()?;
    call.enter(Stage::Processing);
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(|error| Failure::hyper(call.phase(), &error))?;
    let answer = async move { sender.send_request(request).await };
    let work = pin!(read(call, answer, wish));
    drive(pin!(connection), work).await
}

async fn over_http2(
    call: &Call<'_>,
    outgoing: &Outgoing,
    stream: Stream,
    wish: Wish,
) -> Result<Read, Failure> {
    let request = outgoing.http2()?;
    call.enter(Stage::Processing);
    let tasks = Tasks::default();
    let _scope = Scope(tasks.clone());
    let (mut sender, connection) = http2::Builder::new(tasks.clone())
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(|error| Failure::hyper(call.phase(), &error))?;
    // The sender lives as long as the body is read: without it the connection would close.
    let answer = async {
        let answer = sender.send_request(request).await;
        (answer, sender)
    };
    let work = async {
        let (answer, _sender) = answer.await;
        read(call, async { answer }, wish).await
    };
    drive(tasks.beside(pin!(connection)), pin!(work)).await
}

/// Waits for the head, then reads the body.
async fn read(
    call: &Call<'_>,
    answer: impl Future<Output = Result<http::Response<Incoming>, hyper::Error>>,
    wish: Wish,
) -> Result<Read, Failure> {
    let start = call.now();
    let (head, mut incoming) = answer
        .await
        .map_err(|error| Failure::hyper(call.phase(), &error))?
        .into_parts();
    let processing_us = call.micros_since(start);
    check_head(call, &head)?;
    if let Some(location) = redirect(&head).filter(|_| wish.follow) {
        return Ok(Read::Redirect {
            status: head.status.as_u16(),
            location,
        });
    }
    call.enter(Stage::Transfer);
    let start = call.now();
    let mut body = Vec::new();
    let mut truncated = false;
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| Failure::hyper(call.phase(), &error))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let room = wish.body_max - body.len();
        truncated = data.len() > room;
        body.extend_from_slice(data.get(..room).unwrap_or(&data));
        if truncated {
            break;
        }
    }
    Ok(Read::Answer(Box::new(Answer {
        head,
        body,
        truncated,
        processing_us,
        transfer_us: call.micros_since(start),
    })))
}

/// Where an answer redirects to, if it does.
fn redirect(head: &http::response::Parts) -> Option<String> {
    let follows = matches!(
        head.status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let location = head.headers.get(LOCATION).filter(|_| follows)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

fn fields(headers: &HeaderMap) -> Vec<Header> {
    headers
        .iter()
        .map(|(name, value)| Header {
            name: name.as_str().to_owned(),
            value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
        })
        .collect()
}

/// Polls the connection and the work that uses it as one future. What the connection itself has to say reaches
/// the work through the library, so its result is of no interest here.
pub(super) async fn drive<C: Future, W: Future>(connection: C, work: W) -> W::Output {
    let mut connection = pin!(connection);
    let mut work = pin!(work);
    let mut open = true;
    poll_fn(|cx| {
        if open && connection.as_mut().poll(cx).is_ready() {
            open = false;
        }
        work.as_mut().poll(cx)
    })
    .await
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The tasks that HTTP/2 needs beside the call, as far as nobody has begun with them.
#[derive(Clone, Default)]
pub(super) struct Tasks(Arc<Mutex<Vec<Task>>>);

impl Tasks {
    fn lock(&self) -> MutexGuard<'_, Vec<Task>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<Task> {
        std::mem::take(&mut *self.lock())
    }

    /// The connection and its tasks as one future, which never ends. All of them are polled each time: there are few,
    /// and each can have made another one ready.
    pub(super) async fn beside<C: Future>(&self, connection: C) {
        let mut connection = pin!(connection);
        let (mut open, mut running) = (true, Vec::new());
        poll_fn(|cx| {
            if open && connection.as_mut().poll(cx).is_ready() {
                open = false;
            }
            let mut goes_on = |task: &mut Task| task.as_mut().poll(cx).is_pending();
            running.retain_mut(&mut goes_on);
            // Whoever is polled may ask for one more.
            loop {
                let mut asked_for = self.take();
                if asked_for.is_empty() {
                    return Poll::Pending;
                }
                asked_for.retain_mut(&mut goes_on);
                running.append(&mut asked_for);
            }
        })
        .await
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.lock().push(Box::pin(async move {
            future.await;
        }));
    }
}

/// Ends those that nobody has begun with: each may hold on to all of them.
pub(super) struct Scope(pub(super) Tasks);

impl Drop for Scope {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        future::pending,
        task::{Context, Waker},
    };

    /// There is no runtime here that they could be spawned on.
    #[test]
    fn what_is_done_beside_a_call_is_done_in_it_and_ends_with_it() {
        let held = Arc::new(());
        let tasks = Tasks::default();
        let scope = Scope(tasks.clone());
        let ask = |tasks: &Tasks| {
            let (held, tasks) = (Arc::clone(&held), tasks.clone());
            tasks.clone().execute(async move {
                // One asks for another, and goes on for ever.
                let inner = Arc::clone(&held);
                tasks.execute(async move {
                    let _held = inner;
                    pending::<()>().await;
                });
                pending::<()>().await;
            });
        };
        let mut beside = Box::pin(tasks.beside(pending::<()>()));
        ask(&tasks);
        assert_eq!(Arc::strong_count(&held), 2);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(beside.as_mut().poll(&mut cx).is_pending());
        assert_eq!(Arc::strong_count(&held), 3, "both are under way");
        ask(&tasks);
        drop(beside);
        drop(scope);
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(Arc::strong_count(&tasks.0), 1);
    }
}
