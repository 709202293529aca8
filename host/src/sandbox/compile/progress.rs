//! Says that a component is still being compiled, when that takes long enough to be asked about: an interpreter takes a
//! quarter of a minute. On a terminal a line that goes away, and else lines of the log.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{io::IsTerminal as _, path::Path, time::Duration};

/// Before that there is nothing to look at.
const SHOWN_AFTER: Duration = Duration::from_millis(500);
/// Between lines of the log.
const TOLD_EVERY: Duration = Duration::from_secs(5);
/// A spinner, how long it has taken, and what is said of it.
const TEMPLATE: &str = "{spinner} {elapsed} {wide_msg}";

/// Tells people that it goes on.
pub(super) struct Progress<'a> {
    path: &'a Path,
    bytes: usize,
    terminal: bool,
    told: Duration,
    bar: Option<ProgressBar>,
}

impl<'a> Progress<'a> {
    pub fn new(path: &'a Path, bytes: usize) -> Self {
        Self {
            path,
            bytes,
            terminal: std::io::stderr().is_terminal(),
            told: Duration::ZERO,
            bar: None,
        }
    }

    /// It has taken that long so far.
    pub fn so_far(&mut self, waited: Duration) {
        if self.terminal && waited >= SHOWN_AFTER {
            let (path, bytes) = (self.path, self.bytes);
            self.bar.get_or_insert_with(|| shown(path, bytes, waited)).tick();
        } else if !self.terminal && waited >= self.told + TOLD_EVERY {
            self.told = waited;
            tracing::info!(
                "still compiling {}, {} s so far",
                self.path.display(),
                waited.as_secs()
            );
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn shown(path: &Path, bytes: usize, waited: Duration) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
        .with_elapsed(waited)
        .with_message(format!(
            "compiling {} ({} KiB), once for each version of a plugin",
            path.display(),
            bytes >> 10
        ));
    // A wrong template is a mistake of this file; the line would look plain then.
    if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_of_the_line_is_right() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn the_log_hears_of_it_now_and_then() {
        let mut progress = Progress::new(Path::new("a.wasm"), 1);
        progress.terminal = false;
        let mut told = Vec::new();
        for second in 1..=12 {
            progress.so_far(Duration::from_secs(second));
            if told.last() != Some(&progress.told) {
                told.push(progress.told);
            }
        }
        assert_eq!(told, [0, 5, 10].map(Duration::from_secs));
    }
}
