//! The production scheduler against a scripted executor and a manual clock.

use super::*;
use crate::{
    clock::Hand,
    domain::{
        color::{Color, ColorSet},
        event::Fact,
        grant::Grants,
        health::State,
        host::QueueSettings,
        job::{Job, JobResult, Payload},
        limits::Limits,
        outcome::{ActionFailure, Answer, DeliveryFailure, Done, Outcome, Receipt, Report, Status, Usage},
        spec::{Budget, Check, Class, Draft, InterventionSpec, Lane, Policy, Profile, Sink},
        tenant::Tenant,
        time::Wall,
    },
    queue::{self, Inlet, ResultSender},
};
use components::Phase;
use proptest::prelude::*;
use std::collections::HashMap;

mod family;
mod ledger;
mod overload;
mod races;
mod reload;
mod sick;
mod stall;

fn lane() -> Lane {
    Lane {
        profile: Arc::new(Profile {
            plugin: "p".into(),
            digest: "1".into(),
            limits: Limits::default(),
            grants: Arc::new(Grants::default()),
            reuse: 0,
        }),
        settings: "{}".into(),
        timeout: Duration::from_secs(2),
    }
}

fn sink(name: &str) -> Arc<Sink> {
    Arc::new(Sink {
        name: name.into(),
        lane: lane(),
        colors: Color::ALL.into_iter().collect::<ColorSet>(),
        max_age: Duration::from_secs(60),
    })
}

fn spec(name: &str) -> Draft {
    let class = Class {
        tenant: Arc::new(Tenant::unlimited()),
        labels: Arc::new([]),
        policy: Policy {
            interval: Duration::from_secs(10),
            retry_interval: Duration::from_secs(1),
            failure_threshold: 1,
            success_threshold: 1,
            page_after: Duration::from_secs(600),
            repeat: None,
            fault_threshold: 3,
        },
        pulse: Some(Check {
            profile: lane().profile,
            timeout: lane().timeout,
            settings: lane().settings,
        }),
        intervention: Some(Arc::new(InterventionSpec {
            lane: lane(),
            max_attempts: 2,
            cooldown: Duration::from_secs(5),
            verify_window: Duration::from_secs(20),
            budget: Budget {
                attempts: 10,
                per: Duration::from_secs(3600),
            },
        })),
        sinks: Arc::new([sink("a")]),
        parents: Arc::new([]),
    };
    Draft {
        name: name.into(),
        class,
    }
}
/// A result of which only the CPU time matters.
pub(super) fn used(cpu: Duration) -> JobResult {
    JobResult {
        key: crate::domain::job::JobKey {
            monitor: crate::domain::job::MonitorId(0),
            kind: Kind::Pulse,
            sink: 0,
            attempt: 0,
        },
        outcome: Outcome::Deadline,
        usage: Usage {
            cpu,
            ..Usage::default()
        },
        due: Mono(0),
        sent: Mono(0),
        started: Mono(0),
        finished: Mono(0),
    }
}

struct Rig {
    scheduler: Scheduler,
    inlets: PerKind<Inlet>,
    results: ResultSender,
    hand: Arc<Hand>,
    clock: Clock,
    events: async_channel::Receiver<Event>,
    facts: Vec<(Arc<str>, Fact)>,
}

impl Rig {
    fn new(specs: Vec<Draft>, adjust: impl FnOnce(&mut HostSettings)) -> Self {
        Self::on_record(specs, None, adjust)
    }

    fn on_record(
        specs: Vec<Draft>,
        ledger: Option<crate::ledger::Writer>,
        adjust: impl FnOnce(&mut HostSettings),
    ) -> Self {
        let mut settings = HostSettings::new("unused".into());
        adjust(&mut settings);
        let mut host_entry = spec("pulse-host");
        host_entry.pulse = None;
        host_entry.intervention = None;
        host_entry.sinks = Arc::new([sink("host")]);
        let (clock, hand) = Clock::manual(Mono(1_000_000), Wall(1_700_000_000_000));
        let (outlets, inlets) = queue::channels(&settings.queues);
        let (results, receiver, _) = queue::results(100_000);
        let (sender, events) = async_channel::bounded(100_000);
        let scheduler = Scheduler::new(Parts {
            monitors: specs.iter().map(Draft::ready).collect(),
            host_entry: Some(host_entry.ready()),
            settings,
            outlets,
            results: receiver,
            events: sender,
            ledger,
            workers: 2,
            clock: clock.clone(),
        });
        Self {
            scheduler,
            inlets,
            results,
            hand,
            clock,
            events,
            facts: Vec::new(),
        }
    }

