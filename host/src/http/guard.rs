//! Who may come in, before anything is looked at that he wants.
//!
//! A browser is a stranger on the same machine: every page that somebody opens can make it send requests here. So a request
//! that calls the host by a name which is not its own (DNS rebinding), or that another site makes (CSRF), ends here. No
//! cookie means anything: who may do something shows a token in a header, which no other site can make a browser send.

use super::{App, problem::Problem, tokens::Caller};
use crate::domain::access::{Anonymous, Role};
use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// What changes monitors may take that long.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(600);

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whoever can connect.
    Open,
    /// Whoever shows what the route itself asks for: it sees to that.
    Own,
    /// Who may see figures: a viewer, and by default who is on this machine. A tenant's token sees the tenant's.
    Figures,
    /// A viewer: of his tenant's monitors, if the token has one. The route sees to that.
    Look,
    /// An operator, alike.
    Act,
    /// An administrator, alike: of the whole host, or of his tenant.
    Manage,
    /// An administrator of the whole host.
    Rule,
}

impl Access {
    /// The least role that it takes; none: no token is needed.
    #[must_use]
    pub fn role(self) -> Option<Role> {
        match self {
            Self::Open | Self::Own => None,
            Self::Figures | Self::Look => Some(Role::Viewer),
            Self::Act => Some(Role::Operator),
            Self::Manage | Self::Rule => Some(Role::Admin),
        }
    }

    /// Whether a tenant's token is good for it.
    #[must_use]
    pub fn is_for_tenants(self) -> bool {
        matches!(
            self,
            Self::Open | Self::Own | Self::Figures | Self::Look | Self::Act | Self::Manage
        )
    }
}

/// What every answer says to a browser, where a route says nothing else.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// Around everything: time, names, origins, and what answers say to browsers.
pub async fn around(State(app): State<App>, request: Request, next: Next) -> Response {
    let answer = match strange(&app, request.method(), request.headers()) {
        Some(problem) => problem.into_response(),
        None => match tokio::time::timeout(patience(&app, &request), next.run(request)).await {
            Ok(answer) => answer,
            Err(_) => Problem::busy("this took too long").into_response(),
        },
    };
    clothed(answer)
}

/// How long it may take: monitors are built, put on disk and put into effect before they are answered, and others may go
/// before.
fn patience(app: &App, request: &Request) -> Duration {
    let below = request.uri().path().strip_prefix("/api/v1/monitors/");
    let changes = below.is_some_and(|below| {
        let method = request.method();
        *method == Method::PUT || *method == Method::DELETE || *method == Method::POST && !below.contains('/')
    });
    match changes {
        true => app.settings.timeout.max(CHANGE_TIMEOUT),
        false => app.settings.timeout,
    }
}

fn clothed(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    answer
}

/// Whether the request comes from where it must not, or is meant for somebody else.
fn strange(app: &App, method: &Method, headers: &HeaderMap) -> Option<Problem> {
    let text = |name: HeaderName| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or("\u{fffd}"))
    };
    // Without a name it comes from no browser.
    let host = text(header::HOST);
    if let Some(host) = host
        && !is_own(&app.settings.names, host)
    {
        return Some(Problem::new(
            axum::http::StatusCode::MISDIRECTED_REQUEST,
            "misdirected",
            "This host has another name",
            "the request is for a host of another name; `names` in [host.http] says by which names this one may be called, beside addresses and localhost",
        ));
    }
    if headers.get_all(header::HOST).iter().nth(1).is_some() {
        return Some(Problem::bad("more than one Host header"));
    }
    let foreign = || {
        Some(Problem::forbidden(
            "another site's page has made this request, and none may",
        ))
    };
    if let Some(origin) = text(header::ORIGIN) {
        let own = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        if own.is_none() || own != host {
            return foreign();
        }
    }
    match text(HeaderName::from_static("sec-fetch-site")) {
        None | Some("same-origin" | "none") => None,
        // Somebody followed a link to here, which shows him something and changes nothing.
        Some(_)
            if method == Method::GET
                && text(HeaderName::from_static("sec-fetch-mode")) == Some("navigate") =>
        {
            None
        }
        Some(_) => foreign(),
    }
}

