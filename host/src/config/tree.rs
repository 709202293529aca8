//! A configuration as it was written: values with their places, strings filled in, several files put together.
//!
//! Clones share what they hold, so that a value inherited by many monitors is stored once.

use super::{
    interpolate::{Filled, Surroundings, interpolate},
    problem::{Findings, Problem},
    source::{At, Sources},
};
use crate::domain::secret::{CLOSE, OPEN};
use std::{collections::BTreeMap, sync::Arc};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Nesting beyond that is a mistake or an attack; everything that walks the tree is recursive.
pub(super) const DEPTH_MAX: usize = 64;

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub at: At,
    pub value: Value,
    /// Holds something from the environment or a file, which no message may quote.
    pub veiled: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    String(Arc<str>),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime(Arc<str>),
    Array(Arc<[Node]>),
    Table(Table),
    /// Something that could not be read and was reported: whoever meets it says nothing more.
    Broken,
}

impl Value {
    /// What the value is, with its article.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime(_) => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
            Self::Broken => "a broken value",
        }
    }
}

/// A key's place and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: At,
    pub node: Node,
}

/// Keys in the order of the alphabet.
#[derive(Clone, Debug, Default)]
pub(super) struct Table(Arc<BTreeMap<Arc<str>, Entry>>);

impl Table {
    /// A table of these entries.
    pub fn from_entries(entries: BTreeMap<Arc<str>, Entry>) -> Self {
        Self(Arc::new(entries))
    }

    /// A table that nobody wrote as such; each value stands where it stands.
    pub fn of<const COUNT: usize>(entries: [(&str, Node); COUNT]) -> Self {
        let entries = entries.map(|(key, node)| (Arc::from(key), Entry { key: node.at, node }));
        Self(Arc::new(entries.into()))
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.0.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Entry)> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// This table, overlaid: tables merge, everything else is replaced.
    pub fn overlaid(&self, over: &Self) -> Self {
        if self.0.is_empty() {
            return over.clone();
        }
        let mut merged = self.clone();
        let entries = Arc::make_mut(&mut merged.0);
        for (key, entry) in over.0.iter() {
            let mut entry = entry.clone();
            if let (Some(Value::Table(below)), Value::Table(above)) =
                (entries.get(key).map(|below| &below.node.value), &entry.node.value)
            {
                entry.node.value = Value::Table(below.overlaid(above));
            }
            entries.insert(Arc::clone(key), entry);
        }
        merged
    }

    /// The same with other strings, where `change` knows one.
    pub fn map_strings(&self, change: &mut impl FnMut(&str, &Node) -> Option<Arc<str>>) -> Self {
        let entries = self.0.iter().map(|(key, entry)| {
            let node = entry.node.map_strings(change);
            (Arc::clone(key), Entry { key: entry.key, node })
        });
        Self(Arc::new(entries.collect()))
    }

    /// Whether all of it can be JSON: nothing broken, no number without an end.
    pub fn is_sound(&self) -> bool {
        self.iter().all(|(_, entry)| entry.node.is_sound())
    }

    /// As JSON. What is not sound becomes null.
    pub fn to_json(&self) -> serde_json::Map<String, serde_json::Value> {
        self.iter()
            .map(|(key, entry)| (key.to_string(), entry.node.to_json()))
            .collect()
    }
}

impl Node {
    fn is_sound(&self) -> bool {
        match &self.value {
            Value::Broken => false,
            Value::Float(number) => number.is_finite(),
            Value::Array(items) => items.iter().all(Self::is_sound),
            Value::Table(table) => table.is_sound(),
            _ => true,
        }
    }

    fn map_strings(&self, change: &mut impl FnMut(&str, &Self) -> Option<Arc<str>>) -> Self {
        let value = match &self.value {
            Value::String(text) => Value::String(change(text, self).unwrap_or_else(|| Arc::clone(text))),
            Value::Array(items) => Value::Array(items.iter().map(|item| item.map_strings(change)).collect()),
            Value::Table(table) => Value::Table(table.map_strings(change)),
            other => other.clone(),
        };
        Self {
            at: self.at,
            value,
            veiled: self.veiled,
        }
    }

    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::String(text) | Value::Datetime(text) => text.as_ref().into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Boolean(yes) => (*yes).into(),
            Value::Array(items) => items.iter().map(Self::to_json).collect(),
            Value::Table(table) => table.to_json().into(),
            Value::Broken => serde_json::Value::Null,
        }
    }
}

/// Turns the parser's tree of one file into ours, with strings filled in.
pub(super) fn grow(
    document: DeTable<'_>,
    file: u32,
    sources: &Sources,
    surroundings: &Surroundings,
    findings: &mut Findings,
) -> Table {
    let mut grower = Grower {
        file,
        sources,
        surroundings,
        findings,
    };
    grower.table(document, 0, false)
}

/// Where values of one file become ours.
pub(super) struct Grower<'a> {
    pub file: u32,
    pub sources: &'a Sources,
    pub surroundings: &'a Surroundings,
    pub findings: &'a mut Findings,
}

