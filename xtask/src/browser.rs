//! `cargo xtask browser`: the dashboard in a real browser, against hosts that run.
//!
//! It takes Debian's Chromium, and playwright-core from npm at the version of `tests/browser/package-lock.json`. In CI what
//! is missing is installed, and what can't be is a failure; elsewhere nobody's machine is changed: it says what is missing.

use crate::{demo, shell};
use anyhow::{Context as _, Result, bail};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Names of the browser, and where a person may say another one.
const BROWSERS: &[&str] = &["chromium", "chromium-browser", "google-chrome"];
const BROWSER: &str = "CHROMIUM";

/// Runs all checks, with `--million` those that take a million monitors.
pub fn run(args: &[String]) -> Result<()> {
    for arg in args {
        if arg != "--million" {
            bail!("`cargo xtask browser` takes `--million` and nothing else, and `{arg}` is one");
        }
    }
    match ready()? {
        Ok(tools) => show(&tools, args),
        Err(missing) => bail!("{missing}"),
    }
}

/// The same as a step of all tests: without the tools it is left out on a person's machine, and never in CI.
pub fn step() -> Result<String> {
    match ready()? {
        Ok(tools) => show(&tools, &[]).map(|()| String::new()),
        Err(missing) if is_ci() => bail!("CI leaves nothing out: {missing}"),
        Err(missing) => {
            eprintln!("SKIPPED: {missing}");
            Ok(format!("(SKIPPED: {missing})"))
        }
    }
}

struct Tools {
    browser: PathBuf,
    scripts: PathBuf,
}

fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// What it takes, or what of it is missing.
fn ready() -> Result<std::result::Result<Tools, String>> {
    let scripts = shell::root()?.join("tests/browser");
    if !shell::works(Command::new("node").arg("--version")) {
        return Ok(Err(
            "node is missing; Node.js 20 or later runs the browser's tests".to_owned(),
        ));
    }
    if browser().is_none() && is_ci() {
        install_browser()?;
    }
    let Some(browser) = browser() else {
        return Ok(Err(format!(
            "Chromium is missing: `apt-get install chromium`, or {BROWSER}=PATH"
        )));
    };
    if !is_installed(&scripts) && is_ci() {
        shell::run(
            Command::new("npm")
                .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
                .current_dir(&scripts),
        )?;
    }
    if !is_installed(&scripts) {
        return Ok(Err(
            "playwright-core is missing: `npm ci --ignore-scripts` in tests/browser".to_owned(),
        ));
    }
    Ok(Ok(Tools { browser, scripts }))
}

fn is_installed(scripts: &Path) -> bool {
    scripts
        .join("node_modules/playwright-core/package.json")
        .is_file()
}

fn browser() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(BROWSER) {
        return Some(path.into());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .flat_map(|folder| BROWSERS.iter().map(move |name| folder.join(name)))
        .find(|path| path.is_file())
}

fn install_browser() -> Result<()> {
    shell::run(Command::new("apt-get").args(["update", "--quiet"]))?;
    shell::run(
        Command::new("apt-get")
            .args(["install", "--quiet", "--yes", "--no-install-recommends"])
            .args(["chromium", "fonts-dejavu-core"])
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .context("Chromium could not be installed")
}

fn show(tools: &Tools, args: &[String]) -> Result<()> {
    let program = demo::build_host_among(&["--locked", "--workspace", "--bins", "--tests"])?;
    let root = shell::root()?;
    // Beside the program: compiled plugins and screenshots are nobody's source.
    let target = program
        .parent()
        .and_then(Path::parent)
        .context("the program lies in no target folder")?
        .to_owned();
    let mut command = Command::new("node");
    command
        .arg("run.mjs")
        .current_dir(&tools.scripts)
        .args(args)
        .arg("--host")
        .arg(&program)
        .arg("--plugins")
        .arg(root.join("plugins"))
        .arg("--browser")
        .arg(&tools.browser)
        .arg("--shots")
        .arg(target.join("screenshots"))
        .arg("--cache")
        .arg(target.join("browser-state"));
    shell::run(&mut command)
}
