//! Every class of outcome. Each case runs on an executor with a single slot, and a healthy guest runs after it: so
//! the hostile one's store is gone, and the executor works.

use crate::support::sandbox::{Lab, Work, pooled, roomy};
use pulse_host::domain::{
    job::JobResult,
    limits::Limits,
    outcome::{ActionFailure, Answer, DeliveryFailure, Outcome, PluginFault, Receipt, Status, Usage},
    spec::Kind,
};
use serde_json::{Value, json};
use std::time::Duration;

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
        assert!(
            result.finished >= result.started && result.started >= result.due,
            "{name}"
        );
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
    assert!(
        peak_memory_bytes <= limits.memory_bytes,
        "{name}: {peak_memory_bytes}"
    );
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
            case("unhealthy", deed("unhealthy"), |r| {
                is_status(r, Status::Unhealthy)
            }),
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

#[test]
fn the_plugins_own_faults() {
    check(
        &[],
        vec![
            case("invalid settings", deed("fault-invalid-settings"), |r| {
                r.outcome == Outcome::PluginFault(PluginFault::InvalidSettings("as told".into()))
            }),
            case("unsupported", deed("fault-unsupported"), |r| {
                r.outcome == Outcome::PluginFault(PluginFault::Unsupported("as told".into()))
            }),
            case("internal", deed("fault-internal"), |r| {
                r.outcome == Outcome::PluginFault(PluginFault::Internal("as told".into()))
            }),
            // What the host should have kept from it: settings that are none.
            case("unknown deed", deed("nothing-of-the-kind"), |r| {
                matches!(&r.outcome, Outcome::PluginFault(PluginFault::InvalidSettings(_)))
            }),
        ],
    );
}

#[test]
fn cpu_is_cut_by_fuel_or_by_time() {
    fn is_out_of_fuel(r: &JobResult) -> bool {
        // The guest that was cut has spent all of it, give or take what the host charges in advance.
        r.outcome == Outcome::OutOfFuel { limit: 50_000_000 } && r.usage.fuel >= 49_000_000
    }
    fn is_out_of_cpu(r: &JobResult) -> bool {
        r.outcome == Outcome::OutOfCpu { limit: BRIEF.cpu } && r.usage.cpu > BRIEF.cpu
    }
    const BRIEF: Limits = Limits {
        fuel: 1 << 60,
        cpu: Duration::from_millis(30),
        memory_bytes: 32 << 20,
    };
    check(
        &["realloc-loop"],
        vec![
            case("endless loop", deed("spin"), is_out_of_fuel),
            case("memory.copy for ever", deed("copy-loop"), is_out_of_fuel),
            case("memory.grow for ever", deed("grow-loop"), |r| {
                is_out_of_fuel(r) && r.usage.peak_memory_bytes > 16 * MIB
            }),
            case(
                "loop while it is handed the job",
                Work::of("realloc-loop"),
                is_out_of_fuel,
            ),
            case(
                "endless loop, fuel for ever",
                deed("spin").limits(BRIEF),
                is_out_of_cpu,
            ),
            case(
                "memory.copy, fuel for ever",
                deed("copy-loop").limits(BRIEF),
                is_out_of_cpu,
            ),
            case(
                "memory.grow, fuel for ever",
                deed("grow-loop").limits(BRIEF),
                is_out_of_cpu,
            ),
            case(
                "allocator, fuel for ever",
                Work::of("realloc-loop").limits(BRIEF),
                is_out_of_cpu,
            ),
            case("log calls for ever", flood().limits(BRIEF), is_out_of_cpu),
        ],
    );
}

fn flood() -> Work {
    Work::chaos(json!({"do": "log-flood", "count": u32::MAX, "bytes": 100}))
}

#[test]
fn memory_is_cut_by_the_sum_of_memories_and_tables() {
    let little = Limits {
        memory_bytes: 4 * MIB,
        ..roomy()
    };
    /// What a table may have in a pool, 8 bytes each, and the one page of the guest's memory.
    fn is_a_table(bytes: u64) -> bool {
        bytes <= 20_000 * 8 + (64 << 10) || !pooled()
    }
    check(
        &["canary", "table-grow"],
        vec![
            case("takes all there is", deed("alloc"), |r| {
                let Outcome::OutOfMemory {
                    limit_bytes,
                    wanted_bytes,
                } = r.outcome
                else {
                    return false;
                };
                limit_bytes == 32 * MIB && wanted_bytes > limit_bytes && r.usage.peak_memory_bytes > 30 * MIB
            }),
            case(
                "takes what it may",
                Work::chaos(json!({"do": "alloc", "bytes": 20 * MIB})),
                |r| is_status(r, Status::Healthy) && r.usage.peak_memory_bytes > 20 * MIB,
            ),
            // 65 pages from the start, and the limit is 64.
            case(
                "wants too much from the start",
                Work::of("canary").limits(little),
                |r| {
                    let Outcome::OutOfMemory {
                        limit_bytes,
                        wanted_bytes,
                    } = r.outcome
                    else {
                        return false;
                    };
                    limit_bytes == 4 * MIB && wanted_bytes == 65 << 16 && r.usage.fuel == 0
                },
            ),
            // It minds no refusal, so it is the fuel that ends it; but what was refused was not counted as taken.
            case("grows a table for ever", Work::of("table-grow"), |r| {
                matches!(r.outcome, Outcome::OutOfFuel { .. }) && is_a_table(r.usage.peak_memory_bytes)
            }),
        ],
    );
}

