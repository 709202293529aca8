//! Echo requests, which is what `ping` sends. Needs `grants.icmp` and `grants.networks`.
//!
//! That nobody answers is an answer: see [`Response::lost`].

pub use crate::bindings::lent::pulse::host::icmp::{Reply, Request, Response};
use crate::net::{Error, IpFamily};
use std::time::Duration;

impl Request {
    /// One request of 56 bytes, whose answer is waited for a second.
    ///
    /// ```
    /// use pulse_plugin_sdk::{icmp::Request, testing};
    ///
    /// let host = testing::Host::new().icmp(|request| {
    ///     assert_eq!((request.host.as_str(), request.count), ("gate.example", 1));
    ///     Ok(testing::echoes(1, &[1_200]))
    /// });
    /// let (response, _) = host.run(|| Request::to("gate.example").ping());
    /// assert_eq!(response.unwrap().lost(), 0);
    /// ```
    pub fn to(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            family: IpFamily::Any,
            count: 1,
            interval_ms: 200,
            wait_ms: 1_000,
            payload_bytes: 56,
            timeout_ms: None,
        }
    }

    /// That address family only.
    ///
    /// ```
    /// use pulse_plugin_sdk::{icmp::Request, net::IpFamily};
    ///
    /// assert_eq!(Request::to("gate.example").family(IpFamily::V6).family, IpFamily::V6);
    /// ```
    #[must_use]
    pub fn family(mut self, family: IpFamily) -> Self {
        self.family = family;
        self
    }

    /// So many requests, one each `interval`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let request = pulse_plugin_sdk::icmp::Request::to("gate.example").times(5, Duration::from_millis(100));
    /// assert_eq!((request.count, request.interval_ms), (5, 100));
    /// ```
    #[must_use]
    pub fn times(mut self, count: u8, interval: Duration) -> Self {
        self.count = count;
        self.interval_ms = u32::try_from(interval.as_millis()).unwrap_or(u32::MAX);
        self
    }

    /// How long the last answers are waited for.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let request = pulse_plugin_sdk::icmp::Request::to("gate.example").wait(Duration::from_secs(3));
    /// assert_eq!(request.wait_ms, 3_000);
    /// ```
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        self
    }

    /// So many bytes behind the header of each request.
    ///
    /// ```
    /// let request = pulse_plugin_sdk::icmp::Request::to("gate.example").payload(1_472);
    /// assert_eq!(request.payload_bytes, 1_472);
    /// ```
    #[must_use]
    pub fn payload(mut self, bytes: u16) -> Self {
        self.payload_bytes = bytes;
        self
    }

    /// Bounds the time for everything; what has not come by then is lost.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let request = pulse_plugin_sdk::icmp::Request::to("gate.example").timeout(Duration::from_secs(2));
    /// assert_eq!(request.timeout_ms, Some(2_000));
    /// ```
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = Some(u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
        self
    }

    /// Asks, and waits for the answers.
    ///
    /// ```
    /// use pulse_plugin_sdk::{icmp::Request, net::ErrorCode, testing::Host};
    ///
    /// let (result, _) = Host::new().run(|| Request::to("gate.example").ping());
    /// assert_eq!(result.unwrap_err().code, ErrorCode::Denied);
    /// ```
    ///
    /// # Errors
    /// Nothing could be asked. That nobody answers is none.
    pub fn ping(&self) -> Result<Response, Error> {
        #[cfg(target_family = "wasm")]
        return crate::bindings::lent::pulse::host::icmp::ping(self);
        #[cfg(not(target_family = "wasm"))]
        crate::testing::icmp(self)
    }
}

impl Response {
    /// How many requests were not answered.
    ///
    /// ```
    /// assert_eq!(pulse_plugin_sdk::testing::echoes(4, &[900, 1_100]).lost(), 2);
    /// ```
    #[must_use]
    pub fn lost(&self) -> u16 {
        let answered = u16::try_from(self.replies.len()).unwrap_or(u16::MAX);
        self.sent.saturating_sub(answered)
    }

    /// How long the answers took, in the order in which they came.
    ///
    /// ```
    /// let response = pulse_plugin_sdk::testing::echoes(2, &[900, 1_100]);
    /// assert_eq!(response.round_trips().max().unwrap().as_micros(), 1_100);
    /// ```
    pub fn round_trips(&self) -> impl Iterator<Item = Duration> {
        self.replies
            .iter()
            .map(|reply| Duration::from_micros(reply.rtt_us))
    }
}
