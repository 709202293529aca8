//! Embeds what `plugin new` writes: the templates, and beside them the very WIT and SDK of this tree, so that they can't
//! drift apart.

use std::{
    env, fs,
    io::{Error, Result},
    path::{Path, PathBuf},
};

/// Where a file of the table comes from: its first part in the table, and the place from this package.
const SOURCES: &[(&str, &str)] = &[
    ("templates", "templates"),
    ("wit", "../wit"),
    ("sdk/Cargo.toml", "../plugin-sdk/Cargo.toml"),
    ("sdk/src", "../plugin-sdk/src"),
    ("sdk/wit", "../plugin-sdk/wit"),
];

fn main() -> Result<()> {
    let var = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .ok_or_else(|| Error::other(name))
    };
    let package = var("CARGO_MANIFEST_DIR")?;
    let mut files = Vec::new();
    for (key, place) in SOURCES {
        let path = package.join(place);
        println!("cargo::rerun-if-changed={}", path.display());
        collect(&path, key, &mut files)?;
    }
    files.sort();
    let mut table = String::from("&[\n");
    for (key, path) in files {
        table += &format!(
            "    ({key:?}, include_bytes!({:?}).as_slice()),\n",
            path.display().to_string()
        );
    }
    table += "]\n";
    fs::write(var("OUT_DIR")?.join("templates.rs"), table)
}

fn collect(path: &Path, key: &str, files: &mut Vec<(String, PathBuf)>) -> Result<()> {
    if !path.is_dir() {
        files.push((key.to_owned(), path.to_owned()));
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry
            .file_name()
            .into_string()
            .map_err(|_| Error::other("a name is not UTF-8"))?;
        collect(&entry.path(), &format!("{key}/{name}"), files)?;
    }
    Ok(())
}
