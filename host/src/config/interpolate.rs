//! `${env:NAME}`, `${file:PATH}` and `$$` in string values; in a tenant's `${secret:NAME}`.
//!
//! Invariant: environment and files are for the operator's configuration only, never for what an API or a tenant sends;
//! a value that is missing is a problem, never an empty string. A secret stays a name here: it gets its value where a
//! plugin is handed its settings.

use super::read::{list, nearest};
use crate::domain::{
    secret::{CLOSE, OPEN},
    tenant::Tenant,
};
use std::{
    ffi::OsString,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Greatest size of a file that `${file:PATH}` reads: a secret or a certificate, not a data set.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// What of the world outside its files a configuration can see.
pub(super) struct Surroundings {
    env: Box<Lookup>,
    /// Whose configuration sees nothing of the world but this one's secrets.
    tenant: Option<Arc<Tenant>>,
    /// It came over the API.
    api: bool,
}

/// The value of an environment variable.
type Lookup = dyn Fn(&str) -> Option<OsString>;

impl Surroundings {
    /// The process's own environment.
    pub fn process() -> Self {
        Self {
            env: Box::new(|name| std::env::var_os(name)),
            tenant: None,
            api: false,
        }
    }

    /// Those of a tenant's configuration.
    pub fn of(tenant: &Arc<Tenant>) -> Self {
        Self {
            env: Box::new(|_| None),
            tenant: Some(Arc::clone(tenant)),
            api: false,
        }
    }

    /// Those of what comes over the API: that tenant's secrets, and for the operator's own nothing at all.
    pub fn of_api(tenant: Option<&Arc<Tenant>>) -> Self {
        Self {
            env: Box::new(|_| None),
            tenant: tenant.map(Arc::clone),
            api: true,
        }
    }

    /// Whether this was not written by who owns the host's files.
    pub fn are_a_tenants(&self) -> bool {
        self.tenant.is_some() || self.api
    }

    /// Exactly these variables.
    #[cfg(test)]
    pub fn fixed(variables: &'static [(&'static str, &'static str)]) -> Self {
        Self {
            env: Box::new(move |name| {
                variables
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| OsString::from(value))
            }),
            tenant: None,
            api: false,
        }
    }

    /// An environment variable.
    pub fn var(&self, name: &str) -> Option<OsString> {
        (self.env)(name)
    }

    /// Where compiled components are kept unless `[host] data-dir` says otherwise.
    pub fn data_dir(&self) -> PathBuf {
        let path = |name| {
            self.var(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        // systemd lists several directories with colons; the first is the service's own.
        let systemd = self
            .var("STATE_DIRECTORY")
            .and_then(|list| list.to_str()?.split(':').next().map(PathBuf::from))
            .filter(|path| path.is_absolute());
        systemd
            .or_else(|| {
                path("XDG_STATE_HOME")
                    .filter(|path| path.is_absolute())
                    .map(|path| path.join("pulse-host"))
            })
            .or_else(|| path("HOME").map(|home| home.join(".local/state/pulse-host")))
            .unwrap_or_else(|| PathBuf::from("./data"))
    }
}

/// Why a text could not be interpolated.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub message: String,
    pub help: Option<String>,
}

/// A text with everything filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filled {
    pub text: String,
    /// Something of it stands elsewhere: there was more than `$$`.
    pub referred: bool,
}

/// The text with everything filled in, or none if nothing was to be filled in.
pub(super) fn interpolate(
    text: &str,
    base: &Path,
    surroundings: &Surroundings,
) -> Result<Option<Filled>, Failure> {
    if !text.contains("${") && !text.contains("$$") {
        return Ok(None);
    }
    let mut filled = String::with_capacity(text.len());
    let mut referred = false;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            filled.push('$');
            rest = after;
        } else if let Some(inside) = after.strip_prefix('{') {
            let Some((reference, after)) = inside.split_once('}') else {
                return Err(Failure {
                    message: "`${` without a closing `}`".to_owned(),
                    help: Some("write `$$` for a plain dollar sign".to_owned()),
                });
            };
            filled.push_str(&look_up(reference, base, surroundings)?);
            referred = true;
            rest = after;
        } else {
            // A dollar sign alone, as at the end of a regular expression, stands for itself.
            filled.push('$');
            rest = after;
        }
    }
    filled.push_str(rest);
    Ok(Some(Filled {
        text: filled,
        referred,
    }))
}

fn look_up(reference: &str, base: &Path, surroundings: &Surroundings) -> Result<String, Failure> {
    if let Some(tenant) = &surroundings.tenant {
        return secret(reference, tenant);
    }
    if surroundings.api {
        return Err(Failure {
            message: format!(
                "`${{{reference}}}` is for the operator's own files, and can't be said over the API"
            ),
            help: Some(
                "let a template in a file say it, and use that; write `$$` for a plain dollar sign"
                    .to_owned(),
            ),
        });
    }
    match reference.split_once(':') {
        Some(("secret", _)) => Err(Failure {
            message: "only a tenant's configuration names its secrets".to_owned(),
            help: Some("here a value comes from `${env:NAME}` or `${file:PATH}`".to_owned()),
        }),
        Some(("env", name)) if !name.is_empty() => {
            let value = surroundings.var(name).ok_or_else(|| Failure {
                message: format!("the environment variable `{name}` is not set"),
                help: Some("set it for the host's process, or write the value here".to_owned()),
            })?;
            value.into_string().map_err(|_| Failure {
                message: format!("the environment variable `{name}` is not UTF-8 text"),
                help: None,
            })
        }
        Some(("file", path)) if !path.is_empty() => read(&base.join(path)).map_err(|error| Failure {
            message: format!("the file `{path}` can't be read: {error}"),
            help: Some(format!(
                "a relative path starts at the directory of the configuration file, {}",
                base.display()
            )),
        }),
        _ => Err(Failure {
            message: format!("`${{{reference}}}` is no known reference"),
            help: Some("`${env:NAME}` and `${file:PATH}` are; write `$$` for a plain dollar sign".to_owned()),
        }),
    }
}

