//! What a seed makes: monitors, the host's settings, and how rough the world is.
//!
//! Here alone configurations are built, so that a change of their types is followed in one place.

use crate::rng::Rng;
use pulse_host::domain::{
    color::{Color, ColorSet},
    grant::Grants,
    host::{CorrelatedSettings, HostSettings, PerKind, QuarantineSettings, QueueSettings, RetryBudget},
    limits::Limits,
    spec::{Budget, Check, Class, InterventionSpec, Lane, MonitorSpec, Policy, Profile, Sink},
    tenant::{Quotas, Tenant},
};
use std::{sync::Arc, time::Duration};

/// One world.
pub struct Scenario {
    scale: &'static Scale,
    pool: Vec<Arc<Sink>>,
    salt: u64,
    /// Monitors that there ever were.
    named: u64,
    /// In how many of a thousand steps the configuration is replaced.
    pub reloads: u64,
    pub settings: HostSettings,
    pub monitors: Vec<MonitorSpec>,
    pub host_entry: Option<MonitorSpec>,
    pub workers: usize,
    /// CPU time of each execution, which the host measures.
    pub cost: Duration,
    /// Results that may wait for the scheduler.
    pub results: usize,
    /// Time at which the workers' doings are rounded up to: few large runs, or many small ones.
    pub grain: Duration,
    /// How long the world is rough.
    pub rough: Duration,
    /// Runs after which it calms down at the latest.
    pub runs: u64,
    /// Greatest wish to wait that a receiver utters.
    pub wish: Duration,
    /// In how many of a thousand cases an intervention helps.
    pub helps: u64,
    /// How long targets live and stay down, in seconds.
    pub life: (u64, u64),
    pub outage: (u64, u64),
}

/// How fast a world turns: everything is bounded by it, so that a calm of moderate length heals all.
struct Scale {
    intervals: &'static [u64],
    tick_ms: &'static [u64],
    rough_s: (u64, u64),
    runs: u64,
    most: u64,
    wish_s: u64,
    page_s: (u64, u64),
}

const SCALES: [Scale; 5] = [
    // A few monitors, checked every few seconds, to the millisecond.
    Scale {
        intervals: &[1, 2, 3, 5],
        tick_ms: &[10, 50],
        rough_s: (200, 900),
        runs: 7_000,
        most: 8,
        wish_s: 15,
        page_s: (10, 120),
    },
    // Hours of a small site.
    Scale {
        intervals: &[5, 10, 30, 60, 300],
        tick_ms: &[100, 500, 1000],
        rough_s: (4_000, 40_000),
        runs: 14_000,
        most: 12,
        wish_s: 700,
        page_s: (30, 1800),
    },
    // One monitor, for the rarest of races.
    Scale {
        intervals: &[1, 2, 5, 10],
        tick_ms: &[10, 100, 1000],
        rough_s: (1_000, 4_000),
        runs: 8_000,
        most: 1,
        wish_s: 30,
        page_s: (10, 300),
    },
    // Many.
    Scale {
        intervals: &[10, 30, 60],
        tick_ms: &[100, 1000],
        rough_s: (400, 1_200),
        runs: 4_000,
        most: 200,
        wish_s: 60,
        page_s: (30, 300),
    },
    // Days of monitors that are checked every hour or so: farther ahead than the near levels of the wheel reach.
    Scale {
        intervals: &[600, 1_800, 3_600, 7_200],
        tick_ms: &[1_000],
        rough_s: (120_000, 300_000),
        runs: u64::MAX,
        most: 4,
        wish_s: 700,
        page_s: (3_600, 30_000),
    },
];

