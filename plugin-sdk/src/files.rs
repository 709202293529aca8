//! Append-only files. Needs `grants.directories`.

pub use crate::bindings::lent::pulse::host::files::Error;

/// The longest line, in bytes, without its line feed.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// Appends one line to a file in a granted directory, and creates the file if there is none. Lines of concurrent
/// jobs never mix.
///
/// ```
/// use pulse_plugin_sdk::{files, testing::Host};
///
/// let host = Host::new().files(|(path, line)| {
///     assert_eq!((path.as_str(), line.as_str()), ("alerts.log", "shop is down"));
///     Ok(())
/// });
/// let (result, _) = host.run(|| files::append_line("alerts.log", "shop is down"));
/// assert!(result.is_ok());
/// ```
///
/// # Errors
/// See [`Error`]: nothing was written.
pub fn append_line(path: &str, line: &str) -> Result<(), Error> {
    #[cfg(target_family = "wasm")]
    return crate::bindings::lent::pulse::host::files::append_line(path, line);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::append(path, line)
}
