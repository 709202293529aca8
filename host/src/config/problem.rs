//! What is wrong with a configuration, and how it is shown.
//!
//! Invariant: checking never stops at the first problem, each problem says what would be right, and no problem
//! quotes a value that came from the environment or from a file.

use super::{
    json::pointer,
    source::{At, Excerpts, Source, Sources},
};
use annotate_snippets::{
    AnnotationKind, Group, Level, Origin, Renderer, Snippet, level, normalize_untrusted_str,
};
use serde::{Serialize, Serializer};
use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    sync::Arc,
};

/// Problems that are kept; a generated file with a million of the same mistake needs no million pages.
const KEPT_MAX: usize = 1000;
/// Longer lines are named, but not shown.
const SHOWN_BYTES_MAX: usize = 4096;

/// The file of a place in a record that is an excerpt only once its problem is kept.
pub(super) const PENDING: u32 = u32::MAX;

/// Where a problem is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    /// In a file that was not read at all.
    File(String),
    /// At a key, value or header.
    At(At),
    /// In a file's rows, behind those that are shown.
    Rest(String),
}

impl From<At> for Place {
    fn from(at: At) -> Self {
        Self::At(at)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    /// A stable name for the kind of mistake, kebab case.
    id: &'static str,
    place: Place,
    message: String,
    help: Option<String>,
    notes: Vec<(At, String)>,
    /// Its line holds what nobody should read.
    hidden: bool,
    /// The number of the document that it is about, wherever it is.
    about: Option<u32>,
}

impl Problem {
    pub fn new(id: &'static str, place: impl Into<Place>, message: impl Into<String>) -> Self {
        Self {
            id,
            place: place.into(),
            message: message.into(),
            help: None,
            notes: Vec::new(),
            hidden: false,
            about: None,
        }
    }

