//! What an operator configured, ready to run: immutable, validated, shared by `Arc`.

use super::{
    color::{Color, ColorSet},
    grant::Grants,
    limits::Limits,
    tenant::Tenant,
};
use std::{
    hash::{Hash as _, Hasher as _},
    ops::Deref,
    sync::Arc,
    time::Duration,
};
use triomphe::ThinArc;

/// The three kinds of job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Is the target alive?
    Pulse,
    /// Can we repair it?
    Intervention,
    /// Who must be told?
    Code,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Pulse, Self::Intervention, Self::Code];

    /// The kind's name as it stands in configuration, manifests, logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pulse => "pulse",
            Self::Intervention => "intervention",
            Self::Code => "code",
        }
    }

    /// The kind of that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Which plugin runs a lane's jobs, and within which bounds. Monitors with the same bounds share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The plugin's name, as in `[plugins.NAME]` and in its manifest.
    pub plugin: Arc<str>,
    /// SHA-256 of its component in hexadecimal: a plugin that is replaced is another one, whatever it is called. Empty:
    /// whichever there is.
    pub digest: Arc<str>,
    /// Caps of one execution, within the operator's maxima.
    pub limits: Limits,
    /// What the plugin may reach.
    pub grants: Arc<Grants>,
    /// At most that many jobs per instance; 0 and 1 both mean a fresh instance for each job.
    pub reuse: u32,
}

/// One lane: a plugin with settings and a timeout.
#[derive(Debug, PartialEq, Eq)]
pub struct Lane {
    /// Plugin and bounds.
    pub profile: Arc<Profile>,
    /// A JSON object that satisfies the plugin's schema.
    pub settings: Arc<str>,
    /// Wall time of one job, from its start.
    pub timeout: Duration,
}

impl Lane {
    /// Whether it asks the same of the same plugin, which may be another build of it now, with other bounds.
    #[must_use]
    pub fn asks_the_same(&self, other: &Self) -> bool {
        self.profile.plugin == other.profile.plugin
            && self.settings == other.settings
            && self.timeout == other.timeout
    }
}

/// At most `attempts` within any window of length `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// At least 1.
    pub attempts: u32,
    /// Length of the sliding window.
    pub per: Duration,
}

/// How a monitor is repaired.
#[derive(Debug, PartialEq, Eq)]
pub struct InterventionSpec {
    /// Plugin, settings, timeout.
    pub lane: Lane,
    /// Attempts per incident; at least 1.
    pub max_attempts: u32,
    /// Least time between the end of one attempt and the start of the next; retries back off from here.
    pub cooldown: Duration,
    /// How long pulses may take to prove that an intervention helped.
    pub verify_window: Duration,
    /// Attempts per time window, over all incidents of the monitor.
    pub budget: Budget,
}

impl InterventionSpec {
    /// Whether an attempt under the one is an attempt under the other: see [`Lane::asks_the_same`].
    #[must_use]
    pub fn asks_the_same(&self, other: &Self) -> bool {
        self.lane.asks_the_same(&other.lane)
    }
}

/// Where codes go: a notifier, as one monitor uses it. Monitors share it.
#[derive(Debug, PartialEq, Eq)]
pub struct Sink {
    /// The notifier's name, as in `[notifiers.NAME]`.
    pub name: Arc<str>,
    /// Plugin, settings, timeout.
    pub lane: Lane,
    /// Which colors it wants.
    pub colors: ColorSet,
    /// A code that could not be delivered for that long is recorded as undeliverable.
    pub max_age: Duration,
}

impl Sink {
    /// Whether the sink wants this color.
    #[must_use]
    pub fn wants(&self, color: Color) -> bool {
        self.colors.contains(color)
    }
}

/// How a monitor behaves over time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Time between two pulses of a healthy monitor.
    pub interval: Duration,
    /// Replaces `interval` while the monitor fails, as far as the host's retry budget goes.
    pub retry_interval: Duration,
    /// Failures in a row that make an incident; at least 1.
    pub failure_threshold: u32,
    /// Healthy pulses in a row that close an incident; at least 1.
    pub success_threshold: u32,
    /// From the incident's start: red is sent although repairs go on.
    pub page_after: Duration,
    /// Reminders while red; none: no reminders.
    pub repeat: Option<Duration>,
    /// Faults in a row that emit purple; at least 1.
    pub fault_threshold: u32,
}

/// A label: name and value.
pub type Label = (Arc<str>, Arc<str>);

/// The check of a class of monitors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Plugin and bounds.
    pub profile: Arc<Profile>,
    /// Wall time of one job, from its start.
    pub timeout: Duration,
    /// The settings of every monitor that has none of its own: a JSON object that satisfies the plugin's schema.
    pub settings: Arc<str>,
}

