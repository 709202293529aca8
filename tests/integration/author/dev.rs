//! `plugin dev`: the loop.

use super::{Plugin, command};
use crate::support::wait;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
};

struct Loop {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Loop {
    fn start(plugin: &Plugin) -> Self {
        let mut child = command(&["plugin", "dev", plugin.path()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (out, into) = (child.stdout.take().unwrap(), Arc::clone(&said));
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                into.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Self { child, said }
    }

    /// Waits until it has said that, and forgets everything up to there.
    fn says(&self, what: &str) -> String {
        let look = || {
            let mut said = self.said.lock().unwrap();
            let end = said.find(what)? + what.len();
            let end = end + said[end..].find('\n')?;
            Some(said.drain(..=end).collect())
        };
        wait::until(what, look, || self.said.lock().unwrap().clone())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    fn ends(mut self) -> i32 {
        let child = &mut self.child;
        let status = wait::until("the end", || child.try_wait().unwrap(), String::new);
        status.code().unwrap()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

const CASE: &str = "settings = { url = \"http://shop.example/\" }\n[[call]]\nhttp.url = \"http://shop.example/\"\nanswer.status = 200\n[expect]\nstatus = \"healthy\"\n";

/// The plugin that is there, built by a script out of its parts.
fn built_by(script: &str) -> Plugin {
    let plugin = Plugin::http(&[("healthy", CASE)]);
    std::fs::create_dir(plugin.file("parts")).unwrap();
    std::fs::rename(plugin.file("http.wasm"), plugin.file("parts/http.wasm")).unwrap();
    std::fs::write(plugin.file("build.sh"), script).unwrap();
    let manifest = plugin.file("plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let build = "[build]\ncommand = [\"sh\", \"build.sh\"]\noutput = \"target/out.wasm\"\n";
    std::fs::write(manifest, format!("{text}\n{build}")).unwrap();
    plugin
}

const BUILD: &str = "mkdir -p target && cp parts/http.wasm target/out.wasm\n";

#[test]
fn a_change_builds_and_tries_and_shows_what_is_different() {
    let plugin = built_by(BUILD);
    let dev = Loop::start(&plugin);
    let first = dev.says("fuel");
    assert!(first.contains("building: sh build.sh"), "{first}");
    dev.says("    ok");
    // A case is a source as well.
    std::fs::write(
        plugin.file("tests/healthy.toml"),
        CASE.replace("status = 200", "status = 500"),
    )
    .unwrap();
    let second = dev.says("something else came of it");
    assert!(
        second.contains("- ok") && second.contains("+ failed") && second.contains("(as before)"),
        "{second}"
    );
    // A build that fails is told, and the next change is seen.
    std::fs::write(plugin.file("build.sh"), "exit 3\n").unwrap();
    dev.says("failed  `sh build.sh` ended with exit status: 3");
    std::fs::write(plugin.file("build.sh"), format!("# again\n{BUILD}")).unwrap();
    dev.says("as before: failed");
    dev.signal(Signal::SIGINT);
    assert_eq!(dev.ends(), 0);
}

/// The number that stands in a file which a script writes.
fn number_in(plugin: &Plugin, name: &str) -> i32 {
    let read = || {
        std::fs::read_to_string(plugin.file(name))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    wait::until(name, read, String::new)
}

fn is_gone(pid: i32) {
    wait::until(
        "the end of the build",
        || kill(Pid::from_raw(pid), None).is_err().then_some(()),
        String::new,
    );
}

#[test]
fn the_end_ends_the_build_too() {
    let plugin = built_by("echo $$ > target-pid; sleep 1000\n");
    let dev = Loop::start(&plugin);
    let pid = number_in(&plugin, "target-pid");
    dev.signal(Signal::SIGTERM);
    assert_eq!(dev.ends(), 0);
    is_gone(pid);
}

#[test]
fn a_build_that_does_not_want_to_end_is_killed_when_the_end_is_asked_for_again() {
    let plugin = built_by("trap '' TERM; echo $$ > target-pid; sleep 1000\n");
    let dev = Loop::start(&plugin);
    let pid = number_in(&plugin, "target-pid");
    // Two kinds, since one that waits already swallows a second of its kind.
    dev.signal(Signal::SIGTERM);
    dev.signal(Signal::SIGINT);
    assert_eq!(dev.ends(), 0);
    is_gone(pid);
}

#[test]
fn what_is_saved_during_a_build_is_built_next() {
    // The first build waits for a file, by which time something was saved that it has read before.
    let plugin = built_by(&format!(
        "if [ ! -e target/go ]; then cat parts/note; mkdir -p target; echo 1 > target/waits; \
         while [ ! -e target/go ]; do sleep 0.05; done; fi\n{BUILD}"
    ));
    std::fs::write(plugin.file("parts/note"), "one").unwrap();
    let dev = Loop::start(&plugin);
    number_in(&plugin, "target/waits");
    std::fs::write(plugin.file("parts/note"), "two").unwrap();
    std::fs::write(plugin.file("target/go"), "").unwrap();
    dev.says("    ok");
    dev.says("building: sh build.sh");
    dev.says("as before: ok");
    dev.signal(Signal::SIGINT);
    assert_eq!(dev.ends(), 0);
}
