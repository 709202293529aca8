//! Whatever comes, and in whatever order: what the store knows is what a plain map of the same records knows.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// Lives of a store, each with steps.
const RUNS: u64 = 12;
const STEPS: usize = 120;
const MONITORS: usize = 6;

/// Numbers that look like chance, and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// What is known of one monitor.
#[derive(Clone, Debug, Default, PartialEq)]
struct Known {
    /// What must be remembered of it, as JSON.
    saved: Option<serde_json::Value>,
    /// Its episodes: the steps of each, and whether it is open.
    stories: BTreeMap<String, (Vec<&'static str>, bool)>,
    /// Checks, failures and microseconds.
    sums: (u64, u64, u64),
}

/// A store, the map beside it, and the world that both are told of.
struct Pair {
    folder: TempDir,
    clock: Clock,
    hand: Arc<crate::clock::Hand>,
    running: Option<(Writer, Running)>,
    specs: Vec<MonitorSpec>,
    healths: Vec<Health>,
    episodes: Episodes,
    known: Vec<Known>,
    events: usize,
    seq: u64,
}

impl Pair {
    fn new() -> Self {
        let (clock, hand) = Clock::manual(NOW.mono, NOW.wall);
        let mut pair = Self {
            folder: TempDir::new().unwrap(),
            clock,
            hand,
            running: None,
            specs: (0..MONITORS).map(|number| spec(&format!("m-{number}"))).collect(),
            healths: (0..MONITORS).map(|_| Health::default()).collect(),
            episodes: Episodes::starting_at(NOW.wall),
            known: vec![Known::default(); MONITORS],
            events: 0,
            seq: 0,
        };
        pair.start();
        pair
    }

    fn start(&mut self) {
        let store = Store::open(self.folder.path(), StoreSettings::default(), self.clock.clone()).unwrap();
        let (writer, keeper) = ledger::ledger(Arc::new(Bell::default()));
        let running = store.start(keeper).unwrap();
        let places = (0u32..).zip(&self.specs).map(|(place, spec)| Place {
            place,
            key: MonitorKey::of(spec),
            quantiles: place % 2 == 0,
        });
        writer.try_send(Record::Places(places.collect())).unwrap();
        self.running = Some((writer, running));
    }

    fn send(&self, record: Record) {
        let (writer, _) = self.running.as_ref().unwrap();
        writer.try_send(record).unwrap();
    }

    fn now(&self) -> Now {
        self.clock.now()
    }

    fn tell(&self, monitor: usize, what: Fact) {
        self.tell_of(MonitorKey::of(&self.specs[monitor]), monitor, what);
    }

    fn tell_of(&self, key: MonitorKey, monitor: usize, what: Fact) {
        let event = Event {
            at: self.now().wall,
            monitor: MonitorId(monitor as u64 + 1),
            spec: self.specs[monitor].clone(),
            fact: what,
        };
        self.send(Record::Fact {
            key,
            event: Box::new(event),
        });
    }

    fn put_down(&mut self, monitor: usize) {
        self.seq += 1;
        let saved = Saved {
            health: self.healths[monitor].memory(self.now()),
            sinks: Vec::new(),
        };
        let saved = (!saved.is_blank()).then(|| Box::new(saved));
        self.known[monitor].saved = saved.as_ref().map(|saved| serde_json::to_value(saved).unwrap());
        self.send(Record::State(Box::new(State {
            seq: self.seq,
            at: self.now().wall,
            key: MonitorKey::of(&self.specs[monitor]),
            spec: self.specs[monitor].clone(),
            saved,
            urgent: self.seq.is_multiple_of(3),
        })));
    }

    fn report(&mut self, monitor: usize, status: Status) {
        let report = Report {
            status,
            summary: "so".to_owned(),
            reason: None,
            measurements: Vec::new(),
        };
        let (now, spec) = (self.now(), self.specs[monitor].clone());
        let before = self.healths[monitor].incident(&spec);
        let mut effects = Effects::default();
        self.healths[monitor].on_report(&spec, &report, now.mono, now, &mut self.episodes, &mut effects);
        match (before, self.healths[monitor].incident(&spec)) {
            (None, Some(incident)) => {
                self.known[monitor]
                    .stories
                    .insert(incident.id.clone(), (vec!["opened"], true));
                self.tell(monitor, Fact::Opened { incident });
            }
            (Some(before), None) => {
                let story = self.known[monitor].stories.get_mut(&before.id).unwrap();
                story.0.push("closed");
                story.1 = false;
                self.tell(
                    monitor,
                    Fact::Closed {
                        id: before.id,
                        lasted_ms: 1,
                    },
                );
            }
            (Some(incident), Some(_)) if status == Status::Unhealthy => {
                self.known[monitor]
                    .stories
                    .get_mut(&incident.id)
                    .unwrap()
                    .0
                    .push("incident");
                self.tell(
                    monitor,
                    Fact::Incident {
                        incident,
                        failures: 2,
                    },
                );
            }
            _ => {}
        }
        self.put_down(monitor);
    }

