//! `docker`: containers of a Docker Engine, over the unix socket that the operator granted.
//!
//! Architecture invariant: the plugin never sees the socket, only containers that the grant names, and only the four
//! things below. A failure after a request that changes something was sent is never called "nothing happened", nor
//! the host's trouble, unless the engine itself said so: otherwise the repair could be repeated blindly.
//!
//! Protocol: Docker Engine API, `GET /_ping` (its `Api-Version` is spoken), `GET /containers/{name}/json`,
//! `POST /containers/{name}/{restart,start,stop}`.

mod engine;
mod name;
#[cfg(test)]
mod tests;

use super::{Lease, Lender, Taint, call::Call, egress::quoted, error::Failure as CallFailure, log::one_line};
use crate::domain::{grant::DockerGrant, outcome::Denial};
use engine::{Answer, Engine};
use serde::Deserialize;

/// Longest time that a container may be given to stop.
const STOP_TIMEOUT_S_MAX: u32 = 3600;

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    pub state: String,
    /// Exit code of the last run.
    pub exit_code: i32,
    /// `starting`, `healthy`, `unhealthy`; none without a health check.
    pub health: Option<String>,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// No grant covers the container.
    Denied(String),
    /// There is no such container, or the name is malformed.
    NotFound(String),
    /// The engine refused for good.
    Rejected(String),
    /// The engine could not be reached or answered 5xx; nothing happened.
    Unavailable(String),
    /// The request was sent, but no answer came: it may or may not have happened.
    EffectUnknown(String),
}

/// What went wrong, and whether the execution is tainted by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For the guest.
    pub error: Error,
    /// For the host.
    pub taint: Option<Taint>,
}

/// What changes a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Restart { stop_timeout_s: u32 },
    Start,
    Stop { stop_timeout_s: u32 },
}

impl Action {
    fn path(self) -> String {
        let seconds = |stop_timeout_s: u32| stop_timeout_s.min(STOP_TIMEOUT_S_MAX);
        match self {
            Self::Restart { stop_timeout_s } => format!("restart?t={}", seconds(stop_timeout_s)),
            Self::Start => "start".into(),
            Self::Stop { stop_timeout_s } => format!("stop?t={}", seconds(stop_timeout_s)),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, taint: None }
    }
}

impl Failure {
    /// Nothing was sent that changes anything.
    fn before(failure: CallFailure) -> Self {
        Self {
            error: Error::Unavailable(failure.message),
            taint: failure.taint,
        }
    }

    fn denied(lease: &Lease, wanted: &str, grant: String) -> Self {
        let denial = Denial {
            capability: "docker",
            wanted: one_line(wanted),
            grant: one_line(&format!(
                "[plugins.{}] grants.docker = {grant}",
                lease.profile().plugin
            )),
        };
        Self {
            error: Error::Denied(format!(
                "no grant covers {}; to allow it: {}",
                denial.wanted, denial.grant
            )),
            taint: Some(Taint::Denied(denial)),
        }
    }
}

/// Does something to a container.
pub(super) async fn act(lender: &Lender, lease: &Lease, name: &str, action: Action) -> Result<(), Failure> {
    let grant = granted(lease, name)?;
    let call = begin(lender, lease)?;
    let mut engine = bounded_before(&call, Engine::connect(lender, &call, &grant.socket)).await?;
    if name::may_be_an_id(name) {
        // The engine would take it for the beginning of some other container's id.
        bounded_before(&call, inspected(&mut engine, name)).await?;
    }
    let path = format!("/containers/{name}/{}", action.path());
    let answer = match engine.post(&call, &path).await {
        Ok(answer) => answer,
        Err(engine::Lost::Unsent(failure)) => return Err(Failure::before(failure)),
        Err(engine::Lost::Sent(failure)) => return Err(Error::EffectUnknown(failure.message).into()),
    };
    match answer.status {
        // 304: it is so already.
        200..=299 | 304 => Ok(()),
        _ => Err(refusal(name, &answer)),
    }
}

