//! Checks over time: for each monitor and span, how many there were, how they ended and how long they took.
//!
//! The present span of every monitor is summed up in memory, in one dense table by place. When it is over, its rows are
//! written in the order of keys, a slice at a time: rows that lie side by side in the database are written side by side,
//! and nobody who waits for a commit waits for a million rows.

use super::keep::{column, time};
use crate::{
    domain::{
        host::StoreSettings,
        saved::MonitorKey,
        sketch::Sketch,
        time::{Wall, millis},
    },
    ledger::{Place, Sample, Verdict},
};
use rusqlite::{OptionalExtension as _, Transaction, params};
use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

/// Rows of one transaction. Thirty milliseconds' work.
const SLICE: u32 = 8 * 1024;
/// Spans that wait while nothing can be written.
const OVER_MAX: usize = 2;

/// Spans of time by which checks are summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Five minutes.
    Fine,
    /// An hour.
    Hour,
    /// A day, by UTC.
    Day,
}

impl Span {
    /// All of them, the shortest first.
    pub const ALL: [Self; 3] = [Self::Fine, Self::Hour, Self::Day];

    /// Its length.
    #[must_use]
    pub fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Fine => 300,
            Self::Hour => 3600,
            Self::Day => 86_400,
        })
    }

    /// Its name in queries.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fine => "5m",
            Self::Hour => "1h",
            Self::Day => "1d",
        }
    }

    /// The span of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|span| span.name() == name)
    }

    /// How long its rows are kept; zero: there are none.
    #[must_use]
    pub fn kept(self, settings: &StoreSettings) -> Duration {
        match self {
            Self::Fine => settings.history_fine,
            Self::Hour => settings.history_hour,
            Self::Day => settings.history_day,
        }
    }

    /// As it stands in the database: seconds.
    #[must_use]
    pub fn column(self) -> i64 {
        i64::try_from(self.length().as_secs()).unwrap_or(i64::MAX)
    }

    /// The begin of the span in which a point lies.
    #[must_use]
    pub fn begin(self, at: Wall) -> Wall {
        Wall(at.0 - at.0 % millis(self.length()).max(1))
    }
}

/// One monitor's checks in one span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// When the span began.
    pub at: Wall,
    /// Checks.
    pub runs: u64,
    /// Those that found the target failing.
    pub failures: u64,
    /// Those that could not tell.
    pub faults: u64,
    /// The shortest, in microseconds.
    pub min_us: u64,
    /// All of them together, in microseconds.
    pub sum_us: u64,
    /// The longest, in microseconds.
    pub max_us: u64,
    /// What [`PERCENTILES`] of them did not exceed, in microseconds, where that is kept.
    pub percentiles: Option<[u64; PERCENTILES.len()]>,
}

/// Of a hundred checks.
pub const PERCENTILES: [u32; 3] = [50, 95, 99];

/// What of a sketch is told.
#[must_use]
pub fn percentiles(sketch: &[u8]) -> Option<[u64; PERCENTILES.len()]> {
    let sketch = Sketch::decoded(sketch).filter(|sketch| !sketch.is_empty())?;
    Some(PERCENTILES.map(|percent| sketch.percentile(percent).unwrap_or_default()))
}

/// The same, while it is being summed up. 24 bytes: there is one for each place.
#[derive(Clone, Copy, Debug)]
struct Sum {
    sum_us: u64,
    min_us: u32,
    max_us: u32,
    // Saturating: no monitor is checked 65,535 times in five minutes.
    runs: u16,
    failures: u16,
    faults: u16,
}

const EMPTY: Sum = Sum {
    sum_us: 0,
    min_us: u32::MAX,
    max_us: 0,
    runs: 0,
    failures: 0,
    faults: 0,
};

impl Sum {
    fn add(&mut self, sample: &Sample) {
        self.runs = self.runs.saturating_add(1);
        match sample.verdict {
            Verdict::Alive => {}
            Verdict::Failed => self.failures = self.failures.saturating_add(1),
            Verdict::Fault => self.faults = self.faults.saturating_add(1),
        }
        self.sum_us += u64::from(sample.took_us);
        self.min_us = self.min_us.min(sample.took_us);
        self.max_us = self.max_us.max(sample.took_us);
    }
}

