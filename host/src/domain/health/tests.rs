//! The state machine against scripts that a person can read, and against random histories.

use super::*;
use crate::domain::{
    grant::Grants,
    limits::Limits,
    outcome::{Report, Status},
    spec::{Budget, Check, Class, Draft, InterventionSpec, Lane, Profile},
    tenant::Tenant,
};
use proptest::prelude::*;

mod edges;

const HOLD: Duration = Duration::from_secs(60);

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

pub(super) fn spec(failures: u32, successes: u32, attempts: Option<u32>) -> MonitorSpec {
    let class = Class {
        tenant: Arc::new(Tenant::unlimited()),
        labels: Arc::new([]),
        policy: Policy {
            interval: Duration::from_secs(10),
            retry_interval: Duration::from_secs(1),
            failure_threshold: failures,
            success_threshold: successes,
            page_after: Duration::from_secs(120),
            repeat: Some(Duration::from_secs(300)),
            fault_threshold: 3,
        },
        pulse: Some(Check {
            profile: lane().profile,
            timeout: lane().timeout,
            settings: lane().settings,
        }),
        intervention: attempts.map(|max_attempts| {
            Arc::new(InterventionSpec {
                lane: lane(),
                max_attempts,
                cooldown: Duration::from_secs(5),
                verify_window: Duration::from_secs(20),
                budget: Budget {
                    attempts: 4,
                    per: Duration::from_secs(600),
                },
            })
        }),
        sinks: Arc::new([]),
        parents: Arc::new([]),
    };
    Draft {
        name: "shop".into(),
        class,
    }
    .ready()
}

/// A monitor, its clock, and everything that it did.
struct Stage {
    spec: MonitorSpec,
    health: Health,
    episodes: Episodes,
    now: Now,
    codes: Vec<Emission>,
    facts: Vec<Fact>,
}

impl Stage {
    fn new(spec: MonitorSpec) -> Self {
        let start = Now {
            mono: Mono(0),
            wall: Wall(1_700_000_000_000),
        };
        Self {
            spec,
            health: Health::default(),
            episodes: Episodes::starting_at(start.wall),
            now: start,
            codes: Vec::new(),
            facts: Vec::new(),
        }
    }

    fn step(&mut self, act: impl FnOnce(&mut Self, &mut Effects)) -> Vec<Color> {
        let mut effects = Effects::default();
        act(self, &mut effects);
        let colors = effects.codes.iter().map(|code| code.color).collect();
        self.codes.append(&mut effects.codes);
        self.facts.append(&mut effects.facts);
        colors
    }

    fn report_from(&mut self, status: Status, started: Mono) -> Vec<Color> {
        let report = Report {
            status,
            summary: status.name().to_owned(),
            reason: (status != Status::Healthy).then(|| "test".to_owned()),
            measurements: Vec::new(),
        };
        let now = self.now;
        self.step(|stage, effects| {
            stage
                .health
                .on_report(&stage.spec, &report, started, now, &mut stage.episodes, effects);
        })
    }

    fn ok(&mut self) -> Vec<Color> {
        self.report_from(Status::Healthy, self.now.mono)
    }

    fn bad(&mut self) -> Vec<Color> {
        self.report_from(Status::Unhealthy, self.now.mono)
    }

    fn degraded(&mut self) -> Vec<Color> {
        self.report_from(Status::Degraded, self.now.mono)
    }

    fn fault(&mut self) -> Vec<Color> {
        let now = self.now;
        self.step(|stage, effects| {
            stage
                .health
                .on_fault(&stage.spec, "trapped", now, &mut stage.episodes, effects);
        })
    }

    /// The time goes on by that many seconds, with every wake-up that the monitor asks for on the way.
    fn wait(&mut self, seconds: u64) -> Vec<Color> {
        let end = self.now.mono.after(Duration::from_secs(seconds));
        let mut colors = Vec::new();
        loop {
            let wake = self.health.wake_at(&self.spec, HOLD);
            if wake > end {
                break;
            }
            self.set(wake.max(self.now.mono));
            let now = self.now;
            colors.extend(self.step(|stage, effects| stage.health.on_time(&stage.spec, now, HOLD, effects)));
            assert!(
                self.health.wake_at(&self.spec, HOLD) > self.now.mono,
                "a wake-up that changes nothing: {:?}",
                self.health
            );
        }
        self.set(end);
        colors
    }

