//! What an operator may set.

use crate::{body::Checks, status::StatusPattern};
use pulse_plugin_sdk::{
    Fault, http, net,
    settings::{ClientCertificate, IpFamily, Size, Span, tls_options},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What other monitors follow, and half of what browsers do.
const USUAL_REDIRECTS: u8 = 10;
/// Time enough to renew a certificate by hand.
const USUAL_CERTIFICATE_DAYS: u32 = 14;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// What to fetch: an absolute `http:` or `https:` URL without user information.
    #[schemars(regex(pattern = r"^https?://."))]
    url: String,

    /// Request method.
    #[serde(default = "get")]
    #[schemars(regex(pattern = r"^[A-Z]+$"))]
    method: String,
    /// Header fields to send.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Body to send.
    body: Option<String>,
    /// User name and password for basic authentication.
    basic: Option<Basic>,
    /// Token for bearer authentication.
    #[schemars(extend("writeOnly" = true))]
    bearer: Option<String>,

    /// How many redirects to follow; each is checked against the grants again. Default: 10, or 0 where
    /// `expect-status` names a redirect.
    follow_redirects: Option<u8>,
    /// Address family.
    #[serde(default)]
    ip_family: IpFamily,
    /// Certificates in PEM to trust in place of the host's roots.
    ca: Option<String>,
    /// Certificate and key for mutual TLS, both in PEM.
    client_certificate: Option<ClientCertificate>,
    /// Name to send and to verify in place of the URL's host.
    server_name: Option<String>,
    /// Accept ANY certificate: anybody on the way can then answer in the target's place. Every report says so.
    #[serde(default)]
    pub insecure: bool,

    /// Status codes (`"301"`) and classes (`"2xx"`) that are fine.
    #[serde(default = "success")]
    #[schemars(length(min = 1))]
    pub expect_status: Vec<StatusPattern>,
    /// Text that must stand in the body.
    body_contains: Option<String>,
    /// Regular expression that must match somewhere in the body.
    #[schemars(length(max = 1024))]
    body_regex: Option<String>,
    /// Values that must stand in a JSON body.
    #[serde(default)]
    json: Vec<JsonCheck>,
    /// An answer that takes longer is degraded. Counts the last hop only where redirects were followed.
    pub max_latency: Option<Span>,
    /// A certificate that ends within that many days is degraded; 0 switches this off. Default: 14, or 0 where
    /// `insecure` is set.
    certificate_days: Option<u32>,
    /// How much of the body to read. Looking through more of it takes more fuel.
    #[serde(default = "usual_body")]
    pub max_body: Size,
}

/// User name and password.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Basic {
    /// User name, without a colon.
    #[schemars(regex(pattern = r"^[^:]*$"))]
    username: String,
    /// Password.
    #[schemars(extend("writeOnly" = true))]
    password: String,
}

/// A value that must stand in a JSON body.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct JsonCheck {
    /// Where: a JSON pointer (RFC 6901) such as `/status` or `/nodes/0/up`; the empty one is the whole body.
    #[schemars(regex(pattern = r"^(/.*)?$"))]
    pub pointer: String,
    /// What must stand there. Numbers are compared by their value.
    pub equals: Value,
}

fn get() -> String {
    "GET".into()
}

fn success() -> Vec<StatusPattern> {
    vec![StatusPattern::Class(2)]
}

/// JSON is the dearest thing to look through, at 200 units of fuel for each byte: that much of it takes half of what
/// a plugin has by default.
fn usual_body() -> Size {
    Size::from_bytes(128 * 1024)
}

impl Settings {
    /// Days that a certificate must have left; 0 for none.
    pub fn certificate_days(&self) -> u32 {
        let usual = if self.insecure { 0 } else { USUAL_CERTIFICATE_DAYS };
        self.certificate_days.unwrap_or(usual)
    }

    fn redirects(&self) -> u8 {
        let wanted = self.expect_status.iter().any(|pattern| pattern.names_redirect());
        self.follow_redirects
            .unwrap_or(if wanted { 0 } else { USUAL_REDIRECTS })
    }

    /// What the body must satisfy.
    ///
    /// # Errors
    /// The regular expression is none.
    pub fn checks(&self) -> Result<Checks, Fault> {
        Checks::new(
            self.body_contains.clone(),
            self.body_regex.as_deref(),
            self.json.clone(),
        )
    }

