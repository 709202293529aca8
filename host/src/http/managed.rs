//! Monitors that are put over the API: one, many, and their end.
//!
//! Architecture invariant: what is answered with 2xx is on disk and in effect.

use super::{
    App,
    change::{Change, Condition, Deed, Done, Refused, Sent},
    problem::Problem,
    reply::{json, json_as, query, when},
    split::{Piece, Splitter},
    tokens::Caller,
};
use crate::{
    config::{Fault, entry},
    domain::{
        access::Role,
        managed::{DOCUMENT_BYTES_MAX, Document},
    },
    operate::managed::Page,
};
use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{Path, State as Shared},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::Response,
};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::{mpsc, oneshot};

/// Bytes of an import.
const IMPORT_BYTES_MAX: usize = 64 << 20;
/// Problems that are told; the others are counted.
const FAULTS_MAX: usize = 100;
/// Documents on a page, if nobody says how many.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1000;
/// Bytes of documents on a page; one more may begin below that.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// What a change may be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct How {
    dry_run: bool,
}

/// What an import may be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct HowMany {
    mode: Mode,
    dry_run: bool,
}

/// What becomes of documents that an import does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// They stay.
    #[default]
    Merge,
    /// They go.
    Replace,
}

/// What a list of documents may be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wanted {
    tenant: Option<String>,
    set_aside: Option<bool>,
    limit: Option<usize>,
    after: Option<String>,
}

/// The tenant that a path means, if the caller may change what is that one's.
fn whose(caller: &Caller, tenant: &str) -> Result<Arc<str>, Problem> {
    match caller.may_see(tenant) {
        true => Ok(tenant.into()),
        false => Err(Problem::absent("there is no tenant of that name")),
    }
}

/// Whether monitors can be put at all.
fn open(app: &App) -> Result<&mpsc::Sender<Change>, Problem> {
    app.changes.as_ref().ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_IMPLEMENTED,
            "store-off",
            "Monitors can't be kept here",
            "monitors that are put are kept in the store, in the host's data directory, and the store is off: take `enabled = false` out of [host.store], let [host] data-dir name a directory that lasts, and start the host again",
        )
    })
}