    fn set(&mut self, mono: Mono) {
        self.now.wall.0 += (mono.0 - self.now.mono.0) / 1_000_000;
        self.now.mono = mono;
    }

    /// Starts the intervention that is wanted, if the monitor's budgets allow it.
    fn intervene(&mut self) -> Permission {
        let Some(settings) = self.spec.intervention.clone() else {
            return Permission::NotWanted;
        };
        let permission = self.health.may_intervene(&settings, self.now.mono);
        if permission == Permission::Granted {
            self.health.intervention_started(&settings, self.now.mono);
        }
        permission
    }

    fn end(&mut self, end: InterventionEnd) -> Vec<Color> {
        let now = self.now;
        self.step(|stage, effects| {
            stage
                .health
                .on_intervention(&stage.spec, end, now.mono, now, effects);
        })
    }

    fn done() -> InterventionEnd {
        InterventionEnd::Done {
            summary: "restarted".to_owned(),
        }
    }
}

use Color::{Cyan, Gray, Green, Purple, Red, Yellow};

#[test]
fn the_whole_way_down_and_up() {
    let mut stage = Stage::new(spec(2, 1, Some(2)));
    assert_eq!(stage.health.state(), State::Unknown);
    assert_eq!(stage.ok(), []);
    assert_eq!(stage.health.state(), State::Up);
    assert_eq!(stage.bad(), [Yellow]);
    assert_eq!(stage.health.state(), State::Degraded);
    assert_eq!(
        stage.health.pace(&stage.spec.policy),
        Pace::Retry(Duration::from_secs(1))
    );
    assert_eq!(stage.bad(), []);
    assert_eq!(stage.health.state(), State::Down);
    assert_eq!(stage.intervene(), Permission::Granted);
    assert_eq!(stage.end(Stage::done()), [Cyan]);
    assert_eq!(stage.health.state(), State::Verifying);
    stage.wait(1);
    assert_eq!(stage.ok(), [Green]);
    assert_eq!(stage.health.state(), State::Up);
    assert_eq!(stage.health.pace(&stage.spec.policy), Pace::Regular);
    let ids: Vec<_> = stage
        .codes
        .iter()
        .map(|code| code.incident.clone().unwrap().id)
        .collect();
    assert!(
        ids.windows(2).all(|pair| pair[0] == pair[1]),
        "one episode: {ids:?}"
    );
}

#[test]
fn a_soft_failure_closes_with_the_first_healthy_pulse() {
    let mut stage = Stage::new(spec(3, 2, None));
    assert_eq!(stage.bad(), [Yellow]);
    assert_eq!(stage.bad(), []);
    assert_eq!(stage.ok(), [Green]);
    assert_eq!(stage.ok(), []);
}

#[test]
fn without_an_intervention_it_is_red_at_the_threshold() {
    let mut stage = Stage::new(spec(1, 2, None));
    assert_eq!(stage.bad(), [Red], "red says it all");
    assert_eq!(stage.ok(), []);
    assert_eq!(stage.ok(), [Green]);
}

#[test]
fn red_after_the_last_attempt_and_cooldown_before_the_next() {
    let mut stage = Stage::new(spec(1, 1, Some(2)));
    assert_eq!(stage.bad(), [Yellow]);
    assert_eq!(stage.intervene(), Permission::Granted);
    assert_eq!(stage.end(Stage::done()), [Cyan]);
    stage.wait(1);
    assert_eq!(stage.bad(), [], "verification failed");
    assert_eq!(stage.intervene(), Permission::NotWanted, "the cooldown");
    stage.wait(4);
    assert_eq!(stage.intervene(), Permission::Granted);
    assert_eq!(stage.end(Stage::done()), [Cyan]);
    stage.wait(1);
    assert_eq!(stage.bad(), [Red]);
    assert_eq!(stage.intervene(), Permission::NotWanted);
    assert_eq!(stage.wait(300), [Red], "a reminder");
    assert!(stage.codes.last().unwrap().reminder);
}

#[test]
fn a_pulse_that_began_before_the_intervention_ended_proves_nothing() {
    let mut stage = Stage::new(spec(1, 1, Some(1)));
    stage.bad();
    let before = stage.now.mono;
    stage.wait(1);
    stage.intervene();
    stage.end(Stage::done());
    stage.wait(1);
    assert_eq!(stage.report_from(Status::Healthy, before), []);
    assert_eq!(stage.report_from(Status::Unhealthy, before), []);
    assert_eq!(stage.health.state(), State::Verifying);
    assert_eq!(stage.ok(), [Green]);
}

