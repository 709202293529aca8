//! One world from its seed to its end: the real scheduler, scripted workers and targets, a clock moved by hand, and
//! the oracle that looks after every run.

use crate::{
    executor::Executor,
    oracle::{
        Oracle,
        ledger::{Ledger, Verdict, Violation},
        tick::Tick,
    },
    record::Record,
    rng::Rng,
    scenario::Scenario,
};
use pulse_host::{
    clock::{Clock, Hand},
    domain::{
        event::Event,
        job::JobResult,
        time::{Mono, Wall},
    },
    queue,
    scheduler::{Parts, Scheduler},
};
use std::{sync::Arc, time::Duration};

/// Runs of the schedule are never closer together.
const RUN_GAP: Duration = Duration::from_millis(1);
/// A run that is late by so much shows a stall.
const STALL_MIN: Duration = Duration::from_secs(1);
/// What may be published in one run, and far more than ever is.
const EVENTS: usize = 100_000;

/// How a world ended.
pub struct Ended {
    /// Simulated time.
    pub lived: Duration,
    pub runs: u64,
    pub ledger: Ledger,
    pub violation: Option<Box<Violation>>,
    pub record: Record,
}

struct World {
    rng: Rng,
    scenario: Scenario,
    scheduler: Scheduler,
    executor: Executor,
    oracle: Oracle,
    clock: Clock,
    hand: Arc<Hand>,
    events: async_channel::Receiver<Event>,
    /// Results that lie in the channel.
    sent: Vec<(usize, JobResult)>,
    ran_at: Mono,
    runs: u64,
    draining: bool,
    record: Record,
}

/// Lives a world. At most for `hours` of its rough time, where given.
pub fn live(seed: u64, hours: Option<f64>, record: bool) -> Ended {
    let mut rng = Rng::new(seed);
    let mut scenario = Scenario::new(&mut rng);
    if let Some(hours) = hours {
        scenario.rough = Duration::from_secs_f64(hours * 3600.0);
        scenario.runs = u64::MAX;
    }
    let record = Record::new(record);
    let start = Mono(rng.range(1, 1 << 40));
    let (clock, hand) = Clock::manual(start, Wall(1_700_000_000_000));
    let (outlets, inlets) = queue::channels(&scenario.settings.queues);
    let (sender, results, _bell) = queue::results(scenario.results);
    let (publish, events) = async_channel::bounded(EVENTS);
    let scheduler = Scheduler::new(Parts {
        monitors: scenario.monitors.clone(),
        host_entry: scenario.host_entry.clone(),
        settings: scenario.settings.clone(),
        outlets,
        results,
        events: publish,
        ledger: None,
        workers: scenario.workers,
        clock: clock.clone(),
    });
    let executor = Executor::new(rng.fork(), &scenario, inlets, sender, start);
    let oracle = match Oracle::new(&scheduler, &scenario, start) {
        Ok(oracle) => oracle,
        Err(violation) => {
            return Ended {
                lived: Duration::ZERO,
                runs: 0,
                ledger: Ledger::default(),
                violation: Some(violation),
                record,
            };
        }
    };
    let mut world = World {
        rng,
        scheduler,
        executor,
        oracle,
        clock,
        hand,
        events,
        sent: Vec::new(),
        ran_at: start,
        runs: 0,
        draining: false,
        scenario,
        record,
    };
    let violation = world.live(start).err();
    Ended {
        lived: world.clock.mono().since(start),
        runs: world.runs,
        ledger: world.oracle.ledger,
        violation,
        record: world.record,
    }
}