    /// The request, but for its timeout.
    ///
    /// # Errors
    /// Settings that contradict each other.
    pub fn request(&self) -> Result<http::Request, Fault> {
        let authorization = self
            .headers
            .keys()
            .any(|name| name.eq_ignore_ascii_case("authorization"));
        if u8::from(self.basic.is_some()) + u8::from(self.bearer.is_some()) + u8::from(authorization) > 1 {
            let text = "set only one of `basic`, `bearer` and an `authorization` header";
            return Err(Fault::InvalidSettings(text.into()));
        }
        let tls: Option<net::TlsOptions> = tls_options(
            self.ca.as_deref(),
            self.client_certificate.as_ref(),
            self.server_name.as_deref(),
            self.insecure,
        );
        let mut request = http::Request::new(&self.method, &self.url)
            .family(self.ip_family.into())
            .redirects(self.redirects())
            .max_body(self.max_body.bytes())
            .tls(tls);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(basic) = &self.basic {
            request = request.basic_auth(&basic.username, &basic.password);
        }
        if let Some(token) = &self.bearer {
            request = request.bearer_auth(token);
        }
        if let Some(body) = &self.body {
            request = request.body(body.as_bytes());
        }
        // Some servers refuse a request that does not say who asks.
        Ok(request
            .default_header("user-agent", "pulse-host")
            .default_header("accept", "*/*"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::settings::parse;
    use serde_json::json;

    fn settings(value: Value) -> Settings {
        parse(&value.to_string()).unwrap()
    }

    fn request(value: Value) -> http::Request {
        settings(value).request().unwrap()
    }

    fn header<'a>(request: &'a http::Request, name: &str) -> Vec<&'a str> {
        request
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value.as_str())
            .collect()
    }

    #[test]
    fn a_url_is_all_that_is_needed() {
        let request = request(json!({"url": "https://shop.example/health"}));
        assert_eq!(request.method, "GET");
        assert_eq!(request.url, "https://shop.example/health");
        assert_eq!(request.max_redirects, 10);
        assert_eq!(request.tls, None);
        assert_eq!(request.body, None);
        assert_eq!(request.max_body_bytes, Some(131_072));
        assert_eq!(header(&request, "user-agent"), ["pulse-host"]);
    }

    #[test]
    fn who_expects_a_redirect_gets_it() {
        let redirects = |extra: Value| {
            let mut value = json!({"url": "http://a"});
            value
                .as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            request(value).max_redirects
        };
        assert_eq!(redirects(json!({"expect-status": ["2xx", 301]})), 0);
        assert_eq!(redirects(json!({"expect-status": ["3xx"]})), 0);
        assert_eq!(
            redirects(json!({"expect-status": ["3xx"], "follow-redirects": 2})),
            2
        );
        assert_eq!(
            redirects(json!({"expect-status": [200], "follow-redirects": 0})),
            0
        );
    }

    #[test]
    fn everything_reaches_the_request() {
        let request = request(json!({
            "url": "https://a", "method": "PUT", "headers": {"User-Agent": "x", "X-A": "1"}, "body": "{}",
            "bearer": "t0k3n", "ip-family": "v6", "ca": "CA", "server-name": "b", "max-body": "1kB",
            "client-certificate": {"chain": "C", "key": "K"}, "insecure": true,
        }));
        assert_eq!(request.method, "PUT");
        assert_eq!(header(&request, "user-agent"), ["x"]);
        assert_eq!(header(&request, "x-a"), ["1"]);
        assert_eq!(header(&request, "authorization"), ["Bearer t0k3n"]);
        assert_eq!(request.body.as_deref(), Some(&b"{}"[..]));
        assert_eq!(request.family, net::IpFamily::V6);
        assert_eq!(request.max_body_bytes, Some(1_000));
        let tls = request.tls.unwrap();
        assert_eq!(tls.ca.as_deref(), Some("CA"));
        assert_eq!(tls.server_name.as_deref(), Some("b"));
        assert!(tls.insecure);
        assert_eq!(tls.client_certificate.unwrap().key, "K");
    }

    #[test]
    fn the_example_of_rfc_7617() {
        let request = request(json!({
            "url": "http://a", "basic": {"username": "Aladdin", "password": "open sesame"},
        }));
        assert_eq!(
            header(&request, "authorization"),
            ["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]
        );
    }

    #[test]
    fn two_ways_to_authenticate_are_one_too_many() {
        let both = settings(json!({
            "url": "http://a", "bearer": "t", "headers": {"Authorization": "Digest x"},
        }));
        assert!(matches!(both.request(), Err(Fault::InvalidSettings(text)) if text.contains("only one of")));
    }

    #[test]
    fn an_insecure_certificate_is_not_judged_unless_wanted() {
        let days = |value| settings(value).certificate_days();
        assert_eq!(days(json!({"url": "https://a"})), 14);
        assert_eq!(days(json!({"url": "https://a", "insecure": true})), 0);
        assert_eq!(
            days(json!({"url": "https://a", "insecure": true, "certificate-days": 7})),
            7
        );
    }
}
