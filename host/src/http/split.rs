//! Many documents out of one body, as it comes: one in each line, or all in one array.
//!
//! Invariant: what is kept of the body at any time is what its documents have, and of one that is too long nothing.

use crate::domain::managed::DOCUMENT_BYTES_MAX;

/// One document, or what stands in the place of one.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its text; too much was there where there is none.
    pub text: Option<Vec<u8>>,
    /// The line where it begins, from 1.
    pub line: u32,
    /// Its number in its array; none: it is a line.
    pub index: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Nothing but space has come.
    Fresh,
    Lines,
    Array,
    /// Behind the array.
    Over,
}

/// Takes a body apart.
#[derive(Debug)]
pub struct Splitter {
    mode: Mode,
    /// The line that is being read.
    line: u32,
    text: Vec<u8>,
    too_long: bool,
    /// Where the present piece began; none: only space has come of it.
    began: Option<u32>,
    index: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// Something stands behind the array.
    astray: bool,
}

impl Default for Splitter {
    fn default() -> Self {
        Self {
            mode: Mode::Fresh,
            line: 1,
            text: Vec::new(),
            too_long: false,
            began: None,
            index: 0,
            depth: 0,
            in_string: false,
            escaped: false,
            astray: false,
        }
    }
}

impl Splitter {
    /// Takes what has come. `take` gets each document that is whole.
    pub fn push(&mut self, bytes: &[u8], take: &mut impl FnMut(Piece)) {
        for byte in bytes {
            self.step(*byte, take);
            self.line = self.line.saturating_add(u32::from(*byte == b'\n'));
        }
    }

