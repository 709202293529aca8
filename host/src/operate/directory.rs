//! The directory: which monitors there are, ordered by name and found by label and text, for whoever asks from another
//! thread. Each reload makes a new one beside the old; how monitors stand is on the [`Board`](crate::domain::board::Board).
//!
//! Architecture invariant: nobody who asks makes the scheduler wait, and no question takes longer than a look at each row.

use super::bits::Bits;
use crate::domain::{
    board::{Board, Seat, Standing, short_tag},
    job::MonitorId,
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
///
/// There is a row for each, and what is kept of it lies in columns: a question reads those that it is about, from one end to
/// the other. What monitors of a class have in common is kept of the class.
#[derive(Debug, Default)]
pub struct Directory {
    /// By tenant, then by name.
    specs: Vec<MonitorSpec>,
    monitors: Vec<MonitorId>,
    /// Where each is on the board.
    slots: Vec<u32>,
    /// Which of `classes` each has.
    class_of: Vec<u32>,
    /// Who is at each place of the board.
    places: Vec<Place>,
    classes: Classes,
    /// Each tenant that has monitors, and its rows.
    tenants: Vec<(Arc<str>, Range<usize>)>,
    /// What is searched: `name` or `tenant/name` of each in small letters, each ended by a zero byte.
    text: Vec<u8>,
    /// Where each begins.
    starts: Vec<usize>,
    /// The place of each in the list of all monitors.
    numbers: Vec<u32>,
    /// Where each was written.
    written: Places,
}

/// A place of the board, and the row that belongs to it.
#[derive(Clone, Copy, Debug)]
struct Place {
    row: u32,
    /// As [`Seat::tag`].
    tag: u32,
    /// As in `class_of`: here for whoever goes by place.
    class: u32,
}

/// There are fewer rows than that.
const NOBODY: Place = Place {
    row: u32::MAX,
    tag: u32::MAX,
    class: u32::MAX,
};

/// If at least one in so many rows is wanted, the whole board is read, and else those rows' places only.
const SWEEP_FROM: usize = 8;

/// The values that a label has.
#[derive(Debug, Default)]
struct Column {
    values: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
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
}

/// What all monitors of a class have.
#[derive(Debug, Default)]
struct Classes {
    /// By number of the column: label and values.
    columns: Vec<Column>,
    by_label: HashMap<Arc<str>, u32>,
    plugins: Column,
    /// Of each class: its plugin, and where its labels end, which begin where those of the one before end.
    classes: Vec<(u32, usize)>,
    /// Column and value.
    labels: Vec<(u32, u32)>,
}

impl Classes {
    fn add(&mut self, class: &Class) -> u32 {
        let plugin: Arc<str> = Builtin::Plugin.of(class).unwrap_or_default().into();
        let plugin = self.plugins.number(&plugin);
        for (name, value) in class.labels.iter() {
            let columns = &mut self.columns;
            let number = *self.by_label.entry(Arc::clone(name)).or_insert_with(|| {
                columns.push(Column::default());
                u32::try_from(columns.len() - 1).unwrap_or(u32::MAX)
            });
            if let Some(column) = self.columns.get_mut(number as usize) {
                let value = column.number(value);
                self.labels.push((number, value));
            }
        }
        self.classes.push((plugin, self.labels.len()));
        u32::try_from(self.classes.len() - 1).unwrap_or(u32::MAX)
    }

    /// Of each class, in order, its value's number in that column.
    fn values_of(&self, column: u32) -> impl Iterator<Item = Option<u32>> + '_ {
        let mut begin = 0;
        self.classes.iter().map(move |(_, end)| {
            let labels = self.labels.get(begin..*end).unwrap_or_default();
            begin = *end;
            labels
                .iter()
                .find(|(of, _)| *of == column)
                .map(|(_, value)| *value)
        })
    }

    fn column(&self, label: &str) -> Option<(u32, &Column)> {
        let number = *self.by_label.get(label)?;
        Some((number, self.columns.get(number as usize)?))
    }

    /// Takes out the classes that don't fulfil a condition about a label, or about the plugin.
    fn sift(&self, matcher: &Matcher, good: &mut [bool]) {
        let (column, values): (_, Vec<Option<u32>>) = match Builtin::named(&matcher.label) {
            Some(_) => (
                Some(&self.plugins),
                self.classes.iter().map(|(plugin, _)| Some(*plugin)).collect(),
            ),
            None => match self.column(&matcher.label) {
                Some((number, column)) => (Some(column), self.values_of(number).collect()),
                None => (None, vec![None; self.classes.len()]),
            },
        };
        let fulfilling = column
            .map(|column| column.fulfilling(matcher))
            .unwrap_or_default();
        // Who lacks the label has the empty value.
        let without = matcher.holds("");
        for (good, value) in good.iter_mut().zip(values) {
            *good &= value.map_or(without, |value| {
                fulfilling.get(value as usize).copied().unwrap_or_default()
            });
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
        let bytes = monitors.iter().map(|spec| spec.name().len() + 1).sum();
        let mut directory = Self {
            specs: Vec::with_capacity(order.len()),
            monitors: Vec::with_capacity(order.len()),
            slots: Vec::with_capacity(order.len()),
            class_of: Vec::with_capacity(order.len()),
            starts: Vec::with_capacity(order.len()),
            text: Vec::with_capacity(bytes),
            places: vec![NOBODY; seats.iter().map(|seat| seat.slot as usize + 1).max().unwrap_or(0)],
            numbers: Vec::with_capacity(order.len()),
            ..Self::default()
        };
        let mut numbers: HashMap<*const Class, u32> = HashMap::new();
        for (_, at) in order {
            let (Some(spec), Some(seat)) = (monitors.get(at), seats.get(at)) else {
                continue;
            };
            let class = spec.class();
            let classes = &mut directory.classes;
            let number = *numbers
                .entry(Arc::as_ptr(class))
                .or_insert_with(|| classes.add(class));
            directory.push(spec, *seat, number);
            directory.numbers.push(u32::try_from(at).unwrap_or(u32::MAX));
        }
        directory
    }

    fn push(&mut self, spec: &MonitorSpec, seat: Seat, class: u32) {
        let row = self.specs.len();
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
        if let Some(place) = self.places.get_mut(seat.slot as usize) {
            *place = Place {
                // Places on the board are as many.
                row: u32::try_from(row).unwrap_or(u32::MAX),
                tag: seat.tag,
                class,
            };
        }
        self.class_of.push(class);
        self.specs.push(spec.clone());
        self.monitors.push(seat.monitor);
        self.slots.push(seat.slot);
    }

    /// The same, which knows where each of the monitors was written.
    #[must_use]
    pub fn written(mut self, places: Places) -> Self {
        self.written = places;
        self
    }

    /// Who says what the monitor of that name is.
    #[must_use]
    pub fn owner(&self, tenant: &str, name: &str) -> Option<Owner> {
        self.named(tenant, name)?;
        let number = self.numbers.get(self.place(tenant, name))?;
        Some(self.written.owner(*number))
    }

    /// How many monitors there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.specs.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.specs.is_empty()
    }

    /// The monitor in that row.
    #[must_use]
    pub fn row(&self, row: usize) -> Option<Row> {
        let (spec, seat) = (self.spec(row)?.clone(), self.seat(row)?);
        Some(Row { spec, seat })
    }

    /// The configuration of the monitor in that row.
    #[must_use]
    pub fn spec(&self, row: usize) -> Option<&MonitorSpec> {
        self.specs.get(row)
    }

    /// The place on the board of the monitor in that row.
    #[must_use]
    pub fn seat(&self, row: usize) -> Option<Seat> {
        let slot = *self.slots.get(row)?;
        Some(Seat {
            monitor: *self.monitors.get(row)?,
            slot,
            tag: self.places.get(slot as usize)?.tag,
        })
    }

    /// How monitors stand, in no certain order: those in `scope`, and of them those in `bits` if there are such. Left out is
    /// who is gone since, or not there yet. Told is the row, the number of its class, and how it stands.
    pub fn standings(
        &self,
        board: &Board,
        scope: &Range<usize>,
        bits: Option<&Bits>,
        mut look: impl FnMut(usize, usize, Standing),
    ) {
        let wanted = bits.map_or(usize::MAX, Bits::count).min(scope.len());
        if wanted.saturating_mul(SWEEP_FROM) >= self.len() {
            board.sweep(|slot, tag, standing| {
                let place = self.places.get(slot as usize).unwrap_or(&NOBODY);
                let row = place.row as usize;
                if scope.contains(&row)
                    && short_tag(place.tag) == tag
                    && bits.is_none_or(|bits| bits.has(row))
                {
                    look(row, place.class as usize, standing);
                }
            });
            return;
        }
        let mut look = |row| {
            if let (Some(standing), Some(class)) = (
                self.seat(row).and_then(|seat| board.read(seat)),
                self.class_of.get(row),
            ) {
                look(row, *class as usize, standing);
            }
        };
        match bits {
            Some(bits) => bits.iter().filter(|row| scope.contains(row)).for_each(&mut look),
            None => scope.clone().for_each(&mut look),
        }
    }

    /// The monitor of that name.
    #[must_use]
    pub fn named(&self, tenant: &str, name: &str) -> Option<Row> {
        let row = self.place(tenant, name);
        let spec = self.spec(row)?;
        (spec.name() == name && &*spec.tenant.name == tenant).then(|| self.row(row))?
    }

    /// The first row that does not come before that name.
    #[must_use]
    pub fn place(&self, tenant: &str, name: &str) -> usize {
        self.specs
            .partition_point(|spec| (&*spec.tenant.name, spec.name()) < (tenant, name))
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
        let classes = &self.classes;
        let mut labels: Vec<_> = classes
            .by_label
            .iter()
            .filter_map(|(name, number)| Some((name, classes.columns.get(*number as usize)?.values.len())))
            .collect();
        labels.sort_unstable();
        labels
    }

    /// The rows that a selector means.
    #[must_use]
    pub fn select(&self, selector: &Selector) -> Bits {
        // What a class has is decided for each class, and looked up for each row once.
        let mut good = vec![true; self.classes.classes.len()];
        for matcher in selector.matchers() {
            if matches!(Builtin::named(&matcher.label), None | Some(Builtin::Plugin)) {
                self.classes.sift(matcher, &mut good);
            }
        }
        let mut bits = Bits::of(
            self.class_of
                .iter()
                .map(|class| good.get(*class as usize).copied().unwrap_or_default()),
        );
        for matcher in selector.matchers() {
            match Builtin::named(&matcher.label) {
                Some(Builtin::Tenant) => {
                    for (name, rows) in &self.tenants {
                        if !matcher.holds(name) {
                            rows.clone().for_each(|row| bits.remove(row));
                        }
                    }
                }
                Some(Builtin::Monitor) => self.sift_names(matcher, &mut bits),
                Some(Builtin::Plugin) | None => {}
            }
        }
        bits
    }

    fn sift_names(&self, matcher: &Matcher, bits: &mut Bits) {
        let mut kept = Bits::none(self.len());
        if let Some(name) = matcher.only() {
            for (tenant, rows) in &self.tenants {
                let row = self.place(tenant, name);
                if rows.contains(&row) && self.spec(row).is_some_and(|spec| spec.name() == name) {
                    kept.insert(row);
                }
            }
        } else {
            for row in bits.iter() {
                if self.spec(row).is_some_and(|spec| matcher.holds(spec.name())) {
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
        let mut bits = Bits::none(self.len());
        let wanted = small(text);
        if wanted.contains('\0') {
            return bits;
        }
        if wanted.is_empty() {
            return Bits::all(self.len());
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

    /// What classes have for that label. None: no monitor has it.
    #[must_use]
    pub fn values(&self, label: &str) -> Option<Values<'_>> {
        let classes = &self.classes;
        let (column, of_class) = match Builtin::named(label) {
            Some(Builtin::Plugin) => (
                &classes.plugins,
                classes.classes.iter().map(|(plugin, _)| Some(*plugin)).collect(),
            ),
            Some(_) => return None,
            None => {
                let (number, column) = classes.column(label)?;
                (column, classes.values_of(number).collect())
            }
        };
        Some(Values { column, of_class })
    }

    /// Each tenant that has monitors, and its rows.
    pub fn tenants(&self) -> impl Iterator<Item = (&Arc<str>, Range<usize>)> {
        self.tenants.iter().map(|(name, rows)| (name, rows.clone()))
    }
}

/// What classes have for a label.
pub struct Values<'d> {
    column: &'d Column,
    of_class: Vec<Option<u32>>,
}

impl<'d> Values<'d> {
    /// All values, each at the place of its number.
    #[must_use]
    pub fn all(&self) -> &'d [Arc<str>] {
        &self.column.values
    }

    /// The number of the value that monitors of a class have. None: they lack the label.
    #[must_use]
    pub fn of(&self, class: usize) -> Option<usize> {
        let value = *self.of_class.get(class)?;
        value.map(|value| value as usize)
    }
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
