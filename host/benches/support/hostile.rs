//! The table of hostile guests, `tests/guests/hostile.toml`: what each is told to do, and what that must come to.

use anyhow::{Context as _, Result};
use pulse_host::domain::{
    grant::{Grants, HostPattern, HttpGrant, Network, TcpGrant, UrlPattern},
    limits::Limits,
};
use serde::Deserialize;
use std::{net::SocketAddr, path::Path, time::Duration};

/// One hostile guest.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Case {
    /// What it does, in words.
    pub name: String,
    /// A file of `wat/in-shell`, or the chaos guest.
    #[serde(default = "chaos")]
    pub guest: String,
    #[serde(default)]
    settings: serde_json::Map<String, serde_json::Value>,
    fuel: Option<u64>,
    cpu_ms: Option<u64>,
    memory_mib: Option<u64>,
    timeout_ms: Option<u64>,
    grants: Option<Granted>,
    /// Whether it needs the targets.
    #[serde(default)]
    pub network: bool,
    /// The class of its outcome.
    pub class: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Granted {
    Loopback,
}

/// The guest that does what its settings say.
pub const CHAOS: &str = "chaos";

fn chaos() -> String {
    CHAOS.to_owned()
}

/// What some guests talk to.
#[derive(Clone, Copy, Debug)]
pub struct Targets {
    /// Takes connections and says nothing.
    pub silent: SocketAddr,
    /// Refuses connections.
    pub refused: SocketAddr,
}

/// All cases. `root`: the project's folder.
pub fn table(root: &Path) -> Result<Vec<Case>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        case: Vec<Case>,
    }
    let path = root.join("tests/guests/hostile.toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let table: Table = toml::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(table.case)
}

impl Case {
    /// What it may use.
    pub fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            fuel: self.fuel.unwrap_or(default.fuel),
            cpu: self.cpu_ms.map_or(default.cpu, Duration::from_millis),
            memory_bytes: self.memory_mib.map_or(default.memory_bytes, |mib| mib << 20),
        }
    }

    /// How long it may take, if it says so.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout_ms.map(Duration::from_millis)
    }

    /// What it was granted.
    pub fn grants(&self) -> Grants {
        let Some(Granted::Loopback) = self.grants else {
            return Grants::default();
        };
        let mut grants = Grants {
            http: vec![HttpGrant::Pattern(UrlPattern {
                scheme: "http".into(),
                host: HostPattern::Any,
                port: None,
            })],
            tcp: vec![TcpGrant::Pattern {
                host: HostPattern::Any,
                port: None,
            }],
            ..Grants::default()
        };
        grants.networks.insert(Network::Loopback);
        grants
    }

    /// What it is told, a JSON object.
    pub fn settings(&self, targets: &Targets) -> String {
        serde_json::Value::Object(self.settings.clone())
            .to_string()
            .replace("@silent", &targets.silent.to_string())
            .replace("@refused", &targets.refused.to_string())
    }
}
