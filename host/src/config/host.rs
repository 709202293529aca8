//! `[host]`: how the host itself is tuned.

use super::{
    http,
    interpolate::Surroundings,
    layer::{KEYS_BUDGET, PartialLimits, read_budget},
    otlp,
    problem::Problem,
    read::{Reader, Spot},
    tree::{Node, Table},
    trouble::{is_enabled, read_correlated, read_quarantine},
};
use crate::domain::{
    host::{CompilerSettings, Heartbeat, HostSettings, LockPolicy, QueueSettings, StoreSettings},
    limits::Limits,
    selector::Selector,
    spec::Kind,
};
use std::{num::NonZeroUsize, sync::Arc, time::Duration};

/// Keys of `[host]`.
pub const KEYS_HOST: &[&str] = &[
    "command-slots",
    "compiler",
    "correlated-failure",
    "data-dir",
    "drain",
    "echo-rate",
    "grace",
    "heartbeat",
    "http",
    "interventions",
    "lock",
    "max-hold",
    "max-timeout",
    "maxima",
    "notify",
    "otlp",
    "quarantine",
    "queue-wait",
    "queues",
    "retry-budget",
    "store",
    "tick",
    "workers",
];
/// Keys of `[host.heartbeat]`.
pub const KEYS_HEARTBEAT: &[&str] = &["every", "url"];
/// Keys of `[host.compiler]`.
pub const KEYS_COMPILER: &[&str] = &[
    "cache-age",
    "cache-size",
    "cpu",
    "max-size",
    "memory",
    "threads",
    "timeout",
];
/// Keys of `[host.store]`.
pub const KEYS_STORE: &[&str] = &[
    "enabled",
    "history-1d",
    "history-1h",
    "history-5m",
    "incidents",
    "quantiles",
];
/// Keys of `[host.queues]`.
pub const KEYS_QUEUES: &[&str] = &["code", "intervention", "pulse"];
/// Keys of `[host.queues.KIND]`.
pub const KEYS_QUEUE: &[&str] = &["batch", "capacity", "in-flight"];
/// Keys of `batch`.
pub const KEYS_BATCH: &[&str] = &["max", "min"];
/// Keys of `[host.retry-budget]`.
pub const KEYS_RETRY_BUDGET: &[&str] = &["min-per-second", "ratio"];
/// Keys of `[[host.notify]]`.
pub const KEYS_HOST_NOTIFY: &[&str] = &["notifier"];

const MS: Duration = Duration::from_millis(1);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// Absolute bounds of `[host.maxima]`; what a plugin or monitor may be given lies within the maxima.
pub(super) const LIMITS_MAX: Limits = Limits {
    fuel: i64::MAX as u64,
    cpu: HOUR,
    memory_bytes: 4 << 30,
};

/// What `[host]` says.
#[derive(Debug)]
pub(super) struct Host {
    pub settings: HostSettings,
    /// Names of the notifiers of `[[host.notify]]`.
    pub notify: Vec<Spot<Arc<str>>>,
}

impl Host {
    /// The defaults.
    pub fn absent(surroundings: &Surroundings) -> Self {
        Self {
            settings: HostSettings::new(surroundings.data_dir()),
            notify: Vec::new(),
        }
    }

    /// Reads `[host]`. Where it is wrong, the default stands.
    pub fn read(reader: &mut Reader<'_>, node: Option<&Node>, surroundings: &Surroundings) -> Self {
        let mut host = Self::absent(surroundings);
        let Some(table) = node.and_then(|node| reader.table(node, "host")) else {
            return host;
        };
        reader.known_keys(table, KEYS_HOST, "`[host]`");
        host.read_times(reader, table);
        host.read_sizes(reader, table);
        if let Some(node) = table.get("quarantine") {
            host.settings.quarantine = read_quarantine(reader, node);
        }
        if let Some(node) = table.get("correlated-failure") {
            host.settings.correlated = read_correlated(reader, node);
        }
        if let Some(node) = table.get("http") {
            host.settings.http = http::read(reader, node);
        }
        if let Some(node) = table.get("heartbeat") {
            host.settings.heartbeat = read_heartbeat(reader, node);
        }
        if let Some(node) = table.get("otlp") {
            host.settings.otlp = otlp::read(reader, node);
        }
        if let Some(node) = table.get("notify") {
            host.notify = read_notify(reader, node);
        }
        host
    }

