//! Heartbeat monitors, each a dead man's switch: what is watched says by itself that it is well, and silence is a failure.
//!
//! The check of such a monitor runs no plugin: it looks how long ago the last heartbeat came. Everything else (thresholds,
//! repairs, alerts, maintenance) is as with any monitor.
//!
//! Architecture invariant: a heartbeat that may have come while nobody could hear it is no silence. What was not silent
//! when the host went away has all of its time again when the host is back; what was silent stays so until it is heard.

use super::{
    outcome::{Measurement, Report, Status},
    plugin::Facts,
    saved::MonitorKey,
    spec::{Kind, MonitorSpec, Profile},
    time::{Mono, Now, Wall, millis},
};
use serde::Deserialize;
use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// What stands in the place of a plugin's name; no plugin can have it.
pub const PLUGIN: &str = "heartbeat";
/// What stands in the place of a component's digest.
const DIGEST: &str = "built-in";
/// What the reason of a silent monitor's failure is.
const REASON: &str = "no-heartbeat";

/// What the configuration and the API know about it, as of a plugin.
pub static FACTS: LazyLock<Facts> = LazyLock::new(|| Facts {
    name: PLUGIN.into(),
    digest: DIGEST.into(),
    version: env!("CARGO_PKG_VERSION").to_owned(),
    summary: "Waits for heartbeats of what is watched".to_owned(),
    kinds: vec![Kind::Pulse],
    needs: Vec::new(),
    schema: Arc::new(serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": false,
        "required": ["every_ms", "grace_ms", "hash"],
        "properties": {
            "every_ms": { "type": "integer", "minimum": 1 },
            "grace_ms": { "type": "integer", "minimum": 0 },
            "hash": {
                "type": "string",
                "pattern": "^sha256:[0-9a-f]{64}$",
                "description": "The hash of its token, as `pulse-host token new` prints it; the token itself stands nowhere.",
                "writeOnly": true,
            },
        },
    })),
});

/// Whether jobs of that profile are looked at here, and not by a plugin.
#[must_use]
pub fn is_watched(profile: &Profile) -> bool {
    *profile.digest == *DIGEST
}

/// What such a monitor is configured with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Watch {
    every_ms: u64,
    grace_ms: u64,
    /// `sha256:` and the hexadecimal digits of its token's hash.
    pub hash: String,
}

impl Watch {
    /// Of that monitor. None: it is watched by a plugin.
    #[must_use]
    pub fn of(spec: &MonitorSpec) -> Option<Self> {
        let check = spec.assignment(Kind::Pulse, 0)?;
        if !is_watched(check.profile) {
            return None;
        }
        serde_json::from_str(&spec.tenant.secrets.fill_json(check.settings)).ok()
    }

    /// How often heartbeats come.
    #[must_use]
    pub fn every(&self) -> Duration {
        Duration::from_millis(self.every_ms)
    }

    /// How much later one may come.
    #[must_use]
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }

    /// How long it may be silent.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.every().saturating_add(self.grace())
    }
}

/// What is known of one monitor's heartbeats.
#[derive(Debug)]
struct Switch {
    /// Since when it has been silent: the last heartbeat, or the moment from which one could be heard.
    since: AtomicU64,
    /// When it was heard last; 0: never.
    heard: AtomicU64,
    /// A check found that it was silent for too long.
    silent: AtomicBool,
    unwritten: AtomicBool,
}

impl Switch {
    fn new(since: Mono) -> Arc<Self> {
        Arc::new(Self {
            since: AtomicU64::new(since.0),
            heard: AtomicU64::new(0),
            silent: AtomicBool::new(false),
            unwritten: AtomicBool::new(false),
        })
    }

    fn since(&self) -> Mono {
        Mono(self.since.load(Ordering::Acquire))
    }
}

/// How a monitor's heartbeats stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The last one; none: there was none yet.
    pub at: Option<Wall>,
    /// Until when the next one is waited for.
    pub deadline: Mono,
}

/// What is to be put on record.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unwritten {
    /// The last heartbeat of each.
    pub heard: Vec<(MonitorKey, Wall)>,
    /// They are watched no more.
    pub gone: Vec<MonitorKey>,
}

/// The heartbeats of all monitors that are watched so.
#[derive(Debug, Default)]
pub struct Switches {
    all: RwLock<HashMap<MonitorKey, Arc<Switch>>>,
    gone: Mutex<Vec<MonitorKey>>,
    unwritten: AtomicBool,
}

