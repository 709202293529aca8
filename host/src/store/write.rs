//! The thread that writes.
//!
//! It gathers what comes: of each monitor only the last state, facts in their order. A transaction begins as soon as
//! somebody waits for one of them, or what is there is a second old. If it fails, everything gathered stays, and is tried
//! again with growing pauses.

use super::{
    Figures, history,
    history::Sums,
    keep::{self, Named},
    story::Stories,
};
use crate::{
    clock::Clock,
    domain::{
        backoff::backoff,
        event::Event,
        host::StoreSettings,
        saved::MonitorKey,
        time::{Mono, Wall},
    },
    ledger::{Keeper, Next, Record, State},
};
use rusqlite::{Connection, TransactionBehavior, params};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// What nobody waits for is written that much later at most.
const LATEST: Duration = Duration::from_secs(1);
/// Records of one transaction; more begin the next.
const BATCH: usize = 8 * 1024;
/// Facts that wait while nothing can be written; beyond that the oldest are lost and counted.
const FACTS_MAX: usize = 50_000;
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often what is too old is looked for.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// Rows of the log of events that are kept.
const EVENTS_MAX: i64 = 100_000;

/// What waits to be written.
enum Item {
    State(Box<State>),
    Fact(MonitorKey, Box<Event>),
    Gone(MonitorKey, Wall),
}

/// All of that, in the order in which it came: what is said of a monitor holds from its place in that order.
#[derive(Default)]
struct Gathered {
    items: BTreeMap<u64, Item>,
    next: u64,
    /// The last state of each monitor.
    states: HashMap<MonitorKey, u64>,
    facts: VecDeque<u64>,
    /// The last number of those that were taken, whether their states were replaced since or not.
    seq: u64,
    urgent: bool,
    since: Option<Mono>,
}

impl Gathered {
    fn len(&self) -> usize {
        self.items.len()
    }

    fn push(&mut self, item: Item) -> u64 {
        let place = self.next;
        self.items.insert(place, item);
        self.next += 1;
        place
    }

    fn state(&mut self, state: Box<State>) {
        self.seq = self.seq.max(state.seq);
        self.urgent |= state.urgent;
        let key = state.key;
        let place = self.push(Item::State(state));
        if let Some(before) = self.states.insert(key, place) {
            self.items.remove(&before);
        }
    }

    fn gone(&mut self, key: MonitorKey, at: Wall) {
        if let Some(before) = self.states.remove(&key) {
            self.items.remove(&before);
        }
        self.push(Item::Gone(key, at));
    }

    /// True: the oldest fact had to make room.
    fn fact(&mut self, key: MonitorKey, event: Box<Event>) -> bool {
        let oldest = if self.facts.len() >= FACTS_MAX {
            self.facts.pop_front()
        } else {
            None
        };
        if let Some(oldest) = oldest {
            self.items.remove(&oldest);
        }
        let place = self.push(Item::Fact(key, event));
        self.facts.push_back(place);
        oldest.is_some()
    }
}

/// Writes.
pub struct Writer {
    connection: Connection,
    settings: StoreSettings,
    figures: Arc<Figures>,
    clock: Clock,
    stories: Stories,
    sums: Sums,
    gathered: Gathered,
    failures: u32,
    retry_at: Mono,
    forget_at: Mono,
}

impl Writer {
    /// Over that connection.
    pub fn new(connection: Connection, settings: StoreSettings, figures: Arc<Figures>, clock: Clock) -> Self {
        // What can't be read now can't be written either, which the first transaction says.
        let stories = Stories::read(&connection).unwrap_or_default();
        let now = clock.mono();
        Self {
            sums: Sums::new(&settings),
            connection,
            settings,
            figures,
            stories,
            gathered: Gathered::default(),
            failures: 0,
            retry_at: now,
            forget_at: now,
            clock,
        }
    }

    /// Until nothing more comes.
    pub fn run(mut self, keeper: &Keeper) {
        let mut end = false;
        while !end {
            let mut wait = self.patience();
            // Until when nothing is under way any more: a span is over only for whom no earlier check can come.
            let mut drained = None;
            loop {
                let before = self.clock.wall();
                match keeper.next(wait) {
                    Next::Record(record) => self.gather(keeper, record),
                    Next::Nothing => {
                        drained = Some(before);
                        break;
                    }
                    Next::End => {
                        end = true;
                        break;
                    }
                }
                let now = self.clock.mono();
                if self.failures > 0 {
                    // Whoever waits for a record waits for the next try: what comes meanwhile is taken, so that the
                    // scheduler always finds room.
                    if now >= self.retry_at {
                        break;
                    }
                    wait = self.patience();
                    continue;
                }
                if self.gathered.len() >= BATCH || now >= self.forget_at {
                    break;
                }
                // What is there already is taken with it.
                wait = if self.gathered.urgent {
                    Duration::ZERO
                } else {
                    self.patience()
                };
            }
            if let Some(until) = drained {
                self.sums.turn(until);
            }
            if end {
                self.sums.finish();
            }
            self.write_if_due(keeper, end);
            self.figures.cpu_ns.store(
                crate::domain::time::nanos(self.clock.thread_cpu()),
                Ordering::Relaxed,
            );
        }
        // The last sums are written before the end, in as many slices as that takes.
        while self.sums.waits() && self.failures == 0 {
            self.write_if_due(keeper, true);
        }
        let (states, facts) = (self.gathered.states.len(), self.gathered.facts.len());
        if states + facts > 0 {
            tracing::error!(
                "not on record, and unknown to the next start: {states} monitors in trouble as they are now, {facts} facts"
            );
        }
    }

