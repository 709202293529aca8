//! The project's own commands: `cargo xtask <command>`.
//!
//! Depends on nothing of the host's, so that the first command starts within seconds.

mod bench;
mod browser;
mod demo;
mod dist;
mod fuzz;
mod mutants;
mod plugins;
mod setup;
mod shell;
mod sim;
mod stopwatch;
mod templates;
mod test;
mod tidy;

use anyhow::Result;
use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask <command>

  demo             watch a service of the demo's own go down and be healed (Ctrl-C ends it)
  test             everything that CI checks
  setup            install what the build needs: the wasm target, rustfmt, clippy
  plugins [NAME…]  build the plugins, all of them or those in plugins/NAME, and the guests of the tests
  templates [LANG…] build, run and break the templates of plugin new in Rust and JavaScript, or in LANG;
                   --all: in all languages (as in CI); --table: measure them too
  tidy             check what no compiler checks: dependency direction, file sizes, docs against code
  sim              run the simulator: --seeds N, --first SEED, --hours H of each; --seed SEED lives one again
  fuzz [TARGET]    run the targets of fuzz/, or one: --runs N mutants of its seeds, --seed S for others
  mutants [NAME…]  check that the simulator finds each defect in tests/mutants, or those that begin with NAME
  browser          the dashboard in a browser, screenshots of each page; --million: with a million monitors
  bench NAME       run a benchmark of host/benches; --json FILE writes its figures
  dist             one archive to install from, in target/dist, unpacked and tried; --profile dev: of a
                   development build

Options of demo:
  --seconds N            end after N seconds
  --expect COLOR,…       fail unless the alerts began with these colors; ends as soon as they have
  --free-ports           use ports that are free in place of 8080 and 8081, and a copy of the configuration
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    match run(&command, &rest) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, args: &[String]) -> Result<ExitCode> {
    match command {
        "demo" => return demo::run(args),
        "test" => {
            shell::no_arguments("test", args)?;
            return test::run();
        }
        "setup" => {
            shell::no_arguments("setup", args)?;
            setup::run()?;
        }
        "plugins" => {
            setup::run()?;
            plugins::run(args)?;
        }
        "templates" => templates::run(args)?,
        "tidy" => {
            shell::no_arguments("tidy", args)?;
            tidy::run()?;
        }
        "bench" => bench::run(args)?,
        "dist" => dist::run(args)?,
        "browser" => browser::run(args)?,
        "sim" => sim::run(args)?,
        "fuzz" => fuzz::run(args)?,
        "mutants" => return mutants::run(args),
        "help" | "-h" | "--help" => print!("{HELP}"),
        "" => {
            eprint!("{HELP}");
            return Ok(ExitCode::from(2));
        }
        other => {
            eprintln!("xtask: there is no command `{other}`\n\n{HELP}");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}
