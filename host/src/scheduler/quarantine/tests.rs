//! Breakers, one result at a time.

use super::*;
use crate::domain::{
    grant::Grants,
    job::{JobKey, MonitorId},
    limits::Limits,
    outcome::{Answer, Denial, Outcome, PluginFault, Receipt, Usage},
};

const SETTINGS: QuarantineSettings = QuarantineSettings {
    window: Duration::from_secs(60),
    ratio: 0.5,
    faults_min: 4,
    pause_first: Duration::from_secs(30),
    pause_longest: Duration::from_secs(100),
    tenants: 2,
};

fn profile(digest: &str) -> Profile {
    Profile {
        plugin: "http".into(),
        digest: digest.into(),
        limits: Limits::default(),
        grants: Arc::new(Grants::default()),
        reuse: 0,
    }
}

fn well() -> Outcome {
    Outcome::Answer(Answer::Code(Ok(Receipt {
        id: None,
        summary: String::new(),
    })))
}

fn sick() -> Outcome {
    Outcome::Trap("unreachable".to_owned())
}

/// A quarantine whose queues are numbered as they come: one for each tenant and digest.
struct Ward {
    quarantine: Quarantine,
    now: Mono,
}

impl Ward {
    fn new(users: &[(&str, &str)]) -> Self {
        let mut ward = Self {
            quarantine: Quarantine::new(Some(SETTINGS)),
            now: Mono(0),
        };
        for (flow, (tenant, digest)) in (0..).zip(users) {
            ward.bind(flow, tenant, digest);
        }
        ward.pass(1_000);
        ward
    }

    fn bind(&mut self, flow: u16, tenant: &str, digest: &str) {
        self.quarantine
            .bind(Kind::Pulse, flow, &tenant.into(), &profile(digest), self.now);
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.quarantine.turn(self.now);
    }

    fn result(&self, outcome: Outcome, usage: Usage) -> JobResult {
        JobResult {
            key: JobKey {
                monitor: MonitorId(0),
                kind: Kind::Pulse,
                sink: 0,
                attempt: 0,
            },
            outcome,
            usage,
            due: self.now,
            sent: self.now,
            started: self.now,
            finished: self.now,
        }
    }

    fn hear(&mut self, flow: u16, outcome: Outcome) {
        let result = self.result(outcome, Usage::default());
        self.quarantine.hear(Kind::Pulse, flow, &result, self.now);
    }

    fn crash(&mut self, flow: u16, times: usize) {
        (0..times).for_each(|_| self.hear(flow, sick()));
    }

    /// Sends as many as it is allowed to, and says how many of so many that was.
    fn send(&mut self, flow: u16, count: usize) -> usize {
        self.quarantine.plan();
        let passes = (0..count)
            .filter(|_| self.quarantine.gate(Kind::Pulse, flow, self.now) == Gate::Pass)
            .count();
        let deadline = self.now.after(Duration::from_secs(5));
        (0..passes).for_each(|_| self.quarantine.sent(Kind::Pulse, flow, deadline));
        passes
    }

    fn is_open(&mut self, flow: u16) -> bool {
        self.quarantine.plan();
        self.quarantine.gate(Kind::Pulse, flow, self.now) != Gate::Pass
    }

