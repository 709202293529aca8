//! Components that are made to hurt whoever compiles them: the child is cut, the reason is said, and the same thing
//! is not done twice.

use super::{load, sandbox_with};
use crate::support::sandbox::{found, in_shell, program};
use pulse_host::{
    domain::host::CompilerSettings,
    plugins::Found,
    sandbox::{Compiler, compile},
};
use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// A number as wasm writes it (LEB128).
fn number(mut value: usize, to: &mut Vec<u8>) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            return to.push(byte);
        }
        to.push(byte | 0x80);
    }
}

fn section(id: u8, content: &[u8], to: &mut Vec<u8>) {
    to.push(id);
    number(content.len(), to);
    to.extend(content);
}

/// A component with one core module of that many functions `i32 -> i32`, each with these locals and that body.
pub fn component(functions: usize, locals: usize, body: &[u8]) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(1, &[1, 0x60, 1, 0x7f, 1, 0x7f], &mut module);
    let mut declared = Vec::new();
    number(functions, &mut declared);
    declared.extend(std::iter::repeat_n(0, functions));
    section(3, &declared, &mut module);
    let mut function = Vec::new();
    if locals == 0 {
        function.push(0);
    } else {
        function.push(1);
        number(locals, &mut function);
        function.push(0x7f);
    }
    function.extend(body);
    function.push(0x0b);
    let mut code = Vec::new();
    number(functions, &mut code);
    for _ in 0..functions {
        number(function.len(), &mut code);
        code.extend(&function);
    }
    section(10, &code, &mut module);
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    section(1, &module, &mut component);
    component
}

/// `local.get 0`, and that many multiplications with it.
pub fn product(factors: usize) -> Vec<u8> {
    let mut body = vec![0x20, 0];
    body.extend([0x20, 0, 0x6c].repeat(factors));
    body
}

/// Loops in loops, in the innermost of which every local is set and then used: each loop has to carry all of them.
pub fn woven(depth: usize, locals: usize) -> Vec<u8> {
    let mut body = [0x03, 0x40].repeat(depth);
    for local in 1..=locals {
        body.push(0x20);
        number(local, &mut body);
        body.extend([0x41, 1, 0x6a, 0x21]);
        number(local, &mut body);
    }
    for level in 0..depth {
        body.extend([0x20, 0, 0x0d]);
        number(level % 2, &mut body);
        body.push(0x0b);
    }
    body.extend([0x20, 0]);
    body
}

/// Loads with a child of these settings. The problems.
fn problems(data: &Path, settings: CompilerSettings, found: Found) -> Vec<String> {
    let sandbox = sandbox_with(data, Compiler::Child(program()), settings);
    let (names, problems) = load(&sandbox, vec![found]);
    assert_eq!(names.len() + problems.len(), 1, "{names:?} {problems:?}");
    problems
}

fn files(data: &Path, ending: &str) -> usize {
    fs::read_dir(data.join("compiled"))
        .unwrap()
        .filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|other| other == ending)
        })
        .count()
}

#[test]
fn whoever_takes_too_much_is_cut_and_not_tried_again() {
    let default = CompilerSettings::default;
    let second = Duration::from_secs(1);
    for (name, bytes, settings, part) in [
        (
            "much CPU time",
            component(2_000, 0, &product(2_000)),
            CompilerSettings {
                cpu: second,
                ..default()
            },
            "more than 1s of CPU time",
        ),
        (
            "much memory",
            component(8, 10_000, &woven(400, 10_000)),
            CompilerSettings {
                memory_bytes: 256 << 20,
                ..default()
            },
            "more than 256 MiB of memory",
        ),
        (
            "much machine code",
            component(400, 0, &product(5_000)),
            CompilerSettings {
                cache_bytes: 1 << 20,
                ..default()
            },
            "machine code is larger than 1 MiB",
        ),
    ] {
        let data = tempfile::tempdir().unwrap();
        let said = problems(data.path(), settings.clone(), found(bytes.clone()));
        assert!(said[0].contains(part), "{name}: {said:?}");
        assert!(said[0].contains("[host] compiler."), "{name}: {said:?}");
        assert_eq!(
            (files(data.path(), "refused"), files(data.path(), "tmp")),
            (1, 0),
            "{name}"
        );
        // A storm of reloads costs nothing: there is not even a compiler.
        for _ in 0..50 {
            let none = Compiler::Child("/nonexistent/compiler".into());
            let sandbox = sandbox_with(data.path(), none, settings.clone());
            let (_, again) = load(&sandbox, vec![found(bytes.clone())]);
            assert!(
                again[0].contains(part) && again[0].contains("found out earlier"),
                "{name}: {again:?}"
            );
        }
        // Others are compiled beside it, and other limits are another question.
        assert_eq!(
            problems(data.path(), settings, found(in_shell("good"))),
            [""; 0],
            "{name}"
        );
    }
    let data = tempfile::tempdir().unwrap();
    let settings = CompilerSettings {
        cpu: second,
        ..default()
    };
    let bytes = component(1, 0, &product(10));
    assert!(problems(data.path(), settings, found(bytes.clone()))[0].contains("exports nothing"));
    assert!(problems(data.path(), default(), found(bytes))[0].contains("exports nothing"));
}

