//! From text to tree: TOML's own rules.

use super::{
    interpolate::Surroundings,
    problem::{Findings, Problem},
    source::{At, Source, Sources},
    tree::{self, Table},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// What the parser says of a key or table that is there twice.
const DUPLICATE: &str = "duplicate key";

/// Duplicates whose first place is looked for: each look parses what stands before.
const FIRST_PLACES_MAX: usize = 20;
/// Lines that are looked at for the header of a key.
const HEADER_LINES_MAX: usize = 10_000;

/// Parses all files and puts them together. None if one of them is no TOML, since what could be guessed of it would
/// only lead to problems that are none. A key that is there twice is reported, and reading goes on. Files before `first`
/// are not this configuration's.
pub(super) fn parse(
    sources: &Sources,
    first: u32,
    surroundings: &Surroundings,
    findings: &mut Findings,
) -> Option<Table> {
    let mut whole = Table::default();
    let mut broken = false;
    for (file, source) in sources.from(first) {
        let (document, errors) = DeTable::parse_recoverable(&source.text);
        // Where a header is there twice, everything below it may be, too.
        let mut reopened = Vec::new();
        let mut looks = 0;
        for error in &errors {
            let span = error.span().unwrap_or(source.text.len()..source.text.len());
            let at = |span: std::ops::Range<usize>| At {
                file,
                start: u32::try_from(span.start).unwrap_or(u32::MAX),
                end: u32::try_from(span.end).unwrap_or(u32::MAX),
            };
            if error.message() == DUPLICATE {
                let header = header_line(source, span.start);
                if reopened.contains(&header) {
                    continue;
                }
                if header == source.position(span.start).0 {
                    reopened.push(header);
                }
                let key = source.text.get(span.clone()).unwrap_or_default();
                let mut problem = Problem::new(
                    "duplicate-key",
                    at(span.clone()),
                    format!("`{key}` is there twice"),
                )
                .help("a table or key is written once; put what belongs to it together");
                looks += 1;
                if looks <= FIRST_PLACES_MAX
                    && let Some(first) = first_place(source, span.start)
                {
                    problem = problem.note(at(first), "first here");
                }
                findings.report(problem);
            } else {
                broken = true;
                findings.report(
                    Problem::new("syntax", at(span), format!("no valid TOML: {}", error.message()))
                        .help("see https://toml.io/en/v1.1.0 for the format"),
                );
            }
        }
        let table = tree::grow(document.into_inner(), file, sources, surroundings, findings);
        tree::join(&mut whole, &table, findings);
    }
    (!broken).then_some(whole)
}

/// The last line that begins like a header, up to that offset; 0 without any.
fn header_line(source: &Source, offset: usize) -> usize {
    let (line, _) = source.position(offset);
    (1..=line)
        .rev()
        .take(HEADER_LINES_MAX)
        .find(|line| source.line(*line).1.trim_start().starts_with('['))
        .unwrap_or(0)
}

/// Where the key that stands a second time at `offset` stood first. The parser does not say, but it can be asked
/// again about the text before, and about the line itself.
fn first_place(source: &Source, offset: usize) -> Option<std::ops::Range<usize>> {
    let (line, _) = source.position(offset);
    let (start, text) = source.line(line);
    let (before, _) = DeTable::parse_recoverable(source.text.get(..start)?);
    let before = before.into_inner();
    let (own, _) = DeTable::parse_recoverable(text);
    let mut wanted = own.into_inner();
    let mut table = if text.trim_start().starts_with('[') {
        &before
    } else {
        last_header(&source.text, &before)
    };
    // Down along the keys of the line for as long as they exist; the last one found is the one that is there twice.
    loop {
        let (key, value) = wanted.into_iter().next()?;
        let (first, below) = table.get_key_value(&key)?;
        match (value.into_inner(), newest(below)) {
            (DeValue::Table(next), Some(deeper)) if !next.is_empty() => {
                wanted = next;
                table = deeper;
            }
            (DeValue::Array(items), Some(deeper)) => {
                match items.into_iter().next().map(Spanned::into_inner) {
                    Some(DeValue::Table(next)) if !next.is_empty() => {
                        wanted = next;
                        table = deeper;
                    }
                    _ => return Some(first.span()),
                }
            }
            _ => return Some(first.span()),
        }
    }
}

/// The table, or the last table of an array of tables.
fn newest<'a, 'i>(value: &'a Spanned<DeValue<'i>>) -> Option<&'a DeTable<'i>> {
    match value.get_ref() {
        DeValue::Table(table) => Some(table),
        DeValue::Array(items) => items.last()?.get_ref().as_table(),
        _ => None,
    }
}

/// The table whose header comes last: the one that a key at the end of the text belongs to.
fn last_header<'a, 'i>(text: &str, root: &'a DeTable<'i>) -> &'a DeTable<'i> {
    let mut last = (0, root);
    let mut left = vec![root];
    while let Some(table) = left.pop() {
        for value in table.values() {
            let tables: &[Spanned<DeValue<'i>>] = match value.get_ref() {
                DeValue::Table(_) => std::slice::from_ref(value),
                DeValue::Array(items) => items,
                _ => &[],
            };
            for value in tables {
                if let DeValue::Table(table) = value.get_ref() {
                    let start = value.span().start;
                    if start >= last.0 && text.as_bytes().get(start) == Some(&b'[') {
                        last = (start, table);
                    }
                    left.push(table);
                }
            }
        }
    }
    last.1
}
