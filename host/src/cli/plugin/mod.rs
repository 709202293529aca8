//! `plugin`: what plugins there are, what each is, and which of them were accepted.

mod bench;
mod dev;
mod inspect;
mod list;
mod lock;
mod new;
mod run;
mod scene;
mod sources;
pub mod test;
mod verify;

use super::WRONG;
use crate::{
    app::Places,
    telemetry::{self, LogFormat},
};
use anyhow::Result;
use clap::{Args, Subcommand};
use std::{path::PathBuf, process::ExitCode};

#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Begin a plugin: a small project that builds, in one of seven languages
    #[command(after_help = new::EXAMPLES)]
    New(new::NewArgs),
    /// List the plugins that can be used, and say why others can't
    List(list::ListArgs),
    /// Show everything about one plugin: kinds, imports, what it asks for, the grants it needs, settings, size, digest
    #[command(after_help = inspect::EXAMPLES)]
    Inspect(inspect::InspectArgs),
    /// Execute a component once, with what the flags grant, and show what came of it and what it took
    #[command(after_help = run::EXAMPLES)]
    Run(run::RunArgs),
    /// Run a plugin's cases, which need no network; record one; replay one
    #[command(after_help = test::EXAMPLES)]
    Test(test::TestArgs),
    /// Measure what a plugin costs, and suggest limits
    #[command(after_help = bench::EXAMPLES)]
    Bench(bench::BenchArgs),
    /// Watch a plugin's folder: build, run and show what changed, whenever a source does
    #[command(after_help = dev::EXAMPLES)]
    Dev(dev::DevArgs),
    /// Pin the plugins as they are now, or show what differs from the lock and accept it
    #[command(after_help = lock::EXAMPLES)]
    Lock(lock::LockArgs),
    /// Check one plugin before anybody uses it, or all plugins against the lock
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::VerifyArgs),
}

/// Where plugins, configuration and lock are.
#[derive(Debug, Args)]
struct PluginSources {
    /// Folder with plugins, or a single plugin; may be given more than once
    #[arg(
        long,
        value_name = "PATH",
        env = "PULSE_HOST_PLUGINS",
        value_delimiter = ',',
        default_value = "./plugins"
    )]
    plugins: Vec<PathBuf>,
    /// Configuration file or folder, which says what is granted and how strict the lock is
    /// [default: ./pulse-host.toml, $XDG_CONFIG_HOME/pulse-host/, /etc/pulse-host/]
    #[arg(long, value_name = "PATH", env = "PULSE_HOST_CONFIG")]
    config: Option<PathBuf>,
    /// The lock of plugins [default: plugins.lock beside the configuration]
    #[arg(long, value_name = "FILE", env = "PULSE_HOST_LOCK")]
    lock: Option<PathBuf>,
}

impl PluginSources {
    fn places(&self) -> Places<'_> {
        Places {
            plugins: &self.plugins,
            config: self.config.as_deref(),
            lock: self.lock.as_deref(),
        }
    }
}

pub fn plugin(command: PluginCommand) -> Result<ExitCode> {
    // What a plugin logs is part of the result of those that run it.
    telemetry::start(LogFormat::Text, "warn,plugin=off");
    let done = match command {
        PluginCommand::New(args) => new::new(&args),
        PluginCommand::List(args) => list::list(&args),
        PluginCommand::Inspect(args) => inspect::inspect(&args),
        PluginCommand::Lock(args) => lock::lock(&args),
        PluginCommand::Verify(args) => verify::verify(&args),
        PluginCommand::Bench(args) => bench::run(&args),
        PluginCommand::Dev(args) => dev::dev(&args),
        PluginCommand::Run(args) => run::run(&args),
        PluginCommand::Test(args) => test::test(&args),
    };
    // What the command line says wrongly is told as it is, whole excerpts included.
    match done {
        Err(error) if error.is::<scene::Usage>() => {
            let text = error.to_string();
            eprintln!("pulse-host: {}", text.trim_end());
            Ok(ExitCode::from(WRONG))
        }
        done => done,
    }
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        "-".to_owned()
    } else {
        names.join(", ")
    }
}
