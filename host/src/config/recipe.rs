//! What the rows of a table of targets are made into: its texts, taken apart once, and its settings, checked for each
//! row against the plugin's schema.
//!
//! Invariant: what does not vary between rows is looked at once, and what varies is looked at in every row. A row
//! that is right takes no allocation here.

use super::{
    build::Owner,
    lane::problem_of,
    layer::LABEL_VALUE_BYTES_MAX,
    problem::Problem,
    read::{names_have, nearest, wrong_name},
    row::{Cell, Keys, Row},
    schema::{Complaint, Schema, Wants, pointer, wants},
    source::At,
    template::{Fields, Template, push_json, unfit},
    tree::{Node, Table, Value},
};
use crate::domain::spec::identity;
use std::{fmt::Write as _, sync::Arc};

/// Settings of one row, as JSON: each monitor keeps its own.
const SETTINGS_BYTES_MAX: usize = 64 << 10;

/// Where a placeholder stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stand {
    pub at: At,
    /// Within a text that came from the environment or a file, which no message may quote.
    pub veiled: bool,
}

/// A text that many rows share: a label's value, a name of a parent.
#[derive(Clone, Debug)]
pub(super) enum Word {
    /// The same for all.
    Constant(Arc<str>),
    /// One of the row's [`Recipe::parts`].
    Part(usize),
}

/// How monitors are made of rows.
#[derive(Debug)]
pub(super) struct Recipe<'a> {
    fields: Fields,
    /// Where each field is named first, by slot.
    stands: Vec<Stand>,
    keys: Keys,
    name: Template,
    name_at: At,
    /// The slot that identifies a row over reloads.
    key: Option<usize>,
    /// Tells the keys of this table from those of others.
    realm: Box<str>,
    /// None: the same for all rows.
    pub pulse: Option<Body<'a>>,
    /// None: the same for all rows.
    pub repair: Option<Body<'a>>,
    /// What varies, but in less than every row: monitors for which it is the same share a class.
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    template: Template,
    at: At,
    /// In bytes.
    length_max: usize,
    what: &'static str,
}

/// Puts a recipe together.
#[derive(Debug)]
pub(super) struct Draft {
    pub fields: Fields,
    stands: Vec<Stand>,
    parts: Vec<Part>,
    /// What could not be taken apart.
    pub wrong: Vec<Problem>,
}

/// How rows were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Types {
    /// Values have their own.
    Own,
    /// Everything is text.
    Text,
}

impl Draft {
    pub fn new() -> Self {
        Self {
            fields: Fields::default(),
            stands: Vec::new(),
            parts: Vec::new(),
            wrong: Vec::new(),
        }
    }

    /// Takes a text apart. What is wrong with it is kept; then it is a constant.
    pub fn template(&mut self, text: &str, stand: Stand) -> Template {
        let parsed = Template::parse(text, &mut self.fields);
        self.stands.resize(self.fields.len(), stand);
        parsed.unwrap_or_else(|mistake| {
            self.wrong.push(
                Problem::new("bad-placeholder", stand.at, format!("this text has {mistake}"))
                    .help("`{{field}}` is what the row has in that field; a plain `{{` is written as `{{{{`"),
            );
            Template::default()
        })
    }

    /// The slot of the field that identifies a row.
    pub fn key(&mut self, name: &str, at: At) -> usize {
        let slot = self.fields.slot(name.trim());
        self.stands.resize(self.fields.len(), Stand { at, veiled: false });
        slot
    }

    /// A text that monitors share where it is the same.
    pub fn word(&mut self, text: &Arc<str>, at: At, what: &'static str) -> Word {
        let template = self.template(text, Stand { at, veiled: false });
        match template.constant() {
            Some(text) => Word::Constant(text.into()),
            None => {
                self.parts.push(Part {
                    template,
                    at,
                    length_max: LABEL_VALUE_BYTES_MAX,
                    what,
                });
                Word::Part(self.parts.len() - 1)
            }
        }
    }

