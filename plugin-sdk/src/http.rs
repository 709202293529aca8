//! One HTTP request, one answer. Needs `grants.http` and `grants.networks`.

pub use crate::bindings::lent::pulse::host::http::{Header, Request, Response};
use crate::{
    net::{Error, IpFamily, TlsOptions},
    text,
};
use std::{borrow::Cow, time::Duration};

impl Request {
    /// A request of any method.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: None,
            max_redirects: 0,
            family: IpFamily::Any,
            tls: None,
            timeout_ms: None,
            max_body_bytes: None,
        }
    }

    /// `GET`.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// `POST`.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(Header {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// Adds a header field, unless there is one of that name.
    #[must_use]
    pub fn default_header(self, name: &str, value: impl Into<String>) -> Self {
        if find(&self.headers, name).is_some() {
            self
        } else {
            self.header(name, value)
        }
    }

    /// Adds `Authorization: Basic …` (RFC 7617).
    #[must_use]
    pub fn basic_auth(self, username: &str, password: &str) -> Self {
        let credentials = text::base64(format!("{username}:{password}").as_bytes());
        self.header("authorization", format!("Basic {credentials}"))
    }

    /// Adds `Authorization: Bearer …` (RFC 6750).
    #[must_use]
    pub fn bearer_auth(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Follows redirects; with none a redirect is an answer like any other.
    #[must_use]
    pub fn redirects(mut self, max: u8) -> Self {
        self.max_redirects = max;
        self
    }

    /// Chooses the address family.
    #[must_use]
    pub fn family(mut self, family: IpFamily) -> Self {
        self.family = family;
        self
    }

    /// Says how to speak TLS.
    #[must_use]
    pub fn tls(mut self, options: Option<TlsOptions>) -> Self {
        self.tls = options;
        self
    }

    /// Bounds the time for everything.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = Some(u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
        self
    }

    /// Bounds what is read of the body.
    #[must_use]
    pub fn max_body(mut self, bytes: u32) -> Self {
        self.max_body_bytes = Some(bytes);
        self
    }

    /// Sends the request on a new connection and reads the answer.
    ///
    /// # Errors
    /// The exchange failed; an answer of any status is none.
    pub fn send(&self) -> Result<Response, Error> {
        #[cfg(target_family = "wasm")]
        return crate::bindings::lent::pulse::host::http::send(self);
        #[cfg(not(target_family = "wasm"))]
        crate::testing::http(self)
    }
}

impl Response {
    /// The first header field of that name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The body as text; bytes that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

fn find<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value.as_str())
}
