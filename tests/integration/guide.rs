//! The pages for authors of plugins: each block of them is run, or says why not.
//!
//! Blocks of Rust are doc tests of the SDK (`plugin-sdk/src/pages.rs`). Those of TOML go through the parsers that will
//! read them. Those of the shell run in a scratch folder that holds the files of the page, against the program; lines without `$` are what must be seen, and `# exits with N` says how a command ends.

mod page;

use crate::support::{host, root, sandbox::built};
use page::{Block, Kind};
use pulse_host::{domain::outcome, plugins};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    thread,
};
use tempfile::TempDir;

/// What stands in the pages for a service on this machine.
const SERVICE: &str = "127.0.0.1:8080";
/// The folder of the plugin of the guide, and its source.
const PLUGIN: &str = "fetch";

/// Each page by its path below `docs/`.
fn pages() -> Vec<(String, Vec<Block>)> {
    let docs = root().join("docs");
    let mut names = vec!["plugin-guide.md".to_owned()];
    for entry in fs::read_dir(docs.join("guide")).unwrap() {
        names.push(format!("guide/{}", entry.unwrap().file_name().to_string_lossy()));
    }
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let text = fs::read_to_string(docs.join(&name)).unwrap();
            let blocks = page::blocks(&text).unwrap_or_else(|wrong| panic!("docs/{name}: {wrong}"));
            (name, blocks)
        })
        .collect()
}

#[test]
fn pages_with_rust_are_doc_tests_of_the_sdk() {
    let listed = fs::read_to_string(root().join("plugin-sdk/src/pages.rs")).unwrap();
    for (name, blocks) in pages() {
        if blocks.iter().any(|block| block.kind == Kind::Rust) {
            let line = format!("#[doc = include_str!(\"../../docs/{name}\")]");
            assert!(listed.contains(&line), "plugin-sdk/src/pages.rs lacks {line}");
        }
    }
}

/// The plugin that the guide shows is built from the very text that it shows.
#[test]
fn the_plugin_of_the_guide_is_built_from_the_guide() {
    let mut compared = Vec::new();
    for block in pages().into_iter().flat_map(|(_, blocks)| blocks) {
        let Some(file) = block
            .file
            .filter(|file| file.starts_with("fetch/") && !file.ends_with("Cargo.toml"))
        else {
            continue;
        };
        let path = root().join("tests/guests").join(&file);
        let source = fs::read_to_string(&path).unwrap();
        assert!(
            source == block.text,
            "{} and the block {file} of the guide differ",
            path.display()
        );
        compared.push(file);
    }
    for file in ["fetch/plugin.toml", "fetch/src/lib.rs", "fetch/tests/busy.toml"] {
        assert!(compared.iter().any(|name| name == file), "the guide lacks {file}");
    }
}

#[test]
fn toml_is_what_its_readers_take() {
    let scratch = TempDir::new().unwrap();
    let mut read = 0;
    for (name, blocks) in pages() {
        for block in blocks.iter().filter(|block| block.kind == Kind::Toml) {
            let file = block.file.as_deref().unwrap();
            let path = scratch.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &block.text).unwrap();
            match path.file_name().and_then(|name| name.to_str()).unwrap() {
                "plugin.toml" => {
                    plugins::Manifest::parse(&block.text).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
                }
                "Cargo.toml" => {
                    fs::create_dir_all(path.with_file_name("src")).unwrap();
                    fs::write(path.with_file_name("src").join("lib.rs"), "").unwrap();
                    succeed(
                        Command::new(env!("CARGO"))
                            .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
                            .arg("--manifest-path")
                            .arg(&path),
                    );
                }
                "pulse-host.toml" => {
                    // The guide's own plugin, and those that come with the program.
                    let folder = scratch.path().join("plugins");
                    place_plugin(&folder.join(PLUGIN));
                    host::copy_all(&host::plugins().join("http"), &folder.join("http"));
                    succeed(
                        host::command()
                            .args(["check-config", "--plugins"])
                            .arg(&folder)
                            .arg("--config")
                            .arg(&path),
                    );
                }
                // Cases are played below, where their plugin is.
                _ => assert!(file.contains("/tests/"), "{name}: nobody reads {file}"),
            }
            read += 1;
        }
    }
    assert!(read >= 5, "{read}");
}

