//! The prober is sick: plugins in quarantine, and failures of most monitors at once.

use super::{races::plain, *};
use crate::domain::{
    health::{Exhausted, Hold},
    host::{CorrelatedSettings, QuarantineSettings},
    job::MonitorId,
};

fn trap() -> Outcome {
    Outcome::Trap("unreachable".to_owned())
}

/// A monitor of that tenant, whose check is of that component.
fn of(tenant: &str, name: &str, digest: &str) -> Draft {
    let mut draft = plain(name, |policy| policy.fault_threshold = 2);
    draft.tenant = Arc::new(Tenant::new(tenant, Default::default()));
    draft.pulse = Some(check("http", digest));
    draft
}

fn check(plugin: &str, digest: &str) -> Check {
    let Lane {
        settings, timeout, ..
    } = lane();
    Check {
        profile: profile(plugin, digest),
        timeout,
        settings,
    }
}

fn profile(plugin: &str, digest: &str) -> Arc<Profile> {
    Arc::new(Profile {
        plugin: plugin.into(),
        digest: digest.into(),
        limits: Limits::default(),
        grants: Arc::new(Grants::default()),
        reuse: 0,
    })
}

/// So many monitors of a tenant.
fn many(tenant: &str, count: usize, digest: &str) -> impl Iterator<Item = Draft> {
    let names = (0..count).map(move |number| format!("{tenant}-{number}"));
    names.map(move |name| of(tenant, &name, digest))
}

fn quick(settings: &mut HostSettings) {
    settings.correlated = None;
    settings.quarantine = Some(QuarantineSettings {
        faults_min: 5,
        pause_first: Duration::from_secs(40),
        ..QuarantineSettings::default()
    });
}

impl Rig {
    /// Goes on by that time; each job ends as it is told to, at once.
    fn play(&mut self, seconds: u64, mut answer: impl FnMut(&Job) -> Outcome) {
        for _ in 0..seconds * 100 {
            self.pass(10);
            for kind in Kind::ALL {
                for job in self.take(kind) {
                    let outcome = match kind {
                        Kind::Code => receipt(),
                        Kind::Pulse | Kind::Intervention => answer(&job),
                    };
                    self.answer(&job, outcome);
                }
            }
        }
    }

    fn state(&self, name: &str) -> State {
        let world = &self.scheduler;
        let id = |id: &MonitorId| world.view(*id).is_some_and(|view| view.spec().name() == name);
        let found = world.monitors().find(id);
        found.and_then(|id| world.view(id)).unwrap().state()
    }

    fn count(&self, test: impl Fn(&Fact) -> bool) -> usize {
        self.facts.iter().filter(|(_, fact)| test(fact)).count()
    }
}

fn opens(fact: &Fact) -> bool {
    matches!(fact, Fact::Quarantined { .. })
}

fn closes(fact: &Fact) -> bool {
    matches!(fact, Fact::Readmitted { .. })
}

fn pauses(fact: &Fact) -> bool {
    matches!(fact, Fact::RepairsPaused { .. })
}

fn resumes(fact: &Fact) -> bool {
    matches!(fact, Fact::RepairsResume { .. })
}

#[test]
fn a_sick_plugin_is_not_run_and_everything_is_checked_again_when_it_is_well() {
    let mut rig = Rig::new(many("default", 20, "http-1").collect(), quick);
    rig.play(12, |_| report(Status::Healthy));
    assert_eq!(rig.state("default-7"), State::Up);
    let mut ran = 0;
    let mut told = Vec::new();
    rig.play(30, |_| {
        ran += 1;
        trap()
    });
    assert!((5..30).contains(&ran), "what it takes to be sure: {ran}");
    assert_eq!(rig.count(opens), 1);
    assert_eq!(rig.state("default-7"), State::Unknown);
    let figures = rig.snapshot();
    assert_eq!((figures.quarantined, figures.quarantines), (1, 1));
    let uses = rig.scheduler.plugins();
    let mut users = uses.users.iter();
    let sick = users.find(|user| &*user.seen.digest == "http-1").unwrap();
    let shut = sick.seen.shut.as_ref().unwrap();
    assert_eq!((&*sick.seen.tenant, &*sick.seen.plugin), ("default", "http"));
    assert!(sick.seen.sick >= 5 && sick.costs.pulse.is_some(), "{sick:?}");
    assert!(
        shut.reason.contains("unreachable") && shut.held > 0 && sick.tried_at.is_some(),
        "{sick:?}"
    );
    assert!(
        figures.held_pulses >= 40,
        "the grid goes on: {}",
        figures.held_pulses
    );
    // While it lasts each onset is told once, and the host's own sinks hear of the plugin, not of each monitor.
    for _ in 0..60 {
        rig.pass(1_000);
        told.extend(rig.take(Kind::Code).iter().map(|job| {
            assert_eq!(color(job), Purple);
            job.spec.name().to_owned()
        }));
        let probes = rig.take(Kind::Pulse);
        assert!(probes.len() <= 3, "{}", probes.len());
        probes.iter().for_each(|job| rig.answer(job, trap()));
    }
    assert!(rig.count(opens) == 1 && rig.count(closes) == 0);
    let purple = |fact: &Fact| matches!(fact, Fact::Purple { .. });
    assert_eq!(rig.count(purple), 20);
    // It is repaired: the first probe that goes well ends it, and what was held is checked, spread.
    let mut per_tick = Vec::new();
    while rig.count(closes) == 0 {
        rig.play(1, |_| report(Status::Healthy));
    }
    for _ in 0..100 {
        rig.pass(10);
        let jobs = rig.take(Kind::Pulse);
        per_tick.push(jobs.len());
        jobs.iter()
            .for_each(|job| rig.answer(job, report(Status::Healthy)));
    }
    assert!(per_tick.iter().all(|count| *count < 8), "{per_tick:?}");
    rig.play(1, |_| report(Status::Healthy));
    assert!(
        (0..20).all(|number| rig.state(&format!("default-{number}")) == State::Up),
        "long before their next slots"
    );
    assert_eq!((rig.count(opens), rig.count(closes)), (1, 1));
}

