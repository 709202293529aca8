//! A request that was checked: what is sent, and what becomes of it on a redirect.

use super::{HEAD_BYTES_MAX, HEADERS_MAX, REQUEST_BODY_BYTES_MAX, Request};
use crate::capability::{
    error::{ErrorCode, Failure, Phase},
    net::{IpFamily, TlsOptions},
    target::WebTarget,
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri,
    header::{
        ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
        CONTENT_LOCATION, CONTENT_TYPE, COOKIE, EXPECT, HOST, PROXY_AUTHORIZATION, TE, TRAILER,
        TRANSFER_ENCODING, UPGRADE, USER_AGENT,
    },
};
use http_body_util::Full;

/// Longest method.
const METHOD_BYTES_MAX: usize = 32;

/// What says how the connection is used or where the message ends is the host's: two opinions about it are how
/// requests are smuggled.
const HOSTS_OWN: [HeaderName; 8] = [
    HOST,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    CONNECTION,
    UPGRADE,
    TE,
    TRAILER,
    EXPECT,
];
/// The same, for names that the `http` crate has no constant for.
const HOSTS_OWN_TOO: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];

/// A request, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) target: WebTarget,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) family: IpFamily,
    pub(super) tls: TlsOptions,
}

impl Outgoing {
    /// Checks what a guest asks for.
    pub(super) fn check(request: Request) -> Result<Self, Failure> {
        let target = WebTarget::parse(&request.url).map_err(Failure::invalid)?;
        let method = method(&request.method)?;
        let body = Bytes::from(request.body.unwrap_or_default());
        if body.len() > REQUEST_BODY_BYTES_MAX {
            return Err(Failure::invalid(format!(
                "the body is longer than {REQUEST_BODY_BYTES_MAX} bytes"
            )));
        }
        if request.headers.len() > HEADERS_MAX {
            return Err(Failure::invalid(format!("more than {HEADERS_MAX} header fields")));
        }
        let mut headers = HeaderMap::with_capacity(request.headers.len() + 3);
        let mut bytes = 0;
        for header in &request.headers {
            bytes += header.name.len() + header.value.len() + 4;
            if bytes > HEAD_BYTES_MAX {
                return Err(Failure::invalid(format!(
                    "the header fields are longer than {HEAD_BYTES_MAX} bytes"
                )));
            }
            let (name, value) = field(&header.name, &header.value)?;
            headers.append(name, value);
        }
        Ok(Self {
            method,
            target,
            headers: with_defaults(headers),
            body,
            family: request.family,
            tls: request.tls.unwrap_or_default(),
        })
    }

    /// A request without a body of its own, whose fields were checked one by one.
    pub(super) fn of(text: &str, url: &str, fields: HeaderMap) -> Result<Self, Failure> {
        Ok(Self {
            method: method(text)?,
            target: WebTarget::parse(url).map_err(Failure::invalid)?,
            headers: with_defaults(fields),
            body: Bytes::new(),
            family: IpFamily::Any,
            tls: TlsOptions::default(),
        })
    }

    /// The request in the form that HTTP/1 sends.
    pub(super) fn http1(&self) -> Result<http::Request<Full<Bytes>>, Failure> {
        let url = &self.target.url;
        let origin_form = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let mut request = self.build(origin_form)?;
        let authority = HeaderValue::try_from(self.target.authority())
            .map_err(|_| Failure::invalid("the URL's host can't be sent"))?;
        request.headers_mut().insert(HOST, authority);
        // Each call has a connection of its own: the server need not keep it.
        request
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(request)
    }

    /// The request in the form that HTTP/2 sends.
    pub(super) fn http2(&self) -> Result<http::Request<Full<Bytes>>, Failure> {
        let mut request = self.build(self.target.url.as_str().to_owned())?;
        *request.version_mut() = http::Version::HTTP_2;
        Ok(request)
    }

    fn build(&self, uri: String) -> Result<http::Request<Full<Bytes>>, Failure> {
        let uri = Uri::try_from(uri).map_err(|error| Failure::invalid(format!("the URL: {error}")))?;
        let mut request = http::Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        Ok(request)
    }

