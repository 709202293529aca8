//! The table of hostile guests: each beside two honest tenants on one thread, which notice nothing but that they have
//! to share it.

use crate::support::{
    root,
    sandbox::{Lab, PATIENCE, Silent, Work, roomy},
    sockets::dead,
};
use pulse_host::domain::outcome::{Answer, Outcome, Status};
use serde_json::json;
use table::{CHAOS, Case, Targets};

#[path = "../../host/benches/support/hostile.rs"]
#[allow(dead_code, reason = "the benchmark needs more of it")]
mod table;

fn work(case: &Case, targets: &Targets) -> Work {
    Work::of(&case.guest)
        .settings(serde_json::from_str(&case.settings(targets)).unwrap())
        .limits(case.limits())
        .grants(case.grants())
        .timeout(case.timeout().unwrap_or(PATIENCE))
        .tenant("hostile")
}

/// Whether the guest of a honest tenant did what it should.
fn is_healthy(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Answer(Answer::Pulse(report)) if report.status == Status::Healthy)
}

#[test]
fn every_hostile_guest_comes_to_one_outcome_of_its_class_and_its_neighbours_to_theirs() {
    const SLOTS: u32 = 4;
    let cases = table::table(&root()).unwrap();
    let mut guests: Vec<&str> = cases.iter().map(|case| case.guest.as_str()).collect();
    guests.retain(|guest| *guest != CHAOS);
    guests.sort_unstable();
    guests.dedup();
    let lab = Lab::new(SLOTS, &guests);
    let silent = Silent::new();
    let refusing = dead();
    let targets = Targets {
        silent: silent.address,
        refused: refusing.address,
    };
    let mut wrong = Vec::new();
    for case in &cases {
        // One computes a little, one waits: both end well however long the hostile one takes.
        let honest = |tenant, settings| Work::chaos(settings).limits(roomy()).tenant(tenant);
        let works = [
            work(case, &targets),
            honest("acme", json!({"do": "spin-ms", "ms": 1})),
            honest("globex", json!({"do": "sleep", "ms": 1})),
        ];
        let results = lab.run_together(&works);
        let hostile = &results[0];
        if hostile.outcome.class() != case.class {
            wrong.push(format!(
                "{}: {} instead of {}: {:?}",
                case.name,
                hostile.outcome.class(),
                case.class,
                hostile.outcome
            ));
        }
        let limits = case.limits();
        assert!(hostile.usage.fuel <= limits.fuel, "{}", case.name);
        assert!(
            hostile.usage.peak_memory_bytes <= limits.memory_bytes,
            "{}",
            case.name
        );
        for (result, work) in results.iter().zip(&works).skip(1) {
            assert!(
                is_healthy(&result.outcome),
                "{}, beside {}: {:?}",
                work.tenant,
                case.name,
                result.outcome
            );
        }
        // All slots are free again.
        let healthy = vec![Work::chaos(json!({"do": "healthy"})); SLOTS as usize];
        for result in lab.run_together(&healthy) {
            assert!(
                is_healthy(&result.outcome),
                "after {}: {:?}",
                case.name,
                result.outcome
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases.len() > 40);
}
