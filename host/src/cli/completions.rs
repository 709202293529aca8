//! `completions`: for the shells that clap knows.

use anyhow::Result;
use clap::{Args, CommandFactory as _};
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  pulse-host completions bash > /etc/bash_completion.d/pulse-host")]
pub struct CompletionsArgs {
    /// For which shell
    shell: clap_complete::Shell,
}

pub fn completions(args: CompletionsArgs) -> Result<ExitCode> {
    let mut command = super::Cli::command();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "pulse-host", &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script)?;
    Ok(ExitCode::SUCCESS)
}
