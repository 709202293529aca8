//! One row of a list of targets, as far as anybody wants to know: what it has in the fields that are named.
//!
//! Invariant: a row that is read takes no allocation of its own. There may be a million of them.

use super::template::Fields;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt::{self, Write as _};

/// A piece of the row's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    start: usize,
    end: usize,
}

/// What a row has in one field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Cell {
    #[default]
    Absent,
    Null,
    Object,
    Array,
    /// The same field again.
    Twice,
    Text(Piece),
    Number(Piece),
    Boolean(Piece),
}

/// The row: its cells by slot. Used again for the next one.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    text: String,
    cells: Vec<Cell>,
}

impl Row {
    /// Forgets everything and makes room for so many slots.
    pub fn clear(&mut self, slots: usize) {
        self.text.clear();
        self.cells.clear();
        self.cells.resize(slots, Cell::Absent);
    }

    pub fn cell(&self, slot: usize) -> Cell {
        self.cells.get(slot).copied().unwrap_or_default()
    }

    /// What stands in that slot, as text; none where there is nothing that has one.
    pub fn text(&self, slot: usize) -> Option<&str> {
        match self.cell(slot) {
            Cell::Text(piece) | Cell::Number(piece) | Cell::Boolean(piece) => {
                self.text.get(piece.start..piece.end)
            }
            _ => None,
        }
    }

    fn put(&mut self, slot: usize, fresh: Cell) {
        if let Some(cell) = self.cells.get_mut(slot) {
            *cell = match cell {
                Cell::Absent => fresh,
                _ => Cell::Twice,
            };
        }
    }

    fn piece(&mut self, write: impl FnOnce(&mut String)) -> Piece {
        let start = self.text.len();
        write(&mut self.text);
        Piece {
            start,
            end: self.text.len(),
        }
    }

    pub fn put_text(&mut self, slot: usize, text: &str) {
        let piece = self.piece(|all| all.push_str(text));
        self.put(slot, Cell::Text(piece));
    }

    pub fn put_number(&mut self, slot: usize, number: impl fmt::Display) {
        // Writing to a string never fails.
        let piece = self.piece(|all| {
            let _ = write!(all, "{number}");
        });
        self.put(slot, Cell::Number(piece));
    }

    pub fn put_float(&mut self, slot: usize, number: f64) {
        match serde_json::Number::from_f64(number) {
            Some(number) => self.put_number(slot, number),
            None => self.put(slot, Cell::Null),
        }
    }

    pub fn put_boolean(&mut self, slot: usize, yes: bool) {
        let piece = self.piece(|all| all.push_str(if yes { "true" } else { "false" }));
        self.put(slot, Cell::Boolean(piece));
    }

    pub fn put_unfit(&mut self, slot: usize, cell: Cell) {
        self.put(slot, cell);
    }
}

/// Where the fields are in an object: by key, and below it where a field's name has dots.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    name: Box<str>,
    slot: Option<usize>,
    below: Keys,
}

impl Keys {
    pub fn of(fields: &Fields) -> Self {
        let mut keys = Self::default();
        for (slot, name) in fields.iter() {
            keys.key(name).slot = Some(slot);
            if let Some((first, rest)) = name.split_once('.') {
                keys.key(first).below.add(rest, slot);
            }
        }
        keys
    }

    fn add(&mut self, path: &str, slot: usize) {
        match path.split_once('.') {
            Some((first, rest)) => self.key(first).below.add(rest, slot),
            None => self.key(path).slot = Some(slot),
        }
    }

    fn key(&mut self, name: &str) -> &mut Key {
        let index = match self.0.iter().position(|key| key.name.as_ref() == name) {
            Some(index) => index,
            None => {
                self.0.push(Key {
                    name: name.into(),
                    slot: None,
                    below: Self::default(),
                });
                self.0.len() - 1
            }
        };
        #[allow(clippy::indexing_slicing)] // Found or pushed above.
        &mut self.0[index]
    }

    fn find(&self, name: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.name.as_ref() == name)
    }

    /// Walks down a table of a configuration, and says what stands at each slot.
    pub fn walk<'t>(
        &self,
        table: &'t super::tree::Table,
        see: &mut impl FnMut(usize, &'t super::tree::Node),
    ) {
        for key in &self.0 {
            let Some(node) = table.get(&key.name) else {
                continue;
            };
            if let Some(slot) = key.slot {
                see(slot, node);
            }
            if let super::tree::Value::Table(table) = &node.value {
                key.below.walk(table, see);
            }
        }
    }
}

/// Why a line is no row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoRow {
    /// Goes on after "this line is no JSON object:".
    pub message: String,
    /// Where in the line, in bytes from 0.
    pub offset: usize,
}

