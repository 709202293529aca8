//! The text format of Prometheus, version 0.0.4.

use std::fmt::Write as _;

/// A text that grows family by family.
#[derive(Debug, Default)]
pub struct Text {
    text: String,
    family: &'static str,
}

impl Text {
    /// A family of gauges begins.
    pub fn gauge(&mut self, name: &'static str, help: &str) {
        self.family(name, help, "gauge");
    }

    /// A family of counters begins.
    pub fn counter(&mut self, name: &'static str, help: &str) {
        self.family(name, help, "counter");
    }

    /// A family of histograms begins.
    pub fn histogram(&mut self, name: &'static str, help: &str) {
        self.family(name, help, "histogram");
    }

    fn family(&mut self, name: &'static str, help: &str, kind: &str) {
        self.family = name;
        // Writing to a text can't fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A line that a scraper passes over. It holds no line break, and does not begin as what Prometheus understands.
    pub fn comment(&mut self, line: &str) {
        let _ = writeln!(self.text, "# {line}");
    }

    /// One series of the family.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.part("", labels, value);
    }

    /// One series of the family whose name goes on like this.
    pub fn part(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(self.family);
        self.text.push_str(suffix);
        for (number, (name, value)) in labels.iter().enumerate() {
            self.text.push_str(if number == 0 { "{" } else { "," });
            let _ = write!(self.text, "{name}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    /// All of it.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_label_holds_stays_within_its_quotation_marks() {
        let mut text = Text::default();
        text.gauge("a_b", "Help.");
        text.sample(&[("x", "1\n\"2\\"), ("y", "")], 1.5);
        text.part("_sum", &[], 3.0);
        assert_eq!(
            text.finish(),
            "# HELP a_b Help.\n# TYPE a_b gauge\na_b{x=\"1\\n\\\"2\\\\\",y=\"\"} 1.5\na_b_sum 3\n"
        );
    }
}
