//! What stands behind the lent interfaces: one [`Shared`] for each process, one [`Lender`] for each worker.
//!
//! Architecture invariant: a permit exists before the descriptor that it stands for, and lives exactly as long.

use super::{
    Lease,
    call::{Call, Stage},
    command::{self, launch::Launcher},
    course::{Ask, Course, Reply},
    dns, docker,
    error::{Failure, Phase},
    files, handshake, http, icmp,
    places::{Place, Places},
    resolve::Resolver,
    tcp,
    throttle::{Pace, Throttles},
    tls,
};
use crate::{
    clock::Clock,
    domain::{host::Scarcities, tenant::Tenant},
};
use std::{pin::Pin, sync::Arc};

/// Descriptors that are not for lent calls: wasm, files, the API, the resolver's own sockets.
const DESCRIPTORS_RESERVED: u64 = 256;
/// Sockets of lent calls at least, and at most.
const SOCKETS_MIN: u64 = 16;
const SOCKETS_MAX: u64 = 1 << 16;

/// What all workers share.
pub struct Shared {
    pub(super) clock: Clock,
    pub(super) tls: tls::Configs,
    pub(super) files: files::Files,
    pub(super) throttles: Throttles,
    /// For declared commands that run.
    pub(super) processes: Arc<Places>,
    pub(super) launcher: Launcher,
    /// Echo requests of all tenants in a second.
    pub(super) echo_rate: u64,
    sockets: Arc<Places>,
    /// In place of the network.
    #[cfg(test)]
    pub(super) recorder: Option<super::testing::Recorder>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("sockets_max", &self.sockets_max())
            .field("sockets_free", &self.sockets_free())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Sizes the permits by the process's limit of open descriptors. Fewer commands than `scarce` says run at the same
    /// time where their pipes would take the descriptors of everything else.
    ///
    /// # Errors
    /// None at present; what a later interface needs may be missing.
    pub fn new(clock: Clock, launcher: Launcher, scarce: Scarcities) -> anyhow::Result<Arc<Self>> {
        let mut shared = Self::with_sockets(clock, sockets_max());
        let slots = scarce.command_slots.min(processes_for(descriptors()));
        shared.echo_rate = scarce.echo_rate;
        shared.processes = Places::new(slots, Arc::clone(&shared.throttles.count));
        shared.launcher = launcher;
        Ok(Arc::new(shared))
    }

    pub(super) fn with_sockets(clock: Clock, sockets_max: usize) -> Self {
        let throttles = Throttles::default();
        Self {
            tls: tls::Configs::new(clock.clone()),
            files: files::Files::default(),
            sockets: Places::new(sockets_max, Arc::clone(&throttles.count)),
            processes: Places::new(4, Arc::clone(&throttles.count)),
            launcher: Launcher::None,
            echo_rate: Scarcities::default().echo_rate,
            throttles,
            clock,
            #[cfg(test)]
            recorder: None,
        }
    }

    /// Sockets that lent calls may hold open at the same time, over all workers.
    #[must_use]
    pub fn sockets_max(&self) -> usize {
        self.sockets.max()
    }

    /// Of those, how many are free.
    #[must_use]
    pub fn sockets_free(&self) -> usize {
        self.sockets.free()
    }

    /// Takes one of the tenant's requests of this second: what every request, dialogue, look-up and datagram does
    /// before anything leaves the host for it.
    pub(super) fn admit(&self, lease: &Lease, phase: Phase) -> Result<(), Failure> {
        self.take_request(lease, phase)?;
        lease.tenant().account.add_request();
        Ok(())
    }

    /// The same, without entering it in the account: it may come to nothing.
    pub(super) fn take_request(&self, lease: &Lease, phase: Phase) -> Result<(), Failure> {
        lease.acts();
        let tenant = lease.tenant();
        let per_second = tenant.quotas.requests_per_second;
        if !lease.throttle(self).request(self.clock.mono(), per_second) {
            let quota = per_second.unwrap_or_default();
            return Err(Failure::quota(
                phase,
                format!("the tenant `{tenant}` has made its {quota} requests of this second"),
            ));
        }
        Ok(())
    }

