//! Colors: on a terminal, unless `NO_COLOR` is set. That a pipe gets none is checked with every other command.

use super::command;
use std::{
    fs::File,
    io::Read,
    path::Path,
    process::{Command, Stdio},
};

/// Runs a command on a terminal of its own, and returns what is shown there.
fn on_a_terminal(mut command: Command) -> String {
    let terminal = nix::pty::openpty(None, None).unwrap();
    let slave = File::from(terminal.slave);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(slave.try_clone().unwrap())
        .stderr(slave)
        .spawn()
        .unwrap();
    // The command holds the terminal's other end too.
    drop(command);
    let mut shown = Vec::new();
    let mut master = File::from(terminal.master);
    let mut chunk = [0; 4096];
    // A terminal whose last user has gone ends in an error.
    while let Ok(length) = master.read(&mut chunk) {
        if length == 0 {
            break;
        }
        shown.extend_from_slice(&chunk[..length]);
    }
    child.wait().unwrap();
    String::from_utf8_lossy(&shown).into_owned()
}

#[test]
fn a_terminal_gets_colors_unless_they_are_not_wanted() {
    for args in [
        &["plugin", "inspect", "http"][..],
        &["probe", "--plugin", "tcp", "--set", "address=127.0.0.1:1"],
        &["check-config", "--config", "/nowhere.toml"],
    ] {
        let shown = on_a_terminal(command(Path::new("/"), args));
        assert!(shown.contains('\u{1b}'), "{args:?}: {shown}");
        let mut plain = command(Path::new("/"), args);
        plain.env("NO_COLOR", "1");
        let shown = on_a_terminal(plain);
        assert!(
            !shown.contains('\u{1b}') && !shown.is_empty(),
            "{args:?}: {shown}"
        );
    }
}