    fn read_times(&mut self, reader: &mut Reader<'_>, table: &Table) {
        let settings = &mut self.settings;
        let mut take = |key: &'static str, target: &mut Duration, low, high| {
            if let Some(span) = table
                .get(key)
                .and_then(|node| reader.duration(node, key, low..=high))
            {
                *target = span.value;
            }
        };
        take("tick", &mut settings.tick, MS, Duration::from_secs(1));
        take("max-timeout", &mut settings.max_timeout, MS, HOUR);
        take("queue-wait", &mut settings.queue_wait, MS, HOUR);
        take("grace", &mut settings.grace, MS, HOUR);
        take("drain", &mut settings.drain, Duration::ZERO, HOUR);
        take("max-hold", &mut settings.max_hold, MS, DAY);
    }

    fn read_sizes(&mut self, reader: &mut Reader<'_>, table: &Table) {
        let settings = &mut self.settings;
        if let Some(path) = table
            .get("data-dir")
            .and_then(|node| reader.string(node, "data-dir"))
        {
            if path.value.is_empty() {
                reader.report(Problem::new("empty", path.at, "`data-dir` is empty"));
            } else {
                settings.data_dir = reader.sources.resolve(path.at, &path.value);
            }
        }
        if let Some(lock) = table.get("lock").and_then(|node| reader.string(node, "lock")) {
            match LockPolicy::ALL.into_iter().find(|policy| policy.name() == lock.value.as_ref()) {
                Some(policy) => settings.lock = policy,
                None => reader.report(
                    Problem::new("unknown-lock", lock.at, "a lock is not kept like this")
                        .help("lock = \"exact\" takes no change, lock = \"within-grants\" takes what asks for no more"),
                ),
            }
        }
        if let Some(workers) = table
            .get("workers")
            .and_then(|node| reader.small(node, "workers", 1..=1024))
        {
            settings.workers = NonZeroUsize::new(workers.value as usize);
        }
        if let Some(slots) = table
            .get("command-slots")
            .and_then(|node| reader.small(node, "command-slots", 1..=1024))
        {
            settings.scarce.command_slots = slots.value as usize;
        }
        if let Some(rate) = table
            .get("echo-rate")
            .and_then(|node| reader.whole(node, "echo-rate", 1..=1_000_000))
        {
            settings.scarce.echo_rate = rate.value;
        }
        if let Some(node) = table.get("maxima") {
            let given = PartialLimits::read(reader, node, "maxima", &LIMITS_MAX);
            settings.maxima = given.over(&settings.maxima);
        }
        if let Some(node) = table.get("compiler") {
            read_compiler(reader, node, &mut settings.compiler);
        }
        if let Some(node) = table.get("store") {
            settings.quantiles = read_store(reader, node, &mut settings.store);
        }
        if let Some(budget) = table
            .get("interventions")
            .and_then(|node| reader.table(node, "interventions"))
        {
            reader.known_keys(budget, KEYS_BUDGET, "`interventions`");
            let given = read_budget(reader, budget, "interventions");
            settings.interventions = given.over(settings.interventions);
        }
        if let Some(retry) = table
            .get("retry-budget")
            .and_then(|node| reader.table(node, "retry-budget"))
        {
            reader.known_keys(retry, KEYS_RETRY_BUDGET, "`retry-budget`");
            if let Some(ratio) = retry
                .get("ratio")
                .and_then(|node| reader.number(node, "retry-budget.ratio", 0.0..=1.0))
            {
                settings.retry_budget.ratio = ratio.value;
            }
            if let Some(rate) = retry
                .get("min-per-second")
                .and_then(|node| reader.number(node, "retry-budget.min-per-second", 0.0..=1e6))
            {
                settings.retry_budget.min_per_second = rate.value;
            }
        }
        if let Some(queues) = table.get("queues").and_then(|node| reader.table(node, "queues")) {
            reader.known_keys(queues, KEYS_QUEUES, "`queues`");
            for kind in Kind::ALL {
                if let Some(node) = queues.get(kind.name()) {
                    let wished = settings.wished.get_mut(kind);
                    read_queue(reader, node, settings.queues.get_mut(kind), wished);
                }
            }
        }
    }
}

fn read_compiler(reader: &mut Reader<'_>, node: &Node, compiler: &mut CompilerSettings) {
    let Some(table) = reader.table(node, "compiler") else {
        return;
    };
    reader.known_keys(table, KEYS_COMPILER, "`[host.compiler]`");
    const MIB: u64 = 1 << 20;
    let mut size = |key: &'static str, target: &mut u64, low, high| {
        if let Some(size) = table.get(key).and_then(|node| reader.size(node, key, low..=high)) {
            *target = size.value;
        }
    };
    // With less than that not even an empty component is compiled.
    size("memory", &mut compiler.memory_bytes, 256 * MIB, 1 << 40);
    size("max-size", &mut compiler.component_bytes, 1 << 10, 64 * MIB);
    size("cache-size", &mut compiler.cache_bytes, MIB, 1 << 40);
    let mut time = |key: &'static str, target: &mut Duration, low, high| {
        if let Some(time) = table
            .get(key)
            .and_then(|node| reader.duration(node, key, low..=high))
        {
            *target = time.value;
        }
    };
    time("cpu", &mut compiler.cpu, Duration::from_secs(1), HOUR);
    time("timeout", &mut compiler.timeout, Duration::from_secs(1), HOUR);
    time("cache-age", &mut compiler.cache_age, HOUR, 3_650 * DAY);
    if let Some(threads) = table
        .get("threads")
        .and_then(|node| reader.small(node, "threads", 1..=64))
    {
        compiler.threads = threads.value;
    }
}