    fn run(&mut self) {
        self.scheduler.run();
        while let Ok(event) = self.events.try_recv() {
            self.facts.push((event.spec.name().into(), event.fact));
        }
        self.check();
    }

    /// Goes on by that time, in steps of 10 ms.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(10) {
            self.hand.advance(Duration::from_millis(10));
            self.run();
        }
    }

    fn take(&self, kind: Kind) -> Vec<Job> {
        std::iter::from_fn(|| self.inlets.get(kind).try_recv())
            .flatten()
            .collect()
    }

    /// Goes on until a job of that kind is there, and takes exactly one.
    fn next(&mut self, kind: Kind) -> Job {
        for _ in 0..10_000 {
            let mut jobs = self.take(kind);
            if !jobs.is_empty() {
                assert_eq!(jobs.len(), 1, "one at a time");
                return jobs.remove(0);
            }
            self.pass(10);
        }
        panic!("no {kind} came");
    }

    fn answer(&mut self, job: &Job, outcome: Outcome) {
        let now = self.clock.mono();
        let result = JobResult {
            key: job.key,
            outcome,
            usage: Usage::default(),
            due: job.due,
            sent: job.sent,
            started: now,
            finished: now,
        };
        assert!(futures_now(self.results.send(vec![result])));
        self.run();
    }

    fn healthy(&mut self) {
        let job = self.next(Kind::Pulse);
        self.answer(&job, report(Status::Healthy));
    }

    fn unhealthy(&mut self) {
        let job = self.next(Kind::Pulse);
        self.answer(&job, report(Status::Unhealthy));
    }

    /// Takes the next code and accepts it.
    fn deliver(&mut self) -> Color {
        let job = self.next(Kind::Code);
        self.answer(&job, receipt());
        color(&job)
    }

    fn has(&self, test: impl Fn(&Fact) -> bool) -> bool {
        self.facts.iter().any(|(_, fact)| test(fact))
    }

    /// What must hold after every run, whatever happened.
    fn check(&mut self) {
        let mut tickets: HashMap<(Entity, Kind, u16), usize> = HashMap::new();
        let mut pending = PerKind::<usize>::default();
        let mut outboxes = 0;
        for kind in Kind::ALL {
            for ticket in self.scheduler.world.resource::<Needed>().0.get(kind).iter() {
                let lane = self.lane(ticket.entity, kind, ticket.sink);
                if lane.is(Phase::Needed, ticket.since) {
                    *tickets.entry((ticket.entity, kind, ticket.sink)).or_default() += 1;
                }
            }
        }
        let entities: Vec<Entity> = self
            .scheduler
            .world
            .query::<(Entity, &Monitor)>()
            .iter(&self.scheduler.world)
            .map(|(entity, _)| entity)
            .collect();
        for entity in entities {
            let lanes = self.scheduler.lanes(entity);
            let keys = [(Kind::Pulse, 0), (Kind::Intervention, 0)]
                .into_iter()
                .chain((0..).map(|index| (Kind::Code, index)));
            for (lane, (kind, index)) in lanes.iter().zip(keys) {
                let queued = tickets.get(&(entity, kind, index)).copied().unwrap_or(0);
                match lane.phase() {
                    Phase::Needed => assert!(queued >= 1, "a needed {kind} that nobody will send"),
                    Phase::Pending => {
                        let number = lane.flight().unwrap();
                        let flight = self.scheduler.world.resource::<Out>().0.get(number).unwrap();
                        assert!(flight.entity == entity && flight.lane.kind() == kind);
                        assert!(flight.deadline < Mono::NEVER && queued == 0);
                        *pending.get_mut(kind) += 1;
                    }
                    Phase::Waiting => assert_eq!(queued, 0),
                }
            }
            let monitor = self.scheduler.world.get::<Monitor>(entity).unwrap();
            let spec = &monitor.spec;
            let pulse = lanes[0];
            assert!(
                spec.pulse.is_none() || pulse.phase() != Phase::Waiting || pulse.at() < Mono::NEVER,
                "{} would never be checked again",
                spec.name()
            );
            let Some(case) = &monitor.case else {
                assert!(
                    !monitor.health.has_episode()
                        || monitor.health.wake_at(spec, Duration::ZERO) == Mono::NEVER
                );
                continue;
            };
            assert!(case.entry_at <= case.wake_at, "nobody would wake it");
            for sink in &case.sinks {
                outboxes += sink.outbox.len();
                assert!(
                    sink.outbox.is_empty()
                        || sink.lane.phase() != Phase::Waiting
                        || sink.lane.at() < Mono::NEVER
                        || self.scheduler.world.resource::<LedgerDesk>().0.awaits(entity),
                    "a code of {} that nobody will send",
                    spec.name()
                );
            }
        }
        // What drifts here never stops draining, or stops too early.
        let unfinished = self.scheduler.unfinished();
        assert_eq!((unfinished.pending, unfinished.codes), (pending, outboxes));
    }

    fn lane(&self, entity: Entity, kind: Kind, index: u16) -> components::Lane {
        let lanes = self.scheduler.lanes(entity);
        match kind {
            Kind::Pulse => lanes[0],
            Kind::Intervention => lanes[1],
            Kind::Code => lanes[2 + usize::from(index)],
        }
    }

    fn snapshot(&self) -> Snapshot {
        self.scheduler.world.resource::<Tally>().0.clone()
    }
}

