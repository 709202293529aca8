//! All monitors as they come together, and where each of them was written.
//!
//! Invariant: what is kept for a monitor beside itself is a few bytes and gone when the configuration is whole.

use super::{
    Loaded,
    build::Builder,
    chunk::reread,
    document::{RawMonitor, Targets},
    problem::Problem,
    source::At,
};
use crate::domain::{
    managed::Places,
    spec::{Label, MonitorSpec},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Rows of one list of targets whose problems are shown; the others are counted.
pub(super) const ROWS_SHOWN_MAX: u64 = 100;

/// Where a monitor was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// Which `[[monitor]]`.
    pub table: u32,
    /// The line of its file, or its number in its list.
    pub line: u32,
    /// Where that line begins.
    pub offset: u32,
}

/// On whom somebody depends, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Name(Arc<str>),
    /// All of them.
    Labels(Vec<Label>),
}

/// Whom a monitor depends on, and where each entry was written.
pub(super) type Dependencies = Vec<(At, Wanted)>;

/// A `depends-on` that many monitors may share.
#[derive(Debug)]
pub(super) struct List {
    pub table: u32,
    pub entries: Dependencies,
}

/// What was built so far.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    pub monitors: Vec<MonitorSpec>,
    /// Of each monitor.
    pub origins: Vec<Origin>,
    pub lists: Vec<List>,
    /// Of each monitor: one more than the number of its list, 0 without one.
    pub lists_of: Vec<u32>,
    pub loaded: Vec<Loaded>,
    /// Monitors that something is wrong with.
    pub unbuilt: HashSet<Arc<str>>,
    /// There should be more monitors, whose names nobody knows: that one is missing can't be said.
    pub gaps: bool,
    /// Rows with problems that were found late, by table.
    pub late: HashMap<u32, u64>,
}

/// The place of what is not written here.
const NOWHERE: Origin = Origin {
    table: u32::MAX,
    line: 0,
    offset: 0,
};

impl Assembly {
    /// Others come beside these.
    pub fn beside(monitors: &[MonitorSpec]) -> Self {
        Self {
            monitors: monitors.to_vec(),
            origins: vec![NOWHERE; monitors.len()],
            lists_of: vec![0; monitors.len()],
            ..Self::default()
        }
    }

    /// The last one is too many.
    pub fn pop(&mut self) {
        if let Some(last) = self.monitors.pop() {
            self.unbuilt.insert(last.name().into());
        }
        self.origins.pop();
        self.lists_of.pop();
    }

    /// Keeps a list, and returns what stands for it in `lists_of`.
    pub fn list(&mut self, table: u32, entries: Dependencies) -> u32 {
        if entries.is_empty() {
            return 0;
        }
        self.lists.push(List { table, entries });
        u32::try_from(self.lists.len()).unwrap_or(u32::MAX)
    }

    pub fn push(&mut self, spec: MonitorSpec, origin: Origin, list: u32) {
        self.monitors.push(spec);
        self.origins.push(origin);
        self.lists_of.push(list);
    }

    /// Something is wrong with the monitor of that name.
    pub fn missing(&mut self, name: &Arc<str>) {
        self.unbuilt.insert(Arc::clone(name));
    }

    pub fn origin(&self, monitor: u32) -> Origin {
        self.origins.get(monitor as usize).copied().unwrap_or(NOWHERE)
    }

    pub fn name(&self, monitor: u32) -> &str {
        self.monitors.get(monitor as usize).map_or("", MonitorSpec::name)
    }
}

impl<'a> Builder<'a> {
    pub(super) fn raw(&self, table: u32) -> Option<&'a RawMonitor> {
        self.document.monitors.get(table as usize)
    }

    /// Where each monitor was written, for as long as it runs.
    pub(super) fn places(&self, assembly: &Assembly) -> Places {
        let mut places = Places::default();
        let mut rows: Vec<u32> = Vec::new();
        let (mut first, mut present) = (0, None);
        let line_of = |at: At| {
            let source = self.reader.sources.get(at)?;
            u32::try_from(source.position(at.start as usize).0).ok()
        };
        for (number, origin) in (0_u32..).zip(&assembly.origins) {
            let Some(raw) = self.raw(origin.table) else {
                continue;
            };
            // Plain tables of one file are told like rows of one.
            let (file, row) = match raw.targets.as_ref().map(|targets| &targets.value) {
                Some(Targets::File { shown, .. }) => (shown.as_str(), origin.line),
                _ => {
                    let name = self
                        .reader
                        .sources
                        .get(raw.name.at)
                        .map(|source| source.name.as_str());
                    (name.unwrap_or_default(), line_of(raw.name.at).unwrap_or_default())
                }
            };
            if present != Some(file) {
                if let Some(before) = present.replace(file) {
                    places.of_file(first, before.into(), 0, rows.as_slice().into());
                }
                rows.clear();
                first = number;
            }
            rows.push(row);
        }
        if let Some(last) = present {
            places.of_file(first, last.into(), 0, rows.into());
        }
        places
    }

    /// The place of a row, or of a monitor's name.
    pub(super) fn place(&mut self, origin: Origin) -> Option<At> {
        let raw = self.raw(origin.table)?;
        Some(match raw.targets.as_ref().map(|targets| &targets.value) {
            None | Some(Targets::Broken) => raw.name.at,
            Some(Targets::Inline(items)) => items.get(origin.line as usize)?.at,
            Some(Targets::File { path, shown, .. }) => {
                let text = reread(self.files.reopen(path), origin.offset);
                self.reader.findings.excerpts.add(shown, origin.line, &text)
            }
        })
    }

    /// Reports what shows only once all monitors are there, unless enough was said of this list. The problem is made
    /// with the place of its monitor.
    pub(super) fn report_late(
        &mut self,
        assembly: &mut Assembly,
        origin: Origin,
        problem: impl FnOnce(&mut Self, At) -> Problem,
    ) {
        self.reader.findings.about = self.document_of(origin.table);
        let rows = self.raw(origin.table).is_some_and(|raw| raw.targets.is_some());
        if rows {
            let count = assembly.late.entry(origin.table).or_default();
            *count += 1;
            if *count > ROWS_SHOWN_MAX {
                return;
            }
        }
        if let Some(at) = self.place(origin) {
            let problem = problem(self, at);
            self.reader.report(problem);
        }
        self.reader.findings.about = None;
    }

    /// Says how many rows were not shown.
    pub(super) fn report_rest(&mut self, targets: &Targets, at: At, rest: u64) {
        if rest == 0 {
            return;
        }
        let rows = if rest == 1 { "row" } else { "rows" };
        let text = format!("{rest} more {rows} of this list with problems");
        let place = match targets {
            Targets::File { shown, .. } => super::problem::Place::Rest(shown.clone()),
            _ => at.into(),
        };
        self.reader.report(Problem::new("more-rows", place, text));
    }
}
