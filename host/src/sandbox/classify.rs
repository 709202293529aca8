//! From wasmtime's errors to outcomes: exactly one for each trouble.

use super::{abi::Misfit, store::CpuExceeded};
use crate::{
    capability::Taint,
    domain::{
        limits::Limits,
        outcome::{ActionFailure, Answer, DeliveryFailure, Outcome, PluginFault, Refused},
    },
};
use rustix::io::Errno;
use wasmtime::{OutOfMemory, PoolConcurrencyLimitError, Trap};

/// What an error of the call, or of making the instance, means. `refused` is what of memory was refused to the
/// guest: the limit, and what it wanted in all. What the execution was tainted by comes before all this.
#[must_use]
pub fn error(error: &wasmtime::Error, refused: Option<(u64, u64)>, limits: Limits) -> Outcome {
    if error.is::<CpuExceeded>() {
        return Outcome::OutOfCpu { limit: limits.cpu };
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Outcome::NoCapacity("all instance slots are in use".to_owned());
    }
    // The operating system gave no memory, or the job does not fit the plugin: no doing of the guest's. What lent
    // calls meet never arrives here as an error.
    if error.is::<Misfit>()
        || error.is::<Errno>()
        || error.is::<std::io::Error>()
        || error.is::<OutOfMemory>()
    {
        return Outcome::HostError(one_line(error));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return Outcome::OutOfFuel { limit: limits.fuel },
        Some(Trap::StackOverflow) => return Outcome::StackOverflow,
        Some(Trap::Interrupt) => return Outcome::OutOfCpu { limit: limits.cpu },
        _ => {}
    }
    // A guest whose allocator was refused traps in its own way; the refusal is the reason.
    if let Some((limit_bytes, wanted_bytes)) = refused {
        return Outcome::OutOfMemory {
            limit_bytes,
            wanted_bytes,
        };
    }
    Outcome::Trap(one_line(error))
}

/// What a guest made of memory that was refused to it: an interpreter catches that like any other exception, and says
/// that something failed, but not by whose limit.
#[must_use]
pub fn explained(mut outcome: Outcome, refused: Option<(u64, u64)>) -> Outcome {
    let Some((limit, wanted)) = refused else {
        return outcome;
    };
    let message = match &mut outcome {
        Outcome::PluginFault(PluginFault::Internal(message))
        | Outcome::Answer(
            Answer::Intervention(Err(
                ActionFailure::Retryable(message)
                | ActionFailure::Permanent(message)
                | ActionFailure::EffectUnknown(message),
            ))
            | Answer::Code(Err(
                DeliveryFailure::Retryable { message, .. } | DeliveryFailure::Permanent(message),
            )),
        ) => message,
        _ => return outcome,
    };
    message.push_str(&format!(" (it {})", Refused(limit, wanted)));
    outcome
}

/// What a taint means, whatever the guest made of it.
#[must_use]
pub fn tainted(taint: Taint) -> Outcome {
    match taint {
        Taint::Denied(denial) => Outcome::Denied(denial),
        Taint::Capacity(message) => Outcome::NoCapacity(message),
        Taint::Quota(message) | Taint::Host(message) => Outcome::HostError(message),
    }
}

/// An error and its causes on one line, without the backtrace that wasmtime puts in front.
#[must_use]
pub fn one_line(error: &wasmtime::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if cause.starts_with("error while executing at wasm backtrace") {
            continue;
        }
        let line = cause.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.is_empty() || text.contains(&line) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&line);
    }
    super::answer::line(&mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(error: impl Into<wasmtime::Error>, refused: bool) -> &'static str {
        // As wasmtime hands them on: under what the guest was doing.
        let error = error
            .into()
            .context("error while executing at wasm backtrace:\n  0: 0x10 - <unknown>!run");
        super::error(&error, refused.then_some((1, 2)), Limits::default()).class()
    }

    #[test]
    fn every_error_has_one_class_and_a_refusal_explains_only_what_nothing_else_does() {
        for refused in [false, true] {
            assert_eq!(class(CpuExceeded, refused), "out-of-cpu");
            assert_eq!(class(Trap::Interrupt, refused), "out-of-cpu");
            assert_eq!(class(Trap::OutOfFuel, refused), "out-of-fuel");
            assert_eq!(class(Trap::StackOverflow, refused), "stack-overflow");
            assert_eq!(class(Errno::NOMEM, refused), "host-error");
            assert_eq!(
                class(std::io::Error::from(std::io::ErrorKind::OutOfMemory), refused),
                "host-error"
            );
            assert_eq!(class(Misfit("no such export".into()), refused), "host-error");
        }
        for trap in [Trap::UnreachableCodeReached, Trap::MemoryOutOfBounds] {
            assert_eq!(class(trap, false), "trap");
            assert_eq!(class(trap, true), "out-of-memory");
        }
        assert_eq!(
            class(wasmtime::Error::msg("invalid utf-8 sequence"), false),
            "trap"
        );
    }

    #[test]
    fn what_was_refused_stands_behind_what_a_guest_says_of_its_failure() {
        let told = |outcome: Outcome| explained(outcome, Some((1 << 20, 3 << 20))).to_string();
        for failed in [
            Outcome::PluginFault(PluginFault::Internal("MemoryError".to_owned())),
            Outcome::Answer(Answer::Intervention(Err(ActionFailure::EffectUnknown(
                "MemoryError".to_owned(),
            )))),
            Outcome::Answer(Answer::Code(Err(DeliveryFailure::Retryable {
                message: "MemoryError".to_owned(),
                after: None,
            }))),
        ] {
            assert_eq!(explained(failed.clone(), None), failed, "nothing was refused");
            let told = told(failed);
            assert!(
                told.contains("MemoryError (it wanted 3145728 bytes of memory in all, 2097152 more than limits.memory = \"1MiB\""),
                "{told}"
            );
        }
        let settings = Outcome::PluginFault(PluginFault::InvalidSettings("no url".to_owned()));
        assert_eq!(told(settings.clone()), settings.to_string());
    }

    #[test]
    fn a_message_is_one_line_of_causes() {
        let error = wasmtime::Error::msg("the cause\nof it")
            .context("while this\u{1b}[31m")
            .context("the cause of it");
        assert_eq!(one_line(&error), "the cause of it: while this\\u{1b}[31m");
        let long = wasmtime::Error::msg("x".repeat(1 << 20));
        assert!(one_line(&long).len() <= 1_024);
    }
}