#[test]
fn the_host_hears_of_a_quarantine_once_with_the_reason_and_once_of_its_end() {
    let specs = many("default", 20, "http-1").map(|mut draft| {
        draft.policy.fault_threshold = 1000;
        draft
    });
    let mut rig = Rig::new(specs.collect(), quick);
    let mut sick = true;
    let mut told = Vec::new();
    for second in 0..320 {
        sick &= second < 120;
        for _ in 0..100 {
            rig.pass(10);
            for job in rig.take(Kind::Pulse) {
                let outcome = if sick { trap() } else { report(Status::Healthy) };
                rig.answer(&job, outcome);
            }
            for job in rig.take(Kind::Code) {
                if let Payload::Code(alert) = &job.payload
                    && job.spec.name() == "pulse-host"
                {
                    told.push((alert.title.clone(), alert.body.clone()));
                }
                rig.answer(&job, receipt());
            }
        }
    }
    let titles: Vec<&str> = told.iter().map(|(title, _)| title.as_str()).collect();
    assert_eq!(
        titles,
        [
            "the plugin http is quarantined",
            "the plugin http is out of quarantine"
        ]
    );
    assert!(told[0].1.contains("trapped: unreachable"), "{}", told[0].1);
}

#[test]
fn a_shared_plugin_that_one_tenant_crashes_is_not_unknown_to_the_other() {
    let specs = many("bad", 50, "http-1").chain(many("good", 5, "http-1"));
    let mut rig = Rig::new(specs.collect(), quick);
    let mut crashes = 0;
    rig.play(600, |job| {
        if job.spec.tenant.name.as_ref() == "bad" {
            crashes += 1;
            trap()
        } else {
            report(Status::Healthy)
        }
    });
    assert!(crashes >= 10);
    let good: Vec<_> = (0..5).map(|number| format!("good-{number}")).collect();
    for name in &good {
        assert_eq!(rig.state(name), State::Up);
    }
    let unknown = rig.facts.iter().any(|(name, fact)| {
        good.iter().any(|good| **good == **name)
            && matches!(
                fact,
                Fact::State {
                    to: State::Unknown,
                    ..
                } | Fact::Fault { .. }
            )
    });
    assert!(!unknown, "not for a moment");
}

#[test]
fn trouble_of_the_host_puts_nobody_into_quarantine() {
    let mut rig = Rig::new(many("default", 20, "http-1").collect(), quick);
    let mut turn = 0;
    rig.play(120, |_| {
        turn += 1;
        match turn % 3 {
            0 => Outcome::NoCapacity("no slot".to_owned()),
            1 => Outcome::HostError("disk".to_owned()),
            _ => Outcome::Expired,
        }
    });
    assert!(turn > 200, "it is tried on: {turn}");
    assert_eq!((rig.count(opens), rig.snapshot().held_pulses), (0, 0));
}

#[test]
fn what_is_switched_off_does_nothing() {
    let mut rig = Rig::new(many("default", 20, "http-1").collect(), |settings| {
        (settings.quarantine, settings.correlated) = (None, None);
    });
    let mut ran = 0;
    rig.play(120, |_| {
        ran += 1;
        trap()
    });
    assert!(ran > 200, "{ran}");
    assert_eq!(rig.count(opens), 0);
}