    /// How long the next record may be waited for.
    fn patience(&self) -> Duration {
        let now = self.clock.mono();
        if self.failures > 0 {
            return self.retry_at.since(now).min(LATEST);
        }
        if self.sums.waits() {
            return Duration::ZERO;
        }
        self.gathered
            .since
            .map_or(LATEST, |since| since.after(LATEST).since(now))
    }

    fn gather(&mut self, keeper: &Keeper, record: Record) {
        match record {
            Record::State(state) => self.gathered.state(state),
            Record::Gone { key, at } => self.gathered.gone(key, at),
            Record::Fact { key, event } => {
                if self.gathered.fact(key, event) {
                    self.figures.lost.fetch_add(1, Ordering::Relaxed);
                    keeper.lose();
                }
            }
            Record::Places(places) => return self.sums.place(&places),
            Record::Samples { at, samples } => return self.sums.add(at, &samples),
        }
        let now = self.clock.mono();
        self.gathered.since.get_or_insert(now);
    }

    fn write_if_due(&mut self, keeper: &Keeper, end: bool) {
        let now = self.clock.mono();
        if self.failures > 0 && now < self.retry_at && !end {
            return;
        }
        let old = self
            .gathered
            .since
            .is_some_and(|since| now.since(since) >= LATEST);
        let due = self.gathered.urgent || old || end || self.gathered.len() >= BATCH;
        let forget = now >= self.forget_at;
        let anything = (due && self.gathered.len() > 0) || self.sums.waits() || forget;
        // After a failure, even nothing at all is tried: it shows whether writing works again.
        if !anything && self.failures == 0 {
            return;
        }
        match self.write(forget) {
            Ok((rows, more)) => {
                self.sums.written();
                let took = self.clock.mono().since(now);
                let figures = &self.figures;
                figures.commits.fetch_add(1, Ordering::Relaxed);
                figures.rows.fetch_add(rows as u64, Ordering::Relaxed);
                figures.slowest_us.fetch_max(
                    u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                    Ordering::Relaxed,
                );
                let seq = std::mem::take(&mut self.gathered).seq;
                if seq > 0 {
                    keeper.acknowledge(seq);
                }
                if forget && !more {
                    self.forget_at = now.after(FORGET_EVERY);
                }
                if self.failures > 0 {
                    self.failures = 0;
                    tracing::warn!("the store writes again");
                    keeper.set_trouble(None);
                }
            }
            Err(error) => {
                self.figures.failures.fetch_add(1, Ordering::Relaxed);
                self.failures = self.failures.saturating_add(1);
                self.retry_at = self
                    .clock
                    .mono()
                    .after(backoff(PAUSE_FIRST, self.failures, PAUSE_MAX));
                // Who was told of it in the transaction was not told of it on disk.
                self.stories = Stories::read(&self.connection).unwrap_or_default();
                let message = error.to_string();
                if self.failures == 1 {
                    tracing::error!("nothing can be put on record: {message}");
                }
                keeper.set_trouble(Some(&message));
            }
        }
    }

    /// One transaction. Returns how many rows it wrote, and whether there is more to forget.
    fn write(&mut self, forget: bool) -> rusqlite::Result<(usize, bool)> {
        let now = self.clock.wall();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut rows = self.gathered.len();
        for item in self.gathered.items.values() {
            match item {
                Item::Fact(key, event) => self.stories.take(&transaction, *key, event)?,
                Item::Gone(key, at) => {
                    self.stories.gone(&transaction, *key, *at)?;
                    keep::forget(&transaction, *key)?;
                }
                Item::State(state) => {
                    let named = Named {
                        key: state.key,
                        tenant: &state.spec.tenant.name,
                        name: state.spec.name(),
                    };
                    let saved = state.saved.as_deref();
                    let opened = saved.and_then(|saved| saved.health.opened());
                    self.stories.settle(&transaction, &named, state.at, opened)?;
                    keep::put(&transaction, &named, state.at, saved)?;
                }
            }
        }
        rows += self.sums.write(&transaction, &self.settings)?;
        let mut more = false;
        if forget {
            let count = history::forget(&transaction, &self.settings, now)?
                + forget_stories(&transaction, &self.settings, now)?;
            more = count > 0;
            rows += count;
        }
        transaction.commit()?;
        Ok((rows, more))
    }
}

/// Deletes episodes that are over for longer than they are kept, and the oldest events. Returns how many rows.
fn forget_stories(
    transaction: &rusqlite::Transaction<'_>,
    settings: &StoreSettings,
    now: Wall,
) -> rusqlite::Result<usize> {
    let oldest = Wall(
        now.0
            .saturating_sub(crate::domain::time::millis(settings.incidents)),
    );
    let oldest = keep::time(oldest);
    let steps = transaction
        .prepare_cached(
            "DELETE FROM step WHERE incident IN
             (SELECT id FROM incident WHERE opened_at < ?1 AND closed_at < ?1 ORDER BY opened_at LIMIT 100)",
        )?
        .execute([oldest])?;
    let incidents = transaction
        .prepare_cached(
            "DELETE FROM incident WHERE id IN
             (SELECT id FROM incident WHERE opened_at < ?1 AND closed_at < ?1 ORDER BY opened_at LIMIT 100)",
        )?
        .execute([oldest])?;
    let events = transaction
        .prepare_cached(
            "DELETE FROM event WHERE id IN (SELECT id FROM event
             WHERE id <= (SELECT coalesce(max(id), 0) FROM event) - ?1 OR at < ?2 ORDER BY id LIMIT 1000)",
        )?
        .execute(params![EVENTS_MAX, oldest])?;
    Ok(steps + incidents + events)
}
