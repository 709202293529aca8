//! An exchange that goes on while somebody looks: `wasi:http`, in whose interface head, body and trailers are read one
//! after the other.
//!
//! Architecture invariant: the checks, bounds and deadlines are those of [`super::send`]; redirects are the guest's
//! own business, since each is a request that goes through all of them again. One frame of the answer waits here, the
//! rest in the connection.

use super::{
    BODY_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX,
    exchange::{self, Scope, Tasks},
    outgoing::Outgoing,
    upload::{OutgoingBody, Upload},
};
use crate::capability::{
    Lease, Lender,
    call::{Call, Stage},
    egress,
    error::{ErrorCode, Failure, Phase},
    socket::settled,
};
use bytes::Bytes;
use http::{HeaderMap, Method, response::Parts};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::TokioIo;
use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

/// What the guest wishes to wait at most; never longer than its job has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    /// For the connection, the name and TLS included.
    pub connect: Option<Duration>,
    /// From the request sent to the head of the answer.
    pub first_byte: Option<Duration>,
    /// For each frame of the body.
    pub between_bytes: Option<Duration>,
}

/// A request whose body comes later, if there is one.
#[derive(Debug)]
pub struct Head {
    /// Method.
    pub method: String,
    /// Absolute URL.
    pub url: String,
    /// Fields, of which none is the host's own.
    pub fields: HeaderMap,
    /// The body.
    pub upload: Option<Upload>,
}

/// What has come of an exchange so far.
#[derive(Debug, Default)]
pub struct Progress {
    /// The head of the answer, or why there is none.
    pub head: Option<Result<Parts, Failure>>,
    /// The next frame of the body.
    pub frame: Option<Bytes>,
    /// How the body ended, once all of it was taken: with trailers, without, or not at all.
    pub end: Option<Result<Option<HeaderMap>, Failure>>,
    /// Whether there was a head, which may have been taken.
    answered: bool,
}

/// Counts who waits for an exchange at this moment.
#[derive(Debug, Default)]
pub struct Watched(AtomicU32);

impl Watched {
    /// Somebody waits, until the guard is dropped.
    pub fn begin(self: &Arc<Self>) -> WatchGuard {
        self.0.fetch_add(1, Ordering::Relaxed);
        WatchGuard(Arc::clone(self))
    }

    fn is_watched(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// See [`Watched::begin`].
#[derive(Debug)]
pub struct WatchGuard(Arc<Watched>);

impl Drop for WatchGuard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long the guest waits, and whether it does so at this moment.
#[derive(Clone, Copy)]
struct Wait<'a> {
    patience: Patience,
    watched: &'a Watched,
}

/// An exchange.
pub struct Exchange {
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    progress: Arc<Mutex<Progress>>,
    on_target: Arc<AtomicBool>,
    watched: Arc<Watched>,
    upload: Option<Upload>,
}

impl Exchange {
    /// Checks what is asked for. Nothing is sent before it is polled.
    ///
    /// # Errors
    /// The request is malformed.
    pub fn new(
        lender: &Arc<Lender>,
        lease: &Arc<Lease>,
        head: Head,
        patience: Patience,
    ) -> Result<Self, Failure> {
        let outgoing = Outgoing::of(&head.method, &head.url, head.fields)?;
        Ok(Self::of(lender, lease, outgoing, head.upload, patience))
    }

    /// The same with a target that has a certificate of a test's own.
    #[cfg(test)]
    pub(in crate::capability) fn trusting(
        lender: &Arc<Lender>,
        lease: &Arc<Lease>,
        head: Head,
        tls: crate::capability::net::TlsOptions,
    ) -> Self {
        let mut outgoing = Outgoing::of(&head.method, &head.url, head.fields).unwrap();
        outgoing.tls = tls;
        Self::of(lender, lease, outgoing, head.upload, Patience::default())
    }

    fn of(
        lender: &Arc<Lender>,
        lease: &Arc<Lease>,
        outgoing: Outgoing,
        upload: Option<Upload>,
        patience: Patience,
    ) -> Self {
        let progress = Arc::<Mutex<Progress>>::default();
        let on_target = Arc::<AtomicBool>::default();
        let watched = Arc::<Watched>::default();
        let work = {
            let (lender, lease) = (Arc::clone(lender), Arc::clone(lease));
            let watched = Arc::clone(&watched);
            let (progress, on_target) = (Arc::clone(&progress), Arc::clone(&on_target));
            let body = upload.clone().unwrap_or_else(|| {
                let nothing = Upload::new(None);
                // One that is empty and declares nothing is as long as it is to be.
                let _ = nothing.finish();
                nothing
            });
            async move {
                let result = match Call::aside(&lease, &lender.shared.clock, &on_target) {
                    Ok(call) => {
                        let wait = Wait {
                            patience,
                            watched: &watched,
                        };
                        let work = go(&lender, &call, &outgoing, body.outgoing(), wait, &progress);
                        settled(&call, work).await
                    }
                    Err(failure) => Err(failure),
                };
                let mut progress = lock(&progress);
                match result {
                    Err(failure) if !progress.answered => progress.head = Some(Err(failure)),
                    result => progress.end = Some(result),
                }
            }
        };
        Self {
            work: Some(Box::pin(work)),
            progress,
            on_target,
            watched,
            upload,
        }
    }

