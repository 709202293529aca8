//! What `plugin run`, `plugin bench` and `plugin test --record` have in common: settings, grants and limits by flags.

use crate::{
    app::{self, Trial},
    cases::{self, Scene, excerpt},
    cli::quoted,
    config::{self, parse_duration, parse_size},
    domain::{
        color::Color,
        grant::{DirectoryGrant, DockerGrant, Grants, Network},
        limits::Limits,
        outcome::Denial,
        plugin::Facts,
        secret::{self, Secrets},
        spec::Kind,
    },
};
use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::{
    fmt,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The settings unless the flag says otherwise.
const NO_SETTINGS: &str = "{}";
/// Bytes of settings.
const SETTINGS_BYTES_MAX: u64 = 1 << 20;
/// The engine's socket unless the flag says otherwise.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// One execution by flags.
#[derive(Debug, Args)]
pub struct SceneArgs {
    /// The settings: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON", default_value = NO_SETTINGS)]
    pub settings: String,
    /// Which export to call; needed where the plugin has several
    #[arg(long, value_enum, value_name = "KIND")]
    kind: Option<KindName>,
    /// Which attempt the plugin is told that it is
    #[arg(long, value_name = "N", default_value_t = 1)]
    attempt: u32,
    /// The color of a code
    #[arg(long, value_name = "COLOR", default_value = "red", value_parser = color)]
    color: Color,
    /// Grant something, as [plugins.NAME] grants would: http=URL, tcp=HOST:PORT, udp=HOST:PORT, dns=HOST:PORT,
    /// icmp=HOST, networks=CLASS, docker=CONTAINER[@SOCKET], commands='NAME:/PROGRAM ARG {PLACEHOLDER}',
    /// directories=PATH (may be given more than once)
    #[arg(long, value_name = "WHAT=PATTERN")]
    grant: Vec<String>,
    /// Name of a setting whose value nothing that is printed or recorded may show (may be given more than once)
    #[arg(long, value_name = "SETTING")]
    secret: Vec<String>,
    /// Units of fuel [default: 50000000]
    #[arg(long, value_name = "UNITS", value_parser = clap::value_parser!(u64).range(1..))]
    fuel: Option<u64>,
    /// CPU time [default: 200ms]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    cpu: Option<Duration>,
    /// Wall time [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// Memory [default: 32MiB]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    memory: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KindName {
    Pulse,
    Intervention,
    Code,
}

impl KindName {
    fn kind(self) -> Kind {
        match self {
            Self::Pulse => Kind::Pulse,
            Self::Intervention => Kind::Intervention,
            Self::Code => Kind::Code,
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(span) if span.is_zero() => Err("it is zero".to_owned()),
        Ok(span) => Ok(span),
        Err(wrong) => Err(format!("{wrong}; write a duration as \"500ms\" or \"1m30s\"")),
    }
}

fn memory(text: &str) -> Result<u64, String> {
    match parse_size(text) {
        Ok(bytes) if bytes > app::MEMORY_BYTES_MAX => {
            Err(format!("at most {} MiB are given", app::MEMORY_BYTES_MAX >> 20))
        }
        Ok(bytes) => Ok(bytes),
        Err(wrong) => Err(format!("{wrong}; write a size as \"64KiB\" or \"32MiB\"")),
    }
}

fn color(text: &str) -> Result<Color, String> {
    Color::from_name(text).ok_or_else(|| format!("colors are {}", Color::ALL.map(Color::name).join(", ")))
}

/// What is wrong with the command line or the settings: exit code 2, not 1.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

fn usage<T>(message: impl Into<String>) -> Result<T> {
    Err(Usage(message.into()).into())
}

impl SceneArgs {
    /// The flags that were given.
    pub fn given(&self) -> Vec<&'static str> {
        let flags = [
            ("--settings", self.settings != NO_SETTINGS),
            ("--kind", self.kind.is_some()),
            ("--attempt", self.attempt != 1),
            ("--color", self.color != Color::Red),
            ("--grant", !self.grant.is_empty()),
            ("--secret", !self.secret.is_empty()),
            ("--fuel", self.fuel.is_some()),
            ("--cpu", self.cpu.is_some()),
            ("--timeout", self.timeout.is_some()),
            ("--memory", self.memory.is_some()),
        ];
        flags
            .into_iter()
            .filter_map(|(flag, given)| given.then_some(flag))
            .collect()
    }

    /// Whether they say what is to be run, and not only how.
    pub fn says_what(&self) -> bool {
        self.settings != NO_SETTINGS || !self.grant.is_empty() || self.kind.is_some()
    }

    /// Memory that the sandbox must be able to give.
    pub fn memory_bytes(&self) -> u64 {
        self.memory.unwrap_or_default()
    }

    /// The scene that the flags say, for that plugin.
    ///
    /// # Errors
    /// [`Usage`], with everything that is wrong at once.
    pub fn scene(&self, trial: &Trial) -> Result<Scene> {
        let facts = &trial.plugin()?.facts;
        let (name, text) = self.settings_text()?;
        let settings = settings(facts, &name, &text)?;
        let mut scene = Scene::new(self.kind(facts)?, settings.to_string());
        scene.secrets = Arc::new(secrets(facts, &settings, &self.secret)?);
        scene.grants = grants(&self.grant)?;
        let default = Limits::default();
        scene.limits = Limits {
            fuel: self.fuel.unwrap_or(default.fuel),
            cpu: self.cpu.unwrap_or(default.cpu),
            memory_bytes: self.memory.unwrap_or(default.memory_bytes),
        };
        scene.timeout = self.timeout.unwrap_or(scene.timeout);
        scene.attempt = self.attempt;
        if self.color != scene.code.color {
            let name = self.color.name();
            scene.code.color = self.color;
            scene.code.title = format!("{} is {name}", scene.monitor);
            scene.code.delivery_id = format!("01jdf0/{name}/1/alerts");
        }
        Ok(scene)
    }

    fn kind(&self, facts: &Facts) -> Result<Kind> {
        let kinds: Vec<&str> = facts.kinds.iter().map(|kind| kind.name()).collect();
        match (self.kind, facts.kinds.as_slice()) {
            (None, [kind]) => Ok(*kind),
            (None, _) => usage(format!(
                "the plugin `{}` has several kinds; name one: --kind {}",
                facts.name,
                kinds.join(" or --kind ")
            )),
            (Some(wanted), present) if present.contains(&wanted.kind()) => Ok(wanted.kind()),
            (Some(wanted), _) => usage(format!(
                "the plugin `{}` exports no {}; it exports {}",
                facts.name,
                wanted.kind().name(),
                kinds.join(" and ")
            )),
        }
    }

    /// Where the settings come from, and what stands there.
    fn settings_text(&self) -> Result<(String, String)> {
        let read = |name: &str, reader: &mut dyn std::io::Read| {
            let mut text = String::new();
            match reader.take(SETTINGS_BYTES_MAX + 1).read_to_string(&mut text) {
                Ok(_) if text.len() as u64 > SETTINGS_BYTES_MAX => usage(format!(
                    "{name}: more than {} KiB of settings",
                    SETTINGS_BYTES_MAX >> 10
                )),
                Ok(_) => Ok((name.to_owned(), text)),
                Err(error) => usage(format!("{name} can't be read: {error}")),
            }
        };
        if self.settings == "-" {
            return read("standard input", &mut std::io::stdin().lock());
        }
        match self.settings.strip_prefix('@') {
            None => Ok(("--settings".to_owned(), self.settings.clone())),
            Some(path) => match std::fs::File::open(path) {
                Ok(mut file) => read(path, &mut file),
                Err(error) => usage(format!("--settings @{path}: {error}")),
            },
        }
    }
}

/// Reads settings and holds them against the plugin's schema.
fn settings(facts: &Facts, name: &str, text: &str) -> Result<Value> {
    let settings: Value = match serde_json::from_str(text) {
        Ok(settings) => settings,
        Err(error) => {
            let at = excerpt::offset(text, error.line(), error.column());
            let message = error.to_string();
            let message = message
                .rsplit_once(" at line ")
                .map_or(&*message, |(message, _)| message);
            return usage(excerpt::at(
                name,
                text,
                at..at + 1,
                &format!("this is no JSON: {message}"),
            ));
        }
    };
    if !settings.is_object() {
        return usage(excerpt::at(
            name,
            text,
            excerpt::json_place(text, &[], false),
            "settings are an object: {\"name\": value}",
        ));
    }
    let wrong = config::wrong_settings(facts, &settings).map_err(Usage)?;
    if wrong.is_empty() {
        return Ok(settings);
    }
    let mut shown = String::new();
    for wrong in &wrong {
        let unknown = !wrong.missing && wrong.text.contains(" is unknown");
        let place = excerpt::json_place(text, &wrong.path, unknown);
        shown.push_str(&excerpt::at(name, text, place, &wrong.text));
    }
    usage(shown)
}

/// Values that nobody may read: of the settings that were named, and of those that are marked.
fn secrets(facts: &Facts, settings: &Value, named: &[String]) -> Result<Secrets> {
    let mut values = cases::marked(&facts.schema, settings);
    for path in named {
        let pointer = format!("/{}", path.replace('.', "/"));
        match settings.pointer(&pointer) {
            Some(Value::String(value)) => {
                if let Some(wrong) = secret::wrong(value) {
                    return usage(format!("--secret {path}: the secret {wrong}"));
                }
                values.insert(path.as_str().into(), value.as_str().into());
            }
            Some(_) => return usage(format!("--secret {path}: the setting is no text")),
            None => return usage(format!("--secret {path}: there is no such setting")),
        }
    }
    match Secrets::new(values) {
        Ok(secrets) => Ok(secrets),
        Err(error) => usage(format!("the secrets can't be searched for: {error}")),
    }
}

fn grants(words: &[String]) -> Result<Grants> {
    const KEYS: &str = "http, tcp, udp, dns, icmp, networks, docker, commands and directories";
    let mut grants = Grants::default();
    let mut wrong = Vec::new();
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            wrong.push(format!(
                "--grant {word}: there is no `=`; write --grant http=https://example.com"
            ));
            continue;
        };
        let read = match key {
            "http" => config::http_grant(value).map(|grant| grants.http.push(grant)),
            "tcp" => config::tcp_grant(value).map(|grant| grants.tcp.push(grant)),
            "udp" => config::tcp_grant(value).map(|grant| grants.udp.push(grant)),
            "dns" => config::dns_grant(value).map(|grant| grants.dns.push(grant)),
            "icmp" => config::icmp_grant(value).map(|grant| grants.icmp.push(grant)),
            "commands" => config::command_by_words(value).and_then(|command| {
                match grants.commands.iter().any(|other| other.name == command.name) {
                    true => Err("a command has one declaration".to_owned()),
                    false => {
                        grants.commands.push(Arc::new(command));
                        Ok(())
                    }
                }
            }),
            "networks" => match Network::from_name(value) {
                Some(network) => {
                    grants.networks.insert(network);
                    Ok(())
                }
                None => Err(format!(
                    "classes of address are {}",
                    Network::ALL.map(Network::name).join(", ")
                )),
            },
            "docker" => {
                let (name, socket) = value.split_once('@').unwrap_or((value, DOCKER_SOCKET));
                let docker = grants.docker.get_or_insert_with(|| DockerGrant {
                    containers: Vec::new(),
                    socket: PathBuf::from(socket),
                });
                if docker.socket == Path::new(socket) {
                    docker.containers.push(name.to_owned());
                    Ok(())
                } else {
                    Err("all containers are reached through one socket".to_owned())
                }
            }
            "directories" => match std::path::absolute(value) {
                Ok(path) => {
                    grants.directories.push(DirectoryGrant { path });
                    Ok(())
                }
                Err(error) => Err(error.to_string()),
            },
            _ => Err(format!("grants are {KEYS}")),
        };
        if let Err(error) = read {
            wrong.push(format!("--grant {word}: {error}"));
        }
    }
    if wrong.is_empty() {
        Ok(grants)
    } else {
        usage(wrong.join("\n"))
    }
}

