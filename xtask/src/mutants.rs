//! `cargo xtask mutants`: does the simulator find what it is there to find?
//!
//! Each patch in `tests/mutants/` breaks one promise of the scheduler, the state machine or the outbox. It is
//! applied to a copy of what the simulator needs (no sandbox, so that a mutant is built within seconds), and the
//! simulator's bounded run must fail. One that passes, a mutant that survives, is a hole in the oracle.

use crate::{shell, stopwatch::Stopwatch};
use anyhow::{Context as _, Result, bail};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc,
    time::Duration,
};

const PATCHES: &str = "tests/mutants";
/// What is copied as it is, from the root.
const COPIED: &[&str] = &[
    "host/src/clock.rs",
    "host/src/queue.rs",
    "host/src/domain",
    "host/src/scheduler",
    "tests/simulation",
    "Cargo.lock",
    "clippy.toml",
    "rust-toolchain.toml",
];
const LIBRARY: &str = "pub mod clock;\npub mod domain;\npub mod queue;\npub mod scheduler;\n";
/// A mutant may make the scheduler run in circles.
const LONGEST: Duration = Duration::from_secs(600);

/// How a run of the simulator ended.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    /// By this rule, after so much work.
    Found(String),
    /// Something else failed: an assertion of the code itself, as a rule.
    Failed(String),
    Hung,
}

/// Applies every mutant, or those whose names begin so, and fails if one survives.
pub fn run(args: &[String]) -> Result<ExitCode> {
    let root = shell::root()?;
    let names = chosen(&root.join(PATCHES), args)?;
    let copy = Copy::new(&root)?;
    copy.sync()?;
    eprintln!("== the copy without any mutant");
    copy.build()?;
    match copy.simulate()? {
        Verdict::Passed => {}
        other => bail!("the simulator fails without any mutant: {other:?}"),
    }
    let mut rows = Vec::new();
    let mut survivors = Vec::new();
    for name in &names {
        eprintln!("== {name}");
        copy.sync()?;
        copy.apply(&root.join(PATCHES).join(format!("{name}.patch")))?;
        copy.build()
            .with_context(|| format!("{name} does not compile: that proves nothing"))?;
        let watch = Stopwatch::start();
        let verdict = copy.simulate()?;
        let took = watch.elapsed().as_secs_f64();
        let told = match &verdict {
            Verdict::Passed => {
                survivors.push(name.clone());
                "SURVIVED".to_owned()
            }
            Verdict::Found(rule) => rule.clone(),
            Verdict::Failed(line) => format!("failed: {line}"),
            Verdict::Hung => "hung".to_owned(),
        };
        eprintln!("   {told}");
        rows.push(format!("{name:<44} {took:>6.1} s  {told}"));
    }
    copy.sync()?;
    println!();
    for row in rows {
        println!("{row}");
    }
    if survivors.is_empty() {
        println!("all {} mutants were found", names.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!("survived: {}", survivors.join(", "));
    Ok(ExitCode::FAILURE)
}

/// The patches' names, all or those that begin with one of the arguments.
fn chosen(folder: &Path, args: &[String]) -> Result<Vec<String>> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("{} can't be read", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "patch")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            names.insert(name.to_owned());
        }
    }
    if let Some(unknown) = args
        .iter()
        .find(|arg| !names.iter().any(|name| name.starts_with(arg.as_str())))
    {
        bail!("no mutant's name begins with `{unknown}`");
    }
    names.retain(|name| args.is_empty() || args.iter().any(|arg| name.starts_with(arg.as_str())));
    if names.is_empty() {
        bail!("there are no mutants in {}", folder.display());
    }
    Ok(names.into_iter().collect())
}

/// The copy: a workspace of its own with what the simulator needs, and its own target directory, which the mutants
/// share.
struct Copy {
    root: PathBuf,
    tree: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn new(root: &Path) -> Result<Self> {
        let folder = root.join("target/mutants");
        let copy = Self {
            root: root.to_owned(),
            tree: folder.join("tree"),
            target: folder.join("target"),
        };
        std::fs::create_dir_all(&copy.tree)?;
        Ok(copy)
    }