/// What many monitors have in common, stored once: everything but their names and, as a rule, the settings of their
/// checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Whose they are; [`super::tenant::DEFAULT`] where no tenant is configured.
    pub tenant: Arc<Tenant>,
    /// Sorted by name, without duplicates.
    pub labels: Arc<[Label]>,
    /// Behaviour over time.
    pub policy: Policy,
    /// The check. None only for the host's own entry, whose sinks hear that the prober is in trouble.
    pub pulse: Option<Check>,
    /// The repair.
    pub intervention: Option<Arc<InterventionSpec>>,
    /// Who is told; the index is the sink's number in [`super::job::JobKey`].
    pub sinks: Arc<[Arc<Sink>]>,
    /// Which monitors this one depends on: their places in the list of all monitors, sorted.
    pub parents: Arc<[u32]>,
}

/// One monitor, ready to be scheduled: a handle, cheap to clone. Its class, its name and its own settings lie in one
/// allocation, because there may be a million of them. What it has in common with others is found by [`Deref`].
#[derive(Clone, PartialEq, Eq)]
pub struct MonitorSpec(ThinArc<Header, u8>);

/// What lies before the bytes of name and settings, and before the identity, if the monitor is not known by its name.
#[derive(PartialEq, Eq)]
struct Header {
    class: Arc<Class>,
    name_bytes: u32,
    keyed: bool,
}

/// Bytes of an identity.
const KEY_BYTES: usize = 8;

/// What tells a monitor from the others of its tenant over reloads, made from the words that identify it.
#[must_use]
pub fn identity<'a>(words: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    for word in words {
        word.hash(&mut hasher);
    }
    hasher.finish()
}

/// What one job runs: a plugin with settings and a timeout.
#[derive(Clone, Copy, Debug)]
pub struct Assignment<'a> {
    /// Plugin and bounds.
    pub profile: &'a Arc<Profile>,
    /// A JSON object that satisfies the plugin's schema.
    pub settings: &'a str,
    /// Wall time of one job, from its start.
    pub timeout: Duration,
}

impl MonitorSpec {
    /// A monitor of that class. `settings`: its check's own, if they are not those of the class; a JSON object.
    /// `key`: what tells it from all others of its tenant over reloads, whatever it is called then; none: its name.
    #[must_use]
    pub fn new(class: Arc<Class>, key: Option<u64>, name: &str, settings: Option<&str>) -> Self {
        let bytes = key.map(u64::to_le_bytes);
        let text = Text {
            parts: [
                bytes.as_ref().map_or(&[], |bytes| bytes.as_slice()),
                name.as_bytes(),
                settings.unwrap_or_default().as_bytes(),
            ],
        };
        let header = Header {
            class,
            // Names are far shorter; a longer one would be shown cut.
            name_bytes: u32::try_from(name.len()).unwrap_or(u32::MAX),
            keyed: key.is_some(),
        };
        Self(ThinArc::from_header_and_iter(header, text))
    }

    /// A monitor of its own class that is looked at once and never scheduled: a check, and nobody to be told.
    #[must_use]
    pub fn alone(name: &str, profile: Arc<Profile>, settings: &str, timeout: Duration) -> Self {
        Self::alone_of(Arc::new(Tenant::unlimited()), name, profile, settings, timeout)
    }

    /// The same, of that tenant.
    #[must_use]
    pub fn alone_of(
        tenant: Arc<Tenant>,
        name: &str,
        profile: Arc<Profile>,
        settings: &str,
        timeout: Duration,
    ) -> Self {
        let class = Class {
            tenant,
            labels: Arc::new([]),
            policy: Policy {
                interval: Duration::from_secs(30),
                retry_interval: Duration::from_secs(10),
                failure_threshold: 1,
                success_threshold: 1,
                page_after: Duration::from_secs(300),
                repeat: None,
                fault_threshold: 1,
            },
            pulse: Some(Check {
                profile,
                timeout,
                settings: settings.into(),
            }),
            intervention: None,
            sinks: Arc::new([]),
            parents: Arc::new([]),
        };
        Self::new(Arc::new(class), None, name, None)
    }

    /// The monitor's name, unique within its tenant.
    #[must_use]
    pub fn name(&self) -> &str {
        let begin = self.name_begins();
        text(self.0.slice.get(begin..self.name_ends()))
    }

    fn name_begins(&self) -> usize {
        if self.0.header.header.keyed { KEY_BYTES } else { 0 }
    }

    fn name_ends(&self) -> usize {
        self.name_begins() + self.0.header.header.name_bytes as usize
    }

    /// What it has in common with others.
    #[must_use]
    pub fn class(&self) -> &Arc<Class> {
        &self.0.header.header.class
    }

    /// What tells it from all others of its tenant over reloads.
    #[must_use]
    pub fn identity(&self) -> u64 {
        match self.0.slice.first_chunk() {
            Some(key) if self.0.header.header.keyed => u64::from_le_bytes(*key),
            _ => identity([self.name()]),
        }
    }

