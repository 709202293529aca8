//! Performance data: `'label'=value[UOM];warn;crit;min;max`, with blanks between them.

use pulse_plugin_sdk::Measurement;

/// Numbers that are looked at: the host keeps as many.
const NUMBERS_MAX: usize = 64;

/// The first line without what stands behind `|`, and all that stands behind it, there and in the lines that follow:
/// these are text up to a `|` of their own, and data from there on.
pub fn split(output: &str) -> (&str, String) {
    let output = output.trim_start_matches(['\n', '\r']);
    let (first, rest) = output.split_once('\n').unwrap_or((output, ""));
    let (said, behind) = first.split_once('|').unwrap_or((first, ""));
    let mut perfdata = behind.to_owned();
    if let Some((_, more)) = rest.split_once('|') {
        perfdata.push(' ');
        perfdata.push_str(more);
    }
    (said, perfdata)
}

/// One number with its label.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    label: String,
    value: f64,
    factor: f64,
    unit: String,
    warning: Option<f64>,
    critical: Option<f64>,
}

impl Number {
    /// What a report says of it.
    pub fn measurements(&self, thresholds: bool) -> impl Iterator<Item = Measurement> {
        let of = |suffix: &str, value: f64| {
            let name = format!("{}{suffix}", self.label);
            Measurement::new(name, value * self.factor, &self.unit)
        };
        let told =
            |suffix: &str, value: Option<f64>| value.filter(|_| thresholds).map(|value| of(suffix, value));
        [
            Some(of("", self.value)),
            told(" warning", self.warning),
            told(" critical", self.critical),
        ]
        .into_iter()
        .flatten()
        .filter(|number| number.value.is_finite())
    }
}

/// All that can be read. What can't is left out: it is an extra of the check's. Of data that was `cut` the last entry may
/// be half a number.
pub fn numbers(perfdata: &str, cut: bool) -> Vec<Number> {
    let mut numbers = Vec::new();
    let mut rest = perfdata.trim();
    while !rest.is_empty() && numbers.len() < NUMBERS_MAX {
        let Some((label, after)) = label(rest) else {
            // No label begins here: on to the next blank.
            rest = rest
                .split_once(char::is_whitespace)
                .map_or("", |(_, rest)| rest.trim_start());
            continue;
        };
        let (data, behind) = after.split_once(char::is_whitespace).unwrap_or((after, ""));
        rest = behind.trim_start();
        if cut && rest.is_empty() {
            break;
        }
        numbers.extend(number(label, data));
    }
    numbers
}

/// A label in quotation marks, in which two of them are one; or anything without a blank up to `=`.
fn label(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('\'') else {
        let (label, rest) = text.split_once('=')?;
        let fits = !label.is_empty() && !label.contains(|c: char| c.is_whitespace() || c == '\'');
        return fits.then(|| (label.to_owned(), rest));
    };
    let mut label = String::new();
    loop {
        let (part, after) = rest.split_once('\'')?;
        label.push_str(part);
        if let Some(after) = after.strip_prefix('\'') {
            label.push('\'');
            rest = after;
            continue;
        }
        let value = after.strip_prefix('=')?;
        return (!label.is_empty()).then_some((label, value));
    }
}

fn number(label: String, data: &str) -> Option<Number> {
    let mut fields = data.split(';');
    let (value, uom) = leading(fields.next()?)?;
    let (unit, factor) = unit(uom)?;
    // Ranges have colons, tildes and ats; what is a plain number is where the range ends.
    let mut threshold = || fields.next().and_then(|field| field.parse().ok());
    // Disks are called by their paths, and this one has no letter in it.
    let label = if label == "/" { "root".to_owned() } else { label };
    Some(Number {
        label,
        value,
        factor,
        unit,
        warning: threshold(),
        critical: threshold(),
    })
}

/// A number at the beginning, and what follows. `U` is one that the check could not find out.
fn leading(text: &str) -> Option<(f64, &str)> {
    let mut end = 0;
    let mut last = ' ';
    for (at, char) in text.char_indices() {
        let exponent = matches!(char, 'e' | 'E') && {
            let behind = text.get(at + 1..).unwrap_or_default();
            behind
                .trim_start_matches(['+', '-'])
                .starts_with(|c: char| c.is_ascii_digit())
        };
        let sign = matches!(char, '+' | '-') && (at == 0 || matches!(last, 'e' | 'E'));
        if !(char.is_ascii_digit() || char == '.' || exponent || sign) {
            break;
        }
        end = at + char.len_utf8();
        last = char;
    }
    let (number, rest) = text.split_at_checked(end)?;
    Some((number.parse().ok().filter(|value: &f64| value.is_finite())?, rest))
}

