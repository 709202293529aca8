//! One check, once: of a configured monitor, or with a plugin and settings.

use super::{
    load::{Places, facts, load_plugins, prepare, small_sandbox},
    lock,
    wrong::{Wrong, tenants_text},
};
use crate::{
    capability::log,
    clock::Clock,
    config::{self, Keep, Silent},
    domain::{
        deadman::Watch,
        host::LockPolicy,
        job::Job,
        outcome::{Outcome, Usage},
        spec::MonitorSpec,
    },
    journal::shown,
    sandbox::{Executor, Library, Sandbox},
};
use anyhow::Result;
use std::sync::Arc;

/// What one check came to.
pub struct Probed {
    /// The monitor's name.
    pub monitor: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// What the plugin logged.
    pub log: Vec<log::Line>,
}

/// Why nothing was probed: what is wrong, in one line and in full.
pub struct Refused {
    /// One line.
    pub summary: String,
    /// Everything, in whole lines.
    pub text: String,
}

impl Refused {
    /// Wrong in a way that one line tells.
    #[must_use]
    pub fn line(message: String) -> Self {
        Self {
            text: format!("pulse-host: {message}\n"),
            summary: message.lines().next().unwrap_or_default().to_owned(),
        }
    }

    fn wrong(wrong: &Wrong, color: bool) -> Self {
        Self {
            summary: wrong.summary(),
            text: wrong.text(color),
        }
    }
}

/// Checks a configured monitor once. `color` is for what is wrong with the configuration.
///
/// # Errors
/// When something that is no matter of configuration fails. What is wrong with the configuration, or that it holds
/// no such monitor, is the inner error.
pub fn probe_monitor(places: Places<'_>, name: &str, color: bool) -> Result<Result<Probed, Refused>> {
    let prepared = match prepare(places, Keep::Nothing, &mut Silent)? {
        Ok(prepared) => prepared,
        Err(wrong) => return Ok(Err(Refused::wrong(&wrong, color))),
    };
    let monitors = &prepared.config.monitors;
    let Some(spec) = monitors.iter().find(|spec| shown(spec) == name) else {
        // That the present one is wrong is why it is not there, or not as it was written.
        let tenant = name.split_once('/').map(|(tenant, _)| tenant);
        let states = prepared.config.tenants.iter();
        let wrong = states.filter(|state| Some(&*state.tenant.name) == tenant);
        let text = tenants_text(wrong, color);
        if !text.is_empty() {
            let summary = format!("there is no monitor `{name}`, and the tenant's configuration is wrong");
            return Ok(Err(Refused { summary, text }));
        }
        let nearest = monitors
            .iter()
            .map(shown)
            .min_by_key(|other| strsim::damerau_levenshtein(other, name));
        let place = prepared.config_path.display();
        return Ok(Err(Refused::line(match nearest {
            Some(other) => format!("there is no monitor `{name}` in {place}; did you mean `{other}`?"),
            None => format!("there is no monitor at all in {place}"),
        })));
    };
    if Watch::of(spec).is_some() {
        return Ok(Err(Refused::line(format!(
            "`{name}` waits for heartbeats, and those that come are known to the host that runs: `pulse-host status {name}`"
        ))));
    }
    probe(&prepared.sandbox, &prepared.library, &prepared.clock, spec).map(Ok)
}

/// Checks once with a plugin and settings, without any configured monitor. The plugin's limits and grants are
/// those of the configuration, if there is one.
///
/// # Errors
/// When something that is no matter of plugin or settings fails. What is wrong with those is the inner error.
pub fn probe_plugin(
    places: Places<'_>,
    plugin: &str,
    settings: serde_json::Map<String, serde_json::Value>,
    color: bool,
) -> Result<Result<Probed, Refused>> {
    // Without a configuration there is nothing to be found, and nothing is needed.
    let (sandbox, library, config) = if config::default_paths(places.config).is_ok() {
        match prepare(places, Keep::Nothing, &mut Silent)? {
            Ok(prepared) => (prepared.sandbox, prepared.library, Some(prepared.config)),
            Err(wrong) => return Ok(Err(Refused::wrong(&wrong, color))),
        }
    } else {
        let sandbox = small_sandbox()?;
        let gate = lock::gate(places, None, LockPolicy::default())?;
        let (library, problems) = load_plugins(&sandbox, places.plugins, &Vec::new(), &gate);
        for problem in problems {
            tracing::warn!("plugin not usable: {problem}");
        }
        (sandbox, Arc::new(library), None)
    };
    let spec = match config::ad_hoc(config.as_ref(), &facts(&library), plugin, settings) {
        Ok(spec) => spec,
        Err(message) => return Ok(Err(Refused::line(message))),
    };
    probe(&sandbox, &library, &Clock::system(), &spec).map(Ok)
}

fn probe(
    sandbox: &Arc<Sandbox>,
    library: &Arc<Library>,
    clock: &Clock,
    spec: &MonitorSpec,
) -> Result<Probed> {
    let now = clock.mono();
    let job = Job::alone(spec.clone(), now, clock.wall());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (result, log) = runtime.block_on(async {
        let executor = Executor::new(Arc::clone(sandbox), Arc::clone(library));
        executor.execute_keeping_log(job).await
    });
    runtime.shutdown_background();
    Ok(Probed {
        monitor: shown(spec).into_owned(),
        outcome: result.outcome,
        usage: result.usage,
        log,
    })
}
