//! The real program: started with a configuration, watched through its log and its alerts, and ended.
//!
//! Each has a folder of its own. Only the folder of compiled components is shared, so that each plugin is compiled
//! once for all tests.

use super::{root, wait};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pulse_host::http::{client, tokens::Door};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, OnceLock},
    thread::JoinHandle,
};
use tempfile::TempDir;

/// The program, which cargo puts beside the folder of this test's own program.
pub fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(Path::parent).unwrap().join("pulse-host");
    assert!(
        path.exists(),
        "{} is missing; build it first: cargo build -p pulse-host",
        path.display()
    );
    path
}

/// The program with an environment in which nothing but the arguments decides.
pub fn command() -> Command {
    let mut command = Command::new(program());
    for (name, _) in std::env::vars_os() {
        let foreign = name
            .to_str()
            .is_some_and(|name| name.starts_with("PULSE_HOST_") || name.starts_with("XDG_"));
        if foreign
            || ["RUST_LOG", "NO_COLOR", "RUST_BACKTRACE", "COLUMNS"]
                .iter()
                .any(|own| name == *own)
        {
            command.env_remove(name);
        }
    }
    // Hosts run side by side here, and each would want the same port.
    command.env("PULSE_HOST_LISTEN", "off");
    command.env("STATE_DIRECTORY", state_directory());
    command
}

/// The plugins that come with the program.
pub fn plugins() -> PathBuf {
    root().join("plugins")
}

/// Where compiled components are kept.
pub fn state_directory() -> PathBuf {
    // Not below the temporary folder of a test: it outlives them all.
    let own = std::env::current_exe().unwrap();
    own.parent()
        .and_then(Path::parent)
        .unwrap()
        .join("integration-state")
}

/// The same files in another place: nothing is compiled anew.
pub fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).into_iter().flatten().flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        // What other hosts have left of their tenants, or remember, is none of this one's business.
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(b"tenants") || name.starts_with(b"pulse-host.") {
            continue;
        }
        if path.is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_all(&path, &target);
        } else {
            // It may have been removed meanwhile.
            let _ = std::fs::copy(&path, &target);
        }
    }
}

/// Compiles the plugins, once for all tests: many programs that start at once would each compile all of them.
pub fn warm_up() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let output = command()
            .args(["plugin", "list", "--plugins"])
            .arg(plugins())
            .env("STATE_DIRECTORY", state_directory())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "the plugins can't be used; build them first: cargo xtask plugins\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    });
}

/// A configuration in which everything happens fast, and alerts go to `alerts/alerts.ndjson`.
pub struct Config {
    host: String,
    rest: String,
}

impl Config {
    pub fn new(rest: impl Into<String>) -> Self {
        Self {
            host: String::new(),
            rest: rest.into(),
        }
    }

    /// Lines below `[host]`.
    pub fn host(mut self, lines: &str) -> Self {
        self.host.push_str(lines);
        self.host.push('\n');
        self
    }

    fn text(&self) -> String {
        format!(
            r#"
[host]
retry-budget.min-per-second = 10000
{}
[defaults]
interval = "200ms"
retry-interval = "100ms"
failure-threshold = 2
success-threshold = 1
notify = ["alerts"]

[plugins.http]
grants.http = ["@settings.url"]
grants.networks = ["loopback"]
[plugins.tcp]
grants.tcp = ["@settings.address"]
grants.networks = ["loopback"]
[plugins.webhook]
grants.http = ["@settings.url"]
grants.networks = ["loopback"]
[plugins.file]
grants.directories = [{{ path = "./alerts", access = "append" }}]

[notifiers.alerts]
plugin = "file"
settings = {{ path = "alerts.ndjson" }}

{}
"#,
            self.host, self.rest
        )
    }
}

type Lines = Arc<Mutex<Vec<String>>>;

/// A running program. Dropping it kills it.
pub struct Host {
    child: Child,
    folder: TempDir,
    log: Lines,
    reader: Option<JoinHandle<()>>,
}

/// A program that has ended.
pub struct Ended {
    pub status: ExitStatus,
    pub log: Vec<String>,
    /// The alerts, every line of which was whole.
    pub alerts: Vec<Value>,
}

impl Host {
    pub fn start(config: &Config) -> Self {
        Self::start_in(TempDir::new().unwrap(), config)
    }

    /// In a folder that the test has put something into.
    pub fn start_in(folder: TempDir, config: &Config) -> Self {
        Self::start_with(folder, config, command())
    }

    /// With an API, at a port that is free.
    pub fn start_serving(folder: TempDir, config: &Config) -> Self {
        let mut command = command();
        command.env("PULSE_HOST_LISTEN", "127.0.0.1:0");
        let host = Self::start_with(folder, config, command);
        host.wait_for("it to answer", || {
            let door = Door::read(&host.folder().join("state")).ok()??;
            (door.pid == host.child.id()).then_some(())?;
            client::ask(&door, "GET", "/readyz", None).ok()
        });
        host
    }

    /// What the API of a host that serves one answers.
    pub fn asked(&self, method: &str, path: &str) -> Value {
        let door = Door::read(&self.folder().join("state")).unwrap().unwrap();
        client::ask(&door, method, path, None).unwrap()
    }

