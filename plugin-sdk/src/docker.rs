//! Containers of a Docker Engine. Needs `grants.docker`; a plugin never sees the socket.

pub use crate::bindings::lent::pulse::host::docker::{Container, Error};

/// What [`crate::testing`] is asked for; on wasm the calls go to the host one by one.
///
/// ```
/// use pulse_plugin_sdk::docker::Call;
///
/// let call = Call::Stop { name: "shop".into(), stop_timeout_s: 10 };
/// assert_ne!(call, Call::Start { name: "shop".into() });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`restart`].
    Restart {
        /// Which container.
        name: String,
        /// How long it gets to stop.
        stop_timeout_s: u32,
    },
    /// [`start`].
    Start {
        /// Which container.
        name: String,
    },
    /// [`stop`].
    Stop {
        /// Which container.
        name: String,
        /// How long it gets to stop.
        stop_timeout_s: u32,
    },
}

/// Restarts a container; it gets `stop_timeout_s` seconds to stop before it is killed.
///
/// ```
/// use pulse_plugin_sdk::{docker::{self, Call}, testing::Host};
///
/// let host = Host::new().docker(|call| {
///     assert!(matches!(call, Call::Restart { .. }));
///     Ok(())
/// });
/// let (result, _) = host.run(|| docker::restart("shop", 10));
/// assert!(result.is_ok());
/// ```
///
/// # Errors
/// See [`Error`]: each case says whether anything happened.
pub fn restart(name: &str, stop_timeout_s: u32) -> Result<(), Error> {
    #[cfg(target_family = "wasm")]
    return crate::bindings::lent::pulse::host::docker::restart(name, stop_timeout_s);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::docker(Call::Restart {
        name: name.into(),
        stop_timeout_s,
    })
}

/// Starts a container. One that runs already is no error.
///
/// ```
/// use pulse_plugin_sdk::{docker::{self, Call}, testing::Host};
///
/// let host = Host::new().docker(|call| {
///     assert!(matches!(call, Call::Start { .. }));
///     Ok(())
/// });
/// let (result, _) = host.run(|| docker::start("shop"));
/// assert!(result.is_ok());
/// ```
///
/// # Errors
/// See [`Error`]: each case says whether anything happened.
pub fn start(name: &str) -> Result<(), Error> {
    #[cfg(target_family = "wasm")]
    return crate::bindings::lent::pulse::host::docker::start(name);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::docker(Call::Start { name: name.into() })
}

/// Stops a container. One that is stopped already is no error.
///
/// ```
/// use pulse_plugin_sdk::{docker::{self, Call}, testing::Host};
///
/// let host = Host::new().docker(|call| {
///     assert!(matches!(call, Call::Stop { .. }));
///     Ok(())
/// });
/// let (result, _) = host.run(|| docker::stop("shop", 10));
/// assert!(result.is_ok());
/// ```
///
/// # Errors
/// See [`Error`]: each case says whether anything happened.
pub fn stop(name: &str, stop_timeout_s: u32) -> Result<(), Error> {
    #[cfg(target_family = "wasm")]
    return crate::bindings::lent::pulse::host::docker::stop(name, stop_timeout_s);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::docker(Call::Stop {
        name: name.into(),
        stop_timeout_s,
    })
}

/// Says what a container is doing.
///
/// ```
/// use pulse_plugin_sdk::{docker::{self, Error}, testing::Host};
///
/// let host = Host::new().container(|name| Err(Error::NotFound(name)));
/// let (result, _) = host.run(|| docker::inspect("shop"));
/// assert!(matches!(result, Err(Error::NotFound(name)) if name == "shop"));
/// ```
///
/// # Errors
/// See [`Error`].
pub fn inspect(name: &str) -> Result<Container, Error> {
    #[cfg(target_family = "wasm")]
    return crate::bindings::lent::pulse::host::docker::inspect(name);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::container(name)
}
