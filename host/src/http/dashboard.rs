//! The dashboard: a page in the program itself, which takes whatever it shows from the API.
//!
//! The files hold no data, so that whoever can connect may have them; what they ask for is the API's to give or refuse.
//! Architecture invariant: nothing that a plugin or a target says can become code. The page writes text as text, and its
//! policy lets a browser run nothing but these files, whatever is in it.

use super::problem::Problem;
use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

/// What a browser may do with the page: run and show what comes from here, ask the API, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const PAGE: &str = "index.html";

/// Names and contents. Their types follow from the names' ends.
const FILES: &[(&str, &[u8])] = &[
    (PAGE, include_bytes!("../../dashboard/index.html")),
    ("style.css", include_bytes!("../../dashboard/style.css")),
    ("icon.svg", include_bytes!("../../dashboard/icon.svg")),
    ("app.js", include_bytes!("../../dashboard/app.js")),
    ("api.js", include_bytes!("../../dashboard/api.js")),
    ("dom.js", include_bytes!("../../dashboard/dom.js")),
    ("parts.js", include_bytes!("../../dashboard/parts.js")),
    ("charts.js", include_bytes!("../../dashboard/charts.js")),
    ("actions.js", include_bytes!("../../dashboard/actions.js")),
    ("overview.js", include_bytes!("../../dashboard/overview.js")),
    ("monitors.js", include_bytes!("../../dashboard/monitors.js")),
    ("monitor.js", include_bytes!("../../dashboard/monitor.js")),
    ("incidents.js", include_bytes!("../../dashboard/incidents.js")),
    ("events.js", include_bytes!("../../dashboard/events.js")),
    ("plugins.js", include_bytes!("../../dashboard/plugins.js")),
    ("tenants.js", include_bytes!("../../dashboard/tenants.js")),
    ("quiet.js", include_bytes!("../../dashboard/quiet.js")),
];

/// A file as it is sent.
struct File {
    name: &'static str,
    text: &'static [u8],
    kind: &'static str,
    /// Of its contents: another build of the program has another one where the file differs.
    tag: HeaderValue,
}

static SERVED: LazyLock<Vec<File>> = LazyLock::new(|| {
    let files = FILES.iter().map(|(name, text)| {
        let digest: String = Sha256::digest(text)
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        File {
            name,
            text,
            kind: match name.rsplit_once('.') {
                Some((_, "html")) => "text/html; charset=utf-8",
                Some((_, "css")) => "text/css; charset=utf-8",
                Some((_, "js")) => "text/javascript; charset=utf-8",
                Some((_, "svg")) => "image/svg+xml",
                _ => "application/octet-stream",
            },
            tag: HeaderValue::from_str(&format!("\"{digest}\""))
                .unwrap_or_else(|_| HeaderValue::from_static("\"\"")),
        }
    });
    files.collect()
});

/// `GET /`.
pub async fn page(headers: HeaderMap) -> Result<Response, Problem> {
    sent(PAGE, &headers)
}

/// `GET /assets/{file}`.
pub async fn asset(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    sent(&file, &headers)
}

fn sent(name: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let file = SERVED
        .iter()
        .find(|file| file.name == name)
        .ok_or_else(|| Problem::absent("the dashboard has no file of that name"))?;
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|tags| tags.to_str().ok())
        .is_some_and(|tags| {
            tags.split(',')
                .map(|tag| tag.trim().trim_start_matches("W/"))
                .any(|tag| tag == "*" || file.tag == *tag)
        });
    let mut answer = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        file.text.into_response()
    };
    let fields = answer.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
    fields.insert(header::ETAG, file.tag.clone());
    // Names stay the same over an upgrade: a browser asks each time, and is mostly told that it has the file.
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of everything that a browser gets before it asks the API.
    const BYTES_MAX: usize = 150_000;

    fn text(name: &str) -> &'static str {
        let (_, text) = FILES.iter().find(|(known, _)| *known == name).unwrap();
        std::str::from_utf8(text).unwrap()
    }

    #[test]
    fn all_of_it_is_small_and_each_file_is_there_for_another() {
        let all: usize = FILES.iter().map(|(_, text)| text.len()).sum();
        assert!(all < BYTES_MAX, "{all} bytes");
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboard");
        let mut lying: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        lying.sort();
        let mut served: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        served.sort_unstable();
        assert_eq!(lying, served);
        let texts: String = FILES.iter().map(|(name, _)| text(name)).collect();
        for (name, _) in FILES.iter().filter(|(name, _)| *name != PAGE) {
            let named = texts.contains(&format!("/assets/{name}")) || texts.contains(&format!("./{name}"));
            assert!(named, "{name} is asked for by none");
        }
    }

    /// What the browser's policy would refuse, and what would make a text code where no policy is kept.
    #[test]
    fn no_file_makes_code_of_text_or_asks_elsewhere() {
        for (name, _) in FILES {
            let text = text(name);
            for never in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "https://",
                "javascript:",
                "localStorage.token",
            ] {
                assert!(!text.contains(never), "{name} holds {never}");
            }
            let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains("http://"), "{name} asks elsewhere");
        }
        let page = text(PAGE);
        assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick"));
        for script in page.split("<script").skip(1) {
            let (head, rest) = script.split_once('>').unwrap();
            assert!(head.contains("src=\"/assets/"), "a script within the page");
            assert!(rest.starts_with("</script>"), "a script within the page");
        }
    }
}
