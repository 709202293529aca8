//! Commands that the operator declared by name. Needs `grants.commands`.
//!
//! What is run is the operator's; a plugin gives a value for each placeholder of the declaration, and each must be one
//! that the declaration allows.

pub use crate::bindings::lent::pulse::host::command::{Argument, Ending, Error, Request, Response};
use crate::{ActionFailure, Fault, Report};
use std::time::Duration;

impl Request {
    /// The command of that name.
    ///
    /// ```
    /// use pulse_plugin_sdk::{command::Request, testing};
    ///
    /// let host = testing::Host::new().command(|request| {
    ///     assert_eq!((request.name.as_str(), request.arguments[0].value.as_str()), ("restart", "nginx"));
    ///     Ok(testing::command_response(0, "done"))
    /// });
    /// let (response, _) = host.run(|| Request::of("restart").argument("service", "nginx").run());
    /// assert!(response.unwrap().is_success());
    /// ```
    pub fn of(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            arguments: Vec::new(),
            timeout_ms: None,
        }
    }

    /// Fills a placeholder in.
    ///
    /// ```
    /// let request = pulse_plugin_sdk::command::Request::of("restart").argument("service", "nginx");
    /// assert_eq!(request.arguments[0].name, "service");
    /// ```
    #[must_use]
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.arguments.push(Argument {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// Bounds the time for everything. The declaration has a bound of its own.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let request = pulse_plugin_sdk::command::Request::of("restart").timeout(Duration::from_secs(2));
    /// assert_eq!(request.timeout_ms, Some(2_000));
    /// ```
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = Some(u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
        self
    }

    /// Runs it to its end.
    ///
    /// ```
    /// use pulse_plugin_sdk::{command::{Error, Request}, testing::Host};
    ///
    /// let (result, _) = Host::new().run(|| Request::of("restart").run());
    /// assert!(matches!(result, Err(Error::Denied(_))));
    /// ```
    ///
    /// # Errors
    /// It did not come to its end. That it ended with another code than 0 is no error.
    pub fn run(&self) -> Result<Response, Error> {
        #[cfg(target_family = "wasm")]
        return crate::bindings::lent::pulse::host::command::run(self);
        #[cfg(not(target_family = "wasm"))]
        crate::testing::command(self)
    }
}

impl Response {
    /// Whether it ended by itself with the code 0.
    ///
    /// ```
    /// use pulse_plugin_sdk::testing;
    ///
    /// assert!(testing::command_response(0, "").is_success());
    /// assert!(!testing::command_response(1, "").is_success());
    /// ```
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.code() == Some(0)
    }

    /// The code with which it ended by itself; none if a signal ended it.
    ///
    /// ```
    /// assert_eq!(pulse_plugin_sdk::testing::command_response(2, "").code(), Some(2));
    /// ```
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match self.ending {
            Ending::Exited(code) => Some(code),
            Ending::Killed(_) => None,
        }
    }

    /// How it ended, in words.
    ///
    /// ```
    /// assert_eq!(pulse_plugin_sdk::testing::command_response(2, "").ended(), "exited with 2");
    /// ```
    #[must_use]
    pub fn ended(&self) -> String {
        match self.ending {
            Ending::Exited(code) => format!("exited with {code}"),
            Ending::Killed(signal) => format!("was killed by signal {signal}"),
        }
    }

    /// How long it took.
    ///
    /// ```
    /// assert_eq!(pulse_plugin_sdk::testing::command_response(0, "").duration().as_millis(), 30);
    /// ```
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_micros(self.duration_us)
    }
}

impl Error {
    /// One line for people.
    ///
    /// ```
    /// assert_eq!(pulse_plugin_sdk::command::Error::Unavailable("no such file".into()).message(), "no such file");
    /// ```
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Denied(message)
            | Self::InvalidArgument(message)
            | Self::Unavailable(message)
            | Self::TimedOut(message)
            | Self::Stopped(message) => message,
        }
    }

    /// The verdict about what the command was to check.
    ///
    /// ```
    /// use pulse_plugin_sdk::command::Error;
    ///
    /// let late = Error::TimedOut("`disk` did not end within 5.0 s".into());
    /// assert_eq!(late.report().unwrap().reason.as_deref(), Some("timeout"));
    /// assert!(Error::Unavailable("no such file".into()).report().is_err());
    /// ```
    ///
    /// # Errors
    /// Where the error says nothing about that: everything but that the time was up.
    pub fn report(&self) -> Result<Report, Fault> {
        match self {
            Self::InvalidArgument(message) => Err(Fault::InvalidSettings(message.clone())),
            Self::Denied(message) => Err(Fault::Unsupported(message.clone())),
            Self::Unavailable(message) | Self::Stopped(message) => Err(Fault::Internal(message.clone())),
            Self::TimedOut(message) => Ok(Report::unhealthy("timeout", message.clone())),
        }
    }
}

impl From<Error> for ActionFailure {
    /// What it means for a repair.
    fn from(error: Error) -> Self {
        match error {
            Error::Denied(message) | Error::InvalidArgument(message) | Error::Unavailable(message) => {
                Self::Permanent(message)
            }
            Error::TimedOut(message) | Error::Stopped(message) => Self::EffectUnknown(message),
        }
    }
}
