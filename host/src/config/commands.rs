//! `[commands.NAME]`: what plugins may have run, under names that grants give them.
//!
//! Invariant: a declaration that is read is complete: every placeholder has a rule, every rule a placeholder, and nothing
//! in it depends on the environment of the host.

use super::{
    host::HOUR,
    problem::Problem,
    read::{Reader, Spot, list, nearest},
    source::At,
    tree::{Node, Table, Value},
};
use crate::domain::command::{
    Allowed, Arg, Command, Param, Pattern, VALUE_BYTES, VALUE_BYTES_MAX, is_param_name,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Keys of `[commands.NAME]`.
pub const KEYS_COMMAND: &[&str] = &[
    "args",
    "dir",
    "env",
    "limits",
    "output-max",
    "params",
    "program",
    "timeout",
];
/// Keys of `[commands.NAME.params.NAME]`.
pub const KEYS_PARAM: &[&str] = &["leading-dash", "max-length", "pattern", "values"];
/// Keys of `[commands.NAME.limits]`.
pub const KEYS_COMMAND_LIMITS: &[&str] = &["cpu", "memory"];

/// Of one configuration.
const COMMANDS_MAX: usize = 1_000;
const ARGS_MAX: usize = 256;
const PARAMS_MAX: usize = 32;
const VALUES_MAX: usize = 256;
const ENV_MAX: usize = 64;
/// Of a text in a declaration.
const TEXT_BYTES_MAX: usize = 4 << 10;
const NAME_BYTES_MAX: usize = 64;

const TIMEOUT: Duration = Duration::from_secs(30);
const OUTPUT: u64 = 64 << 10;
const MEMORY: u64 = 2 << 30;
const CPU: Duration = Duration::from_secs(60);

/// What every command finds, unless the declaration says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const LANG: &str = "C.UTF-8";

/// A declaration and its place.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    /// Where the program is named.
    pub program_at: At,
    /// None where something is wrong with it, which was reported.
    pub command: Option<Arc<Command>>,
}

/// All of them by name.
pub(super) type Commands = BTreeMap<Arc<str>, Declared>;

