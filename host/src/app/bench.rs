//! What one plugin costs: cold, warm, in a fresh instance and in one that is used again.

use super::{
    room,
    trial::{Ran, Trial},
};
use crate::{
    cases::{Case, Scene},
    clock::Clock,
    domain::{
        limits::Limits,
        outcome::{Answer, Outcome},
        spec::Kind,
        time::nanos,
    },
};
use anyhow::{Context as _, Result, anyhow};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How a figure is spread over all runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Least.
    pub min: u64,
    /// Half of all are not above it.
    pub median: u64,
    /// 99 of 100 are not above it.
    pub p99: u64,
    /// Greatest.
    pub max: u64,
}

impl Spread {
    fn of(mut figures: Vec<u64>) -> Self {
        figures.sort_unstable();
        // Nearest rank.
        let at = |percent: usize| {
            let rank = (figures.len() * percent).div_ceil(100).max(1);
            figures.get(rank - 1).copied().unwrap_or_default()
        };
        Self {
            min: at(0),
            median: at(50),
            p99: at(99),
            max: at(100),
        }
    }
}

/// Runs of one kind. Times in nanoseconds, memory in bytes.
#[derive(Clone, Debug)]
pub struct Runs {
    /// CPU time.
    pub cpu: Spread,
    /// Wall time.
    pub wall: Spread,
    /// Wall time in host calls.
    pub host: Spread,
    /// Fuel.
    pub fuel: Spread,
    /// Peak of all memories and tables.
    pub memory: Spread,
}

impl Runs {
    fn of(rans: &[Ran]) -> Self {
        let spread = |figure: &dyn Fn(&Ran) -> u64| Spread::of(rans.iter().map(figure).collect());
        Self {
            cpu: spread(&|ran| nanos(ran.usage.cpu)),
            wall: spread(&|ran| nanos(ran.usage.wall)),
            host: spread(&|ran| nanos(ran.usage.host)),
            fuel: spread(&|ran| ran.usage.fuel),
            memory: spread(&|ran| ran.usage.peak_memory_bytes),
        }
    }
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The plugin's name.
    pub name: Arc<str>,
    /// Its version.
    pub version: String,
    /// Which of its exports was called.
    pub kind: Kind,
    /// Bytes of the component.
    pub size_bytes: usize,
    /// Runs of each kind.
    pub count: u32,
    /// Runs of either kind that came to no good end, and why the first of them did not.
    pub bad: Option<(usize, String)>,
    /// What the given limits led to, where they are too small for it: all that is measured had room.
    pub short: Option<String>,
    /// Compiling it, in a process of its own, and loading what came of it.
    pub compile: Duration,
    /// Loading what was compiled before.
    pub load: Duration,
    /// The first run after that.
    pub first: Duration,
    /// Runs in a fresh instance each.
    pub fresh: Runs,
    /// Runs in one instance. It is made anew after each run that comes to no good end.
    pub reused: Runs,
}

impl Measured {
    /// Limits that leave room: twice the greatest fuel, four times the greatest CPU time, half as much memory again.
    #[must_use]
    pub fn suggested(&self) -> Limits {
        const MIB: u64 = 1 << 20;
        let fuel = round_up(self.fresh.fuel.max.saturating_mul(2).max(100_000));
        let cpu_ms = (self.fresh.cpu.max / 1_000_000).saturating_mul(4).max(50);
        let memory = self.fresh.memory.max.saturating_mul(3) / 2;
        Limits {
            fuel,
            cpu: Duration::from_millis(round_up(cpu_ms)),
            memory_bytes: memory.div_ceil(4 * MIB).max(1) * 4 * MIB,
        }
    }
}

/// To two digits.
fn round_up(figure: u64) -> u64 {
    let mut unit = 1_u64;
    while figure / unit >= 100 {
        unit = unit.saturating_mul(10);
    }
    figure.div_ceil(unit).saturating_mul(unit)
}

