//! The watched things: each lives and dies by a script of its own, and may be healed by an intervention.

use crate::{rng::Rng, scenario::Scenario};
use pulse_host::domain::{outcome::Status, time::Mono};

/// One target.
#[derive(Debug)]
pub struct Target {
    rng: Rng,
    status: Status,
    until: Mono,
    life: (u64, u64),
    outage: (u64, u64),
    /// In how many of a thousand cases an intervention helps.
    helps: u64,
}

impl Target {
    pub fn new(rng: &mut Rng, scenario: &Scenario, now: Mono) -> Self {
        let mut rng = rng.fork();
        Self {
            status: Status::Healthy,
            until: now.after(rng.secs(0, scenario.life.1)),
            life: scenario.life,
            outage: scenario.outage,
            helps: scenario.helps,
            rng,
        }
    }

    /// How it is at that time. Time never goes back.
    pub fn at(&mut self, now: Mono) -> Status {
        while self.until <= now {
            self.status = match self.status {
                Status::Healthy if self.rng.permille(200) => Status::Degraded,
                Status::Healthy => Status::Unhealthy,
                Status::Degraded if self.rng.permille(400) => Status::Unhealthy,
                _ if self.rng.permille(100) => Status::Degraded,
                _ => Status::Healthy,
            };
            let (low, high) = match self.status {
                Status::Healthy => self.life,
                _ => self.outage,
            };
            self.until = self.until.after(self.rng.secs(low, high));
        }
        self.status
    }

    /// An intervention was carried out.
    pub fn intervene(&mut self, now: Mono) {
        if self.at(now) != Status::Healthy && self.rng.permille(self.helps) {
            let (low, high) = self.life;
            self.status = Status::Healthy;
            self.until = now.after(self.rng.secs(low, high));
        }
    }

    /// It is well from now on, for ever.
    pub fn calm(&mut self) {
        (self.status, self.until) = (Status::Healthy, Mono::NEVER);
    }
}
