//! The `pulse-host` program.

fn main() -> std::process::ExitCode {
    pulse_host::cli::main()
}
