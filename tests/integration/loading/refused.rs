//! What is no plugin, or lies about itself.

use super::{load, sandbox};
use crate::support::sandbox::{built, found, in_shell, in_shell_text, pooled, root_of, settings, wat};
use pulse_host::{
    clock::Clock,
    domain::time::{Mono, Wall},
    plugins::{self, COMPONENT_BYTES_MAX},
    sandbox::{self as host_sandbox, Compiler, Sandbox},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// A sandbox whose clock stands still: what loops is cut by fuel, however busy the machine is.
fn unhurried() -> Arc<Sandbox> {
    let (clock, _hand) = Clock::manual(Mono(1), Wall(0));
    Sandbox::new(settings(2), clock).unwrap()
}

/// Reads and loads that file or folder; returns what is said about it.
fn problem(sandbox: &Arc<Sandbox>, path: &Path) -> String {
    let found = match plugins::read(path) {
        Ok(found) => found,
        Err(problem) => return problem.to_string(),
    };
    let (names, problems) = load(sandbox, vec![found]);
    assert!(names.is_empty(), "{}: {names:?} was loaded", path.display());
    assert_eq!(problems.len(), 1, "{}: {problems:?}", path.display());
    problems.into_iter().next().unwrap()
}

fn assert_one_line(message: &str) {
    assert!(!message.contains(char::is_control), "{message:?}");
    assert!(message.len() < 4_096, "{message}");
}

#[test]
fn what_is_no_component_says_what_it_is() {
    let sandbox = unhurried();
    let folder = tempfile::tempdir().unwrap();
    let chaos = std::fs::read(built("chaos")).unwrap();
    let garbage: Vec<u8> = (0..50_000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let head = |rest: &[u8]| [b"\0asm\x0d\0\x01\0", rest].concat();
    let many = |what: &str| format!("(component {})", what.repeat(100_000));
    for (name, bytes, part) in [
        ("nothing", Vec::new(), "no WebAssembly binary"),
        ("garbage", garbage.clone(), "no WebAssembly binary"),
        ("garbage with a head", head(&garbage), "does not compile"),
        ("half a head", chaos[..6].to_vec(), "does not compile"),
        ("a head", head(&[]), "exports nothing"),
        (
            "half of it",
            chaos[..chaos.len() / 2].to_vec(),
            "does not compile",
        ),
        (
            "almost all of it",
            chaos[..chaos.len() - 1].to_vec(),
            "does not compile",
        ),
        ("text", b"(component)".to_vec(), "no WebAssembly binary"),
        ("core module", wat("core-module"), "core module"),
        (
            "thousands of modules",
            ::wat::parse_str(many("(core module)")).unwrap(),
            "more than 256 modules",
        ),
        ("many exports", many_exports(), "none of the interfaces"),
        ("no exports", wat("no-exports"), "exports nothing"),
        (
            "no kind",
            wat("no-kind"),
            "neither pulse nor intervention nor code",
        ),
        ("unknown version", wat("unknown-abi"), "pulse:plugin/plugin@9.0.0"),
        ("other types", wat("wrong-export"), "describe"),
        (
            "undeclared import",
            in_shell("unknown-import"),
            "pulse:host/teleport@0.1.0",
        ),
        (
            "import of another type",
            in_shell("wrong-import"),
            "pulse:host/log@0.1.0",
        ),
        (
            "import of the future",
            in_shell("future-import"),
            "pulse:host/log@9.0.0",
        ),
        ("4 GiB of memory", in_shell("memory-minimum"), "memory"),
        // A pool does not even try.
        (
            "a table of ten million",
            in_shell("table-minimum"),
            if pooled() { "table" } else { "bytes of memory" },
        ),
        ("endless start", in_shell("start-loop"), "fuel"),
        ("endless description", in_shell("describe-loop"), "fuel"),
        (
            "wild description",
            in_shell("describe-out-of-bounds"),
            "can't describe itself",
        ),
        ("bad schema", in_shell("describe-bad-schema"), "no JSON"),
    ] {
        let path = folder.path().join("guest.wasm");
        std::fs::write(&path, bytes).unwrap();
        let problem = problem(&sandbox, &path);
        assert!(problem.contains(part), "{name}: {problem}");
        assert_one_line(&problem);
    }
}

/// A component that exports a great many things with long names, none of which a plugin has.
fn many_exports() -> Vec<u8> {
    let name = "a".repeat(200);
    let exports: String = (0..900)
        .map(|index| format!("(export \"{name}{index}\" (core module $m))"))
        .collect();
    ::wat::parse_str(format!("(component (core module $m) {exports})")).unwrap()
}

#[test]
fn wasm_that_the_sandbox_does_without_is_refused() {
    let sandbox = unhurried();
    let core = |module: &str| ::wat::parse_str(format!("(component (core module {module}))")).unwrap();
    // The same shape, without any of it.
    let plain = load(&sandbox, vec![found(core("(memory 1) (func)"))]).1;
    assert!(plain[0].contains("exports nothing"), "{plain:?}");
    for (proposal, module) in [
        ("threads", "(memory 1 1 shared)"),
        ("memory64", "(memory i64 1)"),
        ("multi-memory", "(memory 1) (memory 1)"),
        ("custom page sizes", "(memory 1 (pagesize 1))"),
        ("tail calls", "(func $f return_call $f)"),
        ("exceptions", "(tag)"),
        ("garbage collection", "(type (struct (field i32)))"),
        ("function references", "(type $f (func)) (func (param (ref $f)))"),
        (
            "relaxed SIMD",
            "(func (param v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))",
        ),
    ] {
        let (names, problems) = load(&sandbox, vec![found(core(module))]);
        assert!(names.is_empty(), "{proposal}");
        assert!(
            problems[0].contains("does not compile"),
            "{proposal}: {problems:?}"
        );
    }
}

#[test]
fn every_plugin_of_the_project_is_taken() {
    let sandbox = unhurried();
    let (candidates, problems) = plugins::candidates(&[root_of("plugins")]);
    assert_eq!(problems, []);
    let found: Vec<_> = candidates
        .iter()
        .map(|candidate| candidate.read().expect("cargo xtask plugins"))
        .collect();
    let count = found.len();
    let (names, problems) = load(&sandbox, found);
    assert_eq!((names.len(), problems), (count, vec![]));
    for name in [
        "command",
        "dns",
        "docker",
        "file",
        "http",
        "icmp",
        "log",
        "nagios",
        "pagerduty",
        "slack",
        "tcp",
        "tls",
        "webhook",
    ] {
        assert!(names.iter().any(|taken| taken == name), "{name}: {names:?}");
    }
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.wasm");
    // Holes: it takes no room.
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(COMPONENT_BYTES_MAX + 1).unwrap();
    let problem = plugins::read(&path).unwrap_err().to_string();
    assert!(problem.contains("larger than"), "{problem}");
}

/// Everybody waits for a tenant's plugins when the host starts.
#[test]
fn of_a_tenant_no_more_is_loaded_than_there_is_time_for() {
    let load = |seconds: u64| {
        let (clock, hand) = Clock::manual(Mono(1), Wall(0));
        let sandbox = Sandbox::new(settings(2), clock).unwrap();
        let slow = (0..10_u8).map(|_| {
            hand.advance(Duration::from_secs(seconds));
            Ok(found(in_shell("good")))
        });
        let (loaded, problems, left) = host_sandbox::load_of_tenant(&sandbox, slow);
        assert_eq!(problems, []);
        (loaded.len(), left)
    };
    assert_eq!(load(3), (10, 0));
    assert_eq!(load(10), (4, 6), "those that were begun are loaded");
    assert_eq!(load(3_600), (1, 9));
}

#[test]
fn a_description_is_held_against_the_rules() {
    let good = std::fs::read_to_string(root_of("tests/guests/wat/in-shell/good.wat")).unwrap();
    let sandbox = unhurried();
    // A name, a version and a schema of the same length as the right ones.
    for (right, wrong, part) in [
        ("\"good\"", "\"Good\"", "no plugin name"),
        ("\"good\"", "\"a\\0ab\"", "no plugin name"),
        ("\"good\"", "\"../a\"", "no plugin name"),
        ("\"0.1.0\"", "\"1.0.x\"", "no semantic version"),
        (
            "{\\\"type\\\":\\\"object\\\"}",
            "{\\\"type\\\":\\\"obiect\\\"}",
            "no JSON Schema",
        ),
        (
            "{\\\"type\\\":\\\"object\\\"}",
            "{\\\"$ref\\\":\\\"http:/\\\"}",
            "not in it",
        ),
    ] {
        let text = good.replacen(right, wrong, 1);
        assert_ne!(text, good, "{right}");
        let (names, problems) = load(&sandbox, vec![found(in_shell_text(&text))]);
        assert!(names.is_empty());
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(part), "{wrong}: {}", problems[0]);
        assert_one_line(&problems[0]);
    }
    let (names, problems) = load(&sandbox, vec![found(in_shell_text(&good))]);
    assert_eq!((names, problems), (vec!["good".to_owned()], vec![]));
}

/// A folder with chaos in it, under that manifest.
fn folder_with(manifest: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(built("chaos"), folder.path().join("chaos.wasm")).unwrap();
    std::fs::write(folder.path().join("plugin.toml"), manifest).unwrap();
    folder
}

#[test]
fn a_manifest_that_lies_is_found_out() {
    let honest = std::fs::read_to_string(root_of("tests/guests/chaos/plugin.toml")).unwrap();
    let sandbox = unhurried();
    for (right, wrong, part) in [
        ("name = \"chaos\"", "name = \"order\"", "calls itself `chaos`"),
        ("0.1.0", "0.2.0", "says version 0.2.0, but it calls itself 0.1.0"),
        (
            "\"pulse\", ",
            "",
            "says kinds intervention and code, but the component exports pulse",
        ),
        ("\"docker\", ", "", "imports docker"),
        (
            "component = \"chaos.wasm\"",
            "component = \"other.wasm\"",
            "does not exist",
        ),
        (
            "component = \"chaos.wasm\"",
            "component = \"../chaos.wasm\"",
            "no file name",
        ),
        (
            "component = \"chaos.wasm\"",
            "component = \"plugin.toml\"",
            "no WebAssembly binary",
        ),
        ("component = \"chaos.wasm\"", "component = \".\"", "no file name"),
    ] {
        let manifest = honest.replacen(right, wrong, 1);
        assert_ne!(manifest, honest, "{right}");
        let folder = folder_with(&manifest);
        let problem = problem(&sandbox, folder.path());
        assert!(problem.contains(part), "{wrong}: {problem}");
    }
    // Everything that is wrong is said at once.
    let liar = honest.replace("\"chaos\"", "\"order\"").replace("0.1.0", "0.2.0");
    let folder = folder_with(&liar);
    let (names, problems) = load(&sandbox, vec![plugins::read(folder.path()).unwrap()]);
    assert_eq!((names.len(), problems.len()), (0, 2), "{problems:?}");
    // And the honest one is taken.
    let folder = folder_with(&honest);
    let (names, problems) = load(&sandbox, vec![plugins::read(folder.path()).unwrap()]);
    assert_eq!((names, problems), (vec!["chaos".to_owned()], vec![]));
}

#[test]
fn a_link_that_leads_out_of_the_folder_is_not_followed() {
    let honest = std::fs::read_to_string(root_of("tests/guests/chaos/plugin.toml")).unwrap();
    let folder = folder_with(&honest);
    let component = folder.path().join("chaos.wasm");
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("chaos.wasm");
    std::fs::rename(&component, &target).unwrap();
    std::os::unix::fs::symlink(&target, &component).unwrap();
    let problem = plugins::read(folder.path()).unwrap_err().to_string();
    assert!(problem.contains("lies outside"), "{problem}");
    // One that stays inside is all right.
    std::fs::remove_file(&component).unwrap();
    std::fs::rename(&target, folder.path().join("built.wasm")).unwrap();
    std::os::unix::fs::symlink("built.wasm", &component).unwrap();
    assert!(plugins::read(folder.path()).is_ok());
}

#[test]
fn of_two_plugins_with_one_name_none_is_taken_and_the_others_are() {
    let data = tempfile::tempdir().unwrap();
    let sandbox = sandbox(data.path(), Compiler::InProcess);
    let named = |path: &str, bytes| {
        let mut found = found(bytes);
        found.path = PathBuf::from(path);
        found
    };
    let noop = std::fs::read(built("noop")).unwrap();
    let (names, problems) = load(
        &sandbox,
        vec![
            named("a/noop.wasm", noop.clone()),
            named("b/good.wasm", in_shell("good")),
            named("c/noop.wasm", noop),
        ],
    );
    assert_eq!(names, ["good"]);
    assert_eq!(problems.len(), 2, "{problems:?}");
    for problem in &problems {
        assert!(
            problem.contains("a/noop.wasm") && problem.contains("c/noop.wasm"),
            "{problem}"
        );
    }
}
