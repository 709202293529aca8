//! What is known about a plugin once it was loaded: its own description, and what its component says.

use super::spec::Kind;
use std::sync::Arc;

/// What the host lends and an operator grants, by the interface's name in `pulse:host`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    /// `grants.http` and `grants.networks`.
    Http,
    /// `grants.tcp` and `grants.networks`.
    Tcp,
    /// `grants.docker`.
    Docker,
    /// `grants.directories`.
    Files,
}

impl Capability {
    /// All capabilities that need a grant.
    pub const ALL: [Self; 4] = [Self::Http, Self::Tcp, Self::Docker, Self::Files];

    /// The interface's name in `pulse:host`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Docker => "docker",
            Self::Files => "files",
        }
    }
}

/// What the configuration needs to know about a plugin.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its name, everywhere.
    pub name: Arc<str>,
    /// SHA-256 of its component in hexadecimal.
    pub digest: Arc<str>,
    /// Semantic version.
    pub version: String,
    /// One line for people.
    pub summary: String,
    /// The kinds it exports, sorted.
    pub kinds: Vec<Kind>,
    /// What it imports and therefore needs grants for, sorted.
    pub needs: Vec<Capability>,
    /// JSON Schema (draft 2020-12) of its settings.
    pub schema: Arc<serde_json::Value>,
}
