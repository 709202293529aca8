//! One lane: its plugin, its grants and caps, its settings against the plugin's schema.

use super::{
    build::{Builder, Owner, PULSE_TIMEOUT},
    layer::{LaneLayer, PartialLimits},
    needs,
    problem::Problem,
    read::{list, nearest, show_duration},
    recipe::SETTINGS_BYTES_MAX,
    schema::{Complaint, Schema, pointer},
    source::At,
    tree::{Node, Table, Value},
};
use crate::domain::{
    deadman,
    limits::Limits,
    plugin::Facts,
    spec::{Kind, Lane, Profile},
    tenant::DEFAULT,
};
use std::{collections::hash_map, sync::Arc, time::Duration};

/// A lane without its settings.
#[derive(Debug)]
pub(super) struct Post<'a> {
    pub profile: Arc<Profile>,
    pub timeout: Duration,
    pub plugin: &'a str,
    pub facts: &'a Facts,
}

impl<'a> Builder<'a> {
    /// The lane, or none where something is wrong with it. The layer names its plugin, as the caller saw.
    pub(super) fn lane(&mut self, owner: &Owner<'_>, layer: &LaneLayer, timeout: Duration) -> Option<Lane> {
        let post = self.post(owner, layer, timeout)?;
        let settings = self.settings(owner, layer, &post)?;
        Some(Lane {
            profile: post.profile,
            settings,
            timeout: post.timeout,
        })
    }

