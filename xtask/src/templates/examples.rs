//! The plugins of `examples/`: written as an outside author would, in the languages that need more than cargo. Only what
//! the author wrote stands there; the rest is what `plugin new` writes, so that neither grows old.

use super::{Language, table, trial::Trial};
use anyhow::{Context as _, Result, bail};
use std::path::Path;

/// Builds and tests those in that language, and returns their names.
pub fn hold(trial: &Trial<'_>, examples: &Path) -> Result<Vec<String>> {
    let mut done = Vec::new();
    for entry in std::fs::read_dir(examples).with_context(|| examples.display().to_string())? {
        let folder = entry?.path();
        if !folder.is_dir() || language(&folder)? != trial.language {
            continue;
        }
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        trial
            .example(&name, &folder)
            .with_context(|| folder.display().to_string())?;
        done.push(name);
    }
    done.sort();
    Ok(done)
}

/// By the file that its author has written.
fn language(folder: &Path) -> Result<Language> {
    let found = Language::ALL
        .into_iter()
        .find(|language| folder.join(table::sources(*language)).is_file());
    match found {
        Some(language) => Ok(language),
        None => bail!("{} has no source of a plugin in any language", folder.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_has_a_language_that_is_tried_and_a_page() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let mut count = 0;
        for entry in std::fs::read_dir(examples).unwrap() {
            let folder = entry.unwrap().path();
            if folder.is_dir() {
                language(&folder).unwrap();
                for file in ["README.md", "plugin.toml", "tests/healthy.toml"] {
                    assert!(folder.join(file).is_file(), "{} has no {file}", folder.display());
                }
                count += 1;
            }
        }
        assert!(count >= 2);
    }
}