    /// Gives one back that nothing left the host for.
    pub(super) fn give_request_back(&self, lease: &Lease) {
        lease
            .throttle(self)
            .give_back(lease.tenant().quotas.requests_per_second);
    }

    /// Waits for the right to open a socket.
    pub(super) async fn socket(&self, call: &Call<'_>) -> Permit {
        call.enter(Stage::Permit);
        let tenant = call.lease.tenant();
        let throttle = call.lease.throttle(self);
        let place = match self.sockets.try_take(throttle.id, tenant.quotas.connections) {
            Ok(place) => place,
            Err(turn) => {
                if let Some(own) = turn.own {
                    call.wait_for_own(own);
                }
                turn.wait().await
            }
        };
        tenant.account.connection_opens();
        Permit {
            _place: place,
            tenant: Arc::clone(tenant),
        }
    }

    /// What holds a connection of that tenant back, if it has a quota of bytes.
    pub(super) fn pace(&self, lease: &Lease) -> Option<Pace> {
        let per_second = lease.tenant().quotas.bytes_per_second?;
        Some(Pace::new(
            lease.throttle(self),
            per_second,
            &self.clock,
            &lease.waiting,
        ))
    }
}

/// The right to have one socket open.
pub(super) struct Permit {
    _place: Place,
    pub(super) tenant: Arc<Tenant>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.tenant.account.connection_closed();
    }
}

/// Sockets that lent calls of this process may hold open at the same time.
#[must_use]
pub fn sockets_max() -> usize {
    sockets_for(descriptors())
}

/// How many descriptors this process may have open; none is no limit.
fn descriptors() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// Commands that may run at the same time: a sixteenth of the descriptors, of which each takes four for a moment.
fn processes_for(limit: Option<u64>) -> usize {
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit / 16).unwrap_or(usize::MAX).max(1)
    })
}

/// Three quarters of what is left after the reserve; `None` is no limit.
fn sockets_for(limit: Option<u64>) -> usize {
    let sockets = limit.map_or(SOCKETS_MAX, |limit| {
        limit.saturating_sub(DESCRIPTORS_RESERVED) / 4 * 3
    });
    usize::try_from(sockets.clamp(SOCKETS_MIN, SOCKETS_MAX)).unwrap_or(usize::MAX)
}

/// A script has answered one call with the answer of another, which those who make scripts rule out.
const NO_ANSWER: &str = "the script has no answer to this kind of call";

type Carried<'a> = Pin<Box<dyn Future<Output = Reply> + Send + 'a>>;

/// Carries out what the plugins of one worker ask for.
pub struct Lender {
    pub(super) shared: Arc<Shared>,
    pub(super) resolver: Resolver,
}

impl std::fmt::Debug for Lender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lender")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

