//! `init`: a commented configuration to start from.

use super::put;
use crate::config;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use std::{io::Write as _, path::PathBuf, process::ExitCode};

const DEFAULT_PATH: &str = "pulse-host.toml";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pulse-host init                 writes ./pulse-host.toml
  pulse-host init --path -        prints it")]
pub struct InitArgs {
    /// Where to write it; - for standard output
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    path: PathBuf,
    /// Write over an existing file
    #[arg(long)]
    force: bool,
}

pub fn init(args: &InitArgs) -> Result<ExitCode> {
    let text = config::starter();
    if args.path.as_os_str() == "-" {
        put(text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let path = args.path.display();
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    if args.force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let mut file = match options.open(&args.path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{path} exists already and was left as it is; --force writes over it")
        }
        Err(error) => return Err(error).with_context(|| format!("{path} can't be written")),
    };
    file.write_all(text.as_bytes())
        .with_context(|| format!("{path} can't be written"))?;
    // Where nothing else is said, this is the configuration that is found.
    let named = if args.path.as_os_str() == DEFAULT_PATH {
        String::new()
    } else {
        format!(" --config {path}")
    };
    put(&format!(
        "Wrote {path}. Put your own URL into it, then check it and run it:\n  \
         pulse-host check-config --plugins DIR{named}\n  \
         pulse-host --plugins DIR{named}\n\
         DIR is the folder with the plugins; without --plugins it is ./plugins.\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}
