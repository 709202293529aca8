//! Every class of outcome. Each case runs on an executor with a single slot, and a healthy guest runs after it: so
//! the hostile one's store is gone, and the executor works.

use crate::support::sandbox::{Lab, Work, loopback, roomy, silent};
use pulse_host::{
    clock::Clock,
    domain::{
        job::JobResult,
        limits::Limits,
        outcome::{
            ActionFailure, Answer, DeliveryFailure, Outcome, PluginFault, Receipt, Status, Usage,
        },
        spec::Kind,
        time::{Mono, Wall},
    },
};
use serde_json::{Value, json};
use std::time::Duration;

/// Limits that nothing but fuel or memory meets.
const MIB: u64 = 1 << 20;

struct Case {
    name: &'static str,
    work: Work,
    holds: fn(&JobResult) -> bool,
}

fn case(name: &'static str, work: Work, holds: fn(&JobResult) -> bool) -> Case {
    Case { name, work, holds }
}

fn check(guests: &[&str], cases: Vec<Case>) {
    let lab = Lab::new(1, guests);
    for Case { name, work, holds } in cases {
        let result = lab.run(&work);
        assert!(holds(&result), "{name}: {:?} {:?}", result.outcome, result.usage);
        assert_eq!(result.key.kind, work.kind, "{name}");
        assert!(result.finished >= result.started && result.started >= result.due, "{name}");
        plausible(name, &work.profile.limits, &result);
        lab.assert_works(name);
    }
}

/// What must be true of the usage of whatever ran.
fn plausible(name: &str, limits: &Limits, result: &JobResult) {
    let Usage {
        fuel,
        wall,
        cpu,
        host,
        peak_memory_bytes,
    } = result.usage;
    assert!(fuel <= limits.fuel, "{name}: {fuel} of {}", limits.fuel);
    assert!(wall <= result.finished.since(result.started), "{name}");
    assert!(cpu <= wall, "{name}: {cpu:?} of {wall:?}");
    assert!(host <= wall, "{name}: {host:?} of {wall:?}");
    assert!(peak_memory_bytes <= limits.memory_bytes, "{name}: {peak_memory_bytes}");
}

fn deed(name: &str) -> Work {
    Work::chaos(json!({"do": name}))
}

fn is_status(result: &JobResult, wanted: Status) -> bool {
    matches!(&result.outcome, Outcome::Answer(Answer::Pulse(report)) if report.status == wanted)
        && result.usage.fuel > 0
        && result.usage.peak_memory_bytes >= 64 << 10
}

#[test]
fn answers_of_every_kind() {
    let repair = |name| deed(name).kind(Kind::Intervention);
    let tell = |name| deed(name).kind(Kind::Code);
    check(
        &[],
        vec![
            case("healthy", deed("healthy"), |r| is_status(r, Status::Healthy)),
            case("degraded", deed("degraded"), |r| is_status(r, Status::Degraded)),
            case("unhealthy", deed("unhealthy"), |r| is_status(r, Status::Unhealthy)),
            case("done", repair("done"), |r| {
                matches!(&r.outcome, Outcome::Answer(Answer::Intervention(Ok(_))))
            }),
            case("not repaired, retryable", repair("retryable"), |r| {
                let failure = ActionFailure::Retryable("as told".into());
                r.outcome == Outcome::Answer(Answer::Intervention(Err(failure)))
            }),
            case("not repaired, permanent", repair("permanent"), |r| {
                let failure = ActionFailure::Permanent("as told".into());
                r.outcome == Outcome::Answer(Answer::Intervention(Err(failure)))
            }),
            case("perhaps repaired", repair("effect-unknown"), |r| {
                let failure = ActionFailure::EffectUnknown("as told".into());
                r.outcome == Outcome::Answer(Answer::Intervention(Err(failure)))
            }),
            case("receipt", tell("receipt"), |r| {
                r.outcome
                    == Outcome::Answer(Answer::Code(Ok(Receipt {
                        id: Some("receipt-1".into()),
                        summary: "as told, calls 1".into(),
                    })))
            }),
            case(
                "not delivered, retryable",
                Work::chaos(json!({"do": "retryable", "ms": 1500})).kind(Kind::Code),
                |r| {
                    r.outcome
                        == Outcome::Answer(Answer::Code(Err(DeliveryFailure::Retryable {
                            message: "as told".into(),
                            after: Some(Duration::from_millis(1500)),
                        })))
                },
            ),
            case("not delivered, permanent", tell("permanent"), |r| {
                let failure = DeliveryFailure::Permanent("as told".into());
                r.outcome == Outcome::Answer(Answer::Code(Err(failure)))
            }),
        ],
    );
}
