//! Commands that the operator declared, and what a plugin may fill in. Data and matching; running is `capability/`.
//!
//! Architecture invariant: whatever a plugin says becomes part of single arguments at the places that the declaration
//! leaves open, and only if it is, from its first byte to its last, what the declaration allows there.

use regex::{Regex, RegexBuilder};
use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

/// Bytes of a value, unless the declaration says otherwise, and at most.
pub const VALUE_BYTES: usize = 256;
pub const VALUE_BYTES_MAX: usize = 4 << 10;
/// Bytes of a pattern, and of what it becomes in memory.
const PATTERN_BYTES_MAX: usize = 1 << 10;
const PATTERN_MEMORY_MAX: usize = 1 << 20;

/// `[commands.NAME]`, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its name: 1 to 64 lower-case letters, digits and inner hyphens.
    pub name: Arc<str>,
    /// The program, absolute.
    pub program: PathBuf,
    /// Its arguments, the program's own name not among them.
    pub args: Vec<Arg>,
    /// What a plugin may fill in, by name. Each of them stands in an argument.
    pub params: BTreeMap<Arc<str>, Param>,
    /// How long it may take; above zero.
    pub timeout: Duration,
    /// Bytes that are kept of each of its two outputs.
    pub output_max: usize,
    /// All of its environment, in which nothing is inherited.
    pub env: BTreeMap<Arc<str>, Arc<str>>,
    /// Its working directory, absolute.
    pub dir: PathBuf,
    /// Address space of each of its processes, in bytes.
    pub memory_bytes: u64,
    /// CPU time of each of its processes, in whole seconds; at least 1.
    pub cpu_seconds: u64,
}

/// One argument: texts and placeholders, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Param(String),
}

impl Arg {
    /// Takes an argument as it was written apart: `{name}` is a placeholder, `{{` and `}}` are braces.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(written: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = written;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            text.push_str(before);
            if let Some(after) = from.strip_prefix("{{") {
                text.push('{');
                rest = after;
            } else if let Some(after) = from.strip_prefix("}}") {
                text.push('}');
                rest = after;
            } else if let Some((name, after)) = from.strip_prefix('{').and_then(|from| from.split_once('}')) {
                if !is_param_name(name) {
                    return Err(format!(
                        "`{{{}}}` is no placeholder: its name has letters, digits, `-` and `_`; a brace itself is written twice",
                        name.escape_debug()
                    ));
                }
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(Piece::Param(name.to_owned()));
                rest = after;
            } else {
                return Err("a brace stands alone; a brace itself is written twice".to_owned());
            }
        }
        text.push_str(rest);
        if !text.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(Self(pieces))
    }

    /// The placeholders in it.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Param(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }
}

/// Whether a placeholder can be called that: 1 to 64 letters, digits, `-` and `_`.
#[must_use]
pub fn is_param_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// What may stand in the place of a placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Which texts.
    pub allowed: Allowed,
    /// And of how many bytes at most.
    pub bytes_max: usize,
    /// Whether an argument may begin with `-` because of it, so that the program takes it for an option. Listed values
    /// may always.
    pub leading_dash: bool,
}

/// Which texts a placeholder may become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// These.
    Values(Vec<Arc<str>>),
    /// Those that match from the first byte to the last.
    Pattern(Pattern),
}

/// A regular expression for a whole text.
#[derive(Clone)]
pub struct Pattern {
    source: Arc<str>,
    whole: Regex,
}

impl Pattern {
    /// Reads one: the syntax of the `regex` crate, without look-around and back-references, so that matching takes time
    /// in proportion to the text.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn new(source: &str) -> Result<Self, String> {
        if source.len() > PATTERN_BYTES_MAX {
            return Err(format!("it is longer than {PATTERN_BYTES_MAX} bytes"));
        }
        let compile = |text: &str| {
            RegexBuilder::new(text)
                .size_limit(PATTERN_MEMORY_MAX)
                .dfa_size_limit(PATTERN_MEMORY_MAX)
                .build()
                .map_err(|error| match error {
                    regex::Error::CompiledTooBig(_) => "it needs too much memory".to_owned(),
                    error => last_line(&error.to_string()),
                })
        };
        // By itself first: one that closes the group below must not get out of it.
        compile(source)?;
        Ok(Self {
            source: source.into(),
            whole: compile(&format!(r"\A(?:{source})\z"))?,
        })
    }

    /// Whether all of the text is what it says.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.whole.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.source)
    }
}

