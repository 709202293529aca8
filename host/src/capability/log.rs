//! `log`: lines that a plugin writes into the host's log.
//!
//! Architecture invariant: a guest can neither flood the log (lines and bytes of one execution are bounded, what
//! was refused is counted) nor forge it (control characters and those that reorder text are escaped), and no line
//! shows a secret of its tenant.

use super::Lease;
use std::fmt::Write;

/// Longest line, in bytes after escaping.
pub const LINE_BYTES_MAX: usize = 4 << 10;
/// Lines of one execution.
pub const LINES_MAX: u32 = 256;
/// Bytes of one execution.
pub const BYTES_MAX: usize = 64 << 10;

/// Severity: `log.level`, one to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For the plugin's author.
    Debug,
    /// Worth knowing.
    Info,
    /// Should be looked at.
    Warn,
    /// Must be looked at.
    Error,
}

impl Level {
    /// The level's name as it stands in logs and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One line, as it was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Severity.
    pub level: Level,
    /// Escaped and cut.
    pub message: String,
}

/// As it is written into cases and compared there.
impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.level.name(), self.message)
    }
}

/// The log lines of one execution.
#[derive(Debug, Default)]
pub struct LogBook {
    lines: u32,
    bytes: usize,
    refused: u64,
    kept: Option<Vec<Line>>,
}

impl LogBook {
    /// Lines go to the host's log and are kept for [`LogBook::take_lines`].
    #[must_use]
    pub fn keeping() -> Self {
        Self {
            kept: Some(Vec::new()),
            ..Self::default()
        }
    }

    /// Writes one line of that job's plugin, or counts it as refused when the execution has written enough.
    pub(super) fn write(&mut self, of: &Lease, level: Level, message: &str) {
        if self.lines >= LINES_MAX || self.bytes >= BYTES_MAX {
            self.refused = self.refused.saturating_add(1);
            return;
        }
        let mut message = escaped(message, LINE_BYTES_MAX);
        // Behind the cut, where it costs what is shown and not what was written; an end within a value is seen to.
        of.tenant().secrets.redact_in(&mut message);
        self.lines += 1;
        self.bytes += message.len();
        let (monitor, tenant, plugin) = (of.monitor(), &*of.tenant().name, &*of.profile().plugin);
        // A macro needs its level at compile time.
        match level {
            Level::Debug => tracing::debug!(target: "plugin", monitor, plugin, tenant, "{message}"),
            Level::Info => tracing::info!(target: "plugin", monitor, plugin, tenant, "{message}"),
            Level::Warn => tracing::warn!(target: "plugin", monitor, plugin, tenant, "{message}"),
            Level::Error => tracing::error!(target: "plugin", monitor, plugin, tenant, "{message}"),
        }
        if let Some(kept) = &mut self.kept {
            kept.push(Line { level, message });
        }
    }

    /// How many lines were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The lines so far, if they are kept.
    pub(super) fn take_lines(&mut self) -> Vec<Line> {
        self.kept.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// Says how much of a job's log is missing.
pub(super) fn tell_refused(of: &Lease, refused: u64) {
    tracing::warn!(
        target: "plugin",
        monitor = of.monitor(),
        plugin = &*of.profile().plugin,
        tenant = &*of.tenant().name,
        refused,
        "the plugin wrote too much; the rest of its lines was dropped"
    );
}

/// A text of somebody else's as one line of at most 1 KiB: for messages and summaries.
#[must_use]
pub fn one_line(text: &str) -> String {
    escaped(text, 1 << 10)
}

/// The text as one line that a terminal and a log show as it is, cut to `bytes_max` with an ellipsis.
#[must_use]
pub fn escaped(text: &str, bytes_max: usize) -> String {
    const ELLIPSIS: &str = "…";
    let mut line = String::with_capacity(text.len().min(bytes_max));
    // Where to cut if more follows than fits.
    let mut cut = 0;
    for character in text.chars() {
        if line.len() + ELLIPSIS.len() <= bytes_max {
            cut = line.len();
        }
        match character {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            character if is_hidden(character) => {
                // Writing to a String can't fail.
                let _ = write!(line, "\\u{{{:x}}}", u32::from(character));
            }
            character => line.push(character),
        }
        if line.len() > bytes_max {
            line.truncate(cut);
            line.push_str(ELLIPSIS);
            break;
        }
    }
    line
}

/// Control characters, separators that some viewers break lines at, and what reorders or hides text.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};
    use proptest::prelude::*;

    #[test]
    fn lines_can_not_be_forged() {
        let (lease, mut book) = (testing::lease().done(), LogBook::keeping());
        book.write(&lease, Level::Warn, "a\nb\r\0\u{1b}[31m\u{202e}\u{2028}é");
        assert_eq!(
            book.take_lines(),
            [Line {
                level: Level::Warn,
                message: "a\\nb\\r\\u{0}\\u{1b}[31m\\u{202e}\\u{2028}é".into()
            }]
        );
    }

    #[test]
    fn a_flood_is_counted_and_not_logged() {
        let (lease, mut book) = (testing::lease().done(), LogBook::keeping());
        for _ in 0..LINES_MAX + 7 {
            book.write(&lease, Level::Info, "x");
        }
        assert_eq!(
            (book.take_lines().len(), book.refused()),
            (LINES_MAX as usize, 7),
            "lines"
        );
        let mut book = LogBook::keeping();
        let long = "é".repeat(1 << 20);
        for _ in 0..100 {
            book.write(&lease, Level::Info, &long);
        }
        let lines = book.take_lines();
        let bytes: usize = lines.iter().map(|line| line.message.len()).sum();
        assert!(bytes <= BYTES_MAX + LINE_BYTES_MAX, "{bytes}");
        assert_eq!(lines.len() as u64 + book.refused(), 100);
    }

    #[test]
    fn a_book_that_keeps_nothing_still_counts() {
        let (lease, mut book) = (testing::lease().done(), LogBook::default());
        for _ in 0..=LINES_MAX {
            book.write(&lease, Level::Debug, "x");
        }
        assert_eq!((book.take_lines().len(), book.refused()), (0, 1));
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_bounded_line(text in any::<String>(), max in 8usize..64) {
            let line = escaped(&text, max);
            prop_assert!(line.len() <= max);
            prop_assert!(!line.chars().any(is_hidden));
            if text.len() <= max && !text.chars().any(is_hidden) {
                prop_assert_eq!(line, text);
            }
        }
    }
}
