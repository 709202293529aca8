//! What is going wrong at a time: one kind of trouble after the other, with better times between them.

use crate::rng::Rng;
use pulse_host::domain::{spec::Kind, time::Mono};
use std::time::Duration;

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sky {
    /// All is well but the targets.
    Fair,
    /// A little of everything.
    Mild,
    /// Every target is down at once.
    Outage,
    /// Every target that this plugin checks is down, and all others are what they are.
    OutageOf(&'static str),
    /// Most executions end in trouble of the prober.
    Sick,
    /// Many executions never come back.
    Lossy,
    /// Many answers come after they were given up, or twice, or in another order.
    Late,
    /// Nothing can be run: no capacity, or not in time.
    Busy,
    /// Receivers take no codes.
    Deaf,
    /// Interventions fail, each in its own way.
    Useless,
    /// Workers of one kind don't take anything.
    Asleep(Kind),
    /// Everything takes nearly as long as it may.
    Slow,
}

/// The sky, and how long it stays so.
pub struct Weather {
    pub sky: Sky,
    until: Mono,
    longest_s: u64,
}

impl Weather {
    pub fn new(rng: &mut Rng, now: Mono, rough: Duration) -> Self {
        let longest_s = (rough.as_secs() / 8).clamp(20, 1_200);
        Self {
            sky: Sky::Fair,
            until: now.after(rng.secs(0, 30)),
            longest_s,
        }
    }

    pub fn pass(&mut self, rng: &mut Rng, now: Mono) {
        if now < self.until {
            return;
        }
        self.sky = match rng.range(0, 15) {
            0..3 => Sky::Fair,
            3..6 => Sky::Mild,
            6 => Sky::Outage,
            7 => Sky::Sick,
            8 => Sky::Lossy,
            9 => Sky::Late,
            10 => Sky::Busy,
            11 => Sky::Deaf,
            12 => Sky::Useless,
            13 => Sky::Asleep(rng.pick(&Kind::ALL)),
            14 => Sky::Slow,
            _ => Sky::OutageOf("http"),
        };
        self.until = now.after(rng.secs(5, self.longest_s));
    }
}

/// What becomes of an execution, in how many of a thousand cases.
#[derive(Clone, Copy, Debug, Default)]
pub struct Odds {
    /// Trouble of the prober.
    pub fault: u64,
    /// Not run.
    pub refused: u64,
    /// Never comes back.
    pub lost: u64,
    /// Comes back after it was given up.
    pub late: u64,
    /// Comes back twice.
    pub twice: u64,
    /// What the kind itself knows as failure, of interventions and codes.
    pub fails: u64,
}

impl Sky {
    pub fn odds(self, kind: Kind) -> Odds {
        let mild = Odds {
            fault: 40,
            // Of checks that are not run nothing follows that could be refused in its turn.
            refused: if kind == Kind::Intervention { 150 } else { 30 },
            lost: 30,
            late: 40,
            twice: 40,
            fails: 150,
        };
        match self {
            Self::Fair | Self::Outage | Self::OutageOf(_) | Self::Asleep(_) => Odds::default(),
            Self::Mild | Self::Slow => mild,
            Self::Sick => Odds { fault: 800, ..mild },
            Self::Lossy => Odds { lost: 500, ..mild },
            Self::Late => Odds {
                late: 500,
                twice: 300,
                lost: 60,
                ..mild
            },
            Self::Busy => Odds {
                refused: if kind == Kind::Pulse { 150 } else { 600 },
                ..mild
            },
            Self::Deaf if kind == Kind::Code => Odds { fails: 900, ..mild },
            Self::Useless if kind == Kind::Intervention => Odds {
                fails: 850,
                fault: 100,
                ..mild
            },
            Self::Deaf | Self::Useless => Odds::default(),
        }
    }
}
