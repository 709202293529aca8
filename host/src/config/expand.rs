//! From the rows of a list of targets to monitors: read in pieces, made by several threads, taken in order.
//!
//! Invariant: at any time only a bounded number of pieces is on its way, and what comes of a list does not depend on
//! how many threads made it.

use super::{
    assembly::{Assembly, Origin, ROWS_SHOWN_MAX},
    batch::{Batch, Made},
    body::Types,
    build::Builder,
    chunk::{Chunk, Chunks, Format, RECORD_BYTES_MAX, records},
    csv::{BadHeader, Columns},
    document::{RawMonitor, Targets},
    monitor::Shared,
    problem::{PENDING, Problem},
    progress::Progress,
    read::{Spot, list, nearest},
    recipe::{Recipe, Scratch},
    row::{Cell, NoRow, read_json},
    scan::{fields_of_json, find_json},
    source::At,
    tree::{Node, Value},
};
use crate::domain::spec::{Class, MonitorSpec};
use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, mpsc},
};

/// More threads than that would wait for the one that reads.
const THREADS_MAX: usize = 8;
/// Pieces on their way to each thread and back.
const PIECES_PER_THREAD: usize = 2;

/// How the records of a file are read.
enum Ground {
    Ndjson,
    Csv(Columns),
}

/// A row that something is wrong with.
struct Wrong {
    line: u32,
    text: String,
    /// Places in the row are [`PENDING`].
    problems: Vec<Problem>,
}

/// A piece of the file, and what was made of it.
#[derive(Default)]
struct Work {
    chunk: Chunk,
    batch: Batch,
    wrong: Vec<Wrong>,
    /// Rows with problems, the explained ones among them.
    bad: u64,
}

/// A thread's own.
struct Hand<'r, 'a> {
    recipe: &'r Recipe<'a>,
    ground: &'r Ground,
    scratch: Scratch,
    /// Rows that were explained. The first ones of the file are among them, whichever thread has them.
    explained: u64,
}

impl Hand<'_, '_> {
    fn work(&mut self, work: &mut Work) {
        work.batch.clear();
        work.wrong.clear();
        work.bad = 0;
        let Work {
            chunk,
            batch,
            wrong,
            bad,
        } = work;
        let format = match self.ground {
            Ground::Ndjson => Format::Ndjson,
            Ground::Csv(_) => Format::Csv,
        };
        let too_long = chunk.too_long;
        records(chunk, format, |line, offset, record| {
            if record.iter().all(u8::is_ascii_whitespace) {
                return;
            }
            let read = if too_long || record.len() > RECORD_BYTES_MAX {
                Err(NoRow {
                    message: format!("more than {} KiB", RECORD_BYTES_MAX >> 10),
                    offset: 0,
                })
            } else {
                self.read(record)
            };
            let types = match self.ground {
                Ground::Ndjson => Types::Own,
                Ground::Csv(_) => Types::Text,
            };
            if read.is_ok() && self.recipe.make(&mut self.scratch, types, line, offset, batch) {
                return;
            }
            *bad += 1;
            if self.explained < ROWS_SHOWN_MAX {
                self.explained += 1;
                let text = String::from_utf8_lossy(record);
                let problems = match read {
                    Err(error) => vec![no_row(&text, &error, format)],
                    Ok(()) => {
                        let locate = |slot| self.locate(&text, slot);
                        let has = match self.ground {
                            Ground::Ndjson => fields_of_json(&text),
                            // The header was looked at.
                            Ground::Csv(_) => Vec::new(),
                        };
                        self.recipe
                            .explain(&mut self.scratch.clone(), types, &locate, &has)
                    }
                };
                let text = text.into_owned();
                wrong.push(Wrong { line, text, problems });
            }
        });
    }

    fn read(&mut self, record: &[u8]) -> Result<(), NoRow> {
        let text = std::str::from_utf8(record).map_err(|error| NoRow {
            message: "it is not UTF-8 text".to_owned(),
            offset: error.valid_up_to(),
        })?;
        let slots = self.recipe.fields().len();
        match self.ground {
            Ground::Ndjson => read_json(text, self.recipe.keys(), slots, &mut self.scratch.row),
            Ground::Csv(columns) => columns.record(text, slots, &mut self.scratch.row),
        }
    }

    /// Where a row has a field, or the row itself.
    fn locate(&self, text: &str, slot: Option<usize>) -> At {
        let found = slot.and_then(|slot| match self.ground {
            Ground::Ndjson => find_json(text, self.recipe.fields().name(slot)),
            Ground::Csv(columns) => columns.find(text, slot),
        });
        pending(found.unwrap_or(0..text.len()))
    }
}