/// Polls once: the channel has room in every test.
fn futures_now(future: impl Future<Output = ()>) -> bool {
    let mut future = std::pin::pin!(future);
    future
        .as_mut()
        .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
        .is_ready()
}

fn report(status: Status) -> Outcome {
    Outcome::Answer(Answer::Pulse(Report {
        status,
        summary: status.name().to_owned(),
        reason: None,
        measurements: Vec::new(),
    }))
}

fn receipt() -> Outcome {
    Outcome::Answer(Answer::Code(Ok(Receipt {
        id: None,
        summary: "taken".to_owned(),
    })))
}

fn done() -> Outcome {
    Outcome::Answer(Answer::Intervention(Ok(Done {
        summary: "restarted".to_owned(),
        measurements: Vec::new(),
    })))
}

fn color(job: &Job) -> Color {
    match &job.payload {
        Payload::Code(alert) => alert.color,
        other => panic!("{other:?}"),
    }
}

fn delivery_id(job: &Job) -> String {
    match &job.payload {
        Payload::Code(alert) => alert.delivery_id("a"),
        other => panic!("{other:?}"),
    }
}

use Color::{Cyan, Green, Purple, Red, Yellow};

#[test]
fn the_order_of_the_systems_is_not_ambiguous() {
    let mut world = World::new();
    assert!(schedule().initialize(&mut world).is_ok());
}

#[test]
fn one_monitor_goes_all_the_way() {
    let mut rig = Rig::new(vec![spec("shop")], |_| {});
    rig.healthy();
    rig.unhealthy();
    assert_eq!(rig.deliver(), Yellow);
    let job = rig.next(Kind::Intervention);
    rig.answer(&job, done());
    assert_eq!(rig.deliver(), Cyan);
    rig.healthy();
    assert_eq!(rig.deliver(), Green);
    let states: Vec<State> = rig
        .facts
        .iter()
        .filter_map(|(_, fact)| match fact {
            Fact::State { to, .. } => Some(*to),
            _ => None,
        })
        .collect();
    assert_eq!(states, [State::Up, State::Down, State::Verifying, State::Up]);
    assert_eq!(rig.snapshot().states.get("up"), Some(&1));
}

#[test]
fn a_lost_pulse_is_a_fault_and_runs_again_with_backoff_and_its_late_result_is_stale() {
    let mut rig = Rig::new(vec![spec("shop")], |_| {});
    let lost = rig.next(Kind::Pulse);
    let mut times = vec![rig.clock.mono()];
    for _ in 0..3 {
        let _lost_too = rig.next(Kind::Pulse);
        times.push(rig.clock.mono());
    }
    let gaps: Vec<u64> = times
        .windows(2)
        .map(|pair| (pair[1].0 - pair[0].0) / 1_000_000_000)
        .collect();
    // 4 s until the recovery deadline, then 1, 2, 4 s of backoff.
    assert_eq!(gaps, [5, 6, 8]);
    rig.pass(5_000);
    let told: Vec<_> = rig
        .take(Kind::Code)
        .iter()
        .map(|job| (color(job), Arc::<str>::from(job.spec.name())))
        .collect();
    assert!(
        told.contains(&(Purple, "shop".into())) && told.contains(&(Purple, "pulse-host".into())),
        "{told:?}"
    );
    assert_eq!(rig.snapshot().kinds.pulse.lost, 4);
    let before = rig.snapshot().not_healthy;
    rig.answer(&lost, report(Status::Unhealthy));
    assert_eq!(rig.snapshot().kinds.pulse.stale, 1);
    assert_eq!(rig.snapshot().not_healthy, before, "changes nothing");
    assert!(!rig.has(|fact| matches!(fact, Fact::Incident { .. })));
}

