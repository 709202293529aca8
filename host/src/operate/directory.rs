//! The directory: which monitors there are, ordered by name and found by label and text, for whoever asks from another
//! thread. Each reload makes a new one beside the old; how monitors stand is on the [`Board`](crate::domain::board::Board).
//!
//! Architecture invariant: nobody who asks makes the scheduler wait, and no question takes longer than a look at each row.

use super::bits::Bits;
use crate::domain::{
    board::Seat,
    managed::{Owner, Places},
    selector::{Builtin, Matcher, Selector},
    spec::{Class, MonitorSpec},
    tenant::DEFAULT,
};
use memchr::memmem;
use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, PoisonError, RwLock},
};

/// One monitor.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its configuration.
    pub spec: MonitorSpec,
    /// Its place on the board.
    pub seat: Seat,
}

/// All monitors of one generation of the configuration.
#[derive(Debug, Default)]
pub struct Directory {
    /// By tenant, then by name.
    rows: Vec<Row>,
    /// Their places on the board once more, side by side: whoever looks at all of them reads nothing else.
    seats: Vec<Seat>,
    /// Each tenant that has monitors, and its rows.
    tenants: Vec<(Arc<str>, Range<usize>)>,
    /// What is searched: `name` or `tenant/name` of each in small letters, each ended by a zero byte.
    text: Vec<u8>,
    /// Where each begins.
    starts: Vec<usize>,
    labels: HashMap<Arc<str>, Column>,
    plugins: Column,
    /// The place of each in the list of all monitors.
    numbers: Vec<u32>,
    places: Places,
}

/// Which rows have which value.
#[derive(Debug, Default)]
struct Column {
    values: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
    /// Row and number of its value, by row.
    rows: Vec<(u32, u32)>,
}

impl Column {
    fn number(&mut self, value: &Arc<str>) -> u32 {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        // There are fewer rows than that, and each brings one value.
        let number = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.values.push(Arc::clone(value));
        self.numbers.insert(Arc::clone(value), number);
        number
    }

    /// Which values fulfil the condition.
    fn fulfilling(&self, matcher: &Matcher) -> Vec<bool> {
        match matcher.only() {
            Some(only) => {
                let number = self.numbers.get(only).map(|number| *number as usize);
                (0..self.values.len()).map(|at| Some(at) == number).collect()
            }
            None => self.values.iter().map(|value| matcher.holds(value)).collect(),
        }
    }

    fn sift(&self, matcher: &Matcher, bits: &mut Bits, rows: usize) {
        let good = self.fulfilling(matcher);
        let is_good = |value: u32| good.get(value as usize).copied().unwrap_or_default();
        if matcher.holds("") {
            // So does every row that lacks the label.
            for (row, _) in self.rows.iter().filter(|(_, value)| !is_good(*value)) {
                bits.remove(*row as usize);
            }
        } else {
            let mut kept = Bits::none(rows);
            for (row, _) in self.rows.iter().filter(|(_, value)| is_good(*value)) {
                kept.insert(*row as usize);
            }
            bits.keep(&kept);
        }
    }
}

impl Directory {
    /// Of these monitors; `seats` are theirs, in the same order. Takes about two seconds for a million.
    #[must_use]
    pub fn new(monitors: &[MonitorSpec], seats: &[Seat]) -> Self {
        let mut order: Vec<(u128, usize)> = monitors
            .iter()
            .enumerate()
            .map(|(at, spec)| (prefix(spec.name()), at))
            .collect();
        let key = |at: usize| monitors.get(at).map(|spec| (&*spec.tenant.name, spec.name()));
        let several = monitors
            .first()
            .is_some_and(|first| monitors.iter().any(|spec| spec.tenant.name != first.tenant.name));
        order.sort_unstable_by(|(one, at), (two, other)| {
            if several || one == two {
                key(*at).cmp(&key(*other))
            } else {
                one.cmp(two)
            }
        });
        let mut directory = Self {
            rows: Vec::with_capacity(order.len()),
            seats: Vec::with_capacity(order.len()),
            starts: Vec::with_capacity(order.len()),
            numbers: Vec::with_capacity(order.len()),
            ..Self::default()
        };
        let mut classes: HashMap<*const Class, Marked> = HashMap::new();
        let mut names: Vec<Arc<str>> = Vec::new();
        let mut columns: Vec<Column> = Vec::new();
        let mut of_name: HashMap<Arc<str>, usize> = HashMap::new();
        for (_, at) in order {
            let (Some(spec), Some(seat)) = (monitors.get(at), seats.get(at)) else {
                continue;
            };
            let row = directory.rows.len();
            // Places on the board are as many.
            let number = u32::try_from(row).unwrap_or(u32::MAX);
            let class = spec.class();
            let marked = classes.entry(Arc::as_ptr(class)).or_insert_with(|| {
                let plugin: Arc<str> = Builtin::Plugin.of(class).unwrap_or_default().into();
                let plugin = directory.plugins.number(&plugin);
                let labels = class.labels.iter().filter_map(|(name, value)| {
                    let column = *of_name.entry(Arc::clone(name)).or_insert_with(|| {
                        names.push(Arc::clone(name));
                        columns.push(Column::default());
                        columns.len() - 1
                    });
                    Some((column, columns.get_mut(column)?.number(value)))
                });
                Marked {
                    labels: labels.collect(),
                    plugin,
                }
            });
            directory.plugins.rows.push((number, marked.plugin));
            for (column, value) in &marked.labels {
                if let Some(column) = columns.get_mut(*column) {
                    column.rows.push((number, *value));
                }
            }
            directory.push(spec, *seat);
            directory.numbers.push(u32::try_from(at).unwrap_or(u32::MAX));
        }
        directory.labels = names.into_iter().zip(columns).collect();
        directory
    }

