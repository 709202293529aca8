//! Log lines in the host's log, marked with monitor and plugin. Needs no grant; volume is bounded.

pub use crate::bindings::lent::pulse::host::log::Level;

/// Writes one line. Control characters are escaped by the host; lines over 4 KiB are cut.
///
/// ```
/// use pulse_plugin_sdk::{log::{self, Level}, testing::Host};
///
/// let (_, lines) = Host::new().run(|| log::write(Level::Info, "begins"));
/// assert_eq!(lines, [(Level::Info, "begins".to_owned())]);
/// ```
pub fn write(level: Level, message: &str) {
    #[cfg(target_family = "wasm")]
    crate::bindings::lent::pulse::host::log::write(level, message);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::log(level, message);
}

/// Writes a line for the plugin's author.
///
/// ```
/// use pulse_plugin_sdk::{log::Level, testing::Host};
///
/// let (_, lines) = Host::new().run(|| pulse_plugin_sdk::debug!("{} left", 3));
/// assert_eq!(lines, [(Level::Debug, "3 left".to_owned())]);
/// ```
#[macro_export]
macro_rules! debug {
    ($($word:tt)+) => { $crate::log::write($crate::log::Level::Debug, &::std::format!($($word)+)) };
}

/// Writes a line that is worth knowing.
///
/// ```
/// use pulse_plugin_sdk::{log::Level, testing::Host};
///
/// let (_, lines) = Host::new().run(|| pulse_plugin_sdk::info!("{} left", 3));
/// assert_eq!(lines, [(Level::Info, "3 left".to_owned())]);
/// ```
#[macro_export]
macro_rules! info {
    ($($word:tt)+) => { $crate::log::write($crate::log::Level::Info, &::std::format!($($word)+)) };
}

/// Writes a line that should be looked at.
///
/// ```
/// use pulse_plugin_sdk::{log::Level, testing::Host};
///
/// let (_, lines) = Host::new().run(|| pulse_plugin_sdk::warn!("{} left", 3));
/// assert_eq!(lines, [(Level::Warn, "3 left".to_owned())]);
/// ```
#[macro_export]
macro_rules! warn {
    ($($word:tt)+) => { $crate::log::write($crate::log::Level::Warn, &::std::format!($($word)+)) };
}

/// Writes a line that must be looked at.
///
/// ```
/// use pulse_plugin_sdk::{log::Level, testing::Host};
///
/// let (_, lines) = Host::new().run(|| pulse_plugin_sdk::error!("{} left", 3));
/// assert_eq!(lines, [(Level::Error, "3 left".to_owned())]);
/// ```
#[macro_export]
macro_rules! error {
    ($($word:tt)+) => { $crate::log::write($crate::log::Level::Error, &::std::format!($($word)+)) };
}

#[cfg(test)]
mod tests {
    use super::Level;
    use crate::testing::Host;

    #[test]
    fn each_macro_writes_at_its_level() {
        let ((), lines) = Host::new().run(|| {
            crate::debug!("a");
            crate::info!("{}", "b");
            crate::warn!("{c}", c = 1);
            crate::error!("d");
        });
        let text = |text: &str| text.to_owned();
        assert_eq!(
            lines,
            [
                (Level::Debug, text("a")),
                (Level::Info, text("b")),
                (Level::Warn, text("1")),
                (Level::Error, text("d"))
            ]
        );
    }
}
