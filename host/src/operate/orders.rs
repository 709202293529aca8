//! What operators say of monitors, put into effect as long as it holds.
//!
//! An order is kept, not carried out once: at each of its edges, after each reload and each change what ought to be marked
//! is held against the board, and the scheduler hears the difference. So a window of maintenance meets monitors that come
//! while it lasts, and nothing is forgotten that a restart interrupts.
//!
//! Architecture invariant: what somebody was told is in effect is on record too, or he was told that it is not.

use super::{
    bits::Bits,
    directory::{Directory, Shelf},
};
use crate::{
    clock::Clock,
    domain::{
        board::{Board, Mark, Seat},
        job::MonitorId,
        order::{Order, What, Whom},
        saved::MonitorKey,
        spec::MonitorSpec,
        time::Wall,
    },
    scheduler::{Control, Scheduler, control::Unasked},
    store::Said,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// Orders that are not in the configuration.
pub const ORDERS_MAX: usize = 10_000;
/// Of these, those with a selector: each is held against all monitors.
pub const SELECTORS_MAX: usize = 1_000;
/// A clock that was set meanwhile is noticed after that time.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Before a scheduler that has no time is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// Marks that orders alone set and take away.
const KEPT: [What; 3] = [What::Pause, What::Maintenance, What::Silence];

/// A handle on all orders. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Orders(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    book: Mutex<Book>,
    said: Option<Said>,
    clock: Clock,
    changed: Notify,
    /// One at a time holds orders against the board.
    settling: tokio::sync::Mutex<Last>,
}

#[derive(Debug, Default)]
struct Book {
    own: BTreeMap<Arc<str>, Arc<Order>>,
    configured: Vec<Arc<Order>>,
}

/// What was in effect when orders were held against the board last.
#[derive(Debug, Default)]
struct Last {
    /// Of the configuration's monitors.
    directory: Option<Arc<Directory>>,
    held: Vec<Arc<Order>>,
}

/// Why an order was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There are as many as there may be.
    Full,
    /// It stands in the configuration.
    Configured,
    /// There is none of that id.
    Absent,
}

/// What is to be said to the scheduler.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    mark: Mark,
    on: bool,
    why: Arc<str>,
    monitors: Vec<MonitorId>,
}

impl Orders {
    /// Those on record.
    #[must_use]
    pub fn new(said: Option<Said>, clock: Clock) -> Self {
        let mut own = BTreeMap::new();
        if let Some(said) = &said {
            match said.all() {
                Ok((orders, unread)) => {
                    own.extend(
                        orders
                            .into_iter()
                            .map(|order| (Arc::clone(&order.id), Arc::new(order))),
                    );
                    if unread > 0 {
                        tracing::error!(
                            "{unread} pauses, silences, acknowledgements or windows on record can't be read, and are not in effect"
                        );
                    }
                }
                Err(error) => tracing::error!(
                    "pauses, silences, acknowledgements and windows on record can't be read, and are not in effect: {error}"
                ),
            }
        }
        Self(Arc::new(Inner {
            book: Mutex::new(Book {
                own,
                configured: Vec::new(),
            }),
            said,
            clock,
            changed: Notify::new(),
            settling: tokio::sync::Mutex::default(),
        }))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on these stand in the configuration; its monitors may be others too.
    pub fn configure(&self, windows: Vec<Order>) {
        self.book().configured = windows.into_iter().map(Arc::new).collect();
        self.0.changed.notify_one();
    }

    /// There are other monitors now.
    pub fn moved(&self) {
        self.0.changed.notify_one();
    }

    /// All that are not over, those of the configuration first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Order>> {
        let now = self.0.clock.wall();
        let book = self.book();
        let all = book.configured.iter().chain(book.own.values());
        all.filter(|order| !order.schedule.is_over(now))
            .cloned()
            .collect()
    }

