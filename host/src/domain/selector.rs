//! Selectors: which monitors are meant, in the words of Prometheus: `site="a",env!="dev",host=~"web-.*"`.
//!
//! A monitor that lacks a label has it empty. Beside its labels each monitor has `monitor` (its name), `tenant` and
//! `plugin` (that of its check); a label of that name is hidden by it.

use super::spec::{Class, MonitorSpec};
use regex::Regex;
use std::{fmt, str::FromStr};

/// Bytes of a selector.
pub const BYTES_MAX: usize = 4096;
/// Conditions of one selector.
const MATCHERS_MAX: usize = 32;
/// Size of a compiled expression.
const PATTERN_BYTES_MAX: usize = 1 << 18;

/// What every monitor has beside its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// Its name.
    Monitor,
    /// Its tenant's name.
    Tenant,
    /// The plugin of its check.
    Plugin,
}

impl Builtin {
    /// Which one that name means, if it means one.
    #[must_use]
    pub fn named(label: &str) -> Option<Self> {
        match label {
            "monitor" => Some(Self::Monitor),
            "tenant" => Some(Self::Tenant),
            "plugin" => Some(Self::Plugin),
            _ => None,
        }
    }

    /// What it is in a class of monitors; none for the name, which each has of its own.
    #[must_use]
    pub fn of(self, class: &Class) -> Option<&str> {
        match self {
            Self::Monitor => None,
            Self::Tenant => Some(&class.tenant.name),
            Self::Plugin => Some(class.pulse.as_ref().map_or("", |check| &check.profile.plugin)),
        }
    }
}

/// All of its conditions must hold; one without any is true of every monitor.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    matchers: Vec<Matcher>,
    text: String,
}

/// One condition.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// Of that label.
    pub label: String,
    test: Test,
    /// It holds where the test fails.
    negated: bool,
}

#[derive(Clone, Debug)]
enum Test {
    Equal(String),
    /// Over the whole value.
    Pattern(Regex),
}

impl Matcher {
    /// Whether a value fulfils it.
    #[must_use]
    pub fn holds(&self, value: &str) -> bool {
        let fits = match &self.test {
            Test::Equal(wanted) => wanted == value,
            Test::Pattern(pattern) => pattern.is_match(value),
        };
        fits != self.negated
    }

    /// The one value that fulfils it, where there is only one.
    #[must_use]
    pub fn only(&self) -> Option<&str> {
        match &self.test {
            Test::Equal(wanted) if !self.negated => Some(wanted),
            _ => None,
        }
    }
}

impl Selector {
    /// Its conditions.
    #[must_use]
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// Whether it means every monitor.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.matchers.is_empty()
    }

    /// Whether it means that monitor.
    #[must_use]
    pub fn matches(&self, spec: &MonitorSpec) -> bool {
        self.matchers.iter().all(|matcher| {
            let value = match Builtin::named(&matcher.label) {
                Some(builtin) => builtin.of(spec.class()).unwrap_or(spec.name()),
                None => label(spec.class(), &matcher.label),
            };
            matcher.holds(value)
        })
    }
}

/// The value of a label; empty where there is none.
#[must_use]
pub fn label<'c>(class: &'c Class, name: &str) -> &'c str {
    let place = class.labels.binary_search_by(|(known, _)| (**known).cmp(name));
    place
        .ok()
        .and_then(|place| class.labels.get(place))
        .map_or("", |(_, value)| value)
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is written the same means the same.
impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Selector {}

impl serde::Serialize for Selector {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for Selector {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Selector {
    type Err = String;