fn pending(range: std::ops::Range<usize>) -> At {
    let offset = |value| u32::try_from(value).unwrap_or(u32::MAX);
    At {
        file: PENDING,
        start: offset(range.start),
        end: offset(range.end),
    }
}

fn no_row(text: &str, error: &NoRow, format: Format) -> Problem {
    let what = match format {
        Format::Ndjson => "this line is no JSON object",
        Format::Csv => "this is no CSV record",
    };
    let end = text
        .get(error.offset..)
        .and_then(|rest| rest.chars().next())
        .map_or(error.offset, |char| error.offset + char.len_utf8());
    let range = if error.offset == 0 {
        0..text.len()
    } else {
        error.offset..end
    };
    Problem::new("bad-row", pending(range), format!("{what}: {}", error.message))
}

/// What is taken of a list so far.
struct Intake<'r, 'a> {
    table: u32,
    recipe: &'r Recipe<'a>,
    shared: &'r Shared<'a>,
    /// The class, and the list of dependencies, by what rows have in common.
    classes: HashMap<Box<[u8]>, (Arc<Class>, u32)>,
    uniform: Option<(Arc<Class>, u32)>,
    shown: u64,
    bad: u64,
    /// One of the rows shown has a problem of its own, and not only that of the table.
    own_problem: bool,
}

impl<'a> Builder<'a> {
    /// Adds a monitor for each target.
    #[allow(clippy::too_many_arguments)] // One caller, and each is a thing of its own.
    pub(super) fn expand(
        &mut self,
        table: u32,
        raw: &'a RawMonitor,
        targets: &'a Spot<Targets>,
        recipe: &Recipe<'a>,
        shared: &Shared<'a>,
        assembly: &mut Assembly,
        progress: &mut dyn Progress,
    ) {
        let mut intake = Intake {
            table,
            recipe,
            shared,
            classes: HashMap::new(),
            uniform: None,
            shown: 0,
            bad: 0,
            own_problem: false,
        };
        let before = assembly.monitors.len();
        match &targets.value {
            Targets::Inline(items) => self.expand_inline(items, &mut intake, assembly),
            Targets::File { path, shown, format } => match self.open(path, *format) {
                Ok(chunks) => {
                    progress.begin(shown, chunks.bytes);
                    self.expand_file(
                        chunks,
                        *format,
                        shown,
                        targets.at,
                        &mut intake,
                        assembly,
                        progress,
                    );
                    progress.end((assembly.monitors.len() - before) as u64);
                }
                Err(error) => self.unreadable(assembly, targets.at, shown, &error),
            },
            Targets::Broken => assembly.gaps = true,
        }
        assembly.gaps |= intake.bad > 0;
        if intake.own_problem {
            self.report_rest(
                &targets.value,
                targets.at,
                intake.bad.saturating_sub(intake.shown),
            );
        }
        if assembly.monitors.len() == before && !assembly.gaps {
            let what = match &targets.value {
                Targets::File { shown, .. } => format!("`{shown}` has no rows"),
                _ => "this list is empty".to_owned(),
            };
            let text = format!("{what}, so `{}` makes no monitor", raw.name.value);
            self.warnings.report(Problem::new("no-targets", targets.at, text));
        }
    }

    fn open(&self, path: &Path, format: Format) -> std::io::Result<Chunks> {
        Chunks::new(self.files.open(path)?, format)
    }

    fn unreadable(&mut self, assembly: &mut Assembly, at: At, shown: &str, error: &std::io::Error) {
        assembly.gaps = true;
        let problem = Problem::new("unreadable", at, format!("`{shown}` can't be read: {error}"));
        self.reader.report(
            problem.help("a relative path starts at the directory of the configuration file that names it"),
        );
    }