    /// The lane but for its settings.
    pub(super) fn post(
        &mut self,
        owner: &Owner<'_>,
        layer: &LaneLayer,
        timeout: Duration,
    ) -> Option<Post<'a>> {
        let plugin = layer.plugin.as_ref()?;
        let Some((name, facts)) = self.facts.get_key_value(plugin.value.as_ref()) else {
            self.unknown_plugin(plugin.at, &plugin.value, Some(owner.kind));
            return None;
        };
        if !facts.kinds.contains(&owner.kind) {
            let kinds: Vec<&str> = facts.kinds.iter().map(|kind| kind.name()).collect();
            let text = format!(
                "the plugin `{name}` does {}, not {}",
                list(&kinds),
                owner.kind.name()
            );
            let help = self.offer(owner.kind);
            self.reader
                .report(Problem::new("wrong-kind", plugin.at, text).help(help));
            return None;
        }
        self.check_grants(plugin.at, name, facts);
        let timeout = layer
            .timeout
            .map_or(timeout, |span| span.value)
            .min(self.document.host.settings.max_timeout);
        let limits = self.lane_limits(&facts.name, &layer.limits, timeout);
        let profile = self.profile(facts, limits);
        Some(Post {
            profile,
            timeout,
            plugin: name,
            facts,
        })
    }

    /// The lane of whoever waits for heartbeats, but for its settings.
    pub(super) fn beat_post(&mut self) -> Post<'a> {
        let facts: &'static Facts = &deadman::FACTS;
        let limits = self.plugin_limits(deadman::PLUGIN);
        Post {
            profile: self.profile(facts, limits),
            timeout: PULSE_TIMEOUT.min(self.document.host.settings.max_timeout),
            plugin: deadman::PLUGIN,
            facts,
        }
    }

    pub(super) fn no_plugin(&mut self, owner: &Owner<'_>, layer: &LaneLayer, key: &str) {
        if owner.partial || layer.spoiled {
            return;
        }
        let text = format!("{} names no plugin for {}", owner.who, owner.kind);
        let help = format!("{}: {key} = \"NAME\"", self.offer(owner.kind));
        self.reader
            .report(Problem::new("missing-key", owner.at, text).help(help));
    }

    pub(super) fn unknown_plugin(&mut self, at: At, name: &str, kind: Option<Kind>) {
        let known: Vec<&str> = self
            .facts
            .values()
            .filter(|facts| kind.is_none_or(|kind| facts.kinds.contains(&kind)))
            .map(|facts| facts.name.as_ref())
            .collect();
        if self.refused.contains(&name) {
            let tenant = &self.tenant;
            let text = format!("the plugin `{name}` is not allowed for the tenant `{tenant}`");
            let help = format!(
                "the operator allows it with allowed-plugins = [\"{name}\"] in [tenants.{tenant}]; {}",
                kind.map_or_else(String::new, |kind| self.offer(kind))
            );
            return self
                .reader
                .report(Problem::new("not-allowed", at, text).help(help));
        }
        let own = format!("{}/{name}", self.tenant);
        let help = match (nearest(name, &known), kind) {
            _ if self.facts.contains_key(&own) => {
                format!("did you mean `{own}`? A tenant's own plugins are called so")
            }
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, Some(kind)) => self.offer(kind),
            (None, None) if known.is_empty() => "no plugin was found at all; see --plugins".to_owned(),
            (None, None) => format!("plugins are {}", list(&known)),
        };
        let text = format!("there is no plugin `{}`", self.reader.quoted(at, name));
        self.reader
            .report(Problem::new("unknown-plugin", at, text).help(help));
    }

    /// Which plugins there are for that.
    pub(super) fn offer(&self, kind: Kind) -> String {
        let known: Vec<&str> = self
            .facts
            .values()
            .filter(|facts| facts.kinds.contains(&kind))
            .map(|facts| facts.name.as_ref())
            .collect();
        if known.is_empty() && &*self.tenant.name != DEFAULT {
            return format!("there is no other plugin for {kind}");
        }
        if known.is_empty() {
            return format!("no plugin for {kind} was found; see --plugins");
        }
        format!("plugins for {kind} are {}", list(&known))
    }

    /// Once per plugin, at its first use: what it needs and was not granted at all.
    fn check_grants(&mut self, at: At, name: &'a str, facts: &Facts) {
        if !self.granted.insert(name) {
            return;
        }
        let entry = self.document.plugins.get(name);
        let missing = match entry {
            Some(entry) => needs::missing(facts, &entry.grants),
            None => needs::missing(facts, &Default::default()),
        };
        for missing in missing {
            if entry.is_some_and(|entry| entry.unread.contains(&missing.grant)) {
                continue;
            }
            let mut problem = Problem::new(
                "missing-grant",
                at,
                format!(
                    "plugin `{name}` needs grants.{}; add to [plugins.{}]: {}",
                    missing.grant,
                    key(name),
                    missing.line
                ),
            );
            if let Some(entry) = entry {
                problem = problem.note(entry.at, "here");
            }
            self.reader.report(problem);
        }
    }

    /// The plugin's caps: its own, else the defaults as far as the maxima allow.
    pub(super) fn plugin_limits(&self, name: &str) -> Limits {
        let maxima = self.document.host.settings.maxima;
        let defaults = Limits::default();
        let base = Limits {
            fuel: defaults.fuel.min(maxima.fuel),
            cpu: defaults.cpu.min(maxima.cpu),
            memory_bytes: defaults.memory_bytes.min(maxima.memory_bytes),
        };
        match self.document.plugins.get(name) {
            Some(entry) => entry.limits.over(&base),
            None => base,
        }
    }

    /// The lane's caps. Deadlines nest: the CPU budget ends before the job does.
    fn lane_limits(&mut self, name: &str, over: &PartialLimits, timeout: Duration) -> Limits {
        let mut limits = over.over(&self.plugin_limits(name));
        if limits.cpu >= timeout {
            let own = self.document.plugins.get(name).and_then(|entry| entry.limits.cpu);
            if let Some(written) = over.cpu.or(own) {
                let text = format!(
                    "{} of CPU time do not fit a timeout of {}",
                    show_duration(limits.cpu),
                    show_duration(timeout)
                );
                self.warnings.report(
                    Problem::new("cpu-above-timeout", written.at, text)
                        .help("nine tenths of the timeout are used instead"),
                );
            }
            limits.cpu = timeout - timeout / 10;
        }
        limits
    }

    pub(super) fn profile(&mut self, facts: &Facts, limits: Limits) -> Arc<Profile> {
        let plugin = &facts.name;
        let entry = self.document.plugins.get(plugin);
        let profile = self
            .profiles
            .entry((Arc::clone(plugin), limits))
            .or_insert_with(|| {
                Arc::new(Profile {
                    plugin: Arc::clone(plugin),
                    digest: Arc::clone(&facts.digest),
                    limits,
                    grants: entry.map(|entry| Arc::clone(&entry.grants)).unwrap_or_default(),
                    reuse: entry.map_or(0, |entry| entry.reuse),
                })
            });
        Arc::clone(profile)
    }

    /// The lane's settings as JSON, if they satisfy the plugin's schema.
    pub(super) fn settings(
        &mut self,
        owner: &Owner<'_>,
        layer: &LaneLayer,
        post: &Post<'a>,
    ) -> Option<Arc<str>> {
        let (name, facts) = (post.plugin, post.facts);
        let empty = Table::default();
        let table = layer.settings.as_ref().map_or(&empty, |spot| &spot.value);
        if layer.spoiled || !table.is_sound() {
            return None;
        }
        let json = serde_json::Value::Object(table.to_json());
        let text: Arc<str> = json.to_string().into();
        if let Some((_, shared)) = self.checked.get(&(name, Arc::clone(&text))) {
            return Some(Arc::clone(shared));
        }
        let bytes = self.tenant.secrets.filled_len(&text);
        if &*self.tenant.name != DEFAULT && bytes > SETTINGS_BYTES_MAX {
            let at = layer.settings.as_ref().map_or(owner.at, |spot| spot.at);
            let text = format!(
                "the settings of plugin `{name}` have {bytes} bytes with the values of secrets; at most \
                 {SETTINGS_BYTES_MAX} are allowed"
            );
            self.reader.report(Problem::new("out-of-range", at, text));
            return None;
        }
        let mut filled = json;
        self.tenant.secrets.fill_value(&mut filled);
        let complaints = match self.schema(owner, name, facts) {
            Some(schema) => schema.check(&filled),
            None => return None,
        };
        if complaints.is_empty() {
            self.spend(text.len());
            self.checked.insert((name, Arc::clone(&text)));
            return Some(text);
        }
        for problem in complaints
            .into_iter()
            .filter_map(|complaint| problem_of(owner, table, name, complaint))
        {
            self.reader.report(problem);
        }
        None
    }

    pub(super) fn schema(
        &mut self,
        owner: &Owner<'_>,
        name: &'a str,
        facts: &'a Facts,
    ) -> Option<Arc<Schema<'a>>> {
        let schema = match self.schemas.entry(name) {
            hash_map::Entry::Occupied(known) => known.into_mut(),
            hash_map::Entry::Vacant(fresh) => fresh.insert(match Schema::compile(&facts.schema) {
                Ok(schema) => Some(Arc::new(schema)),
                Err(error) => {
                    let text = format!("the schema of the plugin `{name}` is wrong: {error}");
                    let help = "this is a defect of the plugin, not of the configuration";
                    self.reader
                        .report(Problem::new("bad-schema", owner.at, text).help(help));
                    None
                }
            }),
        };
        schema.clone()
    }
}