    fn checks(&mut self, chance: &mut Chance) {
        let mut samples = Vec::new();
        for _ in 0..chance.below(40) {
            let place = chance.below(MONITORS);
            let took_us = chance.below(5_000_000) as u32;
            let failed = chance.below(3) == 0;
            let sums = &mut self.known[place].sums;
            *sums = (
                sums.0 + 1,
                sums.1 + u64::from(failed),
                sums.2 + u64::from(took_us),
            );
            samples.push(Sample {
                place: place as u32,
                took_us,
                verdict: if failed { Verdict::Failed } else { Verdict::Alive },
            });
        }
        self.send(Record::Samples {
            at: self.now().wall,
            samples,
        });
    }

    fn step(&mut self, chance: &mut Chance) {
        let monitor = chance.below(MONITORS);
        match chance.below(12) {
            0..=3 => self.report(monitor, Status::Unhealthy),
            4..=6 => self.report(monitor, Status::Healthy),
            7 => self.checks(chance),
            8 => {
                // Into the next span of five minutes, or not yet.
                let ahead = chance.below(200_000) as u64;
                self.hand.set_wall(Wall(self.clock.wall().0 + ahead));
            }
            9 => {
                self.events += 1;
                self.tell_of(
                    MonitorKey::HOST,
                    monitor,
                    Fact::Unrecorded { message: "no".into() },
                );
            }
            10 => {
                self.drop_monitor(monitor);
            }
            _ => self.restart(),
        }
    }

    /// It is taken from the configuration, and another of that name is there again.
    fn drop_monitor(&mut self, monitor: usize) {
        let open = self.known[monitor].stories.values_mut().find(|(_, open)| *open);
        if let Some((words, open)) = open {
            words.push("removed");
            *open = false;
        }
        self.known[monitor].saved = None;
        self.healths[monitor] = Health::default();
        self.send(Record::Gone {
            key: MonitorKey::of(&self.specs[monitor]),
            at: self.now().wall,
        });
    }

    fn restart(&mut self) {
        let (writer, running) = self.running.take().unwrap();
        drop(writer);
        let written = running.stop();
        assert_eq!((written.lost, written.failures), (0, 0));
        self.compare();
        self.start();
    }

    /// Between two lives.
    fn compare(&self) {
        let store = Store::open(self.folder.path(), StoreSettings::default(), self.clock.clone()).unwrap();
        let recalled = store.recall().unwrap();
        let (writer, keeper) = ledger::ledger(Arc::new(Bell::default()));
        let running = store.start(keeper).unwrap();
        let reader = running.reader();
        let mut open = BTreeSet::new();
        for (spec, known) in self.specs.iter().zip(&self.known) {
            let key = MonitorKey::of(spec);
            let saved = recalled
                .get(&key)
                .map(|one| serde_json::to_value(&one.saved).unwrap());
            assert_eq!(saved, known.saved, "{}", spec.name());
            for (id, (words, is_open)) in &known.stories {
                let (row, steps) = reader.incident(id).unwrap().unwrap();
                let found: Vec<&str> = steps.iter().map(|step| &*step.what).collect();
                assert_eq!(
                    (&found, row.closed_at.is_none()),
                    (words, *is_open),
                    "{} {id}",
                    spec.name()
                );
                if *is_open {
                    open.insert(id.clone());
                }
            }
            for span in Span::ALL {
                let (from, to) = (Wall(NOW.wall.0 - 1), Wall(self.clock.wall().0 + 1));
                let points = reader.history(key, span, from, to).unwrap();
                let sums = points.iter().fold((0, 0, 0), |sums, point| {
                    (
                        sums.0 + point.runs,
                        sums.1 + point.failures,
                        sums.2 + point.sum_us,
                    )
                });
                assert_eq!(sums, known.sums, "{} by {}", spec.name(), span.name());
                let known_better = points.iter().all(|point| point.percentiles.is_some());
                assert!(
                    known_better || !spec.name().ends_with(['0', '2', '4']),
                    "{points:?}"
                );
            }
        }
        let found = Wanted {
            open: Some(true),
            limit: 1_000,
            ..Wanted::default()
        };
        let found = reader.incidents(&found).unwrap();
        assert_eq!(found.into_iter().map(|row| row.id).collect::<BTreeSet<_>>(), open);
        drop(writer);
        running.stop();
        let inspected = Inspected::open(self.folder.path()).unwrap().check().unwrap();
        assert!(inspected.is_well(), "{inspected:?}");
        assert_eq!(inspected.events, self.events as u64);
    }
}

#[test]
fn it_knows_what_a_plain_map_knows() {
    for run in 0..RUNS {
        let (mut pair, mut chance) = (Pair::new(), Chance(run));
        for _ in 0..STEPS {
            pair.step(&mut chance);
        }
        pair.restart();
        println!(
            "run {run}: {} incidents",
            pair.known.iter().map(|one| one.stories.len()).sum::<usize>()
        );
        drop(pair.running.take());
    }
}
