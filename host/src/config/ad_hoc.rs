//! One monitor that no file describes: `probe --plugin http --set url=…`.

use super::{
    Config,
    build::PULSE_TIMEOUT,
    lane::key,
    needs,
    read::{list, nearest},
    schema::{Schema, pointer},
};
use crate::domain::{
    grant::Grants,
    host::HostSettings,
    limits::Limits,
    plugin::Facts,
    spec::{Kind, MonitorSpec, Profile},
};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

/// A monitor that is probed once. What its plugin may reach is what `[plugins.NAME]` grants; where nothing is
/// granted, exactly the target that the settings name, since the operator typed it himself.
///
/// # Errors
/// No such plugin, none that checks, or settings that it does not take; in words for the operator.
pub fn ad_hoc(
    config: Option<&Config>,
    facts: &BTreeMap<String, Facts>,
    plugin: &str,
    settings: Map<String, Value>,
) -> Result<MonitorSpec, String> {
    let pulses: Vec<&str> = facts
        .values()
        .filter(|facts| facts.kinds.contains(&Kind::Pulse))
        .map(|facts| facts.name.as_ref())
        .collect();
    let Some(facts) = facts.get(plugin) else {
        return Err(match nearest(plugin, &pulses) {
            Some(near) => format!("there is no plugin `{plugin}`; did you mean `{near}`?"),
            None => format!(
                "there is no plugin `{plugin}`; plugins for pulse are {}",
                list(&pulses)
            ),
        });
    };
    if !facts.kinds.contains(&Kind::Pulse) {
        let text = format!(
            "the plugin `{plugin}` checks nothing; plugins for pulse are {}",
            list(&pulses)
        );
        return Err(text);
    }
    let settings = check(facts, settings)?;
    let profile = config
        .and_then(|config| config.profiles.get(plugin))
        .filter(|profile| *profile.grants != Grants::default());
    let profile = match profile {
        Some(profile) => Arc::clone(profile),
        None => Arc::new(implied(config, facts)?),
    };
    let host = config.map_or_else(|| HostSettings::new(PathBuf::new()), |config| config.host.clone());
    let timeout = PULSE_TIMEOUT.min(host.max_timeout);
    Ok(MonitorSpec::alone(
        plugin,
        profile,
        &settings.to_string(),
        timeout,
    ))
}

/// What is wrong with one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongSetting {
    /// JSON pointer of what is wrong, segment by segment; of what is missing, where it should be.
    pub path: Vec<String>,
    /// It is not there at all.
    pub missing: bool,
    /// In words: names the setting, says what is wrong and, where that is known, what would be right.
    pub text: String,
}

/// Everything that a plugin's schema finds wrong with settings.
///
/// # Errors
/// The schema itself is wrong.
pub fn wrong_settings(facts: &Facts, settings: &Value) -> Result<Vec<WrongSetting>, String> {
    let schema = Schema::compile(&facts.schema)
        .map_err(|error| format!("the schema of the plugin `{}` is wrong: {error}", facts.name))?;
    let wrong = schema.check(settings).into_iter().map(|complaint| {
        let missing = complaint.missing.is_some();
        let path: Vec<String> = complaint
            .path
            .into_iter()
            .chain(complaint.key)
            .chain(complaint.missing)
            .collect();
        let name = pointer(path.iter().map(String::as_str));
        let help = complaint
            .help
            .map_or_else(String::new, |help| format!(" ({help})"));
        WrongSetting {
            text: format!(
                "the setting `{name}` of plugin `{}` {}{help}",
                facts.name, complaint.wrong
            ),
            path,
            missing,
        }
    });
    Ok(wrong.collect())
}

fn check(facts: &Facts, settings: Map<String, Value>) -> Result<Value, String> {
    let settings = Value::Object(settings);
    let wrong = wrong_settings(facts, &settings)?;
    if wrong.is_empty() {
        return Ok(settings);
    }
    let lines: Vec<String> = wrong.into_iter().map(|wrong| wrong.text).collect();
    Err(lines.join("\n"))
}

fn implied(config: Option<&Config>, facts: &Facts) -> Result<Profile, String> {
    let grants = needs::implied(facts);
    if let Some(missing) = needs::missing(facts, &grants).into_iter().next() {
        return Err(format!(
            "plugin `{name}` needs grants.{}; add to [plugins.{}]: {}",
            missing.grant,
            key(&facts.name),
            missing.line,
            name = facts.name
        ));
    }
    let (limits, reuse) = config
        .and_then(|config| config.profiles.get(facts.name.as_ref()))
        .map_or((Limits::default(), 0), |profile| (profile.limits, profile.reuse));
    Ok(Profile {
        plugin: Arc::clone(&facts.name),
        digest: Arc::clone(&facts.digest),
        limits,
        grants: Arc::new(grants),
        reuse,
    })
}