#[test]
fn an_unknown_effect_is_verified_and_never_repeated_blindly() {
    let mut stage = Stage::new(spec(1, 1, Some(3)));
    stage.bad();
    stage.intervene();
    assert_eq!(
        stage.end(InterventionEnd::Unknown("lost".to_owned())),
        [],
        "no cyan: nobody knows"
    );
    assert_eq!(stage.health.state(), State::Verifying);
    assert_eq!(stage.health.attempts(), 1, "spent");
    assert_eq!(stage.intervene(), Permission::NotWanted);
    stage.wait(21);
    assert_eq!(
        stage.intervene(),
        Permission::NotWanted,
        "no pulse has looked yet"
    );
    stage.bad();
    assert_eq!(stage.intervene(), Permission::Granted);
}

#[test]
fn permanent_failure_is_red_and_no_capacity_spends_nothing() {
    let mut stage = Stage::new(spec(1, 1, Some(1)));
    stage.bad();
    stage.intervene();
    assert_eq!(stage.end(InterventionEnd::NotRun("full".to_owned())), []);
    assert_eq!(stage.health.attempts(), 0);
    stage.wait(2);
    assert_eq!(stage.intervene(), Permission::Granted);
    assert_eq!(
        stage.end(InterventionEnd::Permanent("no such container".to_owned())),
        [Red]
    );
}

#[test]
fn retryable_failures_back_off() {
    let mut stage = Stage::new(spec(1, 1, Some(3)));
    stage.bad();
    for pause in [5, 10] {
        assert_eq!(stage.intervene(), Permission::Granted);
        assert_eq!(stage.end(InterventionEnd::Retryable("refused".to_owned())), []);
        stage.wait(pause - 1);
        assert_eq!(stage.intervene(), Permission::NotWanted);
        stage.wait(1);
    }
    assert_eq!(stage.intervene(), Permission::Granted);
    assert_eq!(stage.end(InterventionEnd::Retryable("refused".to_owned())), [Red]);
}

#[test]
fn page_after_does_not_wait_for_repairs() {
    let mut stage = Stage::new(spec(1, 1, Some(1)));
    stage.bad();
    stage.intervene();
    assert_eq!(stage.wait(119), []);
    assert_eq!(stage.wait(1), [Red]);
    assert_eq!(stage.codes.last().unwrap().cause, "page-after");
}

#[test]
fn the_budget_of_the_time_window_outlasts_the_incident() {
    let mut stage = Stage::new(spec(1, 1, Some(10)));
    for _ in 0..4 {
        stage.bad();
        assert_eq!(stage.intervene(), Permission::Granted);
        stage.end(Stage::done());
        stage.wait(1);
        stage.ok();
    }
    stage.bad();
    assert_eq!(stage.intervene(), Permission::Spent);
    let now = stage.now;
    assert_eq!(
        stage.step(|stage, effects| stage.health.budget_spent(&stage.spec, now, effects)),
        [Red]
    );
    stage.ok();
    stage.wait(600);
    stage.bad();
    assert_eq!(stage.intervene(), Permission::Granted);
}

#[test]
fn faults_are_unknown_and_purple_comes_once_per_onset() {
    let mut stage = Stage::new(spec(2, 1, Some(1)));
    stage.ok();
    assert_eq!(stage.fault(), []);
    assert_eq!(stage.health.state(), State::Unknown);
    stage.fault();
    assert_eq!(stage.fault(), [Purple]);
    assert_eq!(stage.fault(), []);
    assert_eq!(stage.ok(), [Green]);
    for _ in 0..2 {
        stage.fault();
    }
    assert_eq!(
        stage.bad(),
        [Yellow],
        "the overlay is gone, the counters were kept"
    );
    for _ in 0..2 {
        assert_eq!(stage.fault(), []);
    }
    assert_eq!(stage.fault(), [Purple]);
    assert_eq!(
        stage.bad(),
        [],
        "the second failure in a row, faults between or not"
    );
    assert_eq!(stage.health.state(), State::Down);
}

