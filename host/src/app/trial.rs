//! One plugin by itself: loaded from where its author builds it, and executed as he says.

use super::load::compiler;
use crate::{
    capability::{course::Course, log::Line},
    cases::Scene,
    clock::Clock,
    config::Draft,
    domain::{
        job::Job,
        outcome::{Outcome, Usage},
    },
    plugins::{self, Manifest},
    sandbox::{self, Executor, Library, Plugin, Sandbox, SandboxSettings},
};
use anyhow::{Context as _, Result, anyhow};
use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Memory that an execution may be given here.
pub const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// A plugin that can be tried.
pub struct Trial {
    /// What it runs in.
    pub(super) sandbox: Arc<Sandbox>,
    library: Arc<Library>,
    /// Its name.
    pub name: Arc<str>,
    /// What stands in its manifest, where it has one.
    pub manifest: Option<Manifest>,
    /// How long it took to have it ready.
    pub loading: Duration,
}

/// A plugin, and the manifest that it was not held against.
pub type Bare = (Trial, Option<Manifest>);

/// How an execution went.
#[derive(Clone, Debug)]
pub struct Ran {
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// What the plugin logged.
    pub log: Vec<Line>,
}

impl Trial {
    /// Loads the component of that file, or of that folder with its manifest. A file that is the component of a
    /// manifest beside it is held against that.
    ///
    /// # Errors
    /// There is none, or it is not usable; says why.
    pub fn load(path: &Path, memory_bytes: u64) -> Result<Self> {
        Self::load_in(path, memory_bytes, None)
    }

    /// The same; what is compiled is looked for and kept in that data directory, and not in the host's.
    ///
    /// # Errors
    /// There is none, or it is not usable; says why.
    pub fn load_in(path: &Path, memory_bytes: u64, data_dir: Option<&Path>) -> Result<Self> {
        let clock = Clock::system();
        let found = plugins::read(&with_manifest(path)).map_err(|problem| anyhow!("{problem}"))?;
        let manifest = found.manifest.clone();
        let sandbox = sandbox_for(memory_bytes, data_dir)?;
        let begun = clock.mono();
        let plugin = sandbox::load(&sandbox, found)
            .map_err(|messages| anyhow!("{} is not usable: {}", path.display(), messages.join("; ")))?;
        let loading = clock.mono().since(begun);
        let name = Arc::clone(&plugin.facts.name);
        Ok(Self {
            sandbox,
            library: Arc::new(Library::of(plugin)),
            name,
            manifest,
            loading,
        })
    }

    /// Loads a component by itself, and hands its manifest out in place of holding it against that. The inner error
    /// is everything that is wrong with the component.
    ///
    /// # Errors
    /// There is none, or this machine can't run wasm.
    pub fn load_bare(path: &Path, memory_bytes: u64) -> Result<Result<Bare, Vec<String>>> {
        let mut found = plugins::read(&with_manifest(path)).map_err(|problem| anyhow!("{problem}"))?;
        let manifest = found.manifest.take();
        let sandbox = sandbox_for(memory_bytes, None)?;
        let clock = Clock::system();
        let begun = clock.mono();
        let plugin = match sandbox::load(&sandbox, found) {
            Ok(plugin) => plugin,
            Err(messages) => return Ok(Err(messages)),
        };
        let name = Arc::clone(&plugin.facts.name);
        let trial = Self {
            loading: clock.mono().since(begun),
            sandbox,
            library: Arc::new(Library::of(plugin)),
            name,
            manifest: None,
        };
        Ok(Ok((trial, manifest)))
    }

    /// The plugin.
    ///
    /// # Errors
    /// Never: it was loaded.
    pub fn plugin(&self) -> Result<&Plugin> {
        let plugin = self.library.named(&self.name).context("the plugin is gone")?;
        Ok(plugin)
    }

    /// Memory that an execution can be given.
    #[must_use]
    pub fn memory_bytes_max(&self) -> u64 {
        self.sandbox.memory_bytes_max()
    }

    /// Executes a scene in a fresh instance. Blocks.
    ///
    /// # Errors
    /// When the operating system gives no runtime.
    pub fn run(&self, scene: &Scene, course: Option<&Arc<Course>>) -> Result<Ran> {
        let mut rans = self.run_often(std::iter::once((scene, course)))?;
        rans.pop().context("nothing was run")
    }

    /// Executes one scene after the other in one runtime. Blocks.
    ///
    /// # Errors
    /// When the operating system gives no runtime.
    pub fn run_often<'a>(
        &self,
        scenes: impl Iterator<Item = (&'a Scene, Option<&'a Arc<Course>>)>,
    ) -> Result<Vec<Ran>> {
        let plugin = self.plugin()?;
        let clock = Clock::system();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut rans = Vec::new();
        runtime.block_on(async {
            let executor = Executor::new(Arc::clone(&self.sandbox), Arc::clone(&self.library));
            let mut last: Option<(&Scene, Job)> = None;
            for (scene, course) in scenes {
                let now = clock.mono();
                // An instance is used again only for the very profile that it was made for.
                let job = match &last {
                    Some((same, job)) if std::ptr::eq(*same, scene) => Job {
                        due: now,
                        sent: now,
                        ..job.clone()
                    },
                    _ => {
                        let job = scene.job(&plugin.facts, now);
                        last = Some((scene, job.clone()));
                        job
                    }
                };
                let (result, log) = match course {
                    Some(course) => executor.execute_along(job, Arc::clone(course)).await,
                    None => executor.execute_keeping_log(job).await,
                };
                rans.push(Ran {
                    outcome: result.outcome,
                    usage: result.usage,
                    log,
                });
            }
        });
        runtime.shutdown_background();
        Ok(rans)
    }
}

/// The folder in place of a component that its manifest names.
fn with_manifest(path: &Path) -> PathBuf {
    let folder = path.parent().map(|folder| {
        if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        }
    });
    let Some(folder) = folder.filter(|_| path.is_file()) else {
        return path.to_owned();
    };
    let text = std::fs::read_to_string(folder.join(plugins::MANIFEST)).unwrap_or_default();
    match Manifest::parse(&text) {
        Ok(manifest)
            if path
                .file_name()
                .is_some_and(|name| name == manifest.component.as_str()) =>
        {
            folder.to_owned()
        }
        _ => path.to_owned(),
    }
}

fn sandbox_for(memory_bytes: u64, data_dir: Option<&Path>) -> Result<Arc<Sandbox>> {
    let mut settings = Draft::from_text("", "", Path::new(".")).host();
    settings.maxima.memory_bytes = settings.maxima.memory_bytes.max(memory_bytes);
    if let Some(data_dir) = data_dir {
        data_dir.clone_into(&mut settings.data_dir);
    }
    let mut settings = SandboxSettings::new(&settings, compiler()?);
    settings.engines = NonZeroUsize::MIN;
    settings.slots = 16;
    Sandbox::new(settings, Clock::system())
}