    /// Nothing more comes.
    ///
    /// # Errors
    /// It was no array, although it began like one; says why.
    pub fn end(mut self, take: &mut impl FnMut(Piece)) -> Result<(), &'static str> {
        match self.mode {
            Mode::Array => Err("the array has no end"),
            Mode::Over if self.astray => Err("something stands behind the array"),
            Mode::Lines => {
                self.finish(take);
                Ok(())
            }
            Mode::Fresh | Mode::Over => Ok(()),
        }
    }

    fn step(&mut self, byte: u8, take: &mut impl FnMut(Piece)) {
        match self.mode {
            Mode::Fresh if byte.is_ascii_whitespace() => {}
            Mode::Fresh if byte == b'[' => self.mode = Mode::Array,
            Mode::Fresh => {
                self.mode = Mode::Lines;
                self.keep(byte);
            }
            Mode::Lines if byte == b'\n' => self.finish(take),
            Mode::Lines => self.keep(byte),
            Mode::Array => self.within(byte, take),
            Mode::Over => self.astray |= !byte.is_ascii_whitespace(),
        }
    }

    fn within(&mut self, byte: u8, take: &mut impl FnMut(Piece)) {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return self.keep(byte);
        }
        match byte {
            b',' if self.depth == 0 => {
                self.began.get_or_insert(self.line);
                return self.finish(take);
            }
            b']' if self.depth == 0 => {
                // `[]` is an array of nothing, and `[1,]` is none.
                if self.index > 0 {
                    self.began.get_or_insert(self.line);
                }
                self.finish(take);
                self.mode = Mode::Over;
                return;
            }
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.keep(byte);
    }

    fn keep(&mut self, byte: u8) {
        if self.began.is_none() {
            if byte.is_ascii_whitespace() {
                return;
            }
            self.began = Some(self.line);
        }
        if self.text.len() < DOCUMENT_BYTES_MAX {
            self.text.push(byte);
        } else {
            self.too_long |= !byte.is_ascii_whitespace();
        }
    }

    /// The present piece is whole, if there is one.
    fn finish(&mut self, take: &mut impl FnMut(Piece)) {
        let mut text = std::mem::take(&mut self.text);
        let too_long = std::mem::take(&mut self.too_long);
        let Some(line) = self.began.take() else {
            return;
        };
        text.truncate(text.trim_ascii_end().len());
        take(Piece {
            text: (!too_long).then_some(text),
            line,
            index: (self.mode == Mode::Array).then_some(self.index),
        });
        self.index += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(body: &[u8], step: usize) -> (Vec<(String, u32)>, Result<(), &'static str>) {
        let (mut splitter, mut pieces) = (Splitter::default(), Vec::new());
        let mut take = |piece: Piece| {
            let text = piece.text.unwrap_or_else(|| b"(too long)".to_vec());
            pieces.push((String::from_utf8_lossy(&text).into_owned(), piece.line));
        };
        for bytes in body.chunks(step.max(1)) {
            splitter.push(bytes, &mut take);
        }
        let ended = splitter.end(&mut take);
        (pieces, ended)
    }

    fn texts(body: &str) -> Vec<(String, u32)> {
        let (pieces, ended) = split(body.as_bytes(), 3);
        ended.unwrap();
        pieces
    }

    #[test]
    fn lines_and_arrays_are_the_same_documents() {
        let lines = texts("\n{\"a\": 1}\r\n\n  {\"b\": [2, 3]}  \n{\"c\": \"]},\"}");
        assert_eq!(
            lines,
            [
                ("{\"a\": 1}".to_owned(), 2),
                ("{\"b\": [2, 3]}".to_owned(), 4),
                ("{\"c\": \"]},\"}".to_owned(), 5)
            ]
        );
        let array = texts(" [\n{\"a\": 1},\n{\"b\": [2, 3]} ,{\"c\":\n\"]},\\\"\"}\n]\n");
        assert_eq!(
            array,
            [
                ("{\"a\": 1}".to_owned(), 2),
                ("{\"b\": [2, 3]}".to_owned(), 3),
                ("{\"c\":\n\"]},\\\"\"}".to_owned(), 3)
            ]
        );
        for nothing in ["", " \n\n", "[]", " [ ]\n"] {
            assert_eq!(texts(nothing), [], "{nothing:?}");
        }
    }

    #[test]
    fn what_is_no_array_is_said() {
        assert_eq!(
            texts("[{},]").len(),
            2,
            "nothing is no document, and is told as one"
        );
        assert_eq!(texts("[,]").len(), 2);
        for (body, wrong) in [("[{}", "no end"), ("[{]", "no end"), ("[{}] {}", "behind")] {
            let (_, ended) = split(body.as_bytes(), 1);
            assert!(ended.unwrap_err().contains(wrong), "{body}");
        }
    }

    #[test]
    fn of_what_is_too_long_nothing_is_kept() {
        let long = "x".repeat(DOCUMENT_BYTES_MAX + 1);
        let body = format!("{{}}\n{long}\n{{}}\n");
        let (pieces, ended) = split(body.as_bytes(), 1000);
        assert_eq!(ended, Ok(()));
        let shown: Vec<(&str, u32)> = pieces.iter().map(|(text, line)| (&**text, *line)).collect();
        assert_eq!(shown, [("{}", 1), ("(too long)", 2), ("{}", 3)]);
        let just = format!("{}   \n", "x".repeat(DOCUMENT_BYTES_MAX));
        assert_eq!(split(just.as_bytes(), 7).0[0].0.len(), DOCUMENT_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_it_comes(body in r#"[\[\]{}",:a \n\\]{0,60}"#, step in 1_usize..9) {
            prop_assert_eq!(split(body.as_bytes(), step), split(body.as_bytes(), 1000));
        }

        #[test]
        fn any_array_comes_apart_into_its_items(items in prop::collection::vec("[a-c\"\\\\,\\]}{ ]{0,9}", 0..6)) {
            let items: Vec<serde_json::Value> = items.iter().map(|text| serde_json::json!({ "t": text })).collect();
            let body = serde_json::to_string_pretty(&items).unwrap();
            let read: Vec<serde_json::Value> = texts(&body)
                .iter()
                .map(|(text, _)| serde_json::from_str(text).unwrap())
                .collect();
            prop_assert_eq!(read, items);
        }
    }
}