    /// Whether it runs the same check in the same way.
    #[must_use]
    pub fn checks_the_same(&self, other: &Self) -> bool {
        self.pulse.as_ref().map(|check| (&check.profile, check.timeout))
            == other.pulse.as_ref().map(|check| (&check.profile, check.timeout))
            && self.assignment(Kind::Pulse, 0).map(|check| check.settings)
                == other.assignment(Kind::Pulse, 0).map(|check| check.settings)
    }

    /// Whether its checks ask the same of the same plugin, which may be another build of it now, with other bounds.
    #[must_use]
    pub fn asks_the_same(&self, other: &Self) -> bool {
        let asked = |spec: &Self| {
            let check = spec.pulse.as_ref()?;
            Some((Arc::clone(&check.profile.plugin), check.timeout))
        };
        asked(self) == asked(other)
            && self.assignment(Kind::Pulse, 0).map(|check| check.settings)
                == other.assignment(Kind::Pulse, 0).map(|check| check.settings)
    }

    /// Whether it says all the same; on whom it depends is another matter, because places in a list change.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let (one, two) = (self.class(), other.class());
        self.name() == other.name()
            && self.checks_the_same(other)
            && (Arc::ptr_eq(one, two)
                || one.tenant == two.tenant
                    && one.labels == two.labels
                    && one.policy == two.policy
                    && one.intervention == two.intervention
                    && one.sinks == two.sinks)
    }

    /// What a job of that kind runs; none if the monitor has no such lane.
    #[must_use]
    pub fn assignment(&self, kind: Kind, sink: u16) -> Option<Assignment<'_>> {
        match kind {
            Kind::Pulse => {
                let own = self.0.slice.get(self.name_ends()..);
                self.pulse.as_ref().map(|check| Assignment {
                    profile: &check.profile,
                    settings: match own {
                        Some(own) if !own.is_empty() => text(Some(own)),
                        _ => &check.settings,
                    },
                    timeout: check.timeout,
                })
            }
            Kind::Intervention => self.intervention.as_deref().map(|spec| spec.lane.assignment()),
            Kind::Code => self
                .sinks
                .get(usize::from(sink))
                .map(|sink| sink.lane.assignment()),
        }
    }
}

impl Lane {
    fn assignment(&self) -> Assignment<'_> {
        Assignment {
            profile: &self.profile,
            settings: &self.settings,
            timeout: self.timeout,
        }
    }
}

/// Both parts were texts before they lay in one slice.
fn text(part: Option<&[u8]>) -> &str {
    part.and_then(|bytes| std::str::from_utf8(bytes).ok())
        .unwrap_or_default()
}

impl Deref for MonitorSpec {
    type Target = Class;

    fn deref(&self) -> &Class {
        &self.0.header.header.class
    }
}

impl std::fmt::Debug for MonitorSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MonitorSpec")
            .field("name", &self.name())
            .field("class", self.class())
            .field(
                "check",
                &self.assignment(Kind::Pulse, 0).map(|check| check.settings),
            )
            .finish()
    }
}

/// The bytes of all parts, one after the other, without a buffer between.
struct Text<'a> {
    parts: [&'a [u8]; 3],
}

impl Iterator for Text<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let part = self.parts.iter_mut().find(|part| !part.is_empty())?;
        let (first, rest) = part.split_first()?;
        *part = rest;
        Some(*first)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let length = self.parts.iter().map(|part| part.len()).sum();
        (length, Some(length))
    }
}

impl ExactSizeIterator for Text<'_> {}

/// A monitor that a test is still working on.
#[cfg(test)]
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// Its name.
    pub name: String,
    /// Everything else.
    pub class: Class,
}

#[cfg(test)]
impl Draft {
    /// A check of the operator's with the plugin `http`, and nothing else.
    pub(crate) fn check(name: &str) -> Self {
        let profile = Profile {
            plugin: "http".into(),
            digest: "".into(),
            limits: Limits::default(),
            grants: Arc::default(),
            reuse: 0,
        };
        let alone = MonitorSpec::alone(name, Arc::new(profile), "{}", Duration::from_secs(5));
        Self {
            name: name.to_owned(),
            class: Class::clone(alone.class()),
        }
    }

    /// The monitor as it is now.
    pub(crate) fn ready(&self) -> MonitorSpec {
        MonitorSpec::new(Arc::new(self.class.clone()), None, &self.name, None)
    }
}

#[cfg(test)]
impl Deref for Draft {
    type Target = Class;

    fn deref(&self) -> &Class {
        &self.class
    }
}

#[cfg(test)]
impl std::ops::DerefMut for Draft {
    fn deref_mut(&mut self) -> &mut Class {
        &mut self.class
    }
}
