//! CSV as RFC 4180 has it: a header line, commas, double quotes. Strict, since a guess would put a value into the
//! wrong column.

use super::{
    row::{NoRow, Row},
    template::Fields,
};
use std::ops::Range;

/// Where the fields are in a file: slots by column.
#[derive(Debug)]
pub(super) struct Columns {
    /// One entry for each column; none where nobody wants it.
    slots: Vec<Option<usize>>,
}

/// What is wrong with a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// It can't be read at all.
    NoRow(NoRow),
    /// Nothing has this name.
    Missing(usize),
    /// A field that is wanted is there a second time, here.
    Twice(usize, Range<usize>),
}

impl Columns {
    /// Reads the header. What is wrong with it comes with the names that it has.
    pub fn read(line: &str, fields: &Fields) -> Result<Self, (Vec<BadHeader>, Vec<String>)> {
        let mut names = Vec::new();
        let mut slots: Vec<Option<usize>> = Vec::new();
        let mut wrong = Vec::new();
        let read = cells(line, |name, range| {
            let slot = fields
                .iter()
                .find(|(_, field)| *field == name)
                .map(|(slot, _)| slot);
            if let Some(slot) = slot
                && slots.contains(&Some(slot))
            {
                wrong.push(BadHeader::Twice(slot, range));
            }
            slots.push(slot);
            names.push(name.to_owned());
        });
        if let Err(error) = read {
            return Err((vec![BadHeader::NoRow(error)], names));
        }
        let missing = (0..fields.len()).filter(|slot| !slots.contains(&Some(*slot)));
        wrong.extend(missing.map(BadHeader::Missing));
        if wrong.is_empty() {
            Ok(Self { slots })
        } else {
            Err((wrong, names))
        }
    }

    /// Reads one record.
    pub fn record(&self, record: &str, slots: usize, row: &mut Row) -> Result<(), NoRow> {
        row.clear(slots);
        let mut columns = self.slots.iter();
        let mut count = 0_usize;
        cells(record, |text, _| {
            count += 1;
            if let Some(Some(slot)) = columns.next() {
                row.put_text(*slot, text);
            }
        })?;
        if count == self.slots.len() {
            return Ok(());
        }
        Err(NoRow {
            message: format!("{count} fields, and the header has {}", self.slots.len()),
            offset: 0,
        })
    }

    /// Where the cell of that slot stands in a record that was read before, in bytes.
    pub fn find(&self, record: &str, slot: usize) -> Option<Range<usize>> {
        let column = self.slots.iter().position(|known| *known == Some(slot))?;
        let (mut number, mut found) = (0, None);
        cells(record, |_, range| {
            if number == column {
                found = Some(range);
            }
            number += 1;
        })
        .ok()?;
        found
    }
}

/// Calls `see` with the text and the place of each cell.
fn cells(record: &str, mut see: impl FnMut(&str, Range<usize>)) -> Result<(), NoRow> {
    let bytes = record.as_bytes();
    let wrong = |message: &str, offset| {
        Err(NoRow {
            message: message.to_owned(),
            offset,
        })
    };
    let mut unquoted = String::new();
    let mut start = 0;
    loop {
        let rest = record.get(start..).unwrap_or_default();
        let end = if rest.starts_with('"') {
            unquoted.clear();
            let mut at = start + 1;
            loop {
                let Some(length) = memchr::memchr(b'"', bytes.get(at..).unwrap_or_default()) else {
                    return wrong("a quotation mark that is not closed", start);
                };
                unquoted.push_str(record.get(at..at + length).unwrap_or_default());
                at += length + 1;
                if bytes.get(at) != Some(&b'"') {
                    break;
                }
                unquoted.push('"');
                at += 1;
            }
            if !matches!(bytes.get(at), None | Some(b',')) {
                return wrong("something between a closing quotation mark and the comma", at);
            }
            see(&unquoted, start..at);
            at
        } else {
            let length = memchr::memchr2(b',', b'"', rest.as_bytes()).unwrap_or(rest.len());
            let end = start + length;
            if bytes.get(end) == Some(&b'"') {
                return wrong(
                    "a quotation mark within a field; put the whole field in quotation marks and double it",
                    end,
                );
            }
            see(record.get(start..end).unwrap_or_default(), start..end);
            end
        };
        if end >= bytes.len() {
            return Ok(());
        }
        start = end + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(record: &str) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        cells(record, |text, _| all.push(text.to_owned())).map_err(|error| error.message)?;
        Ok(all)
    }

    #[test]
    fn records_are_split() {
        assert_eq!(
            split("a,b c,,"),
            Ok(vec!["a".into(), "b c".into(), "".into(), "".into()])
        );
        assert_eq!(
            split("\"a,\"\"b\"\"\n\",c"),
            Ok(vec!["a,\"b\"\n".into(), "c".into()])
        );
        assert_eq!(split("\"\""), Ok(vec![String::new()]));
        for wrong in ["\"a", "a\"b", "\"a\"b", "\"a\" ,b", "a,\"", " \"a\""] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn columns_go_to_their_slots() {
        let mut fields = Fields::default();
        let (port, id) = (fields.slot("port"), fields.slot("the id"));
        let columns = Columns::read("the id,site,port", &fields).unwrap();
        let mut row = Row::default();
        columns.record("7,x,\"80\"", 2, &mut row).unwrap();
        assert_eq!((row.text(id), row.text(port)), (Some("7"), Some("80")));
        assert_eq!(columns.find("7,x,\"80\"", port), Some(4..8));
        for wrong in ["7,x", "7,x,80,", ""] {
            let error = columns.record(wrong, 2, &mut row).unwrap_err();
            assert!(
                error.message.contains("the header has 3"),
                "{wrong}: {}",
                error.message
            );
        }
        assert_eq!(
            Columns::read("port,port", &fields).unwrap_err().0,
            [BadHeader::Twice(port, 5..9), BadHeader::Missing(id)]
        );
    }

    proptest! {
        #[test]
        fn what_was_quoted_is_read_back(texts in prop::collection::vec("[a-c\",\r\n é]{0,6}", 1..5)) {
            let record: Vec<String> = texts.iter().map(|text| format!("\"{}\"", text.replace('"', "\"\""))).collect();
            prop_assert_eq!(split(&record.join(",")), Ok(texts));
        }

        #[test]
        fn no_record_makes_it_panic(record in "[a\",é\n ]{0,20}") {
            let _ = split(&record);
        }
    }
}
