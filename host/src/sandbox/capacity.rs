//! How many jobs this machine can have under way, from what the machine has.
//!
//! A job that waits for its target costs no CPU time, but a slot: memory, memory mappings, address space, and as a rule
//! a socket. Whatever of these is scarcest is the ceiling. [`ceilings`] is pure; only [`Facts::read`] looks.

use crate::{
    capability,
    domain::{
        host::{HostSettings, PerKind},
        spec::Kind,
    },
};
use std::{fs, num::NonZeroUsize, path::Path};

/// Memory of one job under way: with the `http` plugin against slow targets (`bench headline`) each held about 200 KiB
/// of its own resident; sockets, tasks and guests that need more are allowed for.
const BYTES_PER_JOB: u64 = 512 << 10;
/// Of the memory that is available, jobs may take that share; the rest is for monitors, for guests that need more, and
/// for the system's own caches.
const MEMORY_SHARE: u64 = 2;
/// Memory mappings that one slot may need: memory with its image and guards, stack with its guard, tables.
pub(super) const MAPPINGS_PER_SLOT: u64 = 8;
/// Mappings that are left to the rest of the process.
pub(super) const MAPPINGS_RESERVED: u64 = 8_192;
/// A slot reserves 4 GiB of address space for its memory and guards, and a process has 128 TiB of it.
const ADDRESS_SPACE_SLOTS: u64 = 24_576;
/// Jobs under way for each core. Beyond that a core is not able to begin and end as many as wait, unless each waits for
/// more than half a minute.
const JOBS_PER_CORE: u64 = 16_384;
/// However small the machine is.
const TOTAL_MIN: u64 = 64;
/// Of the whole, a sixteenth each is for repairs and alerts, within these bounds; checks have the rest.
const RESERVED_SHARE: usize = 16;
const RESERVED_MIN: usize = 8;
const RESERVED_MAX: usize = 512;

/// What the machine has for this process. None: there is no limit, or nobody knows of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Cores that the process may use.
    pub cores: NonZeroUsize,
    /// What the system could give, and the limits of the control groups allow.
    pub memory_bytes: Option<u64>,
    /// Sockets that lent calls may hold, from the limit of open descriptors.
    pub sockets: usize,
    /// `vm.max_map_count`.
    pub mappings: Option<u64>,
}

/// What bounds the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Memory that is available, in bytes.
    Memory(u64),
    /// Sockets.
    Descriptors(usize),
    /// The kernel's limit on memory mappings.
    Mappings(u64),
    /// What one process can address.
    AddressSpace,
    /// Cores.
    Cores(usize),
    /// What the configuration says.
    Configured,
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory(bytes) => write!(f, "{} MiB of memory are available", bytes >> 20),
            Self::Descriptors(sockets) => write!(
                f,
                "{sockets} sockets may be open (ulimit -n); LimitNOFILE= of the service raises it"
            ),
            Self::Mappings(count) => {
                write!(
                    f,
                    "vm.max_map_count is {count}; sysctl -w vm.max_map_count=N raises it"
                )
            }
            Self::AddressSpace => f.write_str("a process can address no more"),
            Self::Cores(1) => f.write_str("there is one core"),
            Self::Cores(cores) => write!(f, "there are {cores} cores"),
            Self::Configured => f.write_str("[host] queues.*.in-flight says so"),
        }
    }
}

/// How many jobs may be under way at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceilings {
    /// Of all kinds together.
    pub total: usize,
    /// Of each kind; they add up to the total.
    pub per_kind: PerKind<usize>,
    /// What bounds the total.
    pub why: Bound,
}

impl std::fmt::Display for Ceilings {
    /// One line for the log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let PerKind {
            pulse,
            intervention,
            code,
        } = self.per_kind;
        write!(
            f,
            "at most {} jobs at the same time ({pulse} checks, {intervention} interventions, {code} codes), because {}",
            self.total, self.why
        )
    }
}

