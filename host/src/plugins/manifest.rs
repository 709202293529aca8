//! `plugin.toml`: what a plugin's author says about it.

use super::reach::Reach;
use crate::domain::{plugin::Capability, spec::Kind};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// The manifest's file name.
pub const FILE: &str = "plugin.toml";

/// Entries of one key under `requests`.
const ENTRIES_MAX: usize = 256;
/// Of one entry.
const ENTRY_BYTES_MAX: usize = 1 << 10;
/// Of a stranger's word that is repeated in a message.
const SHOWN_CHARS_MAX: usize = 128;

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The plugin's name, everywhere.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// What it exports, sorted.
    pub kinds: Vec<Kind>,
    /// File name of the component, in the manifest's folder.
    pub component: String,
    /// What it asks to be lent, sorted.
    pub needs: Vec<Capability>,
    /// What its language's runtime imports and nothing in it calls, sorted. Nobody has to grant it, and who calls it all
    /// the same is denied.
    pub unused: Vec<Capability>,
    /// What its author wants to reach. That grants nothing: an operator sees it before he grants something himself.
    pub requests: Reach,
    /// The text itself.
    pub text: Arc<str>,
    /// How it is built; none if nobody said so.
    pub build: Option<Build>,
}

/// `[build]`: for whoever develops the plugin. The host itself never builds anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Program and arguments, run in the manifest's folder.
    pub command: Vec<String>,
    /// What it makes, below the manifest's folder; copied to `component` if it is another file.
    pub output: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Raw {
    name: toml::Spanned<String>,
    version: toml::Spanned<String>,
    kinds: toml::Spanned<Vec<String>>,
    component: toml::Spanned<String>,
    #[serde(default)]
    needs: Option<toml::Spanned<Vec<String>>>,
    #[serde(default)]
    unused: Option<toml::Spanned<Vec<String>>>,
    #[serde(default)]
    requests: BTreeMap<toml::Spanned<String>, toml::Spanned<Vec<toml::Spanned<String>>>>,
    build: Option<RawBuild>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawBuild {
    command: toml::Spanned<Vec<String>>,
    output: Option<toml::Spanned<String>>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// Everything that is wrong with it, one problem a line, each with its line number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let raw: Raw = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        let mut problems = Vec::new();
        let mut problem = |start: usize, message: String| {
            let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
            problems.push(format!("line {line}: {message}"));
        };
        if !name_is_valid(raw.name.get_ref()) {
            problem(
                raw.name.span().start,
                format!("name: {}", name_rule(raw.name.get_ref())),
            );
        }
        if !version_is_valid(raw.version.get_ref()) {
            let message = format!(
                "version: `{}` is no semantic version such as 1.0.0",
                shown(raw.version.get_ref())
            );
            problem(raw.version.span().start, message);
        }
        let mut kinds = Vec::new();
        for kind in raw.kinds.get_ref() {
            match Kind::from_name(kind) {
                Some(kind) => kinds.push(kind),
                None => problem(
                    raw.kinds.span().start,
                    format!(
                        "kinds: there is no kind `{}`; it is pulse, intervention or code",
                        shown(kind)
                    ),
                ),
            }
        }
        if raw.kinds.get_ref().is_empty() {
            problem(
                raw.kinds.span().start,
                "kinds: a plugin has at least one".to_owned(),
            );
        }
        let component = raw.component.get_ref();
        if component.is_empty()
            || component.contains(['/', '\\', '\0'])
            || component == ".."
            || component == "."
        {
            let message = format!(
                "component: `{}` is no file name in the manifest's own folder",
                shown(component)
            );
            problem(raw.component.span().start, message);
        }
        let mut listed = |key: &str, raw: Option<&toml::Spanned<Vec<String>>>| {
            let mut listed = Vec::new();
            for name in raw.into_iter().flat_map(|raw| raw.get_ref()) {
                match Capability::ALL
                    .into_iter()
                    .find(|capability| capability.name() == name)
                {
                    Some(capability) => listed.push(capability),
                    None => problem(
                        raw.map_or(0, |raw| raw.span().start),
                        format!(
                            "{key}: the host lends no `{}`; it lends {}",
                            shown(name),
                            Capability::ALL.map(Capability::name).join(", ")
                        ),
                    ),
                }
            }
            listed.sort_unstable();
            listed.dedup();
            listed
        };
        let needs = listed("needs", raw.needs.as_ref());
        let unused = listed("unused", raw.unused.as_ref());
        if let (Some(both), Some(raw)) = (unused.iter().find(|one| needs.contains(one)), &raw.unused) {
            let message = format!(
                "unused: `{}` is in needs too; it is one or the other",
                both.name()
            );
            problem(raw.span().start, message);
        }
        let mut requests = Reach::default();
        for (key, entries) in &raw.requests {
            let name = key.get_ref();
            if !Reach::askable().any(|askable| askable == name) {
                let askable: Vec<&str> = Reach::askable().collect();
                let message = format!(
                    "requests: `{}` can't be asked for; it is one of {}",
                    shown(name),
                    askable.join(", ")
                );
                problem(key.span().start, message);
                continue;
            }
            let served = |need: &Capability| serves(name).contains(need);
            if !entries.get_ref().is_empty() && !needs.iter().any(served) {
                let lent = serves(name).iter().map(|need| format!("\"{}\"", need.name()));
                let message = format!(
                    "requests: without {} in needs, {name} can't be used",
                    lent.collect::<Vec<_>>().join(" or ")
                );
                problem(key.span().start, message);
            }
            if entries.get_ref().len() > ENTRIES_MAX {
                let message = format!("requests: there are more than {ENTRIES_MAX} of {name}");
                problem(key.span().start, message);
                continue;
            }
            for entry in entries.get_ref() {
                let inserted = if entry.get_ref().len() > ENTRY_BYTES_MAX {
                    Err(format!("it is longer than {ENTRY_BYTES_MAX} bytes"))
                } else {
                    requests.insert(name, entry.get_ref())
                };
                if let Err(wrong) = inserted {
                    let message = format!("requests: {name}: `{}`: {wrong}", shown(entry.get_ref()));
                    problem(entry.span().start, message);
                }
            }
        }
        let build = raw.build.map(|build| {
            if build.command.get_ref().first().is_none_or(String::is_empty) {
                problem(
                    build.command.span().start,
                    "build: command: names no program; write for example [\"cargo\", \"build\"]".to_owned(),
                );
            }
            if let Some(output) = &build.output
                && !is_beneath(Path::new(output.get_ref()))
            {
                let message = format!(
                    "build: output: `{}` is no path below the manifest's own folder",
                    shown(output.get_ref())
                );
                problem(output.span().start, message);
            }
            Build {
                command: build.command.into_inner(),
                output: build.output.map(|output| PathBuf::from(output.into_inner())),
            }
        });
        if !problems.is_empty() {
            return Err(problems.join("\n"));
        }
        kinds.sort_unstable();
        kinds.dedup();
        Ok(Self {
            name: raw.name.into_inner(),
            version: raw.version.into_inner(),
            kinds,
            component: raw.component.into_inner(),
            needs,
            unused,
            requests,
            build,
            text: text.into(),
        })
    }
}

