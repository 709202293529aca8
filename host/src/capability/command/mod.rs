//! `command`: commands that the operator declared, as processes of their own.
//!
//! Architecture invariant: only what a grant names is run, with arguments that the declaration allows, and nothing of the
//! host's environment. No process outlives its call: at its end, its deadline, or when nobody waits for it any more, the
//! whole group is killed. What it writes is read to the end and kept up to a bound, so that it never waits for a reader.

pub(super) mod launch;
mod output;
#[cfg(test)]
mod tests;

use super::{
    Lease, Lender, Shared, Taint,
    call::{Call, Stage},
    egress,
    error::{ErrorCode, Failure as CallFailure},
    log::one_line,
    places::{Own, Place},
};
use crate::domain::{command::Command, outcome::Denial, spec::Kind};
use launch::{NotStarted, Running};
use output::Output;
use std::{sync::Arc, time::Duration};

/// Bytes of one output after which a command is taken to write for ever.
pub(super) const FLOOD_BYTES: u64 = 64 << 20;

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The name under which it was declared.
    pub name: String,
    /// Names of placeholders, and what stands in their place.
    pub arguments: Vec<(String, String)>,
    /// Milliseconds for everything; never more than the declaration allows and the job has left.
    pub timeout_ms: Option<u32>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with that code.
    Exited(i32),
    /// By that signal.
    Killed(i32),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// How it ended.
    pub ending: Ending,
    /// What it wrote to standard output, or the beginning.
    pub stdout: String,
    /// The same of standard error.
    pub stderr: String,
    /// Whether standard output was longer.
    pub stdout_truncated: bool,
    /// Whether standard error was longer.
    pub stderr_truncated: bool,
    /// Microseconds from its start to its end.
    pub duration_us: u64,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// No grant covers the command.
    Denied(String),
    /// A value is missing, has no place, or is none that the declaration allows.
    InvalidArgument(String),
    /// It could not be started; nothing happened.
    Unavailable(String),
    /// The time was up, and it was killed.
    TimedOut(String),
    /// It wrote without end, and was killed.
    Stopped(String),
}

impl Error {
    /// One line for people.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Denied(message)
            | Self::InvalidArgument(message)
            | Self::Unavailable(message)
            | Self::TimedOut(message)
            | Self::Stopped(message) => message,
        }
    }

    /// The same, to take out of it what nobody may read.
    pub(super) fn message_mut(&mut self) -> &mut String {
        match self {
            Self::Denied(message)
            | Self::InvalidArgument(message)
            | Self::Unavailable(message)
            | Self::TimedOut(message)
            | Self::Stopped(message) => message,
        }
    }
}

/// What went wrong, and whether the execution is tainted by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For the guest.
    pub error: Error,
    /// For the host.
    pub taint: Option<Taint>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, taint: None }
    }
}

impl Failure {
    /// Before anything was run.
    pub(super) fn before(failure: CallFailure) -> Self {
        let error = match failure.code {
            ErrorCode::Denied => Error::Denied(failure.message),
            ErrorCode::InvalidRequest => Error::InvalidArgument(failure.message),
            _ => Error::Unavailable(failure.message),
        };
        Self {
            error,
            taint: failure.taint,
        }
    }

    /// There was no room for it, which is nobody's fault but the host's or the tenant's own.
    fn no_room(lease: &Lease, message: &str) -> Self {
        let message = one_line(message);
        // Only of an execution that has done nothing else yet it is true that nothing was run.
        let taint = if lease.has_acted() {
            Taint::Host(message.clone())
        } else {
            Taint::Capacity(message.clone())
        };
        Self {
            error: Error::Unavailable(message),
            taint: Some(taint),
        }
    }

    fn not_started(lease: &Lease, command: &Command, not: NotStarted) -> Self {
        let message = one_line(&format!(
            "`{}` could not be started: {}",
            command.name,
            not.message()
        ));
        if let NotStarted::NoRoom(_) = not {
            return Self::no_room(lease, &message);
        }
        // A check that was not made says nothing about its target. A repair that was not begun has had no effect, which
        // is for its plugin to say.
        let taint = (lease.job.key.kind == Kind::Pulse).then(|| Taint::Host(message.clone()));
        Self {
            error: Error::Unavailable(message),
            taint,
        }
    }
}

/// Why the host refuses to run something before it looks at grants, if it does. What an argument may be is said by the
/// declaration, and so by the grant.
pub(super) fn refusal(request: &Request) -> Option<Failure> {
    (request.timeout_ms == Some(0)).then(|| Failure::before(CallFailure::invalid("timeout-ms is 0")))
}

