//! The `pulse-host` program.

fn main() -> std::process::ExitCode {
    eprintln!("pulse-host {}: nothing can be run yet", env!("CARGO_PKG_VERSION"));
    std::process::ExitCode::FAILURE
}