    /// The request that a redirect asks for (RFC 9110 §15.4).
    pub(super) fn redirected(mut self, status: u16, location: &str) -> Result<Self, Failure> {
        let target = self.located(location).map_err(|error| {
            Failure::new(
                ErrorCode::Protocol,
                Phase::Processing,
                format!("redirected to a place that can't be followed: {error}"),
            )
        })?;
        let to_get = match status {
            301 | 302 => self.method == Method::POST,
            303 => self.method != Method::HEAD,
            _ => false,
        };
        if to_get {
            self.method = Method::GET;
            self.body = Bytes::new();
            for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION] {
                self.headers.remove(name);
            }
        }
        if !target.same_origin(&self.target) {
            for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
                self.headers.remove(name);
            }
            self.tls.client_certificate = None;
            self.tls.server_name = None;
        }
        self.target = target;
        Ok(self)
    }

    /// What a `location` means here. It is read as strictly as a guest's URL.
    fn located(&self, location: &str) -> Result<WebTarget, String> {
        if location
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || c == '\\')
        {
            return Err("its location holds a space, a backslash or a control character".into());
        }
        if location.starts_with("//") {
            return WebTarget::parse(&format!("{}:{location}", self.target.scheme()));
        }
        if url::Url::parse(location).is_ok() {
            return WebTarget::parse(location);
        }
        let joined = self
            .target
            .url
            .join(location)
            .map_err(|error| error.to_string())?;
        WebTarget::parse(joined.as_str())
    }
}

fn with_defaults(mut fields: HeaderMap) -> HeaderMap {
    fields
        .entry(USER_AGENT)
        .or_insert(HeaderValue::from_static(concat!(
            "pulse-host/",
            env!("CARGO_PKG_VERSION")
        )));
    fields.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    fields
}

/// Whether a field is the host's: a guest neither sets it nor is shown it. The length of a body is a different matter.
pub(super) fn is_hosts_own(name: &HeaderName) -> bool {
    HOSTS_OWN.contains(name) || HOSTS_OWN_TOO.contains(&name.as_str())
}

pub(super) fn method(text: &str) -> Result<Method, Failure> {
    let upper = text.len() <= METHOD_BYTES_MAX && !text.bytes().any(|byte| byte.is_ascii_lowercase());
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT) => Err(Failure::invalid("CONNECT opens a tunnel and is not lent")),
        Ok(method) if upper => Ok(method),
        _ => Err(Failure::invalid(format!("`{text}` is no method"))),
    }
}

