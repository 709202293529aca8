//! Lent calls that a script answers, on a time of its own.

use super::{Ask, GuestTime, Reply};
use crate::capability::{
    ErrorCode, Failure, Lease, Phase,
    call::{Call, Stage as Place},
    dns, http, icmp, tcp,
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// What a script says to a call.
pub struct Scripted {
    /// The answer; none: it never comes.
    pub reply: Option<Reply>,
    /// How long it takes to come.
    pub after: Duration,
    /// It came so in earnest, however long that was: a call that ran into its timeout said so a little later.
    pub recorded: bool,
}

/// Says what comes of each call, in the order in which they are made.
pub trait Script: Send {
    /// The next call.
    fn next(&mut self, ask: &Ask) -> Scripted;
}

/// Where a script is played.
pub struct Stage {
    pub(super) time: Arc<GuestTime>,
    script: Mutex<Box<dyn Script>>,
    kept: bool,
}

impl Stage {
    /// That script, on that time.
    #[must_use]
    pub fn new(time: Arc<GuestTime>, script: Box<dyn Script>) -> Self {
        Self {
            time,
            script: Mutex::new(script),
            kept: false,
        }
    }

    /// The same in an instance that had jobs before, where its job's profile has it used again. What such a one remembers
    /// is not in the script, and so this is for measuring. All that is played in it is on the same time.
    #[must_use]
    pub fn in_kept_instance(self) -> Self {
        Self { kept: true, ..self }
    }

    /// Whether it may be played there.
    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    pub(super) async fn play(&self, lease: &Lease, ask: &Ask) -> Reply {
        // The very checks that the host makes before it asks for grants: what it refuses is in no script.
        if let Some(refusal) = ask.refusal() {
            return refusal;
        }
        let call = match Call::begin(lease, self.time.clock(), ask.timeout_ms()) {
            Ok(call) => call,
            Err(failure) => return ask.failed(failure),
        };
        let scripted = {
            let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
            script.next(ask)
        };
        let span = call.left();
        match scripted.reply {
            Some(reply) if scripted.recorded || scripted.after < span => {
                self.time.advance(scripted.after);
                bounded(ask, reply)
            }
            // Who sets no time of his own for a call is cut a little before his job.
            reply => {
                call.enter(Place::Processing);
                self.time.advance(span);
                cut(ask, reply, span).unwrap_or_else(|| {
                    let failure = call.timed_out(self.time.clock().mono(), span);
                    ask.failed(failure)
                })
            }
        }
    }
}

/// What comes of a call that ends at its time and does not fail of that: of echo requests those are lost that were not
/// answered by then.
fn cut(ask: &Ask, reply: Option<Reply>, span: Duration) -> Option<Reply> {
    let Ask::Ping(request) = ask else {
        return None;
    };
    let response = match reply {
        None => icmp::Response {
            peer: request.host.clone(),
            resolve_us: 0,
            sent: request.count.into(),
            replies: Vec::new(),
        },
        Some(Reply::Icmp(Ok(response))) => response,
        Some(_) => return None,
    };
    Some(Reply::Icmp(Ok(icmp::within(request, response, span))))
}

/// What of an answer the host hands on.
fn bounded(ask: &Ask, mut reply: Reply) -> Reply {
    match (ask, &mut reply) {
        (Ask::Http(request), Reply::Http(answer)) => {
            if let Ok(response) = answer
                && response.redirects > request.max_redirects.min(http::REDIRECTS_MAX)
            {
                *answer = Err(Failure {
                    code: ErrorCode::TooManyRedirects,
                    phase: Phase::Processing,
                    message: format!("more than {} redirects", request.max_redirects),
                    taint: None,
                });
            } else if let Ok(response) = answer {
                let max = http::body_max(request);
                if response.body.len() > max {
                    response.body.truncate(max);
                    response.body_truncated = true;
                }
            }
        }
        (Ask::Tcp(request), Reply::Tcp(Ok(response))) => {
            response.received.truncate(tcp::received_max(request));
        }
        // A chain that is not to be judged is not refused.
        (Ask::Tls(request), Reply::Tls(Ok(response))) if request.tls.insecure => response.refusal = None,
        (Ask::Dns(_), Reply::Dns(Ok(response))) => response.answers.truncate(dns::ANSWERS_MAX),
        (Ask::Ping(request), Reply::Icmp(Ok(response))) => {
            response.sent = response.sent.min(request.count.into());
            let sent = response.sent;
            response.replies.retain(|reply| reply.sequence < sent);
        }
        _ => {}
    }
    reply
}
