//! Once all monitors are there: no two of one name, and `depends-on` followed from names and labels to monitors.
//!
//! Invariant: what monitors depend on is followed once for each list of dependencies, not for each monitor, and what
//! comes out of it has no circle: a monitor is never, over any way, its own parent.

use super::{
    assembly::{Assembly, List, Wanted},
    build::Builder,
    problem::Problem,
    read::{list as listed, nearest, short},
    source::At,
};
use crate::domain::spec::{Class, Kind, Label, MonitorSpec, identity};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Monitors that one monitor may depend on: the scheduler looks at all of them when it fails.
const PARENTS_MAX: usize = 256;
/// Monitors of a circle that are named.
const CIRCLE_SHOWN_MAX: usize = 10;
/// Circles that are shown; mending one often mends the others.
const CIRCLES_MAX: usize = 20;
/// Names among which the one that was probably meant is looked for, all problems together.
const LOOKED_AT_MAX: usize = 1_000_000;

/// Monitors by name.
struct Names(Vec<(u64, u32)>);

impl Names {
    /// Sorted by hash, in the order of the monitors where it is the same.
    fn new(assembly: &Assembly) -> Self {
        let mut all: Vec<(u64, u32)> = (0..)
            .zip(&assembly.monitors)
            .map(|(number, spec)| (identity([spec.name()]), number))
            .collect();
        all.sort_unstable();
        Self(all)
    }

    fn find(&self, assembly: &Assembly, name: &str) -> Option<u32> {
        let hash = identity([name]);
        let start = self.0.partition_point(|(known, _)| *known < hash);
        self.0
            .iter()
            .skip(start)
            .take_while(|(known, _)| *known == hash)
            .map(|(_, number)| *number)
            .find(|number| assembly.name(*number) == name)
    }
}

/// What a list of dependencies came to.
#[derive(Default)]
struct Followed {
    /// Sorted; shared by lists that came to the same.
    parents: Vec<Arc<[u32]>>,
    known: HashMap<Arc<[u32]>, u32>,
    /// Of each monitor: one more than the number of its parents, 0 without any.
    of: Vec<u32>,
}

impl Followed {
    fn intern(&mut self, parents: Vec<u32>) -> u32 {
        if parents.is_empty() {
            return 0;
        }
        if let Some(known) = self.known.get(parents.as_slice()) {
            return *known;
        }
        let parents: Arc<[u32]> = parents.into();
        self.parents.push(Arc::clone(&parents));
        let number = u32::try_from(self.parents.len()).unwrap_or(u32::MAX);
        self.known.insert(parents, number);
        number
    }

    fn get(&self, number: u32) -> Option<&Arc<[u32]>> {
        self.parents.get((number as usize).checked_sub(1)?)
    }

    fn of(&self, monitor: u32) -> u32 {
        self.of.get(monitor as usize).copied().unwrap_or(0)
    }
}

