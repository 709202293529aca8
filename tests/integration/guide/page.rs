//! The blocks of a page.

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Rust,
    Toml,
    Shell,
}

/// A block, and the words after its fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub kind: Kind,
    /// Where the fence is, from 1.
    pub line: usize,
    /// `file=PATH`: what it is in the reader's folder.
    pub file: Option<String>,
    /// `skip="REASON"`: why nothing runs it.
    pub skip: Option<String>,
    pub text: String,
}

/// A command of the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub line: String,
    pub code: i32,
    /// What is seen, in this order.
    pub seen: Vec<String>,
}

/// The blocks of a page.
///
/// # Errors
/// A block that no test would run, with its line.
pub fn blocks(page: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    let mut blank = true;
    while let Some((number, line)) = lines.next() {
        let at = number + 1;
        if blank && line.starts_with("    ") {
            return Err(format!("line {at}: a block by indentation, which no test sees"));
        }
        blank = line.is_empty();
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        let (kind, rest) = info.split_once(' ').unwrap_or((info, ""));
        let kind = match kind {
            "rust" => Kind::Rust,
            "toml" => Kind::Toml,
            "sh" => Kind::Shell,
            other => return Err(format!("line {at}: no test knows what to do with {other:?}")),
        };
        let file = rest.strip_prefix("file=").map(str::to_owned);
        let skip = rest
            .strip_prefix("skip=\"")
            .and_then(|rest| rest.strip_suffix('"'))
            .map(str::to_owned);
        if !rest.is_empty() && file.is_none() && skip.as_ref().is_none_or(String::is_empty) {
            return Err(format!(
                "line {at}: file=PATH or skip=\"REASON\", and not {rest:?}"
            ));
        }
        match kind {
            Kind::Toml if file.is_none() => {
                return Err(format!("line {at}: file=PATH says who reads it"));
            }
            Kind::Rust if skip.is_some() => return Err(format!("line {at}: Rust is always run")),
            Kind::Shell if file.is_some() => return Err(format!("line {at}: commands are no file")),
            _ => {}
        }
        let mut text = String::new();
        loop {
            match lines.next() {
                None => return Err(format!("line {at}: the block has no end")),
                Some((_, "```")) => break,
                Some((_, line)) => {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
        blocks.push(Block {
            kind,
            line: at,
            file,
            skip,
            text,
        });
    }
    Ok(blocks)
}

/// The commands of a block.
///
/// # Errors
/// Something is seen before the first command.
pub fn commands(text: &str) -> Result<Vec<Command>, String> {
    let mut commands: Vec<Command> = Vec::new();
    let mut continued = false;
    for line in text.lines() {
        if let Some(line) = line.strip_prefix("$ ") {
            commands.push(Command {
                line: line.to_owned(),
                code: 0,
                seen: Vec::new(),
            });
        } else {
            let command = commands.last_mut().ok_or("a block begins with `$ `")?;
            if continued {
                command.line.push('\n');
                command.line.push_str(line);
            } else if let Some(code) = line.strip_prefix("# exits with ") {
                command.code = code.parse().map_err(|_| format!("no exit code: {code}"))?;
            } else {
                command.seen.push(line.trim().to_owned());
            }
        }
        continued = line.ends_with('\\');
    }
    Ok(commands)
}

#[test]
fn what_is_no_block_of_these_pages() {
    for (page, wrong) in [
        ("a\n\n    code\n", "line 3: a block by indentation"),
        ("```c\n```\n", "no test knows"),
        ("```\n```\n", "no test knows"),
        ("```toml\n```\n", "file=PATH says"),
        ("```sh skip=\"\"\n```\n", "skip=\"REASON\""),
        ("```rust ignore\n```\n", "and not \"ignore\""),
        ("```sh\n", "no end"),
    ] {
        let found = blocks(page).unwrap_err();
        assert!(found.contains(wrong), "{found}");
    }
}

#[test]
fn commands_and_what_is_seen() {
    let found = commands("$ a \\\n    b\nout\n$ c\n# exits with 2\n").unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].line.as_str(), found[0].code), ("a \\\n    b", 0));
    assert_eq!(found[0].seen, ["out"]);
    assert_eq!((found[1].line.as_str(), found[1].code), ("c", 2));
    assert!(commands("out\n").is_err());
}
