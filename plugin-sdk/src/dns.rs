//! One question to a name server. Needs `grants.dns`, and `grants.networks` for a server that the plugin names.
//!
//! That there is no such name is an answer: see [`Response::rcode`].

pub use crate::bindings::lent::pulse::host::dns::{Answer, RecordType, Request, Response, Transport};
use crate::net::Error;
use std::time::Duration;

impl Request {
    /// A question to the system's name servers, which may ask others.
    ///
    /// ```
    /// use pulse_plugin_sdk::{dns::{RecordType, Request}, testing};
    ///
    /// let host = testing::Host::new().dns(|request| {
    ///     assert_eq!(request.server.as_deref(), Some("10.0.0.53:53"));
    ///     Ok(testing::dns_response(&[("shop.example", "A", "192.0.2.7")]))
    /// });
    /// let question = Request::of("shop.example", RecordType::A).server("10.0.0.53:53");
    /// let (response, _) = host.run(|| question.query());
    /// assert_eq!(response.unwrap().answers[0].data, "192.0.2.7");
    /// ```
    pub fn of(name: impl Into<String>, kind: RecordType) -> Self {
        Self {
            name: name.into(),
            kind,
            server: None,
            recursion: true,
            timeout_ms: None,
        }
    }

    /// Asks that server, `host:port`, in place of the system's.
    ///
    /// ```
    /// use pulse_plugin_sdk::dns::{RecordType, Request};
    ///
    /// let question = Request::of("shop.example", RecordType::A).server("10.0.0.53:53");
    /// assert_eq!(question.server.as_deref(), Some("10.0.0.53:53"));
    /// ```
    #[must_use]
    pub fn server(mut self, server: impl Into<String>) -> Self {
        self.server = Some(server.into());
        self
    }

    /// Whether the server is to ask others.
    ///
    /// ```
    /// use pulse_plugin_sdk::dns::{RecordType, Request};
    ///
    /// assert!(!Request::of("shop.example", RecordType::A).recursion(false).recursion);
    /// ```
    #[must_use]
    pub fn recursion(mut self, recursion: bool) -> Self {
        self.recursion = recursion;
        self
    }

    /// Bounds the time for everything.
    ///
    /// ```
    /// use pulse_plugin_sdk::{dns::{RecordType, Request}, testing};
    ///
    /// let question = Request::of("shop.example", RecordType::A).timeout(testing::attempt().budget());
    /// assert_eq!(question.timeout_ms, Some(4_900));
    /// ```
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = Some(crate::time::whole_ms(timeout));
        self
    }

    /// Asks once.
    ///
    /// ```
    /// use pulse_plugin_sdk::{dns::{RecordType, Request}, testing::{self, Host}};
    ///
    /// let host = Host::new().dns(|_| Ok(testing::dns_response(&[])));
    /// let (answer, _) = host.run(|| Request::of("shop.example", RecordType::Mx).query());
    /// assert!(answer.unwrap().answers.is_empty());
    /// ```
    ///
    /// # Errors
    /// There was no answer. That there is no such name is none.
    pub fn query(&self) -> Result<Response, Error> {
        #[cfg(target_family = "wasm")]
        return crate::bindings::lent::pulse::host::dns::query(self);
        #[cfg(not(target_family = "wasm"))]
        crate::testing::dns(self)
    }
}

impl RecordType {
    /// The type's name as it stands in an [`Answer`].
    ///
    /// ```
    /// assert_eq!(pulse_plugin_sdk::dns::RecordType::Aaaa.name(), "AAAA");
    /// ```
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Caa => "CAA",
            Self::Cname => "CNAME",
            Self::Mx => "MX",
            Self::Ns => "NS",
            Self::Ptr => "PTR",
            Self::Soa => "SOA",
            Self::Srv => "SRV",
            Self::Txt => "TXT",
        }
    }
}