/// The ceilings on such a machine. `wished`, where it says something, stands in place of what would be a kind's share,
/// but beyond what there are slots for it is cut, checks first.
#[must_use]
pub fn ceilings(facts: &Facts, wished: &PerKind<Option<usize>>) -> Ceilings {
    let (slots, scarce) = slots(facts);
    let (machine, why) = machine(facts, slots, scarce);
    let reserved = (machine / RESERVED_SHARE).clamp(RESERVED_MIN, RESERVED_MAX);
    let own = |kind| match kind {
        Kind::Pulse => machine.saturating_sub(2 * reserved),
        Kind::Intervention | Kind::Code => reserved,
    };
    let mut per_kind = PerKind::from_fn(|kind| wished.get(kind).unwrap_or(own(kind)).max(1));
    let sum = |per_kind: &PerKind<usize>| Kind::ALL.iter().map(|kind| *per_kind.get(*kind)).sum::<usize>();
    let mut cut = false;
    for kind in [Kind::Pulse, Kind::Code, Kind::Intervention] {
        let over = sum(&per_kind).saturating_sub(slots);
        let ceiling = per_kind.get_mut(kind);
        let left = ceiling.saturating_sub(over).max(1);
        cut |= left < *ceiling;
        *ceiling = left;
    }
    let configured = Kind::ALL.iter().any(|kind| wished.get(*kind).is_some());
    Ceilings {
        total: sum(&per_kind),
        per_kind,
        why: match (cut, configured) {
            (true, _) => scarce,
            (false, true) => Bound::Configured,
            (false, false) => why,
        },
    }
}

/// Bounds what may run at the same time by what this machine can do.
pub fn fit(settings: &mut HostSettings) -> Ceilings {
    let ceilings = ceilings(&Facts::read(), &settings.wished);
    for kind in Kind::ALL {
        settings.queues.get_mut(kind).in_flight = *ceilings.per_kind.get(kind);
    }
    ceilings
}

/// Slots that can exist at all, whatever the configuration says, and why no more.
fn slots(facts: &Facts) -> (usize, Bound) {
    let mapped = facts.mappings.map(|count| {
        let slots = count.saturating_sub(MAPPINGS_RESERVED) / MAPPINGS_PER_SLOT;
        (slots, Bound::Mappings(count))
    });
    scarcest([Some((ADDRESS_SPACE_SLOTS, Bound::AddressSpace)), mapped, None])
}

/// Jobs that the machine can have under way without being asked for more.
fn machine(facts: &Facts, slots: usize, scarce: Bound) -> (usize, Bound) {
    let memory = facts
        .memory_bytes
        .map(|bytes| (bytes / MEMORY_SHARE / BYTES_PER_JOB, Bound::Memory(bytes)));
    let cores = facts.cores.get();
    let (total, why) = scarcest([
        memory,
        Some((facts.sockets as u64, Bound::Descriptors(facts.sockets))),
        Some(((cores as u64).saturating_mul(JOBS_PER_CORE), Bound::Cores(cores))),
    ]);
    if slots < total {
        (slots, scarce)
    } else {
        (total, why)
    }
}

fn scarcest(bounds: [Option<(u64, Bound)>; 3]) -> (usize, Bound) {
    let (count, why) = bounds
        .into_iter()
        .flatten()
        .min_by_key(|(count, _)| *count)
        .unwrap_or((ADDRESS_SPACE_SLOTS, Bound::AddressSpace));
    (usize::try_from(count.max(TOTAL_MIN)).unwrap_or(usize::MAX), why)
}

impl Facts {
    /// Looks at this machine. What can't be read is no limit.
    #[must_use]
    pub fn read() -> Self {
        Self {
            cores: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            memory_bytes: memory_bytes(Path::new("/")),
            sockets: capability::sockets_max(),
            mappings: mappings_max(),
        }
    }
}

/// The kernel's limit on the memory mappings of a process.
pub(super) fn mappings_max() -> Option<u64> {
    let text = fs::read_to_string("/proc/sys/vm/max_map_count").ok()?;
    text.trim().parse().ok()
}

/// The memory that the system could still give, and that every control group which holds this process allows.
fn memory_bytes(root: &Path) -> Option<u64> {
    let system = fs::read_to_string(root.join("proc/meminfo"))
        .ok()
        .and_then(|text| available_bytes(&text));
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    system.into_iter().chain(group_bytes(root, &groups)).min()
}

fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}

