//! A panic's last words. A component that panics traps, and of a trap the host knows nothing but that it was one.

use crate::log::{self, Level};
use std::{
    panic::{self, PanicHookInfo},
    sync::Once,
};

/// Makes panics write a log line with their place before they trap. Natively a test's own hook stays.
pub fn speak() {
    static ONCE: Once = Once::new();
    if cfg!(target_family = "wasm") {
        ONCE.call_once(|| panic::set_hook(Box::new(|info| log::write(Level::Error, &words(info)))));
    }
}

fn words(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("no message");
    match info.location() {
        Some(place) => format!("panicked at {place}: {message}"),
        None => format!("panicked: {message}"),
    }
}
