//! `cargo xtask plugins`: builds the components and puts each beside its `plugin.toml`; and the guests that the
//! tests run.

use crate::{setup::WASM_TARGET, shell};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Whether `Cargo.lock` may be brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// For people who just added a dependency.
    MayChange,
    /// For CI.
    Fixed,
}

/// `cargo xtask plugins [NAME…]`.
pub fn run(names: &[String]) -> Result<()> {
    build(names, Lock::MayChange)?;
    if names.is_empty() {
        build_guests(Lock::MayChange)?;
    }
    Ok(())
}

/// Builds the guests of the tests. They stay where cargo puts them: only tests load them.
pub fn build_guests(lock: Lock) -> Result<()> {
    compile(&shell::root()?.join("tests/guests"), &[], lock)
}

/// Builds the plugins in the folders of these names, or all of them.
pub fn build(names: &[String], lock: Lock) -> Result<()> {
    let root = shell::root()?;
    let folders = chosen(&plugin_folders(&root.join("plugins"))?, names)?;
    let workspace = root.join("plugins");
    let crates = crates(&workspace)?;
    let mut wanted = Vec::new();
    for folder in &folders {
        match crates.get(&folder.join("Cargo.toml")) {
            Some(built) => wanted.push((folder, built)),
            None => eprintln!(
                "{} is no Rust plugin: its component is left as it is",
                folder.display()
            ),
        }
    }
    let packages: Vec<&str> = if names.is_empty() {
        Vec::new()
    } else {
        wanted.iter().map(|(_, built)| built.package.as_str()).collect()
    };
    if names.is_empty() || !packages.is_empty() {
        compile(&workspace, &packages, lock)?;
    }
    for (folder, built) in wanted {
        place(
            &workspace.join(artefact(&built.file)),
            &folder.join(component(folder)?),
        )?;
    }
    Ok(())
}

/// A crate that becomes a component.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Built {
    package: String,
    /// File name of the component below the target directory's profile.
    file: String,
}

fn artefact(file: &str) -> PathBuf {
    Path::new("target").join(WASM_TARGET).join("release").join(file)
}

