//! Small readers: each takes a value, says what was expected if it is something else, and keeps its place.

use super::{
    problem::{Findings, Problem},
    source::{At, Sources},
    tree::{Node, Table, Value},
};
use std::{ops::RangeInclusive, sync::Arc, time::Duration};

/// Names of monitors, notifiers and templates, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// A value that was read, and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot<T> {
    pub at: At,
    pub value: T,
}

/// Reads values and reports what is wrong with them.
pub(super) struct Reader<'a> {
    pub sources: &'a Sources,
    pub findings: &'a mut Findings,
}

/// Whose configuration is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    Operator,
    Tenant {
        /// Tables of monitors that are looked at.
        tables_max: usize,
    },
}

impl Reader<'_> {
    pub fn report(&mut self, problem: Problem) {
        self.findings.report(problem);
    }

    /// A value as a message may quote it: what was filled in from outside is shown as it was written.
    pub fn quoted(&self, at: At, value: &str) -> String {
        match self.filled_in(at) {
            Some(written) => short(written.trim_matches(['"', '\''])),
            None => short(value),
        }
    }

    /// What was written there, if something in it was filled in from outside.
    pub fn filled_in(&self, at: At) -> Option<&str> {
        let source = self.sources.get(at)?;
        let written = source.text.get(at.start as usize..at.end as usize)?;
        written.contains("${").then_some(written)
    }

    /// Reports every key that is not in `known`; `place` says whose keys they are.
    pub fn known_keys(&mut self, table: &Table, known: &[&str], place: &str) {
        self.known_keys_beside(table, known, place, &[], "");
    }

    /// The same, where keys that belong elsewhere go astray easily: `hint` says where they belong.
    pub fn known_keys_beside(
        &mut self,
        table: &Table,
        known: &[&str],
        place: &str,
        elsewhere: &[&str],
        hint: &str,
    ) {
        for (key, entry) in table.iter() {
            if !known.contains(&key.as_ref()) {
                let help = match nearest(key, known) {
                    _ if elsewhere.contains(&key.as_ref()) => hint.to_owned(),
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("{place} has {}", list(known)),
                };
                self.report(
                    Problem::new(
                        "unknown-key",
                        entry.key,
                        format!("{place} has no key `{}`", short(key)),
                    )
                    .help(help),
                );
            }
        }
    }

    pub fn wrong_type(&mut self, node: &Node, what: &str, expected: &str) {
        if matches!(node.value, Value::Broken) {
            return;
        }
        let mut problem = Problem::new(
            "wrong-type",
            node.at,
            format!("`{what}` must be {expected}, not {}", node.value.kind()),
        );
        if let (Value::Integer(number), Some(unit)) = (
            &node.value,
            [("a duration", "s"), ("a size", "MiB")]
                .iter()
                .find_map(|(kind, unit)| expected.starts_with(kind).then_some(unit)),
        ) {
            problem = problem.help(format!("say the unit: \"{number}{unit}\""));
        } else if let (Value::String(text), true) = (&node.value, expected.starts_with("an array"))
            && !node.veiled
        {
            problem = problem.help(format!("put it in brackets: [{:?}]", short(text)));
        }
        self.report(problem);
    }

    pub fn table<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n Table> {
        if let Value::Table(table) = &node.value {
            return Some(table);
        }
        self.wrong_type(node, what, "a table");
        None
    }

    pub fn array<'n>(&mut self, node: &'n Node, what: &str, of: &str) -> Option<&'n [Node]> {
        if let Value::Array(items) = &node.value {
            return Some(items);
        }
        self.wrong_type(node, what, &format!("an array of {of}"));
        None
    }

    pub fn string(&mut self, node: &Node, what: &str) -> Option<Spot<Arc<str>>> {
        if let Value::String(text) = &node.value {
            let value = Arc::clone(text);
            return Some(Spot { at: node.at, value });
        }
        self.wrong_type(node, what, "a string");
        None
    }

    pub fn strings(&mut self, node: &Node, what: &str) -> Option<Vec<Spot<Arc<str>>>> {
        let items = self.array(node, what, "strings")?;
        Some(items.iter().filter_map(|item| self.string(item, what)).collect())
    }

    /// A name for people and for references.
    pub fn name(&mut self, at: At, name: &str, what: &str) -> bool {
        let Some(wrong) = wrong_name(name) else {
            return true;
        };
        self.report(Problem::new("bad-name", at, format!("the name of {what} {wrong}")).help(names_have()));
        false
    }

    pub fn whole(&mut self, node: &Node, what: &str, range: RangeInclusive<u64>) -> Option<Spot<u64>> {
        let Value::Integer(number) = node.value else {
            self.wrong_type(node, what, "an integer");
            return None;
        };
        match u64::try_from(number) {
            Ok(value) if range.contains(&value) => Some(Spot { at: node.at, value }),
            _ => {
                let (low, high) = (range.start(), range.end());
                let text = format!("`{what}` must be from {low} to {high}, not {number}");
                self.report(Problem::new("out-of-range", node.at, text));
                None
            }
        }
    }

    pub fn small(&mut self, node: &Node, what: &str, range: RangeInclusive<u32>) -> Option<Spot<u32>> {
        let range = u64::from(*range.start())..=u64::from(*range.end());
        let Spot { at, value } = self.whole(node, what, range)?;
        let value = u32::try_from(value).ok()?;
        Some(Spot { at, value })
    }

    pub fn number(&mut self, node: &Node, what: &str, range: RangeInclusive<f64>) -> Option<Spot<f64>> {
        let value = match node.value {
            Value::Float(number) => number,
            Value::Integer(number) => {
                #[allow(clippy::cast_precision_loss)] // The ranges end far below 2^53.
                let number = number as f64;
                number
            }
            _ => {
                self.wrong_type(node, what, "a number");
                return None;
            }
        };
        if range.contains(&value) {
            return Some(Spot { at: node.at, value });
        }
        let (low, high) = (range.start(), range.end());
        let text = format!("`{what}` must be from {low} to {high}, not {value}");
        self.report(Problem::new("out-of-range", node.at, text));
        None
    }

    pub fn duration(
        &mut self,
        node: &Node,
        what: &str,
        range: RangeInclusive<Duration>,
    ) -> Option<Spot<Duration>> {
        let Value::String(text) = &node.value else {
            self.wrong_type(node, what, "a duration such as \"30s\"");
            return None;
        };
        let value = match parse_duration(text) {
            Ok(value) => value,
            Err(wrong) => {
                let text = format!("`{what}` is no duration: {wrong}");
                let help = "write a duration as \"500ms\", \"30s\", \"5m\", \"1h\", \"7d\" or \"1m30s\"";
                self.report(Problem::new("bad-duration", node.at, text).help(help));
                return None;
            }
        };
        if range.contains(&value) {
            return Some(Spot { at: node.at, value });
        }
        let text = format!(
            "`{what}` must be from {} to {}, not {}",
            show_duration(*range.start()),
            show_duration(*range.end()),
            show_duration(value)
        );
        self.report(Problem::new("out-of-range", node.at, text));
        None
    }

    /// A number of bytes.
    pub fn size(&mut self, node: &Node, what: &str, range: RangeInclusive<u64>) -> Option<Spot<u64>> {
        let Value::String(text) = &node.value else {
            self.wrong_type(node, what, "a size such as \"64MiB\"");
            return None;
        };
        let value = match parse_size(text) {
            Ok(value) => value,
            Err(wrong) => {
                let text = format!("`{what}` is no size: {wrong}");
                let help = "write a size as \"64KiB\", \"32MiB\" or \"1GiB\"";
                self.report(Problem::new("bad-size", node.at, text).help(help));
                return None;
            }
        };
        if range.contains(&value) {
            return Some(Spot { at: node.at, value });
        }
        let text = format!(
            "`{what}` must be from {} to {}, not {}",
            show_size(*range.start()),
            show_size(*range.end()),
            show_size(value)
        );
        self.report(Problem::new("out-of-range", node.at, text));
        None
    }
}