/// What a unit is here, and what a number of it is multiplied by. None: what follows the number is no unit.
fn unit(uom: &str) -> Option<(String, f64)> {
    const KIB: f64 = 1024.0;
    let (unit, factor) = match uom {
        // A counter goes up for ever, which its unit does not say.
        "" | "c" => ("", 1.0),
        "s" => ("s", 1.0),
        "ms" => ("s", 1e-3),
        "us" | "µs" => ("s", 1e-6),
        "ns" => ("s", 1e-9),
        "%" => ("%", 1.0),
        "B" => ("By", 1.0),
        "KB" | "kB" | "KiB" => ("By", KIB),
        "MB" | "MiB" => ("By", KIB * KIB),
        "GB" | "GiB" => ("By", KIB * KIB * KIB),
        "TB" | "TiB" => ("By", KIB * KIB * KIB * KIB),
        "PB" | "PiB" => ("By", KIB * KIB * KIB * KIB * KIB),
        "C" => ("Cel", 1.0),
        other if other.len() <= 16 && other.chars().all(|c| c.is_alphabetic() || c == '/') => (other, 1.0),
        _ => return None,
    };
    Some((unit.to_owned(), factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(perfdata: &str) -> Vec<(String, f64, String)> {
        numbers(perfdata, false)
            .iter()
            .flat_map(|number| number.measurements(false))
            .map(|number| (number.name, number.value, number.unit))
            .collect()
    }

    #[test]
    fn text_and_data_are_told_apart() {
        for (output, said, perfdata) in [
            ("OK", "OK", ""),
            ("OK - fine | a=1 b=2\n", "OK - fine ", " a=1 b=2"),
            ("OK | a=1\nlong\ntext | b=2\nc=3\n", "OK ", " a=1  b=2\nc=3\n"),
            ("OK\nlong\n", "OK", ""),
            ("\n\nOK|a=1", "OK", "a=1"),
            ("", "", ""),
        ] {
            assert_eq!(split(output), (said, perfdata.to_owned()), "{output:?}");
        }
    }

    #[test]
    fn entries() {
        for (perfdata, expected) in [
            ("time=0.012s", vec![("time", 0.012, "s")]),
            ("rta=1.5ms;100;200;0", vec![("rta", 0.0015, "s")]),
            ("size=2KB", vec![("size", 2048.0, "By")]),
            ("'free space'=-1.5%;;;0;100", vec![("free_space", -1.5, "%")]),
            ("'it''s'=3c", vec![("it_s", 3.0, "")]),
            ("'a=b'=4", vec![("a_b", 4.0, "")]),
            ("a=1e-05s b=2E3", vec![("a", 1e-5, "s"), ("b", 2000.0, "")]),
            ("temp=21.5C", vec![("temp", 21.5, "Cel")]),
            ("volts=12V", vec![("volts", 12.0, "V")]),
            ("a=U b=1", vec![("b", 1.0, "")]),
            ("a= b=1 =2 ;; c=3", vec![("b", 1.0, ""), ("c", 3.0, "")]),
            ("'a=1 b=2", vec![("b", 2.0, "")]),
            ("a=1,5s b=2", vec![("b", 2.0, "")]),
            ("a=.5 b=5. c=1.2.3 d=--1", vec![("a", 0.5, ""), ("b", 5.0, "")]),
            (
                "a=1;2\nb=2\tc=3",
                vec![("a", 1.0, ""), ("b", 2.0, ""), ("c", 3.0, "")],
            ),
            ("a=1e999", vec![]),
            ("", vec![]),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(name, value, unit): (&str, f64, &str)| (name.to_owned(), value, unit.to_owned()))
                .collect();
            assert_eq!(read(perfdata), expected, "{perfdata}");
        }
    }

    #[test]
    fn half_a_number_is_none() {
        assert_eq!(numbers("a=1 b=23", true).len(), 1);
        assert_eq!(numbers("a=1 b=23", false).len(), 2);
    }

    #[test]
    fn there_are_no_more_than_the_host_keeps() {
        assert_eq!(numbers(&"a=1 ".repeat(1_000), false).len(), NUMBERS_MAX);
    }
}
