//! Where something is wrong in a text that somebody wrote: line, column, and a caret below it.

use std::{fmt::Write as _, ops::Range};

/// Columns of a line that are shown.
const COLUMNS_MAX: usize = 160;

/// The message with its place:
///
/// ```text
/// tests/down.toml:4:9: there is no status `dead`
///   |
/// 4 | status = "dead"
///   |          ^^^^^^
/// ```
#[must_use]
pub fn at(name: &str, text: &str, span: Range<usize>, message: &str) -> String {
    let start = floor(text, span.start.min(text.len()));
    let begin = text
        .get(..start)
        .and_then(|before| before.rfind('\n'))
        .map_or(0, |at| at + 1);
    let line = text
        .get(begin..)
        .unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default();
    let number = 1 + text.get(..begin).unwrap_or_default().matches('\n').count();
    let column = text.get(begin..start).unwrap_or_default().chars().count();
    // An end of line, of which there are two, is no part of it.
    let end = floor(text, span.end.min(begin + line.len()).max(start));
    let width = text.get(start..end).unwrap_or_default().chars().count().max(1);
    // A long line is shown from where it matters.
    let skipped = if column >= COLUMNS_MAX {
        column - COLUMNS_MAX / 2
    } else {
        0
    };
    let shown: String = line.chars().skip(skipped).take(COLUMNS_MAX).map(plain).collect();
    let margin = " ".repeat(number.to_string().len());
    let carets = "^".repeat(width.min(COLUMNS_MAX.saturating_sub(column - skipped).max(1)));
    let mut out = format!("{name}:{number}:{}: {message}\n", column + 1);
    // Writing to a String can't fail.
    let _ = write!(
        out,
        "{margin} |\n{number} | {shown}\n{margin} | {}{carets}\n",
        " ".repeat(column - skipped)
    );
    out
}

fn plain(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Where a byte stands that a reader knows by line and column, both from 1.
#[must_use]
pub fn offset(text: &str, line: usize, column: usize) -> usize {
    let begin: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    (begin + column.saturating_sub(1)).min(text.len())
}

/// Where the value of that path stands in a JSON text; of one that is not there, its nearest parent. `key`: its key
/// and not its value.
#[must_use]
pub fn json_place(text: &str, path: &[String], key: bool) -> Range<usize> {
    let mut json = Json { text, at: 0 };
    json.blanks();
    json.find(path, key)
}

/// Walks over a text that is known to be JSON.
struct Json<'t> {
    text: &'t str,
    at: usize,
}

impl Json<'_> {
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn blanks(&mut self) {
        while self.peek().is_ascii_whitespace() {
            self.at += 1;
        }
    }

    fn find(&mut self, path: &[String], key: bool) -> Range<usize> {
        let begin = self.at;
        let Some((first, rest)) = path.split_first() else {
            self.skip();
            return begin..self.at;
        };
        let object = self.peek() == b'{';
        if !object && self.peek() != b'[' {
            self.skip();
            return begin..self.at;
        }
        self.at += 1;
        let mut index = 0_usize;
        loop {
            self.blanks();
            match self.peek() {
                b'}' | b']' | 0 => break,
                b',' => {
                    self.at += 1;
                    continue;
                }
                _ => {}
            }
            let name_begins = self.at;
            let name = if object {
                self.skip();
                let raw = self.text.get(name_begins..self.at).unwrap_or_default();
                let name = serde_json::from_str(raw).unwrap_or_default();
                let name_ends = self.at;
                self.blanks();
                self.at += 1;
                self.blanks();
                if key && rest.is_empty() && name == *first {
                    return name_begins..name_ends;
                }
                name
            } else {
                index += 1;
                (index - 1).to_string()
            };
            if name == *first {
                return self.find(rest, key);
            }
            self.skip();
        }
        // Not there: what should hold it.
        begin..begin + 1
    }

    /// Over one value.
    fn skip(&mut self) {
        let mut depth = 0_usize;
        loop {
            self.blanks();
            match self.peek() {
                0 => return,
                b'"' => {
                    self.at += 1;
                    while !matches!(self.peek(), b'"' | 0) {
                        self.at += if self.peek() == b'\\' { 2 } else { 1 };
                    }
                    self.at += 1;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                }
                b',' | b':' => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    while !matches!(self.peek(), b',' | b'}' | b']' | b':' | 0)
                        && !self.peek().is_ascii_whitespace()
                    {
                        self.at += 1;
                    }
                }
            }
            if depth == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_is_below_what_is_meant() {
        let text = "a = 1\nstatus = \"dead\"\n";
        assert_eq!(
            at("x.toml", text, 15..21, "no"),
            "x.toml:2:10: no\n  |\n2 | status = \"dead\"\n  |          ^^^^^^\n"
        );
        // Whatever is asked for, there is an answer.
        for span in [0..0, 5..500, 21..22, 500..600] {
            assert!(at("x", text, span, "no").contains('^'));
        }
        for at_byte in 0..8 {
            let shown = at("x", "a = 1\r\nb", at_byte..at_byte + 1, "no");
            assert!(shown.contains('^'), "{shown}");
        }
        let long = format!("{}é!", "x".repeat(1_000));
        let shown = at("x", &long, 1_002..1_003, "no");
        assert!(shown.lines().all(|line| line.chars().count() < 200), "{shown}");
        assert!(shown.contains('!'), "{shown}");
    }

    #[test]
    fn values_are_found_in_json() {
        let text = r#"{ "a": [1, {"b\"c": "x,]"}], "d": true, "e": { "f": -1.5e3 } }"#;
        let found = |path: &[&str], key| {
            let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
            text.get(json_place(text, &path, key)).unwrap()
        };
        assert_eq!(found(&["a", "1", "b\"c"], false), "\"x,]\"");
        assert_eq!(found(&["a", "0"], false), "1");
        assert_eq!(found(&["d"], true), "\"d\"");
        assert_eq!(found(&["e", "f"], false), "-1.5e3");
        assert_eq!(found(&["e", "g"], false), "{");
        assert_eq!(found(&[], false), text);
    }
}
