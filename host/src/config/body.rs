//! Settings with placeholders: their JSON text, made and checked for each row.

use super::{
    build::Owner,
    lane::problem_of,
    problem::Problem,
    recipe::{Draft, SETTINGS_BYTES_MAX, Stand},
    row::{Cell, Row},
    schema::{Complaint, Schema, Wants, pointer, wants},
    source::At,
    template::{Template, push_json},
    tree::{Node, Table, Value},
};
use crate::domain::secret::{OPEN, Secrets};
use std::{borrow::Cow, fmt::Write as _, sync::Arc};

/// How rows were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Types {
    /// Values have their own.
    Own,
    /// Everything is text.
    Text,
}

/// Settings with placeholders.
#[derive(Debug)]
pub(super) struct Body<'a> {
    owner: Owner<'a>,
    pub plugin: &'a str,
    pub schema: Arc<Schema<'a>>,
    table: Table,
    /// Their JSON text.
    pieces: Vec<Piece>,
    holes: Vec<Hole>,
    /// The settings with what the rows have in common.
    pub sample: serde_json::Value,
    /// What the texts may name. The sample has their values.
    secrets: Arc<Secrets>,
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
    /// Secrets that it names: no row can name another one.
    secrets: usize,
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
        secrets: &Arc<Secrets>,
    ) -> Option<Self> {
        let mut body = Self {
            owner,
            plugin,
            schema,
            table: table.clone(),
            pieces: Vec::new(),
            holes: Vec::new(),
            sample: serde_json::Value::Null,
            secrets: Arc::clone(secrets),
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
        // No row can become what is already too large without it: each of them is told so.
        if secrets.filled_len(&text) <= SETTINGS_BYTES_MAX {
            secrets.fill_value(&mut body.sample);
        }
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
                    secrets: text.matches(OPEN).count(),
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

    /// Bytes of settings with the values of secrets.
    pub fn bytes(&self, settings: &str) -> usize {
        self.secrets.filled_len(settings)
    }

    /// Appends the row's settings as JSON text, and leaves them in the sample, which has the values of secrets only as
    /// far as they are not too large together. None: the row lacks something.
    pub fn fill(
        &self,
        row: &Row,
        types: Types,
        sample: &mut serde_json::Value,
        hole_text: &mut String,
        into: &mut String,
    ) -> Option<()> {
        let mut left = SETTINGS_BYTES_MAX;
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
            let filled = if self.secrets.is_empty() {
                Cow::Borrowed(hole_text.as_str())
            } else if hole_text.matches(OPEN).count() == hole.secrets {
                left = left.saturating_sub(self.secrets.filled_len(hole_text));
                if left == 0 {
                    Cow::Borrowed(hole_text.as_str())
                } else {
                    self.secrets.fill_text(hole_text)
                }
            } else {
                return None;
            };
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
                    old.push_str(&filled);
                    quote(hole_text, into);
                }
                (None, spot) => {
                    *spot = filled.as_ref().into();
                    quote(hole_text, into);
                }
            }
        }
        Some(())
    }

    /// Whether that text can't be put in, since it could be taken for the name of a secret.
    pub fn refuses(&self, text: &str) -> bool {
        !self.secrets.is_empty() && text.contains(OPEN)
    }

    /// What the plugin's schema has to say of the sample.
    pub fn complain(
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
