//! `cargo xtask templates`: every template of `plugin new` is generated, built with its language's own tools, and held to
//! what its README promises, also in a host that runs; and so are the plugins of `examples/` in that language.
//!
//! Invariant: with `CI` set nothing is skipped.

mod broken;
mod examples;
mod helper;
mod receiver;
mod running;
mod table;
mod toolchains;
mod trial;

use crate::{demo, setup, shell, stopwatch::Stopwatch};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use toolchains::Toolchains;

/// A language of `plugin new`, by the name of its `--lang`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Rust,
    Javascript,
    Typescript,
    Python,
    C,
    Zig,
    Go,
}

impl Language {
    const ALL: [Self; 7] = [
        Self::Rust,
        Self::Javascript,
        Self::Typescript,
        Self::C,
        Self::Zig,
        Self::Go,
        Self::Python,
    ];
    /// What is quick to install and to build.
    const FEW: [Self; 2] = [Self::Rust, Self::Javascript];

    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Javascript => "javascript",
            Self::Typescript => "typescript",
            Self::Python => "python",
            Self::C => "c",
            Self::Zig => "zig",
            Self::Go => "go",
        }
    }
}

/// The kinds of job that a template can be for.
pub const KINDS: [&str; 3] = ["pulse", "intervention", "code"];

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    languages: Vec<Language>,
    /// Named, or all of them in CI: what can't be installed is an error then.
    strict: bool,
    table: bool,
}

impl Options {
    fn parse(args: &[String], ci: bool) -> Result<Self> {
        let mut named = Vec::new();
        let (mut all, mut table) = (ci, false);
        for arg in args {
            match arg.as_str() {
                "--all" => all = true,
                "--table" => table = true,
                name => match Language::ALL.into_iter().find(|language| language.name() == name) {
                    Some(language) => named.push(language),
                    None => {
                        let known = Language::ALL.map(Language::name).join(", ");
                        bail!("there are no templates in `{name}`; there are: {known}")
                    }
                },
            }
        }
        let strict = ci || !named.is_empty();
        let languages = match (named.is_empty(), all) {
            (false, _) => named,
            (true, true) => Language::ALL.to_vec(),
            (true, false) => Language::FEW.to_vec(),
        };
        Ok(Self {
            languages,
            strict,
            table,
        })
    }
}

/// `cargo xtask templates [--all] [--table] [LANG…]`.
pub fn run(args: &[String]) -> Result<()> {
    setup::run()?;
    let program = demo::build_host_among(&["--package", "pulse-host", "--bin", "pulse-host"])?;
    let remark = check(&program, args)?;
    eprintln!("templates: {remark}");
    Ok(())
}

/// The same with a program that is built already. Says in a few words what was done.
pub fn check(program: &Path, args: &[String]) -> Result<String> {
    let options = Options::parse(args, std::env::var_os("CI").is_some())?;
    let place = Place::make()?;
    let mut done = Vec::new();
    let mut left_out = Vec::new();
    let mut rows = Vec::new();
    for language in &options.languages {
        let toolchains = match place.toolchains.install(*language) {
            Ok(environment) => environment,
            Err(error) if !options.strict => {
                eprintln!("templates: {} is left out: {error:#}", language.name());
                left_out.push(language.name());
                continue;
            }
            Err(error) => return Err(error).with_context(|| format!("installing {}", language.name())),
        };
        let stopwatch = Stopwatch::start();
        for kind in KINDS {
            let what = format!("{} {kind}", language.name());
            let built = trial::Trial {
                program,
                language: *language,
                kind,
                folder: &place.work,
                environment: &toolchains,
            }
            .hold()
            .with_context(|| what)?;
            if options.table {
                rows.push(table::row(program, *language, kind, &built)?);
            }
        }
        running::hold(program, *language, &place.work)
            .with_context(|| format!("{} in a host that runs", language.name()))?;
        let trial = trial::Trial {
            program,
            language: *language,
            kind: "pulse",
            folder: &place.work,
            environment: &toolchains,
        };
        for name in examples::hold(&trial, &shell::root()?.join("examples"))? {
            eprintln!("templates: examples/{name} builds, and its cases hold");
        }
        eprintln!(
            "templates: {} took {:.1} s",
            language.name(),
            stopwatch.elapsed().as_secs_f64()
        );
        done.push(language.name());
    }
    if options.table {
        println!("{}", table::HEAD);
        for row in rows {
            println!("{row}");
        }
    }
    let mut remark = done.join(", ");
    if !left_out.is_empty() {
        remark += &format!("; left out: {}", left_out.join(", "));
    }
    Ok(remark)
}

/// Where it happens.
struct Place {
    /// Emptied at each start.
    work: PathBuf,
    toolchains: Toolchains,
}

impl Place {
    fn make() -> Result<Self> {
        let target = shell::root()?.join("target");
        let work = target.join("templates");
        if work.exists() {
            std::fs::remove_dir_all(&work)?;
        }
        std::fs::create_dir_all(&work)?;
        Ok(Self {
            work,
            toolchains: Toolchains::in_folder(target.join("toolchains"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str], ci: bool) -> Result<Options> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        Options::parse(&args, ci)
    }

    #[test]
    fn ci_takes_all_and_a_person_a_few() {
        assert_eq!(parse(&[], false).unwrap().languages, Language::FEW);
        assert_eq!(parse(&["--all"], false).unwrap().languages, Language::ALL);
        let ci = parse(&[], true).unwrap();
        assert_eq!((ci.languages, ci.strict), (Language::ALL.to_vec(), true));
        let named = parse(&["go"], false).unwrap();
        assert_eq!((named.languages, named.strict), (vec![Language::Go], true));
        let wrong = parse(&["cobol"], false).unwrap_err().to_string();
        assert!(wrong.contains("typescript"), "{wrong}");
    }
}