/// The flag that would allow what was denied: the last entry of the line that the host proposes for a configuration.
pub fn flag(denial: &Denial) -> Option<String> {
    let (_, line) = denial.grant.split_once("] grants.")?;
    let table: toml::Table = toml::from_str(line).ok()?;
    let (key, value) = table.iter().next()?;
    if key == "commands" {
        let name = value.as_array()?.last()?.as_str()?;
        return Some(format!("--grant commands='{name}:/path/to/program {{argument}}'"));
    }
    let value = match value {
        toml::Value::Table(docker) => {
            let name = docker.get("containers")?.as_array()?.last()?.as_str()?;
            match docker.get("socket").and_then(toml::Value::as_str) {
                Some(DOCKER_SOCKET) | None => name.to_owned(),
                Some(socket) => format!("{name}@{socket}"),
            }
        }
        toml::Value::Array(entries) => match entries.last()? {
            toml::Value::String(entry) => entry.clone(),
            entry => entry.get("path")?.as_str()?.to_owned(),
        },
        _ => return None,
    };
    Some(format!("--grant {key}={}", quoted(&value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_names_its_flag() {
        for (line, wanted) in [
            (
                "[plugins.a] grants.http = [\"https://a:443\", \"https://b:443\"]",
                Some("--grant http=https://b:443"),
            ),
            (
                "[plugins.a] grants.networks = [\"public\", \"loopback\"]",
                Some("--grant networks=loopback"),
            ),
            (
                "[plugins.a] grants.docker = { containers = [\"web\"], socket = \"/var/run/docker.sock\" }",
                Some("--grant docker=web"),
            ),
            (
                "[plugins.a] grants.commands = [\"x\", \"disk\"]",
                Some("--grant commands='disk:/path/to/program {argument}'"),
            ),
            (
                "[plugins.a] grants.directories = [{ path = \"./a b\", access = \"append\" }]",
                Some("--grant directories='./a b'"),
            ),
            ("no grant reaches multicast addresses", None),
        ] {
            let denial = Denial {
                capability: "http",
                wanted: String::new(),
                grant: line.to_owned(),
            };
            assert_eq!(flag(&denial).as_deref(), wanted, "{line}");
        }
    }

    #[test]
    fn grants_are_read_and_all_that_is_wrong_is_said() {
        let read = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            grants(&words)
        };
        let good = read(&["http=http://a", "networks=loopback", "docker=web-*", "docker=db"]).unwrap();
        assert_eq!(good.docker.unwrap().containers, ["web-*", "db"]);
        let error = read(&["http=a", "x=y", "z", "networks=lan"])
            .unwrap_err()
            .to_string();
        assert_eq!(error.lines().count(), 4, "{error}");
    }
}