impl Builder<'_> {
    /// Looks for names that are there twice, and ties monitors to those that they depend on.
    pub(super) fn connect(&mut self, assembly: &mut Assembly) {
        let mut tables = self.document.monitors.iter();
        let expanded = self.beside.is_some() || tables.any(|raw| raw.targets.is_some());
        // Those of plain monitors were looked for when they were read.
        if !expanded && assembly.lists.is_empty() {
            return;
        }
        let names = Names::new(assembly);
        if expanded {
            self.find_duplicates(&names, assembly);
            self.find_duplicate_keys(assembly);
        }
        if !assembly.lists.is_empty() {
            let followed = self.follow(&names, assembly);
            self.find_circles(&followed, assembly);
            self.tie(&followed, assembly);
        }
        let rest: Vec<(u32, u64)> = assembly.late.drain().collect();
        for (table, count) in rest {
            if let Some(targets) = self.raw(table).and_then(|raw| raw.targets.as_ref()) {
                let rest = count.saturating_sub(super::assembly::ROWS_SHOWN_MAX);
                self.report_rest(&targets.value, targets.at, rest);
            }
        }
    }

    fn find_duplicates(&mut self, names: &Names, assembly: &mut Assembly) {
        let mut start = 0;
        while let Some((hash, first)) = names.0.get(start).copied() {
            let same = names.0.iter().skip(start).take_while(|(known, _)| *known == hash);
            let end = start + same.count();
            for (_, other) in names.0.get(start + 1..end).unwrap_or_default() {
                if assembly.name(first) == assembly.name(*other) {
                    self.report_duplicate(assembly, first, *other);
                }
            }
            start = end;
        }
    }

    fn report_duplicate(&mut self, assembly: &mut Assembly, first: u32, other: u32) {
        let plain = |builder: &Self, monitor| {
            let origin = assembly.origin(monitor);
            builder.raw(origin.table).is_some_and(|raw| raw.targets.is_none())
        };
        // Two plain ones were found when they were read.
        if plain(self, first) && plain(self, other) {
            return;
        }
        let in_file = self
            .beside
            .filter(|beside| (first as usize) < beside.monitors.len());
        if let Some(beside) = in_file {
            let (name, owner) = (short(assembly.name(other)), beside.places.owner(first));
            let text = format!("a file has the monitor `{name}` already: {owner}");
            let help = "one of the two has to go: what stands in a file is changed there";
            let origin = assembly.origin(other);
            self.report_late(assembly, origin, |_, at| {
                Problem::new("duplicate-name", at, text).help(help)
            });
            return;
        }
        let (origin, first) = (assembly.origin(other), assembly.origin(first));
        let text = format!("the monitor `{}` is defined twice", assembly.name(other));
        self.report_late(assembly, origin, |builder, at| {
            let problem = Problem::new("duplicate-name", at, text);
            match builder.place(first) {
                Some(first) => problem.note(first, "first defined here"),
                None => problem,
            }
        });
    }

    /// Two rows of one table with the same key have the same identity, although their names differ.
    fn find_duplicate_keys(&mut self, assembly: &mut Assembly) {
        let keyed = |table: u32| {
            self.raw(table)
                .is_some_and(|raw| raw.targets.is_some() && raw.key.is_some())
        };
        let mut all: Vec<(u64, u32)> = (0..)
            .zip(assembly.monitors.iter().zip(&assembly.origins))
            .filter(|(_, (_, origin))| keyed(origin.table))
            .map(|(number, (spec, _))| (spec.identity(), number))
            .collect();
        all.sort_unstable();
        let mut same: Vec<(u32, u32)> = Vec::new();
        for pair in all.windows(2) {
            let [(a, first), (b, second)] = pair else {
                continue;
            };
            if a == b {
                same.push((*first, *second));
            }
        }
        for (first, second) in same {
            // One mistake, not two.
            if assembly.name(first) == assembly.name(second) {
                continue;
            }
            let (first, origin) = (assembly.origin(first), assembly.origin(second));
            self.report_late(assembly, origin, |builder, at| {
                let mut problem = Problem::new("duplicate-target", at, "another row has the same key")
                    .help("`key` names a field that is different in every row");
                if let Some(first) = builder.place(first) {
                    problem = problem.note(first, "the other row");
                }
                match builder.raw(origin.table).and_then(|raw| raw.key.as_ref()) {
                    Some(key) => problem.note(key.at, "named here"),
                    None => problem,
                }
            });
        }
    }

    /// From names and labels to monitors.
    fn follow(&mut self, names: &Names, assembly: &mut Assembly) -> Followed {
        let lists = std::mem::take(&mut assembly.lists);
        let mut first_of = vec![None; lists.len()];
        for (monitor, list) in (0_u32..).zip(&assembly.lists_of) {
            let first = (*list as usize)
                .checked_sub(1)
                .and_then(|list| first_of.get_mut(list));
            if let Some(first @ None) = first {
                *first = Some(monitor);
            }
        }
        let selected = Selected::new(&lists, assembly);
        let mut left = LOOKED_AT_MAX;
        let mut resolved: Vec<Vec<u32>> = Vec::with_capacity(lists.len());
        for (list, first) in lists.iter().zip(&first_of) {
            let mut parents = Vec::new();
            for (at, wanted) in &list.entries {
                match wanted {
                    Wanted::Name(name) => match names.find(assembly, name) {
                        Some(parent) => parents.push(parent),
                        None => self.unknown(list, *first, *at, name, assembly, &mut left),
                    },
                    Wanted::Labels(labels) => match selected.get(labels) {
                        Some(found) if !found.is_empty() => parents.extend_from_slice(found),
                        _ => self.nothing_selected(list, *first, *at, labels, assembly),
                    },
                }
            }
            parents.sort_unstable();
            parents.dedup();
            // One more, since a monitor among them does not count for itself.
            if parents.len() > PARENTS_MAX + 1 {
                let (count, at) = (parents.len(), list.entries.first().map(|(at, _)| *at));
                parents.clear();
                if let (Some(first), Some(at)) = (first, at) {
                    let text = format!(
                        "`{}` depends on {count} monitors; at most {PARENTS_MAX} are allowed",
                        short(assembly.name(*first))
                    );
                    self.report_at(assembly, *first, at, |at| Problem::new("out-of-range", at, text));
                }
            }
            resolved.push(parents);
        }
        let mut followed = Followed::default();
        let numbers: Vec<u32> = resolved
            .iter()
            .map(|parents| followed.intern(parents.clone()))
            .collect();
        followed.of = Vec::with_capacity(assembly.monitors.len());
        for (monitor, list) in (0_u32..).zip(&assembly.lists_of) {
            let index = (*list as usize).checked_sub(1);
            let parents = index.and_then(|list| resolved.get(list));
            let number = match parents {
                Some(parents) if parents.binary_search(&monitor).is_ok() => followed.intern(
                    parents
                        .iter()
                        .copied()
                        .filter(|parent| *parent != monitor)
                        .collect(),
                ),
                _ => index.and_then(|list| numbers.get(list)).copied().unwrap_or(0),
            };
            followed.of.push(number);
        }
        self.find_selves(&lists, assembly);
        assembly.lists = lists;
        followed
    }

    /// A monitor that names itself in its own table is a mistake; where it is only among those that a common list
    /// names, it does not count.
    fn find_selves(&mut self, lists: &[List], assembly: &mut Assembly) {
        for list in lists {
            let Some(raw) = self.raw(list.table) else {
                continue;
            };
            self.reader.findings.about = self.document_of(list.table);
            if raw.targets.is_some() || raw.layer.depends_on.is_none() {
                continue;
            }
            for (at, wanted) in &list.entries {
                if matches!(wanted, Wanted::Name(name) if *name == raw.name.value) && !assembly.gaps {
                    let text = format!("`{}` depends on itself", raw.name.value);
                    self.reader.report(Problem::new("dependency-circle", *at, text));
                }
            }
        }
        self.reader.findings.about = None;
    }

    /// Reports a problem of a list: at its place, or where rows share it, at the row of the first monitor that has it.
    fn report_at(
        &mut self,
        assembly: &mut Assembly,
        monitor: u32,
        written: At,
        problem: impl FnOnce(At) -> Problem,
    ) {
        let origin = assembly.origin(monitor);
        if self.raw(origin.table).is_some_and(|raw| raw.targets.is_none()) {
            self.reader.findings.about = self.document_of(origin.table);
            self.reader.report(problem(written));
            self.reader.findings.about = None;
            return;
        }
        self.report_late(assembly, origin, |_, at| problem(at).note(written, "named here"));
    }

    fn unknown(
        &mut self,
        list: &List,
        first: Option<u32>,
        at: At,
        name: &Arc<str>,
        assembly: &mut Assembly,
        left: &mut usize,
    ) {
        // Nobody has the list, or the one who is missing may be among those that could not be built.
        let Some(first) = first.filter(|_| !assembly.gaps && !assembly.unbuilt.contains(name)) else {
            return;
        };
        let near = if assembly.monitors.len() <= *left {
            *left -= assembly.monitors.len();
            let known: Vec<&str> = assembly
                .monitors
                .iter()
                .map(MonitorSpec::name)
                .filter(|known| known.len().abs_diff(name.len()) <= name.len() / 3 + 1)
                .collect();
            nearest(name, &known).map(str::to_owned)
        } else {
            None
        };
        let help = match near {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => {
                let few: Vec<&str> = assembly.monitors.iter().take(10).map(MonitorSpec::name).collect();
                match assembly.monitors.len().saturating_sub(few.len()) {
                    0 => format!("monitors are {}", listed(&few)),
                    more => format!("there are {} and {more} more", listed(&few)),
                }
            }
        };
        let text = format!("there is no monitor `{}`", self.reader.quoted(at, name));
        debug_assert_eq!(assembly.origin(first).table, list.table);
        self.report_at(assembly, first, at, |at| {
            Problem::new("unknown-monitor", at, text).help(help)
        });
    }

    fn nothing_selected(
        &mut self,
        list: &List,
        first: Option<u32>,
        at: At,
        labels: &[Label],
        assembly: &mut Assembly,
    ) {
        let Some(first) = first.filter(|_| !assembly.gaps && assembly.unbuilt.is_empty()) else {
            return;
        };
        let shown: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name} = {:?}", short(value)))
            .collect();
        let shown = format!("{{ {} }}", shown.join(", "));
        let text = format!("no monitor has the labels {}", self.reader.quoted(at, &shown));
        debug_assert_eq!(assembly.origin(first).table, list.table);
        self.report_at(assembly, first, at, |at| {
            Problem::new("unknown-monitor", at, text)
                .help("a monitor must have all of them; one that depends on nobody has depends-on = []")
        });
    }

    fn find_circles(&mut self, followed: &Followed, assembly: &mut Assembly) {
        for circle in circles(followed, assembly.monitors.len()) {
            let Some(first) = circle.first().copied() else {
                continue;
            };
            let name = |monitor: &u32| format!("`{}`", short(assembly.name(*monitor)));
            let mut steps: Vec<String> = circle.iter().take(CIRCLE_SHOWN_MAX).map(name).collect();
            if circle.len() > CIRCLE_SHOWN_MAX {
                steps.push(format!("… ({} more)", circle.len() - CIRCLE_SHOWN_MAX));
            }
            steps.push(name(&first));
            let text = format!("monitors depend on each other in a circle: {}", steps.join(" → "));
            let mut notes = Vec::new();
            for (index, monitor) in circle.iter().enumerate().take(CIRCLE_SHOWN_MAX) {
                let parent = circle.get(index + 1).unwrap_or(&first);
                let at = self.edge(assembly, *monitor, *parent);
                notes.extend(at.map(|at| (at, format!("{} depends on {}", name(monitor), name(parent)))));
            }
            let mut notes = notes.into_iter();
            let Some((at, _)) = notes.next() else {
                continue;
            };
            let mut problem = Problem::new("dependency-circle", at, text)
                .help("while a parent is down its children are not looked into; in a circle nobody would be");
            for (at, text) in notes {
                problem = problem.note(at, text);
            }
            // Whoever closed the circle is one of them.
            for monitor in &circle {
                let document = self.document_of(assembly.origin(*monitor).table);
                self.reader.findings.blamed.extend(document);
            }
            self.reader.findings.about = self.document_of(assembly.origin(first).table);
            self.reader.report(problem);
            self.reader.findings.about = None;
        }
    }

    /// Where it is written that the one depends on the other.
    fn edge(&mut self, assembly: &Assembly, monitor: u32, parent: u32) -> Option<At> {
        let origin = assembly.origin(monitor);
        if self.raw(origin.table)?.targets.is_some() {
            return self.place(origin);
        }
        let number = assembly.lists_of.get(monitor as usize)?;
        let list = assembly.lists.get((*number as usize).checked_sub(1)?)?;
        let parent = assembly.monitors.get(parent as usize)?;
        let names = |wanted: &Wanted| match wanted {
            Wanted::Name(name) => name.as_ref() == parent.name(),
            Wanted::Labels(labels) => has(parent.class(), labels),
        };
        let (at, _) = list.entries.iter().find(|(_, wanted)| names(wanted))?;
        Some(*at)
    }

    /// Gives every monitor its parents.
    fn tie(&mut self, followed: &Followed, assembly: &mut Assembly) {
        let mut classes: HashMap<(*const Class, u32), Arc<Class>> = HashMap::new();
        // In the scheduler a place is one in the list of all tenants' monitors.
        let (first, beside) = (self.first, self.beside);
        let place = |parents: &Arc<[u32]>| match (first, beside) {
            (0, None) => Arc::clone(parents),
            _ => parents
                .iter()
                .map(|parent| {
                    let document = beside.and_then(|beside| {
                        let files = u32::try_from(beside.monitors.len()).unwrap_or(u32::MAX);
                        Some(beside.first.saturating_add(parent.checked_sub(files)?))
                    });
                    document.unwrap_or(first.saturating_add(*parent))
                })
                .collect(),
        };
        let places: Vec<Arc<[u32]>> = followed.parents.iter().map(place).collect();
        for (spec, number) in assembly.monitors.iter_mut().zip(&followed.of) {
            let index = (*number as usize).checked_sub(1);
            let Some(parents) = index.and_then(|index| places.get(index)) else {
                continue;
            };
            let key = (Arc::as_ptr(spec.class()), *number);
            let class = classes.entry(key).or_insert_with(|| {
                Arc::new(Class {
                    parents: Arc::clone(parents),
                    ..Class::clone(spec.class())
                })
            });
            *spec = moved(spec, Arc::clone(class));
        }
    }
}