    fn push(&mut self, spec: &MonitorSpec, seat: Seat) {
        let row = self.rows.len();
        let tenant = &spec.tenant.name;
        match self.tenants.last_mut() {
            Some((last, rows)) if last == tenant => rows.end = row + 1,
            _ => self.tenants.push((Arc::clone(tenant), row..row + 1)),
        }
        self.starts.push(self.text.len());
        if &**tenant != DEFAULT {
            self.text.extend_from_slice(tenant.as_bytes());
            self.text.push(b'/');
        }
        self.text.extend_from_slice(small(spec.name()).as_bytes());
        self.text.push(0);
        self.rows.push(Row {
            spec: spec.clone(),
            seat,
        });
        self.seats.push(seat);
    }

    /// The same, which knows where each of the monitors was written.
    #[must_use]
    pub fn written(mut self, places: Places) -> Self {
        self.places = places;
        self
    }

    /// Who says what the monitor of that name is.
    #[must_use]
    pub fn owner(&self, tenant: &str, name: &str) -> Option<Owner> {
        self.named(tenant, name)?;
        let number = self.numbers.get(self.place(tenant, name))?;
        Some(self.places.owner(*number))
    }

    /// How many monitors there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The monitor in that row.
    #[must_use]
    pub fn row(&self, row: usize) -> Option<&Row> {
        self.rows.get(row)
    }

    /// The place on the board of the monitor in that row.
    #[must_use]
    pub fn seat(&self, row: usize) -> Option<Seat> {
        self.seats.get(row).copied()
    }