#[test]
fn faults_extend_the_verification_up_to_twice_its_window() {
    let mut stage = Stage::new(spec(1, 1, Some(3)));
    stage.bad();
    stage.intervene();
    stage.end(Stage::done());
    let mut colors = Vec::new();
    for _ in 0..8 {
        colors.extend(stage.wait(5));
        colors.extend(stage.fault());
    }
    assert_eq!(colors, [Purple, Red]);
    assert!(stage.facts.contains(&Fact::Exhausted(Exhausted::Unverified)));
}

#[test]
fn degraded_shows_yellow_and_neither_opens_nor_closes_an_incident() {
    let mut stage = Stage::new(spec(2, 1, None));
    assert_eq!(stage.degraded(), [Yellow]);
    for _ in 0..5 {
        assert_eq!(stage.degraded(), []);
    }
    assert_eq!(stage.health.state(), State::Degraded);
    stage.bad();
    assert_eq!(stage.degraded(), []);
    assert_eq!(stage.bad(), [], "not two in a row");
    assert_eq!(stage.bad(), [Red]);
    assert_eq!(stage.degraded(), []);
    assert_eq!(stage.health.state(), State::Down);
    assert_eq!(stage.ok(), [Green]);
}

#[test]
fn held_by_the_host_until_a_fresh_pulse_and_red_after_the_maximum() {
    let mut stage = Stage::new(spec(1, 1, Some(1)));
    stage.bad();
    let hold = |stage: &mut Stage| {
        let now = stage.now.mono;
        stage.step(|stage, effects| stage.health.hold(Hold::Budget, now, effects));
    };
    hold(&mut stage);
    assert_eq!(stage.health.state(), State::Held);
    assert_eq!(stage.intervene(), Permission::NotWanted, "a fresh pulse first");
    stage.wait(30);
    stage.bad();
    assert!(stage.health.wants_intervention());
    hold(&mut stage);
    assert_eq!(stage.wait(29), []);
    assert_eq!(stage.wait(1), [Red], "counted from the first hold");
}

#[test]
fn maintenance_holds_codes_and_leaving_emits_what_is_then_true() {
    let mut stage = Stage::new(spec(1, 1, Some(1)));
    let maintenance = |stage: &mut Stage, on| {
        stage.step(|stage, effects| stage.health.set_maintenance(&stage.spec, "m1", on, effects))
    };
    assert_eq!(maintenance(&mut stage, true), [Gray]);
    assert_eq!(stage.bad(), []);
    assert_eq!(stage.intervene(), Permission::NotWanted);
    assert_eq!(stage.wait(500), []);
    assert_eq!(maintenance(&mut stage, false), [Gray]);
    assert_eq!(stage.bad(), [Red], "down for longer than page-after");
    assert_eq!(stage.intervene(), Permission::Granted);
    assert_eq!(maintenance(&mut stage, true), [Gray]);
    assert_eq!(stage.end(Stage::done()), [], "recorded, not shown");
    stage.wait(1);
    assert_eq!(stage.ok(), []);
    assert_eq!(maintenance(&mut stage, false), [Gray]);
    assert_eq!(stage.ok(), [Green], "who was told red is told green");
}

#[test]
fn an_intervention_that_was_given_up_as_lost_is_not_done_again_when_its_answer_comes_late() {
    let mut stage = Stage::new(spec(1, 1, Some(3)));
    stage.bad();
    stage.intervene();
    stage.end(InterventionEnd::Unknown("lost".to_owned()));
    stage.wait(6);
    stage.bad();
    assert!(stage.health.wants_intervention());
    let now = stage.now.mono;
    let colors =
        stage.step(|stage, effects| stage.health.late_done(&stage.spec, 1, "restarted", now, effects));
    assert_eq!(colors, [Cyan]);
    assert!(!stage.health.wants_intervention());
    stage.wait(1);
    assert_eq!(stage.ok(), [Green]);
}

