//! Texts with `{{field}}`, which every row of a list of targets fills in anew.
//!
//! Invariant: what a row says stays data. It is put where the placeholder stands and never looked through again,
//! neither for placeholders nor for references to the environment.

use super::row::{Cell, Row};

/// Begins a placeholder. Twice in a row it stands for itself.
const OPEN: &str = "{{";
/// Ends a placeholder. Outside of one it stands for itself.
const CLOSE: &str = "}}";
/// Longest name of a field, in bytes.
const FIELD_BYTES_MAX: usize = 256;

/// The fields that the texts of one table name, each with a slot in its rows.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<Box<str>>);

impl Fields {
    /// The slot of that field.
    pub fn slot(&mut self, name: &str) -> usize {
        match self.0.iter().position(|known| known.as_ref() == name) {
            Some(slot) => slot,
            None => {
                self.0.push(name.into());
                self.0.len() - 1
            }
        }
    }

    /// The field in that slot.
    pub fn name(&self, slot: usize) -> &str {
        self.0.get(slot).map_or("", AsRef::as_ref)
    }

    /// All fields, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &str)> {
        self.0.iter().map(AsRef::as_ref).enumerate()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// A text that was taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(Box<str>),
    /// What the row has in that slot.
    Field(usize),
}

impl Template {
    /// Takes a text apart.
    ///
    /// # Errors
    /// Goes on after "this text has"; quotes nothing.
    pub fn parse(text: &str, fields: &mut Fields) -> Result<Self, &'static str> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OPEN) {
            plain.push_str(before);
            if let Some(after) = after.strip_prefix(OPEN) {
                plain.push_str(OPEN);
                rest = after;
                continue;
            }
            if after.starts_with('{') {
                // Three: one brace, and then a placeholder.
                plain.push('{');
                rest = rest.get(before.len() + 1..).unwrap_or_default();
                continue;
            }
            let (name, after) = after.split_once(CLOSE).ok_or("a `{{` without its `}}`")?;
            let name = name.trim();
            if name.is_empty() {
                return Err("a placeholder that names no field");
            }
            if name.len() > FIELD_BYTES_MAX || name.contains(['{', '}']) || name.chars().any(char::is_control)
            {
                return Err("a placeholder that no field can be called like");
            }
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain).into()));
            }
            parts.push(Part::Field(fields.slot(name)));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain.into()));
        }
        Ok(Self(parts))
    }

    /// What it was taken apart into.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The slots that it takes something from, in order.
    pub fn slots(&self) -> impl Iterator<Item = usize> {
        self.0.iter().filter_map(|part| match part {
            Part::Field(slot) => Some(*slot),
            Part::Text(_) => None,
        })
    }

    /// What every row makes of it, if that is always the same.
    pub fn constant(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The slot, where the text is one placeholder and nothing else.
    pub fn lone(&self) -> Option<usize> {
        match self.0.as_slice() {
            [Part::Field(slot)] => Some(*slot),
            _ => None,
        }
    }

    /// Appends what the row makes of it.
    ///
    /// # Errors
    /// The slot that has nothing to put there.
    pub fn fill(&self, row: &Row, into: &mut String) -> Result<(), usize> {
        for part in &self.0 {
            match part {
                Part::Text(text) => into.push_str(text),
                Part::Field(slot) => into.push_str(row.text(*slot).ok_or(*slot)?),
            }
        }
        Ok(())
    }
}

/// Appends a text as it stands within the quotation marks of a JSON string.
pub(super) fn push_json(text: &str, into: &mut String) {
    if text
        .bytes()
        .all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
    {
        into.push_str(text);
        return;
    }
    let quoted = serde_json::Value::from(text).to_string();
    into.push_str(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default());
}

/// What a cell is, for people; none where it can be filled in.
pub(super) fn unfit(cell: Cell) -> Option<&'static str> {
    match cell {
        Cell::Absent => Some("is missing"),
        Cell::Null => Some("is null"),
        Cell::Object => Some("is an object"),
        Cell::Array => Some("is an array"),
        Cell::Twice => Some("is there twice"),
        Cell::Text(_) | Cell::Number(_) | Cell::Boolean(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(fields: &Fields, values: &[(&str, &str)]) -> Row {
        let mut row = Row::default();
        row.clear(fields.len());
        for (slot, name) in fields.iter() {
            if let Some((_, value)) = values.iter().find(|(known, _)| *known == name) {
                row.put_text(slot, value);
            }
        }
        row
    }

    fn filled(text: &str, values: &[(&str, &str)]) -> Result<String, String> {
        let mut fields = Fields::default();
        let template = Template::parse(text, &mut fields)?;
        let mut filled = String::new();
        template
            .fill(&row(&fields, values), &mut filled)
            .map_err(|slot| fields.name(slot).to_owned())?;
        Ok(filled)
    }

    #[test]
    fn fields_are_filled_in() {
        let values = [("id", "7"), ("a.b", "{{id}} ${env:HOME}"), ("two words", "x")];
        assert_eq!(filled("plain", &values), Ok("plain".to_owned()));
        assert_eq!(filled("<{{id}}>{{ id }}", &values), Ok("<7>7".to_owned()));
        assert_eq!(filled("{{two words}}", &values), Ok("x".to_owned()));
        assert_eq!(
            filled("{{a.b}}", &values),
            Ok("{{id}} ${env:HOME}".to_owned()),
            "what is filled in is data"
        );
        assert_eq!(filled("x{{none}}", &values), Err("none".to_owned()));
    }

    #[test]
    fn braces_stand_for_themselves_when_doubled() {
        let values = [("id", "7")];
        assert_eq!(filled("{{{{monitor}}", &values), Ok("{{monitor}}".to_owned()));
        assert_eq!(filled("{{{{{{id}}}}", &values), Ok("{{7}}".to_owned()));
        assert_eq!(filled("{{{id}}}", &values), Ok("{7}".to_owned()));
        assert_eq!(filled("{ } }} { {", &values), Ok("{ } }} { {".to_owned()));
        assert_eq!(filled("{\"a\":{}}", &values), Ok("{\"a\":{}}".to_owned()));
    }

    #[test]
    fn what_is_no_placeholder_is_refused() {
        for wrong in ["{{", "a{{b", "{{}}", "{{ }}", "{{a{b}}", "{{a\nb}}"] {
            assert!(filled(wrong, &[("", "x")]).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_text_with_every_brace_doubled_is_itself(text in "[a{} ]{0,20}") {
            prop_assert_eq!(filled(&text.replace("{{", "{{{{"), &[]), Ok(text));
        }

        #[test]
        fn json_stays_json(before in ".{0,10}", value in ".{0,20}") {
            prop_assume!(!before.contains('{'));
            let mut fields = Fields::default();
            let template = Template::parse(&format!("{before}{{{{f}}}}"), &mut fields).unwrap();
            let mut text = String::new();
            template.fill(&row(&fields, &[("f", &value)]), &mut text).unwrap();
            let mut filled = String::from("\"");
            push_json(&text, &mut filled);
            filled.push('"');
            let read: String = serde_json::from_str(&filled).unwrap();
            prop_assert_eq!(read, format!("{before}{value}"));
        }
    }
}
