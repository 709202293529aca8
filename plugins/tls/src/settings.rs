//! What an operator may set.

use pulse_plugin_sdk::{
    settings::{Address, ClientCertificate, IpFamily, Span, tls_options},
    tls,
};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Where to connect: `host:port`; an IPv6 address stands in brackets.
    pub address: Address,

    /// What is said in the clear before the handshake, for servers that begin without TLS.
    starttls: Option<StartTls>,
    /// Certificates in PEM to trust in place of the host's roots.
    ca: Option<String>,
    /// Certificate and key for mutual TLS, both in PEM.
    client_certificate: Option<ClientCertificate>,
    /// Name to send and to verify in place of the address's host.
    server_name: Option<String>,
    /// Judge the chain: trust, name and dates. Without it only the time that is left, `sha256`, `alpn` and `version`
    /// are looked at, and every report says so.
    #[serde(default = "yes")]
    pub verify: bool,

    /// A certificate that ends within that many days is unhealthy; 0 switches this off.
    #[serde(default = "usual_days")]
    pub days: u32,
    /// A certificate that ends within that many days is degraded; 0 switches this off.
    #[serde(default = "usual_warning_days")]
    pub warning_days: u32,
    /// SHA-256 that the peer's own certificate must have, in hexadecimal; colons may stand in it.
    #[schemars(regex(pattern = r"^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$"))]
    sha256: Option<String>,
    /// Application protocols to offer, most wanted first; the server must choose one of them.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub alpn: Vec<String>,
    /// Least version of TLS.
    pub version: Option<Version>,
    /// A handshake that takes longer, without looking up and connecting, is degraded.
    pub max_handshake: Option<Span>,
    /// Address family.
    #[serde(default)]
    ip_family: IpFamily,
}

fn yes() -> bool {
    true
}

fn usual_days() -> u32 {
    3
}

fn usual_warning_days() -> u32 {
    14
}

/// Protocols that begin without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum StartTls {
    /// RFC 3207.
    Smtp,
    /// RFC 9051.
    Imap,
    /// RFC 2595.
    Pop3,
}

/// Versions of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Version {
    /// TLS 1.2; older ones are never spoken.
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V13,
}

impl Settings {
    /// The handshake, but for its timeout.
    pub fn handshake(&self) -> tls::Request {
        let options = tls_options(
            self.ca.as_deref(),
            self.client_certificate.as_ref(),
            self.server_name.as_deref(),
            !self.verify,
        );
        let request = tls::Request::to(&self.address.host, self.address.port)
            .family(self.ip_family.into())
            .options(options)
            .alpn(&self.alpn);
        match self.starttls {
            None => request,
            // The last line of each is read to its end: what comes behind it is the handshake.
            Some(StartTls::Smtp) => request
                .first_expect("220 ")
                .first_read_line()
                .first_send("EHLO pulse-host\r\n")
                .first_expect("250 ")
                .first_read_line()
                .first_send("STARTTLS\r\n")
                .first_expect("220 ")
                .first_read_line(),
            Some(StartTls::Imap) => request
                .first_expect("* OK")
                .first_read_line()
                .first_send("a1 STARTTLS\r\n")
                .first_expect("a1 OK")
                .first_read_line(),
            Some(StartTls::Pop3) => request
                .first_expect("+OK")
                .first_read_line()
                .first_send("STLS\r\n")
                .first_expect("+OK")
                .first_read_line(),
        }
    }

    /// The digest that is wanted, in the host's spelling.
    pub fn digest(&self) -> Option<String> {
        let wanted = self.sha256.as_ref()?;
        Some(wanted.replace(':', "").to_ascii_lowercase())
    }
}
