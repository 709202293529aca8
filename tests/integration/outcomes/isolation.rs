//! An execution sees nothing of the host and nothing of another execution.

use super::{measured, report};
use crate::support::sandbox::{Lab, Work};
use pulse_host::{clock::Clock, domain::outcome::Status};
use serde_json::json;
use std::collections::BTreeSet;

#[test]
fn there_are_no_arguments_no_environment_and_no_files() {
    let lab = Lab::new(1, &[]);
    let result = lab.run(&Work::chaos(json!({"do": "environment"})));
    for name in ["arguments", "variables", "files"] {
        assert_eq!(measured(&result, name), 0.0, "{name}");
    }
}

#[test]
fn every_execution_has_random_numbers_of_its_own() {
    let lab = Lab::new(2, &[]);
    for reuse in [0, 100] {
        let work = Work::chaos(json!({"do": "random"})).reuse(reuse);
        let numbers: BTreeSet<u64> = (0..8)
            .map(|_| measured(&lab.run(&work), "random").to_bits())
            .collect();
        // Of eight numbers of 32 bits two are the same once in 150 million times; all but one, never.
        assert!(numbers.len() >= 7, "reuse = {reuse}: {numbers:?}");
    }
}

#[test]
fn clocks_go_on_from_one_execution_to_the_next() {
    let lab = Lab::new(1, &[]);
    let clock = Clock::system();
    let work = Work::chaos(json!({"do": "clocks"}));
    let before = clock.wall().0 as f64;
    let [first, second] = [(); 2].map(|()| lab.run(&work));
    let after = clock.wall().0 as f64;
    let wall = |result| measured(result, "wall_clock");
    assert!(before <= wall(&first) && wall(&first) <= wall(&second) && wall(&second) <= after);
    assert!(measured(&first, "monotonic_step") >= 0.0);
    // The guest's monotonic time starts with its instance: it tells nothing about the host's own.
    let since_start = measured(&second, "monotonic_clock");
    assert!(
        since_start <= second.usage.wall.as_nanos() as f64,
        "{since_start}"
    );
}

#[test]
fn a_slot_that_is_used_again_is_clean() {
    let lab = Lab::new(1, &["canary"]);
    let canary = Work::of("canary");
    let hostile = [
        "alloc",
        "recurse-in-memory",
        "recurse",
        "panic",
        "copy-loop",
        "grow-loop",
    ];
    for round in 0..4 {
        for deed in hostile {
            let result = lab.run(&canary);
            let report = report(&result);
            assert_eq!(
                (report.status, report.summary.as_str()),
                (Status::Healthy, "WAT."),
                "{round} {deed}"
            );
            assert!(!matches!(
                lab.run(&Work::chaos(json!({"do": deed}))).outcome.class(),
                "answer"
            ));
        }
    }
    // The scan does find what is there: an instance that is used again by right still has its own traces.
    let kept = canary.reuse(2);
    assert_eq!(report(&lab.run(&kept)).summary, "WAT.");
    assert_eq!(report(&lab.run(&kept)).summary, "DIRT");
}
