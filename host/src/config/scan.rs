//! Where things stand in a line of JSON. Only for showing what is wrong with it: slow.

use std::ops::Range;

/// The names of the fields of a line that was read before.
pub(super) fn fields_of_json(line: &str) -> Vec<String> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap_or_default();
    object.into_iter().map(|(name, _)| name).collect()
}

/// Where the value of a field stands in a line that was read before, in bytes.
pub(super) fn find_json(line: &str, field: &str) -> Option<Range<usize>> {
    let mut scan = Scan { line, at: 0 };
    let mut found = None;
    scan.value("", field, 0, &mut found)?;
    found
}

/// Goes over JSON that is known to be right.
struct Scan<'a> {
    line: &'a str,
    at: usize,
}

/// Nesting that is followed.
const SCAN_DEPTH_MAX: usize = 64;

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Option<&str> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.line.get(start..self.at)
    }

    fn value(
        &mut self,
        path: &str,
        field: &str,
        depth: usize,
        found: &mut Option<Range<usize>>,
    ) -> Option<()> {
        self.space();
        let start = self.at;
        let (close, object) = match self.peek()? {
            b'"' => {
                self.string()?;
                (0, false)
            }
            b'{' => (b'}', true),
            b'[' => (b']', false),
            _ => {
                while self
                    .peek()
                    .is_some_and(|byte| !byte.is_ascii_whitespace() && !b",]}".contains(&byte))
                {
                    self.at += 1;
                }
                // Not that right after all.
                if self.at == start {
                    return None;
                }
                (0, false)
            }
        };
        if close > 0 {
            if depth >= SCAN_DEPTH_MAX {
                return None;
            }
            self.at += 1;
            loop {
                self.space();
                if self.peek()? == close {
                    self.at += 1;
                    break;
                }
                if self.peek()? == b',' {
                    self.at += 1;
                    continue;
                }
                if object {
                    let key: String = serde_json::from_str(self.string()?).ok()?;
                    self.space();
                    self.at += 1;
                    let below = if path.is_empty() {
                        key
                    } else {
                        format!("{path}.{key}")
                    };
                    self.value(&below, field, depth + 1, found)?;
                } else {
                    // What stands in arrays has no name.
                    self.value("\0", field, depth + 1, found)?;
                }
            }
        }
        if path == field {
            *found = Some(start..self.at);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_is_found_where_it_stands() {
        let line = r#"{"a": "x\"}", "b": {"c": [1, {"d": 2}], "d": 3} , "e\u0066": false}"#;
        let found = |field| find_json(line, field).map(|range| &line[range]);
        assert_eq!(found("a"), Some(r#""x\"}""#));
        assert_eq!(found("b.d"), Some("3"));
        assert_eq!(found("b.c"), Some(r#"[1, {"d": 2}]"#));
        assert_eq!(found("ef"), Some("false"));
        assert_eq!(found("d"), None);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic_or_go_on_for_ever(line in r#"[{}\[\]":,a-c0-9\\ .-]{0,40}"#) {
            let _ = find_json(&line, "a.b");
            let _ = fields_of_json(&line);
        }
    }
}