/// Runs a command to its end.
pub(super) async fn run(lender: &Lender, lease: &Lease, request: Request) -> Result<Response, Failure> {
    let command = granted(lease, &request.name)?;
    let args = command
        .fill(&request.arguments)
        .map_err(|wrong| Error::InvalidArgument(one_line(&format!("`{}`: {wrong}", command.name))))?;
    let allowed = u32::try_from(command.timeout.as_millis()).unwrap_or(u32::MAX);
    let timeout_ms = request.timeout_ms.map_or(allowed, |wanted| wanted.min(allowed));
    let call = Call::begin(lease, &lender.shared.clock, Some(timeout_ms)).map_err(Failure::before)?;
    let place = place(&lender.shared, &call, command).await?;
    let phase = call.phase();
    lender.shared.admit(lease, phase).map_err(Failure::before)?;
    // The deadline's failure and the command's own take different ways out.
    let work = Box::pin(async { Ok(to_its_end(lender, &call, command, &args).await) });
    let ended = call.bound(work).await;
    drop(place);
    ended.unwrap_or_else(|failure| {
        let message = match failure.code {
            ErrorCode::Timeout => format!(
                "`{}` did not end within {}, and was killed with all that it had started",
                command.name,
                shown(call.span()),
            ),
            _ => failure.message,
        };
        Err(Failure {
            error: Error::TimedOut(one_line(&message)),
            taint: failure.taint,
        })
    })
}

/// To the tenth of a second where there are seconds.
fn shown(span: Duration) -> String {
    if span < Duration::from_secs(1) {
        format!("{} ms", span.as_millis())
    } else {
        format!("{:.1} s", span.as_secs_f64())
    }
}

fn granted<'a>(lease: &'a Lease, name: &str) -> Result<&'a Command, Failure> {
    let grants = &lease.profile().grants;
    let found = grants.commands.iter().find(|command| &*command.name == name);
    let left = grants.commands_within.as_ref();
    if let Some(command) = found
        && left.is_none_or(|left| left.iter().any(|one| &**one == name))
    {
        return Ok(command);
    }
    let grant = match left {
        Some(left) if found.is_some() => {
            egress::tenant_line(lease, "commands", left.iter().map(ToString::to_string), name)
        }
        _ => {
            let present = grants.commands.iter().map(|command| command.name.to_string());
            egress::line(lease, "commands", present, name)
        }
    };
    let denial = Denial {
        capability: "command",
        wanted: one_line(&format!("the command `{name}`")),
        grant,
    };
    Err(Failure {
        error: Error::Denied(format!(
            "no grant covers {}; to allow it: {}",
            denial.wanted, denial.grant
        )),
        taint: Some(Taint::Denied(denial)),
    })
}

/// Waits for the right to have one more process.
async fn place(shared: &Arc<Shared>, call: &Call<'_>, command: &Command) -> Result<Place, Failure> {
    call.enter(Stage::Permit);
    let lease = call.lease;
    let tenant = lease.tenant();
    let turn = match shared
        .processes
        .try_take(lease.throttle(shared).id, tenant.quotas.commands)
    {
        Ok(place) => return Ok(place),
        Err(turn) => turn,
    };
    let why = match turn.own {
        Some(Own::Quota(quota)) => format!("the tenant `{tenant}` has {quota} running, which is its quota"),
        Some(Own::Share(share, max)) => format!(
            "the tenant `{tenant}` has {share} running, which is three quarters of the host's {max}, the most while \
             there are others"
        ),
        None => format!(
            "{} are running already; [host] command-slots allows more",
            shared.processes.max()
        ),
    };
    tokio::time::timeout(call.left(), turn.wait()).await.map_err(|_| {
        Failure::no_room(
            lease,
            &format!("no room for the command `{}`: {why}", command.name),
        )
    })
}

async fn to_its_end(
    lender: &Lender,
    call: &Call<'_>,
    command: &Command,
    args: &[String],
) -> Result<Response, Failure> {
    call.enter(Stage::Processing);
    call.lease.acts();
    let not_started = |not| Failure::not_started(call.lease, command, not);
    let (mut running, [out, err]) = Running::start(&lender.shared.launcher, command, args)
        .await
        .map_err(not_started)?;
    let _waiting = call.wait_for_target();
    let began = call.now();
    let mut out = Output::new(out, command.output_max);
    let mut err = Output::new(err, command.output_max);
    let floods = async {
        match tokio::try_join!(out.drain(), err.drain()) {
            Ok(_) => std::future::pending().await,
            Err(flood) => flood,
        }
    };
    let ended = tokio::select! {
        ended = running.ended() => Ok(ended),
        output::Flood = floods => Err(()),
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            return Err(Failure {
                error: Error::TimedOut(one_line(&format!(
                    "`{}` got lost, and was killed: {error}",
                    command.name
                ))),
                taint: Some(Taint::Host(one_line(&error.to_string()))),
            });
        }
        Err(()) => {
            return Err(Error::Stopped(format!(
                "`{}` wrote more than {} MiB, and was killed with all that it had started",
                command.name,
                FLOOD_BYTES >> 20
            ))
            .into());
        }
    }
    let duration_us = call.micros_since(began);
    let ending = running.reap().await.map_err(|error| Failure {
        error: Error::TimedOut(one_line(&format!(
            "how `{}` ended is not known: {error}",
            command.name
        ))),
        taint: Some(Taint::Host(one_line(&error.to_string()))),
    })?;
    // All that it wrote lies in the pipes by now; who left its group and still holds them is not waited for.
    let (stdout, stdout_truncated) = out.finish();
    let (stderr, stderr_truncated) = err.finish();
    Ok(Response {
        ending,
        stdout,
        stderr,
        stdout_truncated,
        stderr_truncated,
        duration_us,
    })
}