/// Says what a container is doing.
pub(super) async fn inspect(lender: &Lender, lease: &Lease, name: &str) -> Result<Container, Failure> {
    let grant = granted(lease, name)?;
    let call = begin(lender, lease)?;
    let mut engine = bounded_before(&call, Engine::connect(lender, &call, &grant.socket)).await?;
    bounded_before(&call, inspected(&mut engine, name)).await
}

fn begin<'a>(lender: &'a Lender, lease: &'a Lease) -> Result<Call<'a>, Failure> {
    Call::begin(lease, &lender.shared.clock, None).map_err(Failure::before)
}

async fn bounded_before<T>(
    call: &Call<'_>,
    work: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Failure> {
    // The deadline's failure and the work's own take different ways out.
    let both = async { Ok(work.await) };
    match call.bound(both).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(Trouble::Call(failure))) | Err(failure) => Err(Failure::before(failure)),
        Ok(Err(Trouble::Engine(failure))) => Err(failure),
    }
}

/// Trouble before anything was changed.
enum Trouble {
    Call(CallFailure),
    Engine(Failure),
}

impl From<CallFailure> for Trouble {
    fn from(failure: CallFailure) -> Self {
        Self::Call(failure)
    }
}

/// Why the host refuses a name before it looks at grants, if it does.
pub(super) fn refusal_of(name: &str) -> Option<Failure> {
    (!name::is_well_formed(name))
        .then(|| Error::NotFound(one_line(&format!("`{name}` is no container name"))).into())
}

fn granted<'a>(lease: &'a Lease, name: &str) -> Result<&'a DockerGrant, Failure> {
    if let Some(refusal) = refusal_of(name) {
        return Err(refusal);
    }
    let Some(grant) = &lease.profile().grants.docker else {
        return Err(Failure::denied(
            lease,
            name,
            format!(
                "{{ containers = [{}], socket = \"/var/run/docker.sock\" }}",
                quoted(name)
            ),
        ));
    };
    if grant
        .containers
        .iter()
        .any(|pattern| name::matches(pattern, name))
    {
        return Ok(grant);
    }
    let containers: Vec<_> = grant
        .containers
        .iter()
        .map(String::as_str)
        .chain([name])
        .map(quoted)
        .collect();
    let socket = quoted(&grant.socket.to_string_lossy());
    Err(Failure::denied(
        lease,
        name,
        format!(
            "{{ containers = [{}], socket = {socket} }}",
            containers.join(", ")
        ),
    ))
}

/// What the engine's refusal means. It says so itself, so nothing happened.
fn refusal(name: &str, answer: &Answer) -> Failure {
    let said = match answer.message() {
        Some(message) => format!("the engine answered {}: {message}", answer.status),
        None => format!("the engine answered {}", answer.status),
    };
    match answer.status {
        404 => Error::NotFound(match answer.message() {
            Some(message) => message,
            None => format!("no such container: {name}"),
        }),
        429 | 500..=599 => Error::Unavailable(said),
        _ => Error::Rejected(said),
    }
    .into()
}

async fn inspected(engine: &mut Engine<'_>, name: &str) -> Result<Container, Trouble> {
    let answer = engine.get(&format!("/containers/{name}/json")).await?;
    if answer.status != 200 {
        return Err(Trouble::Engine(refusal(name, &answer)));
    }
    let raw: Raw = serde_json::from_slice(&answer.body).map_err(|error| {
        Trouble::Engine(Error::Unavailable(format!("the engine's answer can't be read: {error}")).into())
    })?;
    let own = raw.name.strip_prefix('/').unwrap_or(&raw.name);
    if own != name {
        return Err(Trouble::Engine(
            Error::NotFound(format!("no such container: {name}")).into(),
        ));
    }
    Ok(Container {
        id: raw.id,
        name: own.to_owned(),
        image: raw.config.image,
        state: raw.state.status,
        exit_code: raw.state.exit_code,
        health: raw
            .state
            .health
            .map(|health| health.status)
            .filter(|status| status != "none"),
    })
}

/// The part of the engine's answer that is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Raw {
    id: String,
    name: String,
    config: RawConfig,
    state: RawState,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawConfig {
    #[serde(default)]
    image: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawState {
    status: String,
    #[serde(default)]
    exit_code: i32,
    health: Option<RawHealth>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawHealth {
    status: String,
}
