//! When an instance is used again: only for the same tenant under the same profile, only so often, and never after
//! anything but a good end. The guest's own counter tells: 1 is a fresh instance.

use super::measured;
use crate::support::sandbox::{Lab, PATIENCE, Silent, Work, loopback, profile, roomy};
use pulse_host::{
    clock::Clock,
    domain::{
        grant::Grants,
        limits::Limits,
        spec::Kind,
        time::{Mono, Wall},
    },
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

fn healthy() -> Work {
    Work::chaos(json!({"do": "healthy"}))
}

fn calls(lab: &Lab, work: &Work) -> u32 {
    measured(&lab.run(work), "calls") as u32
}

#[test]
fn an_instance_does_that_many_jobs_and_no_more() {
    let lab = Lab::new(4, &[]);
    for (reuse, expected) in [
        (0, [1; 7]),
        (1, [1; 7]),
        (2, [1, 2, 1, 2, 1, 2, 1]),
        (3, [1, 2, 3, 1, 2, 3, 1]),
    ] {
        let work = healthy().reuse(reuse);
        assert_eq!([(); 7].map(|()| calls(&lab, &work)), expected, "reuse = {reuse}");
    }
}

#[test]
fn an_instance_knows_one_tenant_and_one_profile() {
    let lab = Lab::new(8, &[]);
    let [one, same] = [(); 2].map(|()| profile("chaos", roomy(), Grants::default(), 9));
    assert_eq!(
        one, same,
        "two profiles that say the same, as a reload makes them"
    );
    let mut seen = Vec::new();
    for _ in 0..2 {
        for tenant in ["acme", "globex"] {
            for profile in [&one, &same] {
                seen.push(calls(&lab, &healthy().tenant(tenant).profile(profile)));
            }
        }
    }
    assert_eq!(seen, [1, 1, 1, 1, 2, 2, 2, 2]);
}

#[test]
fn jobs_at_the_same_time_share_no_instance() {
    let lab = Lab::new(8, &[]);
    let sleeps = Work::chaos(json!({"do": "sleep", "ms": 20})).reuse(9);
    let first: Vec<f64> = lab
        .run_together(&[sleeps.clone(), sleeps.clone(), sleeps.clone()])
        .iter()
        .map(|result| measured(result, "calls"))
        .collect();
    assert_eq!(first, [1.0; 3]);
    let second = lab.run_together(&[sleeps.clone(), sleeps.clone(), sleeps]);
    assert!(second.iter().all(|result| measured(result, "calls") == 2.0));
}

#[test]
fn only_a_good_end_lets_an_instance_go_on() {
    let lab = Lab::new(8, &[]);
    let limits = Limits {
        memory_bytes: 8 << 20,
        ..roomy()
    };
    let denied = json!({"do": "tcp", "address": "127.0.0.1:9", "ignore-errors": true});
    for (settings, class, goes_on) in [
        (json!({"do": "unhealthy"}), "answer", true),
        (json!({"do": "fault-unsupported"}), "plugin-fault", true),
        (json!({"do": "fault-invalid-settings"}), "plugin-fault", true),
        (json!({"do": "log-flood", "count": 10_000}), "answer", true),
        (json!({"do": "fault-internal"}), "plugin-fault", false),
        (json!({"do": "panic"}), "trap", false),
        (json!({"do": "exit"}), "trap", false),
        (json!({"do": "recurse"}), "stack-overflow", false),
        (json!({"do": "spin"}), "out-of-fuel", false),
        (json!({"do": "alloc"}), "out-of-memory", false),
        (json!({"do": "sleep", "ms": 1_000_000}), "deadline", false),
        (denied, "denied", false),
    ] {
        let bounds = profile("chaos", limits, Grants::default(), 100);
        let work =
            |settings: &Value, timeout| Work::chaos(settings.clone()).profile(&bounds).timeout(timeout);
        let well = work(&json!({"do": "healthy"}), PATIENCE);
        assert_eq!(calls(&lab, &well), 1);
        assert_eq!(calls(&lab, &well), 2);
        let timeout = if class == "deadline" {
            Duration::from_millis(50)
        } else {
            PATIENCE
        };
        let result = lab.run(&work(&settings, timeout));
        assert_eq!(result.outcome.class(), class, "{settings}");
        let expected = if goes_on { 4 } else { 1 };
        assert_eq!(calls(&lab, &well), expected, "after {settings}");
    }
}

#[test]
fn an_instance_that_has_used_its_memory_up_does_not_go_on() {
    let lab = Lab::new(4, &[]);
    let limits = Limits {
        memory_bytes: 4 << 20,
        ..roomy()
    };
    let bounds = profile("chaos", limits, Grants::default(), 100);
    // It is refused memory, minds it not, and answers: the next job would be refused at once.
    let refused = Work::chaos(json!({"do": "grow-until-refused"})).profile(&bounds);
    assert_eq!([(); 3].map(|()| calls(&lab, &refused)), [1; 3]);
}

#[test]
fn what_a_job_used_is_its_own() {
    // What passes is what is made to pass.
    let (clock, hand) = Clock::manual(Mono(1), Wall(0));
    let lab = Lab::with_clock(1, &[], clock);
    let bounds = profile("chaos", roomy(), loopback(), 100);
    let work = |settings| Work::chaos(settings).profile(&bounds);
    let large = lab.run(&work(json!({"do": "alloc", "bytes": 8 << 20})));
    assert!(large.usage.peak_memory_bytes > 8 << 20);
    let mut target = Silent::new();
    let waited = lab.run_while(&work(target.get()).timeout(Duration::from_secs(2)), async || {
        target.taken().await;
        hand.advance(Duration::from_millis(7));
    });
    assert_eq!(measured(&waited, "calls"), 2.0);
    assert_eq!(waited.usage.host, Duration::from_millis(7));
    assert_eq!(waited.usage.wall, Duration::from_millis(7));
    assert_eq!(
        waited.usage.cpu,
        Duration::ZERO,
        "it was not polled while time passed"
    );
    let after = lab.run(&work(json!({"do": "healthy"})));
    assert_eq!(measured(&after, "calls"), 3.0);
    assert!(
        after.usage.fuel > 0 && after.usage.fuel < large.usage.fuel,
        "{:?}",
        after.usage
    );
    assert_eq!(
        (after.usage.host, after.usage.wall),
        (Duration::ZERO, Duration::ZERO)
    );
    // The memory of an instance never shrinks.
    assert_eq!(after.usage.peak_memory_bytes, large.usage.peak_memory_bytes);
}

#[test]
fn an_instance_serves_all_kinds_of_its_profile() {
    let lab = Lab::new(1, &[]);
    let bounds = profile("chaos", roomy(), Grants::default(), 100);
    assert_eq!(calls(&lab, &healthy().profile(&bounds)), 1);
    let receipt = lab.run(
        &Work::chaos(json!({"do": "receipt"}))
            .kind(Kind::Code)
            .profile(&bounds),
    );
    assert!(receipt.outcome.to_string().ends_with("calls 2"), "{receipt:?}");
}

#[test]
fn an_instance_that_waits_gives_its_slot_to_a_job() {
    let lab = Lab::new(1, &[]);
    let [waits, other] = [(); 2].map(|()| healthy().reuse(100));
    assert_eq!(calls(&lab, &waits), 1);
    assert_eq!(calls(&lab, &waits), 2);
    // The only slot is taken by an instance that nobody may use but another profile.
    assert_eq!(calls(&lab, &other), 1);
    assert_eq!(calls(&lab, &waits), 1);
    let fresh = healthy();
    assert_eq!(calls(&lab, &fresh), 1);
    assert_eq!(
        Arc::strong_count(&waits.profile),
        1,
        "an instance that is gone keeps its profile"
    );
}
