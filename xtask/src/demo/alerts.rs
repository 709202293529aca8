//! What the demo's alerts were: the lines that the `file` plugin appended since the start.

use anyhow::{Context as _, Result};
use std::{
    fs::File,
    io::{ErrorKind, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

/// Far more than a demo writes.
const READ_BYTES_MAX: u64 = 1 << 20;

/// The alerts since a moment.
#[derive(Debug)]
pub struct Alerts {
    path: PathBuf,
    /// How much of the file is older than the demo, or was read.
    read: u64,
    colors: Vec<String>,
}

impl Alerts {
    /// From now on. The file need not exist yet.
    pub fn from_now(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            read: std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
            colors: Vec::new(),
        }
    }

    /// Whether the first alerts had these colors, in this order. Looks at the file again.
    pub fn begin_with(&mut self, expected: &[String]) -> Result<bool> {
        self.look()?;
        Ok(self.colors.starts_with(expected))
    }

    /// The colors so far, for people.
    pub fn seen(&self) -> String {
        if self.colors.is_empty() {
            format!("nothing (no line came to {})", self.path.display())
        } else {
            self.colors.join(", ")
        }
    }

    fn look(&mut self) -> Result<()> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("reading {}", self.path.display())),
        };
        file.seek(SeekFrom::Start(self.read))?;
        let mut text = String::new();
        file.take(READ_BYTES_MAX).read_to_string(&mut text)?;
        // The last line may be half written.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        for line in text.get(..whole).unwrap_or_default().lines() {
            let alert: serde_json::Value = serde_json::from_str(line)
                .with_context(|| format!("an alert in {} is no JSON: {line}", self.path.display()))?;
            let color = alert
                .get("color")
                .and_then(serde_json::Value::as_str)
                .with_context(|| format!("an alert in {} has no color: {line}", self.path.display()))?;
            self.colors.push(color.to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn colors(list: &str) -> Vec<String> {
        list.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn only_whole_lines_since_the_start_count() {
        let path = std::env::temp_dir().join(format!("xtask-alerts-{}.ndjson", std::process::id()));
        std::fs::write(&path, "{\"color\":\"red\"}\n").unwrap();
        let mut alerts = Alerts::from_now(&path);
        assert!(!alerts.begin_with(&colors("red")).unwrap(), "that one is old");
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"{\"color\":\"yellow\"}\n{\"color\":\"cy")
            .unwrap();
        assert!(alerts.begin_with(&colors("yellow")).unwrap());
        assert!(!alerts.begin_with(&colors("yellow,cyan")).unwrap());
        file.write_all(b"an\"}\n{\"color\":\"green\"}\n").unwrap();
        assert!(alerts.begin_with(&colors("yellow,cyan")).unwrap());
        assert!(!alerts.begin_with(&colors("yellow,green")).unwrap());
        assert_eq!(alerts.seen(), "yellow, cyan, green");
        file.write_all(b"yellow\n").unwrap();
        assert!(alerts.begin_with(&colors("yellow")).is_err(), "not JSON");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn no_file_is_no_alert() {
        let mut alerts = Alerts::from_now(Path::new("/nonexistent/alerts.ndjson"));
        assert!(!alerts.begin_with(&colors("yellow")).unwrap());
        assert!(alerts.seen().contains("/nonexistent/alerts.ndjson"));
    }
}