impl Scenario {
    pub fn new(rng: &mut Rng) -> Self {
        let scale = &SCALES[match rng.range(0, 99) {
            0..40 => 0,
            40..72 => 1,
            72..90 => 2,
            90..97 => 3,
            _ => 4,
        }];
        let count = if scale.most > 100 {
            rng.range(50, scale.most)
        } else {
            rng.range(1, scale.most)
        };
        let settings = settings(rng, scale);
        let pool: Vec<Arc<Sink>> = (0..rng.range(1, 5))
            .map(|n| Arc::new(sink(rng, &format!("sink-{n}"), scale)))
            .collect();
        let uniform = (count >= 50).then(|| rng.pick(scale.intervals));
        let salt = rng.next() % 100_000;
        let monitors: Vec<MonitorSpec> = (0..count)
            .map(|n| named(&format!("m{n}-{salt}"), class(rng, scale, &pool, uniform)))
            .collect();
        let host_entry = rng.permille(750).then(|| {
            let mut host = class(rng, scale, &[], None);
            (host.pulse, host.intervention) = (None, None);
            host.sinks = (0..rng.range(1, 2))
                .map(|n| Arc::new(sink(rng, &format!("host-{n}"), scale)))
                .collect();
            named("pulse-host", host)
        });
        Self {
            scale,
            pool,
            salt,
            named: count,
            reloads: if scale.runs == u64::MAX {
                0
            } else {
                rng.pick(&[0, 1, 5])
            },
            workers: usize::try_from(rng.range(1, 4)).unwrap(),
            cost: Duration::from_micros(rng.pick(&[0, 50, 5_000, 50_000])),
            results: usize::try_from(rng.pick(&[1, 3, 16, 1000])).unwrap(),
            grain: if count > 20 {
                Duration::from_millis(100)
            } else {
                Duration::from_millis(rng.pick(&[1, 1, 10, 100]))
            },
            rough: rng.secs(scale.rough_s.0, scale.rough_s.1),
            runs: scale.runs,
            wish: Duration::from_secs(scale.wish_s),
            helps: rng.pick(&[0, 300, 700, 1000]),
            life: rng.pick(&[(5, 60), (60, 600), (600, 6_000)]),
            outage: rng.pick(&[(2, 20), (20, 200), (100, 900)]),
            settings,
            monitors,
            host_entry,
        }
    }
}

impl Scenario {
    /// How long it must be calm after all the trouble before everything is well again.
    pub fn calm(&self) -> Duration {
        let longest = self.monitors.iter().map(|spec| {
            let policy = &spec.policy;
            policy.interval.max(policy.retry_interval) * (policy.success_threshold + 2)
        });
        let repair = self.monitors.iter().filter_map(|spec| spec.intervention.as_ref());
        let repair = repair.map(|repair| repair.verify_window * 3);
        longest.max().unwrap_or_default()
            + repair.max().unwrap_or_default()
            + Duration::from_secs(self.scale.wish_s.clamp(60, 600) * 2)
            + (self.settings.queue_wait + self.settings.grace + Duration::from_secs(40)) * 4
            + self
                .settings
                .quarantine
                .map_or(Duration::ZERO, |quarantine| quarantine.pause_longest * 2)
    }

    /// Another configuration: monitors come and go, and checks change.
    pub fn reload(&mut self, rng: &mut Rng) {
        self.monitors.retain(|_| !rng.permille(60));
        for spec in &mut self.monitors {
            if rng.permille(100) {
                let mut class = Class::clone(spec.class());
                if let Some(check) = &mut class.pulse {
                    check.timeout = rng.ms(200, 8_000);
                }
                *spec = named(spec.name(), class);
            }
        }
        let room = usize::try_from(self.scale.most)
            .unwrap()
            .saturating_sub(self.monitors.len());
        for _ in 0..room.min(2) {
            if self.monitors.is_empty() || rng.permille(400) {
                let class = class(rng, self.scale, &self.pool, None);
                self.monitors
                    .push(named(&format!("m{}-{}", self.named, self.salt), class));
                self.named += 1;
            }
        }
    }
}

fn settings(rng: &mut Rng, scale: &Scale) -> HostSettings {
    let mut settings = HostSettings::new("unused".into());
    settings.tick = Duration::from_millis(rng.pick(scale.tick_ms));
    let tight = rng.permille(500);
    settings.queues = PerKind::from_fn(|_| {
        if tight && scale.most <= 100 {
            let batch_max = rng.range(1, 4);
            QueueSettings {
                capacity: usize::try_from(rng.range(1, 8)).unwrap(),
                batch_min: usize::try_from(rng.range(1, batch_max)).unwrap(),
                batch_max: usize::try_from(batch_max).unwrap(),
                in_flight: usize::try_from(rng.pick(&[1, 4, 50])).unwrap(),
            }
        } else {
            QueueSettings {
                capacity: 512,
                batch_min: 16,
                batch_max: 64,
                in_flight: 128,
            }
        }
    });
    settings.queue_wait = rng.ms(100, 5_000);
    settings.grace = rng.ms(100, 3_000);
    settings.retry_budget = if rng.permille(500) {
        RetryBudget {
            ratio: 0.1,
            min_per_second: rng.pick(&[0.0, 0.01, 0.1]),
        }
    } else {
        HostSettings::new("unused".into()).retry_budget
    };
    settings.interventions = if rng.permille(400) {
        Budget {
            attempts: u32::try_from(rng.range(1, 3)).unwrap(),
            per: rng.secs(5, 300),
        }
    } else {
        Budget {
            attempts: 60,
            per: Duration::from_secs(600),
        }
    };
    settings.max_hold = rng.secs(5, 300);
    settings.quarantine = rng.permille(700).then(|| {
        let first = rng.secs(2, 30);
        QuarantineSettings {
            window: rng.secs(10, 200),
            ratio: rng.pick(&[0.3, 0.5, 0.8]),
            faults_min: u32::try_from(rng.range(2, 10)).unwrap(),
            pause_first: first,
            pause_longest: first * u32::try_from(rng.range(1, 6)).unwrap(),
            tenants: 2,
        }
    });
    settings.correlated = rng.permille(500).then(|| CorrelatedSettings {
        window: rng.secs(20, 200),
        ratio: rng.pick(&[0.5, 0.7, 0.9]),
        monitors_min: u32::try_from(rng.range(2, 8)).unwrap(),
        longest: rng.secs(60, 900),
    });
    settings
}

