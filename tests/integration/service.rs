//! The running program and the service manager that started it.

use crate::support::{
    host::{self, Host},
    wait,
};
use nix::sys::signal::Signal;
use std::{cell::RefCell, os::unix::net::UnixDatagram, path::Path};
use tempfile::TempDir;

/// A service manager that only listens.
struct Manager {
    socket: UnixDatagram,
    heard: RefCell<Vec<String>>,
}

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket,
            heard: RefCell::default(),
        }
    }

    /// Waits until that was said so many times in all, and returns the last message that has it.
    fn wait_for(&self, line: &str, times: usize) -> String {
        let look = || {
            let mut buffer = [0; 4096];
            while let Ok(length) = self.socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                self.heard.borrow_mut().push(text);
            }
            let heard = self.heard.borrow();
            let has = |text: &&String| text.contains(line);
            let mut with = heard.iter().filter(has).skip(times - 1);
            with.next().cloned()
        };
        wait::until(line, look, || format!("{:#?}", self.heard.borrow()))
    }
}

#[test]
fn a_service_manager_hears_of_start_reload_life_and_end() {
    let folder = TempDir::new().unwrap();
    let manager = Manager::at(&folder.path().join("notify"));
    let config = "[[monitor]]\nname = \"gate\"\ninterval = \"200ms\"\n\
        pulse = { plugin = \"tcp\", settings = { address = \"127.0.0.1:9\" } }\n\
        [plugins.tcp]\ngrants.tcp = [\"@settings.address\"]\ngrants.networks = [\"loopback\"]\n";
    std::fs::write(folder.path().join("pulse-host.toml"), config).unwrap();
    let mut command = host::command();
    command
        .arg("--plugins")
        .arg(host::plugins())
        .args(["--config", "pulse-host.toml"])
        .env("NOTIFY_SOCKET", folder.path().join("notify"))
        .env("WATCHDOG_USEC", "200000")
        .stdin(std::process::Stdio::null());
    let host = Host::spawn(folder, command);
    let ready = manager.wait_for("READY=1", 1);
    assert!(ready.contains("STATUS=Watching 1 monitor"), "{ready}");
    manager.wait_for("WATCHDOG=1", 3);
    host.signal(Signal::SIGHUP);
    let reloading = manager.wait_for("RELOADING=1", 1);
    let usec = reloading
        .lines()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(usec.unwrap().parse::<u64>().unwrap() > 0);
    manager.wait_for("READY=1", 2);
    std::fs::write(host.folder().join("pulse-host.toml"), "monitor = 1\n").unwrap();
    host.signal(Signal::SIGHUP);
    manager.wait_for("READY=1", 3);
    manager.wait_for("the last reload changed nothing", 1);
    host.signal(Signal::SIGTERM);
    manager.wait_for("STOPPING=1", 1);
    assert!(host.wait().status.success());
}
