//! `[probes.NAME]`: what `/probe` does under a name, and what plugins do under theirs.

use super::{
    build::{Builder, Owner, PULSE_TIMEOUT},
    lane::{limits_of, problem_of},
    layer::LaneLayer,
    plugins::PluginEntry,
    problem::Problem,
    read::{Reader, nearest},
    schema::{pointer, wants},
    source::At,
    template::{Fields, Part, Template},
    tree::{Node, Table, Value},
};
use crate::domain::{
    host::HostSettings,
    plugin::Facts,
    probe::{Ask, Filling, Module, Piece},
    spec::{Kind, Profile},
};
use std::{collections::BTreeMap, sync::Arc};

/// Keys of `[probes.NAME]`.
pub const KEYS_PROBE: &[&str] = &["limits", "plugin", "settings", "timeout"];

/// Of one configuration.
const PROBES_MAX: usize = 1_000;
/// What a placeholder can name, in the order of their slots.
const FIELDS: [(&str, Piece); 2] = [("target", Piece::Target), ("hostname", Piece::Hostname)];

/// A module, not yet checked against its plugin.
#[derive(Debug)]
pub(super) struct Probe {
    /// Its name's place.
    pub at: At,
    pub lane: LaneLayer,
}

/// Reads `[probes]`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    node: Option<&Node>,
    host: &HostSettings,
) -> BTreeMap<Arc<str>, Probe> {
    let mut probes = BTreeMap::new();
    let Some(table) = node.and_then(|node| reader.table(node, "probes")) else {
        return probes;
    };
    for (name, entry) in table.iter() {
        if probes.len() == PROBES_MAX {
            let text = format!("more than {PROBES_MAX} modules");
            reader.report(Problem::new("out-of-range", entry.key, text));
            break;
        }
        if let Some(table) = reader.table(&entry.node, "probes.NAME")
            && reader.name(entry.key, name, "a module")
        {
            reader.known_keys(table, KEYS_PROBE, "`[probes.NAME]`");
            let probe = Probe {
                at: entry.key,
                lane: LaneLayer::read(reader, table, "probe", host),
            };
            probes.insert(Arc::clone(name), probe);
        }
    }
    probes
}

/// Modules by their names.
pub type Modules = BTreeMap<Arc<str>, Arc<Module>>;

/// What plugins are by themselves, with what these entries grant them.
pub(super) fn usual(
    facts: &BTreeMap<String, Facts>,
    entries: &BTreeMap<Arc<str>, PluginEntry>,
    host: &HostSettings,
) -> Modules {
    let timeout = PULSE_TIMEOUT.min(host.max_timeout);
    let modules = facts.values().filter_map(|facts| {
        let entry = entries.get(&facts.name);
        let mut limits = limits_of(entry, &host.maxima);
        limits.cpu = limits.cpu.min(timeout - timeout / 10);
        let profile = Arc::new(Profile {
            plugin: Arc::clone(&facts.name),
            digest: Arc::clone(&facts.digest),
            limits,
            grants: entry.map(|entry| Arc::clone(&entry.grants)).unwrap_or_default(),
            reuse: entry.map_or(0, |entry| entry.reuse),
        });
        Module::usual(facts, profile, timeout)
    });
    modules
        .map(|module| (Arc::clone(&module.name), Arc::new(module)))
        .collect()
}

/// Takes settings apart.
struct Maker<'r, 'a> {
    reader: &'r mut Reader<'a>,
    fields: Fields,
    path: Vec<String>,
    /// Where something is filled in, and where that was written.
    holes: Vec<(Vec<String>, At)>,
    hidden: Vec<Box<str>>,
    wrong: bool,
}

impl Maker<'_, '_> {
    fn table(&mut self, table: &Table) -> Filling {
        let entries = table.iter().map(|(key, entry)| {
            self.path.push(key.to_string());
            let filling = self.node(&entry.node);
            self.path.pop();
            (key.as_ref().into(), filling)
        });
        Filling::Table(entries.collect())
    }

    fn node(&mut self, node: &Node) -> Filling {
        match &node.value {
            Value::String(text) => self.text(text, node),
            Value::Table(table) => self.table(table),
            Value::Array(items) => {
                let items = items.iter().enumerate().map(|(number, item)| {
                    self.path.push(number.to_string());
                    let filling = self.node(item);
                    self.path.pop();
                    filling
                });
                Filling::List(items.collect())
            }
            _ => Filling::Constant(node.to_json()),
        }
    }