#[test]
fn a_compiler_that_hangs_is_stopped() {
    let data = tempfile::tempdir().unwrap();
    let script = data.path().join("compiler");
    fs::write(&script, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let settings = CompilerSettings {
        timeout: Duration::from_secs(1),
        ..CompilerSettings::default()
    };
    let tried = |compiler: Compiler, settings: CompilerSettings| {
        let sandbox = sandbox_with(data.path(), compiler, settings);
        load(&sandbox, vec![found(in_shell("good"))]).1
    };
    let said = tried(Compiler::Child(script), settings.clone());
    assert!(
        said[0].contains("longer than 1s") && said[0].contains("compiler.timeout"),
        "{said:?}"
    );
    // It is not tried again at once, unless something else is allowed.
    let none = || Compiler::Child("/nonexistent/compiler".into());
    let again = tried(none(), settings.clone());
    assert!(
        again[0].contains("found out earlier, and tried again 1 h after"),
        "{again:?}"
    );
    for other in [
        CompilerSettings {
            timeout: Duration::from_secs(2),
            ..settings.clone()
        },
        CompilerSettings {
            threads: 3,
            ..settings.clone()
        },
    ] {
        let said = tried(none(), other);
        assert!(said[0].contains("can't be started"), "{said:?}");
    }
    // It may have been the machine that was busy: an hour later it is tried again.
    let refusal = fs::read_dir(data.path().join("compiled"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "refused"))
        .unwrap();
    let file = fs::File::options().append(true).open(refusal).unwrap();
    let noted = file.metadata().unwrap().modified().unwrap();
    file.set_modified(noted - Duration::from_secs(3_601)).unwrap();
    let said = tried(none(), settings);
    assert!(said[0].contains("can't be started"), "{said:?}");
}

#[test]
fn a_compiler_with_much_to_say_is_heard_out() {
    let data = tempfile::tempdir().unwrap();
    let script = data.path().join("compiler");
    // More than a pipe holds.
    fs::write(
        &script,
        "#!/bin/sh\nyes 'much ado' | head -c 1000000 >&2\nexit 1\n",
    )
    .unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    // It has no PATH: the environment is empty.
    let text = fs::read_to_string(&script)
        .unwrap()
        .replace("yes", "/usr/bin/yes")
        .replace("head", "/usr/bin/head");
    fs::write(&script, text).unwrap();
    let sandbox = sandbox_with(data.path(), Compiler::Child(script), CompilerSettings::default());
    let (_, problems) = load(&sandbox, vec![found(in_shell("good"))]);
    assert!(problems[0].contains("much"), "{problems:?}");
    assert!(problems[0].len() < 4_096);
    assert_eq!(files(data.path(), "refused"), 0, "it may be better the next time");
}

#[test]
fn what_no_honest_component_has_is_not_even_compiled() {
    let mut deep = "(component".repeat(20);
    deep.push_str(&")".repeat(20));
    let many =
        |what: &str, count: usize| wat::parse_str(format!("(component {})", what.repeat(count))).unwrap();
    for (name, bytes, part) in [
        (
            "many functions",
            component(200_001, 0, &[0x20, 0]),
            "more than 200000 functions",
        ),
        (
            "many locals",
            component(1, 20_001, &[0x20, 0]),
            "a function with 20001 locals",
        ),
        (
            "many locals in all",
            component(1_000, 20_000, &[0x20, 0]),
            "more than 10000000 locals",
        ),
        (
            "a long function",
            component(1, 0, &product(700_000)),
            "a function of 2100004 bytes",
        ),
        (
            "many modules",
            many("(core module)", 300),
            "more than 256 modules",
        ),
        (
            "deep nesting",
            wat::parse_str(&deep).unwrap(),
            "nested more than 16 deep",
        ),
        (
            "no end",
            component(1, 0, &[0x20, 0])[..30].to_vec(),
            "does not compile",
        ),
    ] {
        let error = compile::screen(&bytes).expect_err(name);
        assert!(error.contains(part), "{name}: {error}");
        // The same from the child, which does that before anything else.
        let data = tempfile::tempdir().unwrap();
        let said = problems(data.path(), CompilerSettings::default(), found(bytes));
        assert!(said[0].contains(part), "{name}: {said:?}");
    }
}

#[test]
fn a_component_that_is_larger_than_the_operator_wants_is_not_compiled() {
    let data = tempfile::tempdir().unwrap();
    let bytes = in_shell("good");
    let with = |component_bytes: usize| CompilerSettings {
        component_bytes: component_bytes as u64,
        ..CompilerSettings::default()
    };
    let said = problems(data.path(), with(bytes.len() - 1), found(bytes.clone()));
    assert!(said[0].contains("compiler.max-size"), "{said:?}");
    assert_eq!(problems(data.path(), with(bytes.len()), found(bytes)), [""; 0]);
}

/// An upgrade puts another file in the program's place, while the old program runs on and has plugins to compile.
#[test]
fn a_program_whose_file_is_gone_still_compiles() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("pulse-host");
    fs::copy(program(), &copy).unwrap();
    let open = fs::File::open(&copy).unwrap();
    fs::remove_file(&copy).unwrap();
    fs::write(&copy, "#!/bin/false\n").unwrap();
    fs::write(folder.path().join("good.wasm"), in_shell("good")).unwrap();
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&open);
    let output = Command::new(format!("/proc/self/fd/{descriptor}"))
        .arg0("pulse-host")
        .args(["plugin", "list", "--plugins", "good.wasm"])
        .current_dir(folder.path())
        .env_clear()
        .env("STATE_DIRECTORY", folder.path().join("state"))
        .env("HOME", folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("\ngood "),
        "{said} {output:?}"
    );
    assert_eq!(
        files(&folder.path().join("state"), "cwasm"),
        1,
        "it was compiled, by a child"
    );
}

