//! What the tests share.

pub mod dns;
pub mod freeze;
pub mod host;
pub mod http;
pub mod sandbox;
pub mod sockets;
pub mod tls;
pub mod wait;

use std::path::PathBuf;

/// The root of the project.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
