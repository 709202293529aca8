//! Lent calls that are carried out and noted.
//!
//! Invariant: what is noted is bounded, and says where it was cut; and it shows no secret of the tenant, nor what is a
//! secret wherever it stands (credentials in header fields and URLs, private keys).

use super::{Ask, GuestTime, Origin, Reply};
use crate::{
    capability::{Lease, Lender},
    clock::Clock,
    domain::secret::Secrets,
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What stands in place of what nobody may read.
pub const REDACTED: &str = "[secret]";
/// What a call takes beside its texts.
const CALL_BYTES: usize = 128;
/// Header fields whose values are secrets.
const SECRET_FIELDS: [&str; 8] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "x-auth-token",
    "api-key",
    "private-token",
];

/// One call that was noted.
#[derive(Clone, Debug)]
pub struct Called {
    /// What was asked for.
    pub ask: Ask,
    /// What came of it; none if nobody waited for it any more.
    pub reply: Option<Reply>,
    /// How long it took.
    pub took: Duration,
    /// The host refused it because it was malformed: it never left the sandbox.
    pub refused: bool,
}

/// What can be repeated of an execution that is noted.
pub enum Repeat {
    /// Nothing: it is only looked at.
    Nothing,
    /// Its calls and its random numbers. Its clocks are the system's: noting it changes nothing for the guest.
    Numbers(Origin),
    /// All of it: its clocks are its own, too.
    Time(Arc<GuestTime>),
}

/// The notes of one execution.
pub struct Notes {
    repeat: Repeat,
    clock: Clock,
    bytes_max: usize,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    calls: Vec<Called>,
    bytes: usize,
    cut: u64,
}

impl Notes {
    /// At most that much is kept.
    #[must_use]
    pub fn new(clock: Clock, bytes_max: usize, repeat: Repeat) -> Self {
        Self {
            repeat,
            clock,
            bytes_max,
            noted: Mutex::default(),
        }
    }

    pub(super) fn time(&self) -> Option<&Arc<GuestTime>> {
        match &self.repeat {
            Repeat::Nothing | Repeat::Numbers(_) => None,
            Repeat::Time(time) => Some(time),
        }
    }

    pub(super) fn origin(&self) -> Option<Origin> {
        match &self.repeat {
            Repeat::Nothing => None,
            Repeat::Numbers(origin) => Some(*origin),
            Repeat::Time(time) => Some(time.origin()),
        }
    }

    /// The calls so far, and how many were not kept for want of room.
    #[must_use]
    pub fn take(&self) -> (Vec<Called>, u64) {
        let noted = std::mem::take(&mut *self.noted());
        (noted.calls, noted.cut)
    }

    /// A call could not be written down: what comes behind it is not kept either.
    pub(in crate::capability) fn miss(&self) {
        self.noted().cut += 1;
    }

    pub(super) async fn carry_out(&self, lender: &Lender, lease: &Lease, ask: Ask) -> Reply {
        let began = self.clock.mono();
        let refused = ask.refusal().is_some();
        let place = self.begin(&ask, lease, refused);
        let reply = ask.really(lender, lease).await;
        // To the microsecond, which is how it is written down.
        let took = self.clock.mono().since(began);
        let took = took.saturating_sub(Duration::from_nanos(u64::from(took.subsec_nanos() % 1_000)));
        if let Some(time) = self.time() {
            time.advance(took);
        }
        self.end(place, &reply, lease, took);
        reply
    }

    /// Notes what was asked for, so that it is there whatever becomes of it.
    fn begin(&self, ask: &Ask, lease: &Lease, refused: bool) -> Option<usize> {
        let mut ask = ask.clone();
        redact_ask(&mut ask, &lease.tenant().secrets);
        let mut noted = self.noted();
        let size = CALL_BYTES + size(|text, bytes| ask.each_part(text, bytes));
        noted.bytes += size;
        // Behind a gap nothing could be repeated.
        if noted.bytes > self.bytes_max || noted.cut > 0 {
            noted.cut += 1;
            return None;
        }
        noted.calls.push(Called {
            ask,
            reply: None,
            took: Duration::ZERO,
            refused,
        });
        Some(noted.calls.len() - 1)
    }