impl Grower<'_> {
    pub fn report(&mut self, problem: Problem) {
        self.findings.report(problem);
    }

    pub fn at(&self, span: std::ops::Range<usize>) -> At {
        let offset = |value| u32::try_from(value).unwrap_or(u32::MAX);
        At {
            file: self.file,
            start: offset(span.start),
            end: offset(span.end),
        }
    }

    fn table(&mut self, table: DeTable<'_>, depth: usize, settings: bool) -> Table {
        let entries = table.into_iter().map(|(key, value)| {
            let at = self.at(key.span());
            let node = self.node(value, depth, settings || key.get_ref().as_ref() == "settings");
            (Arc::from(key.get_ref().as_ref()), Entry { key: at, node })
        });
        Table(Arc::new(entries.collect()))
    }

    /// `settings`: it is part of some.
    fn node(&mut self, value: Spanned<DeValue<'_>>, depth: usize, settings: bool) -> Node {
        let at = self.at(value.span());
        let mut veiled = false;
        let value = match value.into_inner() {
            DeValue::String(text) => match self.string(&text, at, settings) {
                Ok(Some(filled)) => {
                    veiled = filled.referred;
                    Value::String(filled.text.into())
                }
                Ok(None) => Value::String(text.as_ref().into()),
                Err(problem) => {
                    self.findings.report(*problem);
                    Value::Broken
                }
            },
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => {
                    self.findings.report(
                        Problem::new("out-of-range", at, "this integer is too large").help(format!(
                            "integers go from {} to {}",
                            i64::MIN,
                            i64::MAX
                        )),
                    );
                    Value::Broken
                }
            },
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(yes) => Value::Boolean(yes),
            DeValue::Datetime(date) => Value::Datetime(date.to_string().into()),
            nested @ (DeValue::Array(_) | DeValue::Table(_)) if depth >= DEPTH_MAX => {
                self.findings.report(Problem::new(
                    "too-deep",
                    at,
                    format!("nested more than {DEPTH_MAX} levels deep"),
                ));
                dismantle(nested);
                Value::Broken
            }
            DeValue::Array(items) => {
                let items = items.into_iter();
                Value::Array(items.map(|item| self.node(item, depth + 1, settings)).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table, depth + 1, settings)),
        };
        Node { at, value, veiled }
    }

    /// The text with everything filled in, if there is something. `settings`: it is part of some.
    pub fn string(&self, text: &str, at: At, settings: bool) -> Result<Option<Filled>, Box<Problem>> {
        let Some(source) = self.sources.get(at) else {
            return Ok(None);
        };
        if self.surroundings.are_a_tenants() && text.contains([OPEN, CLOSE]) {
            let wrong = "this text holds U+FDD0 or U+FDD1, which Unicode keeps free for use within a program";
            return Err(Box::new(
                Problem::new("bad-character", at, wrong).help("leave the character out"),
            ));
        }
        let filled = interpolate(text, &source.base, self.surroundings).map_err(|failure| {
            let problem = Problem::new("interpolation", at, failure.message);
            Box::new(match failure.help {
                Some(help) => problem.help(help),
                None => problem,
            })
        })?;
        // Names, labels and the like go wherever alerts go.
        if !settings
            && self.surroundings.are_a_tenants()
            && filled.as_ref().is_some_and(|filled| filled.text.contains(OPEN))
        {
            let problem = Problem::new("secret-place", at, "a secret can't stand here")
                .help("secrets go into the settings of checks, repairs and notifiers");
            return Err(Box::new(problem));
        }
        Ok(filled)
    }
}

/// Takes a tree apart without recursion: dotted keys inside dotted keys nest deeper than a stack.
fn dismantle(value: DeValue<'_>) {
    let mut left = vec![value];
    while let Some(value) = left.pop() {
        match value {
            DeValue::Array(items) => left.extend(items.into_iter().map(Spanned::into_inner)),
            DeValue::Table(table) => left.extend(table.into_iter().map(|(_, value)| value.into_inner())),
            _ => {}
        }
    }
}

/// Puts one more file's table into what was read so far: tables merge, arrays append, and anything else that is
/// set twice is a problem.
pub(super) fn join(into: &mut Table, more: &Table, findings: &mut Findings) {
    join_below(into, more, &[], findings);
}

fn join_below(into: &mut Table, more: &Table, path: &[&str], findings: &mut Findings) {
    // Whoever reads one file must see a whole notifier or template there.
    let whole = matches!(path, ["notifiers" | "templates"]);
    let entries = Arc::make_mut(&mut into.0);
    for (key, entry) in more.0.iter() {
        let Some(first) = entries.get_mut(key) else {
            entries.insert(Arc::clone(key), entry.clone());
            continue;
        };
        match (&mut first.node.value, &entry.node.value) {
            (Value::Table(into), Value::Table(more)) if !whole => {
                let path: Vec<&str> = path.iter().copied().chain([key.as_ref()]).collect();
                join_below(into, more, &path, findings);
            }
            (Value::Array(into), Value::Array(more)) => {
                *into = into.iter().chain(more.iter()).cloned().collect();
            }
            _ if whole => findings.report(
                Problem::new("duplicate-name", entry.key, format!("`{key}` is defined twice"))
                    .note(first.key, "first defined here"),
            ),
            _ => findings.report(
                Problem::new("set-twice", entry.key, format!("`{key}` is set twice"))
                    .help("tables merge and arrays append over files, but a value is set in one place")
                    .note(first.key, "first set here"),
            ),
        }
    }
}
