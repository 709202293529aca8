//! The clock of a scripted host.
//!
//! Invariant: it never passes by itself.

use super::{SCRIPTS, net_error};
use crate::net::{Error, ErrorCode, Phase};
use std::{cell::Cell, time::Duration};

/// Begins when [`attempt`](super::attempt) falls due.
#[derive(Default)]
pub(super) struct Clock {
    passed: Cell<Duration>,
    /// The end of the job that runs, on this clock.
    deadline: Cell<Option<Duration>>,
}

/// Lets time pass: in a script, how long the answer takes.
///
/// ```
/// use pulse_plugin_sdk::testing::{self, Host};
/// use std::time::Duration;
///
/// Host::new().run(|| {
///     testing::pass(Duration::from_secs(3));
///     assert_eq!(testing::elapsed(), Duration::from_secs(3));
/// });
/// ```
pub fn pass(span: Duration) {
    set(now().saturating_add(span));
}

/// The time that passed since the host began.
///
/// ```
/// use pulse_plugin_sdk::{testing::{self, Host}, time};
/// use std::time::Duration;
///
/// let (elapsed, _) = Host::new().run(|| {
///     time::sleep(Duration::from_millis(10));
///     testing::elapsed()
/// });
/// assert_eq!(elapsed, Duration::from_millis(10));
/// ```
#[must_use]
pub fn elapsed() -> Duration {
    now()
}

pub(crate) fn now() -> Duration {
    SCRIPTS.with_borrow(|scripts| scripts.clock.passed.get())
}

pub(crate) fn wall_ms() -> u64 {
    let passed = u64::try_from(now().as_millis()).unwrap_or(u64::MAX);
    super::attempt().scheduled_at.saturating_add(passed)
}

fn set(time: Duration) {
    SCRIPTS.with_borrow(|scripts| scripts.clock.passed.set(time));
}

/// A job begins that has so long.
pub(super) fn begin(deadline_ms: u32) {
    let end = now().saturating_add(Duration::from_millis(deadline_ms.into()));
    SCRIPTS.with_borrow(|scripts| scripts.clock.deadline.set(Some(end)));
}

/// A lent call that takes longer than it may, or than the job has left, is cut then.
pub(super) fn within<T>(
    timeout_ms: Option<u32>,
    call: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    if timeout_ms == Some(0) {
        return Err(net_error(
            ErrorCode::InvalidRequest,
            Phase::Prepare,
            "timeout-ms is 0; it is at least 1",
        ));
    }
    let began = now();
    let ends = [
        timeout_ms.map(|ms| began.saturating_add(Duration::from_millis(ms.into()))),
        SCRIPTS.with_borrow(|scripts| scripts.clock.deadline.get()),
    ];
    let end = ends.into_iter().flatten().min();
    let answer = call();
    match end {
        Some(end) if now() > end => {
            set(end.max(began));
            let spent = end.saturating_sub(began).as_millis();
            Err(net_error(
                ErrorCode::Timeout,
                Phase::Processing,
                &format!("no answer within {spent} ms"),
            ))
        }
        _ => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        http::Request,
        testing::{Host, response},
    };

    fn slow() -> Host {
        Host::new().http(|_| {
            pass(Duration::from_secs(3));
            Ok(response(200, ""))
        })
    }

    #[test]
    fn a_call_is_cut_by_its_own_timeout() {
        slow().run(|| {
            let request = Request::get("http://a");
            assert!(request.send().is_ok());
            let cut = request.timeout(Duration::from_secs(1)).send().unwrap_err();
            assert_eq!((cut.code, cut.phase), (ErrorCode::Timeout, Phase::Processing));
            assert_eq!(
                elapsed(),
                Duration::from_secs(4),
                "the clock stands where the call was cut"
            );
        });
    }

    #[test]
    fn a_call_is_cut_by_the_end_of_the_job() {
        slow().run(|| {
            begin(5_000);
            let request = Request::get("http://a");
            assert!(request.send().is_ok());
            assert_eq!(request.send().unwrap_err().message, "no answer within 2000 ms");
            assert_eq!(request.send().unwrap_err().message, "no answer within 0 ms");
            assert_eq!(elapsed(), Duration::from_secs(5));
        });
    }

    #[test]
    fn each_host_has_a_clock_of_its_own() {
        Host::new().run(|| {
            pass(Duration::from_secs(1));
            Host::new().run(|| assert_eq!(elapsed(), Duration::ZERO));
            assert_eq!(elapsed(), Duration::from_secs(1));
        });
    }
}