/// The same monitor in another class.
fn moved(spec: &MonitorSpec, class: Arc<Class>) -> MonitorSpec {
    let common = spec.pulse.as_ref().map(|check| check.settings.as_ptr());
    let own = spec
        .assignment(Kind::Pulse, 0)
        .map(|check| check.settings)
        .filter(|own| Some(own.as_ptr()) != common);
    let key = Some(spec.identity()).filter(|key| *key != identity([spec.name()]));
    MonitorSpec::new(class, key, spec.name(), own)
}

fn has(class: &Class, labels: &[Label]) -> bool {
    labels.iter().all(|label| class.labels.contains(label))
}

/// Monitors by the labels that some list asks for.
struct Selected(HashMap<Vec<Label>, Vec<u32>>);

impl Selected {
    fn new(lists: &[List], assembly: &Assembly) -> Self {
        let selectors: HashSet<&Vec<Label>> = lists
            .iter()
            .flat_map(|list| &list.entries)
            .filter_map(|(_, wanted)| match wanted {
                Wanted::Labels(labels) => Some(labels),
                Wanted::Name(_) => None,
            })
            .collect();
        if selectors.is_empty() {
            return Self(HashMap::new());
        }
        let mut numbers: HashMap<*const Class, usize> = HashMap::new();
        let mut classes: Vec<(&Arc<Class>, Vec<u32>)> = Vec::new();
        for (monitor, spec) in (0..).zip(&assembly.monitors) {
            let number = *numbers.entry(Arc::as_ptr(spec.class())).or_insert(classes.len());
            if number == classes.len() {
                classes.push((spec.class(), Vec::new()));
            }
            if let Some((_, members)) = classes.get_mut(number) {
                members.push(monitor);
            }
        }
        // Only labels that are asked for are worth an entry.
        let mut by_label: HashMap<&Label, Vec<usize>> = selectors
            .iter()
            .flat_map(|labels| labels.iter())
            .map(|label| (label, Vec::new()))
            .collect();
        for (number, (class, _)) in classes.iter().enumerate() {
            for label in class.labels.iter() {
                if let Some(found) = by_label.get_mut(label) {
                    found.push(number);
                }
            }
        }
        let members = |labels: &Vec<Label>| {
            let rarest = labels
                .iter()
                .filter_map(|label| by_label.get(label))
                .min_by_key(|found| found.len());
            let mut members: Vec<u32> = Vec::new();
            for number in rarest.into_iter().flatten() {
                if let Some((class, all)) = classes.get(*number)
                    && has(class, labels)
                {
                    members.extend_from_slice(all);
                }
                // More than anybody may depend on: how many more does not matter.
                if members.len() > 2 * PARENTS_MAX {
                    break;
                }
            }
            members
        };
        Self(
            selectors
                .into_iter()
                .map(|labels| (labels.clone(), members(labels)))
                .collect(),
        )
    }

