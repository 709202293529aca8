//! How long lists of targets are shown while they are read: a bar on a terminal, if it takes long enough to be
//! looked at, and else one line of the log when they have been read.

use crate::{clock::Clock, config::Progress, domain::time::Mono};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{io::IsTerminal as _, path::Path, time::Duration};

/// Before that there is nothing to look at.
const SHOWN_AFTER: Duration = Duration::from_millis(500);

/// File, bar, and what is said of it.
const TEMPLATE: &str = "{prefix} [{bar:30}] {percent:>3}%  {wide_msg}";

/// Tells people how far it is.
pub struct Reading {
    clock: Clock,
    terminal: bool,
    file: String,
    bytes: u64,
    rows: u64,
    since: Mono,
    bar: Option<ProgressBar>,
}

impl Reading {
    pub fn new() -> Self {
        let clock = Clock::system();
        Self {
            since: clock.mono(),
            clock,
            terminal: std::io::stderr().is_terminal(),
            file: String::new(),
            bytes: 0,
            rows: 0,
            bar: None,
        }
    }

    fn took(&self) -> Duration {
        self.clock.mono().since(self.since)
    }

    fn open(&self, bytes: u64) -> ProgressBar {
        let name = Path::new(&self.file).file_name().unwrap_or_default();
        let bar = ProgressBar::with_draw_target(Some(self.bytes), ProgressDrawTarget::stderr())
            .with_position(bytes)
            .with_prefix(name.to_string_lossy().into_owned());
        // A wrong template is a mistake of this file; the bar would look plain then.
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar
    }
}

impl Progress for Reading {
    fn begin(&mut self, file: &str, bytes: u64) {
        file.clone_into(&mut self.file);
        self.bytes = bytes;
        self.rows = 0;
        self.since = self.clock.mono();
    }

    fn advance(&mut self, rows: u64, bytes: u64) {
        self.rows += rows;
        let took = self.took();
        if !self.terminal || took < SHOWN_AFTER {
            return;
        }
        let per_second = u128::from(self.rows) * 1000 / took.as_millis().max(1);
        let message = format!(
            "{} rows, {} a second",
            grouped(self.rows),
            grouped(u64::try_from(per_second).unwrap_or(u64::MAX))
        );
        let bar = match self.bar.take() {
            Some(bar) => bar,
            None => self.open(bytes),
        };
        bar.set_message(message);
        bar.set_position(bytes);
        self.bar = Some(bar);
    }

    fn end(&mut self, monitors: u64) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let monitor = if monitors == 1 { "monitor" } else { "monitors" };
        tracing::info!(
            "{} {monitor} from {} in {:.1} s",
            grouped(monitors),
            self.file,
            self.took().as_secs_f64()
        );
    }
}

/// A number as people read it: `1,000,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let shown = [0, 7, 999, 1_000, 12_345, 999_999, 1_000_000].map(grouped);
        assert_eq!(
            shown,
            ["0", "7", "999", "1,000", "12,345", "999,999", "1,000,000"]
        );
    }

    #[test]
    fn the_template_of_the_bar_is_right() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
