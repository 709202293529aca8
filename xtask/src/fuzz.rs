//! `cargo xtask fuzz`: a target of `fuzz/` for as long as one likes, without a nightly toolchain.

use crate::shell;
use anyhow::{Context as _, Result, bail};
use std::process::Command;

const TARGET: &str = "PULSE_FUZZ_TARGET";
/// The options, and what the test reads them from.
const OPTIONS: &[(&str, &str)] = &[("--runs", "PULSE_FUZZ_RUNS"), ("--seed", "PULSE_FUZZ_SEED")];
/// The test that runs all targets.
const TEST: &str = "loading::fuzz::no_input_breaks_a_reader";

/// Runs one target, or all of them.
pub fn run(args: &[String]) -> Result<()> {
    // Of the whole workspace: of one package alone, dependencies would be built with fewer features, and twice.
    let mut command = shell::cargo(&["test", "--workspace", "--test", "integration"])?;
    command.args(["--", "--exact", TEST, "--nocapture"]);
    set(&mut command, args, &targets()?)?;
    shell::run(&mut command)
}

/// The names of the targets: each has a folder of seeds.
fn targets() -> Result<Vec<String>> {
    let corpus = shell::root()?.join("fuzz/corpus");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&corpus).with_context(|| format!("reading {}", corpus.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn set(command: &mut Command, args: &[String], targets: &[String]) -> Result<()> {
    for variable in OPTIONS.iter().map(|(_, variable)| *variable).chain([TARGET]) {
        command.env_remove(variable);
    }
    let mut chosen: Option<&str> = None;
    let mut args = args.iter();
    while let Some(argument) = args.next() {
        let Some((_, variable)) = OPTIONS.iter().find(|(name, _)| name == argument) else {
            if !targets.contains(argument) {
                let known = OPTIONS
                    .iter()
                    .map(|(name, _)| *name)
                    .collect::<Vec<_>>()
                    .join(", ");
                bail!(
                    "`{argument}` is neither a target ({}) nor an option ({known})",
                    targets.join(", ")
                );
            }
            if let Some(first) = chosen.replace(argument) {
                bail!("`{first}` and `{argument}`: one target at a time, or all without any");
            }
            command.env(TARGET, argument);
            continue;
        };
        let value = args
            .next()
            .with_context(|| format!("`{argument}` needs a number"))?;
        if value.parse::<u64>().is_err() {
            bail!("`{argument} {value}`: that is no number");
        }
        command.env(variable, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_and_options_become_variables_and_nonsense_is_refused() {
        let known = ["config".to_owned(), "lock".to_owned()];
        let set = |args: &[&str]| -> Result<Vec<(String, String)>> {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            let mut command = Command::new("true");
            super::set(&mut command, &args, &known)?;
            let variables = command
                .get_envs()
                .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value?.to_str()?.to_owned())));
            Ok(variables.collect())
        };
        let pairs = set(&["lock", "--runs", "7"]).unwrap();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(pairs, [("PULSE_FUZZ_RUNS", "7"), ("PULSE_FUZZ_TARGET", "lock")]);
        for nonsense in [
            &["lok"] as &[&str],
            &["--runs"],
            &["--seed", "x"],
            &["lock", "config"],
        ] {
            assert!(set(nonsense).is_err(), "{nonsense:?}");
        }
    }

    #[test]
    fn every_target_has_seeds() {
        assert!(targets().unwrap().contains(&"component".to_owned()));
    }
}