    fn end(&self, place: Option<usize>, reply: &Reply, lease: &Lease, took: Duration) {
        let Some(place) = place else {
            return;
        };
        let mut reply = reply.clone();
        redact_reply(&mut reply, &lease.tenant().secrets);
        let size = size(|text, bytes| reply.each_part(text, bytes));
        let mut noted = self.noted();
        noted.bytes += size;
        if noted.bytes > self.bytes_max {
            noted.calls.truncate(place);
            noted.cut += 1;
        } else if let Some(called) = noted.calls.get_mut(place) {
            called.reply = Some(reply);
            called.took = took;
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(each: impl FnOnce(&mut dyn FnMut(&mut String), &mut dyn FnMut(&mut Vec<u8>))) -> usize {
    let (mut texts, mut bytes) = (0, 0);
    each(&mut |text| texts += text.len(), &mut |part| bytes += part.len());
    texts + bytes
}

pub(super) fn redact_ask(ask: &mut Ask, secrets: &Secrets) {
    if let Ask::Http(request) = ask {
        redact_fields(&mut request.headers);
        redact_user(&mut request.url);
        let options = &mut request.tls;
        if let Some(certificate) = options
            .as_mut()
            .and_then(|options| options.client_certificate.as_mut())
        {
            REDACTED.clone_into(&mut certificate.key);
        }
    }
    if let Ask::Tcp(request) = ask {
        let in_steps = request.steps.iter_mut().filter_map(|step| match step {
            crate::capability::tcp::Step::StartTls(options) => Some(options),
            _ => None,
        });
        for options in request.tls.iter_mut().chain(in_steps) {
            if let Some(certificate) = &mut options.client_certificate {
                REDACTED.clone_into(&mut certificate.key);
            }
        }
    }
    ask.each_part(&mut |text| secrets.redact_in(text), &mut |bytes| {
        redact_bytes(bytes, secrets)
    });
}

fn redact_reply(reply: &mut Reply, secrets: &Secrets) {
    if let Reply::Http(Ok(response)) = reply {
        redact_fields(&mut response.headers);
        redact_user(&mut response.url);
    }
    reply.each_part(&mut |text| secrets.redact_in(text), &mut |bytes| {
        redact_bytes(bytes, secrets)
    });
}

fn redact_fields(headers: &mut [crate::capability::http::Header]) {
    for header in headers {
        if SECRET_FIELDS
            .iter()
            .any(|field| header.name.eq_ignore_ascii_case(field))
        {
            REDACTED.clone_into(&mut header.value);
        }
    }
}

/// User and password before a URL's host.
fn redact_user(url: &mut String) {
    let Some((scheme, rest)) = url.split_once("://") else {
        return;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if let Some((user, _)) = authority.rsplit_once('@') {
        let behind = rest.get(user.len()..).unwrap_or_default();
        *url = format!("{scheme}://{REDACTED}{behind}");
    }
}

/// Bytes that are no text are searched as if each were a character: a value that keeps to ASCII is found there, too.
fn redact_bytes(bytes: &mut Vec<u8>, secrets: &Secrets) {
    if secrets.is_empty() {
        return;
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let std::borrow::Cow::Owned(clean) = secrets.redact(text) {
            *bytes = clean.into_bytes();
        }
        return;
    }
    let text: String = bytes.iter().copied().map(char::from).collect();
    if let std::borrow::Cow::Owned(clean) = secrets.redact(&text) {
        *bytes = clean
            .chars()
            .filter_map(|c| u8::try_from(u32::from(c)).ok())
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_before_a_host_are_nobodys_business() {
        for (url, shown) in [
            ("http://a:b@c/d?e@f", "http://[secret]@c/d?e@f"),
            ("http://c/d@e", "http://c/d@e"),
            ("no url", "no url"),
        ] {
            let mut text = url.to_owned();
            redact_user(&mut text);
            assert_eq!(text, shown);
        }
    }

    #[test]
    fn a_value_is_found_among_bytes() {
        let secrets = Secrets::new([("token".into(), "hunter2hunter2".into())].into()).unwrap();
        let mut bytes = b"\xff\xfehunter2hunter2\xff".to_vec();
        redact_bytes(&mut bytes, &secrets);
        assert_eq!(bytes, b"\xff\xfe[secret]\xff");
    }
}
