//! Whom the host believes.
//!
//! A token is a long random text that is shown once, when it is made; what is kept is its SHA-256. Beside the configured
//! ones there is one for whoever can read the data directory: made anew at each start, written to a file that is its
//! owner's alone, and gone with the process.

use crate::domain::access::{Digest, Role, Token};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

/// The file in the data directory.
const FILE: &str = "http.json";
const FILE_BYTES_MAX: u64 = 64 * 1024;
const VERSION: u32 = 1;
/// What tokens begin with, so that people and scanners know one.
const PREFIX: &str = "pht_";
/// Bytes of chance in a token.
const CHANCE: usize = 32;
/// A longer one is nobody's.
const TOKEN_BYTES_MAX: usize = 256;

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's name, for the log and where deeds are told.
    pub name: Arc<str>,
    /// What it may do.
    pub role: Role,
    /// Whose monitors only; none: everybody's.
    pub tenant: Option<Arc<str>>,
}

/// All tokens; what a reload changes is seen at once.
#[derive(Debug)]
pub struct Tokens {
    configured: RwLock<Arc<[Token]>>,
    local: Digest,
}

impl Tokens {
    /// The configured ones, and the one whose text is given.
    #[must_use]
    pub fn new(configured: &[Token], local: &str) -> Self {
        Self {
            configured: RwLock::new(configured.into()),
            local: digest(local),
        }
    }

    /// From now on these are the configured ones.
    pub fn replace(&self, configured: &[Token]) {
        *self.configured.write().unwrap_or_else(PoisonError::into_inner) = configured.into();
    }

    /// Whether there is a configured one.
    #[must_use]
    pub fn is_any(&self) -> bool {
        !self
            .configured
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    /// Whose token that is.
    #[must_use]
    pub fn caller(&self, token: &str) -> Option<Caller> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let shown = digest(token);
        let configured = Arc::clone(&self.configured.read().unwrap_or_else(PoisonError::into_inner));
        // All are looked at, and each to its end: how long that takes tells nothing.
        let mut found = None;
        for token in configured.iter() {
            if same(&token.digest, &shown) {
                found = Some(Caller {
                    name: Arc::clone(&token.name),
                    role: token.role,
                    tenant: token.tenant.clone(),
                });
            }
        }
        if same(&self.local, &shown) {
            found = Some(Caller {
                name: "local".into(),
                role: Role::Admin,
                tenant: None,
            });
        }
        found
    }
}

fn same(one: &Digest, two: &Digest) -> bool {
    let differs = one.iter().zip(two).fold(0, |sum, (one, two)| sum | (one ^ two));
    std::hint::black_box(differs) == 0
}

fn digest(token: &str) -> Digest {
    Sha256::digest(token.as_bytes()).into()
}

/// The hash of a token, as it stands in the configuration.
#[must_use]
pub fn hash(token: &str) -> String {
    let hex: String = digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Whether that hash, as it stands in the configuration, is the token's.
#[must_use]
pub fn is_of(shown: &str, token: &str) -> bool {
    let own = hash(token);
    let differs = own
        .bytes()
        .zip(shown.bytes())
        .fold(0, |sum, (one, two)| sum | (one ^ two));
    std::hint::black_box(differs) == 0 && own.len() == shown.len() && token.len() <= TOKEN_BYTES_MAX
}

/// A new token.
///
/// # Errors
/// When the operating system gives no chance.
pub fn fresh() -> std::io::Result<String> {
    Ok(format!("{PREFIX}{}", chance::<CHANCE>()?))
}

/// So many bytes of chance, in hexadecimal digits.
///
/// # Errors
/// When the operating system gives none.
pub fn chance<const BYTES: usize>() -> std::io::Result<String> {
    let mut bytes = [0; BYTES];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// How to reach a host that runs with a data directory.
#[derive(Debug, Serialize, Deserialize)]
pub struct Door {
    version: u32,
    /// Where it listens.
    pub url: String,
    /// What opens it.
    pub token: String,
    /// Its process.
    pub pid: u32,
}

/// The file that tells how to reach a host, as long as it runs.
#[derive(Debug)]
pub struct DoorPlate(PathBuf);

impl Door {
    /// Of this process.
    #[must_use]
    pub fn new(address: SocketAddr, tls: bool, token: &str) -> Self {
        let scheme = if tls { "https" } else { "http" };
        // Whoever listens everywhere is reached here too.
        let mut reached = address;
        if address.ip().is_unspecified() {
            let here = match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            };
            reached.set_ip(here);
        }
        Self {
            version: VERSION,
            url: format!("{scheme}://{reached}"),
            token: token.to_owned(),
            pid: std::process::id(),
        }
    }

    /// Of a host that somebody names.
    #[must_use]
    pub fn named(url: String, token: String) -> Self {
        Self {
            version: VERSION,
            url,
            token,
            pid: 0,
        }
    }

    /// Writes it where only the owner of the data directory reads it.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn put_up(&self, data_dir: &Path) -> std::io::Result<DoorPlate> {
        std::fs::create_dir_all(data_dir)?;
        let path = data_dir.join(FILE);
        let beside = data_dir.join(format!("{FILE}.{}", self.pid));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        drop(file);
        std::fs::rename(&beside, &path)?;
        Ok(DoorPlate(path))
    }

    /// Reads what a host has put up. None: there is nothing.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(data_dir: &Path) -> std::io::Result<Option<Self>> {
        let file = match std::fs::File::open(data_dir.join(FILE)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
        let door: Self = serde_json::from_str(&text)?;
        Ok((door.version == VERSION).then_some(door))
    }
}

impl Drop for DoorPlate {
    fn drop(&mut self) {
        // Another host may have put up its own meanwhile.
        let own = std::fs::read(&self.0)
            .ok()
            .and_then(|text| serde_json::from_slice::<Door>(&text).ok())
            .is_some_and(|door| door.pid == std::process::id());
        if own {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_owners_and_nobody_elses() {
        let (one, two) = (fresh().unwrap(), fresh().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), PREFIX.len() + 64);
        let configured = Token {
            name: "deploy".into(),
            digest: digest(&one),
            role: Role::Viewer,
            tenant: Some("acme".into()),
        };
        let tokens = Tokens::new(&[configured], &two);
        let caller = tokens.caller(&one).unwrap();
        assert_eq!(
            (&*caller.name, caller.role, caller.tenant.as_deref()),
            ("deploy", Role::Viewer, Some("acme"))
        );
        assert_eq!(tokens.caller(&two).unwrap().role, Role::Admin);
        for stranger in ["", "pht_", &one[1..], &hash(&one), &"x".repeat(10_000)] {
            assert_eq!(tokens.caller(stranger), None, "{stranger}");
        }
        tokens.replace(&[]);
        assert_eq!(tokens.caller(&one), None, "it was taken back");
        assert!(!tokens.is_any());
    }

    #[test]
    fn the_door_is_told_to_its_owner_only_and_as_long_as_the_host_runs() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        assert!(Door::read(dir.path()).unwrap().is_none());
        let door = Door::new("0.0.0.0:7".parse().unwrap(), false, "pht_x");
        let plate = door.put_up(dir.path()).unwrap();
        let read = Door::read(dir.path()).unwrap().unwrap();
        assert_eq!((&*read.url, &*read.token), ("http://127.0.0.1:7", "pht_x"));
        let mode = std::fs::metadata(dir.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        drop(plate);
        assert!(Door::read(dir.path()).unwrap().is_none());
    }
}