impl World {
    fn live(&mut self, start: Mono) -> Verdict {
        let end = start.after(self.scenario.rough);
        while self.clock.mono() < end && self.runs < self.scenario.runs {
            let mut next = self.run()?;
            if self.rng.permille(self.scenario.reloads) {
                self.reload()?;
                next = self.clock.mono();
            }
            self.go_on(next, true);
        }
        self.executor.calm();
        let calm = self.clock.mono().after(self.scenario.calm());
        while self.clock.mono() < calm {
            let next = self.run()?;
            self.go_on(next, false);
        }
        self.oracle.healed(&self.scheduler)?;
        self.draining = true;
        self.scheduler.drain();
        // Whatever is out comes back within its timeout and the time that it may wait.
        let drained = self.clock.mono().after(Duration::from_secs(60));
        while self.clock.mono() < drained {
            let next = self.run()?;
            self.go_on(next, false);
        }
        self.oracle.drained(&self.scheduler)
    }

    /// One run at the clock's time, looked at; when the next is due.
    fn run(&mut self) -> Verdict<Mono> {
        let (now, wall) = (self.clock.mono(), self.clock.wall());
        let gap = now.since(self.ran_at);
        let settings = &self.scenario.settings;
        let late = gap.saturating_sub(settings.tick);
        let stalled = if late >= STALL_MIN { late } else { Duration::ZERO };
        let next = self.scheduler.run();
        self.ran_at = now;
        self.runs += 1;
        let events: Vec<Event> = std::iter::from_fn(|| self.events.try_recv().ok()).collect();
        let tick = Tick {
            now,
            wall,
            gap,
            stalled,
            results: &self.sent,
            events: &events,
            draining: self.draining,
            queue_wait: settings.queue_wait,
            grace: settings.grace,
            max_hold: settings.max_hold,
        };
        self.record.run(&tick);
        self.oracle.run(&tick, &self.scheduler)?;
        self.sent.clear();
        let mut verdict = Ok(());
        let (oracle, record) = (&mut self.oracle, &mut self.record);
        self.executor.take(&self.scenario, now, |kind, batch| {
            record.taken(now, kind, batch);
            if verdict.is_ok() {
                verdict = oracle.taken(kind, batch);
            }
        });
        verdict?;
        Ok(next)
    }

    /// Moves the clock to the next thing that happens.
    fn go_on(&mut self, next: Mono, rough: bool) {
        let now = self.clock.mono();
        let tick = self.scenario.settings.tick;
        self.executor.send(&mut self.sent);
        let soonest = now.after(RUN_GAP);
        let mut at = next.min(self.executor.next_at());
        if !self.sent.is_empty() {
            at = soonest;
        } else if at == now.after(tick) {
            // Nothing but the tick: a scheduler that is late, but has not stalled.
            at = now
                .after(self.rng.ms(0, 900))
                .max(at)
                .min(self.executor.next_at());
        }
        at = at.max(soonest);
        let mut stalled = false;
        if rough && self.rng.permille(2) {
            stalled = true;
            at = now.after(tick + self.rng.ms(1_000, 90_000));
            self.oracle.ledger.see("stall");
        }
        let span = at.since(now);
        self.hand.advance(span);
        self.hand.set_mono(at);
        if rough && self.rng.permille(1) {
            self.step_wall();
        }
        self.executor.pass(at, stalled);
        self.executor.send(&mut self.sent);
        if self.executor.waits_for_room() {
            self.oracle.ledger.see("results wait for room");
        }
    }

    /// Another configuration takes the place of the present one.
    fn reload(&mut self) -> Verdict {
        self.scenario.reload(&mut self.rng);
        let told = self
            .scheduler
            .reload(self.scenario.monitors.clone(), self.scenario.host_entry.clone());
        let now = (self.clock.mono(), self.clock.wall());
        self.record.reload(now.0, &told);
        self.oracle
            .reloaded(&self.scheduler, &self.scenario.monitors, told, now)
    }

    /// An operator, or NTP, sets the wall clock.
    fn step_wall(&mut self) {
        let Wall(wall) = self.clock.wall();
        let by = self.rng.range(1, 7_200_000);
        if self.rng.permille(500) {
            self.oracle.ledger.see("wall clock stepped back");
            self.hand.set_wall(Wall(wall - by));
        } else {
            self.oracle.ledger.see("wall clock stepped on");
            self.hand.set_wall(Wall(wall + by));
        }
    }
}
