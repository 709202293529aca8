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
    time::{Mono, Now, Wall, millis, nanos},
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
    /// Since when it has been silent: the last heartbeat, or the moment from which one was waited for.
    since: AtomicU64,
    /// The same by the wall clock, as it is put on record.
    at: AtomicU64,
    /// It was heard then, or else it was never heard.
    ever: AtomicBool,
    /// A check found that it was silent for too long.
    silent: AtomicBool,
    unwritten: AtomicBool,
}

impl Switch {
    fn new(now: Now) -> Arc<Self> {
        Arc::new(Self {
            since: AtomicU64::new(now.mono.0),
            at: AtomicU64::new(now.wall.0),
            ever: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            unwritten: AtomicBool::new(true),
        })
    }

    fn heard(&self) -> Option<Wall> {
        let ever = self.ever.load(Ordering::Acquire);
        ever.then(|| Wall(self.at.load(Ordering::Acquire)))
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

/// What is kept of a monitor's heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Whose.
    pub key: MonitorKey,
    /// Since when it has been silent.
    pub at: Wall,
    /// It was heard then; otherwise one has been waited for since then, and none ever came.
    pub ever: bool,
}

/// What is to be put on record.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unwritten {
    /// How each stands now.
    pub kept: Vec<Kept>,
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
    pub fn configure(&self, monitors: &[MonitorSpec], now: Now) {
        let watched = monitors.iter().filter(|spec| {
            let check = spec.pulse.as_ref();
            check.is_some_and(|check| is_watched(&check.profile))
        });
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *all);
        for key in watched.map(MonitorKey::of) {
            let switch = before.remove(&key).unwrap_or_else(|| {
                self.unwritten.store(true, Ordering::Release);
                Switch::new(now)
            });
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
        past: &[Kept],
        silent: impl Fn(MonitorKey) -> bool,
    ) {
        self.configure(monitors, now);
        let past: HashMap<_, _> = past.iter().map(|kept| (kept.key, *kept)).collect();
        for spec in monitors {
            let Some(watch) = Watch::of(spec) else {
                continue;
            };
            let key = MonitorKey::of(spec);
            let Some(switch) = self.switch(key) else {
                continue;
            };
            let Some(kept) = past.get(&key) else {
                if silent(key) {
                    // A crash came between the alarm and the record. It stays silent until it is heard.
                    let since = now
                        .mono
                        .0
                        .saturating_sub(nanos(watch.patience()).saturating_add(1));
                    switch.since.store(since, Ordering::Release);
                }
                continue;
            };
            // A clock that was set back has heard nothing in the future.
            let at = Wall(kept.at.0.min(now.wall.0));
            switch.ever.store(kept.ever, Ordering::Release);
            let goes_on = silent(key) || at.0.saturating_add(millis(watch.every())) > now.wall.0;
            if goes_on {
                switch.since.store(now.to_mono(at).0, Ordering::Release);
            }
            // Whoever asks is told when it was heard, whatever is waited for since.
            if goes_on || kept.ever {
                switch.at.store(at.0, Ordering::Release);
            }
            let differs = switch.at.load(Ordering::Acquire) != kept.at.0;
            switch.unwritten.store(differs, Ordering::Release);
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
        switch.at.store(now.wall.0, Ordering::Release);
        switch.ever.store(true, Ordering::Release);
        switch.since.store(now.mono.0, Ordering::Release);
        switch.unwritten.store(true, Ordering::Release);
        self.unwritten.store(true, Ordering::Release);
        Some(switch.silent.swap(false, Ordering::AcqRel))
    }

    /// How that monitor's heartbeats stand.
    #[must_use]
    pub fn heard(&self, key: MonitorKey, watch: &Watch) -> Option<Heard> {
        let switch = self.switch(key)?;
        Some(Heard {
            at: switch.heard(),
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
        let never = switch.as_ref().is_none_or(|switch| switch.heard().is_none());
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
        let kept = unwritten.map(|(key, switch)| Kept {
            key: *key,
            at: Wall(switch.at.load(Ordering::Acquire)),
            ever: switch.ever.load(Ordering::Acquire),
        });
        Unwritten {
            kept: kept.collect(),
            gone: std::mem::take(&mut *self.gone.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// That could not be written, and is to be tried again.
    pub fn give_back(&self, unwritten: Unwritten) {
        for Kept { key, .. } in unwritten.kept {
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
        switches.configure(std::slice::from_ref(&spec), at(0));
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
        switches.configure(std::slice::from_ref(&patient), at(9_000));
        assert_eq!(
            look(&switches, &patient, 9_000),
            (Status::Healthy, "heard 1h 28m ago".into())
        );
    }

    #[test]
    fn what_may_have_come_while_the_host_was_away_is_no_silence() {
        let spec = backup(HOUR, HOUR / 60);
        let key = MonitorKey::of(&spec);
        // Heard, or waited for, since 0. The host is back at the second figure; silence is found after the third, and not
        // before.
        for (was_silent, back, found) in [
            // The next one is due later: nothing was missed.
            (false, 3_000, 3_660),
            // It was due at 3,600, when nobody listened.
            (false, 3_630, 3_630 + 3_660),
            (false, 90_000, 90_000 + 3_660),
            // It was silent before the host went away, and is so until it is heard.
            (true, 90_000, 0),
        ] {
            for ever in [true, false] {
                let switches = Switches::default();
                let past = [Kept {
                    key,
                    at: at(0).wall,
                    ever,
                }];
                switches.begin(std::slice::from_ref(&spec), at(back), &past, |_| was_silent);
                if found > 0 {
                    assert_eq!(look(&switches, &spec, found).0, Status::Healthy, "{back}");
                }
                let then = back.max(found + 1);
                assert_eq!(look(&switches, &spec, then).0, Status::Unhealthy, "{back}");
                let heard = switches.heard(key, &Watch::of(&spec).unwrap()).unwrap();
                assert_eq!(heard.at, ever.then_some(at(0).wall));
            }
        }
        // What is not on record, but told already, is not taken back.
        let switches = Switches::default();
        switches.begin(std::slice::from_ref(&spec), at(0), &[], |_| true);
        assert_eq!(look(&switches, &spec, 0).0, Status::Unhealthy);
        assert_eq!(switches.hear(key, at(1)), Some(true));
        assert_eq!(look(&switches, &spec, 1).0, Status::Healthy);
    }

    #[test]
    fn what_is_new_is_put_on_record_once_and_again_if_that_failed() {
        let (spec, switches) = (backup(HOUR, HOUR), Switches::default());
        let (key, stranger) = (MonitorKey::of(&spec), MonitorKey(7));
        let known = |key, seconds, ever| Kept {
            key,
            at: at(seconds).wall,
            ever,
        };
        let past = [known(stranger, 0, true)];
        switches.begin(std::slice::from_ref(&spec), at(0), &past, |_| false);
        let taken = switches.take_unwritten();
        assert_eq!(
            (taken.kept, taken.gone),
            (vec![known(key, 0, false)], vec![stranger])
        );
        switches.hear(key, at(1));
        switches.hear(key, at(2));
        let taken = switches.take_unwritten();
        assert_eq!(taken.kept, [known(key, 2, true)]);
        assert_eq!(switches.take_unwritten(), Unwritten::default());
        switches.give_back(taken);
        assert_eq!(switches.take_unwritten().kept, [known(key, 2, true)]);
        switches.configure(&[], at(3));
        assert_eq!(switches.take_unwritten().gone, [key]);
        // What an earlier process has put on record is not put there once more.
        let past = [known(key, 2, true)];
        switches.begin(std::slice::from_ref(&spec), at(4), &past, |_| false);
        assert_eq!(switches.take_unwritten(), Unwritten::default());
    }
}
