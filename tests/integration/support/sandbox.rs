//! A sandbox in this process, with the guests that misbehave: for tests of what an execution comes to.

use super::root;
use pulse_host::{
    clock::Clock,
    domain::{
        color::{Color, ColorSet},
        grant::{Grants, HostPattern, HttpGrant, Network, TcpGrant, UrlPattern},
        host::{CompilerSettings, Scarcities},
        job::{Alert, Incident, Job, JobKey, JobResult, MonitorId, Order, Payload},
        limits::Limits,
        outcome::Outcome,
        spec::{Budget, Check, Class, InterventionSpec, Kind, Lane, MonitorSpec, Policy, Profile, Sink},
        tenant::{Quotas, Tenant},
        time::{Mono, Wall},
    },
    plugins::{self, Digest, Found},
    sandbox::{Compiler, Executor, Library, Sandbox, SandboxSettings},
};
use serde_json::{Value, json};
use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Long enough for anything that is to end by itself, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Greatest memory of an instance in these tests.
pub const MEMORY_MAX: u64 = 64 << 20;

/// Where compiled guests are kept from one run of the tests to the next.
fn data_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sandbox")
}

/// Names the number of slots that all sandboxes of this process ask for.
pub const SLOTS: &str = "PULSE_HOST_TEST_SLOTS";

/// Settings with that many slots, compiling in this process.
pub fn settings(slots: u32) -> SandboxSettings {
    let wanted = std::env::var(SLOTS).ok().map(|slots| slots.parse().unwrap());
    SandboxSettings {
        engines: std::num::NonZeroUsize::MIN,
        slots: wanted.unwrap_or(slots),
        max_memory_bytes: MEMORY_MAX,
        data_dir: data_dir(),
        compiler: Compiler::InProcess,
        compiling: CompilerSettings::default(),
        scarce: Scarcities::default(),
    }
}

/// Whether instances come from a pool: not in a process that was started without room for one.
pub fn pooled() -> bool {
    std::env::var_os(SLOTS).is_none()
}

/// A file of the project.
pub fn root_of(path: &str) -> PathBuf {
    root().join(path)
}

/// The path of a guest that `cargo xtask plugins` has built.
pub fn built(name: &str) -> PathBuf {
    let path = root().join(format!("tests/guests/target/wasm32-wasip2/release/{name}.wasm"));
    assert!(
        path.is_file(),
        "{} is missing: cargo xtask plugins",
        path.display()
    );
    path
}