impl Switches {
    /// From now on these monitors are watched; of those that were before, everything stays known.
    pub fn configure(&self, monitors: &[MonitorSpec], now: Mono) {
        let watched = monitors.iter().filter(|spec| {
            let check = spec.pulse.as_ref();
            check.is_some_and(|check| is_watched(&check.profile))
        });
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *all);
        for key in watched.map(MonitorKey::of) {
            let switch = before.remove(&key).unwrap_or_else(|| Switch::new(now));
            all.insert(key, switch);
        }
        if !before.is_empty() {
            let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
            gone.extend(before.into_keys());
            self.unwritten.store(true, Ordering::Release);
        }
    }

    /// The same at the start of the host: `past` is what an earlier process put on record, and `silent` says who was in
    /// trouble then.
    pub fn begin(
        &self,
        monitors: &[MonitorSpec],
        now: Now,
        past: &[(MonitorKey, Wall)],
        silent: impl Fn(MonitorKey) -> bool,
    ) {
        self.configure(monitors, now.mono);
        if past.is_empty() {
            return;
        }
        let past: HashMap<_, _> = past.iter().copied().collect();
        for spec in monitors {
            let key = MonitorKey::of(spec);
            let (Some(at), Some(watch)) = (past.get(&key), Watch::of(spec)) else {
                continue;
            };
            let Some(switch) = self.switch(key) else {
                continue;
            };
            // A clock that was set back has heard nothing in the future.
            let at = Wall(at.0.min(now.wall.0));
            switch.heard.store(at.0, Ordering::Release);
            let expected = at.0.saturating_add(millis(watch.every()));
            if silent(key) || expected > now.wall.0 {
                switch.since.store(now.to_mono(at).0, Ordering::Release);
            }
        }
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let orphans = past.into_keys().filter(|key| !all.contains_key(key));
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.extend(orphans);
        if !gone.is_empty() {
            self.unwritten.store(true, Ordering::Release);
        }
    }

    fn switch(&self, key: MonitorKey) -> Option<Arc<Switch>> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&key).map(Arc::clone)
    }

    /// A heartbeat has come. True: a check had found silence, and would find otherwise now. None: that monitor is not
    /// watched so.
    pub fn hear(&self, key: MonitorKey, now: Now) -> Option<bool> {
        let switch = self.switch(key)?;
        switch.heard.store(now.wall.0, Ordering::Release);
        switch.since.store(now.mono.0, Ordering::Release);
        switch.unwritten.store(true, Ordering::Release);
        self.unwritten.store(true, Ordering::Release);
        Some(switch.silent.swap(false, Ordering::AcqRel))
    }

    /// How that monitor's heartbeats stand.
    #[must_use]
    pub fn heard(&self, key: MonitorKey, watch: &Watch) -> Option<Heard> {
        let switch = self.switch(key)?;
        let at = switch.heard.load(Ordering::Acquire);
        Some(Heard {
            at: (at > 0).then_some(Wall(at)),
            deadline: switch.since().after(watch.patience()),
        })
    }

    /// The check of such a monitor.
    #[must_use]
    pub fn check(&self, key: MonitorKey, watch: &Watch, now: Mono) -> Report {
        // One that a reload has taken away is looked at for the last time.
        let switch = self.switch(key);
        let since = switch.as_ref().map_or(now, |switch| switch.since());
        let silence = now.since(since);
        let silent = silence > watch.patience();
        let never = switch
            .as_ref()
            .is_none_or(|switch| switch.heard.load(Ordering::Acquire) == 0);
        if let Some(switch) = switch {
            switch.silent.store(silent, Ordering::Release);
        }
        let (long, every) = (shown(silence), shown(watch.every()));
        let summary = match (silent, never) {
            (false, false) => format!("heard {long} ago"),
            (false, true) => format!("not heard yet, waiting for {long}"),
            (true, never) => {
                let ever = if never { " ever" } else { "" };
                let grace = shown(watch.grace());
                format!("no heartbeat{ever} for {long}; one is due every {every}, at most {grace} late")
            }
        };
        Report {
            status: if silent {
                Status::Unhealthy
            } else {
                Status::Healthy
            },
            summary,
            reason: silent.then(|| REASON.to_owned()),
            measurements: vec![Measurement {
                name: "silence".to_owned(),
                value: silence.as_secs_f64(),
                unit: "s".to_owned(),
            }],
        }
    }

    /// What is to be put on record, which is on record then as far as anybody here knows.
    #[must_use]
    pub fn take_unwritten(&self) -> Unwritten {
        if !self.unwritten.swap(false, Ordering::AcqRel) {
            return Unwritten::default();
        }
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let unwritten = all
            .iter()
            .filter(|(_, switch)| switch.unwritten.swap(false, Ordering::AcqRel));
        Unwritten {
            heard: unwritten
                .map(|(key, switch)| (*key, Wall(switch.heard.load(Ordering::Acquire))))
                .collect(),
            gone: std::mem::take(&mut *self.gone.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// That could not be written, and is to be tried again.
    pub fn give_back(&self, unwritten: Unwritten) {
        for (key, _) in unwritten.heard {
            if let Some(switch) = self.switch(key) {
                switch.unwritten.store(true, Ordering::Release);
            }
        }
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.extend(unwritten.gone);
        self.unwritten.store(true, Ordering::Release);
    }
}

/// In whole seconds from one second on, in milliseconds below: `1h 5m`, `800ms`.
fn shown(span: Duration) -> String {
    let seconds = span.as_secs();
    if seconds == 0 {
        return format!("{}ms", span.as_millis());
    }
    let parts = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut left = seconds;
    let mut words = Vec::new();
    for (unit, name) in parts {
        let count = left / unit;
        left %= unit;
        if count > 0 {
            words.push(format!("{count}{name}"));
        }
    }
    // Nobody wants the seconds of a day.
    words.truncate(2);
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::{super::spec::Draft, *};

    const HOUR: Duration = Duration::from_secs(3_600);

    fn backup(every: Duration, grace: Duration) -> MonitorSpec {
        let mut draft = Draft::check("backup");
        let settings = serde_json::json!({
            "every_ms": millis(every),
            "grace_ms": millis(grace),
            "hash": format!("sha256:{}", "0".repeat(64)),
        });
        let check = draft.pulse.as_mut().unwrap();
        check.settings = settings.to_string().into();
        let profile = Profile {
            plugin: PLUGIN.into(),
            digest: DIGEST.into(),
            ..Profile::clone(&check.profile)
        };
        check.profile = Arc::new(profile);
        draft.ready()
    }

    fn at(seconds: u64) -> Now {
        Now {
            mono: Mono((1_000_000 + seconds) * 1_000_000_000),
            wall: Wall((1_700_000_000 + seconds) * 1_000),
        }
    }

    fn look(switches: &Switches, spec: &MonitorSpec, seconds: u64) -> (Status, String) {
        let watch = Watch::of(spec).unwrap();
        let report = switches.check(MonitorKey::of(spec), &watch, at(seconds).mono);
        assert_eq!(report.reason.is_some(), report.status == Status::Unhealthy);
        (report.status, report.summary)
    }

    #[test]
    fn silence_is_a_failure_and_a_heartbeat_ends_it() {
        let (spec, switches) = (backup(HOUR, HOUR / 60), Switches::default());
        let key = MonitorKey::of(&spec);
        assert_eq!(switches.hear(key, at(0)), None, "nobody watches it");
        switches.configure(std::slice::from_ref(&spec), at(0).mono);
        let (status, line) = look(&switches, &spec, 90);
        assert_eq!(
            (status, &*line),
            (Status::Healthy, "not heard yet, waiting for 1m 30s")
        );
        let (status, line) = look(&switches, &spec, 3_661);
        assert_eq!(status, Status::Unhealthy);
        assert_eq!(
            line,
            "no heartbeat ever for 1h 1m; one is due every 1h, at most 1m late"
        );
        assert_eq!(
            switches.hear(key, at(3_700)),
            Some(true),
            "it is worth a look now"
        );
        assert_eq!(switches.hear(key, at(3_701)), Some(false));
        assert_eq!(
            look(&switches, &spec, 3_701 + 3_660),
            (Status::Healthy, "heard 1h 1m ago".into())
        );
        assert_eq!(look(&switches, &spec, 3_701 + 3_661).0, Status::Unhealthy);
        // Another configuration takes nothing away that is known.
        let patient = backup(3 * HOUR, HOUR);
        switches.configure(std::slice::from_ref(&patient), at(9_000).mono);
        assert_eq!(
            look(&switches, &patient, 9_000),
            (Status::Healthy, "heard 1h 28m ago".into())
        );
    }

    #[test]
    fn what_may_have_come_while_the_host_was_away_is_no_silence() {
        let spec = backup(HOUR, HOUR / 60);
        let key = MonitorKey::of(&spec);
        // Heard at 0. The host is back at the second figure; silence is found after the third, and not before.
        for (was_silent, back, found) in [
            // The next one is due later: nothing was missed.
            (false, 3_000, 3_660),
            // It was due at 3,600, when nobody listened.
            (false, 3_630, 3_630 + 3_660),
            (false, 90_000, 90_000 + 3_660),
            // It was silent before the host went away, and is so until it is heard.
            (true, 90_000, 0),
        ] {
            let switches = Switches::default();
            switches.begin(
                std::slice::from_ref(&spec),
                at(back),
                &[(key, at(0).wall)],
                |_| was_silent,
            );
            if found > 0 {
                assert_eq!(look(&switches, &spec, found).0, Status::Healthy, "{back}");
            }
            assert_eq!(
                look(&switches, &spec, back.max(found + 1)).0,
                Status::Unhealthy,
                "{back}"
            );
            let heard = switches.heard(key, &Watch::of(&spec).unwrap()).unwrap();
            assert_eq!(heard.at, Some(at(0).wall));
        }
    }

    #[test]
    fn what_is_new_is_put_on_record_once_and_again_if_that_failed() {
        let (spec, switches) = (backup(HOUR, HOUR), Switches::default());
        let (key, stranger) = (MonitorKey::of(&spec), MonitorKey(7));
        let past = [(stranger, at(0).wall)];
        switches.begin(std::slice::from_ref(&spec), at(0), &past, |_| false);
        let nothing = Unwritten::default();
        assert_eq!(switches.take_unwritten().gone, [stranger]);
        switches.hear(key, at(1));
        switches.hear(key, at(2));
        let taken = switches.take_unwritten();
        assert_eq!(taken.heard, [(key, at(2).wall)]);
        assert_eq!(switches.take_unwritten(), nothing);
        switches.give_back(taken);
        assert_eq!(switches.take_unwritten().heard, [(key, at(2).wall)]);
        switches.configure(&[], at(3).mono);
        assert_eq!(switches.take_unwritten().gone, [key]);
    }
}
