//! Log lines in the host's log, marked with monitor and plugin. Needs no grant; volume is bounded.

pub use crate::bindings::lent::pulse::host::log::Level;

/// Writes one line. Control characters are escaped by the host; lines over 4 KiB are cut.
pub fn write(level: Level, message: &str) {
    #[cfg(target_family = "wasm")]
    crate::bindings::lent::pulse::host::log::write(level, message);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::log(level, message);
}

/// Writes a line for the plugin's author.
#[macro_export]
macro_rules! debug {
    ($($word:tt)+) => { $crate::log::write($crate::log::Level::Debug, &::std::format!($($word)+)) };
}

/// Writes a line that is worth knowing.
#[macro_export]
macro_rules! info {
    ($($word:tt)+) => { $crate::log::write($crate::log::Level::Info, &::std::format!($($word)+)) };
}

/// Writes a line that should be looked at.
#[macro_export]
macro_rules! warn {
    ($($word:tt)+) => { $crate::log::write($crate::log::Level::Warn, &::std::format!($($word)+)) };
}

/// Writes a line that must be looked at.
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
