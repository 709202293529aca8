//! The program itself as a child, with everything that it does: configuration, store, API. Looked at from outside.

use super::process;
use anyhow::{Context as _, Result, bail};
use pulse_host::clock::Clock;
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// A host that does not get ready in that time never will.
const READY_WITHIN: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// An answer takes no longer, or is none.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long a host may take to end, with what it has to write.
const STOP_WITHIN: Duration = Duration::from_secs(120);

/// A running program.
pub struct Live {
    child: Child,
    folder: PathBuf,
    clock: Clock,
    /// From its start until it was ready; none: it has no API that could say so.
    pub ready: Option<Duration>,
}

/// Whether it serves its API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    On,
    Off,
}

impl Live {
    /// Starts it on what [`configured`] has made, and waits until it is ready.
    pub fn start(folder: &Path, plugins: &[PathBuf], api: Api) -> Result<Self> {
        let clock = Clock::system();
        // What an earlier one has left says how to reach that one.
        let _ = std::fs::remove_file(folder.join("data/http.json"));
        let log = std::fs::File::create(folder.join("log"))?;
        // Another build of it, to be held against this one.
        let program = std::env::var_os("PULSE_HOST_PROGRAM");
        let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_pulse-host").into());
        let mut command = Command::new(program);
        for plugin in plugins {
            command.arg("--plugins").arg(plugin);
        }
        let listen = match api {
            Api::On => "127.0.0.1:0",
            Api::Off => "off",
        };
        command
            .arg("--config")
            .arg(folder.join(CONFIG).join("pulse-host.toml"))
            .args(["--listen", listen])
            .env("RUST_LOG", "info")
            .env_remove("PULSE_HOST_PROGRAM")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let since = clock.mono();
        let child = command.spawn().context("pulse-host could not be started")?;
        let mut live = Self {
            child,
            folder: folder.to_owned(),
            ready: None,
            clock,
        };
        if api == Api::On {
            loop {
                live.check()?;
                let took = live.clock.mono().since(since);
                if let Ok(mut client) = live.client()
                    && client.get("/readyz").is_ok_and(|answer| answer.status == 200)
                {
                    live.ready = Some(took);
                    break;
                }
                if took > READY_WITHIN {
                    bail!("pulse-host is not ready; see {}", folder.join("log").display());
                }
                std::thread::sleep(LOOK_EVERY);
            }
        }
        Ok(live)
    }

    /// An error if it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!(
                "pulse-host ended: {status}; see {}",
                self.folder.join("log").display()
            ),
        }
    }

    /// A connection to its API.
    pub fn client(&self) -> Result<Client> {
        let door = std::fs::read_to_string(self.folder.join("data/http.json"))?;
        let door: Value = serde_json::from_str(&door)?;
        let of = |key: &str| {
            door.get(key)
                .and_then(Value::as_str)
                .with_context(|| format!("{key} in http.json"))
        };
        let address = of("url")?
            .strip_prefix("http://")
            .context("it serves TLS")?
            .to_owned();
        Ok(Client {
            reader: connected(&address)?,
            token: of("token")?.to_owned(),
            address,
        })
    }

    /// Its resident memory: now, and at its most.
    pub fn rss_bytes(&self) -> Result<(u64, u64)> {
        let id = self.child.id();
        Ok((
            process::status_of(id, "VmRSS:")?,
            process::status_of(id, "VmHWM:")?,
        ))
    }

    /// Its CPU time so far.
    pub fn cpu(&self) -> Result<Duration> {
        process::cpu_of(self.child.id())
    }

    /// CPU time of its threads of that name.
    pub fn cpu_of(&self, name: &str) -> Result<Duration> {
        process::cpu_of_threads(self.child.id(), name)
    }

    /// Ends it as a service manager does, and waits until it has written what it has to.
    pub fn stop(mut self) -> Result<()> {
        let id = i32::try_from(self.child.id())?;
        let id = rustix::process::Pid::from_raw(id).context("a process has a number")?;
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        let since = self.clock.mono();
        while self.child.try_wait()?.is_none() {
            if self.clock.mono().since(since) > STOP_WITHIN {
                bail!("pulse-host does not end");
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connected(address: &str) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    Ok(BufReader::new(stream))
}

/// One connection, kept open.
pub struct Client {
    reader: BufReader<TcpStream>,
    token: String,
    address: String,
}

/// What was answered.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Client {
    /// Asks, and reads the answer to its end. `path`: already as it goes over the wire.
    pub fn get(&mut self, path: &str) -> Result<Answer> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\r\n",
            self.address, self.token
        );
        let mut line = String::new();
        // One that was idle for long may have been closed at the other end.
        let sent = self.reader.get_mut().write_all(request.as_bytes());
        if sent.is_err() || self.reader.read_line(&mut line).unwrap_or(0) == 0 {
            self.reader = connected(&self.address)?;
            self.reader.get_mut().write_all(request.as_bytes())?;
            self.reader.read_line(&mut line)?;
        }
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("no answer but {line:?}"))?;
        let mut length = None;
        loop {
            line.clear();
            self.reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse()?);
            }
        }
        let mut body = vec![0; length.with_context(|| format!("{path}: no content-length"))?];
        self.reader.read_exact(&mut body)?;
        Ok(Answer { status, body })
    }

    /// The same, of what must be JSON.
    pub fn json(&mut self, path: &str) -> Result<Value> {
        let answer = self.get(path)?;
        if answer.status != 200 {
            bail!(
                "{path}: {} {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            );
        }
        serde_json::from_slice(&answer.body).with_context(|| path.to_owned())
    }

    /// How late checks were so far.
    pub fn lateness(&mut self) -> Result<Lateness> {
        let answer = self.get("/metrics")?;
        Lateness::read(&String::from_utf8(answer.body)?)
    }
}