impl Lender {
    /// Called inside the worker's runtime, which the resolver's connections then belong to.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            resolver: Resolver::new(shared.clock.clone(), Arc::clone(&shared.throttles.count)),
            shared,
        }
    }

    /// Sends an HTTP request on a new connection and reads the answer.
    ///
    /// # Errors
    /// See [`ErrorCode`](super::ErrorCode).
    pub async fn http(&self, lease: &Lease, request: http::Request) -> Result<http::Response, Failure> {
        match &lease.course {
            None => http::send(self, lease, request).await,
            Some(course) => match self.along(course, lease, Ask::Http(request)).await {
                Reply::Http(answer) => answer,
                _ => Err(Failure::host(Phase::Prepare, NO_ANSWER)),
            },
        }
    }

    /// Connects, goes through the steps and closes.
    ///
    /// # Errors
    /// See [`ErrorCode`](super::ErrorCode).
    pub async fn tcp(&self, lease: &Lease, request: tcp::Request) -> Result<tcp::Response, Failure> {
        match &lease.course {
            None => tcp::dialogue(self, lease, request).await,
            Some(course) => match self.along(course, lease, Ask::Tcp(request)).await {
                Reply::Tcp(answer) => answer,
                _ => Err(Failure::host(Phase::Prepare, NO_ANSWER)),
            },
        }
    }

    /// Connects, shakes hands over TLS, closes, and says what the handshake showed.
    ///
    /// # Errors
    /// See [`ErrorCode`](super::ErrorCode). A chain that is not good is none.
    pub async fn tls(
        &self,
        lease: &Lease,
        request: handshake::Request,
    ) -> Result<handshake::Response, Failure> {
        match &lease.course {
            None => handshake::shake(self, lease, request).await,
            Some(course) => match self.along(course, lease, Ask::Tls(request)).await {
                Reply::Tls(answer) => answer,
                _ => Err(Failure::host(Phase::Prepare, NO_ANSWER)),
            },
        }
    }

    /// Asks a name server once.
    ///
    /// # Errors
    /// See [`ErrorCode`](super::ErrorCode). That there is no such name is none.
    pub async fn dns(&self, lease: &Lease, request: dns::Request) -> Result<dns::Response, Failure> {
        match &lease.course {
            None => dns::query(self, lease, request).await,
            Some(course) => match self.along(course, lease, Ask::Dns(request)).await {
                Reply::Dns(answer) => answer,
                _ => Err(Failure::host(Phase::Prepare, NO_ANSWER)),
            },
        }
    }

    /// Sends echo requests and waits for their answers.
    ///
    /// # Errors
    /// See [`ErrorCode`](super::ErrorCode). That nobody answers is none.
    pub async fn icmp(&self, lease: &Lease, request: icmp::Request) -> Result<icmp::Response, Failure> {
        match &lease.course {
            None => icmp::ping(self, lease, request).await,
            Some(course) => match self.along(course, lease, Ask::Ping(request)).await {
                Reply::Icmp(answer) => answer,
                _ => Err(Failure::host(Phase::Prepare, NO_ANSWER)),
            },
        }
    }

    /// Runs a declared command to its end.
    ///
    /// # Errors
    /// See [`command::Error`].
    pub async fn command(
        &self,
        lease: &Lease,
        request: command::Request,
    ) -> Result<command::Response, command::Failure> {
        match &lease.course {
            None => command::run(self, lease, request).await,
            Some(course) => match self.along(course, lease, Ask::Run(request)).await {
                Reply::Command(answer) => answer,
                _ => Err(command::Error::Unavailable(NO_ANSWER.to_owned()).into()),
            },
        }
    }

    /// Restarts a container; it gets `stop_timeout_s` seconds to stop before it is killed.
    ///
    /// # Errors
    /// See [`docker::Error`].
    pub async fn docker_restart(
        &self,
        lease: &Lease,
        name: &str,
        stop_timeout_s: u32,
    ) -> Result<(), docker::Failure> {
        if let Some(course) = &lease.course {
            let name = name.to_owned();
            return self
                .docker_along(course, lease, Ask::Restart { name, stop_timeout_s })
                .await;
        }
        docker::act(self, lease, name, docker::Action::Restart { stop_timeout_s }).await
    }

    /// Starts a container. One that runs already is no error.
    ///
    /// # Errors
    /// See [`docker::Error`].
    pub async fn docker_start(&self, lease: &Lease, name: &str) -> Result<(), docker::Failure> {
        if let Some(course) = &lease.course {
            let name = name.to_owned();
            return self.docker_along(course, lease, Ask::Start { name }).await;
        }
        docker::act(self, lease, name, docker::Action::Start).await
    }

    /// Stops a container. One that is stopped already is no error.
    ///
    /// # Errors
    /// See [`docker::Error`].
    pub async fn docker_stop(
        &self,
        lease: &Lease,
        name: &str,
        stop_timeout_s: u32,
    ) -> Result<(), docker::Failure> {
        if let Some(course) = &lease.course {
            let name = name.to_owned();
            return self
                .docker_along(course, lease, Ask::Stop { name, stop_timeout_s })
                .await;
        }
        docker::act(self, lease, name, docker::Action::Stop { stop_timeout_s }).await
    }

    /// Says what a container is doing.
    ///
    /// # Errors
    /// See [`docker::Error`].
    pub async fn docker_inspect(
        &self,
        lease: &Lease,
        name: &str,
    ) -> Result<docker::Container, docker::Failure> {
        if let Some(course) = &lease.course {
            let name = name.to_owned();
            return match self.along(course, lease, Ask::Inspect { name }).await {
                Reply::Container(answer) => answer,
                _ => Err(docker::Error::Unavailable(NO_ANSWER.to_owned()).into()),
            };
        }
        docker::inspect(self, lease, name).await
    }

    /// Appends one line to a file in a granted directory, and creates the file if there is none.
    ///
    /// # Errors
    /// See [`files::Error`].
    pub async fn append_line(&self, lease: &Lease, path: &str, line: &str) -> Result<(), files::Failure> {
        if let Some(course) = &lease.course {
            let (path, line) = (path.to_owned(), line.to_owned());
            return match self.along(course, lease, Ask::Append { path, line }).await {
                Reply::Files(answer) => answer,
                _ => Err(files::Error::Io(NO_ANSWER.to_owned()).into()),
            };
        }
        files::append_line(self, lease, path, line).await
    }

    async fn docker_along(&self, course: &Course, lease: &Lease, ask: Ask) -> Result<(), docker::Failure> {
        match self.along(course, lease, ask).await {
            Reply::Docker(answer) => answer,
            _ => Err(docker::Error::Unavailable(NO_ANSWER.to_owned()).into()),
        }
    }

    /// A call that takes another course. Behind a pointer, so that those that take none stay small.
    fn along<'a>(&'a self, course: &'a Course, lease: &'a Lease, ask: Ask) -> Carried<'a> {
        Box::pin(course.carry_out(self, lease, ask))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{net::IpFamily, testing},
        *,
    };

    #[test]
    fn permits_follow_the_limit() {
        for (limit, sockets) in [
            (None, 65_536),
            (Some(u64::MAX), 65_536),
            (Some(1024), 576),
            (Some(20_000), 14_808),
            (Some(64), 16),
            (Some(0), 16),
        ] {
            assert_eq!(sockets_for(limit), sockets, "{limit:?}");
        }
    }

    #[test]
    fn calls_can_move_between_threads() {
        fn send<T: Send>(_: T) {}
        fn calls(lender: &Lender, lease: &Lease, http: http::Request, tcp: tcp::Request) {
            send(lender.http(lease, http));
            send(lender.tcp(lease, tcp));
            send(lender.docker_restart(lease, "a", 1));
            send(lender.docker_inspect(lease, "a"));
            send(lender.append_line(lease, "a", "b"));
        }
        let _ = calls;
    }

    /// Bytes of a call that is under way; one more than is needed today.
    const CALL_BYTES_MAX: usize = 6 << 10;

    /// Each check in flight holds one: what only names, TLS and HTTP/2 need is boxed where it is needed.
    #[tokio::test]
    async fn a_call_is_small() {
        let (bench, lease) = (testing::bench(), testing::lease().done());
        let request = http::Request {
            method: "GET".to_owned(),
            url: "http://127.0.0.1/".to_owned(),
            headers: Vec::new(),
            body: None,
            max_redirects: 0,
            family: IpFamily::Any,
            tls: None,
            timeout_ms: None,
            max_body_bytes: None,
        };
        let bytes = size_of_val(&bench.lender.http(&lease, request));
        assert!(bytes <= CALL_BYTES_MAX, "{bytes}");
    }
}