#[test]
fn a_quarantined_repair_means_red_and_its_plugin_is_tried_by_the_next_incident() {
    let specs = (0..8).map(|number| {
        let mut draft = spec(&format!("m{number}"));
        let repair = draft.intervention.as_deref().unwrap();
        draft.intervention = Some(Arc::new(InterventionSpec {
            lane: Lane {
                profile: profile("repair", "2"),
                ..lane()
            },
            max_attempts: 1,
            cooldown: repair.cooldown,
            verify_window: repair.verify_window,
            budget: repair.budget,
        }));
        draft
    });
    let mut rig = Rig::new(specs.collect(), quick);
    let mut tried = 0;
    rig.play(60, |job| match job.key.kind {
        Kind::Intervention => {
            tried += 1;
            trap()
        }
        _ => report(Status::Unhealthy),
    });
    assert_eq!(rig.count(opens), 1);
    let exhausted = rig.count(|fact| matches!(fact, Fact::Exhausted(Exhausted::Quarantined)));
    assert!(
        exhausted >= 1 && tried + exhausted == 8,
        "{tried} and {exhausted}"
    );
    rig.play(60, |_| report(Status::Healthy));
    assert_eq!(rig.count(closes), 0, "nothing was repaired, nothing is known");
    let mut repaired = 0;
    rig.play(60, |job| match job.key.kind {
        Kind::Intervention => {
            repaired += 1;
            done()
        }
        _ if repaired > 0 => report(Status::Healthy),
        _ => report(Status::Unhealthy),
    });
    assert_eq!(rig.count(closes), 1);
    assert!(repaired >= 1);
}

#[test]
fn codes_of_a_quarantined_plugin_wait_and_are_undeliverable_in_the_end() {
    let specs = (0..12).map(|number| {
        let mut draft = plain(&format!("m{number}"), |policy| policy.repeat = None);
        draft.sinks = Arc::new([Arc::new(Sink {
            lane: Lane {
                profile: profile("mail", "3"),
                ..lane()
            },
            name: "mail".into(),
            colors: Color::ALL.into_iter().collect(),
            max_age: Duration::from_secs(50),
        })]);
        draft
    });
    let mut rig = Rig::new(specs.collect(), |settings| {
        quick(settings);
        settings.quarantine.as_mut().unwrap().pause_first = Duration::from_secs(600);
    });
    let (mut tried, mut news) = (0, Vec::new());
    for _ in 0..8_000 {
        rig.pass(10);
        for job in rig.take(Kind::Pulse) {
            rig.answer(&job, report(Status::Unhealthy));
        }
        for job in rig.take(Kind::Code) {
            let own = job.spec.name() == "pulse-host";
            if let Payload::Code(alert) = &job.payload
                && own
            {
                news.push(alert.title.clone());
            }
            tried += usize::from(!own);
            rig.answer(&job, if own { receipt() } else { trap() });
        }
    }
    assert_eq!(rig.count(opens), 1);
    assert!((5..=12).contains(&tried), "{tried}");
    let lost = rig.count(|fact| matches!(fact, Fact::Undeliverable { .. }));
    assert_eq!(lost, 12, "each in time, long before the plugin is tried again");
    assert_eq!(
        news.iter()
            .filter(|title| title.contains("could not be delivered"))
            .count(),
        12
    );
    assert!(rig.snapshot().held_codes > 12);
}

#[test]
fn a_repaired_plugin_is_run_from_the_reload_on() {
    let mut rig = Rig::new(many("default", 20, "http-1").collect(), quick);
    rig.play(30, |_| trap());
    assert_eq!(rig.count(opens), 1);
    let repaired = many("default", 20, "http-2").map(|draft| draft.ready()).collect();
    rig.scheduler.reload(repaired, None);
    rig.play(11, |_| report(Status::Healthy));
    assert_eq!(
        rig.count(closes),
        1,
        "it ends with the component that it was about"
    );
    assert!((0..20).all(|number| rig.state(&format!("default-{number}")) == State::Up));
    assert_eq!(rig.snapshot().quarantined, 0);
}

#[test]
fn a_reload_that_keeps_the_plugin_keeps_its_quarantine() {
    let mut rig = Rig::new(many("default", 20, "http-1").collect(), quick);
    rig.play(20, |_| trap());
    let more = many("default", 30, "http-1").map(|draft| draft.ready()).collect();
    rig.scheduler.reload(more, None);
    let mut ran = 0;
    rig.play(15, |_| {
        ran += 1;
        trap()
    });
    assert!(ran <= 6, "probes alone: {ran}");
    assert_eq!((rig.count(opens), rig.count(closes)), (1, 0));
}

/// Monitors with a repair each, of a tenant.
fn repaired(tenant: &str, count: usize) -> impl Iterator<Item = Draft> {
    many(tenant, count, "http-1").map(|mut draft| {
        draft.intervention = spec("any").intervention.clone();
        (draft.policy.failure_threshold, draft.policy.retry_interval) = (2, Duration::from_secs(5));
        draft
    })
}