fn lane(plugin: &str, timeout: Duration) -> Lane {
    Lane {
        profile: profile(plugin),
        settings: "{}".into(),
        timeout,
    }
}

fn profile(plugin: &str) -> Arc<Profile> {
    Arc::new(Profile {
        plugin: plugin.into(),
        digest: format!("digest of {plugin}").into(),
        limits: Limits::default(),
        grants: Arc::new(Grants::default()),
        reuse: 0,
    })
}

fn sink(rng: &mut Rng, name: &str, scale: &Scale) -> Sink {
    let colors: ColorSet = if rng.permille(600) {
        Color::ALL.into_iter().collect()
    } else {
        Color::ALL.into_iter().filter(|_| rng.permille(600)).collect()
    };
    Sink {
        name: name.into(),
        lane: lane("code", rng.ms(500, 10_000)),
        colors,
        max_age: if rng.permille(500) {
            rng.secs(20, 120)
        } else {
            rng.secs(scale.wish_s, 7_200)
        },
    }
}

fn named(name: &str, class: Class) -> MonitorSpec {
    MonitorSpec::new(Arc::new(class), None, name, None)
}

fn class(rng: &mut Rng, scale: &Scale, pool: &[Arc<Sink>], uniform: Option<u64>) -> Class {
    let interval = uniform.unwrap_or_else(|| rng.pick(scale.intervals)) * 1000;
    let retry = match rng.range(0, 9) {
        0 => interval,
        1 => interval * 2,
        _ => rng.range(interval / 10, interval).max(500),
    };
    let policy = Policy {
        interval: Duration::from_millis(interval),
        retry_interval: Duration::from_millis(retry),
        failure_threshold: u32::try_from(rng.range(1, 4)).unwrap(),
        success_threshold: u32::try_from(rng.range(1, 3)).unwrap(),
        page_after: rng.secs(scale.page_s.0, scale.page_s.1),
        repeat: rng
            .permille(500)
            .then(|| rng.secs(scale.page_s.0, scale.page_s.1)),
        fault_threshold: u32::try_from(rng.range(1, 5)).unwrap(),
    };
    let intervention = rng.permille(750).then(|| {
        let verify_window = rng.ms(interval, interval * 6);
        Arc::new(InterventionSpec {
            lane: lane(rng.pick(&["restart", "script", "http"]), rng.ms(500, 15_000)),
            max_attempts: u32::try_from(rng.range(1, 4)).unwrap(),
            cooldown: rng.ms(500, interval.min(60_000) * 4),
            verify_window,
            budget: if rng.permille(400) {
                Budget {
                    attempts: u32::try_from(rng.range(1, 2)).unwrap(),
                    per: rng.secs(60, 1_800),
                }
            } else {
                Budget {
                    attempts: 20,
                    per: Duration::from_secs(3_600),
                }
            },
        })
    });
    let mut sinks: Vec<Arc<Sink>> = Vec::new();
    for sink in pool {
        if sinks.len() < 3 && rng.permille(600) {
            sinks.push(Arc::clone(sink));
        }
    }
    Class {
        tenant: Arc::new(Tenant::new(
            rng.pick(&["default", "default", "acme", "umbrella"]),
            Quotas::default(),
        )),
        labels: Arc::new([]),
        policy,
        pulse: Some(Check {
            profile: profile(rng.pick(&["http", "http", "http", "http", "tcp"])),
            timeout: rng.ms(200, 8_000),
            settings: "{}".into(),
        }),
        intervention,
        sinks: sinks.into(),
        parents: Arc::new([]),
    }
}
