//! Hostile executions leave nothing behind: no memory, no descriptors, no threads.

use crate::support::sandbox::{Lab, PATIENCE, Silent, Work, loopback, roomy};
use pulse_host::domain::limits::Limits;
use serde_json::json;
use std::{
    process::{Command, Stdio},
    time::Duration,
};

/// What is measured is the process, so that it must be one of its own.
#[test]
fn a_thousand_hostile_executions_leave_nothing_behind() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "outcomes::leaks::in_a_process_of_its_own",
            "--ignored",
            "--nocapture",
        ])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("1 passed"), "{said}");
}

#[derive(Debug)]
struct Footprint {
    resident_bytes: usize,
    descriptors: usize,
    threads: usize,
}

impl Footprint {
    fn now() -> Self {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
        let count = |folder| std::fs::read_dir(folder).unwrap().count();
        Self {
            resident_bytes: pages * 4096,
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
        }
    }
}

#[test]
#[ignore = "run by `a_thousand_hostile_executions_leave_nothing_behind`"]
fn in_a_process_of_its_own() {
    const SLOTS: u32 = 4;
    let lab = Lab::new(SLOTS, &["bad-realloc", "list-bomb", "table-grow"]);
    let target = Silent::new();
    let address = target.address;
    let little = Limits {
        fuel: 2_000_000,
        memory_bytes: 8 << 20,
        cpu: PATIENCE,
    };
    let brief = Duration::from_millis(5);
    let mut hostile: Vec<Work> = [
        json!({"do": "spin"}),
        json!({"do": "alloc"}),
        json!({"do": "grow-loop"}),
        json!({"do": "recurse"}),
        json!({"do": "recurse-in-memory"}),
        json!({"do": "panic"}),
        json!({"do": "out-of-bounds"}),
        json!({"do": "exit"}),
        json!({"do": "fault-internal"}),
        json!({"do": "huge-summary", "bytes": 1 << 20}),
        json!({"do": "log-flood", "count": 1_000}),
        json!({"do": "stdout", "count": 1_000}),
        json!({"do": "partial-line", "bytes": 10_000}),
        json!({"do": "leak-pollables", "count": 1_000}),
        json!({"do": "leak-streams", "count": 1_000}),
        json!({"do": "tcp", "address": "127.0.0.1:1"}),
        json!({"do": "append", "path": "a.txt"}),
    ]
    .map(|settings| Work::chaos(settings).limits(little))
    .into();
    hostile.extend(["bad-realloc", "list-bomb", "table-grow"].map(|name| Work::of(name).limits(little)));
    hostile.push(Work::chaos(json!({"do": "sleep", "ms": 1_000_000})).timeout(brief));
    hostile.push(Work::chaos(target.get()).grants(loopback()).timeout(brief));
    hostile.push(
        Work::chaos(json!({"do": "tcp", "address": address.to_string()}))
            .grants(loopback())
            .limits(roomy()),
    );
    // Instances that wait hold slots, but never more than there are.
    hostile.push(
        Work::chaos(json!({"do": "alloc", "bytes": 4 << 20}))
            .limits(little)
            .reuse(2),
    );

    let mut executions = 0;
    let mut run = |rounds: usize| {
        for _ in 0..rounds {
            for work in &hostile {
                lab.run(work);
                executions += 1;
            }
            lab.assert_works("a round");
        }
        executions
    };
    run(5);
    let before = Footprint::now();
    let executions = run(1_000_usize.div_ceil(hostile.len()));
    let after = Footprint::now();
    assert!(executions >= 1_000);
    assert_eq!(after.threads, before.threads, "{before:?} {after:?}");
    // Sockets are closed when the call is dropped, before the result is there.
    assert_eq!(after.descriptors, before.descriptors, "{before:?} {after:?}");
    // What each slot may keep resident, twice, and something for the allocator.
    let allowed = SLOTS as usize * (2 << 20) * 2 + (16 << 20);
    assert!(
        after.resident_bytes <= before.resident_bytes + allowed,
        "{before:?} {after:?}"
    );
}
