//! What an operator may set.

use pulse_plugin_sdk::{
    Fault, net,
    settings::{Address, ClientCertificate, IpFamily, Size, Span, tls_options},
    tcp,
};
use schemars::JsonSchema;
use serde::Deserialize;

const USUAL_CERTIFICATE_DAYS: u32 = 14;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Where to connect: `host:port`; an IPv6 address stands in brackets.
    pub address: Address,

    /// Text to send once the connection stands. Write `\r\n` where the protocol wants it.
    send: Option<String>,
    /// What the first line that comes must begin with, such as `220` of a mail server.
    pub expect_line: Option<String>,
    /// Text that must come, after the first line where `expect-line` is set.
    pub expect: Option<String>,

    /// Speak TLS from the start.
    #[serde(default)]
    tls: bool,
    /// Certificates in PEM to trust in place of the host's roots. Needs `tls`.
    ca: Option<String>,
    /// Certificate and key for mutual TLS, both in PEM. Needs `tls`.
    client_certificate: Option<ClientCertificate>,
    /// Name to send and to verify in place of the address's host. Needs `tls`.
    server_name: Option<String>,
    /// Accept ANY certificate: anybody on the way can then answer in the target's place. Every report says so.
    /// Needs `tls`.
    #[serde(default)]
    pub insecure: bool,

    /// Address family.
    #[serde(default)]
    ip_family: IpFamily,
    /// A dialogue that takes longer, connecting included, is degraded.
    pub max_latency: Option<Span>,
    /// A certificate that ends within that many days is degraded; 0 switches this off. Default: 14, or 0 where
    /// `insecure` is set.
    certificate_days: Option<u32>,
    /// How much to read at most while waiting for what is expected.
    #[serde(default = "usual_read")]
    max_read: Size,
}

fn usual_read() -> Size {
    Size::from_bytes(64 * 1024)
}

impl Settings {
    /// Days that a certificate must have left; 0 for none.
    pub fn certificate_days(&self) -> u32 {
        let usual = if self.insecure { 0 } else { USUAL_CERTIFICATE_DAYS };
        self.certificate_days.unwrap_or(usual)
    }

    /// The dialogue, but for its timeout.
    ///
    /// # Errors
    /// Settings that contradict each other.
    pub fn dialogue(&self) -> Result<tcp::Request, Fault> {
        let options = tls_options(
            self.ca.as_deref(),
            self.client_certificate.as_ref(),
            self.server_name.as_deref(),
            self.insecure,
        );
        if options.is_some() && !self.tls {
            let text = "`ca`, `client-certificate`, `server-name` and `insecure` need `tls = true`";
            return Err(Fault::InvalidSettings(text.into()));
        }
        let verified = net::TlsOptions {
            ca: None,
            client_certificate: None,
            server_name: None,
            insecure: false,
        };
        let mut request = tcp::Request::to(&self.address.host, self.address.port)
            .family(self.ip_family.into())
            .tls(self.tls.then(|| options.unwrap_or(verified)))
            .max_bytes(self.max_read.bytes());
        if let Some(text) = &self.send {
            request = request.then_send(text.as_bytes());
        }
        if self.expect_line.is_some() {
            request = request.then_read_line();
        }
        if let Some(text) = &self.expect {
            request = request.then_expect(text.as_bytes());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{
        settings::parse,
        tcp::{Expectation, Step},
    };
    use serde_json::{Value, json};

    fn settings(value: &Value) -> Settings {
        parse(&value.to_string()).unwrap()
    }

    #[test]
    fn an_address_is_all_that_is_needed() {
        let request = settings(&json!({"address": "[::1]:6379"})).dialogue().unwrap();
        assert_eq!((request.host.as_str(), request.port), ("::1", 6379));
        assert_eq!(request.steps, []);
        assert_eq!(request.tls, None);
        assert_eq!(request.max_bytes, Some(65_536));
    }

    #[test]
    fn a_dialogue_sends_then_reads_a_line_then_waits() {
        let request = settings(&json!({
            "address": "mail:25", "send": "EHLO me\r\n", "expect-line": "250", "expect": "STARTTLS",
        }))
        .dialogue()
        .unwrap();
        assert_eq!(
            request.steps,
            [
                Step::Send(b"EHLO me\r\n".to_vec()),
                Step::Expect(Expectation::Line),
                Step::Expect(Expectation::Contains(b"STARTTLS".to_vec())),
            ]
        );
    }

    #[test]
    fn tls_is_verified_unless_said_otherwise() {
        let tls = |value| settings(&value).dialogue().unwrap().tls.unwrap();
        assert!(!tls(json!({"address": "a:1", "tls": true})).insecure);
        assert!(tls(json!({"address": "a:1", "tls": true, "insecure": true})).insecure);
        let named = tls(json!({"address": "a:1", "tls": true, "server-name": "b"}));
        assert_eq!(named.server_name.as_deref(), Some("b"));
    }

    #[test]
    fn options_of_tls_need_tls() {
        let result = settings(&json!({"address": "a:1", "insecure": true})).dialogue();
        assert!(matches!(result, Err(Fault::InvalidSettings(text)) if text.contains("`tls = true`")));
    }
}
