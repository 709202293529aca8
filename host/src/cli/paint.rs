//! The few colors of the command line.

use std::fmt;

/// A text that is colored on a terminal.
pub struct Paint<'a> {
    /// The text.
    pub text: &'a str,
    /// The SGR parameters (ECMA-48); empty for none.
    pub code: &'static str,
    /// Whether to color at all.
    pub on: bool,
}

impl fmt::Display for Paint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.on && !self.code.is_empty() {
            write!(f, "\u{1b}[{}m{}\u{1b}[0m", self.code, self.text)
        } else {
            f.write_str(self.text)
        }
    }
}

pub const BOLD: &str = "1";
pub const RED: &str = "1;31";
pub const GREEN: &str = "1;32";
pub const YELLOW: &str = "1;33";
pub const PURPLE: &str = "1;35";
