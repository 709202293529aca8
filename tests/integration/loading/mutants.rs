//! Components with a few bytes changed: each is refused, or is a plugin that can be run. Nothing panics.

use super::sandbox;
use crate::support::sandbox::{Work, built, found, in_shell, roomy};
use pulse_host::{
    clock::Clock,
    domain::{limits::Limits, outcome::Outcome},
    sandbox::{Compiler, Executor, Library},
};
use pulse_host_fuzz::driver::Random;
use std::{sync::Arc, time::Duration};

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = 8 + random.below(bytes.len() - 8);
        match random.below(10) {
            0 => bytes.truncate(at.max(9)),
            1 => bytes.insert(at, random.number() as u8),
            2 => {
                bytes.remove(at);
            }
            3 => {
                // A piece of itself somewhere else.
                let length = random.below(64).min(bytes.len() - at);
                let piece = bytes[at..at + length].to_vec();
                let to = 8 + random.below(bytes.len() - 8);
                bytes.splice(to..to, piece);
            }
            4..=6 => bytes[at] ^= 1 << random.below(8),
            _ => bytes[at] = random.number() as u8,
        }
    }
}

fn breed(name: &str, original: &[u8], count: u64) {
    let data = tempfile::tempdir().unwrap();
    let sandbox = sandbox(data.path(), Compiler::InProcess);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let limits = Limits {
        fuel: 5_000_000,
        memory_bytes: 8 << 20,
        ..roomy()
    };
    let (mut refused, mut ran) = (0, 0);
    for seed in 0..count {
        let mut bytes = original.to_vec();
        mutate(&mut bytes, &mut Random(seed));
        let (library, problems) = Library::load(&sandbox, vec![found(bytes)]);
        let Some(name) = library.iter().next().map(|plugin| Arc::clone(&plugin.facts.name)) else {
            assert!(!problems.is_empty(), "{name} {seed}: neither loaded nor refused");
            refused += 1;
            continue;
        };
        assert!(problems.is_empty(), "{name} {seed}: {problems:?}");
        let work = Work::of(&name).limits(limits).timeout(Duration::from_secs(60));
        let job = work.job(&Clock::system());
        let result = runtime.block_on(async {
            Executor::new(Arc::clone(&sandbox), Arc::new(library))
                .execute(job)
                .await
        });
        assert!(
            !matches!(
                result.outcome,
                Outcome::HostError(_) | Outcome::NoCapacity(_) | Outcome::Denied(_)
            ),
            "{name} {seed}: {:?}",
            result.outcome
        );
        ran += 1;
    }
    // Otherwise the mutants are too tame, or too wild, to show anything.
    assert!(
        refused > count / 10 && ran > count / 20,
        "{name}: {refused} refused, {ran} ran"
    );
}

#[test]
fn mutants_of_a_built_component() {
    breed("noop", &std::fs::read(built("noop")).unwrap(), 200);
}

#[test]
fn mutants_of_a_small_component() {
    breed("good", &in_shell("good"), 600);
}