/// Whether a path goes down and nowhere else.
fn is_beneath(path: &Path) -> bool {
    let mut parts = path.components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// What of `needs` a grant of that key is for.
fn serves(key: &str) -> &'static [Capability] {
    match key {
        "http" => &[Capability::Http, Capability::WasiHttp],
        "tcp" => &[Capability::Tcp, Capability::Tls, Capability::WasiSockets],
        "udp" => &[Capability::WasiSockets],
        "dns" => &[Capability::Dns],
        "icmp" => &[Capability::Icmp],
        "networks" => &[
            Capability::Http,
            Capability::Tcp,
            Capability::Tls,
            Capability::Dns,
            Capability::Icmp,
            Capability::WasiHttp,
            Capability::WasiSockets,
        ],
        "containers" => &[Capability::Docker],
        _ => &[],
    }
}

/// A plugin's name, or one in a tenant's namespace: `acme/http`.
#[must_use]
pub fn full_name_is_valid(name: &str) -> bool {
    match name.split_once('/') {
        Some((tenant, name)) => name_is_valid(tenant) && name_is_valid(name),
        None => name_is_valid(name),
    }
}

/// Lower-case letters, digits and inner hyphens; at most 64.
#[must_use]
pub fn name_is_valid(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// What is wrong with a name, and what would be right.
#[must_use]
pub fn name_rule(name: &str) -> String {
    format!(
        "`{}` is no plugin name: 1 to 64 lower-case letters, digits and inner hyphens",
        shown(name)
    )
}

/// The beginning of what a stranger wrote, so that it does not push out what is said about it.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut shown: String = text.escape_debug().take(SHOWN_CHARS_MAX).collect();
    if text.escape_debug().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// `MAJOR.MINOR.PATCH` with an optional pre-release and build, as semver.org says.
#[must_use]
pub fn version_is_valid(version: &str) -> bool {
    let (rest, build) = match version.split_once('+') {
        Some((rest, build)) => (rest, Some(build)),
        None => (version, None),
    };
    let (core, pre) = match rest.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (rest, None),
    };
    let identifiers = |text: &str| {
        text.split('.').all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    };
    let number = |part: &str| {
        !part.is_empty()
            && part.len() <= 10
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    version.len() <= 64
        && core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(identifiers)
        && build.is_none_or(identifiers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_manifest() {
        let manifest = Manifest::parse(
            "name = \"webhook\"\nversion = \"0.1.0\"\nkinds = [\"code\", \"intervention\"]\ncomponent = \"w.wasm\"\nneeds = [\"http\"]\n",
        )
        .unwrap();
        assert_eq!(manifest.kinds, [Kind::Intervention, Kind::Code]);
        assert_eq!(manifest.needs, [Capability::Http]);
    }

    #[test]
    fn says_everything_that_is_wrong_at_once() {
        let error = Manifest::parse(
            "name = \"Web Hook\"\nversion = \"1\"\nkinds = [\"puls\"]\ncomponent = \"../w.wasm\"\nneeds = [\"sockets\"]\n",
        )
        .unwrap_err();
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(lines.len(), 5, "{error}");
        for (number, line) in lines.iter().enumerate() {
            assert!(line.starts_with(&format!("line {}: ", number + 1)), "{line}");
        }
        let unknown = Manifest::parse("nam = \"x\"").unwrap_err();
        assert!(unknown.contains("nam"), "{unknown}");
    }

    #[test]
    fn requests_are_read_and_grant_nothing_that_the_plugin_does_not_import() {
        let head = "name = \"a\"\nversion = \"1.0.0\"\nkinds = [\"pulse\"]\ncomponent = \"a.wasm\"\n";
        let manifest = Manifest::parse(&format!(
            "{head}needs = [\"http\"]\n[requests]\nhttp = [\"https://*.example.com\"]\nnetworks = [\"public\"]\n"
        ))
        .unwrap();
        let entries: Vec<_> = manifest.requests.entries().collect();
        assert_eq!(
            entries,
            [("http", "https://*.example.com:443"), ("networks", "public")]
        );

        let error = Manifest::parse(&format!(
            "{head}needs = [\"http\"]\n[requests]\nhttp = [\n  \"https://a\",\n  \"ftp://b\",\n]\nnetworks = [\"lan\"]\n\
             tcp = [\"a:1\"]\nsockets = []\ndirectories = [\"/\"]\n"
        ))
        .unwrap_err();
        for part in [
            "line 9: requests: http: `ftp://b`",
            "line 11: requests: networks: `lan`",
            "line 12: requests: without \"tcp\" or \"tls\" or \"wasi-sockets\" in needs",
            "line 13: requests: `sockets` can't be asked for",
            "line 14: requests: `directories` can't be asked for",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }

    #[test]
    fn how_it_is_built_is_read_and_stays_in_its_folder() {
        let head = "name = \"a\"\nversion = \"1.0.0\"\nkinds = [\"pulse\"]\ncomponent = \"a.wasm\"\n";
        let parse = |build: &str| Manifest::parse(&format!("{head}[build]\n{build}\n"));
        let build = parse("command = [\"make\", \"a\"]\noutput = \"out/a.wasm\"")
            .unwrap()
            .build
            .unwrap();
        assert_eq!(build.command, ["make", "a"]);
        assert_eq!(build.output.unwrap(), Path::new("out/a.wasm"));
        for (build, part) in [
            ("command = []", "line 6: build: command"),
            ("command = [\"\"]", "line 6: build: command"),
            (
                "command = [\"a\"]\noutput = \"../a.wasm\"",
                "line 7: build: output",
            ),
            ("command = [\"a\"]\noutput = \"/a.wasm\"", "line 7: build: output"),
            ("command = [\"a\"]\noutput = \"\"", "line 7: build: output"),
            ("comand = [\"a\"]", "comand"),
        ] {
            let error = parse(build).unwrap_err();
            assert!(error.contains(part), "{part} in {error}");
        }
    }

    #[test]
    fn requests_are_bounded() {
        let parse = |entries: &[String]| {
            let head = "name = \"a\"\nversion = \"1.0.0\"\nkinds = [\"pulse\"]\ncomponent = \"a.wasm\"\n";
            Manifest::parse(&format!(
                "{head}needs = [\"tcp\"]\n[requests]\ntcp = {entries:?}\n"
            ))
        };
        let mut entries: Vec<String> = (1..=ENTRIES_MAX).map(|port| format!("a:{port}")).collect();
        assert_eq!(parse(&entries).unwrap().requests.entries().count(), ENTRIES_MAX);
        entries.push("a:9".to_owned());
        assert!(
            parse(&entries)
                .unwrap_err()
                .contains("line 7: requests: there are more than 256 of tcp")
        );
        let long = format!("{}:1", "a".repeat(ENTRY_BYTES_MAX));
        assert!(parse(&[long]).unwrap_err().contains("is longer than 1024 bytes"));
    }

    #[test]
    fn versions() {
        for good in ["0.1.0", "1.2.3-rc.1+build.5", "10.0.0"] {
            assert!(version_is_valid(good), "{good}");
        }
        for bad in ["", "1", "1.2", "01.2.3", "1.2.3-", "1.2.3+", "1.2.x", "v1.2.3"] {
            assert!(!version_is_valid(bad), "{bad}");
        }
    }
}
