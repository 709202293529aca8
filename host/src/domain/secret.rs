//! Secrets: names that settings may use, and values that nobody may read in what the host writes.
//!
//! Architecture invariant: a value is put into settings only where a plugin is handed them, or where they are held
//! against a grant or a schema; until then they hold its name. Whatever the host writes of a job (log, report, event,
//! alert) went through [`Secrets::redact`] first, and redacting never makes a text longer.
//!
//! What is recognised is a value as it is, in quotation marks of JSON, percent-encoded, and as part of something that
//! was encoded in Base64, in upper and lower case; and each long line of a value that has several. A plugin that was
//! given a secret and wants it out in the open can still spell it backwards: redacting is against accidents.

use super::outcome::{
    ActionFailure, Answer, DeliveryFailure, Denial, Done, Outcome, PluginFault, Receipt, Report,
};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Shorter values occur by chance: hiding them would tear holes into every text.
pub const BYTES_MIN: usize = 8;
/// All values of a tenant together.
pub const BYTES_MAX: usize = 32 << 10;
/// Secrets of a tenant.
pub const COUNT_MAX: usize = 64;

/// What stands in place of a value. Not longer than any value.
const REDACTED: &str = "[secret]";
/// What a text that was cut ends with.
const ELLIPSIS: char = '…';
/// Bytes of a value's beginning that are hidden at the end of a text that was cut.
const BEGINNING_MIN: usize = 4;

/// Stands before the name of a secret in settings. Unicode keeps it free for use within a program, and what comes from
/// outside is searched for it.
pub const OPEN: char = '\u{fdd0}';
/// Stands behind the name.
pub const CLOSE: char = '\u{fdd1}';

/// The secrets of one tenant. The default is none.
#[derive(Default)]
pub struct Secrets {
    by_name: BTreeMap<Box<str>, Value>,
    /// Every form in which a value is recognised.
    forms: Vec<Box<str>>,
    search: Option<AhoCorasick>,
}

#[derive(PartialEq, Eq)]
struct Value {
    text: Box<str>,
    /// Of the text as it stands in a string of JSON.
    json_bytes: usize,
}

impl Secrets {
    /// These values by these names. The caller has checked each with [`wrong`].
    ///
    /// # Errors
    /// They are too many to be searched for.
    pub fn new(values: BTreeMap<Box<str>, Box<str>>) -> Result<Self, String> {
        let mut forms = BTreeSet::new();
        for value in values.values() {
            add_forms(value, &mut forms);
            // What prints a key line by line has printed it.
            if value.contains('\n') {
                value.lines().for_each(|line| add_forms(line.trim(), &mut forms));
            }
        }
        let forms: Vec<Box<str>> = forms.into_iter().collect();
        let search = if forms.is_empty() {
            None
        } else {
            let search = AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .match_kind(MatchKind::LeftmostLongest)
                // By itself it would take the kind that is fastest with few forms, which for one long secret is tens
                // of megabytes.
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .build(forms.iter().map(AsRef::as_ref));
            Some(search.map_err(|error| error.to_string())?)
        };
        Ok(Self {
            by_name: values
                .into_iter()
                .map(|(name, text)| {
                    let json_bytes = quoted(&text).len();
                    (name, Value { text, json_bytes })
                })
                .collect(),
            forms,
            search,
        })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(AsRef::as_ref)
    }

