//! `token`: tokens for the API.

use super::{Output, put, put_json};
use crate::http::tokens;
use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token, and print it with the hash for the configuration; it is kept nowhere
    New(NewArgs),
}

#[derive(Debug, Args)]
pub struct NewArgs {
    /// How the token and its hash are printed
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Output,
}

pub fn token(command: TokenCommand) -> Result<ExitCode> {
    let TokenCommand::New(args) = command;
    let token = tokens::fresh().context("the operating system gave no random bytes")?;
    let hash = tokens::hash(&token);
    match args.output {
        Output::Json => put_json(&serde_json::json!({ "token": token, "hash": hash }))?,
        Output::Text => put(&format!(
            "{token}\n\nThis is shown once. Give it to whoever is to have it, and put this into the configuration:\n\n\
             [[host.http.tokens]]\nname = \"…\"\nrole = \"viewer\"  # or operator, admin\nhash = \"{hash}\"\n"
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}