/// Somebody who has the dashboard open: hears of everything as it happens, and has the page of all monitors anew, as the page does.
struct Onlooker {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

/// How often the page asks anew.
const LOOK_ANEW: Duration = Duration::from_secs(5);
/// What it asks for.
const OVERVIEW: [&str; 4] = [
    "/api/v1/status",
    "/api/v1/monitors?sort=state&limit=12&state=down",
    "/api/v1/monitors/summary?by=site",
    "/api/v1/incidents?open=true&limit=8",
];

impl Onlooker {
    fn start(live: &Live) -> Result<Self> {
        let mut asks = live.client()?;
        let mut hears = live.client()?;
        let request = format!(
            "GET /api/v1/stream HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\r\n",
            hears.address, hears.token
        );
        let stream = hears.reader.get_mut();
        stream.write_all(request.as_bytes())?;
        // Nothing happens for long where all is well.
        stream.set_read_timeout(Some(LOOK_ANEW))?;
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            let (clock, mut heard, mut chunk) = (Clock::system(), 0, [0; 8192]);
            let mut looked = clock.mono();
            while !stop.load(Ordering::Relaxed) {
                match hears.reader.read(&mut chunk) {
                    Ok(0) => bail!("the stream ended"),
                    Ok(count) => heard += count as u64,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
                if clock.mono().since(looked) >= LOOK_ANEW {
                    looked = clock.mono();
                    for path in OVERVIEW {
                        asks.json(path)?;
                    }
                }
            }
            Ok(heard)
        });
        Ok(Self { ended, thread })
    }

    fn stop(self) -> Result<u64> {
        self.ended.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .unwrap_or_else(|_| bail!("the onlooker failed"))
    }
}

/// Runs the program with its store, its API and an onlooker on what [`configured`] has made, and says how that went after a
/// warm-up.
pub fn watched(folder: &Path, warm_up: Duration, seconds: u64) -> Result<Value> {
    let mut live = Live::start(folder, &plugins()?, Api::On)?;
    let onlooker = Onlooker::start(&live)?;
    std::thread::sleep(warm_up);
    live.check()?;
    let mut client = live.client()?;
    let clock = Clock::system();
    let (before, cpu, since) = (client.lateness()?, live.cpu()?, clock.mono());
    let store = live.cpu_of("store")?;
    std::thread::sleep(Duration::from_secs(seconds));
    let late = client.lateness()?.since(&before);
    let (cpu, store) = (
        live.cpu()?.saturating_sub(cpu).as_secs_f64(),
        live.cpu_of("store")?.saturating_sub(store).as_secs_f64(),
    );
    let elapsed = clock.mono().since(since).as_secs_f64();
    let (rss, rss_max) = live.rss_bytes()?;
    let heard = onlooker.stop()?;
    let ready = live.ready;
    live.stop()?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(json!({
        "ready_seconds": ready.map(|span| span.as_secs_f64()),
        "seconds": elapsed,
        "jobs_per_second": late.count() / elapsed,
        "cpu_us_per_job": cpu * 1e6 / late.count().max(1.0),
        "store_us_per_job": store * 1e6 / late.count().max(1.0),
        "cores_used": cpu / elapsed,
        "lateness": {
            "mean_ms": late.mean_ms(),
            "p50_ms": late.quantile_ms(0.5),
            "p99_ms": late.quantile_ms(0.99),
            "p999_ms": late.quantile_ms(0.999),
        },
        "rss_mib": mib(rss),
        "rss_mib_max": mib(rss_max),
        "heard_bytes": heard,
    }))
}