#[test]
fn commands_do_what_the_pages_say() {
    let service = Service::start();
    let mut run = 0;
    for (name, blocks) in pages() {
        let scratch = TempDir::new().unwrap();
        for block in &blocks {
            let Some(file) = &block.file else {
                continue;
            };
            let path = scratch.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &block.text).unwrap();
            if path.file_name().is_some_and(|name| name == "plugin.toml") {
                place_component(path.parent().unwrap());
            }
        }
        for block in blocks {
            if block.kind != Kind::Shell || block.skip.is_some() {
                continue;
            }
            for command in page::commands(&block.text).unwrap_or_else(|wrong| panic!("{name}: {wrong}")) {
                let line = command.line.replace(SERVICE, &service.address);
                let (code, seen) = shell(&line, scratch.path());
                assert_eq!(
                    code, command.code,
                    "docs/{name}, line {}: $ {line}\n{seen}",
                    block.line
                );
                let mut rest = seen.as_str();
                for wanted in &command.seen {
                    let at = rest.find(wanted.as_str()).unwrap_or_else(|| {
                        panic!("docs/{name}, line {}: no {wanted:?} in\n{seen}", block.line)
                    });
                    rest = &rest[at + wanted.len()..];
                }
                run += 1;
            }
        }
    }
    assert!(run >= 8, "{run} commands");
}

#[test]
fn the_reference_has_every_interface_and_function() {
    let reference = fs::read_to_string(root().join("docs/guide/interfaces.md")).unwrap();
    let mut wrong = Vec::new();
    for folder in ["wit/plugin", "wit/host"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            let mut section = "";
            for line in text.lines() {
                if let Some(name) = line
                    .strip_prefix("interface ")
                    .and_then(|rest| rest.strip_suffix(" {"))
                {
                    let heading = format!("### `{name}`\n");
                    section = reference
                        .split_once(&heading)
                        .map_or("", |(_, rest)| rest.split("\n#").next().unwrap_or(rest));
                    if section.is_empty() {
                        wrong.push(format!("there is no section {}", heading.trim()));
                    }
                } else if let Some((name, _)) = line.trim_start().split_once(": func(")
                    && !section.contains(&format!("`{name}`"))
                {
                    wrong.push(format!("its section does not say what `{name}` does"));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "docs/guide/interfaces.md:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_reference_has_every_class_of_outcome() {
    let reference = fs::read_to_string(root().join("docs/guide/interfaces.md")).unwrap();
    let (_, table) = reference.split_once("## How an execution can end").unwrap();
    let rows: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let classes: Vec<&str> = (0..outcome::CLASSES).map(outcome::class_name).collect();
    assert_eq!(rows, classes);
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn place_component(folder: &Path) {
    fs::copy(built(PLUGIN), folder.join("fetch.wasm")).unwrap();
}

fn place_plugin(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    fs::copy(
        root().join("tests/guests/fetch/plugin.toml"),
        folder.join("plugin.toml"),
    )
    .unwrap();
    place_component(folder);
}

/// A line for the shell, with the program where the shell finds it. Exit code, and all that is seen.
fn shell(line: &str, folder: &Path) -> (i32, String) {
    host::warm_up();
    // What the program of the other tests is given: where its data are.
    let program = host::command();
    let folder_of_program = Path::new(program.get_program()).parent().unwrap();
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(folder_of_program.to_owned()).chain(std::env::split_paths(&paths));
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .current_dir(folder)
        .stdin(Stdio::null());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("PATH", std::env::join_paths(paths).unwrap());
    let output = command.output().unwrap();
    let mut seen = String::from_utf8_lossy(&output.stdout).into_owned();
    seen.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), seen)
}

/// Answers every request with 200, for as long as the process lives.
struct Service {
    address: String,
}

impl Service {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                    head.extend(byte);
                }
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                // A client that went away is its own business.
                let _ = stream.write_all(answer);
            }
        });
        Self { address }
    }
}