/// The bytes of a guest of `tests/guests/wat`.
pub fn wat(name: &str) -> Vec<u8> {
    let path = root().join(format!("tests/guests/wat/{name}.wat"));
    wat::parse_file(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The bytes of a guest of `tests/guests/wat/in-shell`.
pub fn in_shell(name: &str) -> Vec<u8> {
    in_shell_text(
        &std::fs::read_to_string(root_of(&format!("tests/guests/wat/in-shell/{name}.wat"))).unwrap(),
    )
}

/// The shell around a core module that is given as text.
pub fn in_shell_text(core: &str) -> Vec<u8> {
    let shell = std::fs::read_to_string(root().join("tests/guests/wat/shell.wat")).unwrap();
    let text = shell.replacen("  ;; @guest\n", core, 1);
    assert_ne!(text, shell, "the shell has no place for a guest");
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// A component that was found without a manifest.
pub fn found(bytes: Vec<u8>) -> Found {
    Found {
        path: "guest.wasm".into(),
        manifest: None,
        digest: Digest::of(&bytes),
        bytes,
    }
}

/// The guest that is driven by its settings.
pub fn chaos() -> Found {
    plugins::read(&built("chaos")).unwrap()
}

/// A sandbox, its plugins, a runtime and an executor in it.
pub struct Lab {
    executor: Arc<Executor>,
    runtime: tokio::runtime::Runtime,
    clock: Clock,
}

impl Lab {
    /// Chaos and some guests of `in-shell`, on that many slots.
    pub fn new(slots: u32, guests: &[&str]) -> Self {
        Self::with_clock(slots, guests, Clock::system())
    }

    /// The same, by another clock.
    pub fn with_clock(slots: u32, guests: &[&str], clock: Clock) -> Self {
        let mut all = vec![chaos()];
        all.extend(guests.iter().map(|name| found(in_shell(name))));
        Self::of(slots, all, clock)
    }

    /// These plugins.
    pub fn of(slots: u32, plugins: Vec<Found>, clock: Clock) -> Self {
        let sandbox = Sandbox::new(settings(slots), clock.clone()).unwrap();
        let (library, problems) = Library::load(&sandbox, plugins);
        assert!(problems.is_empty(), "{problems:?}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let executor = runtime.block_on(async { Executor::new(sandbox, Arc::new(library)) });
        Self {
            executor: Arc::new(executor),
            runtime,
            clock,
        }
    }

    /// The job itself, due now.
    pub fn job(&self, work: &Work) -> Job {
        work.job(&self.clock)
    }

    /// Runs a job to its end.
    pub fn run(&self, job: &Work) -> JobResult {
        let job = job.job(&self.clock);
        self.wait_for(async |executor| executor.execute(job).await)
    }

    /// Runs a job to its end; also what it logged.
    pub fn run_keeping_log(&self, job: &Work) -> (JobResult, Vec<pulse_host::capability::log::Line>) {
        let job = job.job(&self.clock);
        self.wait_for(async |executor| executor.execute_keeping_log(job).await)
    }

    /// Runs jobs at the same time, each to its end.
    pub fn run_together(&self, jobs: &[Work]) -> Vec<JobResult> {
        let jobs: Vec<Job> = jobs.iter().map(|job| job.job(&self.clock)).collect();
        self.wait_for(async |executor| {
            let tasks: Vec<_> = jobs
                .into_iter()
                .map(|job| {
                    let executor = Arc::clone(&executor);
                    tokio::spawn(async move { executor.execute(job).await })
                })
                .collect();
            let mut results = Vec::new();
            for task in tasks {
                results.push(task.await.unwrap());
            }
            results
        })
    }

    /// Runs a job, and does something beside it, once it has come to its first wait.
    pub fn run_while(&self, job: &Work, beside: impl AsyncFnOnce()) -> JobResult {
        let job = job.job(&self.clock);
        self.wait_for(async |executor| {
            // Of the two, the job is looked at first.
            let (result, ()) = tokio::join!(biased; executor.execute(job), beside());
            result
        })
    }

    /// Does something in the runtime, and does not wait for ever.
    pub fn wait_for<T>(&self, work: impl AsyncFnOnce(Arc<Executor>) -> T) -> T {
        self.runtime.block_on(async {
            tokio::time::timeout(2 * PATIENCE, work(Arc::clone(&self.executor)))
                .await
                .expect("an execution has not ended")
        })
    }

    /// The lab still works: the one slot that it may have is free again, and a healthy guest is healthy.
    pub fn assert_works(&self, after: &str) {
        let outcome = self.run(&Work::chaos(json!({"do": "healthy"}))).outcome;
        assert!(
            matches!(outcome, Outcome::Answer(_)),
            "after {after}: {outcome:?}"
        );
    }
}

/// A job that is to be made.
#[derive(Clone)]
pub struct Work {
    pub kind: Kind,
    pub settings: Value,
    pub timeout: Duration,
    pub tenant: &'static str,
    pub quotas: Quotas,
    pub expired: bool,
    pub profile: Arc<Profile>,
}

impl Work {
    /// A pulse of that plugin, with the default limits and without any grant.
    pub fn of(plugin: &str) -> Self {
        Self {
            kind: Kind::Pulse,
            settings: json!({}),
            timeout: PATIENCE,
            tenant: "default",
            quotas: Quotas::default(),
            expired: false,
            profile: profile(plugin, roomy(), Grants::default(), 0),
        }
    }

    /// A pulse of chaos.
    pub fn chaos(settings: Value) -> Self {
        Self::of("chaos").settings(settings)
    }

    pub fn settings(mut self, settings: Value) -> Self {
        self.settings = settings;
        self
    }

    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub fn tenant(mut self, tenant: &'static str) -> Self {
        self.tenant = tenant;
        self
    }

    pub fn quotas(mut self, quotas: Quotas) -> Self {
        self.quotas = quotas;
        self
    }

    pub fn limits(self, limits: Limits) -> Self {
        let (plugin, grants, reuse) = self.bounds();
        self.profile(&profile(&plugin, limits, grants, reuse))
    }

    pub fn grants(self, grants: Grants) -> Self {
        let (plugin, _, reuse) = self.bounds();
        let limits = self.profile.limits;
        self.profile(&profile(&plugin, limits, grants, reuse))
    }

    pub fn reuse(self, reuse: u32) -> Self {
        let (plugin, grants, _) = self.bounds();
        let limits = self.profile.limits;
        self.profile(&profile(&plugin, limits, grants, reuse))
    }

    /// Under that very profile: what decides who may use an instance again.
    pub fn profile(mut self, profile: &Arc<Profile>) -> Self {
        self.profile = Arc::clone(profile);
        self
    }

    fn bounds(&self) -> (String, Grants, u32) {
        let profile = &self.profile;
        (
            profile.plugin.to_string(),
            Grants::clone(&profile.grants),
            profile.reuse,
        )
    }

    /// The job itself, due now.
    pub fn job(&self, clock: &Clock) -> Job {
        let now = clock.mono();
        let lane = || Lane {
            profile: Arc::clone(&self.profile),
            settings: self.settings.to_string().into(),
            timeout: self.timeout,
        };
        let of = |kind| self.kind == kind;
        let class = Class {
            tenant: Arc::new(Tenant::new(self.tenant, self.quotas)),
            labels: Arc::new([("team".into(), "core".into())]),
            policy: policy(),
            pulse: of(Kind::Pulse).then(|| Check {
                profile: Arc::clone(&self.profile),
                settings: self.settings.to_string().into(),
                timeout: self.timeout,
            }),
            intervention: of(Kind::Intervention).then(|| {
                Arc::new(InterventionSpec {
                    lane: lane(),
                    max_attempts: 1,
                    cooldown: Duration::ZERO,
                    verify_window: PATIENCE,
                    budget: Budget {
                        attempts: 1,
                        per: PATIENCE,
                    },
                })
            }),
            sinks: of(Kind::Code)
                .then(|| {
                    Arc::new(Sink {
                        name: "sink".into(),
                        lane: lane(),
                        colors: ColorSet::default(),
                        max_age: PATIENCE,
                    })
                })
                .into_iter()
                .collect(),
            parents: Arc::new([]),
        };
        let spec = MonitorSpec::new(Arc::new(class), None, "monitor", None);
        Job {
            key: JobKey {
                monitor: MonitorId(7),
                kind: self.kind,
                sink: 0,
                attempt: 3,
            },
            due: now,
            due_wall: clock.wall(),
            expires: if self.expired {
                Mono(now.0 - 1)
            } else {
                Mono::NEVER
            },
            sent: now,
            spec,
            trace: false,
            payload: match self.kind {
                Kind::Pulse => Payload::Pulse,
                Kind::Intervention => Payload::Intervention(Box::new(Order {
                    incident: incident(),
                    idempotency_key: "key".into(),
                })),
                Kind::Code => Payload::Code(Arc::new(Alert {
                    color: Color::Red,
                    title: "monitor is down".into(),
                    body: "since now".into(),
                    happened_at: Wall(1),
                    reminder: false,
                    incident: Some(incident()),
                    incident_key: "default/monitor/1".into(),
                    cause_id: "1/red/1".into(),
                })),
            },
        }
    }
}

/// Limits that no well-behaved guest meets, and that no machine is too slow for: CPU time is told by the wall clock
/// while the guest is being polled, so that a machine with other work stretches it.
pub fn roomy() -> Limits {
    Limits {
        cpu: PATIENCE,
        ..Limits::default()
    }
}

/// A profile of its own, which shares instances with no other.
pub fn profile(plugin: &str, limits: Limits, grants: Grants, reuse: u32) -> Arc<Profile> {
    Arc::new(Profile {
        plugin: plugin.into(),
        digest: "".into(),
        limits,
        grants: Arc::new(grants),
        reuse,
    })
}

/// Any URL and any port on loopback.
pub fn loopback() -> Grants {
    let mut grants = Grants {
        http: vec![HttpGrant::Pattern(UrlPattern {
            scheme: "http".into(),
            host: HostPattern::Any,
            port: None,
        })],
        tcp: vec![TcpGrant::Pattern {
            host: HostPattern::Any,
            port: None,
        }],
        udp: vec![TcpGrant::Pattern {
            host: HostPattern::Any,
            port: None,
        }],
        ..Grants::default()
    };
    grants.networks.insert(Network::Loopback);
    grants
}

/// A target on loopback that takes connections and never says anything: the kernel takes them.
pub struct Silent {
    listener: TcpListener,
    pub address: SocketAddr,
    taken: Vec<TcpStream>,
}

impl Silent {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        Self {
            listener,
            address,
            taken: Vec::new(),
        }
    }

    /// Settings that make chaos ask it for a page.
    pub fn get(&self) -> Value {
        json!({"do": "http", "url": format!("http://{}/", self.address)})
    }

    /// Waits for the next connection, and holds it.
    pub async fn taken(&mut self) {
        let listener = self.listener.try_clone().unwrap();
        let (stream, _) = tokio::net::TcpListener::from_std(listener)
            .unwrap()
            .accept()
            .await
            .unwrap();
        self.taken.push(stream.into_std().unwrap());
    }
}

fn incident() -> Incident {
    Incident {
        id: "1".into(),
        key: "default/monitor/1".into(),
        opened_at: Wall(1),
        summary: "down".into(),
        reason: String::new(),
    }
}

fn policy() -> Policy {
    Policy {
        interval: PATIENCE,
        retry_interval: PATIENCE,
        failure_threshold: 1,
        success_threshold: 1,
        page_after: PATIENCE,
        repeat: None,
        fault_threshold: 1,
    }
}

/// The program itself, which is built beside the tests.
pub fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let folder = tests.parent().and_then(Path::parent).unwrap();
    let program = folder.join("pulse-host");
    assert!(program.is_file(), "{} is missing: cargo build", program.display());
    program
}