    pub fn finish<'a>(
        self,
        name: Template,
        name_at: At,
        key: Option<usize>,
        realm: &str,
        pulse: Option<Body<'a>>,
        repair: Option<Body<'a>>,
    ) -> Recipe<'a> {
        Recipe {
            keys: Keys::of(&self.fields),
            fields: self.fields,
            stands: self.stands,
            name,
            name_at,
            key,
            realm: realm.into(),
            pulse,
            repair,
            parts: self.parts,
        }
    }
}

/// Settings with placeholders.
#[derive(Debug)]
pub(super) struct Body<'a> {
    owner: Owner<'a>,
    plugin: &'a str,
    schema: Arc<Schema<'a>>,
    table: Table,
    /// Their JSON text.
    pieces: Vec<Piece>,
    holes: Vec<Hole>,
    /// The settings with what the rows have in common.
    sample: serde_json::Value,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Hole(usize),
}

/// A string with placeholders.
#[derive(Debug)]
struct Hole {
    path: Vec<String>,
    /// The same as a JSON pointer.
    pointer: String,
    at: At,
    template: Template,
    /// One placeholder and nothing else, which keeps its type, and what the schema wants there.
    lone: Option<(usize, Wants)>,
}

impl<'a> Body<'a> {
    /// None if no row changes anything.
    pub fn new(
        draft: &mut Draft,
        owner: Owner<'a>,
        plugin: &'a str,
        schema: Arc<Schema<'a>>,
        table: &Table,
    ) -> Option<Self> {
        let mut body = Self {
            owner,
            plugin,
            schema,
            table: table.clone(),
            pieces: Vec::new(),
            holes: Vec::new(),
            sample: serde_json::Value::Null,
        };
        body.table(draft, table, &mut Vec::new());
        if body.holes.is_empty() {
            return None;
        }
        let mut text = String::new();
        for piece in &body.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Hole(_) => text.push_str("\"\""),
            }
        }
        body.sample = serde_json::from_str(&text).unwrap_or_default();
        Some(body)
    }

    /// The settings, where no row changes anything of them: `{{{{` was said for `{{`.
    pub fn constant(draft: &mut Draft, table: &Table) -> Table {
        table.map_strings(&mut |text, node| {
            let stand = Stand {
                at: node.at,
                veiled: node.veiled,
            };
            let template = draft.template(text, stand);
            template.constant().map(Arc::from)
        })
    }

    fn text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }

    fn table(&mut self, draft: &mut Draft, table: &Table, path: &mut Vec<String>) {
        self.text("{");
        for (number, (key, entry)) in table.iter().enumerate() {
            if number > 0 {
                self.text(",");
            }
            self.text(&serde_json::Value::from(key.as_ref()).to_string());
            self.text(":");
            path.push(key.to_string());
            self.node(draft, &entry.node, path);
            path.pop();
        }
        self.text("}");
    }

    fn node(&mut self, draft: &mut Draft, node: &Node, path: &mut Vec<String>) {
        match &node.value {
            Value::String(text) => {
                let stand = Stand {
                    at: node.at,
                    veiled: node.veiled,
                };
                let template = draft.template(text, stand);
                if let Some(text) = template.constant() {
                    self.text(&serde_json::Value::from(text).to_string());
                    return;
                }
                let lone = template
                    .lone()
                    .map(|slot| (slot, wants(self.schema.document, path)));
                self.pieces.push(Piece::Hole(self.holes.len()));
                self.holes.push(Hole {
                    path: path.clone(),
                    pointer: pointer(path.iter().map(String::as_str)),
                    at: node.at,
                    template,
                    lone,
                });
            }
            Value::Table(table) => self.table(draft, table, path),
            Value::Array(items) => {
                self.text("[");
                for (number, item) in items.iter().enumerate() {
                    if number > 0 {
                        self.text(",");
                    }
                    path.push(number.to_string());
                    self.node(draft, item, path);
                    path.pop();
                }
                self.text("]");
            }
            _ => self.text(&node.to_json().to_string()),
        }
    }

    /// Appends the row's settings as JSON text, and leaves them in the sample. None: the row lacks something.
    fn fill(
        &self,
        row: &Row,
        types: Types,
        sample: &mut serde_json::Value,
        hole_text: &mut String,
        into: &mut String,
    ) -> Option<()> {
        for piece in &self.pieces {
            let hole = match piece {
                Piece::Text(text) => {
                    into.push_str(text);
                    continue;
                }
                Piece::Hole(number) => self.holes.get(*number)?,
            };
            hole_text.clear();
            hole.template.fill(row, hole_text).ok()?;
            let bare = hole
                .lone
                .and_then(|(slot, wants)| bare(row.cell(slot), hole_text, wants, types));
            let spot = sample.pointer_mut(&hole.pointer)?;
            match (bare, spot) {
                (Some(value), spot) => {
                    // Writing to a string never fails.
                    let _ = write!(into, "{value}");
                    *spot = value;
                }
                (None, serde_json::Value::String(old)) => {
                    old.clear();
                    old.push_str(hole_text);
                    quote(hole_text, into);
                }
                (None, spot) => {
                    *spot = hole_text.as_str().into();
                    quote(hole_text, into);
                }
            }
        }
        Some(())
    }

    /// What the plugin's schema has to say of the sample.
    fn complain(
        &self,
        sample: &serde_json::Value,
        locate: &dyn Fn(Option<usize>) -> At,
        into: &mut Vec<Problem>,
    ) {
        for complaint in self.schema.check(sample) {
            let named = complaint.missing.is_some() || complaint.key.is_some();
            let hole = self
                .holes
                .iter()
                .find(|hole| !named && hole.path.starts_with(&complaint.path));
            let Some(hole) = hole else {
                into.extend(problem_of(&self.owner, &self.table, self.plugin, complaint));
                continue;
            };
            // The one field that makes the value, if there is only one.
            let first = hole.template.slots().next();
            let exact = hole.path.len() == complaint.path.len()
                && hole.template.slots().all(|slot| Some(slot) == first);
            let at = locate(first.filter(|_| exact));
            let Complaint {
                path, wrong, help, ..
            } = complaint;
            let name = pointer(path.iter().map(String::as_str));
            let plugin = self.plugin;
            let text = match name.as_str() {
                "" => format!("the settings of plugin `{plugin}`: this row {wrong}"),
                name => format!("the setting `{name}` of plugin `{plugin}` {wrong}"),
            };
            let mut problem = Problem::new("bad-setting", at, text).note(hole.at, "goes in here");
            if let Some(help) = help {
                problem = problem.help(help);
            }
            into.push(problem);
        }
    }
}

