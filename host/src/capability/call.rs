//! The time of one lent call: its deadline, which stage it is in, and what a deadline that passes means.
//!
//! Architecture invariant: a deadline that passes while the call waits for the target is the target's failure;
//! one that passes while the host looks a name up, waits for a permit of its own, or was late in polling is the host's.

use super::{
    Lease, Taint, WaitGuard,
    error::{ErrorCode, Failure, Phase},
    places::Own,
};
use crate::{clock::Clock, domain::time::Mono};
use std::{
    future::Future,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

/// A timer that fires that much after its time says that the host is overloaded, and nothing about the target.
pub const LATE: Duration = Duration::from_millis(250);

/// The guest gets that much of what its job has left to make a report out of a timeout, so that the operator
/// reads the plugin's words in place of a bare cut.
const REPORT_SHARE: u32 = 20;
/// Never more than that.
const REPORT_MAX: Duration = Duration::from_millis(50);

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Prepare,
    Permit,
    Quota,
    Resolve,
    Connect,
    Tls,
    Processing,
    Transfer,
}

impl Stage {
    const ALL: [Self; 8] = [
        Self::Prepare,
        Self::Permit,
        Self::Quota,
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Processing,
        Self::Transfer,
    ];

    fn phase(self) -> Phase {
        match self {
            Self::Prepare => Phase::Prepare,
            Self::Permit | Self::Quota | Self::Connect => Phase::Connect,
            Self::Resolve => Phase::Resolve,
            Self::Tls => Phase::Tls,
            Self::Processing => Phase::Processing,
            Self::Transfer => Phase::Transfer,
        }
    }
}

/// One call.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) lease: &'a Lease,
    clock: &'a Clock,
    span: Duration,
    ends: Mono,
    stage: AtomicU8,
    /// What the tenant itself has used up, once the call waits for that.
    own: OnceLock<Own>,
    /// Set in place of the lease's own flag, where the guest does not wait for this call alone.
    on_target: Option<&'a AtomicBool>,
}

impl<'a> Call<'a> {
    /// The same for a call that goes on whether the guest waits for it or not: `on_target` says that nothing but the
    /// target is waited for, and whoever knows that the guest waits looks there.
    pub(super) fn aside(
        lease: &'a Lease,
        clock: &'a Clock,
        on_target: &'a AtomicBool,
    ) -> Result<Self, Failure> {
        let call = Self::begin(lease, clock, None).inspect_err(|failure| {
            lease.taint(failure.taint.clone());
        })?;
        Ok(Self {
            on_target: Some(on_target),
            ..call
        })
    }