    /// What became known: quarantined or not, whose, and whether the host's sinks hear of it.
    fn news(&mut self) -> Vec<(bool, Option<String>, bool)> {
        self.quarantine
            .news
            .drain(..)
            .map(|News { fact, loud }| match fact {
                Fact::Quarantined { tenant, .. } => (true, tenant.map(|name| name.to_string()), loud),
                Fact::Readmitted { tenant, .. } => (false, tenant.map(|name| name.to_string()), loud),
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

fn of(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[test]
fn every_class_of_outcome_says_what_it_must() {
    let ward = Ward::new(&[]);
    let second = Duration::from_secs(1);
    let text = String::new;
    let (well_, sick_, nothing) = (Testimony::Well, Testimony::Sick, Testimony::Nothing);
    let cases = [
        (well(), well_),
        (Outcome::DeadlineWaiting, well_),
        (Outcome::PluginFault(PluginFault::Internal(text())), sick_),
        (Outcome::OutOfFuel { limit: 1 }, sick_),
        (Outcome::OutOfCpu { limit: second }, sick_),
        (
            Outcome::OutOfMemory {
                limit_bytes: 1,
                wanted_bytes: 2,
            },
            sick_,
        ),
        (Outcome::StackOverflow, sick_),
        (Outcome::Trap(text()), sick_),
        (
            Outcome::PluginFault(PluginFault::InvalidSettings(text())),
            nothing,
        ),
        (Outcome::PluginFault(PluginFault::Unsupported(text())), nothing),
        (Outcome::Expired, nothing),
        (
            Outcome::Denied(Denial {
                capability: "http",
                wanted: text(),
                grant: text(),
            }),
            nothing,
        ),
        (Outcome::NoCapacity(text()), nothing),
        (Outcome::HostError(text()), nothing),
    ];
    for (outcome, said) in cases {
        let result = ward.result(outcome, Usage::default());
        assert_eq!(testimony(&result), said, "{}", result.outcome.class());
    }
    let cut = |cpu, host| {
        let usage = Usage {
            wall: second * 10,
            cpu,
            host,
            ..Usage::default()
        };
        testimony(&ward.result(Outcome::Deadline, usage))
    };
    assert_eq!(cut(second * 5, Duration::ZERO), sick_, "it computed");
    assert_eq!(cut(second * 2, second * 6), sick_, "when the host let it");
    assert_eq!(
        cut(second, Duration::ZERO),
        nothing,
        "it slept, or others computed"
    );
}

#[test]
fn it_opens_by_rate_and_number_within_the_window() {
    let mut ward = Ward::new(&[("a", "1")]);
    ward.crash(0, 3);
    assert!(!ward.is_open(0), "too few");
    ward.pass(61);
    ward.crash(0, 3);
    assert!(!ward.is_open(0), "the first are forgotten");
    (0..5).for_each(|_| ward.hear(0, well()));
    ward.crash(0, 1);
    assert!(!ward.is_open(0), "4 of 9");
    ward.crash(0, 1);
    assert!(ward.is_open(0), "5 of 10");
    assert_eq!(ward.news(), [(true, of("a"), true)]);
    ward.crash(0, 50);
    assert_eq!(ward.news(), [], "once");
}

#[test]
fn trouble_of_the_host_never_opens_it() {
    let mut ward = Ward::new(&[("a", "1")]);
    for _ in 0..1000 {
        ward.hear(0, Outcome::NoCapacity(String::new()));
        ward.hear(0, Outcome::HostError(String::new()));
        ward.hear(0, Outcome::Expired);
    }
    assert!(!ward.is_open(0));
}

#[test]
fn probes_are_few_and_one_that_goes_well_closes_it() {
    let mut ward = Ward::new(&[("a", "1")]);
    ward.crash(0, 4);
    assert_eq!(ward.send(0, 9), 0);
    ward.pass(31);
    assert_eq!(ward.send(0, 9), PROBES as usize);
    assert_eq!(ward.send(0, 9), 0, "they are out");
    ward.crash(0, 2);
    ward.hear(0, well());
    assert_eq!(ward.send(0, 9), 9);
    assert_eq!(ward.news(), [(true, of("a"), true), (false, of("a"), true)]);
}

#[test]
fn a_batch_that_found_no_room_costs_no_probe() {
    let mut ward = Ward::new(&[("a", "1")]);
    ward.crash(0, 4);
    ward.pass(31);
    for _ in 0..9 {
        ward.quarantine.plan();
        for _ in 0..PROBES {
            assert_eq!(ward.quarantine.gate(Kind::Pulse, 0, ward.now), Gate::Pass);
        }
    }
    assert_eq!(ward.send(0, 9), PROBES as usize);
}

#[test]
fn pauses_double_up_to_the_longest_and_begin_anew_after_a_calm() {
    let mut ward = Ward::new(&[("a", "1")]);
    ward.crash(0, 4);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let began = ward.now;
        while ward.send(0, 1) == 0 {
            ward.pass(1);
        }
        pauses.push(ward.now.since(began).as_secs());
        ward.crash(0, 1);
    }
    for (pause, longest) in pauses.iter().zip([30, 60, 100, 100]) {
        assert!((longest * 3 / 4..=longest + 1).contains(pause), "{pauses:?}");
    }
    assert_eq!(ward.news().len(), 1, "it is the same onset");
    while ward.send(0, 1) == 0 {
        ward.pass(1);
    }
    ward.hear(0, well());
    ward.crash(0, 4);
    ward.pass(31);
    assert!(ward.is_open(0), "it did not last");
    ward.pass(70);
    ward.send(0, 1);
    ward.hear(0, well());
    ward.pass(101);
    ward.crash(0, 4);
    ward.pass(31);
    assert!(!ward.is_open(0), "the first pause");
}

#[test]
fn probes_that_are_lost_are_not_waited_for() {
    let mut ward = Ward::new(&[("a", "1")]);
    ward.crash(0, 4);
    ward.pass(31);
    assert_eq!(ward.send(0, 9), 3);
    ward.pass(5);
    assert_eq!(ward.send(0, 9), 0);
    ward.pass(2);
    assert_eq!(ward.send(0, 9), 3, "nothing was heard of them");
    ward.crash(0, 1);
    ward.pass(7);
    assert_eq!(ward.send(0, 9), 0, "one was sick, and nothing of the others");
}

#[test]
fn a_host_that_stood_still_gives_its_probes_their_time_back() {
    let mut ward = Ward::new(&[("acme", "x")]);
    ward.crash(0, 4);
    ward.pass(200);
    assert_eq!(ward.send(0, 1), 1);
    // Longer than a probe may take; what it answers comes in the run after.
    let stalled = Duration::from_secs(80);
    ward.quarantine.stood_still(stalled);
    ward.pass(80);
    ward.hear(0, well());
    assert!(!ward.is_open(0));
}

#[test]
fn what_was_sent_before_it_opened_proves_nothing() {
    let mut ward = Ward::new(&[("a", "1")]);
    let early = ward.result(well(), Usage::default());
    ward.pass(1);
    ward.crash(0, 4);
    ward.quarantine.hear(Kind::Pulse, 0, &early, ward.now);
    assert!(ward.is_open(0));
    ward.pass(31);
    ward.send(0, 9);
    ward.quarantine.hear(Kind::Pulse, 0, &early, ward.now);
    assert_eq!(ward.send(0, 9), 0, "still the probes' turn");
}

#[test]
fn a_thousand_crashes_of_one_tenant_are_nothing_to_another() {
    let mut ward = Ward::new(&[("bad", "1"), ("good", "1"), ("new", "1")]);
    for _ in 0..100 {
        ward.crash(0, 10);
        ward.hear(1, well());
        assert!(!ward.is_open(1) && !ward.is_open(2));
        ward.pass(31);
        ward.send(0, 9);
    }
    assert_eq!(ward.news(), [(true, of("bad"), true)]);
}

#[test]
fn conspirators_do_not_switch_off_who_is_well() {
    let mut ward = Ward::new(&[("bad", "1"), ("evil", "1"), ("good", "1")]);
    // Its checks are rare: none was within the window.
    ward.hear(2, well());
    ward.pass(3600);
    ward.crash(0, 4);
    ward.crash(1, 4);
    assert_eq!(
        ward.news(),
        [
            (true, of("bad"), true),
            (true, of("evil"), false),
            (true, None, true)
        ]
    );
    assert!(!ward.is_open(2), "it has no fault of its own");
    ward.crash(2, 2);
    assert!(!ward.is_open(2), "two are not enough");
    ward.hear(2, well());
    assert_eq!(ward.news(), [(false, None, true)], "it works after all");
    ward.crash(2, 1);
    assert!(!ward.is_open(2), "three of four by now, but no three in a row");
}

#[test]
fn at_large_the_first_signs_are_enough() {
    let mut ward = Ward::new(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "2")]);
    ward.crash(0, 4);
    ward.crash(1, 4);
    ward.news();
    ward.crash(2, 2);
    assert!(!ward.is_open(2));
    ward.crash(2, 1);
    assert!(ward.is_open(2), "three in a row");
    assert_eq!(ward.news(), [(true, of("c"), false)], "the host knows already");
    ward.crash(3, 3);
    assert!(!ward.is_open(3), "another component");
    ward.pass(31);
    ward.send(2, 9);
    ward.hear(2, well());
    assert_eq!(
        ward.news(),
        [(false, of("c"), false), (false, None, true)],
        "one end for one beginning"
    );
    ward.pass(2);
    assert_eq!(ward.send(0, 9), 3, "the others are tried soon");
    ward.hear(0, well());
    assert_eq!(ward.news(), [(false, of("a"), true)]);
}

#[test]
fn who_comes_new_while_it_is_sick_at_large_begins_with_probes() {
    let mut ward = Ward::new(&[("a", "1"), ("b", "1"), ("idle", "1")]);
    ward.crash(0, 4);
    ward.crash(1, 4);
    ward.bind(3, "new", "1");
    ward.quarantine.plan();
    let gates: Vec<Gate> = (0..5)
        .map(|_| ward.quarantine.gate(Kind::Pulse, 3, ward.now))
        .collect();
    assert_eq!(gates.iter().filter(|gate| **gate == Gate::Pass).count(), 3);
    assert!(
        matches!(
            gates[4],
            Gate::Shut {
                own: false,
                trying: true,
                ..
            }
        ),
        "not its own faults: nothing is known to be wrong"
    );
    ward.send(3, 9);
    ward.crash(3, 2);
    ward.hear(3, well());
    assert_eq!(
        (ward.send(3, 9), ward.send(2, 9)),
        (9, 9),
        "nor is it sick for who was only suspected"
    );
    ward.news();
}

#[test]
fn a_repaired_component_begins_well_and_ends_the_quarantine() {
    let mut ward = Ward::new(&[("a", "1")]);
    ward.crash(0, 4);
    let held = Entity::from_raw_u32(7).unwrap();
    ward.quarantine.hold(Kind::Pulse, 0, held);
    ward.news();
    ward.bind(0, "a", "2");
    assert!(!ward.is_open(0));
    ward.quarantine.retain(&HashSet::from([("a".into(), "2".into())]));
    assert_eq!(ward.news(), [(false, of("a"), true)]);
    assert_eq!(ward.quarantine.released, [held], "what was held is checked");
    assert_eq!(ward.quarantine.count(), 0);
    ward.bind(0, "a", "1");
    assert!(!ward.is_open(0), "nothing is kept of what nobody used");
}

#[test]
fn a_queue_that_several_share_says_nothing_about_any() {
    let mut ward = Ward::new(&[("a", "1")]);
    ward.quarantine.unbind(Kind::Pulse, 0);
    ward.crash(0, 100);
    assert!(!ward.is_open(0));
}
