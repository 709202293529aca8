//! The system's own configuration of name look-ups, read again when its files change: a network that comes up
//! later, a VPN, or a line that an operator adds must not need a restart.

use super::tune;
use crate::{clock::Clock, domain::time::Mono};
use hickory_resolver::{
    Hosts, TokioResolver, config::NameServerConfig, net::runtime::TokioRuntimeProvider,
    system_conf::parse_resolv_conf,
};
use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The files are looked at that often, and only when something is looked up.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What is known at present. Cheap to clone.
#[derive(Clone)]
pub(super) struct Known {
    /// The resolver, or why there is none.
    pub(super) dns: Result<TokioResolver, String>,
    pub(super) hosts: Arc<Hosts>,
    /// The system's name servers, in order.
    pub(super) servers: Arc<[SocketAddr]>,
}

/// Keeps what is known up to date.
pub(super) struct System {
    clock: Clock,
    resolv_conf: PathBuf,
    hosts: PathBuf,
    state: Mutex<State>,
}

struct State {
    known: Known,
    stamps: (Stamp, Stamp),
    looked: Mono,
}

/// Tells one version of a file from another: time of change, length, inode. None: there is no such file.
type Stamp = Option<(i64, i64, u64, u64)>;

impl System {
    pub(super) fn new(clock: Clock) -> Self {
        Self::of(clock, "/etc/resolv.conf".into(), "/etc/hosts".into())
    }

    fn of(clock: Clock, resolv_conf: PathBuf, hosts: PathBuf) -> Self {
        // The stamps are older than what is read: a change in between is read again, not missed.
        let stamps = (stamp(&resolv_conf), stamp(&hosts));
        let (dns, servers) = read_dns(&resolv_conf);
        let known = Known {
            dns,
            servers,
            hosts: read_hosts(&hosts),
        };
        let state = Mutex::new(State {
            known,
            stamps,
            looked: clock.mono(),
        });
        Self {
            clock,
            resolv_conf,
            hosts,
            state,
        }
    }

    /// Knows what it is told, and looks at no file.
    #[cfg(test)]
    pub(super) fn fixed(known: Known) -> Self {
        let (clock, _) = Clock::manual(Mono(0), crate::domain::time::Wall(0));
        Self {
            state: Mutex::new(State {
                known,
                stamps: (None, None),
                looked: Mono(0),
            }),
            ..Self::of(clock, PathBuf::new(), PathBuf::new())
        }
    }

    /// What is known at present.
    pub(super) fn current(&self) -> Known {
        let now = self.clock.mono();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(state.looked) >= LOOK_EVERY {
            state.looked = now;
            let (resolv_conf, hosts) = (stamp(&self.resolv_conf), stamp(&self.hosts));
            if resolv_conf != state.stamps.0 {
                state.stamps.0 = resolv_conf;
                (state.known.dns, state.known.servers) = read_dns(&self.resolv_conf);
            }
            if hosts != state.stamps.1 {
                state.stamps.1 = hosts;
                state.known.hosts = read_hosts(&self.hosts);
            }
        }
        state.known.clone()
    }
}

fn stamp(path: &Path) -> Stamp {
    let facts = fs::metadata(path).ok()?;
    Some((facts.ctime(), facts.ctime_nsec(), facts.len(), facts.ino()))
}

/// The resolver, and the servers that it asks.
fn read_dns(path: &Path) -> (Result<TokioResolver, String>, Arc<[SocketAddr]>) {
    let explain = |error: &dyn std::fmt::Display| format!("{} can't be used: {error}", path.display());
    let read = || {
        let text = fs::read(path).map_err(|error| explain(&error))?;
        parse_resolv_conf(text).map_err(|error| explain(&error))
    };
    let (config, options) = match read() {
        Ok(read) => read,
        Err(error) => return (Err(error), Arc::default()),
    };
    let port = |server: &NameServerConfig| server.connections.first().map_or(53, |own| own.port);
    let servers = config.name_servers.iter();
    let servers = servers
        .map(|server| SocketAddr::new(server.ip, port(server)))
        .collect();
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    tune(builder.options_mut());
    (builder.build().map_err(|error| explain(&error)), servers)
}

/// A hosts file that is missing or broken says nothing, as with the system's own resolver.
fn read_hosts(path: &Path) -> Arc<Hosts> {
    let mut hosts = Hosts::default();
    let read = fs::File::open(path).and_then(|file| hosts.read_hosts_conf(file));
    if let Err(error) = read
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "the hosts file can't be read");
    }
    Arc::new(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capability::{net::IpFamily, places::TenantId, resolve::Resolver, target::Host},
        domain::time::Wall,
    };

    #[tokio::test]
    async fn files_that_change_are_read_again() {
        let root = tempfile::tempdir().unwrap();
        let (resolv_conf, hosts) = (root.path().join("resolv.conf"), root.path().join("hosts"));
        let (clock, hand) = Clock::manual(Mono(0), Wall(0));
        fs::write(&hosts, "10.0.0.1 a.test\n").unwrap();
        let resolver = Resolver::over(System::of(clock, resolv_conf.clone(), hosts.clone()));
        let host = Host::parse("a.test").unwrap();
        let ask = async || {
            resolver
                .resolve(TenantId(0), &host, IpFamily::V4)
                .await
                .map(|found| found[0].to_string())
        };
        assert_eq!(ask().await.unwrap(), "10.0.0.1");
        fs::write(&hosts, "10.0.0.22 a.test\n").unwrap();
        assert_eq!(ask().await.unwrap(), "10.0.0.1", "not looked at yet");
        hand.advance(LOOK_EVERY);
        assert_eq!(ask().await.unwrap(), "10.0.0.22");

        assert!(resolver.system.current().dns.is_err());
        fs::write(&resolv_conf, "nameserver 127.0.0.1\n").unwrap();
        hand.advance(LOOK_EVERY);
        assert!(resolver.system.current().dns.is_ok());
        fs::write(&resolv_conf, "# none\n").unwrap();
        fs::remove_file(&hosts).unwrap();
        hand.advance(LOOK_EVERY);
        let message = resolver.system.current().dns.err().unwrap();
        assert!(message.contains("resolv.conf"), "{message}");
        assert_eq!(
            ask().await.unwrap_err().code,
            crate::capability::ErrorCode::ResolveFailed
        );
    }
}