    /// JSON text with values in the place of names. The names were checked when the text was read.
    #[must_use]
    pub fn fill_json<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.fill(text, |value, into| into.push_str(&quoted(value)))
    }

    /// How long JSON text becomes with values in the place of names, without making it: a name is a few bytes, and its
    /// value many.
    #[must_use]
    pub fn filled_len(&self, text: &str) -> usize {
        if self.is_empty() {
            return text.len();
        }
        self.each(text).fold(0, |sum, piece| {
            sum.saturating_add(match piece {
                Piece::Text(text) => text.len(),
                Piece::Value(value) => value.json_bytes,
            })
        })
    }

    /// A text with values in the place of names.
    #[must_use]
    pub fn fill_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.fill(text, |value, into| into.push_str(value))
    }

    /// Settings with values in the place of names, in all strings.
    pub fn fill_value(&self, value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => {
                if let Cow::Owned(filled) = self.fill_text(text) {
                    *text = filled;
                }
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(|item| self.fill_value(item)),
            serde_json::Value::Object(entries) => {
                entries.values_mut().for_each(|entry| self.fill_value(entry));
            }
            _ => {}
        }
    }

    fn fill<'a>(&self, text: &'a str, mut put: impl FnMut(&str, &mut String)) -> Cow<'a, str> {
        if self.is_empty() || !text.contains(OPEN) {
            return Cow::Borrowed(text);
        }
        let mut filled = String::with_capacity(text.len());
        for piece in self.each(text) {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Value(value) => put(&value.text, &mut filled),
            }
        }
        Cow::Owned(filled)
    }

    /// A text in pieces: names that stand in it are values.
    fn each<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Piece<'a>> {
        let mut rest = text;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            if let Some(after) = rest.strip_prefix(OPEN) {
                let known = after
                    .split_once(CLOSE)
                    .and_then(|(name, after)| Some((self.by_name.get(name)?, after)));
                if let Some((value, after)) = known {
                    rest = after;
                    return Some(Piece::Value(value));
                }
                // Names were checked, so this is none: it stays what it is.
            }
            let first = rest.chars().next().map_or(0, char::len_utf8);
            let next = rest.get(first..).and_then(|after| after.find(OPEN));
            let (piece, after) = rest.split_at_checked(next.map_or(rest.len(), |next| first + next))?;
            rest = after;
            Some(Piece::Text(piece))
        })
    }

    /// The text without any value of a secret. One that was cut may end within a value; its beginning goes, too.
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Some(search) = &self.search else {
            return Cow::Borrowed(text);
        };
        let mut clean: Option<String> = None;
        let mut end = 0;
        for found in search.find_iter(text) {
            let clean = clean.get_or_insert_with(|| String::with_capacity(text.len()));
            clean.push_str(text.get(end..found.start()).unwrap_or_default());
            clean.push_str(REDACTED);
            end = found.end();
        }
        let rest = text.get(end..).unwrap_or_default();
        let (kept, cut) = self.without_beginning(rest);
        if clean.is_none() && !cut {
            return Cow::Borrowed(text);
        }
        let mut clean = clean.unwrap_or_default();
        clean.push_str(kept);
        if cut {
            clean.push(ELLIPSIS);
        }
        Cow::Owned(clean)
    }

    /// A text that was cut, without the beginning of a value at its end; and whether there was one.
    fn without_beginning<'a>(&self, text: &'a str) -> (&'a str, bool) {
        let Some(whole) = text.strip_suffix(ELLIPSIS) else {
            return (text, false);
        };
        let longest = self
            .forms
            .iter()
            .map(|form| beginning_at_end(form.as_bytes(), whole.as_bytes()))
            .filter(|length| *length >= BEGINNING_MIN)
            .max();
        match longest.and_then(|length| whole.get(..whole.len() - length)) {
            Some(kept) => (kept, true),
            None => (text, false),
        }
    }

    /// [`Secrets::redact`] in place.
    pub fn redact_in(&self, text: &mut String) {
        if let Cow::Owned(clean) = self.redact(text) {
            *text = clean;
        }
    }

    /// Everything that an outcome says, without any value of a secret.
    pub fn redact_outcome(&self, outcome: &mut Outcome) {
        if self.search.is_some() {
            each_text(outcome, &mut |text| self.redact_in(text));
        }
    }
}

/// How many bytes of the form's beginning the text ends with, whatever their case; never all of the form. In time that
/// grows as the two do, however much the form repeats itself (D. Knuth, J. Morris and V. Pratt, "Fast pattern matching in
/// strings", 1977): a guest says what the text is, and all of this is the host's time.
fn beginning_at_end(form: &[u8], text: &[u8]) -> usize {
    let most = form.len().saturating_sub(1).min(text.len());
    let fits = |length: usize, byte: &u8| form.get(length).is_some_and(|own| own.eq_ignore_ascii_case(byte));
    // Of each beginning, how much of its end is a beginning too.
    let mut shorter: Vec<usize> = Vec::with_capacity(most);
    let step = |shorter: &[usize], mut length: usize, byte: &u8| {
        while length > 0 && !fits(length, byte) {
            length = shorter.get(length - 1).copied().unwrap_or(0);
        }
        length + usize::from(fits(length, byte))
    };
    for byte in form.iter().take(most) {
        let next = shorter.last().map_or(0, |last| step(&shorter, *last, byte));
        shorter.push(next);
    }
    let tail = text.get(text.len() - most..).unwrap_or_default();
    tail.iter().fold(0, |length, byte| step(&shorter, length, byte))
}

impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        self.by_name == other.by_name
    }
}

impl Eq for Secrets {}

/// Names only.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