/// `PUT /api/v1/monitors/{tenant}/{name}`.
pub async fn put(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    Path((tenant, name)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let tenant = whose(&caller, &tenant)?;
    let how: How = query(&uri)?;
    open(&app)?;
    let only = condition(&headers)?;
    if body.len() > DOCUMENT_BYTES_MAX {
        return Err(too_large(DOCUMENT_BYTES_MAX));
    }
    let text = String::from_utf8(body.into()).map_err(|_| Problem::bad("the body is not UTF-8 text"))?;
    let name: Arc<str> = name.into();
    let document = Sent {
        name: Arc::clone(&name),
        text: text.into(),
        line: 1,
    };
    let deed = Deed::Put { document, only };
    let done = ask(&app, &caller, &tenant, deed, how.dry_run, &HashMap::new()).await?;
    let outcome = match &done {
        Done { created: 1.., .. } => "created",
        Done { replaced: 1.., .. } => "replaced",
        _ => "unchanged",
    };
    let body = json!({
        "tenant": &*tenant,
        "name": &*name,
        "etag": done.etag,
        "outcome": outcome,
        "dry_run": how.dry_run,
    });
    let status = match outcome {
        "created" if !how.dry_run => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    Ok(tagged(json_as(status, &body), done.etag.as_deref()))
}

/// `DELETE /api/v1/monitors/{tenant}/{name}`.
pub async fn remove(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    Path((tenant, name)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let tenant = whose(&caller, &tenant)?;
    let how: How = query(&uri)?;
    open(&app)?;
    let deed = Deed::Remove {
        name: name.into(),
        only: condition(&headers)?,
    };
    let done = ask(&app, &caller, &tenant, deed, how.dry_run, &HashMap::new()).await?;
    Ok(json(&counts(&done, how.dry_run)))
}

/// `POST /api/v1/monitors/{tenant}`: one document in each line, or an array of them.
pub async fn import(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    Path(tenant): Path<String>,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    let tenant = whose(&caller, &tenant)?;
    let how: HowMany = query(&uri)?;
    open(&app)?;
    // Held until it is answered: what is read stays in memory until then.
    let permit = Arc::clone(&app.imports).try_acquire_owned();
    let _permit = permit.map_err(|_| Problem::busy("another import is under way"))?;
    let Read {
        documents,
        faults,
        more,
        within,
    } = read(body).await?;
    let broken = !faults.is_empty();
    let deed = Deed::Import {
        documents,
        replace: how.mode == Mode::Replace,
    };
    // With documents that can't be read nothing will come of it; but what else is wrong is said too.
    let asked = ask(&app, &caller, &tenant, deed, how.dry_run || broken, &within).await;
    let problem = match asked {
        Ok(done) if !broken => return Ok(json(&counts(&done, how.dry_run))),
        Ok(_) => None,
        Err(problem) if !broken => return Err(problem),
        Err(problem) => Some(problem),
    };
    Err(invalid(faults, more, problem.as_ref()))
}

/// What was sent, taken apart.
#[derive(Default)]
struct Read {
    documents: Vec<Sent>,
    /// Of what is none.
    faults: Vec<Fault>,
    more: usize,
    /// What stands before a document's pointers, by the line in which it begins: its place in the array.
    within: Within,
}

type Within = HashMap<Arc<str>, String>;

async fn read(mut body: Body) -> Result<Read, Problem> {
    let (mut splitter, mut read, mut bytes) = (Splitter::default(), Read::default(), 0_usize);
    let mut known: HashMap<Arc<str>, u32> = HashMap::new();
    let mut take = |piece: Piece, read: &mut Read| take(piece, &mut known, read);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Problem::bad(format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        bytes = bytes.saturating_add(data.len());
        if bytes > IMPORT_BYTES_MAX {
            return Err(too_large(IMPORT_BYTES_MAX));
        }
        splitter.push(&data, &mut |piece| take(piece, &mut read));
    }
    if let Err(wrong) = splitter.end(&mut |piece| take(piece, &mut read)) {
        return Err(Problem::bad(format!(
            "{wrong}; the body has one JSON object in each line, or one array of them"
        )));
    }
    Ok(read)
}

fn take(piece: Piece, known: &mut HashMap<Arc<str>, u32>, read: &mut Read) {
    let fault = |id, detail: String, help: &str| Fault {
        monitor: None,
        id,
        file: None,
        line: Some(piece.line as usize),
        column: None,
        pointer: piece.index.map(|index| format!("/{index}")),
        detail,
        help: Some(help.to_owned()),
    };
    let limit = format!("a document has at most {} KiB", DOCUMENT_BYTES_MAX >> 10);
    let understood = match piece.text.map(String::from_utf8) {
        None => Err(fault("too-long", "this is too long".to_owned(), &limit)),
        Some(Err(_)) => Err(fault(
            "not-utf8",
            "this is not UTF-8 text".to_owned(),
            "JSON is UTF-8",
        )),
        Some(Ok(text)) => match entry(&text, piece.line) {
            Err(mut wrong) => {
                if let (Some(pointer), Some(index)) = (&mut wrong.pointer, piece.index) {
                    pointer.insert_str(0, &format!("/{index}"));
                }
                Err(*wrong)
            }
            Ok(entry) => match known.get(&entry.name) {
                Some(first) => {
                    let detail = format!(
                        "the monitor `{}` is there twice; first in line {first}",
                        entry.name
                    );
                    Err(fault("duplicate-name", detail, "a name is one monitor"))
                }
                None => Ok((entry, text)),
            },
        },
    };
    match understood {
        Ok((entry, text)) => {
            known.insert(Arc::clone(&entry.name), entry.line);
            if let Some(index) = piece.index {
                read.within.insert(Arc::clone(&entry.name), format!("/{index}"));
            }
            read.documents.push(Sent {
                name: entry.name,
                text: text.into(),
                line: entry.line,
            });
        }
        Err(_) if read.faults.len() >= FAULTS_MAX => read.more += 1,
        Err(fault) => read.faults.push(fault),
    }
}

/// Has it done, and waits for that.
async fn ask(
    app: &App,
    caller: &Caller,
    tenant: &Arc<str>,
    deed: Deed,
    dry_run: bool,
    within: &Within,
) -> Result<Done, Problem> {
    let (told, answer) = oneshot::channel();
    let change = Change {
        by: Arc::clone(&caller.name),
        tenant: Arc::clone(tenant),
        deed,
        dry_run,
        told,
    };
    open(app)?.try_send(change).map_err(|refused| {
        Problem::busy(match refused {
            mpsc::error::TrySendError::Full(_) => "too many changes wait already",
            mpsc::error::TrySendError::Closed(_) => "the host is stopping",
        })
    })?;
    let answer = answer.await;
    answer
        .unwrap_or(Err(Refused::Stopping { kept: false }))
        .map_err(|why| refused(why, within))
}

fn refused(why: Refused, within: &Within) -> Problem {
    match why {
        Refused::Precondition(detail) => Problem::precondition(detail),
        Refused::Absent(detail) => Problem::absent(detail),
        Refused::Conflict(detail) => Problem::conflict(detail),
        Refused::Invalid { mut faults, more } => {
            for fault in &mut faults {
                let name = fault.monitor.as_ref();
                if let (Some(pointer), Some(prefix)) =
                    (&mut fault.pointer, name.and_then(|name| within.get(name)))
                {
                    pointer.insert_str(0, prefix);
                }
            }
            invalid(faults, more, None)
        }
        Refused::Unkept(why) => {
            Problem::busy(format!("it can't be put on disk, so nothing has changed: {why}"))
        }
        Refused::Stopping { kept: false } => Problem::busy("the host is stopping"),
        Refused::Stopping { kept: true } => {
            Problem::busy("the host is stopping; it is on disk, and in effect after the next start")
        }
    }
}

/// Something is wrong with documents. `also`: what else was found.
fn invalid(mut faults: Vec<Fault>, mut more: usize, also: Option<&Problem>) -> Problem {
    let over = faults.len().saturating_sub(FAULTS_MAX);
    faults.truncate(FAULTS_MAX);
    more += over;
    let mut errors: Vec<Value> = faults
        .iter()
        .map(|fault| serde_json::to_value(fault).unwrap_or_default())
        .collect();
    if let Some(also) = also {
        let others = also.get("errors").and_then(Value::as_array);
        for error in others.into_iter().flatten() {
            match errors.len() < FAULTS_MAX {
                true => errors.push(error.clone()),
                false => more += 1,
            }
        }
        let rest = also.get("more_errors").and_then(Value::as_u64).unwrap_or(0);
        more += usize::try_from(rest).unwrap_or(usize::MAX);
    }
    let count = errors.len() + more;
    let first = errors.first().and_then(|error| error["detail"].as_str());
    let detail = match (count, first) {
        (1, Some(first)) => first.to_owned(),
        (_, Some(first)) => format!("{count} problems; the first: {first}"),
        (_, None) => format!("{count} problems"),
    };
    let conflict =
        !faults.is_empty() && also.is_none() && faults.iter().all(|fault| fault.id == "duplicate-name");
    let problem = match conflict {
        true => Problem::conflict(detail),
        false => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-monitors",
            "Monitors are wrong, and nothing has changed",
            detail,
        ),
    };
    problem
        .with("errors", errors.into())
        .with("more_errors", more.into())
}

fn too_large(most: usize) -> Problem {
    let most = if most < 1 << 20 {
        format!("{} KiB", most >> 10)
    } else {
        format!("{} MiB", most >> 20)
    };
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        "The body is too large",
        format!("at most {most}"),
    )
}

fn counts(done: &Done, dry_run: bool) -> Value {
    json!({
        "created": done.created,
        "replaced": done.replaced,
        "removed": done.removed,
        "unchanged": done.unchanged,
        "dry_run": dry_run,
    })
}

/// What `If-Match` and `If-None-Match` say.
fn condition(headers: &HeaderMap) -> Result<Condition, Problem> {
    let text = |name: HeaderName| {
        let wrong = format!("{name} is not readable");
        let value = headers.get(name).map(HeaderValue::to_str);
        value.transpose().map_err(|_| Problem::bad(wrong))
    };
    match (text(header::IF_MATCH)?, text(header::IF_NONE_MATCH)?) {
        (None, None) => Ok(Condition::Anything),
        (None, Some(all)) if all.trim() == "*" => Ok(Condition::Absent),
        (None, Some(_)) => Err(Problem::bad(
            "If-None-Match: only `*` is understood: put it if there is none of that name",
        )),
        (Some(all), None) if all.trim() == "*" => Ok(Condition::Present),
        (Some(tags), None) => tags
            .split(',')
            .map(|tag| {
                let tag = tag.trim().strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
                tag.map(str::to_owned)
            })
            .collect::<Option<Vec<String>>>()
            .map(Condition::Tagged)
            .ok_or_else(|| Problem::bad("If-Match: tags in quotation marks, as ETag has them, or `*`")),
        (Some(_), Some(_)) => Err(Problem::bad("If-Match and If-None-Match exclude each other")),
    }
}

/// With the tag of its document.
#[must_use]
pub fn tagged(mut answer: Response, etag: Option<&str>) -> Response {
    let value = etag.and_then(|etag| HeaderValue::from_str(&format!("\"{etag}\"")).ok());
    if let Some(value) = value {
        answer.headers_mut().insert(header::ETAG, value);
    }
    answer
}

/// A document, for whoever may put it.
fn shown(page: &Page, tenant: &str, name: &str, document: &Document) -> Value {
    json!({
        "tenant": tenant,
        "name": name,
        "etag": document.etag(),
        "changed_at": when(document.at.0),
        "changed_by": &*document.by,
        "set_aside": page.why_aside(tenant, name),
        "document": parsed(document),
    })
}

fn parsed(document: &Document) -> Value {
    serde_json::from_str(&document.text).unwrap_or_default()
}

/// `GET /api/v1/documents`.
pub async fn index(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let wanted: Wanted = query(&uri)?;
    let scope = caller.scope(wanted.tenant.as_deref())?;
    let limit = wanted.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::bad(format!("limit: 1 to {PAGE_MAX}")));
    }
    let after = match wanted.after.as_deref() {
        None => None,
        Some(after) => Some(after.split_once('/').ok_or_else(|| {
            Problem::bad("after: a tenant, `/` and a name, as `next` of the page before has it")
        })?),
    };
    let page = app.book.present();
    let meant = page.documents.iter().filter(|(tenant, name, _)| {
        scope.as_ref().is_none_or(|scope| scope == *tenant)
            && after.is_none_or(|after| after < (&***tenant, &***name))
            && wanted
                .set_aside
                .is_none_or(|aside| aside == page.why_aside(tenant, name).is_some())
    });
    let (mut documents, mut bytes, mut last, mut next) = (Vec::new(), 0, None, None);
    for (tenant, name, document) in meant {
        if documents.len() >= limit || bytes >= PAGE_BYTES_MAX {
            next = last;
            break;
        }
        bytes += document.text.len();
        documents.push(shown(&page, tenant, name, document));
        last = Some(format!("{tenant}/{name}"));
    }
    Ok(json(&json!({ "documents": documents, "next": next })))
}

/// Who says what a monitor is, and the tag of its document if that is the API. What was put is shown to whoever may put.
#[must_use]
pub fn managed_by(app: &App, caller: &Caller, tenant: &str, name: &str) -> (Value, Option<String>) {
    let page = app.book.present();
    let put = page.documents.get(tenant, name);
    let aside = page.why_aside(tenant, name);
    if let (Some(document), None) = (put, aside) {
        let etag = document.etag();
        let text = (caller.role >= Role::Admin).then(|| parsed(document));
        let told = json!({
            "kind": "api",
            "etag": etag,
            "changed_at": when(document.at.0),
            "changed_by": &*document.by,
            "document": text,
        });
        return (told, Some(etag));
    }
    let owner = app.directory.present().owner(tenant, name);
    let (file, line) = match owner {
        Some(crate::domain::managed::Owner::File { file, line }) => (Some(file), Some(line)),
        _ => (None, None),
    };
    let told = json!({
        "kind": "file",
        "file": file,
        "line": line,
        "set_aside": aside,
    });
    (told, None)
}
