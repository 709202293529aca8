//! `GET /api/v1/stream`: what happens, as it happens, in server-sent events.
//!
//! A stream has no end of its own. It ends when the host stops, when whoever reads it takes nothing for a while, and when
//! its token is good no longer.

use super::{
    App,
    feed::{Deaf, Listener},
    guard::{self, Access},
    monitors::states,
    problem::Problem,
    tokens::Caller,
};
use crate::domain::health::State;
use axum::{
    Extension,
    body::{Body, Bytes, HttpBody},
    extract::{ConnectInfo, State as Shared},
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use hyper::body::Frame;
use serde_json::json;
use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{sync::mpsc, time::MissedTickBehavior};

/// How often it is looked whether states have changed, events were lost, and the token is still good.
const LOOK: Duration = Duration::from_secs(1);
/// After so many looks with nothing to tell a comment is sent, so that everybody in between knows that it lives.
const QUIET_MAX: u32 = 15;
/// Whoever takes nothing for so long is gone.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// Pieces that wait to be taken.
const PIECES: usize = 4;

/// What hyper takes piece by piece.
struct Pieces(mpsc::Receiver<Bytes>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.get_mut().0.poll_recv(context);
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// Who listens, and by what he was let in.
struct Visitor {
    caller: Caller,
    peer: Option<SocketAddr>,
    headers: HeaderMap,
}

/// Begins a stream.
pub async fn stream(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let listener = app.feed.listen(caller.tenant.clone()).map_err(|deaf| {
        Problem::busy(match deaf {
            Deaf::Full => "as many streams are open as may be",
            Deaf::Closed => "the host is stopping",
        })
    })?;
    let visitor = Visitor {
        caller,
        peer: peer.map(|Extension(ConnectInfo(peer))| peer),
        headers,
    };
    let (pieces, taken) = mpsc::channel(PIECES);
    tokio::spawn(run(app, listener, visitor, pieces));
    let fields = [
        (header::CONTENT_TYPE, "text/event-stream"),
        // A proxy that collects what it passes on would tell nothing for minutes.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((fields, Body::new(Pieces(taken))).into_response())
}

async fn run(app: App, mut listener: Listener, visitor: Visitor, pieces: mpsc::Sender<Bytes>) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut quiet) = (String::new(), 0);
    loop {
        let mut text = String::new();
        tokio::select! {
            event = listener.next() => match event {
                Some(event) => add(&mut text, "event", &event),
                None => return,
            },
            // Who took the last piece may be gone without another one being sent.
            () = pieces.closed() => return,
            _ = look.tick() => {
                let now = guard::caller(&app, Access::Look, visitor.peer, &visitor.headers);
                if now.ok().as_ref() != Some(&visitor.caller) {
                    return;
                }
                let missed = listener.missed();
                if missed > 0 {
                    add(&mut text, "dropped", &json!({ "count": missed }).to_string());
                }
                if let Some(present) = counted(&app, visitor.caller.tenant.as_ref()).await
                    && present != last
                {
                    add(&mut text, "states", &present);
                    last = present;
                }
                quiet += 1;
                if text.is_empty() && quiet >= QUIET_MAX {
                    text.push_str(":\n\n");
                }
            }
        }
        if text.is_empty() {
            continue;
        }
        quiet = 0;
        if !matches!(
            tokio::time::timeout(TAKEN_WITHIN, pieces.send(text.into())).await,
            Ok(Ok(()))
        ) {
            return;
        }
    }
}

/// `data` is one line.
fn add(text: &mut String, event: &str, data: &str) {
    for part in ["event: ", event, "\ndata: ", data, "\n\n"] {
        text.push_str(part);
    }
}

/// How many monitors are in each state. None: it can't be said now.
async fn counted(app: &App, tenant: Option<&Arc<str>>) -> Option<String> {
    let mut counts = [0; State::ALL.len()];
    match tenant {
        None => {
            let present = app.stats.states();
            for (count, state) in counts.iter_mut().zip(State::ALL) {
                *count = present.get(state.name()).copied().unwrap_or_default();
            }
        }
        Some(tenant) => {
            let tenant = Arc::clone(tenant);
            let look = app.search(move |directory, board| {
                directory.standings(board, &directory.of_tenant(&tenant), None, |_, _, standing| {
                    if let Some(count) = counts.get_mut(standing.state as usize) {
                        *count += 1;
                    }
                });
                counts
            });
            counts = look.await.ok()?;
        }
    }
    Some(states(&counts).to_string())
}