/// A span that is over: its begin, its rows in the order of keys, and how many of them are written.
#[derive(Debug)]
struct Over {
    began: Wall,
    rows: Vec<(MonitorKey, Sum)>,
    /// Of those that have one.
    sketches: HashMap<MonitorKey, Sketch>,
    done: usize,
}

/// What is being summed up.
#[derive(Debug)]
pub struct Sums {
    /// By place. The host's own entry has none, and so stands for nobody.
    keys: Vec<MonitorKey>,
    sums: Vec<Sum>,
    /// By place, of those monitors that are to have one.
    sketches: HashMap<u32, Sketch>,
    began: Option<Wall>,
    /// Spans that are over and not written yet, the earliest first.
    over: VecDeque<Over>,
    on: bool,
}

impl Sums {
    /// Nothing yet.
    #[must_use]
    pub fn new(settings: &StoreSettings) -> Self {
        Self {
            keys: Vec::new(),
            sums: Vec::new(),
            sketches: HashMap::new(),
            began: None,
            over: VecDeque::new(),
            on: Span::ALL.iter().any(|span| !span.kept(settings).is_zero()),
        }
    }

    /// Monitors have these places from now on. What was summed up for whoever had one before is written first.
    pub fn place(&mut self, places: &[Place]) {
        if !self.on {
            return;
        }
        for Place {
            place: at,
            key,
            quantiles,
        } in places
        {
            let place = *at as usize;
            if place >= self.keys.len() {
                self.keys.resize(place + 1, MonitorKey::HOST);
                self.sums.resize(place + 1, EMPTY);
            }
            let (Some(known), Some(sum)) = (self.keys.get_mut(place), self.sums.get_mut(place)) else {
                continue;
            };
            let before = std::mem::replace(known, *key);
            if before != MonitorKey::HOST && before != *key {
                // A monitor that is gone: its part of a span is not worth a row of its own.
                *sum = EMPTY;
                self.sketches.remove(at);
            }
            if *quantiles {
                self.sketches.entry(*at).or_default();
            } else {
                self.sketches.remove(at);
            }
        }
    }

    /// Checks ended at that time.
    pub fn add(&mut self, at: Wall, samples: &[Sample]) {
        if !self.on {
            return;
        }
        self.turn(at);
        for sample in samples {
            if let Some(sum) = self.sums.get_mut(sample.place as usize) {
                sum.add(sample);
            }
            if !self.sketches.is_empty()
                && let Some(sketch) = self.sketches.get_mut(&sample.place)
            {
                sketch.record(u64::from(sample.took_us));
            }
        }
    }

    /// The time went on: a span may be over.
    pub fn turn(&mut self, at: Wall) {
        let begin = Span::Fine.begin(at);
        // A clock that was set back does not end a span twice.
        if self.began.is_some_and(|began| begin > began) {
            self.finish();
        }
        if self.on && self.began.is_none() {
            self.began = Some(begin);
        }
    }

    /// Ends the present span.
    pub fn finish(&mut self) {
        let Some(began) = self.began.take() else {
            return;
        };
        let summed_up = self.sums.iter().filter(|sum| sum.runs > 0).count();
        let mut rows: Vec<(MonitorKey, Sum)> = Vec::with_capacity(summed_up);
        rows.extend(
            self.keys
                .iter()
                .zip(&mut self.sums)
                .filter(|(key, sum)| **key != MonitorKey::HOST && sum.runs > 0)
                .map(|(key, sum)| (*key, std::mem::replace(sum, EMPTY))),
        );
        // In the order in which the database has them.
        rows.sort_unstable_by_key(|(key, _)| column(*key));
        // While nothing can be written, what is older gives way.
        if self.over.len() >= OVER_MAX {
            self.over.pop_front();
        }
        let keys = &self.keys;
        let sketches = self.sketches.iter_mut().filter(|(_, sketch)| !sketch.is_empty());
        let sketches = sketches
            .filter_map(|(place, sketch)| Some((*keys.get(*place as usize)?, std::mem::take(sketch))));
        self.over.push_back(Over {
            began,
            rows,
            sketches: sketches.collect(),
            done: 0,
        });
    }

