//! Append-only files. Needs `grants.directories`.

pub use crate::bindings::lent::pulse::host::files::Error;

/// The longest line, in bytes, without its line feed.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// Appends one line to a file in a granted directory, and creates the file if there is none. Lines of concurrent
/// jobs never mix.
///
/// # Errors
/// See [`Error`]: nothing was written.
pub fn append_line(path: &str, line: &str) -> Result<(), Error> {
    #[cfg(target_family = "wasm")]
    return crate::bindings::lent::pulse::host::files::append_line(path, line);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::append(path, line)
}