    /// Goes on as far as it can without waiting.
    pub fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(work) = &mut self.work
            && work.as_mut().poll(cx).is_ready()
        {
            self.work = None;
        }
    }

    /// What has come of it.
    pub fn progress(&self) -> MutexGuard<'_, Progress> {
        lock(&self.progress)
    }

    /// Who waits for it.
    #[must_use]
    pub fn watched(&self) -> &Arc<Watched> {
        &self.watched
    }

    /// Whether who waits for it waits for the target.
    #[must_use]
    pub fn is_on_target(&self) -> bool {
        self.work.is_some()
            && self.on_target.load(Ordering::Relaxed)
            && self.upload.as_ref().is_none_or(Upload::is_with_the_target)
    }
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn go(
    lender: &Lender,
    call: &Call<'_>,
    outgoing: &Outgoing,
    body: OutgoingBody,
    wait: Wait<'_>,
    progress: &Mutex<Progress>,
) -> Result<Option<HeaderMap>, Failure> {
    egress::check_http(call.lease, &outgoing.target)
        .map_err(|denial| Failure::denied(Phase::Prepare, denial))?;
    let opening = exchange::open(lender, call, outgoing);
    let opened = within(call, wait, wait.patience.connect, opening).await?;
    call.enter(Stage::Processing);
    if opened.http2 {
        let request = outgoing.http2()?.map(|_| body);
        let tasks = Tasks::default();
        let _scope = Scope(tasks.clone());
        let (mut sender, connection) = http2::Builder::new(tasks.clone())
            .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
            .initial_stream_window_size(exchange::WINDOW_BYTES)
            .initial_connection_window_size(exchange::WINDOW_BYTES)
            .handshake(TokioIo::new(opened.stream))
            .await
            .map_err(|error| Failure::hyper(call.phase(), &error))?;
        let work = async {
            let answer = sender.send_request(request).await;
            read(call, async { answer }, wait, progress).await
        };
        exchange::drive(tasks.beside(pin!(connection)), pin!(work)).await
    } else {
        let request = outgoing.http1()?.map(|_| body);
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(opened.stream))
            .await
            .map_err(|error| Failure::hyper(call.phase(), &error))?;
        let answer = async move { sender.send_request(request).await };
        let work = pin!(read(call, answer, wait, progress));
        exchange::drive(pin!(connection), work).await
    }
}

/// Reads the answer, one frame after the other as they are taken.
async fn read(
    call: &Call<'_>,
    answer: impl Future<Output = Result<http::Response<Incoming>, hyper::Error>>,
    wait: Wait<'_>,
    progress: &Mutex<Progress>,
) -> Result<Option<HeaderMap>, Failure> {
    let failed = |error: hyper::Error| Failure::hyper(call.phase(), &error);
    let first_byte = async { answer.await.map_err(failed) };
    let answer = within(call, wait, wait.patience.first_byte, first_byte).await?;
    let (head, mut incoming) = answer.into_parts();
    exchange::check_head(call, &head)?;
    {
        let mut progress = lock(progress);
        progress.head = Some(Ok(head));
        progress.answered = true;
    }
    call.enter(Stage::Transfer);
    let mut bytes = 0;
    loop {
        // Whoever takes the frame polls this again.
        poll_fn(|_| match lock(progress).frame {
            None => Poll::Ready(()),
            Some(_) => Poll::Pending,
        })
        .await;
        let frame = async { incoming.frame().await.transpose().map_err(failed) };
        let Some(frame) = within(call, wait, wait.patience.between_bytes, frame).await? else {
            return Ok(None);
        };
        match frame.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => {
                bytes += data.len();
                if bytes > BODY_BYTES_MAX {
                    return Err(Failure::new(
                        ErrorCode::Protocol,
                        call.phase(),
                        format!("the body of the answer is longer than {BODY_BYTES_MAX} bytes"),
                    ));
                }
                lock(progress).frame = Some(data);
            }
            Err(frame) => return Ok(frame.into_trailers().ok()),
        }
    }
}

/// Runs a part of the call under a deadline of its own. That it is looked at late says that the host is overloaded only
/// if somebody waited for it: a guest may be busy with something else.
async fn within<T>(
    call: &Call<'_>,
    wait: Wait<'_>,
    patience: Option<Duration>,
    part: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let Some(patience) = patience.filter(|patience| *patience < call.left()) else {
        return part.await;
    };
    let due = call.now().after(patience);
    match tokio::time::timeout(patience, part).await {
        Ok(result) => result,
        Err(_) => {
            let due = if wait.watched.is_watched() {
                due
            } else {
                call.now()
            };
            Err(call.timed_out(due, patience))
        }
    }
}

/// The method, if it is one that is lent.
///
/// # Errors
/// It is none, or it is `CONNECT`.
pub fn method(text: &str) -> Result<Method, Failure> {
    super::outgoing::method(text)
}
