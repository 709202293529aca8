//! What an operator may set. Both kinds share it: which keys matter to which kind, the descriptions say.

use crate::template::{Escape, Template};
use pulse_plugin_sdk::{
    http,
    settings::{ClientCertificate, IpFamily, tls_options},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Where to send the request. `{{placeholders}}` may stand in its path and query.
    #[schemars(regex(pattern = r"^https?://."))]
    url: String,
    /// Request method.
    #[serde(default = "post")]
    #[schemars(regex(pattern = r"^[A-Z]+$"))]
    method: String,
    /// Header fields to send; values may hold `{{placeholders}}`.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Body to send, with `{{placeholders}}`, escaped as the content type wants it. Default: none for an
    /// intervention, Alertmanager's webhook payload for an alert.
    body: Option<String>,
    /// User name and password for basic authentication.
    basic: Option<Basic>,
    /// Token for bearer authentication.
    #[schemars(extend("writeOnly" = true))]
    bearer: Option<String>,

    /// How many redirects to follow; each is checked against the grants again. None by default: most receivers
    /// that redirect a POST are addressed wrongly.
    #[serde(default)]
    pub follow_redirects: u8,
    /// Address family.
    #[serde(default)]
    ip_family: IpFamily,
    /// Certificates in PEM to trust in place of the host's roots.
    ca: Option<String>,
    /// Certificate and key for mutual TLS, both in PEM.
    client_certificate: Option<ClientCertificate>,
    /// Name to send and to verify in place of the URL's host.
    server_name: Option<String>,
    /// Accept ANY certificate: anybody on the way can then take the request in the receiver's place.
    #[serde(default)]
    pub insecure: bool,

    /// Alerts only: the payload's `receiver`.
    #[serde(default = "receiver")]
    pub receiver: String,
    /// Alerts only: the payload's `externalURL` and `generatorURL`, such as the address of your dashboard.
    #[serde(default)]
    pub external_url: String,
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

fn post() -> String {
    "POST".into()
}

fn receiver() -> String {
    "pulse-host".into()
}

/// As much of an answer as a log line can use.
const MAX_ANSWER_BYTES: u32 = 4 * 1024;

impl Settings {
    /// The request. `value` knows the placeholders; `payload` is the body where the settings have none.
    ///
    /// # Errors
    /// Settings that make no request, in words.
    pub fn request(
        &self,
        timeout: Duration,
        value: &dyn Fn(&str) -> Option<String>,
        payload: Option<String>,
    ) -> Result<http::Request, String> {
        let authorization = self
            .headers
            .keys()
            .any(|name| name.eq_ignore_ascii_case("authorization"));
        if u8::from(self.basic.is_some()) + u8::from(self.bearer.is_some()) + u8::from(authorization) > 1 {
            return Err("set only one of `basic`, `bearer` and an `authorization` header".into());
        }
        let mut request = http::Request::new(&self.method, self.address(value)?)
            .family(self.ip_family.into())
            .redirects(self.follow_redirects)
            .timeout(timeout)
            .max_body(MAX_ANSWER_BYTES)
            .tls(tls_options(
                self.ca.as_deref(),
                self.client_certificate.as_ref(),
                self.server_name.as_deref(),
                self.insecure,
            ));
        for (name, text) in &self.headers {
            let text = Template::read(text)
                .and_then(|template| template.fill(Escape::Header, value))
                .map_err(|error| format!("/headers/{name}: {error}"))?;
            request = request.header(name, text);
        }
        if let Some(basic) = &self.basic {
            request = request.basic_auth(&basic.username, &basic.password);
        }
        if let Some(token) = &self.bearer {
            request = request.bearer_auth(token);
        }
        request = match (&self.body, payload) {
            (Some(text), _) => self.templated(request, text, value)?,
            (None, Some(json)) => request
                .default_header("content-type", "application/json")
                .body(json),
            (None, None) => request,
        };
        Ok(request.default_header("user-agent", "pulse-host"))
    }

    fn templated(
        &self,
        request: http::Request,
        text: &str,
        value: &dyn Fn(&str) -> Option<String>,
    ) -> Result<http::Request, String> {
        let begin = text.trim_start();
        // Two braces begin a placeholder, and no JSON begins so.
        let usual = if begin.starts_with(['{', '[']) && !begin.starts_with("{{") {
            "application/json"
        } else {
            "text/plain; charset=utf-8"
        };
        let request = request.default_header("content-type", usual);
        let content_type = request
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case("content-type"))
            .map_or(usual, |header| header.value.as_str());
        let escape = Escape::of_content_type(content_type);
        let body = Template::read(text)
            .and_then(|template| template.fill(escape, value))
            .map_err(|error| format!("/body: {error}"))?;
        Ok(request.body(body))
    }

    /// The URL with its placeholders filled in. What is filled in can change neither the host, which the grants
    /// are about, nor climb to another path: not every part of it is the operator's own text.
    fn address(&self, value: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
        let (scheme, rest) = self.url.split_once("://").ok_or("/url: not absolute")?;
        let path_at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(path_at).unwrap_or((rest, ""));
        if authority.contains("{{") {
            return Err("/url: a placeholder can stand in the path and the query only".into());
        }
        let filled = Template::read(path)
            .and_then(|template| template.fill(Escape::Url, value))
            .map_err(|error| format!("/url: {error}"))?;
        let until_query = filled.split(['?', '#']).next().unwrap_or_default();
        if path.contains("{{") && until_query.split('/').any(|part| part == "." || part == "..") {
            return Err("/url: a segment of the path became `.` or `..`".into());
        }
        Ok(format!("{scheme}://{authority}{filled}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::settings::parse;
    use serde_json::{Value, json};

    fn value(name: &str) -> Option<String> {
        match name {
            "monitor" => Some("a/b \"c\"\n&".into()),
            "dots" => Some("..".into()),
            _ => None,
        }
    }

    fn request(settings: &Value, payload: Option<&str>) -> Result<http::Request, String> {
        let settings: Settings = parse(&settings.to_string()).unwrap();
        settings.request(Duration::from_secs(2), &value, payload.map(str::to_owned))
    }

    fn header<'a>(request: &'a http::Request, name: &str) -> Option<&'a str> {
        let mut found = request
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name));
        let first = found.next().map(|header| header.value.as_str());
        assert!(found.next().is_none(), "{name} stands there twice");
        first
    }

    fn body(request: &http::Request) -> &str {
        std::str::from_utf8(request.body.as_deref().unwrap()).unwrap()
    }

    #[test]
    fn a_plain_request() {
        let request = request(&json!({"url": "https://a.example"}), None).unwrap();
        assert_eq!(
            (request.method.as_str(), request.url.as_str()),
            ("POST", "https://a.example")
        );
        assert_eq!((request.body.as_ref(), request.max_redirects), (None, 0));
        assert_eq!(request.timeout_ms, Some(2_000));
        assert_eq!(header(&request, "user-agent"), Some("pulse-host"));
        assert_eq!(header(&request, "content-type"), None);
    }

    #[test]
    fn placeholders_are_escaped_as_their_place_wants() {
        let request = request(
            &json!({
                "url": "http://a/restart/{{monitor}}?m={{ monitor }}",
                "headers": {"X-Monitor": "m={{monitor}}"},
                "body": r#"{"monitor": "{{monitor}}"}"#,
            }),
            None,
        )
        .unwrap();
        assert_eq!(
            request.url,
            "http://a/restart/a%2Fb%20%22c%22%0A%26?m=a%2Fb%20%22c%22%0A%26"
        );
        assert_eq!(header(&request, "x-monitor"), Some("m=a/b%20\"c\"%0A&"));
        assert_eq!(body(&request), r#"{"monitor": "a/b \"c\"\n&"}"#);
        assert_eq!(header(&request, "content-type"), Some("application/json"));
    }

    #[test]
    fn the_content_type_decides_how_a_body_is_escaped() {
        let typed = |kind: &str, text: &str| {
            let settings = json!({"url": "http://a", "headers": {"Content-Type": kind}, "body": text});
            body(&request(&settings, None).unwrap()).to_owned()
        };
        assert_eq!(
            typed("application/x-www-form-urlencoded", "m={{monitor}}"),
            "m=a%2Fb%20%22c%22%0A%26"
        );
        assert_eq!(
            typed("application/vnd.x+json; charset=utf-8", "\"{{monitor}}\""),
            "\"a/b \\\"c\\\"\\n&\""
        );
        assert_eq!(typed("text/plain", "{{monitor}}"), "a/b \"c\"\n&");
    }

    #[test]
    fn a_body_without_a_content_type_has_that_of_its_first_character() {
        for (text, kind) in [
            (r#" {"m": "{{monitor}}"}"#, "application/json"),
            (r#"["{{monitor}}"]"#, "application/json"),
            ("m={{monitor}}", "text/plain; charset=utf-8"),
            ("{{monitor}} is down", "text/plain; charset=utf-8"),
            ("\n{{monitor}}", "text/plain; charset=utf-8"),
        ] {
            let request = request(&json!({"url": "http://a", "body": text}), None).unwrap();
            assert_eq!(header(&request, "content-type"), Some(kind), "{text}");
        }
    }

    #[test]
    fn the_payload_is_sent_where_the_settings_have_no_body() {
        let with = request(&json!({"url": "http://a"}), Some("{}")).unwrap();
        assert_eq!(
            (body(&with), header(&with, "content-type")),
            ("{}", Some("application/json"))
        );
        let own = request(&json!({"url": "http://a", "body": "mine"}), Some("{}")).unwrap();
        assert_eq!(
            (body(&own), header(&own, "content-type")),
            ("mine", Some("text/plain; charset=utf-8"))
        );
    }

    #[test]
    fn what_is_filled_in_never_changes_where_the_request_goes() {
        let error = |url: &str| request(&json!({"url": url}), None).unwrap_err();
        assert!(error("http://{{monitor}}.example/").contains("path and the query only"));
        assert!(error("http://a:{{monitor}}/").contains("path and the query only"));
        assert!(error("http://a/x/{{dots}}/y").contains("became `.` or `..`"));
        assert!(request(&json!({"url": "http://a/x?y={{dots}}/"}), None).is_ok());
    }

    #[test]
    fn a_placeholder_that_nobody_knows_is_an_error_with_its_place() {
        let error = |settings: &Value| request(settings, None).unwrap_err();
        assert!(error(&json!({"url": "http://a/{{x}}"})).starts_with("/url: there is no {{x}}"));
        assert!(error(&json!({"url": "http://a", "body": "{{x}}"})).starts_with("/body: "));
        let headers = json!({"url": "http://a", "headers": {"X-A": "{{x"}});
        assert!(error(&headers).starts_with("/headers/X-A: "));
    }

    #[test]
    fn two_ways_to_authenticate_are_one_too_many() {
        let both = json!({"url": "http://a", "bearer": "t", "basic": {"username": "u", "password": "p"}});
        assert!(request(&both, None).unwrap_err().contains("only one of"));
    }
}