    fn text(&mut self, text: &str, node: &Node) -> Filling {
        let template = match Template::parse(text, &mut self.fields) {
            Ok(template) => template,
            Err(mistake) => {
                let text = format!("this text has {mistake}");
                return self.refuse(node, text);
            }
        };
        if template.slots().any(|slot| slot >= FIELDS.len()) {
            let text = "this text names a field that no request for a probe has".to_owned();
            return self.refuse(node, text);
        }
        if node.veiled {
            for part in template.parts() {
                if let Part::Text(text) = part {
                    self.hidden.push(text.clone());
                }
            }
        }
        if let Some(text) = template.constant() {
            return Filling::Constant(text.into());
        }
        self.holes.push((self.path.clone(), node.at));
        let pieces = template.parts().iter().filter_map(|part| match part {
            Part::Text(text) => Some(Piece::Text(text.clone())),
            Part::Field(slot) => FIELDS.get(*slot).map(|(_, piece)| piece.clone()),
        });
        Filling::Text(pieces.collect())
    }

    fn refuse(&mut self, node: &Node, text: String) -> Filling {
        self.wrong = true;
        self.reader
            .report(Problem::new("bad-placeholder", node.at, text).help(
            "a request for a probe has `{{target}}` and `{{hostname}}`; a plain `{{` is written as `{{{{`",
        ));
        Filling::Constant(serde_json::Value::Null)
    }
}

impl<'a> Builder<'a> {
    /// Everything that `/probe` can be asked for by the operator.
    pub(super) fn modules(&mut self) -> Modules {
        let document = self.document;
        let mut modules = usual(self.facts, &document.plugins, &document.host.settings);
        for (name, probe) in &document.probes {
            let owner = Owner {
                who: format!("the module `{name}`"),
                at: probe.at,
                kind: Kind::Pulse,
                prefix: "settings.",
                partial: false,
                own: probe.lane.settings.as_ref().map(|spot| &spot.value),
            };
            if let Some(module) = self.module(&owner, name, probe) {
                modules.insert(Arc::clone(name), Arc::new(module));
            }
        }
        modules
    }

    fn module(&mut self, owner: &Owner<'_>, name: &Arc<str>, probe: &Probe) -> Option<Module> {
        let lane = &probe.lane;
        if lane.plugin.is_none() {
            self.no_plugin(owner, lane, "plugin");
            return None;
        }
        let post = self.post(owner, lane, PULSE_TIMEOUT)?;
        let empty = Table::default();
        let table = lane.settings.as_ref().map_or(&empty, |spot| &spot.value);
        if lane.spoiled || !table.is_sound() {
            return None;
        }
        let mut fields = Fields::default();
        for (name, _) in FIELDS {
            fields.slot(name);
        }
        let mut maker = Maker {
            reader: &mut self.reader,
            fields,
            path: Vec::new(),
            holes: Vec::new(),
            hidden: Vec::new(),
            wrong: false,
        };
        let settings = maker.table(table);
        let Maker {
            holes, hidden, wrong, ..
        } = maker;
        if wrong {
            return None;
        }
        if !settings.has(&Piece::Target) {
            let text = format!("the module `{name}` has no place for the target");
            let help = match nearest_setting(post.facts) {
                Some(setting) => format!("such as settings = {{ {setting} = \"{{{{target}}}}\" }}"),
                None => "write `{{target}}` where it goes in `settings`".to_owned(),
            };
            let at = lane.settings.as_ref().map_or(owner.at, |spot| spot.at);
            self.reader.report(Problem::new("no-target", at, text).help(help));
            return None;
        }
        for (path, at) in &holes {
            if !wants(&post.facts.schema, path).text {
                let name = pointer(path.iter().map(String::as_str));
                let text = format!(
                    "the setting `{name}` of plugin `{}` is no text, and what is asked for is one",
                    post.plugin
                );
                self.reader.report(Problem::new("bad-setting", *at, text));
                return None;
            }
        }
        // What will stand there nobody knows yet; all the rest can be looked at now.
        let sample = settings.fill(Ask {
            target: "192.0.2.1:80",
            hostname: Some("host.example"),
        });
        let schema = self.schema(owner, post.plugin, post.facts)?;
        let complaints = schema.check(&sample).into_iter().filter(|complaint| {
            let named = complaint.missing.is_some() || complaint.key.is_some();
            named || !holes.iter().any(|(hole, _)| hole.starts_with(&complaint.path))
        });
        let problems: Vec<Problem> = complaints
            .filter_map(|complaint| problem_of(owner, table, post.plugin, complaint))
            .collect();
        if !problems.is_empty() {
            for problem in problems {
                self.reader.report(problem);
            }
            return None;
        }
        Some(Module {
            name: Arc::clone(name),
            profile: post.profile,
            timeout: post.timeout,
            settings,
            named_by: None,
            hidden,
        })
    }
}

/// What a plugin most likely wants to be told: the setting that it needs, if it is one.
fn nearest_setting(facts: &Facts) -> Option<String> {
    let required = facts.schema.get("required")?.as_array()?;
    let names: Vec<&str> = required.iter().filter_map(serde_json::Value::as_str).collect();
    match names.as_slice() {
        [only] => Some((*only).to_owned()),
        several => nearest("url", several).map(str::to_owned),
    }
}