    fn expand_inline(&mut self, items: &[Node], intake: &mut Intake<'_, 'a>, assembly: &mut Assembly) {
        let recipe = intake.recipe;
        let mut scratch = recipe.scratch();
        let mut batch = Batch::default();
        for (number, item) in (0..).zip(items) {
            let Value::Table(table) = &item.value else {
                continue;
            };
            let mut broken = false;
            scratch.row.clear(recipe.fields().len());
            recipe.keys().walk(table, &mut |slot, node| match &node.value {
                Value::String(text) | Value::Datetime(text) => scratch.row.put_text(slot, text),
                Value::Integer(integer) => scratch.row.put_number(slot, integer),
                Value::Float(float) => scratch.row.put_float(slot, *float),
                Value::Boolean(yes) => scratch.row.put_boolean(slot, *yes),
                Value::Array(_) => scratch.row.put_unfit(slot, Cell::Array),
                Value::Table(_) => scratch.row.put_unfit(slot, Cell::Object),
                Value::Broken => broken = true,
            });
            batch.clear();
            // Then it was reported.
            if broken {
                assembly.gaps = true;
            } else if recipe.make(&mut scratch, Types::Own, number, 0, &mut batch) {
                self.take(&batch, intake, assembly);
            } else {
                intake.bad += 1;
                if intake.shown < ROWS_SHOWN_MAX {
                    let locate = |slot: Option<usize>| {
                        let mut at = item.at;
                        recipe.keys().walk(table, &mut |known, node| {
                            if Some(known) == slot {
                                at = node.at;
                            }
                        });
                        at
                    };
                    let has: Vec<String> = table.iter().map(|(key, _)| key.to_string()).collect();
                    let problems = recipe.explain(&mut scratch.clone(), Types::Own, &locate, &has);
                    intake.shown += 1;
                    intake.own_problem = true;
                    for problem in problems {
                        self.reader.report(problem);
                    }
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // The same.
    fn expand_file(
        &mut self,
        mut chunks: Chunks,
        format: Format,
        shown: &str,
        at: At,
        intake: &mut Intake<'_, 'a>,
        assembly: &mut Assembly,
        progress: &mut dyn Progress,
    ) {
        let mut first = match chunks.next(Vec::new()) {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return,
            Err(error) => return self.unreadable(assembly, at, shown, &error),
        };
        let ground = match format {
            Format::Ndjson => Ground::Ndjson,
            Format::Csv => match self.header(&mut first, shown, intake.recipe) {
                Some(columns) => Ground::Csv(columns),
                None => {
                    assembly.gaps = true;
                    return;
                }
            },
        };
        let hand = || Hand {
            recipe: intake.recipe,
            ground: &ground,
            scratch: intake.recipe.scratch(),
            explained: 0,
        };
        let second = match chunks.next(Vec::new()) {
            Ok(chunk) => chunk,
            Err(error) => return self.unreadable(assembly, at, shown, &error),
        };
        let mut done = 0;
        let Some(second) = second else {
            let mut work = Work {
                chunk: first,
                ..Work::default()
            };
            hand().work(&mut work);
            self.take_work(&work, shown, intake, assembly);
            progress.advance(work.batch.made.len() as u64 + work.bad, chunks.bytes);
            return;
        };
        let mut waiting = vec![second, first];
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(THREADS_MAX);
        let failed = std::thread::scope(|scope| {
            let mut lanes = Vec::new();
            for _ in 0..threads {
                let (to, from_here) = mpsc::sync_channel::<Work>(PIECES_PER_THREAD);
                let (to_here, from) = mpsc::sync_channel::<Work>(PIECES_PER_THREAD);
                let mut hand = hand();
                scope.spawn(move || {
                    for mut work in from_here {
                        hand.work(&mut work);
                        if to_here.send(work).is_err() {
                            break;
                        }
                    }
                });
                lanes.push((to, from));
            }
            // Pieces go around and come back in the same order.
            let (mut sent, mut received) = (0_usize, 0_usize);
            let mut spare: Vec<Work> = Vec::new();
            let (mut ended, mut failed) = (false, None);
            loop {
                while !ended && sent - received < threads * PIECES_PER_THREAD {
                    let mut work = spare.pop().unwrap_or_default();
                    let next = match waiting.pop() {
                        Some(chunk) => Ok(Some(chunk)),
                        None => chunks.next(std::mem::take(&mut work.chunk.bytes)),
                    };
                    match next {
                        Ok(Some(chunk)) => work.chunk = chunk,
                        Ok(None) => {
                            ended = true;
                            break;
                        }
                        Err(error) => {
                            (ended, failed) = (true, Some(error));
                            break;
                        }
                    }
                    if let Some((to, _)) = lanes.get(sent % threads)
                        && to.send(work).is_ok()
                    {
                        sent += 1;
                    }
                }
                if sent == received {
                    return failed;
                }
                let Some(work) = lanes
                    .get(received % threads)
                    .and_then(|(_, from)| from.recv().ok())
                else {
                    // Its thread panicked, and so will the scope.
                    return failed;
                };
                received += 1;
                self.take_work(&work, shown, intake, assembly);
                done += work.chunk.bytes.len() as u64;
                progress.advance(work.batch.made.len() as u64 + work.bad, done);
                spare.push(work);
                let hopeless = intake.shown >= ROWS_SHOWN_MAX && !intake.own_problem;
                ended |= hopeless || self.is_spent() || assembly.monitors.len() > self.monitors_max;
            }
        });
        if let Some(error) = failed {
            self.unreadable(assembly, at, shown, &error);
        }
    }

    /// Reads the header and takes it off the first piece.
    fn header(&mut self, chunk: &mut Chunk, shown: &str, recipe: &Recipe<'_>) -> Option<Columns> {
        let mut header = None;
        records(chunk, Format::Csv, |line, offset, record| {
            if header.is_none() && !record.iter().all(u8::is_ascii_whitespace) {
                header = Some((line, offset, record.to_vec()));
            }
        });
        let (line, offset, record) = header?;
        let text = String::from_utf8_lossy(&record);
        let (wrong, names) = match Columns::read(&text, recipe.fields()) {
            Ok(columns) => {
                let end = (offset - chunk.offset) as usize + record.len();
                let rest = chunk.bytes.get(end..).unwrap_or_default();
                let skipped = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
                let end = end + skipped;
                let lines = memchr::memchr_iter(b'\n', chunk.bytes.get(..end).unwrap_or_default()).count();
                chunk.line = chunk
                    .line
                    .saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
                chunk.offset = chunk
                    .offset
                    .saturating_add(u32::try_from(end).unwrap_or(u32::MAX));
                chunk.bytes.drain(..end);
                return Some(columns);
            }
            Err(wrong) => wrong,
        };
        let whole = self.reader.findings.excerpts.add(shown, line, &text);
        for wrong in wrong {
            let problem = match wrong {
                BadHeader::NoRow(error) => no_row(&text, &error, Format::Csv),
                BadHeader::Twice(slot, range) => {
                    let name = recipe.fields().name(slot);
                    Problem::new(
                        "bad-field",
                        pending(range),
                        format!("the column `{name}` is there twice"),
                    )
                }
                BadHeader::Missing(slot) => {
                    let name = recipe.fields().name(slot);
                    let known: Vec<&str> = names.iter().map(String::as_str).collect();
                    let help = match nearest(name, &known) {
                        Some(near) => format!("did you mean `{{{{{near}}}}}`?"),
                        None => format!("its columns are {}", list(&known)),
                    };
                    let stand = recipe.stand(slot);
                    let text = match stand {
                        Some(stand) if stand.veiled => "a column that is named here is missing".to_owned(),
                        _ => format!("there is no column `{name}`"),
                    };
                    let problem = Problem::new("missing-field", whole, text).help(help);
                    match stand {
                        Some(stand) => problem.note(stand.at, "named here"),
                        None => problem,
                    }
                }
            };
            self.reader.report(problem.settle(whole.file));
        }
        None
    }

    fn take_work(&mut self, work: &Work, shown: &str, intake: &mut Intake<'_, 'a>, assembly: &mut Assembly) {
        self.take(&work.batch, intake, assembly);
        intake.bad += work.bad;
        for wrong in &work.wrong {
            if intake.shown >= ROWS_SHOWN_MAX {
                break;
            }
            intake.shown += 1;
            intake.own_problem |= wrong.problems.iter().any(Problem::is_pending);
            let at = self.reader.findings.excerpts.add(shown, wrong.line, &wrong.text);
            for problem in &wrong.problems {
                self.reader.report(problem.clone().settle(at.file));
            }
        }
    }

    /// Makes monitors of what was read.
    fn take(&mut self, batch: &Batch, intake: &mut Intake<'_, 'a>, assembly: &mut Assembly) {
        for made in &batch.made {
            if let Some((class, list)) = self.class_of_row(batch, made, intake, assembly) {
                self.spend(made.name_bytes + made.settings_bytes);
                let spec = MonitorSpec::new(class, made.key, batch.name(made), batch.settings(made));
                let origin = Origin {
                    table: intake.table,
                    line: made.line,
                    offset: made.offset,
                };
                assembly.push(spec, origin, list);
            }
        }
    }

    fn class_of_row(
        &mut self,
        batch: &Batch,
        made: &Made,
        intake: &mut Intake<'_, 'a>,
        assembly: &mut Assembly,
    ) -> Option<(Arc<Class>, u32)> {
        let parts = batch.parts(made);
        let known = match &intake.uniform {
            Some(known) => Some(known),
            None => intake.classes.get(parts),
        };
        if let Some((class, list)) = known {
            return Some((Arc::clone(class), *list));
        }
        let (class, depends_on) = self.class_of_parts(intake.shared, parts)?;
        let list = assembly.list(intake.table, depends_on);
        self.spend(parts.len());
        let fresh = (class, list);
        if intake.recipe.is_uniform() {
            intake.uniform = Some(fresh.clone());
        } else {
            intake.classes.insert(parts.into(), fresh.clone());
        }
        Some(fresh)
    }
}
