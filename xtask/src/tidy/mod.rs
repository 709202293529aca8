//! `cargo xtask tidy`: what no compiler checks.
//!
//! One file per concern. Each check is a pure function from the tree's files to what is wrong, so that its tests
//! are small trees in memory. A check never mends anything.

mod docs;
mod layers;
mod lock;
mod source;
mod text;
mod tree;

use crate::shell;
use anyhow::{Result, bail};
use tree::Tree;

/// One thing that is wrong, for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    path: String,
    /// 1-based; 0 where the whole file is meant.
    line: usize,
    message: String,
}

impl Problem {
    /// About one line.
    pub fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }

    /// About a whole file.
    pub fn of(path: &str, message: impl Into<String>) -> Self {
        Self::at(path, 0, message)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.path, self.message)
        } else {
            write!(f, "{}:{}: {}", self.path, self.line, self.message)
        }
    }
}

/// Checks the working copy.
pub fn run() -> Result<()> {
    let tree = Tree::of_repository(&shell::root()?)?;
    let mut problems: Vec<Problem> = [layers::check, text::check, docs::check, lock::check]
        .iter()
        .flat_map(|check| check(&tree))
        .collect();
    problems.sort();
    for problem in &problems {
        eprintln!("{problem}");
    }
    if !problems.is_empty() {
        bail!("tidy: {} problems", problems.len());
    }
    eprintln!("tidy: {} files are in order", tree.len());
    Ok(())
}