#[test]
fn stacks_run_over_and_traps_are_told() {
    fn is_trap(r: &JobResult, part: &str) -> bool {
        matches!(&r.outcome, Outcome::Trap(message) if message.contains(part) && !message.contains('\n'))
    }
    check(
        &[
            "bad-realloc",
            "invalid-status",
            "invalid-utf8",
            "list-bomb",
            "run-out-of-bounds",
        ],
        vec![
            case("deep recursion", deed("recurse"), |r| {
                r.outcome == Outcome::StackOverflow
            }),
            // Out of the bottom of its own memory: for the sandbox that is a wild address like any other.
            case("deep recursion in memory", deed("recurse-in-memory"), |r| {
                is_trap(r, "out of bounds memory access")
            }),
            case("panic", deed("panic"), |r| is_trap(r, "unreachable")),
            case("unreachable", deed("trap"), |r| is_trap(r, "unreachable")),
            case("wild address", deed("out-of-bounds"), |r| {
                is_trap(r, "out of bounds memory access")
            }),
            case("exit", deed("exit"), |r| is_trap(r, "exit")),
            case("no UTF-8", Work::of("invalid-utf8"), |r| is_trap(r, "utf-8")),
            case("wild allocator", Work::of("bad-realloc"), |r| {
                is_trap(r, "realloc return")
            }),
            case("wild result", Work::of("run-out-of-bounds"), |r| {
                is_trap(r, "out of bounds")
            }),
            case("no such status", Work::of("invalid-status"), |r| {
                is_trap(r, "discriminant")
            }),
            // The only sign of a bomb is wasmtime's message: an update that changes it must show here.
            case("list bomb", Work::of("list-bomb"), |r| {
                is_trap(r, "too much data is being copied between the host and the guest")
            }),
            case(
                "a log line without end",
                Work::chaos(json!({"do": "log-flood", "bytes": 5 << 20})),
                |r| is_trap(r, "too much data is being copied"),
            ),
            case(
                "pollables without end",
                Work::chaos(json!({"do": "leak-pollables", "count": 100_000})),
                |r| is_trap(r, "resource table"),
            ),
            case(
                "streams without end",
                Work::chaos(json!({"do": "leak-streams", "count": 100_000})),
                |r| is_trap(r, "resource table"),
            ),
            case(
                "random bytes without end",
                Work::chaos(json!({"do": "random-bytes", "bytes": 1 << 30})),
                |r| is_trap(r, "exceeds limit 65536"),
            ),
        ],
    );
}

#[test]
fn what_was_not_granted_is_denied_whatever_the_guest_makes_of_it() {
    let asks: [(&str, Value); 5] = [
        ("http", json!({"do": "http", "url": "http://127.0.0.1:9/"})),
        ("tcp", json!({"do": "tcp", "address": "127.0.0.1:9"})),
        ("tcp", json!({"do": "tcp-wait", "address": "127.0.0.1:9"})),
        ("files", json!({"do": "append", "path": "a.txt"})),
        ("docker", json!({"do": "docker", "container": "web-1"})),
    ];
    let lab = Lab::new(1, &[]);
    for (capability, settings) in asks {
        for (hides, then) in [(false, "healthy"), (true, "healthy"), (true, "unhealthy")] {
            for kind in Kind::ALL {
                let mut settings = settings.clone();
                settings["ignore-errors"] = hides.into();
                settings["then"] = then.into();
                let name = format!("{kind} {settings}");
                let result = lab.run(&Work::chaos(settings).kind(kind));
                let Outcome::Denied(denial) = result.outcome else {
                    panic!("{name}: {:?}", result.outcome);
                };
                assert_eq!(denial.capability, capability, "{name}");
                assert!(
                    denial.grant.contains("[plugins.chaos]"),
                    "{name}: {}",
                    denial.grant
                );
                lab.assert_works(&name);
            }
        }
    }
}

#[test]
fn a_kind_that_the_plugin_does_not_have_is_the_hosts_mistake() {
    check(
        &["good"],
        vec![case(
            "no such export",
            Work::of("good").kind(Kind::Code),
            |r| matches!(&r.outcome, Outcome::HostError(message) if message.contains("no code export")),
        )],
    );
}

#[test]
fn a_job_that_waited_too_long_is_not_run() {
    let mut work = deed("healthy");
    work.expired = true;
    check(
        &[],
        vec![case("expired", work, |r| {
            r.outcome == Outcome::Expired && r.usage == Usage::default()
        })],
    );
}

#[test]
fn without_a_slot_nothing_is_run() {
    let lab = Lab::new(2, &[]);
    let sleeps = Work::chaos(json!({"do": "sleep", "ms": 300}));
    let results = lab.run_together(&[sleeps.clone(), sleeps, deed("healthy"), deed("healthy")]);
    let classes: Vec<&str> = results.iter().map(|result| result.outcome.class()).collect();
    assert_eq!(classes, ["answer", "answer", "no-capacity", "no-capacity"]);
    assert_eq!(results[2].usage.fuel, 0);
    lab.assert_works("no capacity");
}