/// The value of a lone placeholder where it is none in quotation marks.
fn bare(cell: Cell, text: &str, wants: Wants, types: Types) -> Option<serde_json::Value> {
    let number = wants.integer || wants.fraction;
    match (cell, types) {
        (Cell::Number(_), _) if number || !wants.text => {
            text.parse::<serde_json::Number>().ok().map(Into::into)
        }
        (Cell::Boolean(_), _) if wants.boolean || !wants.text => Some((text == "true").into()),
        (Cell::Text(_), Types::Text) if !wants.text => match text {
            "true" | "false" if wants.boolean => Some((text == "true").into()),
            _ if number => text.parse::<serde_json::Number>().ok().map(Into::into),
            _ => None,
        },
        _ => None,
    }
}

fn quote(text: &str, into: &mut String) {
    into.push('"');
    push_json(text, into);
    into.push('"');
}

/// What a thread needs to follow a recipe.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    pub row: Row,
    pulse: serde_json::Value,
    repair: serde_json::Value,
    hole: String,
}

/// One row's monitor, in a [`Batch`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    /// Where its name begins; its settings follow.
    start: usize,
    name_bytes: usize,
    settings_bytes: usize,
    parts: (usize, usize),
    /// What identifies it, if it is not its name.
    pub key: Option<u64>,
    /// Where the row stands: line and offset in a file, or number in a list.
    pub line: u32,
    pub offset: u32,
}

/// What became of some rows, in their order.
#[derive(Debug, Default)]
pub(super) struct Batch {
    text: String,
    /// Parts as bytes, each with its length behind it (`u32`, little-endian), so that equal bytes are equal parts.
    parts: Vec<u8>,
    pub made: Vec<Made>,
}

impl Batch {
    pub fn clear(&mut self) {
        self.text.clear();
        self.parts.clear();
        self.made.clear();
    }

