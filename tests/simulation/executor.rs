//! The scripted workers: they take batches out of the real channels, decide what becomes of each job, and send
//! results back when its time has come, or later, or twice, or never.

use crate::{
    rng::Rng,
    scenario::Scenario,
    targets::Target,
    weather::{Sky, Weather},
};
use pulse_host::{
    domain::{
        host::PerKind,
        job::{Job, JobResult, MonitorId},
        outcome::{
            ActionFailure, Answer, DeliveryFailure, Denial, Done, Outcome, PluginFault, Receipt, Report,
            Status, Usage,
        },
        spec::Kind,
        time::Mono,
    },
    queue::{Inlet, ResultSender},
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// All workers.
pub struct Executor {
    rng: Rng,
    inlets: PerKind<Inlet>,
    results: ResultSender,
    weather: Weather,
    targets: HashMap<MonitorId, Target>,
    acts: BTreeMap<(Mono, u64), Act>,
    acts_made: u64,
    batches: usize,
    /// Results that wait for room in their channel, as workers do.
    outgoing: VecDeque<JobResult>,
    in_flight: PerKind<usize>,
    /// Components that are sick at present: of one tenant or of all, and until when.
    plagues: Vec<(Option<Arc<str>>, Arc<str>, Mono)>,
    /// CPU time of each execution.
    cost: Duration,
    /// Nothing goes wrong any more.
    calm: bool,
}

enum Act {
    Finish(Box<Running>),
    Send(JobResult),
}

struct Running {
    job: Job,
    started: Mono,
    outcome: Outcome,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Once,
    Twice,
    Late,
    Lost,
}

impl Executor {
    pub fn new(
        mut rng: Rng,
        scenario: &Scenario,
        inlets: PerKind<Inlet>,
        results: ResultSender,
        now: Mono,
    ) -> Self {
        let weather = Weather::new(&mut rng, now, scenario.rough);
        Self {
            rng,
            inlets,
            results,
            weather,
            targets: HashMap::new(),
            acts: BTreeMap::new(),
            acts_made: 0,
            batches: 0,
            outgoing: VecDeque::new(),
            in_flight: PerKind::default(),
            plagues: Vec::new(),
            cost: scenario.cost,
            calm: false,
        }
    }

    /// From now on nothing goes wrong; what was going wrong still does.
    pub fn calm(&mut self) {
        self.calm = true;
        self.targets.values_mut().for_each(Target::calm);
    }

    /// What goes wrong at present.
    pub fn sky(&self) -> Sky {
        if self.calm { Sky::Fair } else { self.weather.sky }
    }

    /// When something happens next by itself.
    pub fn next_at(&self) -> Mono {
        self.acts
            .first_key_value()
            .map_or(Mono::NEVER, |((at, _), _)| *at)
    }

    /// Time went on to `now`. After a stall of the whole machine, what should have ended in it ends now.
    pub fn pass(&mut self, now: Mono, stalled: bool) {
        self.weather.pass(&mut self.rng, now);
        while let Some(entry) = self.acts.first_entry()
            && entry.key().0 <= now
        {
            let ((at, _), act) = entry.remove_entry();
            match act {
                Act::Finish(running) => self.finish(*running, if stalled { now } else { at }),
                Act::Send(result) => self.outgoing.push_back(result),
            }
        }
    }

    /// Sends what there is room for, and says what that was, in its order.
    pub fn send(&mut self, sent: &mut Vec<(usize, JobResult)>) {
        while !self.outgoing.is_empty() {
            let most = usize::try_from(self.rng.range(1, 4)).unwrap();
            let count = most.min(self.outgoing.len());
            let mut batch = self.results.buffer();
            batch.extend(self.outgoing.range(..count).cloned());
            let mut sending = std::pin::pin!(self.results.send(batch));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            if sending.as_mut().poll(&mut context).is_pending() {
                return;
            }
            self.batches += 1;
            sent.extend(self.outgoing.drain(..count).map(|result| (self.batches, result)));
        }
    }

    /// Whether results wait for room.
    pub fn waits_for_room(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Takes what the workers take now, batch by batch.
    pub fn take(&mut self, scenario: &Scenario, now: Mono, mut taken: impl FnMut(Kind, &[Job])) {
        for kind in Kind::ALL {
            if self.sky() == Sky::Asleep(kind) {
                continue;
            }
            while *self.in_flight.get(kind) < scenario.settings.queues.get(kind).in_flight
                && let Some(batch) = self.inlets.get(kind).try_recv()
            {
                taken(kind, &batch);
                *self.in_flight.get_mut(kind) += batch.len();
                let mut batch = batch;
                for job in batch.drain(..) {
                    self.start(scenario, job, now);
                }
                self.inlets.get(kind).recycle(batch);
            }
        }
    }

    fn start(&mut self, scenario: &Scenario, job: Job, now: Mono) {
        let timeout = job.assignment().map_or(Duration::ZERO, |run| run.timeout);
        let target = self
            .targets
            .entry(job.key.monitor)
            .or_insert_with(|| Target::new(&mut self.rng, scenario, now));
        if self.calm {
            target.calm();
        }
        let mut status = target.at(now);
        let sky = self.sky();
        let down = match sky {
            Sky::Outage => true,
            Sky::OutageOf(plugin) => job
                .spec
                .pulse
                .as_ref()
                .is_some_and(|check| &*check.profile.plugin == plugin),
            _ => false,
        };
        if down {
            status = Status::Unhealthy;
        }
        let odds = sky.odds(job.key.kind);
        let plague = self.is_sick(&job, now);
        let fate = match self.rng.range(0, 999) {
            n if n < odds.lost => Fate::Lost,
            n if n < odds.lost + odds.late => Fate::Late,
            n if n < odds.lost + odds.late + odds.twice => Fate::Twice,
            _ => Fate::Once,
        };
        let mut span = match sky {
            Sky::Slow if self.rng.permille(500) => timeout,
            _ if self.calm => self.rng.ms(1, 50),
            _ if self.rng.permille(100) => timeout.mul_f64(0.5),
            _ => self.rng.ms(0, 400),
        }
        .min(timeout);
        let outcome = if now > job.expires {
            span = Duration::ZERO;
            Outcome::Expired
        } else if self.rng.permille(odds.refused) {
            // Some wait for a slot in vain.
            span = if self.rng.permille(500) {
                span
            } else {
                Duration::ZERO
            };
            if self.rng.permille(300) {
                Outcome::Expired
            } else {
                Outcome::NoCapacity("no slot".to_owned())
            }
        } else if plague {
            match self.rng.range(0, 9) {
                0 => fault(&mut self.rng, job.key.kind),
                1 => Outcome::Deadline,
                _ => Outcome::Trap("unreachable".to_owned()),
            }
        } else if self.rng.permille(odds.fault) {
            fault(&mut self.rng, job.key.kind)
        } else {
            let fails = self.rng.permille(odds.fails);
            match job.key.kind {
                Kind::Pulse if status == Status::Unhealthy && self.rng.permille(300) => {
                    span = timeout;
                    Outcome::DeadlineWaiting
                }
                Kind::Pulse => report(status),
                Kind::Intervention if fails => {
                    Outcome::Answer(Answer::Intervention(Err(match self.rng.range(0, 9) {
                        0..5 => ActionFailure::Retryable("try again".to_owned()),
                        5 => ActionFailure::Permanent("useless".to_owned()),
                        _ => ActionFailure::EffectUnknown("who knows".to_owned()),
                    })))
                }
                Kind::Intervention => Outcome::Answer(Answer::Intervention(Ok(Done {
                    summary: "restarted".to_owned(),
                    measurements: Vec::new(),
                }))),
                Kind::Code if fails => Outcome::Answer(Answer::Code(Err(if self.rng.permille(100) {
                    DeliveryFailure::Permanent("no such channel".to_owned())
                } else {
                    DeliveryFailure::Retryable {
                        message: "busy".to_owned(),
                        after: self
                            .rng
                            .permille(300)
                            .then(|| self.rng.secs(0, scenario.wish.as_secs())),
                    }
                }))),
                Kind::Code => Outcome::Answer(Answer::Code(Ok(Receipt {
                    id: None,
                    summary: "taken".to_owned(),
                }))),
            }
        };
        let at = coarse(now.after(span), scenario.grain);
        let running = Running {
            job,
            started: now,
            outcome,
            fate,
        };
        self.put(at, Act::Finish(Box::new(running)));
    }

    /// Whether the job's component is sick. Now and then one becomes so, for a tenant or for all, for a while.
    fn is_sick(&mut self, job: &Job, now: Mono) -> bool {
        self.plagues.retain(|(_, _, until)| *until > now);
        if self.calm {
            return false;
        }
        let Some(run) = job.assignment() else {
            return false;
        };
        let (tenant, digest) = (&job.spec.tenant.name, &run.profile.digest);
        if self.plagues.len() < 2 && self.rng.permille(6) {
            let whose = self.rng.permille(600).then(|| Arc::clone(tenant));
            let until = now.after(self.rng.secs(5, 400));
            self.plagues.push((whose, Arc::clone(digest), until));
        }
        let mut plagues = self.plagues.iter();
        plagues.any(|(whose, of, _)| of == digest && whose.as_ref().is_none_or(|whose| whose == tenant))
    }

    fn finish(&mut self, running: Running, now: Mono) {
        let Running {
            job,
            started,
            outcome,
            fate,
        } = running;
        let flying = self.in_flight.get_mut(job.key.kind);
        *flying = flying.saturating_sub(1);
        let acted = match &outcome {
            Outcome::Answer(Answer::Intervention(Ok(_))) => true,
            // Of what was cut nobody knows whether it acted.
            Outcome::Answer(Answer::Intervention(Err(ActionFailure::EffectUnknown(_))))
            | Outcome::Trap(_)
            | Outcome::Deadline => self.rng.permille(500),
            _ => false,
        };
        if job.key.kind == Kind::Intervention
            && acted
            && let Some(target) = self.targets.get_mut(&job.key.monitor)
        {
            target.intervene(now);
        }
        let timeout = job.assignment().map_or(Duration::ZERO, |run| run.timeout);
        let cut = outcome == Outcome::Deadline;
        let result = JobResult {
            key: job.key,
            outcome,
            usage: self.usage(cut, now.since(started)),
            due: job.due,
            sent: job.sent,
            started,
            finished: now,
        };
        let soon = if self.rng.permille(200) {
            now.after(self.rng.ms(0, 300))
        } else {
            now
        };
        match fate {
            Fate::Lost => {}
            Fate::Once => self.put(soon, Act::Send(result)),
            Fate::Twice => {
                let again = soon.after(self.rng.ms(0, 20_000));
                self.put(soon, Act::Send(result.clone()));
                self.put(again, Act::Send(result));
            }
            Fate::Late => {
                // Its recovery deadline is a grace period of at most three seconds behind this.
                let given_up = job.expires.after(timeout);
                let at = given_up.after(self.rng.ms(0, 12_000)).max(soon);
                self.put(at, Act::Send(result));
            }
        }
    }

    /// Of those that are cut at their deadline some have computed all the time.
    fn usage(&mut self, cut: bool, wall: Duration) -> Usage {
        let computed = cut && self.rng.permille(500);
        Usage {
            wall,
            cpu: if computed { wall.max(self.cost) } else { self.cost },
            ..Usage::default()
        }
    }

    fn put(&mut self, at: Mono, act: Act) {
        self.acts_made += 1;
        self.acts.insert((at, self.acts_made), act);
    }
}

/// Rounded up to the grain.
fn coarse(at: Mono, grain: Duration) -> Mono {
    let grain = u64::try_from(grain.as_nanos()).unwrap();
    Mono(at.0.div_ceil(grain) * grain)
}

fn report(status: Status) -> Outcome {
    Outcome::Answer(Answer::Pulse(Report {
        status,
        summary: status.name().to_owned(),
        reason: None,
        measurements: Vec::new(),
    }))
}

fn fault(rng: &mut Rng, kind: Kind) -> Outcome {
    match rng.range(0, 11) {
        0 => Outcome::PluginFault(PluginFault::Internal("defect".to_owned())),
        1 => Outcome::PluginFault(PluginFault::InvalidSettings("bad".to_owned())),
        2 => Outcome::OutOfFuel { limit: 1 },
        3 => Outcome::OutOfCpu {
            limit: Duration::from_millis(1),
        },
        4 => Outcome::OutOfMemory {
            limit_bytes: 1,
            wanted_bytes: 2,
        },
        5 => Outcome::StackOverflow,
        6 => Outcome::Trap("unreachable".to_owned()),
        7 => Outcome::Deadline,
        8 if kind != Kind::Pulse => Outcome::DeadlineWaiting,
        8 | 9 => Outcome::HostError("disk".to_owned()),
        10 => Outcome::Denied(Denial {
            capability: "http",
            wanted: "http://x".to_owned(),
            grant: "grants.http".to_owned(),
        }),
        _ => Outcome::Trap("out of bounds".to_owned()),
    }
}
