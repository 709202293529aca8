//! Where two rules meet: what comes between, just after, or not at all.

use super::*;

impl Stage {
    fn maintenance(&mut self, on: bool) -> Vec<Color> {
        self.step(|stage, effects| stage.health.set_maintenance(&stage.spec, "m1", on, effects))
    }
}

#[test]
fn reminders_go_on_counting_when_red_gets_a_second_cause() {
    let mut stage = Stage::new(spec(1, 1, Some(1)));
    stage.bad();
    stage.intervene();
    assert_eq!(stage.wait(120), [Red], "page-after");
    assert_eq!(stage.wait(300), [Red], "the first reminder");
    assert_eq!(stage.end(InterventionEnd::Permanent("gone".to_owned())), [Red]);
    assert_eq!(stage.wait(300), [Red], "the second reminder");
    let mut causes: Vec<&str> = stage.codes.iter().map(|code| code.cause.as_str()).collect();
    causes.sort_unstable();
    assert_eq!(
        causes,
        ["down", "failing", "page-after", "reminder-1", "reminder-2"]
    );
}

#[test]
fn nothing_is_said_between_the_end_of_maintenance_and_the_next_pulse() {
    for unreachable in [false, true] {
        let mut stage = Stage::new(spec(1, 2, Some(1)));
        assert_eq!(stage.bad(), [Yellow]);
        let set = |stage: &mut Stage, on: bool| {
            if unreachable {
                stage.step(|stage, effects| stage.health.set_unreachable(on, effects));
            } else {
                stage.maintenance(on);
            }
        };
        set(&mut stage, true);
        stage.wait(500);
        stage.ok();
        set(&mut stage, false);
        assert_eq!(
            stage.wait(2),
            [],
            "page-after has passed, but how is the target now?"
        );
        assert_eq!(stage.fault(), [], "nobody knows yet");
        assert_eq!(stage.wait(2), []);
        assert_eq!(stage.ok(), [Green]);
        stage.bad();
        set(&mut stage, true);
        stage.wait(500);
        set(&mut stage, false);
        assert_eq!(stage.wait(2), []);
        assert_eq!(stage.bad(), [Red], "now it is known");
    }
}

#[test]
fn who_gets_well_in_maintenance_is_up_and_fails_anew_from_the_start() {
    let mut stage = Stage::new(spec(3, 2, Some(2)));
    for _ in 0..3 {
        stage.bad();
    }
    assert_eq!(stage.health.state(), State::Down);
    stage.maintenance(true);
    stage.ok();
    assert_eq!(stage.health.state(), State::Down, "once is not enough");
    stage.ok();
    assert_eq!(stage.health.state(), State::Up);
    assert_eq!(stage.health.pace(&stage.spec.policy), Pace::Regular);
    stage.wait(500);
    stage.maintenance(false);
    assert_eq!(stage.bad(), []);
    assert_eq!(stage.intervene(), Permission::NotWanted, "one failure of three");
    assert_eq!(stage.health.state(), State::Degraded);
    assert_eq!(stage.ok(), [Green], "who was told yellow is told green");
}

#[test]
fn a_verification_that_no_pulse_has_looked_at_has_not_failed() {
    let mut stage = Stage::new(spec(1, 1, Some(1)));
    stage.bad();
    stage.intervene();
    stage.end(Stage::done());
    assert_eq!(stage.wait(60), [], "the host stood still");
    assert_eq!(stage.ok(), [Green]);
    stage.bad();
    stage.intervene();
    stage.end(Stage::done());
    stage.wait(60);
    assert_eq!(stage.bad(), [Red], "and now one has looked");
}

#[test]
fn verification_fails_by_failures_in_a_row() {
    let mut stage = Stage::new(spec(2, 3, Some(2)));
    stage.bad();
    stage.bad();
    stage.intervene();
    stage.end(Stage::done());
    stage.wait(6);
    stage.bad();
    stage.degraded();
    stage.bad();
    assert_eq!(stage.health.state(), State::Verifying, "degraded counts as alive");
    stage.ok();
    stage.bad();
    assert_eq!(stage.health.state(), State::Verifying);
    stage.bad();
    assert_eq!(stage.intervene(), Permission::Granted, "two in a row");
}

#[test]
fn what_pulses_saw_before_a_late_answers_end_proves_nothing() {
    let mut stage = Stage::new(spec(2, 2, Some(1)));
    stage.bad();
    stage.bad();
    stage.intervene();
    stage.end(InterventionEnd::Unknown("lost".to_owned()));
    stage.wait(1);
    stage.ok();
    stage.wait(2);
    let now = stage.now.mono;
    let late = stage.step(|stage, effects| stage.health.late_done(&stage.spec, 1, "restarted", now, effects));
    assert_eq!(late, [Cyan]);
    stage.wait(1);
    assert_eq!(stage.ok(), [], "the first since");
    stage.wait(1);
    assert_eq!(stage.ok(), [Green]);
}

#[test]
fn an_episode_of_many_onsets_of_purple_does_not_grow() {
    let mut stage = Stage::new(spec(1, 1, Some(1)));
    stage.bad();
    for _ in 0..200 {
        for _ in 0..3 {
            stage.fault();
        }
        stage.bad();
    }
    let mut causes: Vec<_> = stage
        .codes
        .iter()
        .filter(|code| code.color == Purple)
        .map(|code| code.cause.clone())
        .collect();
    assert_eq!(causes.len(), 200, "each onset is told");
    causes.sort_unstable();
    causes.dedup();
    assert_eq!(causes.len(), 200, "under a name of its own");
    assert!(stage.health.episode.as_deref().unwrap().emitted.len() < 10);
    assert_eq!(stage.ok(), [Green]);
}