/// What the plugin's schema says of a setting, at the place where that stands. None: it was to be expected.
pub(super) fn problem_of(
    owner: &Owner<'_>,
    table: &Table,
    plugin: &str,
    complaint: Complaint,
) -> Option<Problem> {
    if complaint.missing.is_some() && owner.partial {
        return None;
    }
    let Complaint {
        path,
        key,
        missing,
        wrong,
        help,
    } = complaint;
    let name = pointer(path.iter().chain(&key).chain(&missing).map(String::as_str));
    let find = |table| place(table, &path, key.as_deref());
    let (at, own) = match find(table) {
        // What is missing at the top was expected from the owner, whatever templates say.
        Some(at) if missing.is_none() || !path.is_empty() => (at, owner.own.and_then(find) == Some(at)),
        _ => (owner.at, true),
    };
    let text = match (&missing, name.as_str()) {
        (_, "") => format!("the settings of plugin `{plugin}`: this {wrong}"),
        (Some(_), name) => format!("{} lacks the setting `{name}` of plugin `{plugin}`", owner.who),
        (None, name) => format!("the setting `{name}` of plugin `{plugin}` {wrong}"),
    };
    let help = match (missing, help) {
        (Some(key), about) if path.is_empty() => {
            let line = format!("add {}{key} = ...", owner.prefix);
            Some(about.map_or(line.clone(), |about| format!("{line}  ({about})")))
        }
        (_, help) => help,
    };
    let mut problem = Problem::new("bad-setting", at, text);
    if let Some(help) = help {
        problem = problem.help(help);
    }
    if !own {
        problem = problem.note(owner.at, format!("in what it makes of {}", owner.who));
    }
    Some(problem)
}

/// Where the value at that path stands, or the key below it.
fn place(table: &Table, path: &[String], key: Option<&str>) -> Option<At> {
    let mut below = Below::Table(table);
    for segment in path {
        below = match below {
            Below::Table(table) => Below::Node(table.get(segment)?),
            Below::Node(Node {
                value: Value::Table(table),
                ..
            }) => Below::Node(table.get(segment)?),
            Below::Node(Node {
                value: Value::Array(items),
                ..
            }) => Below::Node(items.get(segment.parse::<usize>().ok()?)?),
            Below::Node(_) => return None,
        };
    }
    match (below, key) {
        (Below::Table(table), Some(key)) => Some(table.entry(key)?.key),
        (Below::Table(_), None) => None,
        (Below::Node(node), Some(key)) => match &node.value {
            Value::Table(table) => Some(table.entry(key)?.key),
            _ => None,
        },
        (Below::Node(node), None) => Some(node.at),
    }
}

/// A name as a key of TOML: that of a tenant's plugin has a slash in it.
pub(super) fn key(name: &str) -> String {
    if name.contains('/') {
        format!("\"{name}\"")
    } else {
        name.to_owned()
    }
}

#[derive(Clone, Copy)]
enum Below<'t> {
    Table(&'t Table),
    Node(&'t Node),
}