#[test]
fn a_lost_intervention_is_verified_and_not_repeated_blindly() {
    let mut rig = Rig::new(vec![spec("shop")], |_| {});
    rig.unhealthy();
    rig.deliver();
    let lost = rig.next(Kind::Intervention);
    // Its pulses go on while it is out.
    for _ in 0..3 {
        rig.unhealthy();
    }
    rig.pass(2_000);
    assert!(rig.has(|fact| matches!(
        fact,
        Fact::Lost {
            kind: Kind::Intervention
        }
    )));
    assert!(rig.take(Kind::Intervention).is_empty());
    for job in rig.take(Kind::Pulse) {
        rig.answer(&job, report(Status::Healthy));
    }
    assert_eq!(rig.deliver(), Green, "what a pulse sees decides");
    rig.pass(30_000);
    assert!(rig.take(Kind::Intervention).is_empty());
    rig.answer(&lost, done());
    assert_eq!(rig.snapshot().kinds.intervention.stale, 1);
}

#[test]
fn an_answer_that_comes_after_the_loss_keeps_the_intervention_from_being_done_again() {
    let mut rig = Rig::new(vec![spec("shop")], |_| {});
    rig.unhealthy();
    rig.deliver();
    let lost = rig.next(Kind::Intervention);
    while !rig.has(|fact| {
        matches!(
            fact,
            Fact::Lost {
                kind: Kind::Intervention
            }
        )
    }) {
        rig.pass(10);
    }
    rig.answer(&lost, done());
    assert_eq!(rig.deliver(), Cyan, "the effect is proved");
    assert!(rig.take(Kind::Intervention).is_empty());
}

#[test]
fn a_code_is_sent_again_under_the_same_delivery_id_and_green_waits_behind_it() {
    let mut rig = Rig::new(vec![spec("shop")], |_| {});
    rig.unhealthy();
    let first = rig.next(Kind::Code);
    let again = rig.next(Kind::Code);
    assert_eq!(delivery_id(&first), delivery_id(&again));
    assert!(first.key.attempt < again.key.attempt);
    rig.answer(
        &again,
        Outcome::Answer(Answer::Code(Err(DeliveryFailure::Retryable {
            message: "busy".to_owned(),
            after: Some(Duration::from_secs(7)),
        }))),
    );
    rig.pass(6_000);
    assert!(rig.take(Kind::Code).is_empty(), "the receiver's wish");
    let third = rig.next(Kind::Code);
    assert_eq!(delivery_id(&first), delivery_id(&third));
    // The receipt of the first comes at last: nothing is sent a fourth time.
    rig.answer(&first, receipt());
    assert!(rig.has(|fact| matches!(fact, Fact::Delivered { .. })));
    let mut colors = Vec::new();
    for _ in 0..2_000 {
        rig.pass(10);
        for job in rig.take(Kind::Code) {
            colors.push(color(&job));
            rig.answer(&job, receipt());
        }
        for job in rig.take(Kind::Pulse) {
            rig.answer(&job, report(Status::Healthy));
        }
    }
    assert_eq!(colors, [Green]);
}

#[test]
fn an_old_code_is_undeliverable_frees_the_head_and_is_told_to_the_host_sinks() {
    let mut quiet = spec("shop");
    quiet.intervention = None;
    let mut rig = Rig::new(vec![quiet], |_| {});
    rig.unhealthy();
    let mut told = Vec::new();
    for _ in 0..9_000 {
        rig.pass(10);
        for job in rig.take(Kind::Code) {
            if job.spec.name() == "pulse-host" {
                let Payload::Code(alert) = &job.payload else {
                    panic!()
                };
                told.push((alert.color, alert.title.clone()));
                rig.answer(&job, receipt());
            } else {
                rig.answer(&job, Outcome::Trap("no".to_owned()));
            }
        }
        for job in rig.take(Kind::Pulse) {
            rig.answer(&job, report(Status::Unhealthy));
        }
    }
    assert!(rig.has(|fact| matches!(fact, Fact::Undeliverable { alert, .. } if alert.color == Red)));
    assert_eq!(
        told,
        [(Purple, "red of shop could not be delivered to a".to_owned())]
    );
    assert_eq!(rig.snapshot().outbox, 0);
}