    /// Makes the copy like the sources. Leaves alone what is so already, or cargo would compile it again.
    fn sync(&self) -> Result<()> {
        let mut sources = String::new();
        let mut kept = BTreeSet::new();
        for path in COPIED {
            let mut files = Vec::new();
            walk(&self.root.join(path), &mut files)?;
            for file in files {
                let inner = file.strip_prefix(&self.root)?;
                let bytes = std::fs::read(&file)?;
                if inner.starts_with("host") {
                    sources.push_str(&String::from_utf8_lossy(&bytes));
                }
                self.write(inner, &bytes)?;
                kept.insert(self.tree.join(inner));
            }
        }
        self.write(Path::new("host/src/lib.rs"), LIBRARY.as_bytes())?;
        kept.insert(self.tree.join("host/src/lib.rs"));
        let workspace: toml::Table = toml::from_str(&std::fs::read_to_string(self.root.join("Cargo.toml"))?)?;
        let host: toml::Table = toml::from_str(&std::fs::read_to_string(self.root.join("host/Cargo.toml"))?)?;
        for (path, manifest) in [
            ("Cargo.toml", workspace_manifest(workspace)?),
            ("host/Cargo.toml", host_manifest(host, &sources)?),
            ("tests/Cargo.toml", tests_manifest()?),
        ] {
            self.write(Path::new(path), toml::to_string(&manifest)?.as_bytes())?;
        }
        // What the sources no longer have must not be compiled here.
        let mut there = Vec::new();
        for folder in ["host/src", "tests/simulation"] {
            walk(&self.tree.join(folder), &mut there)?;
        }
        for file in there.iter().filter(|file| !kept.contains(*file)) {
            std::fs::remove_file(file)?;
        }
        Ok(())
    }

    fn write(&self, inner: &Path, bytes: &[u8]) -> Result<()> {
        let file = self.tree.join(inner);
        // Cargo leaves out of the copied lock file what the copy does not need.
        let lock = inner == Path::new("Cargo.lock");
        if std::fs::read(&file).is_ok_and(|there| lock || there == bytes) {
            return Ok(());
        }
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&file, bytes).with_context(|| format!("{} can't be written", file.display()))
    }

    fn apply(&self, patch: &Path) -> Result<()> {
        let mut command = Command::new("git");
        command
            .args(["apply", "--whitespace=nowarn"])
            .arg(patch)
            .current_dir(&self.tree)
            // The copy lies within a repository, whose paths are not meant.
            .env(
                "GIT_CEILING_DIRECTORIES",
                self.tree.parent().unwrap_or(&self.tree),
            );
        shell::run(&mut command).context("the mutant does not apply: the code has changed, and it must too")
    }

    fn cargo(&self, args: &[&str]) -> Result<Command> {
        let mut command = shell::cargo(args)?;
        command
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("RUST_BACKTRACE", "0");
        for variable in [
            "PULSE_SIM_SEED",
            "PULSE_SIM_SEEDS",
            "PULSE_SIM_FIRST",
            "PULSE_SIM_HOURS",
        ] {
            command.env_remove(variable);
        }
        Ok(command)
    }

    fn build(&self) -> Result<()> {
        shell::run(&mut self.cargo(&["test", "--quiet", "--test", "simulation", "--no-run"])?)
    }

    fn simulate(&self) -> Result<Verdict> {
        let mut command = self.cargo(&["test", "--quiet", "--test", "simulation"])?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cargo could not be started")?;
        let Some((passed, text)) = wait(child)? else {
            return Ok(Verdict::Hung);
        };
        Ok(if passed { Verdict::Passed } else { verdict(&text) })
    }
}

