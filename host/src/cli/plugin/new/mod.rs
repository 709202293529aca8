//! `plugin new`: the beginning of a plugin, in the language of its author's choice.
//!
//! Invariant: a folder is there with everything in it, or it is not there; one that was there is left as it was.

mod project;

use crate::{
    cli::{put, quoted},
    domain::spec::Kind,
    plugins,
};
use anyhow::{Context as _, Result, bail};
use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser as _},
};
use project::{Files, Language};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::ExitCode,
};

pub const EXAMPLES: &str = "\
Examples:
  pulse-host plugin new shop-check --kind pulse --lang typescript
  pulse-host plugin new restart-hook --kind intervention --lang rust --dir ~/plugins/restart-hook";

#[derive(Debug, Args)]
pub struct NewArgs {
    /// The plugin's name: lower-case letters, digits and inner hyphens
    #[arg(value_parser = name)]
    name: String,
    /// What its jobs are: to check, to repair or to alert
    #[arg(long, value_name = "KIND", default_value = "pulse", value_parser = kinds())]
    kind: Kind,
    /// The language
    #[arg(long, value_enum, value_name = "LANG")]
    lang: Language,
    /// The folder to make [default: ./NAME]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

fn kinds() -> impl clap::builder::TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::ALL.map(Kind::name))
        .try_map(|name| Kind::from_name(&name).ok_or_else(|| format!("there is no kind `{name}`")))
}

fn name(text: &str) -> Result<String, String> {
    if plugins::name_is_valid(text) {
        return Ok(text.to_owned());
    }
    let right = suggestion(text);
    Err(match plugins::name_is_valid(&right) {
        true => format!("{}; `{right}` would be one", plugins::name_rule(text)),
        false => plugins::name_rule(text),
    })
}

/// The valid name that is nearest to what somebody wrote.
fn suggestion(text: &str) -> String {
    let mut right = String::new();
    for letter in text.chars() {
        match letter.to_ascii_lowercase() {
            letter if letter.is_ascii_alphanumeric() => right.push(letter),
            _ if right.ends_with('-') => {}
            _ => right.push('-'),
        }
    }
    right.truncate(64);
    right.trim_matches('-').to_owned()
}

pub fn new(args: &NewArgs) -> Result<ExitCode> {
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let files = project::files(&args.name, args.kind, args.lang);
    write_all(&folder, &files)?;
    put(&format!(
        "Wrote {} files to {}. What to type next:\n  cd {}\n  {}\n  sh build.sh && pulse-host plugin test .\n\
         README.md there says what is what, and how to go on.\n",
        files.len(),
        folder.display(),
        quoted(&folder.display().to_string()),
        args.lang.install(),
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn write_all(folder: &Path, files: &Files) -> Result<()> {
    let exists = || format!("{} exists already and was left as it is", folder.display());
    if folder.symlink_metadata().is_ok() {
        bail!("{}; --dir names another folder", exists());
    }
    let Some(name) = folder.file_name() else {
        bail!("{} names no folder that could be made", folder.display());
    };
    let mut unfinished = name.to_owned();
    unfinished.push(format!(".new-{}", std::process::id()));
    let unfinished = folder.with_file_name(unfinished);
    let unwritable = || format!("{} can't be written", folder.display());
    fs::create_dir(&unfinished).with_context(unwritable)?;
    let written = fill(&unfinished, files).and_then(|()| put_in_place(&unfinished, folder));
    match written {
        Ok(()) => Ok(()),
        Err(error) => {
            let _ = fs::remove_dir_all(&unfinished);
            match error.kind() {
                ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty => bail!(exists()),
                _ => Err(error).with_context(unwritable),
            }
        }
    }
}

fn fill(folder: &Path, files: &Files) -> std::io::Result<()> {
    for (path, bytes) in files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, bytes)?;
    }
    Ok(())
}

/// Renames, unless something has come to be there meanwhile.
fn put_in_place(from: &Path, to: &Path) -> std::io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems can't promise that. Then only an empty folder could be replaced.
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(from, to),
        result => result.map_err(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_is_told_the_right_one() {
        assert_eq!(name("shop-check").unwrap(), "shop-check");
        let wrong = name("Shop_Check!").unwrap_err();
        assert!(
            wrong.contains("is no plugin name") && wrong.ends_with("`shop-check` would be one"),
            "{wrong}"
        );
        for hopeless in ["", "--", "?!"] {
            assert!(!name(hopeless).unwrap_err().contains("would be one"));
        }
        assert!(plugins::name_is_valid(&suggestion(&"Ä-x".repeat(80))));
    }

    #[test]
    fn a_folder_is_whole_or_not_there() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("it");
        let files = |path: &str| {
            Files::from([
                ("a/b".to_owned(), (&b"1"[..]).into()),
                (path.to_owned(), (&b"2"[..]).into()),
            ])
        };
        // `a/b` is a file, so there can be no `a/b/c`.
        assert!(write_all(&folder, &files("a/b/c")).is_err());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        write_all(&folder, &files("c")).unwrap();
        assert_eq!(fs::read(folder.join("a/b")).unwrap(), b"1");
        fs::remove_file(folder.join("c")).unwrap();
        let again = write_all(&folder, &files("c")).unwrap_err().to_string();
        assert!(again.contains("exists already and was left as it is"), "{again}");
        assert!(!folder.join("c").exists());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_came_meanwhile_stays() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        assert_eq!(
            put_in_place(&from, &to).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
    }
}