fn wary(settings: &mut HostSettings) {
    settings.quarantine = None;
    settings.max_hold = Duration::from_secs(60);
    settings.correlated = Some(CorrelatedSettings::default());
}

#[test]
fn when_most_fail_at_once_nothing_is_repaired_until_most_are_back() {
    let mut rig = Rig::new(repaired("default", 30).collect(), wary);
    rig.play(12, |_| report(Status::Healthy));
    let mut repairs = 0;
    let mut live = |rig: &mut Rig, seconds, status: Status| {
        rig.play(seconds, |job| match job.key.kind {
            Kind::Intervention => {
                repairs += 1;
                done()
            }
            _ => report(status),
        });
        repairs
    };
    let before = live(&mut rig, 40, Status::Unhealthy);
    assert!(before < 15, "those that failed first: {before}");
    assert_eq!(rig.count(pauses), 1);
    assert_eq!(rig.snapshot().paused, 1);
    let held = |fact: &Fact| {
        matches!(
            fact,
            Fact::Held {
                why: Hold::Correlated
            }
        )
    };
    assert!(rig.count(held) >= 8);
    assert_eq!(
        live(&mut rig, 15, Status::Unhealthy),
        before,
        "none while it lasts"
    );
    let red = |fact: &Fact| matches!(fact, Fact::Exhausted(Exhausted::Held));
    assert_eq!(rig.count(red), 0);
    live(&mut rig, 40, Status::Unhealthy);
    assert!(rig.count(red) >= 8, "red after the maximum hold");
    live(&mut rig, 15, Status::Healthy);
    assert_eq!((rig.count(pauses), rig.count(resumes)), (1, 1));
    // One that fails on its own is repaired.
    let mut later = 0;
    rig.play(30, |job| match job.key.kind {
        Kind::Intervention => {
            later += 1;
            done()
        }
        _ if job.spec.name() == "default-3" && later == 0 => report(Status::Unhealthy),
        _ => report(Status::Healthy),
    });
    assert_eq!(later, 1);
}

#[test]
fn a_tenant_whose_targets_all_fail_pauses_its_own_repairs_alone() {
    let specs = repaired("big", 60).chain(repaired("small", 4));
    let mut rig = Rig::new(specs.collect(), wary);
    rig.play(12, |_| report(Status::Healthy));
    let mut repairs = HashMap::<Arc<str>, usize>::new();
    rig.play(50, |job| match job.key.kind {
        Kind::Intervention => {
            *repairs.entry(Arc::clone(&job.spec.tenant.name)).or_default() += 1;
            done()
        }
        _ if job.spec.tenant.name.as_ref() == "big" || job.spec.name() == "small-1" => {
            report(Status::Unhealthy)
        }
        _ => report(Status::Healthy),
    });
    assert_eq!(rig.count(pauses), 1);
    assert_eq!(repairs.get("small"), Some(&2), "all of its attempts");
    assert!(repairs.get("big").is_none_or(|count| *count < 45), "{repairs:?}");
}

#[test]
fn children_of_a_parent_that_fails_are_explained_by_it() {
    let mut specs: Vec<Draft> = repaired("default", 30).collect();
    for child in &mut specs[1..] {
        child.parents = Arc::new([0]);
    }
    let mut rig = Rig::new(specs, wary);
    rig.play(12, |_| report(Status::Healthy));
    let mut repaired = Vec::new();
    rig.play(60, |job| match job.key.kind {
        Kind::Intervention => {
            repaired.push(job.spec.name().to_owned());
            done()
        }
        _ => report(Status::Unhealthy),
    });
    assert_eq!(rig.count(pauses), 0);
    assert_eq!(
        repaired,
        ["default-0", "default-0"],
        "the parent is repaired, and nobody else"
    );
}

#[test]
fn counts_outlast_reloads() {
    let mut rig = Rig::new(repaired("default", 30).collect(), wary);
    rig.play(12, |_| report(Status::Healthy));
    // Half of them go, and the others are checked in another interval.
    let rest = repaired("default", 15).map(|mut draft| {
        draft.policy.interval = Duration::from_secs(5);
        draft.ready()
    });
    let rest: Vec<MonitorSpec> = rest.collect();
    rig.scheduler.reload(rest, None);
    rig.play(10, |_| report(Status::Healthy));
    let mut repairs = 0;
    rig.play(25, |job| match job.key.kind {
        Kind::Intervention => {
            repairs += 1;
            done()
        }
        _ => report(Status::Unhealthy),
    });
    assert_eq!(rig.count(pauses), 1, "of fifteen that are left");
    assert!(repairs <= 12, "{repairs}");
}