/// What each control group of memory leaves, from the process's own up to the root: version 2, or version 1 where that
/// has the memory controller. In a container the own group may not be visible under its name, but the root is.
fn group_bytes(root: &Path, groups: &str) -> Vec<u64> {
    let mut left = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (mount, limit, usage) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max", "memory.current"),
            one if one.split(',').any(|controller| controller == "memory") => (
                "sys/fs/cgroup/memory",
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
            ),
            _ => continue,
        };
        let mount = root.join(mount);
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            let folder = mount.join(group);
            let read = |name: &str| -> Option<u64> {
                // "max" is no number and no limit.
                fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok()
            };
            if let Some(limit) = read(limit) {
                left.push(limit.saturating_sub(read(usage).unwrap_or(0)));
            }
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn large() -> Facts {
        Facts {
            cores: NonZeroUsize::new(64).unwrap(),
            memory_bytes: Some(1 << 40),
            sockets: 65_536,
            mappings: Some(1 << 30),
        }
    }

    fn of(facts: &Facts) -> (usize, Bound) {
        let ceilings = ceilings(facts, &PerKind::default());
        (ceilings.total, ceilings.why)
    }

    #[test]
    fn the_scarcest_thing_is_the_ceiling_and_is_named() {
        assert_eq!(of(&large()), (24_576, Bound::AddressSpace));
        let memory_bytes = Some(4 << 30);
        assert_eq!(
            of(&Facts {
                memory_bytes,
                ..large()
            }),
            (4_096, Bound::Memory(4 << 30))
        );
        let sockets = 576;
        assert_eq!(of(&Facts { sockets, ..large() }), (576, Bound::Descriptors(576)));
        let mappings = Some(65_530);
        assert_eq!(
            of(&Facts { mappings, ..large() }),
            (7_167, Bound::Mappings(65_530))
        );
        let cores = NonZeroUsize::MIN;
        assert_eq!(of(&Facts { cores, ..large() }), (16_384, Bound::Cores(1)));
        let memory_bytes = Some(0);
        assert_eq!(
            of(&Facts {
                memory_bytes,
                ..large()
            }),
            (64, Bound::Memory(0))
        );
        let unknown = Facts {
            memory_bytes: None,
            mappings: None,
            ..large()
        };
        assert_eq!(of(&unknown), (24_576, Bound::AddressSpace));
    }

    #[test]
    fn what_is_written_stands_within_the_slots() {
        let mappings = Some(65_530);
        let facts = Facts {
            memory_bytes: Some(1 << 30),
            mappings,
            ..large()
        };
        let wished = |pulse, code| PerKind {
            pulse,
            intervention: None,
            code,
        };
        // More than memory would suggest, as far as there are slots.
        let more = ceilings(&facts, &wished(Some(5_000), None));
        assert_eq!((more.per_kind.pulse, more.why), (5_000, Bound::Configured));
        let less = ceilings(&facts, &wished(Some(2), Some(3)));
        assert_eq!((less.per_kind.pulse, less.per_kind.code), (2, 3));
        let all = ceilings(&facts, &wished(Some(100_000), Some(1_000)));
        assert_eq!((all.total, all.why), (7_167, Bound::Mappings(65_530)));
        assert_eq!(all.per_kind.code, 1_000, "checks are cut first");
        assert!(all.to_string().contains("vm.max_map_count is 65530"), "{all}");
    }

    proptest! {
        #[test]
        fn every_kind_has_room_and_all_have_slots(
            cores in 1usize..256,
            memory in proptest::option::of(any::<u64>()),
            sockets in 0usize..70_000,
            mappings in proptest::option::of(any::<u64>()),
            wished in proptest::array::uniform3(proptest::option::of(1usize..200_000)),
        ) {
            let facts = Facts {
                cores: NonZeroUsize::new(cores).unwrap(),
                memory_bytes: memory,
                sockets,
                mappings,
            };
            let [pulse, intervention, code] = wished;
            let ceilings = ceilings(&facts, &PerKind { pulse, intervention, code });
            let sum: usize = Kind::ALL.iter().map(|kind| *ceilings.per_kind.get(*kind)).sum();
            prop_assert_eq!(sum, ceilings.total);
            prop_assert!(Kind::ALL.iter().all(|kind| *ceilings.per_kind.get(*kind) >= 1));
            prop_assert!(ceilings.total <= slots(&facts).0);
        }
    }

    #[test]
    fn memory_is_what_the_narrowest_group_leaves() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(memory_bytes(root.path()), None);
        write("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:    8192 kB\n");
        write("proc/self/cgroup", "0::/host.slice/pulse.service\n");
        assert_eq!(memory_bytes(root.path()), Some(8 << 20));
        write("sys/fs/cgroup/host.slice/pulse.service/memory.max", "max\n");
        write("sys/fs/cgroup/host.slice/memory.max", "4194304\n");
        write("sys/fs/cgroup/host.slice/memory.current", "1048576\n");
        assert_eq!(memory_bytes(root.path()), Some(3 << 20));
        // Version 1, as in a container that sees its own group as the root.
        write("proc/self/cgroup", "5:cpu:/x\n4:memory:/docker/1\n");
        write("sys/fs/cgroup/memory/memory.limit_in_bytes", "2097152\n");
        write("sys/fs/cgroup/memory/memory.usage_in_bytes", "4194304\n");
        assert_eq!(memory_bytes(root.path()), Some(0));
    }

    #[test]
    fn this_machine_has_room_for_something() {
        let ceilings = ceilings(&Facts::read(), &PerKind::default());
        assert!(ceilings.total >= 64, "{ceilings}");
    }
}