/// Builds a workspace into its own target directory, wherever the environment wants others to go: what reads
/// the components must know where they are.
fn compile(workspace: &Path, packages: &[&str], lock: Lock) -> Result<()> {
    let mut command = shell::cargo(&["build", "--release", "--target", WASM_TARGET])?;
    command
        .arg("--manifest-path")
        .arg(workspace.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(workspace.join("target"));
    for package in packages {
        command.args(["--package", package]);
    }
    if lock == Lock::Fixed {
        command.arg("--locked");
    }
    shell::run(&mut command)
}

/// Folders that hold a plugin, sorted.
pub fn plugin_folders(plugins: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(plugins).with_context(|| format!("reading {}", plugins.display()))? {
        let path = entry?.path();
        if path.join("plugin.toml").is_file() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

fn chosen(folders: &[PathBuf], names: &[String]) -> Result<Vec<PathBuf>> {
    if names.is_empty() {
        return Ok(folders.to_vec());
    }
    let by_name: BTreeMap<_, _> = folders
        .iter()
        .filter_map(|folder| Some((folder.file_name()?.to_str()?, folder)))
        .collect();
    names
        .iter()
        .map(|name| match by_name.get(name.as_str()) {
            Some(folder) => Ok((*folder).clone()),
            None => {
                let known: Vec<&str> = by_name.keys().copied().collect();
                bail!("there is no plugin `{name}`; there are: {}", known.join(", "))
            }
        })
        .collect()
}

/// The workspace's crates by the path of their manifest.
fn crates(workspace: &Path) -> Result<BTreeMap<PathBuf, Built>> {
    let mut command = shell::cargo(&["metadata", "--no-deps", "--format-version", "1"])?;
    command.arg("--manifest-path").arg(workspace.join("Cargo.toml"));
    let metadata = shell::output(&mut command)?;
    parse_crates(&serde_json::from_str(&metadata).context("cargo metadata")?)
}

fn parse_crates(metadata: &Value) -> Result<BTreeMap<PathBuf, Built>> {
    let packages = metadata
        .get("packages")
        .and_then(Value::as_array)
        .context("cargo metadata lists no packages")?;
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    Ok(packages
        .iter()
        .filter_map(|package| {
            let library = package.get("targets")?.as_array()?.iter().find(|target| {
                target
                    .get("crate_types")
                    .and_then(Value::as_array)
                    .is_some_and(|types| types.iter().any(|kind| kind == "cdylib"))
            })?;
            let built = Built {
                package: text(package, "name")?,
                file: format!("{}.wasm", text(library, "name")?.replace('-', "_")),
            };
            Some((PathBuf::from(text(package, "manifest_path")?), built))
        })
        .collect())
}

/// The name under which the host expects the component: the manifest's `component`.
pub fn component(folder: &Path) -> Result<String> {
    let path = folder.join("plugin.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    parse_component(&text).with_context(|| path.display().to_string())
}

fn parse_component(manifest: &str) -> Result<String> {
    let table: toml::Table = manifest.parse()?;
    let name = table
        .get("component")
        .and_then(toml::Value::as_str)
        .context("there is no `component = \"NAME.wasm\"`")?;
    if Path::new(name).components().count() != 1 || Path::new(name).file_name().is_none() {
        bail!("`component` is \"{name}\"; it must be a file name, beside the manifest");
    }
    Ok(name.to_owned())
}

/// Puts a component in its place, if it differs from what is there: a running host sees the old file or the
/// new one, never a part, and no change where there is none.
fn place(from: &Path, to: &Path) -> Result<()> {
    let bytes = std::fs::read(from).with_context(|| format!("reading {}", from.display()))?;
    if std::fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let fresh = to.with_extension(format!("wasm.new-{}", std::process::id()));
    std::fs::write(&fresh, &bytes).with_context(|| format!("writing {}", fresh.display()))?;
    std::fs::rename(&fresh, to).with_context(|| format!("writing {}", to.display()))?;
    eprintln!("built {} ({} KB)", to.display(), bytes.len().div_ceil(1000));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn the_component_is_found_through_the_manifest_path() {
        let metadata = json!({"packages": [
            {"name": "pulse-tcp", "manifest_path": "/r/plugins/tcp/Cargo.toml", "targets": [
                {"name": "pulse-tcp", "crate_types": ["cdylib", "rlib"]},
                {"name": "it", "crate_types": ["bin"]}]},
            {"name": "common", "manifest_path": "/r/plugins/common/Cargo.toml", "targets": [
                {"name": "common", "crate_types": ["lib"]}]},
        ]});
        let found = parse_crates(&metadata).unwrap();
        assert_eq!(found.len(), 1, "a plain library is no plugin");
        let tcp = &found[Path::new("/r/plugins/tcp/Cargo.toml")];
        assert_eq!(
            (tcp.package.as_str(), tcp.file.as_str()),
            ("pulse-tcp", "pulse_tcp.wasm")
        );
        assert!(parse_crates(&json!({})).is_err());
    }

    #[test]
    fn a_component_stays_beside_its_manifest() {
        assert_eq!(parse_component("component = \"http.wasm\"").unwrap(), "http.wasm");
        for wrong in [
            "",
            "component = 1",
            "component = \"../http.wasm\"",
            "component = \"..\"",
            "component = \"\"",
        ] {
            assert!(parse_component(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_name_lists_what_there_is() {
        let folders = [PathBuf::from("plugins/http"), PathBuf::from("plugins/tcp")];
        assert_eq!(
            chosen(&folders, &["tcp".to_owned()]).unwrap(),
            [folders[1].clone()]
        );
        assert_eq!(chosen(&folders, &[]).unwrap(), folders);
        let error = chosen(&folders, &["tpc".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("http, tcp"), "{error}");
    }

    #[test]
    fn only_a_changed_component_is_written() {
        let folder = std::env::temp_dir().join(format!("xtask-place-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (from, to) = (folder.join("a.wasm"), folder.join("b.wasm"));
        std::fs::write(&from, b"one").unwrap();
        place(&from, &to).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"one");
        let before = std::fs::metadata(&to).unwrap().ino();
        place(&from, &to).unwrap();
        assert_eq!(
            before,
            std::fs::metadata(&to).unwrap().ino(),
            "the same file, not a new one"
        );
        std::fs::write(&from, b"two").unwrap();
        place(&from, &to).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"two");
        assert_eq!(
            std::fs::read_dir(&folder).unwrap().count(),
            2,
            "nothing is left behind"
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