fn field(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Failure::invalid(format!("`{name}` is no name of a header field")))?;
    if is_hosts_own(&name) {
        return Err(Failure::invalid(format!(
            "the header field `{name}` is the host's"
        )));
    }
    // The message must not show the value: it may be a secret.
    let value = HeaderValue::from_bytes(value.trim_matches([' ', '\t']).as_bytes())
        .map_err(|_| Failure::invalid(format!("the value of `{name}` holds a control character")))?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::{super::Header, *};
    use crate::capability::net::ClientCertificate;
    use proptest::prelude::*;

    fn request(url: &str, headers: &[(&str, &str)]) -> Request {
        Request {
            method: "POST".into(),
            url: url.into(),
            headers: headers
                .iter()
                .map(|(name, value)| Header {
                    name: (*name).into(),
                    value: (*value).into(),
                })
                .collect(),
            body: Some(b"x".to_vec()),
            max_redirects: 5,
            family: IpFamily::Any,
            tls: None,
            timeout_ms: None,
            max_body_bytes: None,
        }
    }

    fn refused(request: Request) -> String {
        let failure = Outgoing::check(request).unwrap_err();
        assert_eq!(
            (failure.code, failure.phase, failure.taint),
            (ErrorCode::InvalidRequest, Phase::Prepare, None)
        );
        failure.message
    }

    #[test]
    fn malformed_requests_are_refused() {
        for name in [
            "Host",
            "Content-Length",
            "transfer-encoding",
            "Connection",
            "upgrade",
            "TE",
            "trailer",
            "Keep-Alive",
            "expect",
            "http2-settings",
        ] {
            assert!(refused(request("http://a.example", &[(name, "x")])).contains("is the host's"));
        }
        for (name, value) in [("a b", "x"), ("", "x"), ("a:", "x"), ("a\r\nb", "x"), ("ü", "x")] {
            refused(request("http://a.example", &[(name, value)]));
        }
        for value in ["a\r\nb: c", "a\nb", "a\0b", "a\u{7f}"] {
            let message = refused(request("http://a.example", &[("x", value)]));
            assert!(!message.contains('b'.to_string().repeat(2).as_str()));
        }
        for method in ["", "get", "GET ", "G\r\nT", "CONNECT", &"A".repeat(33)] {
            let request = Request {
                method: method.into(),
                ..request("http://a.example", &[])
            };
            refused(request);
        }
        let many: Vec<_> = (0..=HEADERS_MAX).map(|_| ("x", "y")).collect();
        refused(request("http://a.example", &many));
        let long = "y".repeat(HEAD_BYTES_MAX);
        refused(request("http://a.example", &[("x", &long)]));
        refused(Request {
            body: Some(vec![0; REQUEST_BODY_BYTES_MAX + 1]),
            ..request("http://a.example", &[])
        });
    }

    #[test]
    fn what_is_sent() {
        let outgoing = Outgoing::check(request(
            "http://a.example:81/p?q=1#f",
            &[("X", " 1 "), ("x", "é")],
        ))
        .unwrap();
        let request = outgoing.http1().unwrap();
        assert_eq!(request.uri(), "/p?q=1");
        assert_eq!(request.headers()[HOST], "a.example:81");
        assert_eq!(request.headers()[ACCEPT], "*/*");
        assert!(
            request.headers()[USER_AGENT]
                .to_str()
                .unwrap()
                .starts_with("pulse-host/")
        );
        let values: Vec<_> = request
            .headers()
            .get_all("x")
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        assert_eq!(values, [b"1", "é".as_bytes()]);
        assert_eq!(outgoing.http2().unwrap().uri(), "http://a.example:81/p?q=1");
        let outgoing = Outgoing::check(self::request(
            "http://a.example",
            &[("user-agent", "u"), ("accept", "a")],
        ))
        .unwrap();
        assert_eq!(outgoing.headers[USER_AGENT], "u");
        assert_eq!(outgoing.headers[ACCEPT], "a");
    }

    fn with_secrets() -> Outgoing {
        let mut asked = request(
            "https://a.example/x/y",
            &[
                ("Authorization", "s"),
                ("Cookie", "s"),
                ("Content-Type", "t"),
                ("X-Other", "o"),
            ],
        );
        asked.tls = Some(TlsOptions {
            client_certificate: Some(ClientCertificate {
                chain: String::new(),
                key: String::new(),
            }),
            server_name: Some("inner".into()),
            ..TlsOptions::default()
        });
        Outgoing::check(asked).unwrap()
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        for (location, keeps) in [
            ("/z", true),
            ("z?q", true),
            ("?q", true),
            ("https://a.example:443/z", true),
            ("//a.example/z", true),
            ("https://a.example:444/", false),
            ("http://a.example/", false),
            ("https://b.example/", false),
            ("//b.example/z", false),
        ] {
            let next = with_secrets().redirected(307, location).unwrap();
            assert_eq!(next.headers.contains_key(AUTHORIZATION), keeps, "{location}");
            assert_eq!(next.headers.contains_key(COOKIE), keeps, "{location}");
            assert_eq!(next.tls.client_certificate.is_some(), keeps, "{location}");
            assert_eq!(next.tls.server_name.is_some(), keeps, "{location}");
            assert!(next.headers.contains_key("x-other"), "{location}");
        }
        // What was dropped on the way out does not come back on the way home.
        let back = with_secrets()
            .redirected(307, "https://b.example/")
            .unwrap()
            .redirected(307, "https://a.example/")
            .unwrap();
        assert!(!back.headers.contains_key(AUTHORIZATION) && back.tls.client_certificate.is_none());
    }

    #[test]
    fn methods_change_as_the_status_says() {
        for (method, status, expected) in [
            ("POST", 301, "GET"),
            ("POST", 302, "GET"),
            ("POST", 303, "GET"),
            ("PUT", 302, "PUT"),
            ("PUT", 303, "GET"),
            ("HEAD", 303, "HEAD"),
            ("POST", 307, "POST"),
            ("POST", 308, "POST"),
        ] {
            let mut outgoing = with_secrets();
            outgoing.method = method.parse().unwrap();
            let next = outgoing.redirected(status, "/").unwrap();
            assert_eq!(next.method, expected, "{method} {status}");
            let sends_body = next.method == Method::POST || next.method == Method::PUT;
            assert_eq!(
                next.body.is_empty(),
                !sends_body && method != "HEAD",
                "{method} {status}"
            );
            assert_eq!(next.headers.contains_key(CONTENT_TYPE), !next.body.is_empty());
        }
    }

    #[test]
    fn evasive_locations_are_not_followed() {
        for location in [
            "http://2130706433/",
            "http:127.0.0.1/",
            "//0x7f.1/",
            "/\\127.0.0.1/",
            "\t//127.0.0.1/",
            "https://a.example@127.0.0.1/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "http://",
        ] {
            let failure = with_secrets().redirected(302, location).unwrap_err();
            assert_eq!(failure.code, ErrorCode::Protocol, "{location}");
        }
    }

    proptest! {
        /// No header that is taken can end its line early or begin a new one.
        #[test]
        fn headers_can_not_break_out(name in any::<String>(), value in any::<String>()) {
            if let Ok((name, value)) = field(&name, &value) {
                prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_graphic() && b != b':'));
                prop_assert!(!value.as_bytes().iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
            }
        }
    }
}
