//! Lent calls that are carried out and noted.
//!
//! Invariant: what is noted is bounded, and says where it was cut; and it shows no secret of the tenant, nor what is a
//! secret wherever it stands (credentials in header fields and URLs, private keys).

use super::{Ask, GuestTime, Origin, Reply};
use crate::{
    capability::{Lease, Lender},
    clock::Clock,
    domain::secret::{self, Secrets},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What stands in place of what nobody may read.
pub const REDACTED: &str = "[secret]";
/// What a call takes beside its texts, and each header field, step and certificate of it.
const CALL_BYTES: usize = 128;

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

impl Called {
    /// The same without these secrets.
    #[must_use]
    pub fn without(&self, secrets: &Secrets) -> Self {
        let mut called = self.clone();
        redact_ask(&mut called.ask, secrets);
        if let Some(reply) = &mut called.reply {
            redact_reply(reply, secrets);
        }
        called
    }
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
        let mut noted = self.noted();
        // Behind a gap nothing could be repeated.
        if noted.cut > 0 {
            noted.cut += 1;
            return None;
        }
        // What never leaves the sandbox stands in no case, and may be as long as the guest's memory.
        let mut ask = if refused { ask.outlined() } else { ask.clone() };
        redact_ask(&mut ask, &lease.tenant().secrets);
        let size = CALL_BYTES * (1 + ask.items()) + size(|text, bytes| ask.each_part(text, bytes));
        noted.bytes = noted.bytes.saturating_add(size);
        if noted.bytes > self.bytes_max {
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
        let size = CALL_BYTES * reply.items() + size(|text, bytes| reply.each_part(text, bytes));
        let mut noted = self.noted();
        noted.bytes = noted.bytes.saturating_add(size);
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
    }
    ask.each_options(&mut |options| {
        if let Some(certificate) = &mut options.client_certificate {
            REDACTED.clone_into(&mut certificate.key);
        }
    });
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
        if secret::is_by_name(&header.name) {
            REDACTED.clone_into(&mut header.value);
        }
    }
}

/// User and password before a URL's host.
pub fn redact_user(url: &mut String) {
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
    use crate::capability::{
        dns, handshake,
        http::{self, Header},
        net::{ClientCertificate, IpFamily, TlsOptions},
        tcp, testing,
    };

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

    fn request(method: &str, headers: Vec<Header>) -> Ask {
        Ask::Http(http::Request {
            method: method.to_owned(),
            url: "http://127.0.0.1/".to_owned(),
            headers,
            body: None,
            max_redirects: 0,
            family: IpFamily::Any,
            tls: None,
            timeout_ms: None,
            max_body_bytes: None,
        })
    }

    #[test]
    fn whatever_a_guest_can_grow_counts_and_a_refused_call_is_a_line() {
        let lease = testing::lease().done();
        let long = "x".repeat(100 << 10);
        let field = |name: &str| Header {
            name: name.to_owned(),
            value: String::new(),
        };
        let tcp = Ask::Tcp(tcp::Request {
            host: "127.0.0.1".to_owned(),
            port: 1,
            family: IpFamily::Any,
            timeout_ms: None,
            max_bytes: None,
            tls: None,
            steps: vec![tcp::Step::Expect(tcp::Expectation::Line); 10_000],
        });
        for ask in [
            request(&long, Vec::new()),
            request("GET", vec![field(&long)]),
            request("GET", vec![field(""); 10_000]),
            tcp,
        ] {
            let notes = || Notes::new(Clock::system(), 64 << 10, Repeat::Nothing);
            let called = notes();
            assert!(called.begin(&ask, &lease, false).is_none());
            assert_eq!(called.take().1, 1);
            let refused = notes();
            assert!(refused.begin(&ask, &lease, true).is_some());
            assert!(refused.noted().bytes < 4 << 10);
        }
    }

    #[test]
    fn secrets_are_found_in_names_and_methods() {
        let secrets = Secrets::new([("token".into(), "hunter2hunter2".into())].into()).unwrap();
        let field = Header {
            name: "x-hunter2hunter2".to_owned(),
            value: String::new(),
        };
        let mut ask = request("hunter2hunter2", vec![field]);
        redact_ask(&mut ask, &secrets);
        assert!(!format!("{ask:?}").contains("hunter2"), "{ask:?}");
    }

    #[test]
    fn keys_are_secret_wherever_options_stand() {
        let options = || TlsOptions {
            client_certificate: Some(ClientCertificate {
                chain: "chain".to_owned(),
                key: "hunter2".to_owned(),
            }),
            ..TlsOptions::default()
        };
        let mut ask = Ask::Tls(handshake::Request {
            host: "shop.example".to_owned(),
            port: 443,
            family: IpFamily::Any,
            tls: options(),
            alpn: Vec::new(),
            before: vec![tcp::Step::StartTls(options())],
            timeout_ms: None,
        });
        redact_ask(&mut ask, &Secrets::default());
        let mut keys = Vec::new();
        ask.each_options(&mut |options| keys.extend(options.client_certificate.take()));
        let keys: Vec<_> = keys.into_iter().map(|own| own.key).collect();
        assert_eq!(keys, [REDACTED, REDACTED]);
    }

    #[test]
    fn records_and_chains_count_and_show_no_secret() {
        let lease = testing::lease().done();
        let record = dns::Answer {
            name: "a".to_owned(),
            kind: "TXT".to_owned(),
            ttl: 1,
            data: "x".repeat(64),
        };
        let reply = Reply::Dns(Ok(dns::Response {
            server: "192.0.2.53:53".to_owned(),
            transport: dns::Transport::Udp,
            rcode: "NOERROR".to_owned(),
            authoritative: false,
            answers: vec![record; 100],
            timings: crate::capability::net::Timings::default(),
        }));
        let ask = Ask::Dns(dns::Request {
            name: "a".to_owned(),
            kind: dns::Kind::Txt,
            server: None,
            recursion: true,
            timeout_ms: None,
        });
        let notes = Notes::new(Clock::system(), 16 << 10, Repeat::Nothing);
        let place = notes.begin(&ask, &lease, false);
        assert_eq!(place, Some(0));
        notes.end(place, &reply, &lease, Duration::ZERO);
        assert_eq!(notes.take().1, 1, "100 records of 64 bytes are more than 16 KiB");
        let secrets = Secrets::new([("token".into(), "xxxxxxxxxxxxxxxx".into())].into()).unwrap();
        let mut clean = reply;
        redact_reply(&mut clean, &secrets);
        assert!(!format!("{clean:?}").contains("xxxx"), "{clean:?}");
    }

    #[test]
    fn a_value_is_found_among_bytes() {
        let secrets = Secrets::new([("token".into(), "hunter2hunter2".into())].into()).unwrap();
        let mut bytes = b"\xff\xfehunter2hunter2\xff".to_vec();
        redact_bytes(&mut bytes, &secrets);
        assert_eq!(bytes, b"\xff\xfe[secret]\xff");
    }
}