/// Measures a plugin with a scene, or with a case whose script answers its calls.
///
/// # Errors
/// It is not usable, the case is wrong, or what `scene` says.
pub fn bench(
    path: &Path,
    memory_bytes: u64,
    case: Option<&Path>,
    count: u32,
    scene: impl FnOnce(&Trial) -> Result<Scene>,
) -> Result<Measured> {
    let scratch = Scratch::new()?;
    let compiled = Trial::load_in(path, memory_bytes, Some(&scratch.0))?;
    let compile = compiled.loading;
    drop(compiled);
    let mut trial = Trial::load_in(path, memory_bytes, Some(&scratch.0))?;
    let case = case
        .map(|path| Case::read(path, &trial.plugin()?.facts).map_err(|error| anyhow!("{}", error.trim_end())))
        .transpose()?;
    let mut scene = match &case {
        Some(case) => case.scene.clone(),
        None => scene(&trial)?,
    };
    let run = |trial: &Trial, count: u32, scene: &Scene| -> Result<Vec<Ran>> {
        let courses: Vec<_> = (0..count)
            .map(|_| case.as_ref().map(|case| case.play().course))
            .collect();
        trial.run_often(courses.iter().map(|course| (scene, course.as_ref())))
    };
    let load = trial.loading;
    let mut first = run(&trial, 1, &scene)?;
    let cut = first.first().filter(|ran| room::is_short(&ran.outcome));
    let short = cut.map(|ran| format!("{}: {}", ran.outcome.class(), ran.outcome));
    if short.is_some() {
        scene.limits = room::roomy(scene.limits);
        trial = Trial::load_in(path, scene.limits.memory_bytes, Some(&scratch.0))?;
        first = run(&trial, 1, &scene)?;
    }
    let plugin = trial.plugin()?;
    let fresh = run(&trial, count, &scene)?;
    let kept = Scene {
        reuse: u32::MAX,
        ..scene.clone()
    };
    // The first of them makes the instance.
    let reused = match &case {
        Some(case) => {
            let courses = case.play_in_kept_instance(count.saturating_add(1));
            trial.run_often(courses.iter().map(|course| (&kept, Some(course))))?
        }
        None => run(&trial, count.saturating_add(1), &kept)?,
    };
    let reused = reused.get(1..).unwrap_or_default();
    let bad: Vec<&Ran> = fresh
        .iter()
        .chain(reused)
        .filter(|ran| {
            !matches!(
                ran.outcome,
                Outcome::Answer(Answer::Pulse(_) | Answer::Intervention(Ok(_)) | Answer::Code(Ok(_)))
            )
        })
        .collect();
    Ok(Measured {
        name: Arc::clone(&trial.name),
        version: plugin.facts.version.clone(),
        kind: scene.kind,
        size_bytes: plugin.size_bytes,
        count,
        bad: bad
            .first()
            .map(|ran| (bad.len(), format!("{}: {}", ran.outcome.class(), ran.outcome))),
        short,
        compile,
        load,
        first: first.first().map_or(Duration::ZERO, |ran| ran.usage.wall),
        fresh: Runs::of(&fresh),
        reused: Runs::of(reused),
    })
}

/// A data directory of its own, so that compiling is measured and nothing is left behind.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let name = format!(
            "pulse-host-bench-{}-{}",
            std::process::id(),
            Clock::system().wall().0
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't be removed from the temporary folder, the system removes.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks() {
        let spread = Spread::of((1..=200).rev().collect());
        assert_eq!(
            (spread.min, spread.median, spread.p99, spread.max),
            (1, 100, 198, 200)
        );
        assert_eq!(
            Spread::of(vec![7]),
            Spread {
                min: 7,
                median: 7,
                p99: 7,
                max: 7
            }
        );
    }

    #[test]
    fn figures_for_people_have_two_digits() {
        for (figure, round) in [(0, 0), (7, 7), (99, 99), (101, 110), (120_257, 130_000)] {
            assert_eq!(round_up(figure), round);
        }
    }
}
