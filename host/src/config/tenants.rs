//! `[tenants.NAME]`: who else has monitors here, what they may use, and where they say what they want.
//!
//! Invariant: a tenant's folder holds nothing of the operator's and nothing of another tenant's.

use super::{
    grants::Written,
    problem::Problem,
    read::{Reader, Spot, list, nearest},
    source::At,
    tree::{Node, Table},
};
use crate::domain::{
    secret::{self, Secrets},
    tenant::{DEFAULT, Quotas, Tenant},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Keys of `[tenants.NAME]`.
pub const KEYS_TENANT: &[&str] = &[
    "allowed-plugins",
    "config",
    "grants",
    "plugins",
    "quotas",
    "secrets",
    "shared-notifiers",
];
/// Keys of `[tenants.NAME.quotas]`.
pub const KEYS_QUOTAS: &[&str] = &[
    "bytes-per-second",
    "codes-per-hour",
    "commands",
    "connections",
    "cpu",
    "in-flight",
    "memory",
    "monitors",
    "requests-per-second",
];

/// Tenants of one host.
const TENANTS_MAX: usize = 10_000;
const NAME_BYTES_MAX: usize = 64;
const MS: Duration = Duration::from_millis(1);

/// What was written about a tenant.
#[derive(Debug)]
pub(super) struct TenantEntry {
    pub tenant: Arc<Tenant>,
    /// Its folder, or its only file.
    pub config: Option<Place>,
    /// The folder of its own plugins.
    pub plugins: Option<Place>,
    /// That one lies in the tenant's folder as it is written, but leads out of it: nothing there is looked at.
    pub astray: bool,
    pub allowed: Vec<Spot<Arc<str>>>,
    /// By plugin.
    pub grants: BTreeMap<Arc<str>, (At, Written)>,
    /// Names of the operator's notifiers that it may use.
    pub shared: Vec<Spot<Arc<str>>>,
}

/// A path that was written.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub at: At,
    pub path: PathBuf,
    /// As the operator would name it.
    pub shown: String,
}

impl TenantEntry {
    /// The folder of its own plugins, and the one out of which nothing there may lead: what the tenant can write.
    pub fn own_plugins(&self) -> Option<(&Path, &Path)> {
        let folder = self.plugins.as_ref().filter(|_| !self.astray)?.path.as_path();
        let config = self.config.as_ref().map(|config| config.path.as_path());
        let within = config.filter(|config| folder.starts_with(config));
        Some((folder, within.unwrap_or(folder)))
    }
}

/// Reads `[tenants]`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    node: Option<&Node>,
    data_dir: &Path,
) -> BTreeMap<Arc<str>, TenantEntry> {
    let mut tenants = BTreeMap::new();
    let Some(table) = node.and_then(|node| reader.table(node, "tenants")) else {
        return tenants;
    };
    for (name, entry) in table.iter() {
        let Some(table) = reader.table(&entry.node, "tenants.NAME") else {
            continue;
        };
        if let Some(wrong) = wrong_name(name) {
            let help = format!("1 to {NAME_BYTES_MAX} lower-case letters, digits and inner hyphens");
            reader.report(Problem::new("bad-name", entry.key, wrong).help(help));
        } else if tenants.len() >= TENANTS_MAX {
            let text = format!("more than {TENANTS_MAX} tenants");
            reader.report(Problem::new("out-of-range", entry.key, text));
            break;
        } else {
            tenants.insert(Arc::clone(name), read_one(reader, entry.key, name, table));
        }
    }
    keep_apart(reader, &tenants, data_dir);
    tenants
}

fn wrong_name(name: &str) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name == DEFAULT {
        return Some(format!(
            "`{DEFAULT}` is the tenant of everything that is the operator's own"
        ));
    }
    let good = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(fits)
        && !name.starts_with('-')
        && !name.ends_with('-');
    (!good).then(|| "this is no name for a tenant".to_owned())
}

