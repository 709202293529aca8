//! The running program takes other plugins and another configuration, whole or not at all.

use crate::support::{
    host::{self, Host},
    sandbox::{in_shell_text, root_of},
};
use nix::sys::signal::Signal;
use std::path::Path;
use tempfile::TempDir;

const MONITORS: usize = 20;

/// A build of the plugin `good`: they differ in their summary, and in what they do when they are run.
fn build(summary: &str, run: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(root_of("tests/guests/wat/in-shell/good.wat")).unwrap();
    assert_eq!(summary.len(), 4);
    let other = text
        .replace("\"WAT.\"", &format!("{summary:?}"))
        .replace("(result i32) (i32.const 0x100))", &format!("(result i32) {run})"));
    assert!(other.contains(summary) && other.contains(run));
    in_shell_text(&other)
}

fn works(summary: &str) -> Vec<u8> {
    build(summary, "(i32.const 0x100)")
}

fn traps(summary: &str) -> Vec<u8> {
    build(summary, "unreachable")
}

/// A folder with a plugin and monitors that use it.
struct World(TempDir);

impl World {
    fn new() -> Self {
        let world = Self(TempDir::new().unwrap());
        std::fs::create_dir(world.0.path().join("plug")).unwrap();
        put(world.0.path(), &works("ONE."));
        configure(world.0.path(), MONITORS);
        world
    }

    fn start(self) -> Host {
        let mut command = host::command();
        command
            .args(["run", "--plugins", "plug", "--config", "pulse-host.toml"])
            .current_dir(self.0.path())
            .env("STATE_DIRECTORY", self.0.path().join("state"))
            .env("RUST_LOG", "pulse_host=debug,info")
            .stdin(std::process::Stdio::null());
        Host::spawn(self.0, command)
    }
}

/// As careful tools do it: never half of a file.
fn put_as(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(folder.join("beside"), bytes).unwrap();
    std::fs::rename(folder.join("beside"), folder.join(name)).unwrap();
}

fn put(folder: &Path, component: &[u8]) {
    put_as(folder, "plug/good.wasm", component);
}

fn configure(folder: &Path, monitors: usize) {
    let mut text = String::from("[defaults]\ninterval = \"200ms\"\nretry-interval = \"100ms\"\n");
    for number in 0..monitors {
        text.push_str(&format!(
            "[[monitor]]\nname = \"m{number}\"\npulse = {{ plugin = \"good\" }}\n"
        ));
    }
    put_as(folder, "pulse-host.toml", text.as_bytes());
}

fn wait_until_up(host: &Host, monitors: usize) {
    for number in 0..monitors {
        host.wait_for_log(&format!(" m{number} is up: "));
    }
}

#[test]
fn another_build_takes_over_and_no_monitor_notices() {
    let host = World::new().start();
    wait_until_up(&host, MONITORS);
    for summary in ["TWO.", "SIX.", "TEN."] {
        put(host.folder(), &works(summary));
        let before = host.logged("plugin good is another build");
        host.wait_for("another build", || {
            (host.logged("plugin good is another build") > before).then_some(())
        });
    }
    // Checks go on with it.
    let seen = host.logged("checks");
    host.wait_for("another summary", || (host.logged("checks") > seen).then_some(()));
    let ended = host.stop();
    assert!(ended.status.success());
    for number in 0..MONITORS {
        let up = format!(" m{number} is up: ");
        let times = ended.log.iter().filter(|line| line.contains(&up)).count();
        assert_eq!(times, 1, "m{number} keeps its state");
    }
    for word in ["lost", "could not be checked", "not loaded"] {
        assert!(!ended.logged(word), "{word} in {:#?}", ended.log);
    }
}

#[test]
fn what_is_wrong_changes_nothing_and_says_so() {
    let host = World::new().start();
    wait_until_up(&host, MONITORS);
    // No component.
    put(host.folder(), b"\0asm not quite");
    host.wait_for_log("the one that was loaded before stays in use");
    // No configuration.
    put_as(
        host.folder(),
        "pulse-host.toml",
        b"[[monitor]]\nname = \"m0\"\npluse = { plugin = \"good\" }\n",
    );
    host.wait_for_log("nothing was changed, what ran before goes on");
    host.wait_for_log("did you mean `pulse`?");
    // Of use again, while the component is not.
    configure(host.folder(), MONITORS + 1);
    host.wait_for_log(&format!(" m{MONITORS} is up: "));
    host.wait_for_log(&format!("1 monitor new; {MONITORS} monitors as before"));
    // Fewer.
    configure(host.folder(), MONITORS - 1);
    host.wait_for_log("2 monitors removed");
    host.signal(Signal::SIGHUP);
    host.wait_for_log("SIGHUP: nothing has changed");
    let ended = host.stop();
    let times = ended
        .log
        .iter()
        .filter(|line| line.contains(" m0 is up: "))
        .count();
    assert_eq!(times, 1);
}

#[test]
fn a_build_that_faults_at_once_is_rolled_back_and_stays_refused() {
    let host = World::new().start();
    wait_until_up(&host, MONITORS);
    put(host.folder(), &traps("BAD."));
    host.wait_for_log("is rolled back to the one before");
    host.wait_for_log("rollback: ");
    // A new start finds the same file.
    let (folder, _) = host.stop_keeping_folder();
    let host = World(folder).start();
    host.wait_for_log("was rolled back; the one before it is used");
    wait_until_up(&host, MONITORS);
    // Other bytes are another try.
    put(host.folder(), &works("NEW."));
    host.wait_for_log("plugin good is another build");
    let ended = host.stop();
    assert!(!ended.logged("could not be checked"), "{:#?}", ended.log);
}