    /// All of them, by tenant and name.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter()
    }

    /// The monitor of that name.
    #[must_use]
    pub fn named(&self, tenant: &str, name: &str) -> Option<&Row> {
        let row = self.rows.get(self.place(tenant, name))?;
        (row.spec.name() == name && &*row.spec.tenant.name == tenant).then_some(row)
    }

    /// The first row that does not come before that name.
    #[must_use]
    pub fn place(&self, tenant: &str, name: &str) -> usize {
        self.rows
            .partition_point(|row| (&*row.spec.tenant.name, row.spec.name()) < (tenant, name))
    }

    /// The rows of a tenant.
    #[must_use]
    pub fn of_tenant(&self, tenant: &str) -> Range<usize> {
        let found = self.tenants.binary_search_by(|(name, _)| (**name).cmp(tenant));
        found
            .ok()
            .and_then(|at| self.tenants.get(at))
            .map_or(0..0, |(_, rows)| rows.clone())
    }

    /// Names of labels that any monitor has, with how many values each has.
    #[must_use]
    pub fn labels(&self) -> Vec<(&Arc<str>, usize)> {
        let mut labels: Vec<_> = self
            .labels
            .iter()
            .map(|(name, column)| (name, column.values.len()))
            .collect();
        labels.sort_unstable();
        labels
    }

    /// The rows that a selector means.
    #[must_use]
    pub fn select(&self, selector: &Selector) -> Bits {
        let rows = self.rows.len();
        let mut bits = Bits::all(rows);
        for matcher in selector.matchers() {
            match Builtin::named(&matcher.label) {
                Some(Builtin::Tenant) => {
                    for (name, rows) in &self.tenants {
                        if !matcher.holds(name) {
                            rows.clone().for_each(|row| bits.remove(row));
                        }
                    }
                }
                Some(Builtin::Plugin) => self.plugins.sift(matcher, &mut bits, rows),
                Some(Builtin::Monitor) => self.sift_names(matcher, &mut bits),
                None => match self.labels.get(matcher.label.as_str()) {
                    Some(column) => column.sift(matcher, &mut bits, rows),
                    None if matcher.holds("") => {}
                    None => bits = Bits::none(rows),
                },
            }
        }
        bits
    }

    fn sift_names(&self, matcher: &Matcher, bits: &mut Bits) {
        let mut kept = Bits::none(self.rows.len());
        if let Some(name) = matcher.only() {
            for (tenant, rows) in &self.tenants {
                let row = self.place(tenant, name);
                if rows.contains(&row) && self.row(row).is_some_and(|row| row.spec.name() == name) {
                    kept.insert(row);
                }
            }
        } else {
            for row in bits.iter() {
                if self.row(row).is_some_and(|row| matcher.holds(row.spec.name())) {
                    kept.insert(row);
                }
            }
        }
        bits.keep(&kept);
    }

    /// The rows in whose names, tenants before them where these are not the operator's own, that text occurs, whatever the
    /// case of its letters.
    #[must_use]
    pub fn search(&self, text: &str) -> Bits {
        let mut bits = Bits::none(self.rows.len());
        let wanted = small(text);
        if wanted.contains('\0') {
            return bits;
        }
        if wanted.is_empty() {
            return Bits::all(self.rows.len());
        }
        let finder = memmem::Finder::new(wanted.as_bytes());
        let (mut row, mut from) = (0, 0);
        while let Some(found) = self.text.get(from..).and_then(|text| finder.find(text)) {
            let at = from + found;
            // As a rule it is one of the next few.
            let mut step = 1;
            while self.starts.get(row + step).is_some_and(|start| *start <= at) {
                row += step;
                step *= 2;
            }
            while step > 1 {
                step /= 2;
                if self.starts.get(row + step).is_some_and(|start| *start <= at) {
                    row += step;
                }
            }
            bits.insert(row);
            row += 1;
            match self.starts.get(row) {
                Some(next) => from = *next,
                None => break,
            }
        }
        bits
    }

    /// Of each of these rows that has that label: its value's number.
    #[must_use]
    pub fn values<'d>(&'d self, label: &str) -> Option<Values<'d>> {
        let column = match Builtin::named(label) {
            Some(Builtin::Plugin) => &self.plugins,
            Some(_) => return None,
            None => self.labels.get(label)?,
        };
        Some(Values { column })
    }

    /// Each tenant that has monitors, and its rows.
    pub fn tenants(&self) -> impl Iterator<Item = (&Arc<str>, Range<usize>)> {
        self.tenants.iter().map(|(name, rows)| (name, rows.clone()))
    }
}

/// What rows have for a label.
pub struct Values<'d> {
    column: &'d Column,
}

impl<'d> Values<'d> {
    /// All values, each at the place of its number.
    #[must_use]
    pub fn all(&self) -> &'d [Arc<str>] {
        &self.column.values
    }

    /// Rows that have one, in order, with its number.
    pub fn rows(&self) -> impl Iterator<Item = (usize, usize)> + 'd {
        let rows = self.column.rows.iter();
        rows.map(|(row, value)| (*row as usize, *value as usize))
    }
}

/// What all monitors of a class have.
struct Marked {
    labels: Box<[(usize, u32)]>,
    plugin: u32,
}

/// What sorts as the first bytes do.
fn prefix(name: &str) -> u128 {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    u128::from_be_bytes(bytes)
}

/// In small letters.
fn small(text: &str) -> String {
    if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        text.to_lowercase()
    }
}

/// The present directory: a handle, which sees what a reload changes.
#[derive(Clone, Debug, Default)]
pub struct Shelf(Arc<RwLock<Arc<Directory>>>);

impl Shelf {
    /// The present one.
    #[must_use]
    pub fn present(&self) -> Arc<Directory> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on it is this one.
    pub fn replace(&self, directory: Directory) {
        let before = {
            let mut present = self.0.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *present, Arc::new(directory))
        };
        // A million rows are dropped where nobody waits for the lock.
        drop(before);
    }
}
