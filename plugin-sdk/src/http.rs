//! One HTTP request, one answer. Needs `grants.http` and `grants.networks`.
//!
//! ```
//! use pulse_plugin_sdk::{http::Request, testing::{Host, response}};
//! use std::time::Duration;
//!
//! let host = Host::new().http(|request| {
//!     assert_eq!(request.url, "https://shop.example/orders?open=true");
//!     Ok(response(200, "[]"))
//! });
//! let (answer, _) = host.run(|| {
//!     Request::get("https://shop.example/orders")
//!         .query([("open", true)])
//!         .bearer_auth("secret")
//!         .timeout(Duration::from_secs(2))
//!         .call()
//! });
//! assert!(answer.unwrap().json::<Vec<u32>>().unwrap().is_empty());
//! ```

mod content;
mod failure;

pub use failure::Failure;

pub use crate::bindings::lent::pulse::host::http::{Header, Request, Response};
use crate::{
    net::{Error, IpFamily, TlsOptions},
    text, time,
};
use std::{borrow::Cow, time::Duration};

impl Request {
    /// A request of any method.
    ///
    /// ```
    /// use pulse_plugin_sdk::http::Request;
    /// assert_eq!(Request::new("OPTIONS", "https://shop.example/").method, "OPTIONS");
    /// ```
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
    ///
    /// ```
    /// use pulse_plugin_sdk::http::Request;
    /// assert_eq!(Request::get("https://shop.example/").method, "GET");
    /// ```
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// `POST`.
    ///
    /// ```
    /// use pulse_plugin_sdk::http::Request;
    /// assert_eq!(Request::post("https://shop.example/").method, "POST");
    /// ```
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// Adds a header field.
    ///
    /// ```
    /// use pulse_plugin_sdk::http::Request;
    ///
    /// let request = Request::get("https://shop.example/").header("accept", "text/plain");
    /// assert_eq!(request.headers[0].name, "accept");
    /// ```
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(Header {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// Adds a header field, unless there is one of that name.
    ///
    /// ```
    /// use pulse_plugin_sdk::http::Request;
    ///
    /// let request = Request::get("https://shop.example/")
    ///     .header("Accept", "text/plain")
    ///     .default_header("accept", "*/*");
    /// assert_eq!(request.headers.len(), 1);
    /// ```
    #[must_use]
    pub fn default_header(self, name: &str, value: impl Into<String>) -> Self {
        if find(&self.headers, name).is_some() {
            self
        } else {
            self.header(name, value)
        }
    }

    /// Adds `Authorization: Basic …` (RFC 7617).
    ///
    /// ```
    /// use pulse_plugin_sdk::http::Request;
    ///
    /// let request = Request::get("https://shop.example/").basic_auth("probe", "secret");
    /// assert_eq!(request.headers[0].value, "Basic cHJvYmU6c2VjcmV0");
    /// ```
    #[must_use]
    pub fn basic_auth(self, username: &str, password: &str) -> Self {
        let credentials = text::base64(format!("{username}:{password}").as_bytes());
        self.header("authorization", format!("Basic {credentials}"))
    }

    /// Adds `Authorization: Bearer …` (RFC 6750).
    ///
    /// ```
    /// use pulse_plugin_sdk::http::Request;
    ///
    /// let request = Request::get("https://shop.example/").bearer_auth("token");
    /// assert_eq!(request.headers[0].value, "Bearer token");
    /// ```
    #[must_use]
    pub fn bearer_auth(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Sets the body.
    ///
    /// ```
    /// use pulse_plugin_sdk::http::Request;
    /// assert_eq!(Request::post("https://shop.example/").body("x").body.unwrap(), b"x");
    /// ```
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Follows redirects; with none a redirect is an answer like any other.
    ///
    /// ```
    /// use pulse_plugin_sdk::http::Request;
    /// assert_eq!(Request::get("https://shop.example/").redirects(3).max_redirects, 3);
    /// ```
    #[must_use]
    pub fn redirects(mut self, max: u8) -> Self {
        self.max_redirects = max;
        self
    }

    /// Chooses the address family.
    ///
    /// ```
    /// use pulse_plugin_sdk::{http::Request, net::IpFamily};
    ///
    /// assert_eq!(Request::get("https://shop.example/").family(IpFamily::V6).family, IpFamily::V6);
    /// ```
    #[must_use]
    pub fn family(mut self, family: IpFamily) -> Self {
        self.family = family;
        self
    }

    /// Says how to speak TLS.
    ///
    /// ```
    /// use pulse_plugin_sdk::{http::Request, settings::tls_options};
    ///
    /// let request = Request::get("https://192.0.2.7/").tls(tls_options(None, None, Some("shop.example"), false));
    /// assert!(request.tls.is_some());
    /// ```
    #[must_use]
    pub fn tls(mut self, options: Option<TlsOptions>) -> Self {
        self.tls = options;
        self
    }

    /// Bounds the time for everything.
    ///
    /// ```
    /// use pulse_plugin_sdk::{http::Request, testing};
    ///
    /// let request = Request::get("https://shop.example/").timeout(testing::attempt().budget());
    /// assert_eq!(request.timeout_ms, Some(4_900));
    /// ```
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = Some(time::whole_ms(timeout));
        self
    }

    /// Bounds what is read of the body.
    ///
    /// ```
    /// use pulse_plugin_sdk::http::Request;
    /// assert_eq!(Request::get("https://shop.example/").max_body(4_096).max_body_bytes, Some(4_096));
    /// ```
    #[must_use]
    pub fn max_body(mut self, bytes: u32) -> Self {
        self.max_body_bytes = Some(bytes);
        self
    }

    /// Sends the request on a new connection and reads the answer.
    ///
    /// ```
    /// use pulse_plugin_sdk::{http::Request, testing::{self, Host}};
    ///
    /// let host = Host::new().http(|_| Ok(testing::response(503, "")));
    /// let (answer, _) = host.run(|| Request::get("https://shop.example/").send());
    /// assert_eq!(answer.unwrap().status, 503);
    /// ```
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
    ///
    /// ```
    /// use pulse_plugin_sdk::{http::Header, testing};
    ///
    /// let mut response = testing::response(200, "");
    /// response.headers.push(Header { name: "Server".into(), value: "shop/2".into() });
    /// assert_eq!(response.header("server"), Some("shop/2"));
    /// ```
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The body as text; bytes that are not UTF-8 become U+FFFD.
    ///
    /// ```
    /// assert_eq!(pulse_plugin_sdk::testing::response(200, "ok").text(), "ok");
    /// ```
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The receiver's wish how long to wait: `Retry-After` in both of its forms (RFC 9110, section 10.2.3). A date is
    /// held against the answer's own `Date`, so that the receiver's clock need not agree with ours, and against
    /// `now_ms` (milliseconds since the Unix epoch, such as `job.attempt.scheduled_at`) where it has none.
    ///
    /// ```
    /// use pulse_plugin_sdk::{http::Header, testing};
    ///
    /// let mut response = testing::response(429, "");
    /// response.headers.push(Header { name: "Retry-After".into(), value: "30".into() });
    /// assert_eq!(response.retry_after(0).unwrap().as_secs(), 30);
    /// ```
    #[must_use]
    pub fn retry_after(&self, now_ms: u64) -> Option<Duration> {
        let wish = self.header("retry-after")?.trim();
        if !wish.is_empty() && wish.bytes().all(|byte| byte.is_ascii_digit()) {
            // More digits than a number holds are a long time too.
            return Some(Duration::from_secs(wish.parse().unwrap_or(u64::MAX)));
        }
        let now = self
            .header("date")
            .and_then(time::http_date)
            .unwrap_or(now_ms / 1_000);
        Some(Duration::from_secs(time::http_date(wish)?.saturating_sub(now)))
    }

    /// `HTTP 500: first line of the answer`, for a summary. A redirect says where to.
    ///
    /// ```
    /// assert_eq!(pulse_plugin_sdk::testing::response(500, "no memory\n").words(), "HTTP 500: no memory");
    /// ```
    #[must_use]
    pub fn words(&self) -> String {
        let place = self
            .header("location")
            .filter(|_| self.status / 100 == 3)
            .map(|place| format!(" to {}", text::excerpt(place, 200)))
            .unwrap_or_default();
        let body = self.text();
        match text::first_line(&body) {
            "" => format!("HTTP {}{place}", self.status),
            line => format!("HTTP {}{place}: {}", self.status, text::excerpt(line, 200)),
        }
    }
}

fn find<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn answer(headers: &[(&str, &str)]) -> Response {
        let mut response = testing::response(429, "");
        for (name, value) in headers {
            response.headers.push(Header {
                name: (*name).into(),
                value: (*value).into(),
            });
        }
        response
    }

    #[test]
    fn the_receiver_s_wish_in_both_forms() {
        let after = |headers: &[(&str, &str)]| {
            let wish = answer(headers).retry_after(1_795_502_400_000);
            wish.map(|wish| wish.as_secs())
        };
        assert_eq!(after(&[]), None);
        assert_eq!(after(&[("retry-after", "120")]), Some(120));
        assert_eq!(after(&[("retry-after", "soon")]), None);
        assert_eq!(
            after(&[("retry-after", "99999999999999999999999")]),
            Some(u64::MAX)
        );
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(
            after(&[date, ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")]),
            Some(30)
        );
        assert_eq!(
            after(&[date, ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]),
            Some(0)
        );
        // Without a date of its own: against the time that was given, 06:40:00.
        assert_eq!(
            after(&[("retry-after", "Tue, 24 Nov 2026 06:41:00 GMT")]),
            Some(60)
        );
    }

    #[test]
    fn an_answer_in_words() {
        assert_eq!(testing::response(204, " \n").words(), "HTTP 204");
        assert_eq!(testing::response(500, "\n n\u{7}o \nx").words(), "HTTP 500: n o");
        let mut moved = answer(&[("location", "/new")]);
        moved.status = 302;
        assert_eq!(moved.words(), "HTTP 302 to /new");
    }
}
