//! Who is watched: honest monitors, hostile ones, and the plugins that they run.

use super::{
    EVERY, root,
    support::{
        self,
        hostile::{CHAOS, Case, Targets},
        setup, target,
    },
};
use anyhow::{Result, bail};
use pulse_host::{
    clock::Clock,
    domain::{
        grant::Grants,
        host::HostSettings,
        spec::{Class, MonitorSpec, Profile},
        tenant::{Quotas, Tenant},
    },
    plugins::{self, Digest, Found},
    sandbox::{Library, Sandbox},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::net::TcpSocket;

const HOSTILE_TENANTS: usize = 5;
const HONEST_TENANTS: usize = 4;

/// A guest that is written by hand, in its shell; `change` is made to its text.
pub fn by_hand(name: &str, change: impl FnOnce(String) -> String) -> Result<Found> {
    let folder = root().join("tests/guests/wat");
    let core = change(std::fs::read_to_string(
        folder.join(format!("in-shell/{name}.wat")),
    )?);
    let shell = std::fs::read_to_string(folder.join("shell.wat"))?;
    let bytes = wat::parse_str(shell.replacen("  ;; @guest\n", &core, 1))?;
    Ok(Found {
        path: format!("{name}.wasm").into(),
        manifest: None,
        digest: Digest::of(&bytes),
        bytes,
    })
}

/// The plugins of honest and hostile monitors.
pub fn load(host: &HostSettings, cases: &[Case], clock: &Clock) -> Result<(Arc<Sandbox>, Arc<Library>)> {
    let sandbox = Sandbox::new(setup::sandbox_settings(host)?, clock.clone())?;
    let mut found = Vec::new();
    for path in [
        support::guest("noop")?,
        support::guest(CHAOS)?,
        support::plugin("http")?,
    ] {
        found.push(plugins::read(&path).map_err(|problem| anyhow::anyhow!("{problem}"))?);
    }
    let mut names: Vec<&str> = cases.iter().map(|case| case.guest.as_str()).collect();
    names.retain(|name| *name != CHAOS);
    names.sort_unstable();
    names.dedup();
    for name in names {
        found.push(by_hand(name, |core| core)?);
    }
    let (library, problems) = Library::load(&sandbox, found);
    if let Some(problem) = problems.first() {
        bail!("{problem}");
    }
    Ok((sandbox, Arc::new(library)))
}

/// Servers that hostile guests talk to. The socket keeps the port of the one that refuses, and never listens.
pub fn targets(server: &target::Server) -> Result<(Targets, TcpSocket)> {
    let refusing = TcpSocket::new_v4()?;
    refusing.bind("127.0.0.1:0".parse()?)?;
    let targets = Targets {
        silent: server.address(0).parse()?,
        refused: refusing.local_addr()?,
    };
    Ok((targets, refusing))
}

pub fn tenant(name: &str) -> Arc<Tenant> {
    Arc::new(Tenant::new(name, Quotas::default()))
}

pub fn honest(count: usize, server: &target::Server) -> Vec<MonitorSpec> {
    let noop = setup::profile("noop", Grants::default(), 0);
    let http = setup::profile("http", setup::own_url_on_loopback(), 0);
    let mut monitors = Vec::new();
    for of in 0..HONEST_TENANTS {
        let tenant = tenant(&format!("honest-{of}"));
        let class = |profile: &Arc<Profile>| {
            Arc::new(Class {
                tenant: Arc::clone(&tenant),
                ..setup::class(profile, "{}", Duration::from_secs(5), EVERY)
            })
        };
        let (computes, asks) = (class(&noop), class(&http));
        for number in (of..count).step_by(HONEST_TENANTS) {
            let name = format!("monitor-{number}");
            monitors.push(if number % 5 == 0 {
                let url = json!({ "url": format!("http://{}/ok", server.address(number)) });
                MonitorSpec::new(Arc::clone(&asks), None, &name, Some(&url.to_string()))
            } else {
                MonitorSpec::new(Arc::clone(&computes), None, &name, None)
            });
        }
    }
    monitors
}

pub fn hostile(cases: &[Case], targets: &Targets) -> Vec<MonitorSpec> {
    let mut monitors = Vec::new();
    for of in 0..HOSTILE_TENANTS {
        let tenant = tenant(&format!("hostile-{of}"));
        for (number, case) in cases.iter().enumerate() {
            let profile = setup::profile_within(case.limits(), &case.guest, case.grants(), 0);
            let timeout = case.timeout().unwrap_or(Duration::from_secs(20));
            let class = Class {
                tenant: Arc::clone(&tenant),
                ..setup::class(&profile, &case.settings(targets), timeout, EVERY)
            };
            monitors.push(MonitorSpec::new(
                Arc::new(class),
                None,
                &format!("case-{number}"),
                None,
            ));
        }
    }
    monitors
}