fn read_one(reader: &mut Reader<'_>, at: At, name: &str, table: &Table) -> TenantEntry {
    reader.known_keys(table, KEYS_TENANT, "`[tenants.NAME]`");
    let config = table
        .get("config")
        .and_then(|node| read_place(reader, node, "config"));
    if table.get("config").is_none() {
        reader.report(
            Problem::new("missing-key", at, format!("the tenant `{name}` has no `config`")).help(format!(
                "name the folder of its own configuration: config = \"tenants/{name}\""
            )),
        );
    }
    let names = |reader: &mut Reader<'_>, key| {
        table
            .get(key)
            .and_then(|node| reader.strings(node, key))
            .unwrap_or_default()
    };
    let quotas = table
        .get("quotas")
        .and_then(|node| reader.table(node, "quotas"))
        .map(|table| read_quotas(reader, table))
        .unwrap_or_default();
    let secrets = table
        .get("secrets")
        .map(|node| read_secrets(reader, node))
        .unwrap_or_default();
    let mut grants = BTreeMap::new();
    if let Some(table) = table.get("grants").and_then(|node| reader.table(node, "grants")) {
        for (plugin, entry) in table.iter() {
            if let Some(table) = reader.table(&entry.node, "grants.PLUGIN") {
                grants.insert(Arc::clone(plugin), (entry.key, Written::read(reader, table)));
            }
        }
    }
    let plugins = table
        .get("plugins")
        .and_then(|node| read_place(reader, node, "plugins"));
    let astray = match (&config, &plugins) {
        (Some(config), Some(plugins)) if plugins.path.starts_with(&config.path) => {
            !real(&plugins.path).starts_with(real(&config.path))
        }
        _ => false,
    };
    let mut tenant = Tenant::new(name, quotas);
    tenant.secrets = Arc::new(secrets);
    TenantEntry {
        tenant: Arc::new(tenant),
        config,
        plugins,
        astray,
        allowed: names(reader, "allowed-plugins"),
        grants,
        shared: names(reader, "shared-notifiers"),
    }
}

fn read_place(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Place> {
    let text = reader.string(node, what)?;
    if text.value.is_empty() {
        reader.report(Problem::new("empty", text.at, format!("`{what}` is empty")));
        return None;
    }
    Some(Place {
        at: text.at,
        path: reader.sources.resolve(text.at, &text.value),
        shown: reader.sources.shown(text.at, &text.value),
    })
}

fn read_quotas(reader: &mut Reader<'_>, table: &Table) -> Quotas {
    reader.known_keys(table, KEYS_QUOTAS, "`quotas`");
    let mut count = |key: &'static str, low: u64, high: u64| {
        let node = table.get(key)?;
        let spot = reader.whole(node, &format!("quotas.{key}"), low..=high)?;
        Some(spot.value)
    };
    let small = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    Quotas {
        monitors: count("monitors", 0, 16_000_000),
        in_flight: count("in-flight", 1, 1_000_000).map(small),
        connections: count("connections", 1, 1_000_000).map(small),
        commands: count("commands", 1, 1_000_000).map(small),
        requests_per_second: count("requests-per-second", 1, 1_000_000_000),
        codes_per_hour: count("codes-per-hour", 0, 1_000_000_000),
        cpu_per_second: table
            .get("cpu")
            .and_then(|node| reader.duration(node, "quotas.cpu", MS..=Duration::from_secs(1024)))
            .map(|spot| spot.value),
        memory_bytes: table
            .get("memory")
            .and_then(|node| reader.size(node, "quotas.memory", (64 << 10)..=(1 << 44)))
            .map(|spot| spot.value),
        bytes_per_second: table
            .get("bytes-per-second")
            .and_then(|node| reader.size(node, "quotas.bytes-per-second", (1 << 10)..=(1 << 40)))
            .map(|spot| spot.value),
    }
}

/// No problem quotes a value, wherever it came from.
fn read_secrets(reader: &mut Reader<'_>, node: &Node) -> Secrets {
    let Some(table) = reader.table(node, "secrets") else {
        return Secrets::default();
    };
    let mut values: BTreeMap<Box<str>, Box<str>> = BTreeMap::new();
    let mut left = secret::BYTES_MAX;
    for (name, entry) in table.iter() {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(fits) {
            let help = format!("1 to {NAME_BYTES_MAX} letters, digits, `-` and `_`");
            reader.report(Problem::new("bad-name", entry.key, "this is no name for a secret").help(help));
            continue;
        }
        let Some(value) = reader.string(&entry.node, "secrets.NAME") else {
            continue;
        };
        // One that stands in a file is shown with its line by whatever else is wrong there.
        if !entry.node.veiled {
            reader.report(
                Problem::new(
                    "bad-secret",
                    value.at,
                    format!("the secret `{name}` stands here for all to read"),
                )
                .help(format!(
                    "keep it elsewhere: {name} = \"${{env:NAME}}\" or \"${{file:PATH}}\""
                ))
                .without_line(),
            );
            continue;
        }
        if let Some(wrong) = secret::wrong(&value.value) {
            reader.report(
                Problem::new("bad-secret", value.at, format!("the secret `{name}` {wrong}")).help(
                    "a secret is hidden wherever it shows up in what the host writes; take one that can't be mistaken for anything else",
                ),
            );
            continue;
        }
        let rest = left.checked_sub(value.value.len());
        let Some(rest) = rest.filter(|_| values.len() < secret::COUNT_MAX) else {
            let text = format!(
                "more than {} secrets, or more than {} KiB of them",
                secret::COUNT_MAX,
                secret::BYTES_MAX >> 10
            );
            reader.report(Problem::new("out-of-range", entry.key, text));
            break;
        };
        left = rest;
        values.insert(name.as_ref().into(), value.value.as_ref().into());
    }
    Secrets::new(values).unwrap_or_else(|error| {
        reader.report(Problem::new(
            "bad-secret",
            node.at,
            format!("these can't be looked for: {error}"),
        ));
        Secrets::default()
    })
}

