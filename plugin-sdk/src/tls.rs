//! One TLS handshake, and what it showed. Needs `grants.tcp` and `grants.networks`.
//!
//! A chain that is not good is no error: [`Response::refusal`] says what is wrong with it.

pub use crate::bindings::lent::pulse::host::tls::{Request, Response};
use crate::{
    net::{Error, IpFamily, TlsOptions},
    tcp::{Expectation, Step},
};
use std::time::Duration;

impl Request {
    /// A handshake that judges the chain against the host's roots.
    ///
    /// ```
    /// use pulse_plugin_sdk::{testing, tls};
    ///
    /// let host = testing::Host::new().tls(|request| {
    ///     assert_eq!(request.alpn, ["h2"]);
    ///     Ok(testing::handshake(1_800_000_000))
    /// });
    /// let (response, _) = host.run(|| tls::Request::to("shop.example", 443).alpn(["h2"]).handshake());
    /// assert_eq!(response.unwrap().tls.version, "TLSv1.3");
    /// ```
    pub fn to(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            family: IpFamily::Any,
            tls: TlsOptions {
                ca: None,
                client_certificate: None,
                server_name: None,
                insecure: false,
            },
            alpn: Vec::new(),
            before: Vec::new(),
            timeout_ms: None,
        }
    }

    /// Chooses the address family.
    ///
    /// ```
    /// use pulse_plugin_sdk::{net::IpFamily, tls::Request};
    ///
    /// assert_eq!(Request::to("shop.example", 443).family(IpFamily::V6).family, IpFamily::V6);
    /// ```
    #[must_use]
    pub fn family(mut self, family: IpFamily) -> Self {
        self.family = family;
        self
    }

    /// Says how to speak TLS; none is as usual.
    ///
    /// ```
    /// use pulse_plugin_sdk::{settings::tls_options, tls::Request};
    ///
    /// let request = Request::to("192.0.2.7", 443).options(tls_options(None, None, Some("shop.example"), false));
    /// assert_eq!(request.tls.server_name.as_deref(), Some("shop.example"));
    /// ```
    #[must_use]
    pub fn options(mut self, options: Option<TlsOptions>) -> Self {
        if let Some(options) = options {
            self.tls = options;
        }
        self
    }

    /// Offers application protocols, most wanted first.
    ///
    /// ```
    /// use pulse_plugin_sdk::tls::Request;
    ///
    /// assert_eq!(Request::to("shop.example", 443).alpn(["h2", "http/1.1"]).alpn.len(), 2);
    /// ```
    #[must_use]
    pub fn alpn(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.alpn = names.into_iter().map(Into::into).collect();
        self
    }

    /// Adds, before the handshake: send these bytes.
    ///
    /// ```
    /// use pulse_plugin_sdk::tls::Request;
    ///
    /// assert_eq!(Request::to("mail.example", 25).first_send("STARTTLS\r\n").before.len(), 1);
    /// ```
    #[must_use]
    pub fn first_send(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.before.push(Step::Send(bytes.into()));
        self
    }

    /// Adds, before the handshake: read until these bytes have come.
    ///
    /// ```
    /// use pulse_plugin_sdk::tls::Request;
    ///
    /// assert_eq!(Request::to("mail.example", 25).first_expect("220 ").before.len(), 1);
    /// ```
    #[must_use]
    pub fn first_expect(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.before
            .push(Step::Expect(Expectation::Contains(bytes.into())));
        self
    }

    /// Adds, before the handshake: read a whole line.
    ///
    /// ```
    /// use pulse_plugin_sdk::tls::Request;
    ///
    /// assert_eq!(Request::to("mail.example", 25).first_read_line().before.len(), 1);
    /// ```
    #[must_use]
    pub fn first_read_line(mut self) -> Self {
        self.before.push(Step::Expect(Expectation::Line));
        self
    }

    /// Bounds the time for everything.
    ///
    /// ```
    /// use pulse_plugin_sdk::{testing, tls::Request};
    ///
    /// let request = Request::to("shop.example", 443).timeout(testing::attempt().budget());
    /// assert_eq!(request.timeout_ms, Some(4_900));
    /// ```
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = Some(crate::time::whole_ms(timeout));
        self
    }

    /// Connects, shakes hands and closes.
    ///
    /// ```
    /// use pulse_plugin_sdk::{testing::{self, Host}, tls::Request};
    ///
    /// let host = Host::new().tls(|_| Ok(testing::handshake(1_800_000_000)));
    /// let (answer, _) = host.run(|| Request::to("shop.example", 443).handshake());
    /// assert_eq!(answer.unwrap().tls.version, "TLSv1.3");
    /// ```
    ///
    /// # Errors
    /// The handshake failed. A chain that is not good is none: see [`Response::refusal`].
    pub fn handshake(&self) -> Result<Response, Error> {
        #[cfg(target_family = "wasm")]
        return crate::bindings::lent::pulse::host::tls::handshake(self);
        #[cfg(not(target_family = "wasm"))]
        crate::testing::tls(self)
    }
}
