//! Configuration: TOML → values with places → layers → the types of [`crate::domain`].
//!
//! A [`Draft`] is everything that can be read and checked without knowing the plugins; [`Draft::finish`] checks it
//! against what the plugins say of themselves. Both collect: a configuration is either whole and right, or all of
//! its problems are shown at once, each with its place.
//!
//! Architecture invariant: nothing here changes anything outside the process, and nothing starts from a
//! configuration that has a problem.

mod ad_hoc;
mod assembly;
mod batch;
mod body;
mod build;
mod chunk;
mod csv;
mod depends;
mod document;
mod expand;
mod host;
mod interpolate;
mod lane;
mod layer;
mod monitor;
mod needs;
mod notifier;
mod paths;
mod plugins;
mod problem;
mod progress;
mod read;
mod recipe;
mod row;
mod scan;
mod schema;
mod source;
mod syntax;
mod template;
mod tree;
mod trouble;

#[cfg(test)]
mod tests;

pub use ad_hoc::ad_hoc;
pub use paths::default_paths;
pub use problem::Problems;
pub use progress::{Progress, Silent};

use crate::domain::{
    host::HostSettings,
    plugin::Facts,
    spec::{MonitorSpec, Profile},
};
use document::Document;
use interpolate::Surroundings;
use problem::{Findings, Severity};
use read::Reader;
use source::Sources;
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// A configuration that runs.
#[derive(Debug)]
pub struct Config {
    /// `[host]`.
    pub host: HostSettings,
    /// In the order in which they were written.
    pub monitors: Vec<MonitorSpec>,
    /// Whose sinks hear that the prober itself is in trouble; none without `[[host.notify]]`.
    pub host_entry: Option<MonitorSpec>,
    /// Every known plugin, with what `[plugins.NAME]` grants it, which by default is nothing.
    pub profiles: BTreeMap<String, Arc<Profile>>,
    /// Where monitors came from that no table of their own describes, in the order of the tables.
    pub loaded: Vec<Loaded>,
    /// What is allowed, but was probably not meant.
    pub warnings: Problems,
}

/// What a list of targets came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The file, as the operator named it; none where the list stands in the configuration itself.
    pub file: Option<String>,
    /// How its monitors' names are made.
    pub name: String,
    /// How many monitors it made.
    pub monitors: usize,
}

/// A configuration that was read, but not yet checked against the plugins.
#[derive(Debug)]
pub struct Draft {
    sources: Arc<Sources>,
    findings: Findings,
    document: Document,
    /// Whether it was TOML at all.
    readable: bool,
}

impl Draft {
    /// Reads a file, all `*.toml` of a directory, or standard input (`-`). Problems wait for [`Draft::finish`].
    #[must_use]
    pub fn load(path: &Path) -> Self {
        let mut findings = Findings::default();
        let sources = Sources::load(path, &mut findings);
        Self::read(sources, findings, &Surroundings::process())
    }

    /// Reads a text that is called `name`; its relative paths start at `base`.
    #[must_use]
    pub fn from_text(name: &str, text: &str, base: &Path) -> Self {
        let mut sources = Sources::default();
        sources.add(name, text.to_owned(), base);
        Self::read(sources, Findings::default(), &Surroundings::process())
    }

    fn read(sources: Sources, mut findings: Findings, surroundings: &Surroundings) -> Self {
        let unread = !findings.is_empty();
        let root = syntax::parse(&sources, surroundings, &mut findings);
        let readable = root.is_some() && !unread;
        let mut reader = Reader {
            sources: &sources,
            findings: &mut findings,
        };
        // Half of a configuration would only be full of references to the other half.
        let root = root.filter(|_| readable).unwrap_or_default();
        let document = Document::read(&mut reader, &root, surroundings);
        Self {
            sources: Arc::new(sources),
            findings,
            document,
            readable,
        }
    }

    /// `[host]`, with defaults where it is wrong or absent.
    #[must_use]
    pub fn host(&self) -> HostSettings {
        self.document.host.settings.clone()
    }

    /// Checks it against the plugins, by name.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn finish(self, facts: &BTreeMap<String, Facts>) -> Result<Config, Problems> {
        self.finish_telling(facts, &mut Silent)
    }

    /// The same; `progress` hears how the reading of targets gets on.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn finish_telling(
        mut self,
        facts: &BTreeMap<String, Facts>,
        progress: &mut dyn Progress,
    ) -> Result<Config, Problems> {
        let mut warnings = Findings::default();
        let built = if self.readable {
            Some(build::build(
                &self.document,
                facts,
                &self.sources,
                &mut self.findings,
                &mut warnings,
                progress,
            ))
        } else {
            None
        };
        match built {
            Some(built) if self.findings.is_empty() => Ok(Config {
                host: self.document.host.settings,
                monitors: built.monitors,
                loaded: built.loaded,
                host_entry: built.host_entry,
                profiles: built.profiles,
                warnings: warnings.into_problems(self.sources, Severity::Warning),
            }),
            _ => Err(self.findings.into_problems(self.sources, Severity::Error)),
        }
    }
}

/// What `init` writes: a commented configuration that works as it stands.
#[must_use]
pub fn starter() -> &'static str {
    include_str!("starter.toml")
}
