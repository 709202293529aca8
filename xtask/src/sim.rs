//! `cargo xtask sim`: the simulator for as long as one likes, or one seed of it again.

use crate::shell;
use anyhow::{Context as _, Result, bail};
use std::process::Command;

/// The options, and what the simulator reads them from.
const OPTIONS: &[(&str, &str)] = &[
    ("--seeds", "PULSE_SIM_SEEDS"),
    ("--first", "PULSE_SIM_FIRST"),
    ("--seed", "PULSE_SIM_SEED"),
    ("--hours", "PULSE_SIM_HOURS"),
];

/// Runs the simulator.
pub fn run(args: &[String]) -> Result<()> {
    // Of the whole workspace: of one package alone, dependencies would be built with fewer features, and twice.
    let mut command = shell::cargo(&["test", "--workspace", "--test", "simulation", "--", "--nocapture"])?;
    set(&mut command, args)?;
    shell::run(&mut command)
}

fn set(command: &mut Command, args: &[String]) -> Result<()> {
    for (_, variable) in OPTIONS {
        command.env_remove(variable);
    }
    let mut args = args.iter();
    while let Some(option) = args.next() {
        let Some((_, variable)) = OPTIONS.iter().find(|(name, _)| name == option) else {
            let known: Vec<&str> = OPTIONS.iter().map(|(name, _)| *name).collect();
            bail!("`sim` has no option `{option}`, only {}", known.join(", "));
        };
        let value = args
            .next()
            .with_context(|| format!("`{option}` needs a number"))?;
        let valid = match *option == "--hours" {
            true => value.parse::<f64>().is_ok_and(|hours| hours > 0.0 && hours < 1e6),
            false => value.parse::<u64>().is_ok(),
        };
        if !valid {
            bail!("`{option} {value}`: that is no number, or none that makes sense");
        }
        command.env(variable, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(args: &[&str]) -> Result<Vec<(String, String)>> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut command = Command::new("true");
        set(&mut command, &args)?;
        Ok(command
            .get_envs()
            .filter_map(|(name, value)| {
                let value = value?;
                Some((
                    name.to_string_lossy().into_owned(),
                    value.to_string_lossy().into_owned(),
                ))
            })
            .collect())
    }

    #[test]
    fn options_become_variables_and_nonsense_is_refused() {
        let set = variables(&["--seed", "7", "--hours", "0.5"]).unwrap();
        let pairs: Vec<(&str, &str)> = set.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(pairs, [("PULSE_SIM_HOURS", "0.5"), ("PULSE_SIM_SEED", "7")]);
        for nonsense in [
            &["--seed"] as &[&str],
            &["--seed", "x"],
            &["--hours", "-1"],
            &["--hours", "NaN"],
            &["--sed", "1"],
        ] {
            assert!(variables(nonsense).is_err(), "{nonsense:?}");
        }
    }
}
