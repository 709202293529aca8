//! A short dialogue over TCP. Needs `grants.tcp` and `grants.networks`.

pub use crate::bindings::lent::pulse::host::{
    net::{Expectation, Step},
    tcp::{Request, Response},
};
use crate::net::{Error, IpFamily, TlsOptions};
use std::time::Duration;

impl Request {
    /// A dialogue without steps: it only connects.
    ///
    /// ```
    /// use pulse_plugin_sdk::tcp::Request;
    ///
    /// assert!(Request::to("shop.example", 25).steps.is_empty());
    /// ```
    pub fn to(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            family: IpFamily::Any,
            tls: None,
            steps: Vec::new(),
            timeout_ms: None,
            max_bytes: None,
        }
    }

    /// Chooses the address family.
    ///
    /// ```
    /// use pulse_plugin_sdk::{net::IpFamily, tcp::Request};
    ///
    /// assert_eq!(Request::to("shop.example", 25).family(IpFamily::V4).family, IpFamily::V4);
    /// ```
    #[must_use]
    pub fn family(mut self, family: IpFamily) -> Self {
        self.family = family;
        self
    }

    /// Speaks TLS from the start.
    ///
    /// ```
    /// use pulse_plugin_sdk::{net::TlsOptions, tcp::Request};
    ///
    /// let usual = TlsOptions { ca: None, client_certificate: None, server_name: None, insecure: false };
    /// assert!(Request::to("shop.example", 465).tls(Some(usual)).tls.is_some());
    /// ```
    #[must_use]
    pub fn tls(mut self, options: Option<TlsOptions>) -> Self {
        self.tls = options;
        self
    }

    /// Adds: send these bytes.
    ///
    /// ```
    /// use pulse_plugin_sdk::tcp::{Request, Step};
    ///
    /// let request = Request::to("cache.example", 6379).then_send("PING\r\n");
    /// assert_eq!(request.steps, [Step::Send(b"PING\r\n".to_vec())]);
    /// ```
    #[must_use]
    pub fn then_send(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.steps.push(Step::Send(bytes.into()));
        self
    }

    /// Adds: read until these bytes have come.
    ///
    /// ```
    /// use pulse_plugin_sdk::tcp::Request;
    ///
    /// let request = Request::to("cache.example", 6379).then_send("PING\r\n").then_expect("+PONG");
    /// assert_eq!(request.steps.len(), 2);
    /// ```
    #[must_use]
    pub fn then_expect(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.steps.push(Step::Expect(Expectation::Contains(bytes.into())));
        self
    }

    /// Adds: read a whole line.
    ///
    /// ```
    /// use pulse_plugin_sdk::tcp::Request;
    ///
    /// assert_eq!(Request::to("mail.example", 25).then_read_line().steps.len(), 1);
    /// ```
    #[must_use]
    pub fn then_read_line(mut self) -> Self {
        self.steps.push(Step::Expect(Expectation::Line));
        self
    }

    /// Adds: begin TLS on the open connection.
    ///
    /// ```
    /// use pulse_plugin_sdk::{net::TlsOptions, tcp::Request};
    ///
    /// let usual = TlsOptions { ca: None, client_certificate: None, server_name: None, insecure: false };
    /// let request = Request::to("mail.example", 25)
    ///     .then_read_line()
    ///     .then_send("STARTTLS\r\n")
    ///     .then_read_line()
    ///     .then_starttls(usual);
    /// assert_eq!(request.steps.len(), 4);
    /// ```
    #[must_use]
    pub fn then_starttls(mut self, options: TlsOptions) -> Self {
        self.steps.push(Step::Starttls(options));
        self
    }

    /// Bounds the time for everything.
    ///
    /// ```
    /// use pulse_plugin_sdk::{tcp::Request, testing};
    ///
    /// let request = Request::to("shop.example", 25).timeout(testing::attempt().budget());
    /// assert_eq!(request.timeout_ms, Some(4_900));
    /// ```
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = Some(crate::time::whole_ms(timeout));
        self
    }

    /// Bounds what is read in all.
    ///
    /// ```
    /// use pulse_plugin_sdk::tcp::Request;
    ///
    /// assert_eq!(Request::to("shop.example", 25).max_bytes(512).max_bytes, Some(512));
    /// ```
    #[must_use]
    pub fn max_bytes(mut self, bytes: u32) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Connects, goes through the steps and closes.
    ///
    /// ```
    /// use pulse_plugin_sdk::{net::{ErrorCode, Phase}, tcp::Request, testing::{self, Host}};
    ///
    /// let host = Host::new().tcp(|_| Err(testing::net_error(ErrorCode::ConnectionRefused, Phase::Connect, "refused")));
    /// let (answer, _) = host.run(|| Request::to("shop.example", 25).run());
    /// assert_eq!(answer.unwrap_err().code, ErrorCode::ConnectionRefused);
    /// ```
    ///
    /// # Errors
    /// The dialogue failed. An expectation that was not met is none: see [`Response::unmet`].
    pub fn run(&self) -> Result<Response, Error> {
        #[cfg(target_family = "wasm")]
        return crate::bindings::lent::pulse::host::tcp::dialogue(self);
        #[cfg(not(target_family = "wasm"))]
        crate::testing::tcp(self)
    }
}
