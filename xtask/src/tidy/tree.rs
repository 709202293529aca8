//! The files that are checked: path and text.

use anyhow::{Context as _, Result, bail};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

/// Files by their path from the repository's root, with `/`.
#[derive(Debug, Default)]
pub struct Tree {
    /// Files that are text.
    texts: BTreeMap<String, String>,
    /// All files.
    paths: BTreeSet<String>,
}

impl Tree {
    /// What git tracks, and what it would track: a new file is checked before it is added.
    pub fn of_repository(root: &Path) -> Result<Self> {
        let output = Command::new("git")
            // In a container the files may belong to somebody else.
            .arg("-c")
            .arg(format!("safe.directory={}", root.display()))
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .context("`git ls-files` could not be started")?;
        if !output.status.success() {
            bail!(
                "git ls-files failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        let mut tree = Self::default();
        for path in String::from_utf8(output.stdout)?
            .split('\0')
            .filter(|path| !path.is_empty())
        {
            let full = root.join(path);
            // Tracked and deleted, or a link to elsewhere: not a file of this tree.
            if !std::fs::symlink_metadata(&full).is_ok_and(|metadata| metadata.is_file()) {
                continue;
            }
            tree.paths.insert(path.to_owned());
            // These are looked at as the projects that they become, and some are generated.
            if path.starts_with("host/templates/") {
                continue;
            }
            if let Ok(text) = String::from_utf8(std::fs::read(&full)?) {
                tree.texts.insert(path.to_owned(), text);
            }
        }
        Ok(tree)
    }

    /// Files whose path starts so and ends so.
    pub fn texts<'a>(&'a self, prefix: &'a str, suffix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.texts
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .filter(move |(path, _)| path.starts_with(prefix) && path.ends_with(suffix))
    }

    /// A file's text.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Whether there is such a file, or a folder that holds one.
    pub fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        self.paths.contains(path)
            || self
                .paths
                .range(folder.clone()..)
                .next()
                .is_some_and(|first| first.starts_with(&folder))
    }

    /// Number of files.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// A tree in memory.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let texts: BTreeMap<String, String> = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect();
        let paths = texts.keys().cloned().collect();
        Self { texts, paths }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_there_through_their_files() {
        let tree = Tree::of(&[("host/src/clock.rs", ""), ("host/src.md", "")]);
        for there in ["host", "host/", "host/src", "host/src/clock.rs"] {
            assert!(tree.has(there), "{there}");
        }
        for absent in ["hos", "host/src/clock", "docs", ""] {
            assert!(!tree.has(absent), "{absent}");
        }
        assert_eq!(tree.texts("host/src/", ".rs").count(), 1);
    }
}