#[test]
fn interventions_of_all_monitors_keep_within_the_budget_of_the_host() {
    let specs = (0..5).map(|n| spec(&format!("m{n}"))).collect();
    let mut rig = Rig::new(specs, |settings| {
        settings.interventions = Budget {
            attempts: 2,
            per: Duration::from_secs(60),
        };
        settings.max_hold = Duration::from_secs(30);
    });
    let mut started = 0;
    let mut reds = 0;
    for _ in 0..5_000 {
        rig.pass(10);
        for job in rig.take(Kind::Pulse) {
            rig.answer(&job, report(Status::Unhealthy));
        }
        started += rig.take(Kind::Intervention).len();
        for job in rig.take(Kind::Code) {
            reds += usize::from(color(&job) == Red);
            rig.answer(&job, receipt());
        }
    }
    assert_eq!(started, 2);
    assert!(rig.has(|fact| matches!(fact, Fact::Held { .. })));
    assert!(reds >= 3, "who was held too long is red");
}

#[test]
fn draining_starts_nothing_new_but_still_tells() {
    let mut rig = Rig::new(vec![spec("shop")], |_| {});
    let pulse = rig.next(Kind::Pulse);
    rig.scheduler.drain();
    rig.answer(&pulse, report(Status::Unhealthy));
    assert_eq!(rig.deliver(), Yellow);
    rig.pass(60_000);
    assert!(rig.take(Kind::Pulse).is_empty() && rig.take(Kind::Intervention).is_empty());
    assert_eq!(rig.scheduler.unfinished().jobs(), 0);
}

/// What the scripted executor does with a job.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Good,
    Bad,
    Fault,
    Lost,
    Late,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Good),
        3 => Just(Fate::Bad),
        1 => Just(Fate::Fault),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Late),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever becomes of the jobs: every lane stays in one state (checked after each run), codes of a sink are
    /// first sent in their order, and when the world is well again every monitor is checked and up.
    #[test]
    fn no_monitor_is_ever_lost(fates in proptest::collection::vec(fate(), 200..600), capacity in 1usize..6) {
        let specs = (0..4).map(|n| spec(&format!("m{n}"))).collect();
        let mut rig = Rig::new(specs, |settings| {
            for kind in Kind::ALL {
                settings.queues.get_mut(kind).capacity = capacity;
            }
        });
        let mut late: Vec<(Job, Outcome)> = Vec::new();
        let mut first_sent: HashMap<Arc<str>, Vec<String>> = HashMap::new();
        let mut fates = fates.into_iter();
        let mut over = 0;
        while over < 4_000 {
            rig.pass(20);
            for kind in Kind::ALL {
                for job in rig.take(kind) {
                    if let Payload::Code(alert) = &job.payload {
                        let seen = first_sent.entry(Arc::<str>::from(job.spec.name())).or_default();
                        let id = alert.delivery_id("a");
                        match seen.iter().position(|before| *before == id) {
                            None => seen.push(id),
                            Some(at) => prop_assert_eq!(at + 1, seen.len(), "an older code was sent after a newer one"),
                        }
                    }
                    let fate = fates.next().unwrap_or(Fate::Good);
                    let good = match kind {
                        Kind::Pulse => report(Status::Healthy),
                        Kind::Intervention => done(),
                        Kind::Code => receipt(),
                    };
                    match fate {
                        Fate::Good => rig.answer(&job, good),
                        Fate::Bad => {
                            let bad = match kind {
                                Kind::Pulse => report(Status::Unhealthy),
                                Kind::Intervention => Outcome::DeadlineWaiting,
                                Kind::Code => Outcome::DeadlineWaiting,
                            };
                            rig.answer(&job, bad);
                        }
                        Fate::Fault => rig.answer(&job, Outcome::Trap("t".to_owned())),
                        Fate::Lost => {}
                        Fate::Late => late.push((job, good)),
                    }
                }
            }
            if late.len() > 3 {
                let (job, outcome) = late.remove(0);
                rig.answer(&job, outcome);
                let (job, outcome) = (job, report(Status::Unhealthy));
                rig.answer(&job, outcome);
            }
            over += usize::from(fates.len() == 0);
        }
        let snapshot = rig.snapshot();
        prop_assert_eq!(snapshot.states.get("up"), Some(&4), "{:?}", snapshot.states);
        prop_assert_eq!(snapshot.outbox, 0);
        prop_assert_eq!(rig.scheduler.unfinished().jobs(), 0);
    }
}

#[test]
fn a_million_monitors_are_kept_small() {
    // What the design counts on; see docs/architecture.md. The spec's own allocation is name and settings and 40 bytes.
    assert_eq!(
        (
            size_of::<components::Lane>(),
            size_of::<crate::domain::health::Health>()
        ),
        (16, 32)
    );
    assert_eq!((size_of::<Monitor>(), size_of::<wheel::Entry>()), (72, 12));
}