    /// Another configuration in the place of the present one; the host has to find that out.
    pub fn rewrite(&self, config: &Config) {
        // Never half of it: the host looks whenever it likes.
        let next = self.folder().join("pulse-host.toml.next");
        std::fs::write(&next, config.text()).unwrap();
        std::fs::rename(next, self.folder().join("pulse-host.toml")).unwrap();
    }

    fn start_with(folder: TempDir, config: &Config, mut command: Command) -> Self {
        let path = folder.path().join("pulse-host.toml");
        std::fs::write(&path, config.text()).unwrap();
        command
            .arg("--plugins")
            .arg(plugins())
            .arg("--config")
            .arg(&path)
            .env("RUST_LOG", "pulse_host=debug,info")
            .stdin(Stdio::null());
        Self::spawn(folder, command)
    }

    /// Starts the program as a test wants it, in that folder, and waits until it runs.
    pub fn spawn(folder: TempDir, mut command: Command) -> Self {
        warm_up();
        let shared = state_directory();
        let is_shared = command
            .get_envs()
            .any(|(name, value)| name == "STATE_DIRECTORY" && value == Some(shared.as_os_str()));
        if is_shared {
            // A data directory is one process's alone. What was compiled is there already.
            let own = folder.path().join("state");
            if !own.exists() {
                copy_all(&shared, &own);
            }
            command.env("STATE_DIRECTORY", own);
        }
        let mut child = command
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Lines::default();
        let (stderr, lines) = (child.stderr.take().unwrap(), Arc::clone(&log));
        let reader = std::thread::spawn(move || collect(stderr, &lines));
        let host = Self {
            child,
            folder,
            log,
            reader: Some(reader),
        };
        host.wait_for_log("Ctrl-C stops it");
        host
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// How many lines of the log hold that text.
    pub fn logged(&self, text: &str) -> usize {
        let log = self.log.lock().unwrap();
        log.iter().filter(|line| line.contains(text)).count()
    }

    /// Waits for a line that holds the text, and returns it.
    pub fn wait_for_log(&self, text: &str) -> String {
        self.wait_for(&format!("the log line {text:?}"), || {
            let log = self.log.lock().unwrap();
            log.iter().find(|line| line.contains(text)).cloned()
        })
    }

    /// Waits until there is something; if there never is, says what the program has logged.
    pub fn wait_for<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        wait::until(what, look, || {
            let log = self.log();
            let from = log.len().saturating_sub(200);
            format!("alerts: {:#?}\nlog:\n{}", self.alerts(), log[from..].join("\n"))
        })
    }

    /// The alerts so far.
    pub fn alerts(&self) -> Vec<Value> {
        alerts(self.folder.path())
    }

    /// The alerts of one monitor so far.
    pub fn alerts_of(&self, monitor: &str) -> Vec<Value> {
        let mut alerts = self.alerts();
        alerts.retain(|alert| alert["monitor"] == monitor);
        alerts
    }

    /// Waits until a monitor has had an alert of that color, and returns all of its alerts.
    pub fn wait_for_color(&self, monitor: &str, color: &str) -> Vec<Value> {
        self.wait_for(&format!("{color} of {monitor}"), || {
            let alerts = self.alerts_of(monitor);
            alerts
                .iter()
                .any(|alert| alert["color"] == color)
                .then_some(alerts)
        })
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for the program's end.
    pub fn wait(mut self) -> Ended {
        self.end()
    }

    fn end(&mut self) -> Ended {
        let child = &mut self.child;
        let log = Arc::clone(&self.log);
        let status = wait::until(
            "the end of the program",
            || child.try_wait().unwrap(),
            || log.lock().unwrap().join("\n"),
        );
        self.reader.take().unwrap().join().unwrap();
        let log = self.log();
        let text =
            std::fs::read_to_string(self.folder.path().join("alerts/alerts.ndjson")).unwrap_or_default();
        assert!(
            text.is_empty() || text.ends_with('\n'),
            "the last line is not whole: {text:?}"
        );
        Ended {
            status,
            log,
            alerts: alerts(self.folder.path()),
        }
    }

    /// Asks the program to end, waits for it, and hands its folder to whoever starts the next one in it.
    pub fn stop_keeping_folder(mut self) -> (TempDir, Ended) {
        self.signal(Signal::SIGTERM);
        let ended = self.end();
        let folder = std::mem::replace(&mut self.folder, TempDir::new().unwrap());
        (folder, ended)
    }

    /// Kills the program as a loss of power would, and hands its folder to whoever starts the next one in it.
    pub fn kill_keeping_folder(mut self) -> TempDir {
        let _ = self.child.kill();
        let _ = self.child.wait();
        std::mem::replace(&mut self.folder, TempDir::new().unwrap())
    }

    /// Asks the program to end, and waits for it.
    pub fn stop(self) -> Ended {
        self.signal(Signal::SIGTERM);
        self.wait()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may be stopped, or have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    pub fn logged(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.contains(text))
    }
}

/// The colors of alerts, in their order.
pub fn colors(alerts: &[Value]) -> Vec<&str> {
    alerts
        .iter()
        .map(|alert| alert["color"].as_str().unwrap())
        .collect()
}

fn collect(stream: impl Read, lines: &Lines) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        lines.lock().unwrap().push(text);
        line.clear();
    }
}

/// Every whole line of the alerts' file. The last may still be on its way.
pub fn alerts(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("alerts/alerts.ndjson")).unwrap_or_default();
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}
