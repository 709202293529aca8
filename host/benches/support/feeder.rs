//! Plays the scheduler for the workers: sends jobs in batches, keeps so many under way, takes results.

use anyhow::{Result, bail};
use pulse_host::{
    clock::Clock,
    domain::{
        host::{HostSettings, PerKind},
        job::Job,
        outcome::{Answer, Outcome, Status},
        spec::{Kind, MonitorSpec},
    },
    queue::{self, Bell, Outlet, ResultReceiver},
    sandbox::{Library, Sandbox, Shelf, Workers},
};
use std::{iter::Cycle, sync::Arc, time::Duration, vec::IntoIter};

/// The feeder and the workers behind it.
pub struct Feeder {
    workers: Workers,
    outlets: PerKind<Outlet>,
    results: ResultReceiver,
    bell: Arc<Bell>,
    clock: Clock,
    specs: Cycle<IntoIter<MonitorSpec>>,
    pace: Pace,
    /// Whether what jobs do is noted, as of those that may open an incident.
    noted: bool,
}

/// How jobs are fed.
#[derive(Clone, Copy)]
pub struct Pace {
    /// That many are under way.
    pub window: usize,
    /// That many travel together at most.
    pub batch: usize,
    /// Between two looks for results: as the scheduler does it, or none.
    pub gap: Duration,
}

impl Feeder {
    /// For pulses of these monitors, in turn.
    pub fn start(
        sandbox: Arc<Sandbox>,
        library: Arc<Library>,
        settings: &HostSettings,
        clock: Clock,
        specs: Vec<MonitorSpec>,
        pace: Pace,
    ) -> Result<Self> {
        let (outlets, inlets) = queue::channels(&settings.queues);
        let (sender, results, bell) = queue::results(pace.window);
        bell.attend();
        let workers = Workers::start(
            sandbox,
            Shelf::new(library),
            inlets,
            sender,
            settings,
            clock.clone(),
        )?;
        Ok(Self {
            workers,
            outlets,
            results,
            bell,
            clock,
            specs: specs.into_iter().cycle(),
            pace,
            noted: false,
        })
    }

    /// From now on what jobs do is noted.
    pub fn note(&mut self) {
        self.noted = true;
    }

    /// Has that many jobs done. All must come out healthy.
    pub fn feed(&mut self, jobs: u64) -> Result<()> {
        let (mut sent, mut done) = (0_u64, 0_u64);
        while done < jobs {
            loop {
                let room = (self.pace.window - (sent - done) as usize).min((jobs - sent) as usize);
                let count = room.min(self.pace.batch);
                if count == 0 || !self.send(count) {
                    break;
                }
                sent += count as u64;
            }
            let before = done;
            while let Some(mut results) = self.results.try_recv() {
                done += results.len() as u64;
                for result in results.drain(..) {
                    match result.outcome {
                        Outcome::Answer(Answer::Pulse(report)) if report.status == Status::Healthy => {}
                        outcome => bail!("{}: {outcome}", outcome.class()),
                    }
                }
                self.results.recycle(results);
            }
            if !self.pace.gap.is_zero() {
                std::thread::sleep(self.pace.gap);
            } else if done == before && !self.bell.answer() {
                std::thread::park_timeout(Duration::from_millis(100));
            }
        }
        Ok(())
    }

    fn send(&mut self, count: usize) -> bool {
        let (now, wall) = (self.clock.mono(), self.clock.wall());
        let mut batch = self.outlets.pulse.buffer();
        batch.extend(self.specs.by_ref().take(count).map(|spec| Job {
            trace: self.noted,
            ..Job::alone(spec, now, wall)
        }));
        self.outlets.pulse.try_send(batch).is_ok()
    }

    /// Ends the workers.
    pub fn stop(self) -> Result<()> {
        for kind in Kind::ALL {
            self.outlets.get(kind).close();
        }
        if self.workers.stop(Duration::from_secs(10)) > 0 {
            bail!("the workers did not end");
        }
        Ok(())
    }
}
