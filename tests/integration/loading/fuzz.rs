//! A short run of every target in `fuzz/`: the corpus, and the same mutants of it every time. `cargo xtask fuzz` sets
//! the variables and makes it a long one.

use crate::support::root;
use pulse_host_fuzz::{TARGETS, driver};
use std::{fs, path::PathBuf};

const RUNS: u64 = 300;
const SEED: u64 = 1;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
    )
}

#[test]
fn no_input_breaks_a_reader() {
    let only = std::env::var("PULSE_FUZZ_TARGET").ok();
    if let Some(only) = &only {
        let known = TARGETS.iter().any(|(name, _)| name == only);
        assert!(known, "PULSE_FUZZ_TARGET={only} is none of the targets");
    }
    let (runs, seed) = (
        number("PULSE_FUZZ_RUNS").unwrap_or(RUNS),
        number("PULSE_FUZZ_SEED").unwrap_or(SEED),
    );
    for target in TARGETS {
        let name = target.0;
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let seeds = driver::corpus(&root(), name).unwrap();
        assert!(seeds.len() >= 3, "{name} has hardly any seeds");
        if let Err(broken) = driver::run(*target, &seeds, runs, seed) {
            let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("broken-{name}"));
            fs::write(&path, &broken.input).unwrap();
            panic!(
                "{name}: input {} of seed {seed} breaks it: {}\nit is in {}",
                broken.number,
                broken.message,
                path.display()
            );
        }
        println!("{name}: {} seeds, {runs} mutants", seeds.len());
    }
}

/// One file a target, as cargo-fuzz wants it, and one folder of seeds.
#[test]
fn every_target_is_there_for_cargo_fuzz() {
    let listed = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(root().join("fuzz").join(folder)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        names.sort();
        names
    };
    let names: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(listed("fuzz_targets"), names);
    assert_eq!(listed("corpus"), names);
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for name in names {
        assert!(
            manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
    }
}
