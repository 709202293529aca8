//! A short dialogue over TCP. Needs `grants.tcp` and `grants.networks`.

pub use crate::bindings::lent::pulse::host::{
    net::{Expectation, Step},
    tcp::{Request, Response},
};
use crate::net::{Error, IpFamily, TlsOptions};
use std::time::Duration;

impl Request {
    /// A dialogue without steps: it only connects.
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
    #[must_use]
    pub fn family(mut self, family: IpFamily) -> Self {
        self.family = family;
        self
    }

    /// Speaks TLS from the start.
    #[must_use]
    pub fn tls(mut self, options: Option<TlsOptions>) -> Self {
        self.tls = options;
        self
    }

    /// Adds: send these bytes.
    #[must_use]
    pub fn then_send(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.steps.push(Step::Send(bytes.into()));
        self
    }

    /// Adds: read until these bytes have come.
    #[must_use]
    pub fn then_expect(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.steps.push(Step::Expect(Expectation::Contains(bytes.into())));
        self
    }

    /// Adds: read a whole line.
    #[must_use]
    pub fn then_read_line(mut self) -> Self {
        self.steps.push(Step::Expect(Expectation::Line));
        self
    }

    /// Adds: begin TLS on the open connection.
    #[must_use]
    pub fn then_starttls(mut self, options: TlsOptions) -> Self {
        self.steps.push(Step::Starttls(options));
        self
    }

    /// Bounds the time for everything.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = Some(u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
        self
    }

    /// Bounds what is read in all.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u32) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Connects, goes through the steps and closes.
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