    /// Reads `label="value"`, `!=`, `=~` and `!~`, with commas between and braces around if one likes. A value of letters,
    /// digits and `-_./:` needs no quotation marks.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > BYTES_MAX {
            return Err(format!("a selector has at most {BYTES_MAX} bytes"));
        }
        let written = text.trim();
        let inner = match (written.strip_prefix('{'), written.ends_with('}')) {
            (Some(inner), true) => inner.strip_suffix('}').unwrap_or(inner),
            (None, false) => written,
            _ => return Err("a brace of the selector has no counterpart".to_owned()),
        };
        let mut rest = inner.trim();
        let mut matchers = Vec::new();
        while !rest.is_empty() {
            if matchers.len() == MATCHERS_MAX {
                return Err(format!("a selector has at most {MATCHERS_MAX} conditions"));
            }
            let (matcher, behind) = matcher(rest)?;
            matchers.push(matcher);
            rest = match behind.trim_start() {
                "" => "",
                behind => behind
                    .strip_prefix(',')
                    .ok_or_else(|| format!("a comma is missing before `{}`", short(behind)))?
                    .trim_start(),
            };
        }
        Ok(Self {
            matchers,
            text: inner.trim().to_owned(),
        })
    }
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

/// The first condition, and what stands behind it.
fn matcher(text: &str) -> Result<(Matcher, &str), String> {
    let end = text
        .find(['=', '!'])
        .ok_or_else(|| format!("`{}` is no condition: write it as label=\"value\"", short(text)))?;
    let (label, rest) = text.split_at(end);
    let label = label.trim_end();
    if label.is_empty() || label.contains([',', '"', '{', '}', '~']) {
        return Err(format!("`{}` names no label", short(text)));
    }
    let operators = [
        ("=~", true, false),
        ("!~", true, true),
        ("!=", false, true),
        ("=", false, false),
    ];
    let Some((sign, pattern, negated)) = operators.into_iter().find(|(sign, ..)| rest.starts_with(sign))
    else {
        return Err(format!(
            "`{}` has no operator after `{label}`: there is =, !=, =~ and !~",
            short(text)
        ));
    };
    let (value, behind) = value(rest.get(sign.len()..).unwrap_or_default().trim_start())?;
    let test = if pattern {
        // Over the whole value, as Prometheus has it. The engine runs in linear time.
        let compiled = regex::RegexBuilder::new(&format!("^(?s:{value})$"))
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX)
            .build();
        Test::Pattern(compiled.map_err(|error| {
            let last = error.to_string();
            let last = last
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned();
            format!("`{}` is no regular expression: {last}", short(&value))
        })?)
    } else {
        Test::Equal(value)
    };
    let label = label.to_owned();
    Ok((Matcher { label, test, negated }, behind))
}

/// A value in quotation marks, or a bare word, and what stands behind it.
fn value(text: &str) -> Result<(String, &str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text
            .find(|c: char| !c.is_alphanumeric() && !"-_./:".contains(c))
            .unwrap_or(text.len());
        let (word, behind) = text.split_at(end);
        if word.is_empty() {
            return Err(format!("a value is missing before `{}`", short(text)));
        }
        return Ok((word.to_owned(), behind));
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => {
                match c {
                    'n' => value.push('\n'),
                    '"' | '\\' => value.push(c),
                    // As in a regular expression: `\d` stays what it is.
                    other => value.extend(['\\', other]),
                }
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Ok((value, quoted.get(at + 1..).unwrap_or_default())),
            other => value.push(other),
        }
    }
    Err(format!("a quotation mark is missing after `{}`", short(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::spec::Draft;

    fn selector(text: &str) -> Selector {
        text.parse().unwrap()
    }

    fn monitor(name: &str, labels: &[(&str, &str)]) -> MonitorSpec {
        let mut draft = Draft::check(name);
        draft.labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        draft.ready()
    }

    #[test]
    fn labels_names_and_plugins_are_selected_as_prometheus_does() {
        let shop = monitor("shop \"1\"", &[("env", "prod"), ("site", "a,b")]);
        for (text, fits) in [
            ("", true),
            ("{}", true),
            ("env=prod", true),
            (" { env = \"prod\" , site=\"a,b\" } ", true),
            ("env=prod,", true),
            ("env!=prod", false),
            ("env!=dev", true),
            ("env=~\"pro\"", false),
            ("env=~\"pro.\"", true),
            ("env=~\"p|prod\"", true),
            ("env!~\"p.*\"", false),
            ("absent=\"\"", true),
            ("absent!=x", true),
            ("absent=~\".+\"", false),
            ("monitor=\"shop \\\"1\\\"\"", true),
            ("monitor=~\"shop.\\\"\\d\\\"\"", true),
            ("tenant=default,plugin=http", true),
            ("plugin=tcp", false),
        ] {
            assert_eq!(selector(text).matches(&shop), fits, "{text}");
        }
        assert_eq!(selector("{env=prod}").to_string(), "env=prod");
    }

    #[test]
    fn what_is_no_selector_is_told() {
        for (text, wrong) in [
            ("env", "`env` is no condition"),
            ("env=", "a value is missing"),
            ("=x", "`=x` names no label"),
            ("env=\"x", "a quotation mark is missing"),
            ("env=x y=z", "a comma is missing before `y=z`"),
            ("{env=x", "a brace of the selector has no counterpart"),
            ("env=~\"(\"", "is no regular expression"),
            ("env!x", "has no operator after `env`"),
            ("a=b,,c=d", "names no label"),
        ] {
            let error = text.parse::<Selector>().unwrap_err();
            assert!(error.contains(wrong), "{text}: {error}");
        }
        assert!("a=b,".repeat(40).parse::<Selector>().is_err());
        assert!(format!("a=~\"{}\"", "(x{100}){100}").parse::<Selector>().is_err());
        assert!("x".repeat(5000).parse::<Selector>().is_err());
    }
}
