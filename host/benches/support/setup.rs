//! What a host, or a part of one, needs before it can be measured.

use anyhow::{Context as _, Result, bail};
use pulse_host::{
    clock::Clock,
    domain::{
        grant::{Grants, HttpGrant, Network, NetworkSet},
        host::HostSettings,
        limits::Limits,
        spec::{Check, Class, Policy, Profile},
        tenant::Tenant,
    },
    plugins,
    sandbox::{Compiler, Library, Sandbox, SandboxSettings},
};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Components are compiled by this very program, as a child.
pub fn sandbox_settings(host: &HostSettings) -> Result<SandboxSettings> {
    let program = std::env::current_exe().context("the path of this program is unknown")?;
    Ok(SandboxSettings::new(host, Compiler::Child(program)))
}

/// A sandbox with these plugins in it, all of which must load.
pub fn load(host: &HostSettings, clock: &Clock, paths: &[PathBuf]) -> Result<(Arc<Sandbox>, Arc<Library>)> {
    let sandbox = Sandbox::new(sandbox_settings(host)?, clock.clone())?;
    let mut found = Vec::new();
    for path in paths {
        found.push(plugins::read(path).map_err(|problem| anyhow::anyhow!("{problem}"))?);
    }
    let (library, problems) = Library::load(&sandbox, found);
    if let Some(problem) = problems.first() {
        bail!("{problem}");
    }
    Ok((sandbox, Arc::new(library)))
}

/// A plugin with the limits that it has by default.
pub fn profile(plugin: &str, grants: Grants, reuse: u32) -> Arc<Profile> {
    profile_within(Limits::default(), plugin, grants, reuse)
}

/// A plugin with other limits.
pub fn profile_within(limits: Limits, plugin: &str, grants: Grants, reuse: u32) -> Arc<Profile> {
    Arc::new(Profile {
        plugin: plugin.into(),
        digest: "".into(),
        limits,
        grants: Arc::new(grants),
        reuse,
    })
}

/// What the `http` plugin needs to ask for each monitor's own URL, if that is on loopback.
pub fn own_url_on_loopback() -> Grants {
    let mut networks = NetworkSet::default();
    networks.insert(Network::Loopback);
    Grants {
        http: vec![HttpGrant::Settings(vec!["url".to_owned()])],
        networks,
        ..Grants::default()
    }
}

/// Monitors with that check, as often when they fail, and nobody to be told.
pub fn class(profile: &Arc<Profile>, settings: &str, timeout: Duration, interval: Duration) -> Class {
    Class {
        tenant: Arc::new(Tenant::unlimited()),
        labels: Arc::new([]),
        policy: Policy {
            interval,
            retry_interval: interval,
            failure_threshold: 3,
            success_threshold: 2,
            page_after: Duration::from_secs(300),
            repeat: None,
            fault_threshold: 3,
        },
        pulse: Some(Check {
            profile: Arc::clone(profile),
            timeout,
            settings: settings.into(),
        }),
        intervention: None,
        sinks: Arc::new([]),
        parents: Arc::new([]),
    }
}