    /// Without showing the line.
    pub fn without_line(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// What would be right.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether it is in a record that is no excerpt yet.
    pub fn is_pending(&self) -> bool {
        matches!(&self.place, Place::At(at) if at.file == PENDING)
    }

    /// Moves what has no file of its own yet to that one.
    pub fn settle(mut self, file: u32) -> Self {
        if let Place::At(at) = &mut self.place
            && at.file == PENDING
        {
            at.file = file;
        }
        self
    }

    /// Another place that has to do with it.
    pub fn note(mut self, at: At, text: impl Into<String>) -> Self {
        self.notes.push((at, text.into()));
        self
    }
}

/// Collects problems: each once, even where a million monitors inherit the mistake from one template.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Problem>,
    seen: HashSet<(Option<u32>, Place, &'static str, String)>,
    beyond: usize,
    /// The document of the API that is being looked at: whatever is found meanwhile is about it.
    pub about: Option<u32>,
    /// Documents that something is wrong with, those too whose problems are not kept.
    pub blamed: BTreeSet<u32>,
    /// Records that problems point at.
    pub excerpts: Excerpts,
}

impl Findings {
    pub fn report(&mut self, mut problem: Problem) {
        problem.about = problem.about.or(self.about);
        self.blamed.extend(problem.about);
        if self.kept.len() >= KEPT_MAX {
            self.beyond += 1;
        } else if self.seen.insert((
            problem.about,
            problem.place.clone(),
            problem.id,
            problem.message.clone(),
        )) {
            self.kept.push(problem);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.blamed.is_empty()
    }

    /// Sorted by place, ready to be shown.
    pub fn into_problems(self, sources: Arc<Sources>, severity: Severity) -> Problems {
        let Self {
            kept: mut list,
            beyond,
            excerpts,
            ..
        } = self;
        // Records become excerpts in the order in which something was found.
        let rank = |place: &Place| match place {
            Place::At(at) => excerpts
                .get(*at)
                .map(|source| (source.name.clone(), source.position(at.start as usize))),
            Place::Rest(name) => Some((name.clone(), (usize::MAX, 0))),
            Place::File(_) => None,
        };
        list.sort_by_cached_key(|problem| (rank(&problem.place), problem.place.clone()));
        Problems {
            sources,
            excerpts: Arc::new(excerpts),
            severity,
            list,
            beyond,
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// Nothing may be started.
    Error,
    /// Worth knowing.
    Warning,
}

/// All problems of a configuration, in the order of the files. Displayed as plain text.
#[derive(Clone, Debug)]
pub struct Problems {
    sources: Arc<Sources>,
    excerpts: Arc<Excerpts>,
    severity: Severity,
    list: Vec<Problem>,
    beyond: usize,
}

impl Problems {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len() + self.beyond
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All problems, each with its line and a caret; with terminal colors if `color`.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut text = String::new();
        for problem in &self.list {
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            text.push_str(&renderer.render(&[self.group(problem)]));
        }
        if self.beyond > 0 {
            text.push_str(&format!("\n\n... and {} more like these", self.beyond));
        }
        text
    }

    fn source(&self, at: At) -> Option<&Source> {
        self.excerpts.get(at).or_else(|| self.sources.get(at))
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(problem.message.as_str()).id(problem.id);
        let mut group = Group::with_title(title);
        group = match &problem.place {
            Place::File(name) | Place::Rest(name) => group.element(Origin::path(name.as_str())),
            Place::At(at) => self.show(group, *at, AnnotationKind::Primary, None, problem.hidden),
        };
        for (at, text) in &problem.notes {
            group = self.show(group, *at, AnnotationKind::Context, Some(text), problem.hidden);
        }
        match &problem.help {
            // Unlike titles and sources, messages are not cleaned of control characters by the renderer.
            Some(help) => group.element(level::HELP.message(clean(help))),
            None => group,
        }
    }

    fn show<'a>(
        &'a self,
        group: Group<'a>,
        at: At,
        kind: AnnotationKind,
        label: Option<&'a String>,
        hidden: bool,
    ) -> Group<'a> {
        let Some(source) = self.source(at) else {
            return group;
        };
        let (line, column) = source.position(at.start as usize);
        let (start, text) = source.line(line);
        if hidden || text.len() > SHOWN_BYTES_MAX {
            let origin = Origin::path(source.name.as_str()).line(line).char_column(column);
            return match label {
                Some(label) => group.element(origin).element(level::NOTE.message(clean(label))),
                None => group.element(origin),
            };
        }
        // A value over several lines is pointed at by its first.
        let from = (at.start as usize).saturating_sub(start).min(text.len());
        let to = (at.end as usize).saturating_sub(start).clamp(from, text.len());
        let annotation = kind.span(from..to).label(label.map(String::as_str));
        group.element(
            Snippet::source(text)
                .path(source.name.as_str())
                .line_start(line)
                .annotation(annotation),
        )
    }
}

/// One problem of what came over the API.
#[derive(Clone, Debug, Serialize)]
pub struct Fault {
    /// The name of the monitor whose document it is about; none: it is nobody's alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Arc<str>>,
    /// A stable name for the kind of mistake, in kebab case.
    pub id: &'static str,
    /// The file, if it is in one: a template's, mostly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Of the file, or of what was sent; from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// In characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// Where in the document: a JSON pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// What is wrong.
    pub detail: String,
    /// What would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Problems {
    /// The same for whoever has put documents, which are the files from `first` on and have these names; and how many more
    /// there are.
    pub(super) fn faults(&self, first: u32, name: impl Fn(u32) -> Option<Arc<str>>) -> (Vec<Fault>, usize) {
        let fault = |problem: &Problem| {
            let mut fault = Fault {
                monitor: problem.about.and_then(&name),
                id: problem.id,
                file: None,
                line: None,
                column: None,
                pointer: None,
                detail: problem.message.clone(),
                help: problem.help.clone(),
            };
            match &problem.place {
                Place::File(name) | Place::Rest(name) => fault.file = Some(name.clone()),
                Place::At(at) => {
                    if let Some(source) = self.source(*at) {
                        let (line, column) = source.position(at.start as usize);
                        (fault.line, fault.column) = (Some(line), Some(column));
                        if (first..self.sources.len()).contains(&at.file) {
                            fault.pointer = Some(pointer(&source.text, at.start as usize));
                        } else {
                            fault.file = Some(source.name.clone());
                        }
                    }
                }
            }
            for (at, text) in &problem.notes {
                if let Some(source) = self.source(*at) {
                    let (line, _) = source.position(at.start as usize);
                    fault
                        .detail
                        .push_str(&format!("; {text}: {}:{line}", source.name));
                }
            }
            fault
        };
        (self.list.iter().map(fault).collect(), self.beyond)
    }

    /// The first thing that is said of that document, in a line.
    pub(super) fn first_about(&self, document: u32) -> Option<String> {
        let mut all = self.list.iter();
        let problem = all.find(|problem| problem.about == Some(document))?;
        let place = match &problem.place {
            Place::File(name) | Place::Rest(name) => name.clone(),
            Place::At(at) => self.source(*at).map_or_else(String::new, |source| {
                format!("{}:{}", source.name, source.position(at.start as usize).0)
            }),
        };
        Some(format!("{} ({place})", problem.message))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

/// One problem, for programs.
#[derive(Serialize)]
struct Shown<'a> {
    file: &'a str,
    /// From 1; null when the whole file is meant.
    line: Option<usize>,
    column: Option<usize>,
    message: &'a str,
    help: Option<&'a str>,
    id: &'static str,
}

impl Serialize for Problems {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.list.iter().map(|problem| {
            let (file, position) = match &problem.place {
                Place::File(name) | Place::Rest(name) => (name.as_str(), None),
                Place::At(at) => self.source(*at).map_or(("", None), |source| {
                    (source.name.as_str(), Some(source.position(at.start as usize)))
                }),
            };
            Shown {
                file,
                line: position.map(|(line, _)| line),
                column: position.map(|(_, column)| column),
                message: &problem.message,
                help: problem.help.as_deref(),
                id: problem.id,
            }
        }))
    }
}

fn clean(text: &str) -> String {
    text.split('\n')
        .map(normalize_untrusted_str)
        .collect::<Vec<_>>()
        .join("\n")
}
