//! The command line: one file per subcommand.
//!
//! Exit codes: 0 all is well, 1 it failed, 2 the command line or the configuration is wrong.

mod check_config;
mod completions;
mod init;
mod paint;
mod plugin;
mod probe;
mod run;

use crate::{sandbox::compile, telemetry::LogFormat};
use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{path::PathBuf, process::ExitCode};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "pulse-host",
    version,
    about = "Watches services and heals them. Checks, repairs and alerts run as sandboxed WebAssembly components.",
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    propagate_version = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::RunArgs,
}

const EXAMPLES: &str = "\
Examples:
  pulse-host init                                   write a commented pulse-host.toml to start from
  pulse-host --plugins ./plugins                    watch what ./pulse-host.toml says, until Ctrl-C
  pulse-host check-config                           say everything that is wrong with the configuration
  pulse-host probe shop                             check one configured monitor now
  pulse-host probe --plugin http --set url=https://example.com/
                                                    check a URL without any configuration
  pulse-host plugin list                            show the plugins and what they need";

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch and heal until Ctrl-C or SIGTERM (what happens without a subcommand)
    Run(run::RunArgs),
    /// Write a commented configuration to start from
    Init(init::InitArgs),
    /// Say everything that is wrong with the configuration, and start nothing
    CheckConfig(check_config::CheckConfigArgs),
    /// Check one monitor once, now, and print the report
    Probe(probe::ProbeArgs),
    /// Look at plugins
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Print shell completions
    Completions(completions::CompletionsArgs),
    /// Compile a component in this process: what `run` starts as a child, under limits
    #[command(name = compile::SUBCOMMAND, hide = true)]
    CompileComponent { from: PathBuf, to: PathBuf },
}

/// Where plugins and configuration are.
#[derive(Clone, Debug, Args)]
pub struct Sources {
    /// Folder with plugins, or a single plugin; may be given more than once
    #[arg(
        long,
        value_name = "PATH",
        env = "PULSE_HOST_PLUGINS",
        value_delimiter = ',',
        default_value = "./plugins"
    )]
    pub plugins: Vec<PathBuf>,
    /// Configuration file, folder of *.toml files, or - for standard input
    /// [default: ./pulse-host.toml, $XDG_CONFIG_HOME/pulse-host/, /etc/pulse-host/]
    #[arg(long, value_name = "PATH", env = "PULSE_HOST_CONFIG")]
    pub config: Option<PathBuf>,
    /// How log lines on standard error look
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        env = "PULSE_HOST_LOG_FORMAT",
        default_value_t
    )]
    pub log_format: LogFormat,
}

/// How results on standard output look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// Parses the arguments and does what they say.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => run::run(cli.run),
        Some(Command::Run(args)) => run::run(args),
        Some(Command::Init(args)) => init::init(&args),
        Some(Command::CheckConfig(args)) => check_config::check_config(args),
        Some(Command::Probe(args)) => probe::probe(args),
        Some(Command::Plugin(command)) => plugin::plugin(command),
        Some(Command::Completions(args)) => completions::completions(args),
        Some(Command::CompileComponent { from, to }) => compile::child(&from, &to)
            .map(|()| ExitCode::SUCCESS)
            .map_err(anyhow::Error::msg),
    };
    result.unwrap_or_else(|error| {
        eprintln!("pulse-host: {error:#}");
        ExitCode::FAILURE
    })
}

/// The command line or the configuration is wrong.
const WRONG: u8 = 2;

/// Prints a line of JSON.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