/// Why this is no name; goes on after "the name of …".
pub(super) fn wrong_name(name: &str) -> Option<String> {
    if name.is_empty() {
        Some("is empty".to_owned())
    } else if name.len() > NAME_BYTES_MAX {
        Some(format!("has {} bytes", name.len()))
    } else if name.chars().any(char::is_control) {
        Some("holds a control character".to_owned())
    } else {
        None
    }
}

/// What is right.
pub(super) fn names_have() -> String {
    format!("names have 1 to {NAME_BYTES_MAX} bytes and no control characters")
}

/// Units of time, longest first, in nanoseconds.
const TIME_UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
];

/// Units of size, largest first.
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// `1m30s`: whole numbers with units, each unit at most once, longest first.
///
/// # Errors
/// What is wrong with it, for people.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let (mut rest, mut total, mut shortest) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let (number, unit, after) = split_number(rest)?;
        let Some((_, nanos)) = TIME_UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(match unit {
                "" => "it has no unit".to_owned(),
                _ => format!("`{}` is no unit of time", short(unit)),
            });
        };
        if *nanos >= shortest {
            return Err("longer units come first, each of them once".to_owned());
        }
        shortest = *nanos;
        total = number
            .checked_mul(*nanos)
            .and_then(|nanos| total.checked_add(nanos))
            .ok_or("it is too long to be counted")?;
        rest = after;
    }
    Ok(Duration::from_nanos(total))
}

