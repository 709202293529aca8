//! The command line: one file per subcommand.
//!
//! Exit codes: 0 all is well, 1 it failed, 2 the command line or the configuration is wrong.

mod check_config;
mod completions;
mod init;
mod monitors;
mod operate;
mod paint;
mod plugin;
mod probe;
mod progress;
mod replay;
mod run;
mod schema;
mod store;
mod table;
mod tenants;
mod token;
mod whose;

use crate::{app::Places, capability, plugins::lock::LockError, sandbox::compile, telemetry::LogFormat};
use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{io::Write as _, path::PathBuf, process::ExitCode};

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
  pulse-host check-config                           say what is wrong with the configuration
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
    /// Print the JSON Schema of the configuration, for editors
    Schema(schema::SchemaArgs),
    /// Check one monitor once, now, and print the report
    Probe(probe::ProbeArgs),
    /// Show the tenants: what they may use, and what they have used
    Tenants(tenants::TenantsArgs),
    /// Show how a running host is
    Status(operate::StatusArgs),
    /// Have a running host read configuration and plugins anew
    Reload(operate::ReloadArgs),
    /// Stop checking a monitor for a while
    Pause(operate::PauseArgs),
    /// Check a paused monitor again
    Resume(operate::OneArgs),
    /// Have a running host check a monitor now
    Check(operate::OneArgs),
    /// Acknowledge the open incident of a monitor
    Ack(operate::AckArgs),
    /// Keep the alerts of monitors back
    #[command(subcommand)]
    Silence(operate::OrderCommand),
    /// Show and change windows in which monitors are expected to fail
    #[command(subcommand)]
    Maintenance(operate::OrderCommand),
    /// Put monitors into a running host
    #[command(subcommand)]
    Monitors(monitors::MonitorsCommand),
    /// Show what went wrong and what was done about it, as far as it is on record
    Incidents(store::IncidentsArgs),
    /// Check the store of a data directory, or copy it
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Make tokens for the API
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Execute a recording once more, offline
    Replay(replay::ReplayArgs),
    /// Look at plugins, and make them
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Print shell completions
    Completions(completions::CompletionsArgs),
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
    /// The lock of plugins [default: plugins.lock beside the configuration]
    #[arg(long, value_name = "FILE", env = "PULSE_HOST_LOCK")]
    pub lock: Option<PathBuf>,
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

impl Sources {
    fn places(&self) -> Places<'_> {
        Places {
            plugins: &self.plugins,
            config: self.config.as_deref(),
            lock: self.lock.as_deref(),
        }
    }
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
    let mut words = std::env::args_os().skip(1);
    // What the host starts as a child, under limits. These are no subcommands like the others, so that neither help nor
    // completions offer them.
    match words.next() {
        Some(word) if word == compile::SUBCOMMAND => return compile::child_main(&words.collect::<Vec<_>>()),
        Some(word) if word == capability::LAUNCH => return capability::launch(&words.collect::<Vec<_>>()),
        _ => {}
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && std::env::args().any(|argument| argument == "--nagios") => {
            return probe::unknown("the command line is wrong", &error.to_string());
        }
        Err(error) => error.exit(),
    };
    let result = match cli.command {
        None => run::run(cli.run),
        Some(Command::Run(args)) => run::run(args),
        Some(Command::Init(args)) => init::init(&args),
        Some(Command::CheckConfig(args)) => check_config::check_config(args),
        Some(Command::Schema(args)) => schema::schema(&args),
        Some(Command::Probe(args)) => probe::probe(args),
        Some(Command::Tenants(args)) => tenants::tenants(args),
        Some(Command::Status(args)) => operate::status(args),
        Some(Command::Reload(args)) => operate::reload(args),
        Some(Command::Pause(args)) => operate::pause(args),
        Some(Command::Resume(args)) => operate::resume(args),
        Some(Command::Check(args)) => operate::check(args),
        Some(Command::Ack(args)) => operate::ack(args),
        Some(Command::Silence(command)) => operate::orders("silences", command),
        Some(Command::Maintenance(command)) => operate::orders("maintenance", command),
        Some(Command::Monitors(command)) => monitors::monitors(command),
        Some(Command::Incidents(args)) => store::incidents(args),
        Some(Command::Store(command)) => store::store(command),
        Some(Command::Token(command)) => token::token(command),
        Some(Command::Replay(args)) => replay::replay(&args),
        Some(Command::Plugin(command)) => plugin::plugin(command),
        Some(Command::Completions(args)) => completions::completions(args),
    };
    result.unwrap_or_else(|error| {
        // Whoever reads standard output may have seen enough, as `head` has.
        let pipe = error.downcast_ref::<std::io::Error>();
        if pipe.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        eprintln!("pulse-host: {error:#}");
        if error.is::<LockError>() {
            ExitCode::from(WRONG)
        } else {
            ExitCode::FAILURE
        }
    })
}

/// The command line or the configuration is wrong.
const WRONG: u8 = 2;

/// Writes to standard output. `println!` would panic where nobody reads it any more.
fn put(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Writes a value as JSON.
fn put_json(value: &impl serde::Serialize) -> Result<()> {
    put(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@+".contains(c);
    if !text.is_empty() && text.chars().all(plain) && !text.starts_with('-') {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_break_them() {
        for (text, word) in [
            ("a/b-1", "a/b-1"),
            ("it's here", r"'it'\''s here'"),
            ("~a", "'~a'"),
            ("-a", "'-a'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(text), word);
        }
    }
}
