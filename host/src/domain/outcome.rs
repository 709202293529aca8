//! How an execution can end: exactly one typed [`Outcome`] each, and what each means.
//!
//! Architecture invariant: trouble of the prober is a *fault*, never a failure of the target.

use std::time::Duration;

/// How one execution ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The plugin answered.
    Answer(Answer),
    /// The plugin said that it is in trouble itself.
    PluginFault(PluginFault),
    /// The fuel was used up.
    OutOfFuel {
        /// What it was allowed.
        limit: u64,
    },
    /// The CPU time was used up.
    OutOfCpu {
        /// What it was allowed.
        limit: Duration,
    },
    /// The memory cap was hit.
    OutOfMemory {
        /// What it was allowed, in bytes.
        limit_bytes: u64,
        /// What it asked for, in bytes in all.
        wanted_bytes: u64,
    },
    /// The wasm stack overflowed.
    StackOverflow,
    /// The guest trapped otherwise.
    Trap(String),
    /// The deadline passed while the guest waited for its target.
    DeadlineWaiting,
    /// The deadline passed while the guest computed or slept, or the host was late in polling it.
    Deadline,
    /// The job waited too long in the channel and was not run.
    Expired,
    /// The plugin asked for something that no grant covers.
    Denied(Denial),
    /// There was no instance slot, descriptor or permit; nothing was run.
    NoCapacity(String),
    /// The host itself failed.
    HostError(String),
}

/// What a plugin answered, by kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A pulse.
    Pulse(Report),
    /// An intervention.
    Intervention(Result<Done, ActionFailure>),
    /// A code.
    Code(Result<Receipt, DeliveryFailure>),
}

/// The verdict of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// All is well.
    Healthy,
    /// Alive, but not as it should be.
    Degraded,
    /// Down.
    Unhealthy,
}

impl Status {
    /// The status's name as it stands in logs and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// A check's report. Bounded by whoever makes it: see `sandbox/answer.rs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The verdict.
    pub status: Status,
    /// One line.
    pub summary: String,
    /// Kebab case.
    pub reason: Option<String>,
    /// Finite numbers.
    pub measurements: Vec<Measurement>,
}

/// A number that a plugin measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// Snake case, without the unit.
    pub name: String,
    /// Finite.
    pub value: f64,
    /// Such as `s` or `By`.
    pub unit: String,
}

/// A repair that was carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// One line.
    pub summary: String,
    /// Finite numbers.
    pub measurements: Vec<Measurement>,
}

/// A repair that was not, or may not have been, carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionFailure {
    /// Nothing happened; trying again may work.
    Retryable(String),
    /// Nothing happened; trying again is useless.
    Permanent(String),
    /// Nobody knows.
    EffectUnknown(String),
}

/// An alert that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The receiver's id of it.
    pub id: Option<String>,
    /// One line.
    pub summary: String,
}

/// An alert that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryFailure {
    /// Sending it again may work.
    Retryable {
        /// Why.
        message: String,
        /// The receiver's wish.
        after: Option<Duration>,
    },
    /// Sending it again is useless.
    Permanent(String),
}

/// The plugin's own trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginFault {
    /// The settings can't work.
    InvalidSettings(String),
    /// Not possible here.
    Unsupported(String),
    /// A defect.
    Internal(String),
}

/// A capability that was asked for and not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// `http`, `tcp`, `docker`, `files`.
    pub capability: &'static str,
    /// What was asked for.
    pub wanted: String,
    /// The configuration line that would allow it.
    pub grant: String,
}

/// What an execution used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Fuel.
    pub fuel: u64,
    /// Wall time from start to end.
    pub wall: Duration,
    /// CPU time: the sum of all polls.
    pub cpu: Duration,
    /// Wall time spent in host calls.
    pub host: Duration,
    /// Greatest sum of all memories and tables, in bytes.
    pub peak_memory_bytes: u64,
}

/// How many classes of outcomes there are.
pub const CLASSES: usize = 13;

impl Outcome {
    /// Whether it says of a check's target that it is down. What else goes wrong says nothing of the target.
    #[must_use]
    pub fn is_down(&self) -> bool {
        match self {
            Self::Answer(Answer::Pulse(report)) => report.status == Status::Unhealthy,
            outcome => matches!(outcome, Self::DeadlineWaiting),
        }
    }

    /// The outcome's class, as a number below [`CLASSES`].
    #[must_use]
    pub fn class_number(&self) -> usize {
        match self {
            Self::Answer(_) => 0,
            Self::PluginFault(_) => 1,
            Self::OutOfFuel { .. } => 2,
            Self::OutOfCpu { .. } => 3,
            Self::OutOfMemory { .. } => 4,
            Self::StackOverflow => 5,
            Self::Trap(_) => 6,
            Self::DeadlineWaiting => 7,
            Self::Deadline => 8,
            Self::Expired => 9,
            Self::Denied(_) => 10,
            Self::NoCapacity(_) => 11,
            Self::HostError(_) => 12,
        }
    }