/// `64KiB`: a whole number with a unit.
///
/// # Errors
/// What is wrong with it, for people.
pub fn parse_size(text: &str) -> Result<u64, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let (number, unit, rest) = split_number(text)?;
    if !rest.is_empty() {
        return Err("it goes on after its unit".to_owned());
    }
    match SIZE_UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, bytes)) => number
            .checked_mul(*bytes)
            .ok_or("it is too large to be counted".to_owned()),
        None if unit.is_empty() => Err("it has no unit".to_owned()),
        None => Err(format!("`{}` is no unit of size", short(unit))),
    }
}

/// A number, the letters behind it, and the rest.
fn split_number(text: &str) -> Result<(u64, &str, &str), String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    if number.is_empty() {
        return Err("a whole number was expected".to_owned());
    }
    let number = number.parse().map_err(|_| "its number is too large")?;
    let letters = rest
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    if rest.starts_with(['.', ',']) && unit.is_empty() {
        return Err("fractions are written in a smaller unit".to_owned());
    }
    if !rest.is_empty() && !rest.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("there is something else than numbers and units".to_owned());
    }
    Ok((number, unit, rest))
}

/// As it would be written in a configuration.
pub fn show_duration(span: Duration) -> String {
    let mut left = crate::domain::time::nanos(span);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut shown = String::new();
    for (unit, nanos) in TIME_UNITS {
        if left >= nanos {
            shown.push_str(&format!("{}{unit}", left / nanos));
            left %= nanos;
        }
    }
    shown
}

/// As it would be written in a configuration.
pub fn show_size(bytes: u64) -> String {
    SIZE_UNITS
        .iter()
        .find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit))
        .map_or_else(
            || "0B".to_owned(),
            |(name, unit)| format!("{}{name}", bytes / unit),
        )
}

/// The known word that was probably meant.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    if word.len() > NAME_BYTES_MAX {
        return None;
    }
    let lower = word.to_lowercase().replace('_', "-");
    known
        .iter()
        .map(|known| {
            let distance = strsim::damerau_levenshtein(&lower, &known.to_lowercase());
            (distance, *known)
        })
        .min()
        .filter(|(distance, known)| *distance <= (known.chars().count() / 3).max(1))
        .map(|(_, known)| known)
}

/// `` `a`, `b` and `c` ``; long lists are cut.
pub(super) fn list(words: &[&str]) -> String {
    const SHOWN_MAX: usize = 30;
    let quoted: Vec<String> = words
        .iter()
        .take(SHOWN_MAX)
        .map(|word| format!("`{}`", short(word)))
        .collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [..] if words.len() > SHOWN_MAX => {
            format!("{} and {} more", quoted.join(", "), words.len() - SHOWN_MAX)
        }
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The text, cut to what fits in a line.
pub(super) fn short(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_whole_numbers_with_units() {
        let parsed = |text| parse_duration(text).map(|span| span.as_micros());
        assert_eq!(parsed("30s"), Ok(30_000_000));
        assert_eq!(parsed("1m30s"), Ok(90_000_000));
        assert_eq!(parsed("1d2h3m4s5ms6us"), Ok(93_784_005_006));
        assert_eq!(parsed("0s"), Ok(0));
        for wrong in [
            "",
            "30",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "1s ",
            "30s1m",
            "1s1s",
            "1y",
            "1M",
            "99999999999d",
            "99999999999999999999s",
            "1s!",
            "١s",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("0B"), Ok(0));
        for wrong in [
            "",
            "64",
            "64MB",
            "64 MiB",
            "1GiB1MiB",
            "1.5GiB",
            "99999999999GiB",
            "MiB",
            "-1B",
        ] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        let known = ["interval", "retry-interval", "timeout"];
        assert_eq!(nearest("intervall", &known), Some("interval"));
        assert_eq!(nearest("retry_interval", &known), Some("retry-interval"));
        assert_eq!(nearest("colour", &known), None);
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(nanos in 0..u64::MAX / 1000, bytes in 0..u64::MAX) {
            let span = Duration::from_micros(nanos / 1000);
            prop_assert_eq!(parse_duration(&show_duration(span)), Ok(span));
            prop_assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-zA-Z.,µ -]{0,30}") {
            let _ = (parse_duration(&text), parse_size(&text));
        }
    }
}