/// Of an error that draws a picture, what it says in the end.
fn last_line(text: &str) -> String {
    let line = text.lines().next_back().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

impl Param {
    /// Why that text can't stand there; goes on after a name.
    fn refusal(&self, value: &str) -> Option<String> {
        if value.len() > self.bytes_max {
            return Some(format!(
                "has {} bytes, and {} are allowed",
                value.len(),
                self.bytes_max
            ));
        }
        if value.contains('\0') {
            return Some("holds a NUL".to_owned());
        }
        match &self.allowed {
            Allowed::Values(values) if values.iter().any(|one| &**one == value) => None,
            Allowed::Values(values) => {
                let names: Vec<String> = values.iter().take(16).map(|one| format!("`{one}`")).collect();
                let more = if values.len() > names.len() { ", …" } else { "" };
                Some(format!("is none of {}{more}", names.join(", ")))
            }
            Allowed::Pattern(pattern) if pattern.matches(value) => None,
            Allowed::Pattern(pattern) => Some(format!("does not match {pattern:?} as a whole")),
        }
    }

    fn may_lead_with_dash(&self) -> bool {
        self.leading_dash || matches!(self.allowed, Allowed::Values(_))
    }
}

impl Command {
    /// The arguments with those values in the place of the placeholders.
    ///
    /// # Errors
    /// What is wrong with the values, for people.
    pub fn fill(&self, values: &[(String, String)]) -> Result<Vec<String>, String> {
        let mut given: BTreeMap<&str, (&Param, &str)> = BTreeMap::new();
        for (name, value) in values {
            let Some((name, param)) = self.params.get_key_value(name.as_str()) else {
                let known: Vec<String> = self.params.keys().map(|name| format!("`{name}`")).collect();
                let has = match known.as_slice() {
                    [] => "no arguments".to_owned(),
                    known => known.join(", "),
                };
                return Err(format!("there is no `{name}`; the command has {has}"));
            };
            if let Some(wrong) = param.refusal(value) {
                return Err(format!("`{name}` {wrong}"));
            }
            if given.insert(name, (param, value)).is_some() {
                return Err(format!("`{name}` is given twice"));
            }
        }
        if let Some(missing) = self.params.keys().find(|name| !given.contains_key(&***name)) {
            return Err(format!("`{missing}` is missing"));
        }
        self.args.iter().map(|arg| filled(arg, &given)).collect()
    }
}

fn filled(arg: &Arg, given: &BTreeMap<&str, (&Param, &str)>) -> Result<String, String> {
    let mut text = String::new();
    for piece in &arg.0 {
        match piece {
            Piece::Text(part) => text.push_str(part),
            Piece::Param(name) => {
                let (param, value) = given
                    .get(name.as_str())
                    .ok_or_else(|| format!("`{name}` is missing"))?;
                if text.is_empty() && value.starts_with('-') && !param.may_lead_with_dash() {
                    return Err(format!(
                        "`{name}` begins with `-`, which the program could take for an option"
                    ));
                }
                text.push_str(value);
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn param(pattern: &str) -> Param {
        Param {
            allowed: Allowed::Pattern(Pattern::new(pattern).unwrap()),
            bytes_max: VALUE_BYTES,
            leading_dash: false,
        }
    }

    fn command(args: &[&str], params: &[(&str, Param)]) -> Command {
        Command {
            name: "test".into(),
            program: "/bin/true".into(),
            args: args.iter().map(|arg| Arg::parse(arg).unwrap()).collect(),
            params: params
                .iter()
                .map(|(name, param)| ((*name).into(), param.clone()))
                .collect(),
            timeout: Duration::from_secs(1),
            output_max: 1,
            env: BTreeMap::new(),
            dir: "/".into(),
            memory_bytes: 1 << 30,
            cpu_seconds: 1,
        }
    }

    fn fill(command: &Command, values: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let values: Vec<_> = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        command.fill(&values)
    }

    #[test]
    fn placeholders_are_parts_of_arguments_and_values_never_become_more_than_one() {
        let command = command(
            &["restart", "{service}", "--on={host}:{port}", "{{{port}}}", ""],
            &[
                ("service", param("[a-z ]+")),
                ("host", param(".*")),
                ("port", param("[0-9]+")),
            ],
        );
        let filled = fill(
            &command,
            &[("port", "80"), ("service", "a b"), ("host", "{port} $(id);")],
        );
        assert_eq!(
            filled.unwrap(),
            ["restart", "a b", "--on={port} $(id);:80", "{80}", ""]
        );
    }

    #[test]
    fn what_is_no_argument() {
        for (written, part) in [
            ("{", "stands alone"),
            ("a}", "stands alone"),
            ("{a", "stands alone"),
            ("{}", "is no placeholder"),
            ("{a b}", "is no placeholder"),
        ] {
            let wrong = Arg::parse(written).unwrap_err();
            assert!(wrong.contains(part), "{written}: {wrong}");
        }
    }

    #[test]
    fn a_value_must_match_from_its_first_byte_to_its_last() {
        let command = command(&["{name}"], &[("name", param("a|ab|[a-z]+-[0-9]+"))]);
        for good in ["a", "ab", "web-1"] {
            assert_eq!(fill(&command, &[("name", good)]).unwrap(), [good]);
        }
        for bad in [
            "", "abc", "xab", "web-1\n", "web-1;id", "a\nb", "web-1 ", "ab\0", "../ab", "Ab",
        ] {
            let wrong = fill(&command, &[("name", bad)]).unwrap_err();
            assert!(wrong.starts_with("`name` "), "{bad:?}: {wrong}");
        }
    }

    #[test]
    fn lines_and_flags_in_a_pattern_loosen_no_end_of_it() {
        for pattern in ["(?m)^a$", "(?x)a ", "a$", "^a", "(?i:A)"] {
            let command = command(&["{name}"], &[("name", param(pattern))]);
            assert!(fill(&command, &[("name", "a")]).is_ok(), "{pattern}");
            for bad in ["a\nb", "b\na", "a\n", "ab"] {
                assert!(fill(&command, &[("name", bad)]).is_err(), "{pattern} {bad:?}");
            }
        }
    }

    #[test]
    fn patterns_that_are_none() {
        for bad in ["a)|(b", "(", "(?x)a #", "[a-", "(?=a)", r"(a)\1"] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Pattern::new("((a{100}){100}){100}").unwrap_err(),
            "it needs too much memory"
        );
        assert!(Pattern::new(&"a".repeat(2000)).is_err());
    }

    #[test]
    fn nothing_becomes_an_option_that_was_not_meant_to() {
        let any = || param(".*");
        let one = command(&["{a}{b}"], &[("a", any()), ("b", any())]);
        assert!(
            fill(&one, &[("a", "-rf"), ("b", "")])
                .unwrap_err()
                .contains("option")
        );
        assert!(
            fill(&one, &[("a", ""), ("b", "-rf")])
                .unwrap_err()
                .contains("option")
        );
        assert_eq!(fill(&one, &[("a", "x"), ("b", "-rf")]).unwrap(), ["x-rf"]);
        let behind = command(&["-w{a}"], &[("a", any())]);
        assert_eq!(fill(&behind, &[("a", "-5")]).unwrap(), ["-w-5"]);
        let meant = Param {
            leading_dash: true,
            ..any()
        };
        assert_eq!(
            fill(&command(&["{a}"], &[("a", meant)]), &[("a", "-5")]).unwrap(),
            ["-5"]
        );
        let listed = Param {
            allowed: Allowed::Values(vec!["-4".into(), "-6".into()]),
            ..any()
        };
        let listed = command(&["{a}"], &[("a", listed)]);
        assert_eq!(fill(&listed, &[("a", "-6")]).unwrap(), ["-6"]);
        assert_eq!(
            fill(&listed, &[("a", "-5")]).unwrap_err(),
            "`a` is none of `-4`, `-6`"
        );
    }

    #[test]
    fn each_placeholder_gets_one_value_and_nothing_else_does() {
        let command = command(&["{a}"], &[("a", param("x"))]);
        assert_eq!(fill(&command, &[]).unwrap_err(), "`a` is missing");
        assert_eq!(
            fill(&command, &[("a", "x"), ("a", "x")]).unwrap_err(),
            "`a` is given twice"
        );
        assert_eq!(
            fill(&command, &[("a", "x"), ("b", "x")]).unwrap_err(),
            "there is no `b`; the command has `a`"
        );
        let long = "x".repeat(VALUE_BYTES + 1);
        assert!(fill(&command, &[("a", &long)]).unwrap_err().contains("257 bytes"));
    }

    proptest! {
        /// Whatever is written is taken apart or refused, and without placeholders it is itself.
        #[test]
        fn any_text_is_an_argument_or_is_refused(text in "[a{}\\-é]{0,12}") {
            if let Ok(arg) = Arg::parse(&text)
                && arg.params().next().is_none()
            {
                let plain = filled(&arg, &BTreeMap::new()).unwrap();
                prop_assert_eq!(plain.replace('{', "{{").replace('}', "}}"), text);
            }
        }
    }
}