    /// A check's report; none where it did not come to one.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Answer(Answer::Pulse(report)) => Some(report),
            _ => None,
        }
    }

    /// What a check says of its target. One that did not answer in time is down; everything else without a report says
    /// nothing about it.
    #[must_use]
    pub fn verdict(&self) -> Option<Status> {
        match (self.report(), self) {
            (Some(report), _) => Some(report.status),
            (None, Self::DeadlineWaiting) => Some(Status::Unhealthy),
            _ => None,
        }
    }

    /// The outcome's class: its name in logs, metrics and JSON.
    #[must_use]
    pub fn class(&self) -> &'static str {
        class_name(self.class_number())
    }
}

/// The name of the class of that number.
#[must_use]
pub fn class_name(number: usize) -> &'static str {
    let names: [&str; CLASSES] = [
        "answer",
        "plugin-fault",
        "out-of-fuel",
        "out-of-cpu",
        "out-of-memory",
        "stack-overflow",
        "trap",
        "deadline-waiting",
        "deadline",
        "expired",
        "denied",
        "no-capacity",
        "host-error",
    ];
    names.get(number).copied().unwrap_or_default()
}

impl std::fmt::Display for Outcome {
    /// One line for people. Of an answer it is the summary.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answer(answer) => answer.fmt(f),
            Self::PluginFault(PluginFault::InvalidSettings(message)) => {
                write!(f, "the plugin rejects its settings: {message}")
            }
            Self::PluginFault(PluginFault::Unsupported(message)) => {
                write!(f, "the plugin can't do that: {message}")
            }
            Self::PluginFault(PluginFault::Internal(message)) => {
                write!(f, "the plugin failed: {message}")
            }
            Self::OutOfFuel { limit } => write!(
                f,
                "cut: used up its {limit} units of fuel before it was done: it needs more than limits.fuel = {limit}; \
                 `plugin bench` measures how much"
            ),
            Self::OutOfCpu { limit } => write!(
                f,
                "cut: used up its {limit:?} of CPU time before it was done: it needs more than \
                 limits.cpu = \"{limit:?}\"; `plugin bench` measures how much"
            ),
            Self::OutOfMemory {
                limit_bytes,
                wanted_bytes,
            } => write!(f, "cut: {}", Refused(*limit_bytes, *wanted_bytes)),
            Self::StackOverflow => f.write_str("cut: stack overflow"),
            Self::Trap(message) => write!(f, "trapped: {message}"),
            Self::DeadlineWaiting => f.write_str("the target did not answer in time"),
            Self::Deadline => f.write_str("cut: the deadline passed, and not because of the target"),
            Self::Expired => f.write_str("waited too long in the queue and was not run"),
            Self::Denied(denial) => {
                write!(
                    f,
                    "denied: {} {}; to allow it: {}",
                    denial.capability, denial.wanted, denial.grant
                )
            }
            Self::NoCapacity(message) => write!(f, "no capacity: {message}"),
            Self::HostError(message) => write!(f, "host error: {message}"),
        }
    }
}

/// What of memory was refused to a guest, for people: the limit, and what it wanted in all, both in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub u64, pub u64);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const MIB: u64 = 1 << 20;
        let Self(limit, wanted) = *self;
        // As the configuration has it.
        let size = |bytes: u64| match bytes {
            _ if bytes.is_multiple_of(MIB) => format!("{}MiB", bytes / MIB),
            _ if bytes.is_multiple_of(1024) => format!("{}KiB", bytes / 1024),
            _ => format!("{bytes}B"),
        };
        write!(
            f,
            "wanted {wanted} bytes of memory in all, {} more than limits.memory = \"{}\"; it needs \"{}MiB\" at least",
            wanted.saturating_sub(limit),
            size(limit),
            wanted.div_ceil(MIB)
        )
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pulse(report) => f.write_str(&report.summary),
            Self::Intervention(Ok(done)) => f.write_str(&done.summary),
            Self::Intervention(Err(
                ActionFailure::Retryable(message)
                | ActionFailure::Permanent(message)
                | ActionFailure::EffectUnknown(message),
            ))
            | Self::Code(Err(
                DeliveryFailure::Retryable { message, .. } | DeliveryFailure::Permanent(message),
            )) => f.write_str(message),
            Self::Code(Ok(receipt)) => f.write_str(&receipt.summary),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_was_too_small_is_named_with_its_value_and_with_what_was_wanted() {
        let memory = Outcome::OutOfMemory {
            limit_bytes: 32 << 20,
            wanted_bytes: (40 << 20) + 1,
        };
        assert_eq!(
            memory.to_string(),
            "cut: wanted 41943041 bytes of memory in all, 8388609 more than limits.memory = \"32MiB\"; it needs \"41MiB\" at least"
        );
        assert!(
            Refused(96 << 10, 1 << 20)
                .to_string()
                .contains("limits.memory = \"96KiB\"")
        );
        let fuel = Outcome::OutOfFuel { limit: 7 }.to_string();
        assert!(fuel.contains("it needs more than limits.fuel = 7;"), "{fuel}");
        let limit = Duration::from_millis(200);
        let cpu = Outcome::OutOfCpu { limit }.to_string();
        assert!(cpu.contains("more than limits.cpu = \"200ms\";"), "{cpu}");
    }
}