/// Whether a `Host` header names this host.
fn is_own(names: &[String], host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.parse::<IpAddr>().is_ok() || names.contains(&name)
}

/// Before a route: whether the caller may use it, and who that is.
pub async fn admit(State((app, access)): State<(App, Access)>, mut request: Request, next: Next) -> Response {
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0);
    match caller(&app, access, peer, request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Who calls, if he may.
pub(super) fn caller(
    app: &App,
    access: Access,
    peer: Option<SocketAddr>,
    headers: &HeaderMap,
) -> Result<Caller, Problem> {
    let nobody = || Caller {
        name: "anonymous".into(),
        role: Role::Viewer,
        tenant: None,
    };
    let Some(needed) = access.role() else {
        return Ok(nobody());
    };
    let Some(shown) = headers.get(header::AUTHORIZATION) else {
        let here = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
        let free = match app.settings.anonymous {
            Anonymous::Health => false,
            Anonymous::Metrics => access == Access::Figures,
            Anonymous::Viewer => needed == Role::Viewer,
        };
        if here && free {
            return Ok(nobody());
        }
        return Err(if app.tokens.is_any() {
            Problem::unknown_caller("show a token: Authorization: Bearer …")
        } else {
            Problem::forbidden(
                "no token is configured: `pulse-host token new` makes one and says what to put into [[host.http.tokens]]; http.json in the data directory holds one that is good until the host ends",
            )
        });
    };
    let caller = bearer(shown)
        .and_then(|token| app.tokens.caller(token))
        .ok_or_else(|| Problem::unknown_caller("nobody has that token"))?;
    if caller.role < needed {
        return Err(Problem::forbidden(format!(
            "this takes the role {}, and the token `{}` has the role {}",
            needed.name(),
            caller.name,
            caller.role.name()
        )));
    }
    if let (Some(tenant), false) = (&caller.tenant, access.is_for_tenants()) {
        return Err(Problem::forbidden(format!(
            "this is about the whole host, and the token `{}` is the tenant {tenant}'s",
            caller.name
        )));
    }
    Ok(caller)
}

/// The token in an `Authorization` header.
pub(super) fn bearer(shown: &HeaderValue) -> Option<&str> {
    let (scheme, token) = shown.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl Caller {
    /// Whether he may see what is that tenant's.
    #[must_use]
    pub fn may_see(&self, tenant: &str) -> bool {
        self.tenant.as_deref().is_none_or(|own| own == tenant)
    }

    /// The tenant whose monitors are meant: the caller's own, or the one that is asked for, if he may see it.
    ///
    /// # Errors
    /// It is another one's.
    pub fn scope(&self, asked: Option<&str>) -> Result<Option<Arc<str>>, Problem> {
        match (&self.tenant, asked) {
            (None, asked) => Ok(asked.map(Arc::from)),
            (Some(own), None) => Ok(Some(Arc::clone(own))),
            (Some(own), Some(asked)) if **own == *asked => Ok(Some(Arc::clone(own))),
            // That there is one of that name is none of his business either.
            (Some(_), Some(_)) => Err(Problem::absent("there is no tenant of that name")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_called_by_its_address_or_by_its_names() {
        let names = ["pulse.example.org".to_owned()];
        for (host, own) in [
            ("127.0.0.1:9273", true),
            ("[::1]:9273", true),
            ("[::1]", true),
            ("localhost", true),
            ("LocalHost.:1", true),
            ("pulse.example.org:443", true),
            ("example.org", false),
            ("evil.pulse.example.org", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example:9273", false),
            ("", false),
            ("\u{fffd}", false),
        ] {
            assert_eq!(is_own(&names, host), own, "{host}");
        }
    }
}
