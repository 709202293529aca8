//! Where the address space does not allow a pool, the host is slower, but not less safe: the very same cases, in a
//! process whose address space is limited.

use crate::support::sandbox::{Lab, SLOTS, Work};
use serde_json::json;
use std::process::{Command, Stdio};

/// Runs tests of this binary in such a process. Their output, if they pass.
fn limited(tests: &[&str]) -> String {
    // Room for what a few instances reserve, but not for what a thousand do.
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 67108864 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(tests)
        .args(["--nocapture", "--test-threads=2"])
        .env(SLOTS, "1000")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

#[test]
fn without_a_pool_every_class_is_the_same() {
    let said = limited(&["--ignored", "--exact", "outcomes::no_pool::there_is_no_pool"]);
    assert!(said.contains("1 passed"), "{said}");
    // Slots are what a pool has.
    let said = limited(&[
        "outcomes::classes::",
        "outcomes::isolation::",
        "--skip",
        "without_a_slot_nothing_is_run",
    ]);
    assert!(said.contains("cpu_is_cut_by_fuel_or_by_time ... ok"), "{said}");
    assert!(
        said.contains("a_slot_that_is_used_again_is_clean ... ok"),
        "{said}"
    );
    let said = limited(&[
        "loading::refused::what_is_no_component_says_what_it_is",
        "--exact",
    ]);
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "run by `without_a_pool_every_class_is_the_same`"]
fn there_is_no_pool() {
    // A pool would have put its thousand slots here, at 4 GiB each.
    let before = reserved_bytes();
    let lab = Lab::new(1, &[]);
    let sleeps = Work::chaos(json!({"do": "sleep", "ms": 5}));
    for result in lab.run_together(&[sleeps.clone(), sleeps.clone(), sleeps]) {
        assert_eq!(result.outcome.class(), "answer");
    }
    assert!(
        reserved_bytes() - before < 1 << 33,
        "{} {before}",
        reserved_bytes()
    );
}

fn reserved_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    pages * 4096
}
