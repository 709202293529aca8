//! What `--help` says, against checked-in text, so that a change of it is seen. `UPDATE_GOLDEN=1` rewrites the text.

use super::run;
use crate::support::root;
use std::path::Path;

const COMMANDS: &[&[&str]] = &[
    &[],
    &["run"],
    &["init"],
    &["check-config"],
    &["schema"],
    &["probe"],
    &["tenants"],
    &["status"],
    &["reload"],
    &["pause"],
    &["resume"],
    &["check"],
    &["ack"],
    &["silence"],
    &["silence", "add"],
    &["silence", "list"],
    &["silence", "end"],
    &["maintenance"],
    &["maintenance", "add"],
    &["incidents"],
    &["store"],
    &["store", "check"],
    &["store", "backup"],
    &["token"],
    &["token", "new"],
    &["plugin"],
    &["plugin", "new"],
    &["plugin", "list"],
    &["plugin", "inspect"],
    &["plugin", "lock"],
    &["plugin", "verify"],
    &["plugin", "run"],
    &["plugin", "test"],
    &["plugin", "bench"],
    &["plugin", "dev"],
    &["replay"],
    &["completions"],
];

#[test]
fn help_is_as_checked_in() {
    let golden = root().join("tests/cli-help");
    let mut wrong = Vec::new();
    for words in COMMANDS {
        let mut args = words.to_vec();
        args.push("--help");
        let mut command = super::command(Path::new("/"), &args);
        command
            .env_remove("PULSE_HOST_PLUGINS")
            .env_remove("PULSE_HOST_LISTEN");
        let run = super::run_with(command, "");
        assert_eq!((run.code, run.err.as_str()), (0, ""));
        // No line ends in blanks, so that editors leave the files alone.
        let text: String = run
            .out
            .lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect();
        let name = if words.is_empty() {
            "pulse-host".to_owned()
        } else {
            words.join("-")
        };
        let path = golden.join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(&golden).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        if std::fs::read_to_string(&path).unwrap_or_default() != text {
            wrong.push(format!("{}:\n{text}", path.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "help has changed; look at it, and then UPDATE_GOLDEN=1\n{}",
        wrong.join("\n")
    );
    let files = std::fs::read_dir(&golden).unwrap().count();
    assert_eq!(files, COMMANDS.len(), "a text of a command that is no more");
}

/// What is shown as an example works as far as a machine can tell: every word of it is known.
#[test]
fn every_example_parses() {
    let mut examples = 0;
    for words in COMMANDS {
        let mut args = words.to_vec();
        args.push("--help");
        let help = run(Path::new("/"), &args).out;
        for line in help.lines() {
            let Some(example) = line.strip_prefix("  pulse-host ") else {
                continue;
            };
            // Two blanks begin a remark, and what the shell does is the shell's.
            let example = example.split("  ").next().unwrap();
            let example = example.split(['<', '>']).next().unwrap();
            // Every other part stands between quotation marks.
            let mut args: Vec<&str> = Vec::new();
            for (number, part) in example.split('\'').enumerate() {
                match number % 2 {
                    0 => args.extend(part.split_whitespace()),
                    _ => args.push(part),
                }
            }
            args.push("--help");
            let run = run(Path::new("/"), &args);
            assert_eq!(run.code, 0, "{example}: {}", run.err);
            examples += 1;
        }
    }
    assert!(examples >= 10, "only {examples} examples were found");
}

#[test]
fn the_version_is_said_everywhere() {
    for args in [
        &["--version"][..],
        &["run", "-V"],
        &["plugin", "list", "--version"],
    ] {
        let run = run(Path::new("/"), args);
        assert_eq!(run.code, 0);
        assert!(run.out.trim_end().ends_with(env!("CARGO_PKG_VERSION")), "{run:?}");
    }
}

#[test]
fn a_wrong_command_line_is_code_2_and_says_what_was_meant() {
    for (args, said) in [
        (&["frobnicate"][..], "unrecognized subcommand 'frobnicate'"),
        (
            &["chekc-config"],
            "similar subcommands exist: 'check', 'check-config'",
        ),
        (&["--confg", "x"], "a similar argument exists: '--config'"),
        (&["probe"], "<MONITOR>"),
        (&["probe", "shop", "--plugin", "http"], "cannot be used with"),
        (&["probe", "shop", "--set", "a=1"], "cannot be used with"),
        (&["completions", "tcsh"], "bash, elvish, fish, powershell, zsh"),
        (&["run", "--log-format", "xml"], "possible values: text, json"),
    ] {
        let run = run(Path::new("/"), args);
        assert_eq!(run.code, 2, "{args:?}");
        assert!(run.err.contains(said), "{args:?}: {}", run.err);
        assert_eq!(run.out, "");
    }
}

#[test]
fn completions_know_every_subcommand() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = run(Path::new("/"), &["completions", shell]);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{shell}");
        for word in ["check-config", "probe", "inspect", "--log-format"] {
            let word = if shell == "fish" {
                word.trim_start_matches("--")
            } else {
                word
            };
            assert!(run.out.contains(word), "{shell} knows no {word}");
        }
        assert!(
            !run.out.contains("compile-component"),
            "{shell} offers what is not for people"
        );
    }
    let script = run(Path::new("/"), &["completions", "bash"]).out;
    let mut bash = std::process::Command::new("bash");
    bash.arg("-n");
    let checked = super::run_with(bash, &script);
    assert_eq!((checked.code, checked.err.as_str()), (0, ""), "bash takes it");
}