/// Reads `[host.store]`, and returns of whom quantiles are kept.
fn read_store(reader: &mut Reader<'_>, node: &Node, store: &mut StoreSettings) -> Option<Selector> {
    let table = reader.table(node, "store")?;
    reader.known_keys(table, KEYS_STORE, "`[host.store]`");
    store.enabled = is_enabled(reader, table, "store.enabled");
    let mut time = |key: &'static str, target: &mut Duration, low| {
        if let Some(time) = table
            .get(key)
            .and_then(|node| reader.duration(node, key, low..=3_650 * DAY))
        {
            *target = time.value;
        }
    };
    time("incidents", &mut store.incidents, HOUR);
    time("history-5m", &mut store.history_fine, Duration::ZERO);
    time("history-1h", &mut store.history_hour, Duration::ZERO);
    time("history-1d", &mut store.history_day, Duration::ZERO);
    let text = reader.string(table.get("quantiles")?, "store.quantiles")?;
    let wrong = |wrong| reader.report(Problem::new("bad-selector", text.at, wrong));
    text.value.parse().map_err(wrong).ok()
}

fn read_queue(reader: &mut Reader<'_>, node: &Node, queue: &mut QueueSettings, wished: &mut Option<usize>) {
    let Some(table) = reader.table(node, "queues.KIND") else {
        return;
    };
    reader.known_keys(table, KEYS_QUEUE, "a queue");
    let mut read = *queue;
    let mut take = |table: &Table, key, what, target: &mut usize, max| {
        if let Some(count) = table.get(key).and_then(|node| reader.small(node, what, 1..=max)) {
            *target = count.value as usize;
        }
    };
    take(table, "capacity", "capacity", &mut read.capacity, 1_000_000);
    take(table, "in-flight", "in-flight", &mut read.in_flight, 100_000);
    let batch = table.get("batch");
    if let Some(batch) = batch.and_then(|node| match &node.value {
        super::tree::Value::Table(table) => Some(table),
        _ => None,
    }) {
        take(batch, "min", "batch.min", &mut read.batch_min, 1000);
        take(batch, "max", "batch.max", &mut read.batch_max, 1000);
        // A batch that is given only one of its ends moves the other out of its way.
        if batch.get("min").is_none() {
            read.batch_min = read.batch_min.min(read.batch_max);
        }
        if batch.get("max").is_none() {
            read.batch_max = read.batch_max.max(read.batch_min);
        }
    }
    if let Some(batch) = batch.and_then(|node| reader.table(node, "batch")) {
        reader.known_keys(batch, KEYS_BATCH, "`batch`");
    }
    if batch.is_none() {
        read.batch_max = read.batch_max.min(read.capacity);
        read.batch_min = read.batch_min.min(read.batch_max);
    }
    if read.batch_min > read.batch_max || read.batch_max > read.capacity {
        let at = batch.map_or(node.at, |node| node.at);
        let text = format!(
            "batches of {} to {} do not fit a capacity of {}",
            read.batch_min, read.batch_max, read.capacity
        );
        reader.report(
            Problem::new("out-of-range", at, text).help("batch.min ≤ batch.max ≤ capacity, counted in jobs"),
        );
    } else {
        *queue = read;
        if table.get("in-flight").is_some() {
            *wished = Some(read.in_flight);
        }
    }
}

fn read_notify(reader: &mut Reader<'_>, node: &Node) -> Vec<Spot<Arc<str>>> {
    let mut names = Vec::new();
    for item in reader.array(node, "notify", "tables").unwrap_or_default() {
        let Some(table) = reader.table(item, "notify") else {
            continue;
        };
        reader.known_keys(table, KEYS_HOST_NOTIFY, "`[[host.notify]]`");
        match table.get("notifier") {
            Some(node) => names.extend(reader.string(node, "notifier")),
            None => reader.report(
                Problem::new("missing-key", item.at, "`[[host.notify]]` without `notifier`")
                    .help("name one: notifier = \"alerts\""),
            ),
        }
    }
    names
}

fn read_heartbeat(reader: &mut Reader<'_>, node: &Node) -> Option<Heartbeat> {
    let table = reader.table(node, "heartbeat")?;
    reader.known_keys(table, KEYS_HEARTBEAT, "`[host.heartbeat]`");
    let every = match table.get("every") {
        Some(node) => reader
            .duration(node, "heartbeat.every", Duration::from_secs(1)..=HOUR)
            .map(|span| span.value),
        None => Some(Duration::from_secs(60)),
    };
    let Some(url) = table.get("url") else {
        reader.report(
            Problem::new("missing-key", node.at, "`[host.heartbeat]` without `url`")
                .help("the address of the dead man's switch: url = \"${env:HEARTBEAT_URL}\""),
        );
        return None;
    };
    let url = reader.string(url, "url")?;
    if !is_web_address(&url.value) {
        reader.report(
            Problem::new("bad-address", url.at, "this is no http:// or https:// URL")
                .help("url = \"https://hc.example.org/ping/…\""),
        );
        return None;
    }
    Some(Heartbeat {
        url: url.value,
        every: every?,
    })
}

/// Whether the host itself can send something there.
pub(super) fn is_web_address(text: &str) -> bool {
    text.parse::<::http::Uri>()
        .is_ok_and(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some())
}