    pub fn name(&self, made: &Made) -> &str {
        let end = made.start + made.name_bytes;
        self.text.get(made.start..end).unwrap_or_default()
    }

    /// The settings of its check, where rows have their own.
    pub fn settings(&self, made: &Made) -> Option<&str> {
        let start = made.start + made.name_bytes;
        self.text
            .get(start..start + made.settings_bytes)
            .filter(|text| !text.is_empty())
    }

    /// What tells its class from those of other rows.
    pub fn parts(&self, made: &Made) -> &[u8] {
        self.parts.get(made.parts.0..made.parts.1).unwrap_or_default()
    }
}

/// Takes parts apart again.
pub(super) fn split_parts(mut parts: &[u8]) -> Vec<&str> {
    let mut texts = Vec::new();
    while let Some((rest, length)) = parts.split_last_chunk::<4>() {
        let start = rest.len().saturating_sub(u32::from_le_bytes(*length) as usize);
        let (before, text) = rest.split_at(start.min(rest.len()));
        texts.push(std::str::from_utf8(text).unwrap_or_default());
        parts = before;
    }
    texts.reverse();
    texts
}

impl Recipe<'_> {
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whether all rows make monitors of one class.
    pub fn is_uniform(&self) -> bool {
        self.parts.is_empty() && self.repair.is_none()
    }

    /// Where that field is named.
    pub fn stand(&self, slot: usize) -> Option<Stand> {
        self.stands.get(slot).copied()
    }

    pub fn scratch(&self) -> Scratch {
        let sample =
            |body: &Option<Body<'_>>| body.as_ref().map(|body| body.sample.clone()).unwrap_or_default();
        Scratch {
            row: Row::default(),
            pulse: sample(&self.pulse),
            repair: sample(&self.repair),
            hole: String::new(),
        }
    }

    /// Makes a monitor of the row in the scratch. False, and nothing made, if something is wrong with it.
    pub fn make(
        &self,
        scratch: &mut Scratch,
        types: Types,
        line: u32,
        offset: u32,
        batch: &mut Batch,
    ) -> bool {
        let (text, parts) = (batch.text.len(), batch.parts.len());
        match self.try_make(scratch, types, batch) {
            Some(made) => {
                batch.made.push(Made { line, offset, ..made });
                true
            }
            None => {
                batch.text.truncate(text);
                batch.parts.truncate(parts);
                false
            }
        }
    }

    fn try_make(&self, scratch: &mut Scratch, types: Types, batch: &mut Batch) -> Option<Made> {
        let Scratch {
            row,
            pulse,
            repair,
            hole,
        } = scratch;
        let start = batch.text.len();
        self.name.fill(row, &mut batch.text).ok()?;
        let name_bytes = batch.text.len() - start;
        let name = batch.text.get(start..)?;
        if wrong_name(name).is_some() || name == super::document::HOST_ENTRY {
            return None;
        }
        let key = match self.key {
            Some(slot) => {
                let key = row.text(slot).filter(|key| !key.is_empty())?;
                Some(identity([self.realm.as_ref(), key]))
            }
            None => None,
        };
        if let Some(body) = &self.pulse {
            body.fill(row, types, pulse, hole, &mut batch.text)?;
            if !body.schema.is_valid(pulse) {
                return None;
            }
        }
        let settings_bytes = batch.text.len() - start - name_bytes;
        if settings_bytes > SETTINGS_BYTES_MAX {
            return None;
        }
        let first = batch.parts.len();
        for part in &self.parts {
            hole.clear();
            part.template.fill(row, hole).ok()?;
            if hole.len() > part.length_max {
                return None;
            }
            push_part(hole, &mut batch.parts)?;
        }
        if let Some(body) = &self.repair {
            let mut text = String::new();
            body.fill(row, types, repair, hole, &mut text)?;
            if text.len() > SETTINGS_BYTES_MAX {
                return None;
            }
            if !body.schema.is_valid(repair) {
                return None;
            }
            push_part(&text, &mut batch.parts)?;
        }
        Some(Made {
            start,
            name_bytes,
            settings_bytes,
            parts: (first, batch.parts.len()),
            key,
            line: 0,
            offset: 0,
        })
    }

    /// Everything that is wrong with the row in the scratch. `locate` is where it has a field, or where it is itself;
    /// `has` are the fields that it has.
    pub fn explain(
        &self,
        scratch: &mut Scratch,
        types: Types,
        locate: &dyn Fn(Option<usize>) -> At,
        has: &[String],
    ) -> Vec<Problem> {
        let Scratch {
            row,
            pulse,
            repair,
            hole,
        } = scratch;
        let mut wrong = Vec::new();
        for (slot, name) in self.fields.iter() {
            let cell = row.cell(slot);
            let (Some(why), Some(stand)) = (unfit(cell), self.stand(slot)) else {
                continue;
            };
            let text = if stand.veiled {
                format!("a field that is named here {why}")
            } else {
                format!("the field `{name}` {why}")
            };
            let (id, at) = match cell {
                Cell::Absent => ("missing-field", locate(None)),
                _ => ("bad-field", locate(Some(slot))),
            };
            let known: Vec<&str> = has.iter().map(String::as_str).collect();
            let help = match cell {
                Cell::Absent => nearest(name, &known)
                    .filter(|_| !stand.veiled)
                    .map(|near| format!("did you mean `{{{{{near}}}}}`?")),
                Cell::Twice => None,
                _ => Some("a string, a number or a boolean can stand there".to_owned()),
            };
            let problem = Problem::new(id, at, text).note(stand.at, "named here");
            wrong.push(match help {
                Some(help) => problem.help(help),
                None => problem,
            });
        }
        if !wrong.is_empty() {
            return wrong;
        }
        if let Some(slot) = self.key
            && row.text(slot).is_some_and(str::is_empty)
        {
            let at = locate(Some(slot));
            let mut problem = Problem::new("bad-field", at, "the key of this row is empty");
            if let Some(stand) = self.stand(slot) {
                problem = problem.note(stand.at, "named here");
            }
            wrong.push(problem);
        }
        let mut name = String::new();
        if self.name.fill(row, &mut name).is_ok() {
            let at = locate(self.name.slots().next());
            if let Some(why) = wrong_name(&name) {
                let text = format!("the name of this row's monitor {why}");
                wrong.push(
                    Problem::new("bad-name", at, text)
                        .note(self.name_at, "named here")
                        .help(names_have()),
                );
            } else if name == super::document::HOST_ENTRY {
                let text = format!("`{name}` is the host's own name");
                wrong.push(Problem::new("reserved-name", at, text).note(self.name_at, "named here"));
            }
        }
        for part in &self.parts {
            hole.clear();
            if part.template.fill(row, hole).is_ok() && hole.len() > part.length_max {
                let at = locate(part.template.slots().next());
                let text = format!("{} has at most {} bytes", part.what, part.length_max);
                wrong.push(Problem::new("out-of-range", at, text).note(part.at, "goes in here"));
            }
        }
        for (body, sample) in [(&self.pulse, pulse), (&self.repair, repair)] {
            let mut text = String::new();
            if let Some(body) = body
                && body.fill(row, types, sample, hole, &mut text).is_some()
            {
                if text.len() > SETTINGS_BYTES_MAX {
                    let wrong_size = format!(
                        "the settings of plugin `{}` have {} bytes in this row; at most {SETTINGS_BYTES_MAX} are allowed",
                        body.plugin,
                        text.len()
                    );
                    wrong.push(Problem::new("out-of-range", locate(None), wrong_size));
                }
                body.complain(sample, locate, &mut wrong);
            }
        }
        wrong
    }
}

fn push_part(text: &str, into: &mut Vec<u8>) -> Option<()> {
    into.extend_from_slice(text.as_bytes());
    into.extend_from_slice(&u32::try_from(text.len()).ok()?.to_le_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_are_split_as_they_were_put(texts in prop::collection::vec("[a\0é]{0,5}", 0..5)) {
            let mut bytes = Vec::new();
            for text in &texts {
                push_part(text, &mut bytes).unwrap();
            }
            prop_assert_eq!(split_parts(&bytes), texts);
        }
    }
}