/// What lies in one tenant's folder could be read by naming it as a list of targets, and be loaded as a plugin.
///
/// Folders are compared as they were written, without following what a tenant could have put in the way: a link of one
/// tenant's must not be an error of all.
fn keep_apart(reader: &mut Reader<'_>, tenants: &BTreeMap<Arc<str>, TenantEntry>, data_dir: &Path) {
    let mut homes: BTreeMap<PathBuf, (&Arc<str>, &Place)> = BTreeMap::new();
    let own: Vec<PathBuf> = reader
        .sources
        .from(0)
        .map(|(_, source)| real(&source.base))
        .collect();
    let places = || {
        tenants.iter().flat_map(|(name, entry)| {
            let places = [&entry.config, &entry.plugins];
            places.into_iter().flatten().map(move |place| (name, place))
        })
    };
    let written: BTreeSet<&Path> = places().map(|(_, place)| place.path.as_path()).collect();
    let data = as_written(data_dir, &written);
    let mut problems = Vec::new();
    for entry in tenants.values() {
        let (Some(config), Some(plugins)) = (&entry.config, &entry.plugins) else {
            continue;
        };
        if config.path != plugins.path && config.path.starts_with(&plugins.path) {
            problems.push(
                Problem::new(
                    "shared-folder",
                    config.at,
                    "this lies in the folder of the tenant's own plugins",
                )
                .help("let `plugins` lie in `config`, or beside it")
                .note(plugins.at, "the folder of its plugins"),
            );
        }
    }
    for (name, place) in places() {
        let home = as_written(&place.path, &written);
        if own.iter().any(|base| base.starts_with(&home)) {
            problems.push(
                Problem::new(
                    "shared-folder",
                    place.at,
                    "this folder holds the operator's own configuration",
                )
                .help(format!(
                    "give the tenant a folder of its own, such as \"tenants/{name}\""
                )),
            );
            continue;
        }
        if data.starts_with(&home) || home.starts_with(&data) {
            problems.push(
                Problem::new(
                    "shared-folder",
                    place.at,
                    "this folder and the host's data directory are one in the other",
                )
                .help("the data directory is the host's alone: its own user writes there, and nobody else"),
            );
            continue;
        }
        match homes.get(&home) {
            Some((other, first)) if *other != name => problems.push(overlap(place, other, first)),
            Some(_) => {}
            None => {
                homes.insert(home, (name, place));
            }
        }
    }
    for (home, (name, place)) in &homes {
        let above = home.ancestors().skip(1).find_map(|above| homes.get(above));
        if let Some((other, first)) = above
            && other != name
        {
            problems.push(overlap(place, other, first));
        }
    }
    for problem in problems {
        reader.report(problem);
    }
}

fn overlap(place: &Place, other: &str, first: &Place) -> Problem {
    let text = format!("this lies in a folder of the tenant `{other}`");
    Problem::new("shared-folder", place.at, text)
        .help("nothing of one tenant is another's; give each a folder of its own")
        .note(first.at, format!("the folder of `{other}`"))
}

/// Without the operator's links: below a folder in which a tenant can write, the path stays as it was written.
fn as_written(path: &Path, folders: &BTreeSet<&Path>) -> PathBuf {
    let top = path.ancestors().filter(|above| folders.contains(above)).last();
    let mut home = real(top.unwrap_or(path));
    let below = top.and_then(|top| path.strip_prefix(top).ok());
    for part in below.iter().flat_map(|below| below.components()) {
        match part {
            Component::ParentDir => {
                home.pop();
            }
            part => home.push(part),
        }
    }
    home
}

/// Without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(real), ..) => real,
        (Err(_), Some(parent), Some(name)) => real(parent).join(name),
        (Err(_), ..) => path.to_owned(),
    }
}

/// What a tenant was told wrongly about names, for both sides.
pub(super) fn did_you_mean(name: &str, known: &[&str], what: &str, none: &str) -> String {
    match nearest(name, known) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if known.is_empty() => none.to_owned(),
        None => format!("{what} are {}", list(known)),
    }
}