/// What stands for a tenant's secret.
fn secret(reference: &str, tenant: &Tenant) -> Result<String, Failure> {
    let known: Vec<&str> = tenant.secrets.names().collect();
    match reference.split_once(':') {
        Some(("secret", name)) if known.contains(&name) => Ok(format!("{OPEN}{name}{CLOSE}")),
        Some(("secret", name)) => Err(Failure {
            message: format!("there is no secret `{name}`"),
            help: Some(match nearest(name, &known) {
                Some(near) => format!("did you mean `${{secret:{near}}}`?"),
                None if known.is_empty() => {
                    format!("the operator gives secrets by name: secrets.NAME in [tenants.{tenant}]")
                }
                None => format!("secrets are {}", list(&known)),
            }),
        }),
        Some(("env" | "file", _)) => Err(Failure {
            message: format!("`${{{reference}}}` is for the operator's own files"),
            help: Some(format!(
                "let the operator make it a secret: secrets.NAME = \"${{{reference}}}\" in [tenants.{tenant}]; here it is `${{secret:NAME}}`"
            )),
        }),
        _ => Err(Failure {
            message: format!("`${{{reference}}}` is no known reference"),
            help: Some("`${secret:NAME}` is; write `$$` for a plain dollar sign".to_owned()),
        }),
    }
}

/// The file's text without the line end that every editor puts there.
fn read(path: &Path) -> std::io::Result<String> {
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!(
            "it is larger than {} KiB",
            FILE_BYTES_MAX >> 10
        )));
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<Option<String>, String> {
        let surroundings = Surroundings::fixed(&[("TOKEN", "s3cret"), ("EMPTY", "")]);
        let filled = interpolate(text, Path::new("/nowhere"), &surroundings);
        filled
            .map(|filled| filled.map(|filled| filled.text))
            .map_err(|failure| failure.message)
    }

    #[test]
    fn fills_in_and_escapes() {
        assert_eq!(filled("plain"), Ok(None));
        assert_eq!(filled("^ok$"), Ok(None));
        assert_eq!(filled("a ${env:TOKEN} b"), Ok(Some("a s3cret b".to_owned())));
        assert_eq!(filled("${env:EMPTY}x$"), Ok(Some("x$".to_owned())));
        assert_eq!(
            filled("$$x $${env:TOKEN} $y"),
            Ok(Some("$x ${env:TOKEN} $y".to_owned()))
        );
    }

    #[test]
    fn what_is_missing_is_a_problem() {
        assert!(filled("${env:NONE}").unwrap_err().contains("`NONE` is not set"));
        assert!(filled("${env:TOKEN").unwrap_err().contains("closing"));
        assert!(filled("${TOKEN}").unwrap_err().contains("no known reference"));
        assert!(filled("${env:}").unwrap_err().contains("no known reference"));
        assert!(filled("${file:token}").unwrap_err().contains("can't be read"));
    }

    #[test]
    fn a_dollar_sign_refers_to_nothing() {
        let surroundings = Surroundings::fixed(&[("A", "a")]);
        let referred = |text| {
            let filled = interpolate(text, Path::new("/"), &surroundings);
            filled.unwrap().unwrap().referred
        };
        assert!(referred("${env:A}-b") && referred("$$${env:A}"));
        assert!(!referred("$$a") && !referred("$${env:A}"));
    }

    #[test]
    fn values_are_not_interpolated_again() {
        let surroundings = Surroundings::fixed(&[("A", "${env:B}"), ("B", "deep")]);
        let value = interpolate("${env:A}", Path::new("/"), &surroundings).unwrap();
        assert_eq!(value.unwrap().text, "${env:B}");
    }

    #[test]
    fn files_lose_one_line_end() {
        let directory = std::env::temp_dir().join(format!("pulse-host-interpolate-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("token"), "abc\n\n").unwrap();
        let value = interpolate("<${file:token}>", &directory, &Surroundings::fixed(&[]));
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(value.unwrap().unwrap().text, "<abc\n>");
    }

    #[test]
    fn the_data_directory_follows_the_environment() {
        let at = |variables| Surroundings::fixed(variables).data_dir();
        assert_eq!(at(&[]), PathBuf::from("./data"));
        assert_eq!(at(&[("HOME", "/h")]), PathBuf::from("/h/.local/state/pulse-host"));
        assert_eq!(
            at(&[("HOME", "/h"), ("XDG_STATE_HOME", "/x")]),
            PathBuf::from("/x/pulse-host")
        );
        assert_eq!(
            at(&[
                ("XDG_STATE_HOME", "/x"),
                ("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")
            ]),
            PathBuf::from("/var/lib/a")
        );
    }
}