/// Reads `[commands]`.
pub(super) fn read(reader: &mut Reader<'_>, node: Option<&Node>) -> Commands {
    let mut commands = Commands::new();
    let Some(table) = node.and_then(|node| reader.table(node, "commands")) else {
        return commands;
    };
    for (name, entry) in table.iter() {
        let Some(table) = reader.table(&entry.node, "commands.NAME") else {
            continue;
        };
        if commands.len() >= COMMANDS_MAX {
            let text = format!("more than {COMMANDS_MAX} commands");
            reader.report(Problem::new("out-of-range", entry.key, text));
            break;
        }
        if !is_name(name) {
            let help = format!("1 to {NAME_BYTES_MAX} lower-case letters, digits and inner hyphens");
            reader.report(Problem::new("bad-name", entry.key, "this is no name for a command").help(help));
            continue;
        }
        commands.insert(Arc::clone(name), read_one(reader, entry.key, name, table));
    }
    commands
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(fits)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn read_one(reader: &mut Reader<'_>, at: At, name: &Arc<str>, table: &Table) -> Declared {
    reader.known_keys(table, KEYS_COMMAND, "`[commands.NAME]`");
    let program = match table.get("program") {
        Some(node) => read_path(reader, node, "program"),
        None => {
            let text = format!("the command `{name}` has no `program`");
            let help = "name it by its whole path: program = \"/usr/bin/systemctl\"";
            reader.report(Problem::new("missing-key", at, text).help(help));
            None
        }
    };
    let program_at = program.as_ref().map_or(at, |program| program.at);
    let args = read_args(reader, table.get("args"));
    let params = read_params(reader, table.get("params"));
    if let (Some(args), Some(params)) = (&args, &params) {
        check_params(reader, name, args, params);
    }
    let timeout = table
        .get("timeout")
        .and_then(|node| reader.duration(node, "timeout", Duration::from_millis(1)..=HOUR))
        .map_or(TIMEOUT, |spot| spot.value);
    let output = table
        .get("output-max")
        .and_then(|node| reader.size(node, "output-max", 1..=(1 << 20)))
        .map_or(OUTPUT, |spot| spot.value);
    let dir = match table.get("dir") {
        Some(node) => read_path(reader, node, "dir").map(|dir| dir.value),
        None => Some(PathBuf::from("/")),
    };
    let env = read_env(reader, table.get("env"));
    let (memory_bytes, cpu) = read_limits(reader, table.get("limits"));
    let command = || {
        Some(Command {
            name: Arc::clone(name),
            program: program?.value,
            args: args?.into_iter().map(|arg| arg.value).collect(),
            params: params?
                .into_iter()
                .map(|(name, (_, param))| (name, param))
                .collect(),
            timeout,
            output_max: usize::try_from(output).unwrap_or(usize::MAX),
            env: env?,
            dir: dir?,
            memory_bytes,
            cpu_seconds: cpu.as_secs().max(1),
        })
    };
    Declared {
        program_at,
        command: command().map(Arc::new),
    }
}

/// A text that a process can be given: bounded, and without NUL.
fn read_text(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Spot<Arc<str>>> {
    let text = reader.string(node, what)?;
    let wrong = if text.value.contains('\0') {
        "holds a NUL".to_owned()
    } else if text.value.len() > TEXT_BYTES_MAX {
        format!("has more than {TEXT_BYTES_MAX} bytes")
    } else {
        return Some(text);
    };
    reader.report(Problem::new("bad-command", text.at, format!("`{what}` {wrong}")));
    None
}

fn read_path(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Spot<PathBuf>> {
    let text = read_text(reader, node, what)?;
    let path = Path::new(&*text.value);
    if path.is_absolute() {
        return Some(Spot {
            at: text.at,
            value: path.to_owned(),
        });
    }
    let help = "nothing is looked up in a search path; write the whole path, from `/` on";
    let wrong = format!("`{what}` is no absolute path");
    reader.report(Problem::new("bad-command", text.at, wrong).help(help));
    None
}

fn read_args(reader: &mut Reader<'_>, node: Option<&Node>) -> Option<Vec<Spot<Arg>>> {
    let Some(node) = node else {
        return Some(Vec::new());
    };
    let items = reader.array(node, "args", "strings")?;
    if items.len() > ARGS_MAX {
        let text = format!("more than {ARGS_MAX} arguments");
        reader.report(Problem::new("out-of-range", node.at, text));
        return None;
    }
    let mut args = Vec::with_capacity(items.len());
    for item in items {
        let text = read_text(reader, item, "args")?;
        match Arg::parse(&text.value) {
            Ok(value) => args.push(Spot { at: text.at, value }),
            Err(wrong) => {
                reader.report(
                    Problem::new("bad-command", text.at, format!("this is no argument: {wrong}"))
                        .help("write \"{name}\" where a plugin may fill in what params.name allows"),
                );
                return None;
            }
        }
    }
    Some(args)
}

type Params = BTreeMap<Arc<str>, (At, Param)>;

fn read_params(reader: &mut Reader<'_>, node: Option<&Node>) -> Option<Params> {
    let Some(node) = node else {
        return Some(Params::new());
    };
    let table = reader.table(node, "params")?;
    let (mut params, mut sound) = (Params::new(), true);
    for (name, entry) in table.iter() {
        if params.len() >= PARAMS_MAX {
            let text = format!("more than {PARAMS_MAX} placeholders");
            reader.report(Problem::new("out-of-range", entry.key, text));
            return None;
        }
        if !is_param_name(name) {
            let help = "1 to 64 letters, digits, `-` and `_`";
            reader
                .report(Problem::new("bad-name", entry.key, "this is no name for a placeholder").help(help));
            sound = false;
            continue;
        }
        match read_param(reader, entry.key, &entry.node) {
            Some(param) => {
                params.insert(Arc::clone(name), (entry.key, param));
            }
            None => sound = false,
        }
    }
    sound.then_some(params)
}

fn read_param(reader: &mut Reader<'_>, at: At, node: &Node) -> Option<Param> {
    let table = reader.table(node, "params.NAME")?;
    reader.known_keys(table, KEYS_PARAM, "a placeholder");
    let bytes_max = match table.get("max-length") {
        None => VALUE_BYTES,
        Some(node) => {
            let most = u64::try_from(VALUE_BYTES_MAX).unwrap_or(u64::MAX);
            let spot = reader.whole(node, "max-length", 1..=most)?;
            usize::try_from(spot.value).ok()?
        }
    };
    let leading_dash = match table.get("leading-dash") {
        None => false,
        Some(Node {
            value: Value::Boolean(yes),
            ..
        }) => *yes,
        Some(node) => {
            reader.wrong_type(node, "leading-dash", "true or false");
            return None;
        }
    };
    let allowed = match (table.get("pattern"), table.get("values")) {
        (Some(pattern), None) => {
            let text = reader.string(pattern, "pattern")?;
            match Pattern::new(&text.value) {
                Ok(pattern) => Allowed::Pattern(pattern),
                Err(wrong) => {
                    let help = "write a regular expression for the whole value, such as \"[a-z0-9-]+\"";
                    let wrong = format!("this is no pattern: {wrong}");
                    reader.report(Problem::new("bad-pattern", text.at, wrong).help(help));
                    return None;
                }
            }
        }
        (None, Some(values)) => {
            let items = reader.array(values, "values", "strings")?;
            if items.is_empty() || items.len() > VALUES_MAX {
                let text = format!(
                    "`values` has {} entries, and must have 1 to {VALUES_MAX}",
                    items.len()
                );
                reader.report(Problem::new("out-of-range", values.at, text));
                return None;
            }
            let mut allowed = Vec::with_capacity(items.len());
            for item in items {
                allowed.push(read_text(reader, item, "values")?.value);
            }
            Allowed::Values(allowed)
        }
        (pattern, _) => {
            let text = match pattern {
                Some(_) => "a placeholder has `pattern` or `values`, not both",
                None => "nothing says what may stand in the place of this placeholder",
            };
            let help = "say which: pattern = \"[a-z0-9-]+\", or values = [\"nginx\", \"redis\"]";
            reader.report(Problem::new("missing-key", at, text).help(help));
            return None;
        }
    };
    let longest = match &allowed {
        Allowed::Values(values) => values.iter().map(|value| value.len()).max().unwrap_or(0),
        Allowed::Pattern(_) => 0,
    };
    Some(Param {
        allowed,
        // Whoever lists a value wants it to be taken.
        bytes_max: bytes_max.max(longest),
        leading_dash,
    })
}

/// Placeholders and their rules belong together.
fn check_params(reader: &mut Reader<'_>, name: &str, args: &[Spot<Arg>], params: &Params) {
    let known: Vec<&str> = params.keys().map(AsRef::as_ref).collect();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for arg in args {
        for param in arg.value.params() {
            if used.insert(param) && !params.contains_key(param) {
                let help = match nearest(param, &known) {
                    Some(near) => format!("did you mean `{{{near}}}`?"),
                    None => {
                        format!("say what may stand there: params.{param} = {{ pattern = \"[a-z0-9-]+\" }}")
                    }
                };
                let text = format!("nothing says what `{{{param}}}` may be");
                reader.report(Problem::new("unknown-param", arg.at, text).help(help));
            }
        }
    }
    for (param, (at, _)) in params {
        if !used.contains(&**param) {
            let text = format!("no argument of the command `{name}` has `{{{param}}}`");
            let help = "a plugin would have to give a value that nobody gets";
            reader.report(Problem::new("unused-param", *at, text).help(help));
        }
    }
}

fn read_env(reader: &mut Reader<'_>, node: Option<&Node>) -> Option<BTreeMap<Arc<str>, Arc<str>>> {
    let mut env: BTreeMap<Arc<str>, Arc<str>> =
        BTreeMap::from([("PATH".into(), PATH.into()), ("LANG".into(), LANG.into())]);
    let Some(node) = node else {
        return Some(env);
    };
    let table = reader.table(node, "env")?;
    for (name, entry) in table.iter() {
        if name.is_empty() || name.contains(['=', '\0']) || name.len() > NAME_BYTES_MAX {
            let help = format!("1 to {NAME_BYTES_MAX} bytes, and no `=`");
            let text = "no variable of the environment can be called this";
            reader.report(Problem::new("bad-name", entry.key, text).help(help));
            return None;
        }
        if env.len() >= ENV_MAX {
            let text = format!("more than {ENV_MAX} variables");
            reader.report(Problem::new("out-of-range", entry.key, text));
            return None;
        }
        let value = read_text(reader, &entry.node, "env.NAME")?;
        env.insert(Arc::clone(name), value.value);
    }
    Some(env)
}

fn read_limits(reader: &mut Reader<'_>, node: Option<&Node>) -> (u64, Duration) {
    let Some(table) = node.and_then(|node| reader.table(node, "limits")) else {
        return (MEMORY, CPU);
    };
    reader.known_keys(table, KEYS_COMMAND_LIMITS, "`limits` of a command");
    let memory = table
        .get("memory")
        // With less a program can't even be started.
        .and_then(|node| reader.size(node, "limits.memory", (16 << 20)..=(1 << 40)))
        .map_or(MEMORY, |spot| spot.value);
    let cpu = table
        .get("cpu")
        .and_then(|node| reader.duration(node, "limits.cpu", Duration::from_secs(1)..=HOUR))
        .map_or(CPU, |spot| spot.value);
    (memory, cpu)
}

/// The declarations that a grant names, sorted. A name that nobody declared is reported.
pub(super) fn granted(
    reader: &mut Reader<'_>,
    commands: &Commands,
    names: Option<&Vec<Spot<Arc<str>>>>,
) -> Vec<Arc<Command>> {
    let mut granted = BTreeMap::new();
    for name in names.into_iter().flatten() {
        match commands.get(&name.value) {
            Some(declared) => {
                if let Some(command) = &declared.command {
                    granted.insert(Arc::clone(&name.value), Arc::clone(command));
                }
            }
            None => {
                let known: Vec<&str> = commands.keys().map(AsRef::as_ref).collect();
                let help = match nearest(&name.value, &known) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None if known.is_empty() => "commands are declared as [commands.NAME]".to_owned(),
                    None => format!("commands are {}", list(&known)),
                };
                let text = format!("there is no command `{}`", reader.quoted(name.at, &name.value));
                reader.report(Problem::new("unknown-command", name.at, text).help(help));
            }
        }
    }
    granted.into_values().collect()
}

/// `NAME:PROGRAM [ARG…]`, words with blanks between them: a command as it is declared on the command line, where who
/// says what may be run is who says what is filled in.
///
/// # Errors
/// What is wrong with it, for people.
pub fn command_by_words(text: &str) -> Result<Command, String> {
    let (name, words) = text
        .split_once(':')
        .ok_or("it names no program; write commands='NAME:/path/to/program {argument}'")?;
    if !is_name(name) {
        return Err(format!(
            "`{name}` is no name: lower-case letters, digits and inner hyphens"
        ));
    }
    let mut words = words.split_ascii_whitespace();
    let program = PathBuf::from(words.next().unwrap_or_default());
    if !program.is_absolute() {
        return Err("its program is no absolute path".to_owned());
    }
    let args: Vec<Arg> = words.map(Arg::parse).collect::<Result<_, _>>()?;
    let any = Param {
        allowed: Allowed::Pattern(Pattern::new("(?s).*")?),
        bytes_max: VALUE_BYTES_MAX,
        leading_dash: true,
    };
    let params = args.iter().flat_map(Arg::params);
    let params = params.map(|name| (name.into(), any.clone())).collect();
    Ok(Command {
        name: name.into(),
        program,
        params,
        args,
        timeout: TIMEOUT,
        output_max: usize::try_from(OUTPUT).unwrap_or(usize::MAX),
        env: BTreeMap::from([("PATH".into(), PATH.into()), ("LANG".into(), LANG.into())]),
        dir: "/".into(),
        memory_bytes: MEMORY,
        cpu_seconds: CPU.as_secs(),
    })
}