enum Piece<'a> {
    Text(&'a str),
    Value(&'a Value),
}

/// What stands for it between the quotation marks of JSON.
fn quoted(value: &str) -> String {
    let json = serde_json::Value::from(value).to_string();
    json.get(1..json.len().saturating_sub(1))
        .unwrap_or_default()
        .to_owned()
}

/// Whether what is called so is a secret, to judge by its name: a setting, or a field of a header.
#[must_use]
pub fn is_by_name(name: &str) -> bool {
    const ENDS: [&str; 9] = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "apikey",
        "privatekey",
        "authorization",
        "cookie",
    ];
    // `x-api-key`, `api_key` and `apiKey` are one.
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    ENDS.iter().any(|end| plain.ends_with(end))
}

/// Why this can be no secret, for people; goes on after "the secret".
#[must_use]
pub fn wrong(value: &str) -> Option<String> {
    if value.len() < BYTES_MIN {
        return Some(format!(
            "has {} bytes, and at least {BYTES_MIN} are needed",
            value.len()
        ));
    }
    // Such a character is escaped wherever the host writes it, so that the value would not be found there.
    let strange = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t') || !is_plain(c);
    if value.chars().any(strange) {
        return Some("holds a control character or one that nobody sees".to_owned());
    }
    None
}

fn is_plain(c: char) -> bool {
    !matches!(c, OPEN | CLOSE | '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The ways in which a value may be written.
fn add_forms(value: &str, forms: &mut BTreeSet<Box<str>>) {
    if value.len() < BYTES_MIN {
        return;
    }
    let mut add = |form: String| {
        if form.len() >= BYTES_MIN {
            forms.insert(form.into());
        }
    };
    add(value.to_owned());
    let json = quoted(value);
    add(json.replace('/', "\\/"));
    add(ascii(&json));
    add(json);
    // As a form, as a whole component, and as the URL standard leaves it in paths and in queries.
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let printable = |byte: u8| byte.is_ascii_graphic();
    add(percent(value, unreserved).replace("%20", "+"));
    add(percent(value, unreserved));
    add(percent(value, |byte| {
        printable(byte) && !b"\"#<>?^`{}".contains(&byte)
    }));
    add(percent(value, |byte| {
        printable(byte) && !b"\"#<>'".contains(&byte)
    }));
    add(percent(value, |byte| {
        printable(byte) && !b"\"#<>?`{}/:;=@[\\]^|".contains(&byte)
    }));
    for (number, alphabet) in (0..).zip([BASE64, BASE64_URL].iter().cycle().take(6)) {
        add(base64_part(value.as_bytes(), number / 2, alphabet));
    }
}

/// JSON as those write it who keep to ASCII.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut units = [0; 2];
    for character in json.chars() {
        if character.is_ascii() {
            text.push(character);
        } else {
            for unit in character.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}

fn percent(value: &str, keep: impl Fn(u8) -> bool) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if keep(byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What Base64 makes of the value where so many bytes (modulo 3) stand before it, as far as that depends on nothing
/// else: `Authorization: Basic` has it behind a user's name.
fn base64_part(value: &[u8], before: usize, alphabet: &[u8; 64]) -> String {
    let skip = (3 - before) % 3;
    let mut text = String::with_capacity(value.len() * 4 / 3);
    for group in value.get(skip..).unwrap_or_default().chunks_exact(3) {
        let number = group
            .iter()
            .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        for shift in [18, 12, 6, 0] {
            let digit = alphabet.get(number >> shift & 63).copied().unwrap_or(b'=');
            text.push(char::from(digit));
        }
    }
    text
}

/// Every text that somebody else had a part in.
fn each_text(outcome: &mut Outcome, change: &mut impl FnMut(&mut String)) {
    match outcome {
        Outcome::Answer(Answer::Pulse(Report {
            summary,
            reason,
            measurements,
            ..
        })) => {
            change(summary);
            reason.iter_mut().for_each(&mut *change);
            for measurement in measurements {
                change(&mut measurement.name);
                change(&mut measurement.unit);
            }
        }
        Outcome::Answer(Answer::Intervention(Ok(Done {
            summary,
            measurements,
        }))) => {
            change(summary);
            for measurement in measurements {
                change(&mut measurement.name);
                change(&mut measurement.unit);
            }
        }
        Outcome::Answer(Answer::Code(Ok(Receipt { id, summary }))) => {
            id.iter_mut().for_each(&mut *change);
            change(summary);
        }
        Outcome::Answer(
            Answer::Intervention(Err(
                ActionFailure::Retryable(text)
                | ActionFailure::Permanent(text)
                | ActionFailure::EffectUnknown(text),
            ))
            | Answer::Code(Err(
                DeliveryFailure::Retryable { message: text, .. } | DeliveryFailure::Permanent(text),
            )),
        )
        | Outcome::PluginFault(
            PluginFault::InvalidSettings(text) | PluginFault::Unsupported(text) | PluginFault::Internal(text),
        )
        | Outcome::Trap(text)
        | Outcome::NoCapacity(text)
        | Outcome::HostError(text) => change(text),
        Outcome::Denied(Denial { wanted, grant, .. }) => {
            change(wanted);
            change(grant);
        }
        Outcome::OutOfFuel { .. }
        | Outcome::OutOfCpu { .. }
        | Outcome::OutOfMemory { .. }
        | Outcome::StackOverflow
        | Outcome::DeadlineWaiting
        | Outcome::Deadline
        | Outcome::Expired => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secrets(values: &[(&str, &str)]) -> Secrets {
        let values = values
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        Secrets::new(values).unwrap()
    }

    /// Base64 of the whole, with padding: what the forms are held against.
    fn base64(bytes: &[u8]) -> String {
        let mut padded = bytes.to_vec();
        padded.resize(bytes.len().next_multiple_of(3), 0);
        let mut text = base64_part(&padded, 0, BASE64);
        text.truncate((bytes.len() * 8).div_ceil(6));
        while !text.len().is_multiple_of(4) {
            text.push('=');
        }
        text
    }

    #[test]
    fn a_beginning_at_the_end_is_found_as_one_by_one() {
        let slow = |form: &[u8], text: &[u8]| {
            let most = form.len().saturating_sub(1).min(text.len());
            let fits = |length: &usize| text[text.len() - length..].eq_ignore_ascii_case(&form[..*length]);
            (0..=most).rev().find(fits).unwrap()
        };
        let mut seed = 7_u64;
        let mut word = |most: u64| -> Vec<u8> {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let length = (seed >> 33) % most;
            (0..length)
                .map(|bit| b"aAbab"[(seed >> (bit % 48)) as usize % 5])
                .collect()
        };
        for _ in 0..20_000 {
            let (form, text) = (word(12), word(20));
            let (fast, slow) = (beginning_at_end(&form, &text), slow(&form, &text));
            assert_eq!(fast, slow, "{form:?} in {text:?}");
        }
        // Once for each byte, not for each pair of them.
        let same = vec![b'a'; 1 << 20];
        assert_eq!(beginning_at_end(&same, &same), same.len() - 1);
    }

    #[test]
    fn base64_is_base64() {
        assert_eq!(base64(b"Aladdin:open sesame"), "QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(base64(b"\xff\xef\xbe"), "/+++");
    }

    #[test]
    fn a_value_is_put_in_where_its_name_stands() {
        let secrets = secrets(&[("token", "a\"b/c d e")]);
        let text = format!("{{\"a\":\"<{OPEN}token{CLOSE}>\",\"b\":\"{OPEN}other{CLOSE}\"}}");
        let filled = secrets.fill_json(&text);
        let read: serde_json::Value = serde_json::from_str(&filled).unwrap();
        assert_eq!(read["a"], "<a\"b/c d e>");
        assert_eq!(read["b"], format!("{OPEN}other{CLOSE}"), "it is no name");
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        secrets.fill_value(&mut value);
        assert_eq!(value, read);
        assert_eq!(secrets.filled_len(&text), filled.len());
        assert_eq!(Secrets::default().filled_len(&text), text.len());
        assert!(matches!(secrets.fill_json("{}"), Cow::Borrowed(_)));
        assert!(matches!(Secrets::default().fill_json(&text), Cow::Borrowed(_)));
    }

    #[test]
    fn every_form_is_found() {
        let value = "pä$$/w\"o r+d&%41";
        let secrets = secrets(&[("password", value)]);
        let url = url::Url::parse(&format!("http://h/{value}?q={value}")).unwrap();
        let form: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        for text in [
            value.to_owned(),
            value.to_uppercase().replace('Ä', "ä"),
            serde_json::json!({ "a": value }).to_string(),
            "p\\u00e4$$\\/w\\\"o r+d&%41".replace("\\/", "/"),
            url.to_string(),
            form.clone(),
            form.to_lowercase(),
            base64(value.as_bytes()),
            base64(format!("u:{value}").as_bytes()),
            base64(format!("us:{value}xy").as_bytes()),
        ] {
            let clean = secrets.redact(&text);
            assert!(clean.contains(REDACTED), "{text} became {clean}");
            assert!(!clean.contains("w\"o") && !clean.contains("w%22o"), "{clean}");
            assert!(clean.len() <= text.len());
        }
        assert_eq!(secrets.redact(&format!("<{value}>")), "<[secret]>");
        assert!(matches!(secrets.redact("pass"), Cow::Borrowed("pass")));
    }

    #[test]
    fn lines_of_a_key_are_secrets_and_its_short_ends_are_not() {
        let secrets = secrets(&[("key", "-----BEGIN\nMIIEvQIBADANBg\nshort\n-----END-----")]);
        assert_eq!(secrets.redact("1: MIIEvQIBADANBg;"), "1: [secret];");
        assert_eq!(secrets.redact("short"), "short");
        assert_eq!(
            secrets.redact("-----BEGIN\\nMIIEvQIBADANBg\\nshort\\n-----END-----"),
            "[secret]"
        );
    }

    #[test]
    fn a_text_that_was_cut_within_a_value_does_not_end_with_its_beginning() {
        let secrets = secrets(&[("token", "correct-horse-battery")]);
        assert_eq!(secrets.redact("Bearer correct-horse-b…"), "Bearer …");
        assert_eq!(
            secrets.redact("Bearer correct-horse-battery, corr…"),
            "Bearer [secret], …"
        );
        assert_eq!(
            secrets.redact("Bearer cor…"),
            "Bearer cor…",
            "too little to mean anything"
        );
        assert_eq!(
            secrets.redact("correct-horse"),
            "correct-horse",
            "this is all there was"
        );
    }

    #[test]
    fn a_large_secret_takes_little_memory() {
        let mut value = String::new();
        while value.len() < BYTES_MAX {
            value.push_str(&format!("{:x}-", value.len().wrapping_mul(2_654_435_761)));
        }
        let secrets = secrets(&[("key", &value)]);
        let bytes = secrets.search.as_ref().unwrap().memory_usage();
        assert!(bytes < 16 << 20, "{bytes}");
        assert_eq!(secrets.redact(&format!("<{value}>")), "<[secret]>");
    }

    #[test]
    fn an_outcome_says_no_value() {
        let secrets = secrets(&[("token", "tr0ub4dor&3")]);
        let leak = || "<tr0ub4dor&3>".to_owned();
        for mut outcome in [
            Outcome::Trap(leak()),
            Outcome::HostError(leak()),
            Outcome::PluginFault(PluginFault::Internal(leak())),
            Outcome::Denied(Denial {
                capability: "http",
                wanted: leak(),
                grant: leak(),
            }),
            Outcome::Answer(Answer::Code(Ok(Receipt {
                id: Some(leak()),
                summary: leak(),
            }))),
            Outcome::Answer(Answer::Code(Err(DeliveryFailure::Permanent(leak())))),
            Outcome::Answer(Answer::Intervention(Err(ActionFailure::Retryable(leak())))),
        ] {
            secrets.redact_outcome(&mut outcome);
            let shown = format!("{outcome:?}");
            assert!(shown.contains("[secret]") && !shown.contains("tr0ub"), "{shown}");
        }
    }

    #[test]
    fn what_can_be_no_secret() {
        for bad in [
            "",
            "1234567",
            "12345678\u{0}",
            "12345678\u{200b}",
            "12345678\u{fdd0}",
        ] {
            assert!(wrong(bad).is_some(), "{bad:?}");
        }
        for good in ["12345678", "a\tb\r\nc d e", "pässword"] {
            assert!(wrong(good).is_none(), "{good:?}");
        }
        assert_eq!(format!("{:?}", secrets(&[("a", "12345678")])), "{\"a\"}");
    }

    proptest! {
        #[test]
        fn no_text_shows_a_value_or_grows(
            value in "[!-~äé ]{8,24}",
            before in "[ -~é]{0,12}",
            after in "[ -~é]{0,12}",
        ) {
            let secrets = secrets(&[("s", &value)]);
            let text = format!("{before}{value}{after}");
            let clean = secrets.redact(&text);
            prop_assert!(clean.len() <= text.len());
            prop_assert!(!clean.contains(&value), "{clean}");
            let encoded = base64(text.as_bytes());
            let part = base64_part(value.as_bytes(), before.len() % 3, BASE64);
            prop_assert!(!secrets.redact(&encoded).contains(&part) || part.len() < BYTES_MIN);
        }

        #[test]
        fn nothing_makes_it_panic(text in any::<String>(), value in any::<String>()) {
            let value = format!("{value}12345678");
            let secrets = secrets(&[("s", &value)]);
            let _ = secrets.redact(&text);
            let named = format!("{text}{OPEN}s{CLOSE}{OPEN}{text}{CLOSE}{OPEN}");
            prop_assert_eq!(secrets.filled_len(&named), secrets.fill_json(&named).len());
            prop_assert!(secrets.fill_text(&named).contains(&value));
        }
    }
}