/// Reads a line that holds a JSON object.
pub(super) fn read_json(line: &str, keys: &Keys, slots: usize, row: &mut Row) -> Result<(), NoRow> {
    row.clear(slots);
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let object = Object { keys, row };
    deserializer
        .deserialize_map(object)
        .and_then(|()| deserializer.end())
        .map_err(|error| {
            let message = error.to_string();
            let message = message
                .rsplit_once(" at line ")
                .map_or(message.as_str(), |(message, _)| message);
            if let Some(kind) = message.strip_suffix(", expected an object") {
                let what = if kind.ends_with("sequence") {
                    "an array"
                } else {
                    "another value"
                };
                return NoRow {
                    message: format!("it is {what}"),
                    offset: 0,
                };
            }
            NoRow {
                message: message.to_owned(),
                offset: error.column().saturating_sub(1).min(line.len()),
            }
        })
}

/// Takes what is wanted from an object.
struct Object<'a> {
    keys: &'a Keys,
    row: &'a mut Row,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Wanted(self.keys))? {
            match key {
                Some(key) => map.next_value_seed(Value { key, row: self.row })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Recognises a key that is wanted.
struct Wanted<'a>(&'a Keys);

impl<'a, 'de> DeserializeSeed<'de> for Wanted<'a> {
    type Value = Option<&'a Key>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Wanted<'a> {
    type Value = Option<&'a Key>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.find(name))
    }
}

/// Takes the value of a key that is wanted.
struct Value<'a> {
    key: &'a Key,
    row: &'a mut Row,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if let Some(slot) = self.key.slot {
            self.row.put_text(slot, text);
        }
        Ok(())
    }

    fn visit_bool<E>(self, yes: bool) -> Result<(), E> {
        if let Some(slot) = self.key.slot {
            self.row.put_boolean(slot, yes);
        }
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        if let Some(slot) = self.key.slot {
            self.row.put_number(slot, number);
        }
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        if let Some(slot) = self.key.slot {
            self.row.put_number(slot, number);
        }
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        if !number.is_finite() {
            return Err(E::custom("a number that is too large"));
        }
        if let Some(slot) = self.key.slot {
            self.row.put_float(slot, number);
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        if let Some(slot) = self.key.slot {
            self.row.put_unfit(slot, Cell::Null);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if let Some(slot) = self.key.slot {
            self.row.put_unfit(slot, Cell::Array);
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        if let Some(slot) = self.key.slot {
            self.row.put_unfit(slot, Cell::Object);
        }
        Object {
            keys: &self.key.below,
            row: self.row,
        }
        .visit_map(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(names: &[&str]) -> Fields {
        let mut fields = Fields::default();
        for name in names {
            fields.slot(name);
        }
        fields
    }

    fn read(line: &str, names: &[&str]) -> Result<Row, NoRow> {
        let fields = fields(names);
        let mut row = Row::default();
        read_json(line, &Keys::of(&fields), fields.len(), &mut row)?;
        Ok(row)
    }

    #[test]
    fn what_is_wanted_is_taken() {
        let line = r#"{"id": 7, "x": [1, {"id": 8}], "s": "a\n\u00e9", "b": true, "n": null, "f": 1.50, "a": {"b": {"c": -3}, "x": {}}, "d.e": "dot"}"#;
        let names = ["id", "s", "b", "n", "f", "a.b.c", "d.e", "none", "x", "a"];
        let row = read(line, &names).unwrap();
        let texts: Vec<Option<&str>> = (0..names.len()).map(|slot| row.text(slot)).collect();
        assert_eq!(
            texts,
            [
                Some("7"),
                Some("a\né"),
                Some("true"),
                None,
                Some("1.5"),
                Some("-3"),
                Some("dot"),
                None,
                None,
                None
            ]
        );
        assert_eq!(row.cell(3), Cell::Null);
        assert_eq!(row.cell(7), Cell::Absent);
        assert_eq!(row.cell(8), Cell::Array);
        assert_eq!(row.cell(9), Cell::Object);
        assert!(matches!(row.cell(0), Cell::Number(_)) && matches!(row.cell(2), Cell::Boolean(_)));
        let twice = read(r#"{"id": 1, "id": 2}"#, &["id"]).unwrap();
        assert_eq!(twice.cell(0), Cell::Twice);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for line in ["", "[]", "7", "{", "{\"a\" 1}", "{} {}", "{\"a\": 1e999}", "nul"] {
            assert!(read(line, &["a"]).is_err(), "{line}");
        }
        assert_eq!(
            read("{\"a\": 1, }", &["a"]).unwrap_err(),
            NoRow {
                message: "trailing comma".to_owned(),
                offset: 9
            }
        );
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in r#"[{}\[\]":,a-c0-9\\ .-]{0,40}"#) {
            let _ = read(&line, &["a", "a.b", "c"]);
        }
    }
}