    fn get(&self, labels: &[Label]) -> Option<&[u32]> {
        self.0.get(labels).map(Vec::as_slice)
    }
}

/// Circles, each as monitors of which one depends on the next, and the last on the first. Monitors with the same
/// parents are one step, so that a million of them are not walked one by one.
fn circles(followed: &Followed, monitors: usize) -> Vec<Vec<u32>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        Fresh,
        Open,
        Done,
    }
    struct Step {
        number: u32,
        /// The monitor over which the walk came here.
        via: u32,
        next: usize,
    }
    let mut marks = vec![Mark::Fresh; followed.parents.len() + 1];
    let mut circles = Vec::new();
    debug_assert!(followed.of.len() == monitors);
    for start in (1_u32..).take(followed.parents.len()) {
        let fresh = |marks: &[Mark], number: u32| marks.get(number as usize) == Some(&Mark::Fresh);
        let mark = |marks: &mut [Mark], number: u32, new: Mark| {
            if let Some(mark) = marks.get_mut(number as usize) {
                *mark = new;
            }
        };
        if !fresh(&marks, start) {
            continue;
        }
        mark(&mut marks, start, Mark::Open);
        let mut way = vec![Step {
            number: start,
            via: u32::MAX,
            next: 0,
        }];
        while let Some(step) = way.last_mut() {
            let parent = followed
                .get(step.number)
                .and_then(|parents| parents.get(step.next));
            let Some(parent) = parent.copied() else {
                mark(&mut marks, step.number, Mark::Done);
                way.pop();
                continue;
            };
            step.next += 1;
            let number = followed.of(parent);
            if number == 0 {
                continue;
            }
            if fresh(&marks, number) {
                mark(&mut marks, number, Mark::Open);
                way.push(Step {
                    number,
                    via: parent,
                    next: 0,
                });
            } else if marks.get(number as usize) == Some(&Mark::Open) {
                let from = way.iter().position(|step| step.number == number).unwrap_or(0);
                let mut circle = vec![parent];
                circle.extend(way.iter().skip(from + 1).map(|step| step.via));
                circles.push(circle);
                if circles.len() >= CIRCLES_MAX {
                    return circles;
                }
            }
        }
    }
    circles
}
