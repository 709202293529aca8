//! Where a configuration is looked for.

use super::source::list;
use std::path::{Path, PathBuf};

/// The configuration's path: the given one, else `./pulse-host.toml`, `$XDG_CONFIG_HOME/pulse-host/` and
/// `/etc/pulse-host/`, whichever is there first.
///
/// # Errors
/// Nothing was found: says where it was looked for, and how to start.
pub fn default_paths(explicit: Option<&Path>) -> Result<PathBuf, String> {
    let var = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let user = var("XDG_CONFIG_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| var("HOME").map(|home| home.join(".config")))
        .map(|path| path.join("pulse-host"));
    let candidates: Vec<PathBuf> = std::iter::once(PathBuf::from("./pulse-host.toml"))
        .chain(user)
        .chain([PathBuf::from("/etc/pulse-host")])
        .collect();
    choose(explicit, &candidates)
}

fn choose(explicit: Option<&Path>, candidates: &[PathBuf]) -> Result<PathBuf, String> {
    if let Some(path) = explicit {
        // Whether it is there, reading it will say better.
        return Ok(path.to_owned());
    }
    if let Some(found) = candidates.iter().find(|path| holds_configuration(path)) {
        return Ok(found.clone());
    }
    let looked: Vec<String> = candidates
        .iter()
        .map(|path| format!("  {}", path.display()))
        .collect();
    Err(format!(
        "no configuration found; looked for\n{}\nname one with --config, or write a first one with `pulse-host init`",
        looked.join("\n")
    ))
}

/// A directory without any `*.toml` is as good as none. One that can't be read is not: that is to be said.
fn holds_configuration(path: &Path) -> bool {
    if path.is_dir() {
        list(path).map_or(true, |files| !files.is_empty())
    } else {
        path.exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_there_is_taken() {
        let root = std::env::temp_dir().join(format!("pulse-host-paths-{}", std::process::id()));
        let (empty, full, file) = (
            root.join("empty"),
            root.join("full"),
            root.join("pulse-host.toml"),
        );
        std::fs::create_dir_all(&empty).unwrap();
        std::fs::create_dir_all(&full).unwrap();
        std::fs::write(full.join("a.toml"), "").unwrap();
        std::fs::write(empty.join("a.toml~"), "").unwrap();
        let candidates = [file.clone(), empty, full.clone()];
        assert_eq!(choose(None, &candidates), Ok(full));
        std::fs::write(&file, "").unwrap();
        assert_eq!(choose(None, &candidates), Ok(file));
        let explicit = Path::new("nowhere.toml");
        assert_eq!(choose(Some(explicit), &candidates), Ok(explicit.to_owned()));
        std::fs::remove_dir_all(&root).unwrap();
        let none = choose(None, &candidates).unwrap_err();
        for candidate in &candidates {
            assert!(none.contains(&candidate.display().to_string()), "{none}");
        }
        assert!(none.contains("pulse-host init"));
    }
}
