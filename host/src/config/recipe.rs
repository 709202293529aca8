//! What the rows of a table of targets are made into: its texts, taken apart once, and filled in for each row.
//!
//! Invariant: what does not vary between rows is looked at once, and what varies is looked at in every row. A row
//! that is right takes no allocation here.

use super::{
    batch::{Batch, Made, push_part},
    body::{Body, Types},
    layer::LABEL_VALUE_BYTES_MAX,
    problem::Problem,
    read::{names_have, nearest, wrong_name},
    row::{Cell, Keys, Row},
    source::At,
    template::{Fields, Template, unfit},
};
use crate::domain::spec::identity;
use std::sync::Arc;

/// Settings of one row, as JSON: each monitor keeps its own. Of a tenant, with the values of its secrets: so many bytes
/// are made each time that a plugin is handed them.
pub(super) const SETTINGS_BYTES_MAX: usize = 64 << 10;

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
    pub fn word(&mut self, text: &Arc<str>, stand: Stand, what: &'static str) -> Word {
        let template = self.template(text, stand);
        match template.constant() {
            Some(text) => Word::Constant(text.into()),
            None => {
                self.parts.push(Part {
                    template,
                    at: stand.at,
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

/// What a thread needs to follow a recipe.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    pub row: Row,
    pulse: serde_json::Value,
    repair: serde_json::Value,
    hole: String,
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
        let (text, parts) = (batch.text.len(), batch.part_bytes.len());
        match self.try_make(scratch, types, batch) {
            Some(made) => {
                batch.made.push(Made { line, offset, ..made });
                true
            }
            None => {
                batch.text.truncate(text);
                batch.part_bytes.truncate(parts);
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
            let settings = batch.text.get(start + name_bytes..)?;
            if body.bytes(settings) > SETTINGS_BYTES_MAX || !body.schema.is_valid(pulse) {
                return None;
            }
        }
        let settings_bytes = batch.text.len() - start - name_bytes;
        let first = batch.part_bytes.len();
        for part in &self.parts {
            hole.clear();
            part.template.fill(row, hole).ok()?;
            if hole.len() > part.length_max {
                return None;
            }
            push_part(hole, &mut batch.part_bytes)?;
        }
        if let Some(body) = &self.repair {
            let mut text = String::new();
            body.fill(row, types, repair, hole, &mut text)?;
            if body.bytes(&text) > SETTINGS_BYTES_MAX || !body.schema.is_valid(repair) {
                return None;
            }
            push_part(&text, &mut batch.part_bytes)?;
        }
        Some(Made {
            start,
            name_bytes,
            settings_bytes,
            parts: (first, batch.part_bytes.len()),
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
        let bodies = || [&self.pulse, &self.repair].into_iter().flatten();
        for (slot, _) in self.fields.iter() {
            let text = row.text(slot).unwrap_or_default();
            if bodies().any(|body| body.refuses(text)) {
                let text = "this field holds U+FDD0, which Unicode keeps free for use within a program";
                wrong.push(Problem::new("bad-character", locate(Some(slot)), text));
            }
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
                let bytes = body.bytes(&text);
                if bytes > SETTINGS_BYTES_MAX {
                    let wrong_size = format!(
                        "the settings of plugin `{}` have {bytes} bytes in this row; at most {SETTINGS_BYTES_MAX} are allowed",
                        body.plugin
                    );
                    wrong.push(Problem::new("out-of-range", locate(None), wrong_size));
                    continue;
                }
                body.complain(sample, locate, &mut wrong);
            }
        }
        wrong
    }
}