    /// Whether rows wait to be written.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.over.is_empty()
    }

    /// Writes the next slice. What was written counts only once the transaction is committed: see [`Sums::written`].
    ///
    /// # Errors
    /// What SQLite says.
    pub fn write(&self, transaction: &Transaction<'_>, settings: &StoreSettings) -> rusqlite::Result<usize> {
        let Some(Over {
            began,
            rows,
            sketches,
            done,
        }) = self.over.front()
        else {
            return Ok(0);
        };
        let slice = rows.iter().skip(*done).take(SLICE as usize);
        let mut count = 0;
        for span in Span::ALL {
            if span.kept(settings).is_zero() {
                continue;
            }
            let bucket = time(span.begin(*began));
            let mut statement = transaction.prepare_cached(
                "INSERT INTO history (span, bucket, key, runs, failures, faults, min_us, sum_us, max_us)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                 ON CONFLICT (span, bucket, key) DO UPDATE SET
                     runs = runs + excluded.runs,
                     failures = failures + excluded.failures,
                     faults = faults + excluded.faults,
                     min_us = min(min_us, excluded.min_us),
                     sum_us = sum_us + excluded.sum_us,
                     max_us = max(max_us, excluded.max_us)",
            )?;
            for (key, sum) in slice.clone() {
                count += 1;
                statement.execute(params![
                    span.column(),
                    bucket,
                    column(*key),
                    sum.runs,
                    sum.failures,
                    sum.faults,
                    sum.min_us,
                    i64::try_from(sum.sum_us).unwrap_or(i64::MAX),
                    sum.max_us
                ])?;
                if let Some(sketch) = sketches.get(key) {
                    add_sketch(transaction, span, bucket, *key, sketch)?;
                }
            }
        }
        Ok(count)
    }

    /// The slice of [`Sums::write`] is on disk.
    pub fn written(&mut self) {
        if let Some(over) = self.over.front_mut() {
            over.done += SLICE as usize;
            if over.done >= over.rows.len() {
                self.over.pop_front();
            }
        }
    }
}

/// Deletes rows that are older than they are kept, at most a slice of them. Returns how many.
///
/// # Errors
/// What SQLite says.
pub fn forget(transaction: &Transaction<'_>, settings: &StoreSettings, now: Wall) -> rusqlite::Result<usize> {
    let mut count = 0;
    for span in Span::ALL {
        let oldest = Wall(now.0.saturating_sub(millis(span.kept(settings))));
        for table in ["history", "quantile"] {
            count += transaction
                .prepare_cached(&format!(
                    "DELETE FROM {table} WHERE (span, bucket, key) IN
                     (SELECT span, bucket, key FROM {table} WHERE span = ?1 AND bucket < ?2 LIMIT ?3)"
                ))?
                .execute(params![span.column(), time(span.begin(oldest)), SLICE])?;
        }
    }
    Ok(count)
}

/// Adds to the sketch of that span, if there is one already.
fn add_sketch(
    transaction: &Transaction<'_>,
    span: Span,
    bucket: i64,
    key: MonitorKey,
    sketch: &Sketch,
) -> rusqlite::Result<()> {
    let row = params![span.column(), bucket, column(key)];
    let known: Option<Vec<u8>> = transaction
        .prepare_cached("SELECT sketch FROM quantile WHERE span = ?1 AND bucket = ?2 AND key = ?3")?
        .query_row(row, |row| row.get(0))
        .optional()?;
    let mut all = known
        .and_then(|known| Sketch::decoded(&known))
        .unwrap_or_default();
    all.add(sketch);
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO quantile (span, bucket, key, sketch) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![span.column(), bucket, column(key), all.encoded()])?;
    Ok(())
}