    /// From now on the call waits for its target, until the guard is dropped.
    pub(super) fn wait_for_target(&self) -> Option<WaitGuard<'a>> {
        match self.on_target {
            None => Some(self.lease.waiting.begin()),
            Some(on_target) => {
                on_target.store(true, Ordering::Relaxed);
                None
            }
        }
    }

    /// Begins now and ends after `timeout_ms`, or a little before the job does.
    pub(super) fn begin(
        lease: &'a Lease,
        clock: &'a Clock,
        timeout_ms: Option<u32>,
    ) -> Result<Self, Failure> {
        let now = clock.mono();
        let left = lease.ends.since(now);
        if left.is_zero() {
            // The guest used its time up before it asked; the target had no part in that.
            return Err(Failure::new(
                ErrorCode::Timeout,
                Phase::Prepare,
                "the job's time was up before the call",
            )
            .tainted());
        }
        let usable = left.saturating_sub((left / REPORT_SHARE).min(REPORT_MAX));
        let span = match timeout_ms {
            Some(0) => return Err(Failure::invalid("timeout-ms is 0")),
            Some(wanted) => usable.min(Duration::from_millis(wanted.into())),
            None => usable,
        };
        Ok(Self {
            lease,
            clock,
            span,
            ends: now.after(span),
            stage: AtomicU8::new(Stage::Prepare as u8),
            own: OnceLock::new(),
            on_target: None,
        })
    }

    /// Says where the call is from now on.
    pub(super) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// From now on the call waits for a socket that its own tenant holds.
    pub(super) fn wait_for_own(&self, own: Own) {
        let _ = self.own.set(own);
        self.enter(Stage::Quota);
    }

    /// Where the call is.
    pub(super) fn phase(&self) -> Phase {
        self.stage().phase()
    }

    fn stage(&self) -> Stage {
        let index = usize::from(self.stage.load(Ordering::Relaxed));
        Stage::ALL.get(index).copied().unwrap_or(Stage::Prepare)
    }

    /// Now.
    pub(super) fn now(&self) -> Mono {
        self.clock.mono()
    }

    /// Microseconds since then; at least 1, since 0 means that the phase did not take place.
    pub(super) fn micros_since(&self, start: Mono) -> u64 {
        let micros = self.now().since(start).as_micros();
        u64::try_from(micros).unwrap_or(u64::MAX).max(1)
    }

    /// How long it may take in all.
    pub(super) fn span(&self) -> Duration {
        self.span
    }

    /// What is left.
    pub(super) fn left(&self) -> Duration {
        self.ends.since(self.now())
    }

    /// Runs the whole call under its deadline.
    pub(super) async fn bound<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.left(), work).await {
            Ok(result) => result,
            Err(_) => Err(self.timed_out(self.ends, self.span)),
        }
    }

    /// What it means that nobody waits for the call any more, before it came to an end.
    pub(super) fn given_up(&self) -> Option<Taint> {
        match self.stage() {
            Stage::Permit | Stage::Quota | Stage::Resolve => self.timed_out(Mono::NEVER, self.span).taint,
            _ => None,
        }
    }

    /// What it means that a timer of length `span`, due at `due`, has fired.
    pub(super) fn timed_out(&self, due: Mono, span: Duration) -> Failure {
        let stage = self.stage();
        let phase = stage.phase();
        let late = self.now().since(due);
        if late > LATE {
            return Failure::host(
                phase,
                format!("the host was {late:?} late in looking for the answer; it is overloaded"),
            );
        }
        let talking = matches!(stage, Stage::Tls | Stage::Processing | Stage::Transfer);
        if talking && self.lease.waiting.held_back(self.now()) {
            let tenant = self.lease.tenant();
            return Failure::quota(
                phase,
                format!("the tenant `{tenant}` has sent and received its bytes of this second"),
            );
        }
        let timeout = |what: &str| Failure::new(ErrorCode::Timeout, phase, format!("{what} within {span:?}"));
        match stage {
            Stage::Permit => Failure::host(phase, "no free socket: the host's limit is reached"),
            Stage::Quota => {
                let tenant = self.lease.tenant();
                let open = match self.own.get() {
                    Some(Own::Share(share, max)) => format!(
                        "{share} sockets open, which is three quarters of the host's {max}, the most while there \
                         are others"
                    ),
                    Some(Own::Quota(quota)) => format!("{quota} sockets open, which is its quota"),
                    None => "all its sockets open".to_owned(),
                };
                Failure::quota(phase, format!("the tenant `{tenant}` has {open}"))
            }
            Stage::Resolve => Failure::new(
                ErrorCode::ResolveFailed,
                phase,
                format!("the resolver did not answer within {span:?}"),
            )
            .tainted(),
            Stage::Prepare => Failure::host(phase, "the request could not be prepared in time"),
            Stage::Connect => timeout("no connection"),
            Stage::Tls => timeout("no TLS handshake"),
            Stage::Processing => timeout("no answer"),
            Stage::Transfer => timeout("the answer was not complete"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Taint, testing},
        *,
    };
    use crate::domain::time::Wall;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_call_leaves_the_guest_time_to_report() {
        let (clock, _hand) = Clock::manual(Mono(0), Wall(0));
        let lease = testing::lease().ends(Mono(0).after(SECOND)).done();
        let left = |timeout| Call::begin(&lease, &clock, timeout).unwrap().left();
        assert_eq!(left(None), Duration::from_millis(950));
        assert_eq!(left(Some(5000)), Duration::from_millis(950));
        assert_eq!(left(Some(20)), Duration::from_millis(20));
        let failure = Call::begin(&lease, &clock, Some(0)).unwrap_err();
        assert_eq!(failure.code, ErrorCode::InvalidRequest);
    }

    #[test]
    fn a_job_that_wasted_its_time_does_not_blame_the_target() {
        let (clock, hand) = Clock::manual(Mono(0), Wall(0));
        let lease = testing::lease().ends(Mono(0).after(SECOND)).done();
        hand.advance(SECOND);
        let failure = Call::begin(&lease, &clock, None).unwrap_err();
        assert_eq!(failure.code, ErrorCode::Timeout);
        assert!(matches!(failure.taint, Some(Taint::Host(_))));
    }

    #[tokio::test]
    async fn a_deadline_means_what_the_call_was_doing() {
        for (stage, code, phase, tainted) in [
            (Stage::Permit, ErrorCode::Host, Phase::Connect, true),
            (Stage::Resolve, ErrorCode::ResolveFailed, Phase::Resolve, true),
            (Stage::Connect, ErrorCode::Timeout, Phase::Connect, false),
            (Stage::Tls, ErrorCode::Timeout, Phase::Tls, false),
            (Stage::Processing, ErrorCode::Timeout, Phase::Processing, false),
            (Stage::Transfer, ErrorCode::Timeout, Phase::Transfer, false),
        ] {
            let (clock, hand) = Clock::manual(Mono(0), Wall(0));
            let lease = testing::lease().ends(Mono(0).after(SECOND)).done();
            let call = Call::begin(&lease, &clock, Some(1)).unwrap();
            let failure = call
                .bound(async {
                    call.enter(stage);
                    hand.advance(Duration::from_millis(1));
                    std::future::pending::<Result<(), _>>().await
                })
                .await
                .unwrap_err();
            assert_eq!((failure.code, failure.phase), (code, phase), "{stage:?}");
            assert_eq!(failure.taint.is_some(), tainted, "{stage:?}");
        }
    }

    #[tokio::test]
    async fn a_host_that_polls_late_blames_itself() {
        let (clock, hand) = Clock::manual(Mono(0), Wall(0));
        let lease = testing::lease().ends(Mono(0).after(SECOND)).done();
        let call = Call::begin(&lease, &clock, Some(1)).unwrap();
        let failure = call
            .bound(async {
                call.enter(Stage::Processing);
                hand.advance(LATE + Duration::from_millis(2));
                std::future::pending::<Result<(), _>>().await
            })
            .await
            .unwrap_err();
        assert_eq!(failure.code, ErrorCode::Host);
        assert!(matches!(failure.taint, Some(Taint::Host(_))));
    }
}