/// A histogram as `/metrics` tells it: bounds in seconds, and how many were within each.
#[derive(Clone, Debug, Default)]
pub struct Lateness {
    within: Vec<(f64, f64)>,
    sum: f64,
}

impl Lateness {
    fn read(text: &str) -> Result<Self> {
        let mut found = Self::default();
        for line in text.lines() {
            let Some(rest) = line.strip_prefix("pulse_host_job_lateness_seconds") else {
                continue;
            };
            if !rest.contains(r#"kind="pulse""#) {
                continue;
            }
            let value: f64 = rest.rsplit(' ').next().unwrap_or_default().parse()?;
            if rest.starts_with("_sum") {
                found.sum = value;
            } else if let Some((_, bound)) = rest.split_once("le=\"") {
                let bound = bound.split('"').next().unwrap_or_default();
                let bound = if bound == "+Inf" {
                    f64::INFINITY
                } else {
                    bound.parse()?
                };
                found.within.push((bound, value));
            }
        }
        if found.within.is_empty() {
            bail!("/metrics tells of no lateness");
        }
        Ok(found)
    }

    /// What came since then.
    pub fn since(&self, earlier: &Self) -> Self {
        let within = self.within.iter().zip(&earlier.within);
        Self {
            within: within
                .map(|((bound, now), (_, then))| (*bound, now - then))
                .collect(),
            sum: self.sum - earlier.sum,
        }
    }

    pub fn count(&self) -> f64 {
        self.within.last().map_or(0.0, |(_, count)| *count)
    }

    pub fn mean_ms(&self) -> f64 {
        1e3 * self.sum / self.count().max(1.0)
    }

    /// As Prometheus does: evenly spread within a bucket.
    pub fn quantile_ms(&self, part: f64) -> f64 {
        let wanted = part * self.count();
        let (mut bound, mut count) = (0.0, 0.0);
        for (upper, within) in &self.within {
            if *within >= wanted && *within > count {
                let share = (wanted - count) / (within - count);
                return 1e3
                    * if upper.is_finite() {
                        bound + share * (upper - bound)
                    } else {
                        bound
                    };
            }
            (bound, count) = (*upper, *within);
        }
        1e3 * bound
    }
}

/// Where the configuration lies. Nothing else does: what changes in there makes a host read it anew.
const CONFIG: &str = "config";

/// A folder with a configuration of so many monitors, checked that often by the no-op component and kept on record. `failing`
/// more fail: nothing listens at their address.
pub fn configured(name: &str, monitors: usize, failing: usize, interval: &str) -> Result<PathBuf> {
    let folder = process::scratch()?.join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let config = folder.join(CONFIG);
    std::fs::create_dir_all(&config)?;
    let mut rows = std::io::BufWriter::new(std::fs::File::create(config.join("targets.ndjson"))?);
    for number in 0..monitors {
        writeln!(
            rows,
            r#"{{"id": "{number:08}", "host": "web-{number:08}.example.com", "site": "site-{:03}"}}"#,
            number % SITES
        )?;
    }
    rows.flush()?;
    let mut rows = std::io::BufWriter::new(std::fs::File::create(config.join("failing.ndjson"))?);
    for number in 0..failing {
        writeln!(
            rows,
            r#"{{"id": "{number:06}", "site": "site-{:03}"}}"#,
            number % SITES
        )?;
    }
    rows.flush()?;
    let host = format!(
        "[host]\ndata-dir = {:?}\n[defaults]\ninterval = {interval:?}\n",
        folder.join("data")
    );
    std::fs::write(config.join("pulse-host.toml"), host + CONFIGURATION)?;
    Ok(folder)
}

/// Values of the label that has many.
pub const SITES: usize = 1_000;

const CONFIGURATION: &str = r#"
[[monitor]]
name = "monitor-{{id}}"
targets = "targets.ndjson"
key = "id"
labels = { team = "shops", tier = "web", site = "{{site}}" }
pulse = { plugin = "noop", settings = { url = "https://{{host}}/healthz" } }

[[monitor]]
name = "failing-{{id}}"
targets = "failing.ndjson"
labels = { team = "lab", tier = "web", site = "{{site}}" }
pulse = { plugin = "tcp", settings = { address = "127.0.0.1:1" } }

[plugins.tcp]
grants.tcp = ["@settings.address"]
grants.networks = ["loopback"]
"#;

/// What [`configured`] needs.
pub fn plugins() -> Result<Vec<PathBuf>> {
    Ok(vec![super::guest("noop")?, super::plugin("tcp")?])
}