    /// That one.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<Order>> {
        self.all().into_iter().find(|order| &*order.id == id)
    }

    /// Takes an order, and has it on disk. Blocks for that. `Ok(Err)`: it is taken, but not on record, and why.
    ///
    /// # Errors
    /// There are too many.
    pub fn add(&self, order: Order) -> Result<Result<(), String>, Refused> {
        let order = Arc::new(order);
        {
            let mut book = self.book();
            let selectors = |order: &Order| matches!(order.whom, Whom::All { .. });
            let full = book.own.len() >= ORDERS_MAX
                || selectors(&order)
                    && book.own.values().filter(|order| selectors(order)).count() >= SELECTORS_MAX;
            if full && !book.own.contains_key(&order.id) {
                return Err(Refused::Full);
            }
            book.own.insert(Arc::clone(&order.id), Arc::clone(&order));
        }
        Ok(match &self.0.said {
            Some(said) => said.put(&order),
            None => Err("the store is off".to_owned()),
        })
    }

    /// Takes an order back. Blocks until that is on disk. `Ok(Err)`: it is taken back, but a restart brings it again.
    ///
    /// # Errors
    /// There is none of that id, or it stands in the configuration.
    pub fn remove(&self, id: &str) -> Result<Result<(), String>, Refused> {
        let mut book = self.book();
        if book.own.remove(id).is_none() {
            return Err(if book.configured.iter().any(|order| &*order.id == id) {
                Refused::Configured
            } else {
                Refused::Absent
            });
        }
        drop(book);
        Ok(self.0.said.as_ref().map_or(Ok(()), |said| said.remove(id)))
    }

    /// Puts into effect what holds at this moment, before anything was checked. `monitors` and `seats` are the
    /// scheduler's, in the same order.
    pub fn begin(&self, scheduler: &mut Scheduler, monitors: &[MonitorSpec], seats: &[Seat]) {
        let now = self.0.clock.wall();
        let held: Vec<Arc<Order>> = self
            .all()
            .into_iter()
            .filter(|order| order.schedule.holds(now))
            .collect();
        if held.is_empty() {
            return;
        }
        let mut one: HashMap<u64, Vec<&Arc<Order>>> = HashMap::new();
        let mut many = Vec::new();
        for order in &held {
            match &order.whom {
                Whom::One { key, .. } => one.entry(*key).or_default().push(order),
                Whom::All { .. } => many.push(order),
            }
        }
        for (spec, seat) in monitors.iter().zip(seats) {
            let of_one = match one.is_empty() {
                true => None,
                false => one.get(&MonitorKey::of(spec).0),
            };
            let own = of_one.into_iter().flatten().copied();
            for order in own.chain(many.iter().copied().filter(|order| order.whom.means(spec))) {
                if order.what == What::Acknowledgement {
                    // Of another incident, it is over.
                    let open = scheduler.detail(seat.monitor).and_then(|detail| detail.incident);
                    if open.map(|incident| incident.id).as_deref() != order.incident.as_deref() {
                        continue;
                    }
                }
                scheduler.mark(&[seat.monitor], order.what.mark(), true, &why(order));
            }
        }
    }

    /// Holds what ought to be marked against the board, and has the scheduler mark the difference. How many monitors
    /// that changed. Whoever has just changed an order waits for this.
    ///
    /// # Errors
    /// When the scheduler has no time; what is left is done later.
    pub async fn settle(
        &self,
        shelf: &Shelf,
        board: &Arc<Board>,
        control: &Control,
    ) -> Result<usize, Unasked> {
        let mut last = self.0.settling.lock().await;
        self.settle_as(&mut last, shelf, board, control).await
    }

    async fn settle_as(
        &self,
        last: &mut Last,
        shelf: &Shelf,
        board: &Arc<Board>,
        control: &Control,
    ) -> Result<usize, Unasked> {
        let directory = shelf.present();
        let now = self.0.clock.wall();
        let held: Vec<Arc<Order>> = self
            .all()
            .into_iter()
            .filter(|order| order.schedule.holds(now))
            .collect();
        let before = std::mem::take(&mut last.held);
        let (seen, lying, now_held) = (Arc::clone(&directory), Arc::clone(board), held.clone());
        let orders = self.clone();
        // A million monitors and a disk are no work for a thread that answers others.
        let found = tokio::task::spawn_blocking(move || {
            orders.forget(now);
            let (changes, done) = differences(&seen, &lying, &now_held, &before);
            for id in done {
                orders.take_off(&id);
            }
            changes
        });
        let Ok(changes) = found.await else {
            return Err(Unasked::Stopped);
        };
        let mut count = 0;
        for change in changes {
            match control
                .mark(&change.monitors, change.mark, change.on, &change.why)
                .await
            {
                Ok(marked) => count += marked,
                Err(unasked) => {
                    // What could not be said is found again.
                    *last = Last {
                        directory: None,
                        held,
                    };
                    self.0.changed.notify_one();
                    return Err(unasked);
                }
            }
        }
        *last = Last {
            directory: Some(directory),
            held,
        };
        Ok(count)
    }

    /// An incident of that monitor is acknowledged: the scheduler first, since it knows whether there is one. False: there
    /// is none any more.
    ///
    /// # Errors
    /// When the scheduler has no time.
    pub async fn acknowledge(
        &self,
        order: Order,
        seat: Seat,
        control: &Control,
    ) -> Result<Option<Result<Result<(), String>, Refused>>, Unasked> {
        // Nobody finds the mark without its order meanwhile.
        let _last = self.0.settling.lock().await;
        control
            .mark(&[seat.monitor], Mark::Acknowledged, true, &why(&order))
            .await?;
        let open = control
            .view(seat.monitor)
            .await?
            .and_then(|detail| detail.incident);
        if open.map(|incident| incident.id).as_deref() != order.incident.as_deref() {
            return Ok(None);
        }
        let orders = self.clone();
        let added = tokio::task::spawn_blocking(move || orders.add(order)).await;
        self.0.changed.notify_one();
        added.map(Some).map_err(|_| Unasked::Stopped)
    }

    /// What is over is off the record.
    fn forget(&self, now: Wall) {
        let over: Vec<Arc<str>> = {
            let book = self.book();
            let over = book.own.values().filter(|order| order.schedule.is_over(now));
            over.map(|order| Arc::clone(&order.id)).collect()
        };
        for id in over {
            self.take_off(&id);
        }
    }

    fn take_off(&self, id: &str) {
        if let Ok(Err(error)) = self.remove(id) {
            tracing::warn!("{id} is over, and can't be taken off the record: {error}");
        }
    }

    /// Keeps orders in effect until the host stops.
    pub async fn keep(self, shelf: Shelf, board: Arc<Board>, control: Control) {
        loop {
            let now = self.0.clock.wall();
            let orders = self.all();
            let edge = orders.iter().filter_map(|order| order.schedule.edge(now)).min();
            let until = edge.map_or(LOOK_EVERY, |edge| {
                Duration::from_millis(edge.0.saturating_sub(now.0)).min(LOOK_EVERY)
            });
            let told = tokio::time::timeout(until, self.0.changed.notified())
                .await
                .is_ok();
            let mut last = self.0.settling.lock().await;
            if !told && !self.is_news(&last, &shelf) {
                continue;
            }
            match self.settle_as(&mut last, &shelf, &board, &control).await {
                Ok(_) => {}
                Err(Unasked::Busy) => {
                    drop(last);
                    tokio::time::sleep(AGAIN).await;
                }
                Err(Unasked::Stopped) => return,
            }
        }
    }

    /// Whether anything may have to be marked otherwise than last time.
    fn is_news(&self, last: &Last, shelf: &Shelf) -> bool {
        let now = self.0.clock.wall();
        let held: Vec<Arc<Order>> = self
            .all()
            .into_iter()
            .filter(|order| order.schedule.holds(now))
            .collect();
        // Acknowledgements end with their incidents.
        held.iter().any(|order| order.what == What::Acknowledgement)
            || held.len() != last.held.len()
            || held.iter().zip(&last.held).any(|(one, other)| one.id != other.id)
            || !last
                .directory
                .as_ref()
                .is_some_and(|directory| Arc::ptr_eq(directory, &shelf.present()))
    }
}