/// Whether it ended well, and what it wrote; none if it never ended.
fn wait(mut child: Child) -> Result<Option<(bool, String)>> {
    let (Some(mut stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
        bail!("a child without output");
    };
    let (sender, ended) = mpsc::channel();
    let errors = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut stderr, &mut bytes).map(|_| bytes)
    });
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = std::io::Read::read_to_end(&mut stdout, &mut bytes).map(|_| bytes);
        // Nobody listens any more: it took too long.
        let _ = sender.send(read);
    });
    match ended.recv_timeout(LONGEST) {
        Ok(read) => {
            let mut text = String::from_utf8_lossy(&read?).into_owned();
            if let Ok(errors) = errors.join() {
                text.push_str(&String::from_utf8_lossy(&errors?));
            }
            Ok(Some((child.wait()?.success(), text)))
        }
        Err(_) => {
            child.kill()?;
            child.wait()?;
            Ok(None)
        }
    }
}

/// What failed, from the simulator's words.
fn verdict(text: &str) -> Verdict {
    let rule = text.lines().find_map(|line| {
        line.strip_prefix("rule ")?
            .split_once(" is broken after ")
            .map(|(rule, rest)| (rule, rest.split_once(':').map_or(rest, |(runs, _)| runs)))
    });
    if let Some((rule, runs)) = rule {
        return Verdict::Found(format!("{rule}, after {runs}"));
    }
    let mut lines = text
        .lines()
        .skip_while(|line| !line.contains("panicked at "))
        .skip(1);
    Verdict::Failed(lines.next().unwrap_or("without a word").trim().to_owned())
}

fn walk(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).with_context(|| format!("{} can't be read", path.display()))? {
        walk(&entry?.path(), files)?;
    }
    files.sort();
    Ok(())
}

fn workspace_manifest(mut manifest: toml::Table) -> Result<toml::Table> {
    let workspace = manifest
        .get_mut("workspace")
        .and_then(toml::Value::as_table_mut)
        .context("Cargo.toml has no [workspace]")?;
    workspace.insert("members".to_owned(), vec!["host", "tests"].into());
    workspace.remove("exclude");
    Ok(manifest)
}

/// The host's manifest with those dependencies alone that the copied sources name.
fn host_manifest(host: toml::Table, sources: &str) -> Result<toml::Table> {
    let all = host
        .get("dependencies")
        .and_then(toml::Value::as_table)
        .context("host/Cargo.toml has no [dependencies]")?;
    let used: toml::Table = all
        .iter()
        .filter(|(name, _)| sources.contains(&format!("{}::", name.replace('-', "_"))))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut manifest = toml::Table::new();
    let package = host.get("package").context("host/Cargo.toml has no [package]")?;
    let library = host.get("lib").context("host/Cargo.toml has no [lib]")?;
    manifest.insert("package".to_owned(), package.clone());
    manifest.insert("lib".to_owned(), library.clone());
    manifest.insert("dependencies".to_owned(), used.into());
    Ok(manifest)
}

fn tests_manifest() -> Result<toml::Table> {
    Ok(toml::from_str(
        r#"
        [package]
        name = "pulse-host-tests"
        version.workspace = true
        edition.workspace = true
        [[test]]
        name = "simulation"
        path = "simulation/main.rs"
        [dev-dependencies]
        pulse-host.workspace = true
        async-channel.workspace = true
        "#,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_that_found_it_is_told() {
        let text = "  12.0 fact\n\nrule never-blindly is broken after 12 runs: m1: so\nreplay: cargo xtask sim --seed 3\n";
        assert_eq!(
            verdict(text),
            Verdict::Found("never-blindly, after 12 runs".to_owned())
        );
        let text = "thread 'x' panicked at host/src/a.rs:1:2:\nassertion failed: true\nnote: more";
        assert_eq!(
            verdict(text),
            Verdict::Failed("assertion failed: true".to_owned())
        );
    }

    #[test]
    fn only_what_the_sources_name_is_built() {
        let host = toml::from_str(
            "[package]\nname = 'x'\n[lib]\nname = 'y'\n[dependencies]\nasync-channel = '2'\nwasmtime = '48'\n",
        )
        .unwrap();
        let manifest = host_manifest(host, "use a;\nlet b = async_channel::bounded(1);").unwrap();
        let kept: Vec<&String> = manifest["dependencies"].as_table().unwrap().keys().collect();
        assert_eq!(kept, ["async-channel"]);
    }
}