#[derive(Clone, Debug)]
enum Act {
    Report(Status, u64),
    Fault,
    Wait(u64),
    Intervene,
    End(u8),
    Hold,
    Maintenance(bool),
    Unreachable(bool),
    Late,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => Just(Act::Report(Status::Healthy, 0)),
        4 => (0u64..3).prop_map(|ago| Act::Report(Status::Unhealthy, ago)),
        1 => (0u64..3).prop_map(|ago| Act::Report(Status::Healthy, ago)),
        1 => Just(Act::Report(Status::Degraded, 0)),
        2 => Just(Act::Fault),
        4 => (0u64..40).prop_map(Act::Wait),
        4 => Just(Act::Intervene),
        3 => (0u8..5).prop_map(Act::End),
        1 => Just(Act::Hold),
        1 => any::<bool>().prop_map(Act::Maintenance),
        1 => any::<bool>().prop_map(Act::Unreachable),
        1 => Just(Act::Late),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_the_rules(
        failures in 1u32..4,
        successes in 1u32..4,
        attempts in proptest::option::of(1u32..4),
        acts in proptest::collection::vec(act(), 1..120),
    ) {
        let mut stage = Stage::new(spec(failures, successes, attempts));
        let mut starts: Vec<Mono> = Vec::new();
        let mut running = false;
        let (mut maintenance, mut unreachable) = (false, false);
        let mut known_bad = false;
        for act in acts {
            let quiet = maintenance || unreachable;
            let colors = match act {
                Act::Report(status, ago) => {
                    let started = Mono(stage.now.mono.0.saturating_sub(ago * 1_000_000_000));
                    let colors = stage.report_from(status, started);
                    if status == Status::Healthy {
                        known_bad = stage.health.episode.is_some() && known_bad;
                    } else {
                        known_bad = true;
                    }
                    prop_assert!(!colors.contains(&Purple), "an answer is no fault");
                    colors
                }
                Act::Fault => {
                    let colors = stage.fault();
                    prop_assert!(!colors.contains(&Yellow) && !colors.contains(&Green), "a fault says nothing of the target");
                    prop_assert!(known_bad || !colors.contains(&Red));
                    prop_assert_eq!(stage.health.state(), State::Unknown);
                    colors
                }
                Act::Wait(seconds) => stage.wait(seconds),
                Act::Intervene => {
                    let wanted = stage.intervene();
                    if wanted == Permission::Granted {
                        prop_assert!(!running && !quiet, "one at a time, never in maintenance");
                        running = true;
                        starts.push(stage.now.mono);
                        let limit = stage.spec.intervention.as_ref().unwrap().max_attempts;
                        prop_assert!(stage.health.attempts() <= limit);
                        let now = stage.now.mono;
                        let recent = starts.iter().filter(|at| now.since(**at) < Duration::from_secs(600)).count();
                        prop_assert!(recent <= 4, "the budget of the window");
                    }
                    Vec::new()
                }
                Act::End(how) => {
                    if !running {
                        continue;
                    }
                    running = false;
                    let text = String::new();
                    let end = match how {
                        0 => Stage::done(),
                        1 => InterventionEnd::Retryable(text),
                        2 => InterventionEnd::Permanent(text),
                        3 => InterventionEnd::Unknown(text),
                        _ => {
                            starts.pop();
                            InterventionEnd::NotRun(text)
                        }
                    };
                    stage.end(end)
                }
                Act::Hold => {
                    let now = stage.now.mono;
                    stage.step(|stage, effects| stage.health.hold(Hold::Budget, now, effects))
                }
                Act::Maintenance(on) => {
                    maintenance = on;
                    let colors = stage.step(|stage, effects| stage.health.set_maintenance(&stage.spec, "m", on, effects));
                    prop_assert!(colors.iter().all(|color| *color == Gray));
                    continue;
                }
                Act::Unreachable(on) => {
                    unreachable = on;
                    stage.step(|stage, effects| stage.health.set_unreachable(on, effects))
                }
                Act::Late => {
                    let (now, number) = (stage.now.mono, stage.health.attempts());
                    if running || number == 0 {
                        continue;
                    }
                    stage.step(|stage, effects| stage.health.late_done(&stage.spec, number, "late", now, effects))
                }
            };
            prop_assert!(!quiet || colors.is_empty(), "{colors:?} while held");
            prop_assert!(!(maintenance || unreachable) || !stage.health.wants_intervention());
        }
        // Over the whole history: each (episode, color, cause) once, green last and only to who was told.
        let mut seen = std::collections::HashSet::new();
        let mut told = std::collections::HashSet::new();
        let mut closed = std::collections::HashSet::new();
        for code in stage.codes.iter().filter(|code| code.color != Gray) {
            let episode = code.episode.unwrap();
            prop_assert!(!closed.contains(&episode), "nothing after green");
            prop_assert!(seen.insert((episode, code.color, code.cause.clone())), "twice: {code:?}");
            if code.color == Green {
                prop_assert!(told.contains(&episode));
                closed.insert(episode);
            } else {
                told.insert(episode);
            }
        }
    }
}