/// Who said so, and why; of a window its name, which tells its alerts from another one's.
fn why(order: &Order) -> Arc<str> {
    match order.what {
        What::Maintenance => Arc::clone(&order.id),
        _ => order.why().into(),
    }
}

/// The rows that an order means.
fn rows(directory: &Directory, order: &Order) -> Bits {
    let mut rows = match &order.whom {
        Whom::All { selector, .. } => directory.select(selector),
        Whom::One { tenant, monitor, key } => {
            let mut rows = Bits::none(directory.len());
            let named = directory.place(tenant, monitor);
            let is_it = |row: usize| {
                directory
                    .spec(row)
                    .is_some_and(|spec| MonitorKey::of(spec).0 == *key)
            };
            let found = match is_it(named) {
                true => Some(named),
                // It may have another name by now.
                false => directory.of_tenant(tenant).find(|row| is_it(*row)),
            };
            if let Some(row) = found {
                rows.insert(row);
            }
            return rows;
        }
    };
    if let Some(tenant) = order.whom.tenant() {
        let own = directory.of_tenant(tenant);
        for row in (0..own.start).chain(own.end..directory.len()) {
            rows.remove(row);
        }
    }
    rows
}

/// What must be said so that the board shows what these orders say, and the acknowledgements whose incident is over.
/// `before`: what held the last time.
fn differences(
    directory: &Directory,
    board: &Board,
    held: &[Arc<Order>],
    before: &[Arc<Order>],
) -> (Vec<Change>, Vec<Arc<str>>) {
    let mut changes = Vec::new();
    let mut done = Vec::new();
    let marked = |row: usize, mark: Mark| {
        let seat = directory.seat(row)?;
        Some((seat.monitor, board.read(seat)?.marks.has(mark)))
    };
    // By place in `KEPT`, acknowledgements last.
    let mut wanted = [(); KEPT.len() + 1].map(|()| Bits::none(directory.len()));
    for order in held {
        let at = KEPT
            .iter()
            .position(|what| *what == order.what)
            .unwrap_or(KEPT.len());
        let Some(wanted) = wanted.get_mut(at) else {
            continue;
        };
        let means = rows(directory, order);
        let mark = order.what.mark();
        if order.what == What::Acknowledgement {
            // The scheduler takes the mark away when the incident ends.
            let holds = means
                .iter()
                .any(|row| marked(row, mark).is_some_and(|(_, is)| is));
            if !holds {
                done.push(Arc::clone(&order.id));
            }
        } else {
            let monitors: Vec<MonitorId> = means
                .iter()
                .filter(|row| !wanted.has(*row))
                .filter_map(|row| marked(row, mark))
                .filter_map(|(monitor, is)| (!is).then_some(monitor))
                .collect();
            if !monitors.is_empty() {
                changes.push(Change {
                    mark,
                    on: true,
                    why: why(order),
                    monitors,
                });
            }
        }
        wanted.add(&means);
    }
    // Whose order is over: as a rule one that held the last time.
    let ended: Vec<&Arc<Order>> = before
        .iter()
        .filter(|order| !held.iter().any(|other| other.id == order.id))
        .collect();
    let ended: Vec<(&Arc<Order>, Bits)> = ended
        .into_iter()
        .map(|order| (order, rows(directory, order)))
        .collect();
    let mut off: BTreeMap<(usize, Arc<str>), Vec<MonitorId>> = BTreeMap::new();
    directory.standings(board, &(0..directory.len()), None, |row, _, standing| {
        let marks = standing.marks;
        if marks == Default::default() {
            return;
        }
        let Some(seat) = directory.seat(row) else {
            return;
        };
        let whats = KEPT.into_iter().chain([What::Acknowledgement]);
        for ((at, what), wanted) in whats.enumerate().zip(&wanted) {
            if marks.has(what.mark()) && !wanted.has(row) {
                let why = ended
                    .iter()
                    .find(|(order, rows)| order.what == what && rows.has(row))
                    .map_or_else(|| Arc::from(""), |(order, _)| why(order));
                off.entry((at, why)).or_default().push(seat.monitor);
            }
        }
    });
    changes.extend(off.into_iter().map(|((at, why), monitors)| Change {
        mark: KEPT.get(at).copied().unwrap_or(What::Acknowledgement).mark(),
        on: false,
        why,
        monitors,
    }));
    (changes, done)
}