#[test]
fn what_was_not_used_for_long_makes_room() {
    let data = tempfile::tempdir().unwrap();
    let settings = |cache_bytes, cache_age| CompilerSettings {
        cache_bytes,
        cache_age,
        ..CompilerSettings::default()
    };
    let (plenty, day) = (1 << 30, Duration::from_secs(86_400));
    let load_one = |settings: CompilerSettings, name: &str| {
        let sandbox = sandbox_with(data.path(), Compiler::InProcess, settings);
        let (names, problems) = load(&sandbox, vec![found(in_shell(name))]);
        assert_eq!((names.len(), problems), (1, vec![]));
    };
    let age = |days: u32| {
        for entry in fs::read_dir(data.path().join("compiled")).unwrap() {
            let file = fs::File::open(entry.unwrap().path()).unwrap();
            let then = file.metadata().unwrap().modified().unwrap() - days * day;
            file.set_times(fs::FileTimes::new().set_accessed(then).set_modified(then))
                .unwrap();
        }
    };
    load_one(settings(plenty, 30 * day), "good");
    age(10);
    load_one(settings(plenty, 30 * day), "canary");
    assert_eq!(files(data.path(), "cwasm"), 2, "ten days are not long");
    // What is used again stays, what is not goes.
    load_one(settings(plenty, 5 * day), "good");
    assert_eq!(files(data.path(), "cwasm"), 2);
    age(10);
    load_one(settings(plenty, 5 * day), "good");
    assert_eq!(
        (files(data.path(), "cwasm"), files(data.path(), "sha256")),
        (1, 1)
    );
    // Too little room for two: the one that was used just now is the one that stays.
    age(1);
    load_one(settings(plenty, 30 * day), "canary");
    assert_eq!(files(data.path(), "cwasm"), 2);
    load_one(settings(1, 30 * day), "canary");
    assert_eq!(
        (files(data.path(), "cwasm"), files(data.path(), "sha256")),
        (1, 1)
    );
    let left = Compiler::Child("/nonexistent/compiler".into());
    let sandbox = sandbox_with(data.path(), left, settings(1, 30 * day));
    assert_eq!(load(&sandbox, vec![found(in_shell("canary"))]).0, ["canary"]);
}
