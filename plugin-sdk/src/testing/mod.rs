//! What a plugin's unit tests run against on the native target: a scripted host, and jobs to start from.
//!
//! Time is virtual: it passes where a script or the plugin lets it pass, so that a test of a slow target takes no time
//! and comes out the same each time.
//!
//! ```
//! use pulse_plugin_sdk::{http::Request, net::ErrorCode, testing::{self, Host}};
//! use std::time::Duration;
//!
//! let host = Host::new().http(|_| {
//!     testing::pass(Duration::from_secs(9));
//!     Ok(testing::response(200, ""))
//! });
//! let (answer, _) = host.run(|| Request::get("http://shop.example/").timeout(Duration::from_secs(2)).send());
//! assert_eq!(answer.unwrap_err().code, ErrorCode::Timeout);
//! ```
//!
//! Invariant: nothing is lent that a test did not lend. A call that no script answers is denied, as it would be
//! without a grant.

pub(crate) mod clock;
mod manifest;
mod script;

pub use clock::{elapsed, pass};
pub use manifest::check_manifest;
pub use script::{Seen, in_turn, recorded};

use crate::{
    Attempt, CodeJob, Color, DeliveryFailure, Fault, Incident, InterventionJob, Label, PulseJob, Receipt,
    Report, Subject, command, dns, docker, files, http, icmp, log::Level, net, private, tcp, tls,
};
use serde_json::Value;
use std::{cell::RefCell, collections::BTreeMap};

type Script<Question, Answer> = RefCell<Option<Box<dyn FnMut(Question) -> Answer>>>;

#[derive(Default)]
struct Scripts {
    http: Script<http::Request, Result<http::Response, net::Error>>,
    tcp: Script<tcp::Request, Result<tcp::Response, net::Error>>,
    tls: Script<tls::Request, Result<tls::Response, net::Error>>,
    dns: Script<dns::Request, Result<dns::Response, net::Error>>,
    icmp: Script<icmp::Request, Result<icmp::Response, net::Error>>,
    command: Script<command::Request, Result<command::Response, command::Error>>,
    docker: Script<docker::Call, Result<(), docker::Error>>,
    container: Script<String, Result<docker::Container, docker::Error>>,
    files: Script<(String, String), Result<(), files::Error>>,
    log: RefCell<Vec<(Level, String)>>,
    clock: clock::Clock,
}

thread_local! {
    static SCRIPTS: RefCell<Scripts> = RefCell::default();
}

/// A host that answers as scripted.
///
/// ```
/// use pulse_plugin_sdk::{http::Request, testing::{Host, response}};
///
/// let host = Host::new().http(|request| Ok(response(200, &request.url)));
/// let (answer, lines) = host.run(|| Request::get("http://shop.example/").send());
/// assert_eq!(answer.unwrap().text(), "http://shop.example/");
/// assert!(lines.is_empty());
/// ```
#[derive(Default)]
pub struct Host(Scripts);

impl Host {
    /// A host that lends nothing.
    ///
    /// ```
    /// use pulse_plugin_sdk::{http::Request, net::ErrorCode, testing::Host};
    ///
    /// let (answer, _) = Host::new().run(|| Request::get("http://shop.example/").send());
    /// assert_eq!(answer.unwrap_err().code, ErrorCode::Denied);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers HTTP requests.
    ///
    /// ```
    /// use pulse_plugin_sdk::{http::Request, testing::{Host, response}};
    ///
    /// let host = Host::new().http(|_| Ok(response(200, "ok")));
    /// assert_eq!(host.run(|| Request::get("http://shop.example/").send()).0.unwrap().status, 200);
    /// ```
    #[must_use]
    pub fn http(
        self,
        script: impl FnMut(http::Request) -> Result<http::Response, net::Error> + 'static,
    ) -> Self {
        self.0.http.replace(Some(Box::new(script)));
        self
    }

    /// Answers TCP dialogues.
    ///
    /// ```
    /// use pulse_plugin_sdk::{tcp::Request, testing::{self, Host}};
    ///
    /// let host = Host::new().tcp(testing::in_turn([]));
    /// assert!(host.run(|| Request::to("shop.example", 25).run()).0.is_err());
    /// ```
    #[must_use]
    pub fn tcp(
        self,
        script: impl FnMut(tcp::Request) -> Result<tcp::Response, net::Error> + 'static,
    ) -> Self {
        self.0.tcp.replace(Some(Box::new(script)));
        self
    }

    /// Answers TLS handshakes.
    ///
    /// ```
    /// use pulse_plugin_sdk::{testing::{self, Host}, tls::Request};
    ///
    /// let host = Host::new().tls(|_| Ok(testing::handshake(0)));
    /// assert!(host.run(|| Request::to("shop.example", 443).handshake()).0.is_ok());
    /// ```
    #[must_use]
    pub fn tls(
        self,
        script: impl FnMut(tls::Request) -> Result<tls::Response, net::Error> + 'static,
    ) -> Self {
        self.0.tls.replace(Some(Box::new(script)));
        self
    }

    /// Answers questions to name servers.
    ///
    /// ```
    /// use pulse_plugin_sdk::{dns::{RecordType, Request}, testing::{self, Host}};
    ///
    /// let host = Host::new().dns(|_| Ok(testing::dns_response(&[])));
    /// assert!(host.run(|| Request::of("shop.example", RecordType::A).query()).0.is_ok());
    /// ```
    #[must_use]
    pub fn dns(
        self,
        script: impl FnMut(dns::Request) -> Result<dns::Response, net::Error> + 'static,
    ) -> Self {
        self.0.dns.replace(Some(Box::new(script)));
        self
    }

    /// Answers echo requests.
    ///
    /// ```
    /// use pulse_plugin_sdk::{icmp::Request, testing::{self, Host}};
    ///
    /// let host = Host::new().icmp(|request| Ok(testing::echoes(request.count.into(), &[])));
    /// assert_eq!(host.run(|| Request::to("gate.example").ping()).0.unwrap().lost(), 1);
    /// ```
    #[must_use]
    pub fn icmp(
        self,
        script: impl FnMut(icmp::Request) -> Result<icmp::Response, net::Error> + 'static,
    ) -> Self {
        self.0.icmp.replace(Some(Box::new(script)));
        self
    }

    /// Runs declared commands.
    ///
    /// ```
    /// use pulse_plugin_sdk::{command::Request, testing::{self, Host}};
    ///
    /// let host = Host::new().command(|request| Ok(testing::command_response(0, &request.name)));
    /// assert_eq!(host.run(|| Request::of("restart").run()).0.unwrap().stdout, "restart");
    /// ```
    #[must_use]
    pub fn command(
        self,
        script: impl FnMut(command::Request) -> Result<command::Response, command::Error> + 'static,
    ) -> Self {
        self.0.command.replace(Some(Box::new(script)));
        self
    }

    /// Answers requests to restart, start and stop containers.
    ///
    /// ```
    /// use pulse_plugin_sdk::{docker, testing::Host};
    ///
    /// let host = Host::new().docker(|_| Err(docker::Error::Unavailable("no engine".into())));
    /// assert!(host.run(|| docker::start("shop")).0.is_err());
    /// ```
    #[must_use]
    pub fn docker(self, script: impl FnMut(docker::Call) -> Result<(), docker::Error> + 'static) -> Self {
        self.0.docker.replace(Some(Box::new(script)));
        self
    }

    /// Answers what a container is doing.
    ///
    /// ```
    /// use pulse_plugin_sdk::{docker, testing::Host};
    ///
    /// let host = Host::new().container(|name| Err(docker::Error::NotFound(name)));
    /// assert!(host.run(|| docker::inspect("shop")).0.is_err());
    /// ```
    #[must_use]
    pub fn container(
        self,
        script: impl FnMut(String) -> Result<docker::Container, docker::Error> + 'static,
    ) -> Self {
        self.0.container.replace(Some(Box::new(script)));
        self
    }

    /// Takes lines for files: path and line.
    ///
    /// ```
    /// use pulse_plugin_sdk::{files, testing::Host};
    ///
    /// let host = Host::new().files(|_| Err(files::Error::Io("disk full".into())));
    /// assert!(host.run(|| files::append_line("a.log", "x")).0.is_err());
    /// ```
    #[must_use]
    pub fn files(self, script: impl FnMut((String, String)) -> Result<(), files::Error> + 'static) -> Self {
        self.0.files.replace(Some(Box::new(script)));
        self
    }

    /// Runs something on this thread against this host. Returns what came of it, and the log lines.
    ///
    /// ```
    /// use pulse_plugin_sdk::{info, log::Level, testing::Host};
    ///
    /// let (number, lines) = Host::new().run(|| {
    ///     info!("begins");
    ///     7
    /// });
    /// assert_eq!((number, lines), (7, vec![(Level::Info, "begins".to_owned())]));
    /// ```
    pub fn run<T>(self, call: impl FnOnce() -> T) -> (T, Vec<(Level, String)>) {
        let before = SCRIPTS.replace(self.0);
        let result = call();
        (result, SCRIPTS.replace(before).log.into_inner())
    }
}

fn ask<Question, Answer>(
    choose: impl FnOnce(&Scripts) -> &Script<Question, Answer>,
    question: Question,
    denied: impl FnOnce() -> Answer,
) -> Answer {
    SCRIPTS.with_borrow(|scripts| match choose(scripts).borrow_mut().as_mut() {
        Some(script) => script(question),
        None => denied(),
    })
}

fn denied(what: &str) -> net::Error {
    net_error(
        net::ErrorCode::Denied,
        net::Phase::Prepare,
        &format!("the test lends no {what}"),
    )
}

pub(crate) fn http(request: &http::Request) -> Result<http::Response, net::Error> {
    clock::within(request.timeout_ms, || {
        ask(|scripts| &scripts.http, request.clone(), || Err(denied("http")))
    })
}

pub(crate) fn tcp(request: &tcp::Request) -> Result<tcp::Response, net::Error> {
    clock::within(request.timeout_ms, || {
        ask(|scripts| &scripts.tcp, request.clone(), || Err(denied("tcp")))
    })
}

pub(crate) fn tls(request: &tls::Request) -> Result<tls::Response, net::Error> {
    clock::within(request.timeout_ms, || {
        ask(|scripts| &scripts.tls, request.clone(), || Err(denied("tls")))
    })
}

pub(crate) fn dns(request: &dns::Request) -> Result<dns::Response, net::Error> {
    clock::within(request.timeout_ms, || {
        ask(|scripts| &scripts.dns, request.clone(), || Err(denied("dns")))
    })
}

pub(crate) fn icmp(request: &icmp::Request) -> Result<icmp::Response, net::Error> {
    clock::within(request.timeout_ms, || {
        ask(|scripts| &scripts.icmp, request.clone(), || Err(denied("icmp")))
    })
}

pub(crate) fn command(request: &command::Request) -> Result<command::Response, command::Error> {
    let denied = || Err(command::Error::Denied("the test lends no command".into()));
    let mut answer = denied();
    let in_time = clock::within(request.timeout_ms, || {
        answer = ask(|scripts| &scripts.command, request.clone(), denied);
        Ok(())
    });
    match in_time {
        Ok(()) => answer,
        Err(error) if error.code == net::ErrorCode::InvalidRequest => {
            Err(command::Error::InvalidArgument(error.message))
        }
        Err(error) => Err(command::Error::TimedOut(error.message)),
    }
}

pub(crate) fn docker(call: docker::Call) -> Result<(), docker::Error> {
    let denied = || Err(docker::Error::Denied("the test lends no docker".into()));
    ask(|scripts| &scripts.docker, call, denied)
}

pub(crate) fn container(name: &str) -> Result<docker::Container, docker::Error> {
    let denied = || Err(docker::Error::Denied("the test lends no docker".into()));
    ask(|scripts| &scripts.container, name.to_owned(), denied)
}

pub(crate) fn append(path: &str, line: &str) -> Result<(), files::Error> {
    let denied = || Err(files::Error::Denied("the test lends no files".into()));
    ask(
        |scripts| &scripts.files,
        (path.to_owned(), line.to_owned()),
        denied,
    )
}

pub(crate) fn log(level: Level, message: &str) {
    SCRIPTS.with_borrow(|scripts| scripts.log.borrow_mut().push((level, message.to_owned())));
}

/// A network error.
///
/// ```
/// use pulse_plugin_sdk::{net::{ErrorCode, Phase}, testing};
///
/// assert_eq!(testing::net_error(ErrorCode::Timeout, Phase::Connect, "silence").message, "silence");
/// ```
#[must_use]
pub fn net_error(code: net::ErrorCode, phase: net::Phase, message: &str) -> net::Error {
    net::Error {
        code,
        phase,
        message: message.to_owned(),
    }
}

/// An answer over plain HTTP that took 1 ms to connect, 20 ms to process and 4 ms to transfer.
///
/// ```
/// assert_eq!(pulse_plugin_sdk::testing::response(404, "gone").body, b"gone");
/// ```
#[must_use]
pub fn response(status: u16, body: &str) -> http::Response {
    http::Response {
        status,
        version: "HTTP/1.1".into(),
        headers: Vec::new(),
        body: body.as_bytes().to_vec(),
        body_truncated: false,
        url: "http://shop.example/".into(),
        redirects: 0,
        peer: "192.0.2.7:80".into(),
        timings: net::Timings {
            resolve_us: 0,
            connect_us: 1_000,
            tls_us: 0,
            processing_us: 20_000,
            transfer_us: 4_000,
        },
        tls: None,
    }
}

/// What a handshake shows of a peer whose certificate ends at that second since the Unix epoch.
///
/// ```
/// assert_eq!(pulse_plugin_sdk::testing::tls_facts(99).certificates[0].not_after, 99);
/// ```
#[must_use]
pub fn tls_facts(not_after: i64) -> net::TlsFacts {
    net::TlsFacts {
        version: "TLSv1.3".into(),
        cipher: "TLS_AES_128_GCM_SHA256".into(),
        alpn: Some("http/1.1".into()),
        certificates: vec![net::Certificate {
            subject: "CN=shop.example".into(),
            issuer: "CN=Example CA".into(),
            names: vec!["shop.example".into()],
            not_before: 0,
            not_after,
            sha256: "0".repeat(64),
        }],
    }
}

/// A good handshake with a peer whose certificate ends at that second since the Unix epoch: 1 ms to connect, 3 ms to
/// shake hands.
///
/// ```
/// assert_eq!(pulse_plugin_sdk::testing::handshake(99).tls.certificates[0].not_after, 99);
/// ```
#[must_use]
pub fn handshake(not_after: i64) -> tls::Response {
    tls::Response {
        peer: "192.0.2.7:443".into(),
        timings: net::Timings {
            resolve_us: 0,
            connect_us: 1_000,
            tls_us: 3_000,
            processing_us: 0,
            transfer_us: 0,
        },
        tls: tls_facts(not_after),
        chain: vec![b"DER".to_vec()],
        refusal: None,
    }
}

/// What a name server says within 2 ms: records with name, type and data, to be kept for 5 minutes.
///
/// ```
/// let answer = pulse_plugin_sdk::testing::dns_response(&[("shop.example", "A", "192.0.2.7")]);
/// assert_eq!(answer.answers[0].data, "192.0.2.7");
/// ```
#[must_use]
pub fn dns_response(records: &[(&str, &str, &str)]) -> dns::Response {
    dns::Response {
        server: "192.0.2.53:53".into(),
        transport: dns::Transport::Udp,
        rcode: "NOERROR".into(),
        authoritative: false,
        answers: records
            .iter()
            .map(|(name, kind, data)| dns::Answer {
                name: (*name).into(),
                kind: (*kind).into(),
                ttl: 300,
                data: (*data).into(),
            })
            .collect(),
        timings: net::Timings {
            resolve_us: 0,
            connect_us: 0,
            tls_us: 0,
            processing_us: 2_000,
            transfer_us: 0,
        },
    }
}

/// So many echo requests to `192.0.2.1`, and answers that took so many microseconds to the first of them.
///
/// ```
/// let response = pulse_plugin_sdk::testing::echoes(3, &[900, 1_100]);
/// assert_eq!((response.sent, response.replies[1].sequence), (3, 1));
/// ```
#[must_use]
pub fn echoes(sent: u16, rtt_us: &[u64]) -> icmp::Response {
    icmp::Response {
        peer: "192.0.2.1".into(),
        resolve_us: 0,
        sent,
        replies: (0..)
            .zip(rtt_us)
            .map(|(sequence, rtt_us)| icmp::Reply {
                sequence,
                rtt_us: *rtt_us,
                ttl: None,
            })
            .collect(),
    }
}

/// A command that ended by itself with that code after 30 ms, and wrote that to standard output.
///
/// ```
/// assert_eq!(pulse_plugin_sdk::testing::command_response(1, "no").stdout, "no");
/// ```
#[must_use]
pub fn command_response(code: i32, stdout: &str) -> command::Response {
    command::Response {
        ending: command::Ending::Exited(code),
        stdout: stdout.into(),
        stderr: String::new(),
        stdout_truncated: false,
        stderr_truncated: false,
        duration_us: 30_000,
    }
}

/// The monitor `shop` of the tenant `default`, labelled `team: core`.
///
/// ```
/// assert_eq!(pulse_plugin_sdk::testing::subject().monitor, "shop");
/// ```
#[must_use]
pub fn subject() -> Subject {
    Subject {
        monitor: "shop".into(),
        tenant: "default".into(),
        labels: vec![Label {
            name: "team".into(),
            value: "core".into(),
        }],
    }
}

/// The first attempt, with 5 s to go, due at 2026-11-24T06:40:00Z.
///
/// ```
/// assert_eq!(pulse_plugin_sdk::testing::attempt().number, 1);
/// ```
#[must_use]
pub fn attempt() -> Attempt {
    Attempt {
        number: 1,
        deadline_ms: 5_000,
        scheduled_at: 1_795_502_400_000,
    }
}

/// An incident of `shop`, opened a minute before [`attempt`] fell due.
///
/// ```
/// assert_eq!(pulse_plugin_sdk::testing::incident().key, "default/shop/01jdf0");
/// ```
#[must_use]
pub fn incident() -> Incident {
    Incident {
        id: "01jdf0".into(),
        key: "default/shop/01jdf0".into(),
        opened_at: 1_795_502_340_000,
        summary: "HTTP 503, expected 2xx".into(),
        reason: "unexpected-status".into(),
    }
}

/// A check.
///
/// ```
/// assert_eq!(*pulse_plugin_sdk::testing::pulse_job(5).settings, 5);
/// ```
pub fn pulse_job<S>(settings: S) -> PulseJob<S> {
    PulseJob {
        subject: subject(),
        attempt: attempt(),
        settings: settings.into(),
    }
}

/// A repair.
///
/// ```
/// assert_eq!(pulse_plugin_sdk::testing::intervention_job(()).idempotency_key, "01jdf0/1");
/// ```
pub fn intervention_job<S>(settings: S) -> InterventionJob<S> {
    InterventionJob {
        subject: subject(),
        attempt: attempt(),
        settings: settings.into(),
        incident: incident(),
        idempotency_key: "01jdf0/1".into(),
    }
}

/// An alert.
///
/// ```
/// use pulse_plugin_sdk::{Color, testing};
///
/// assert_eq!(testing::code_job(Color::Red, ()).delivery_id, "01jdf0/red/1/alerts");
/// ```
pub fn code_job<S>(color: Color, settings: S) -> CodeJob<S> {
    CodeJob {
        subject: subject(),
        attempt: attempt(),
        settings: settings.into(),
        color,
        title: format!("shop is {}", color.name()),
        body: "HTTP 503, expected 2xx\nfor 1 minute".into(),
        happened_at: 1_795_502_400_000,
        reminder: false,
        incident: Some(incident()),
        incident_key: incident().key,
        delivery_id: format!("01jdf0/{}/1/alerts", color.name()),
    }
}

/// Runs a component's `pulse` export natively, the reading of its settings included.
///
/// ```
/// # use pulse_plugin_sdk::{*, serde_json::json};
/// # struct Fetch;
/// # impl Pulse for Fetch {
/// #     type Settings = std::collections::BTreeMap<String, String>;
/// #     fn run(job: PulseJob<Self::Settings>) -> Result<Report, Fault> {
/// #         Report::from_error(&http::Request::get(&job.settings["url"]).send().unwrap_err())
/// #     }
/// # }
/// # struct Tell;
/// # impl Code for Tell {
/// #     type Settings = <Fetch as Pulse>::Settings;
/// #     fn notify(job: CodeJob<Self::Settings>) -> Result<Receipt, DeliveryFailure> {
/// #         Ok(Receipt::taken(job.color.name()))
/// #     }
/// # }
/// # struct Repair;
/// # impl Intervention for Repair {
/// #     type Settings = <Fetch as Pulse>::Settings;
/// #     fn run(job: InterventionJob<Self::Settings>) -> Result<ActionReport, ActionFailure> {
/// #         Ok(ActionReport::done(job.idempotency_key))
/// #     }
/// # }
/// # export_plugin! { name: "fetch", summary: "Fetches a URL", pulse: Fetch, intervention: Repair, code: Tell }
/// # fn main() {
/// let host = testing::Host::new();
/// let (fault, _) = host.run(|| testing::pulse::<Exports>(&json!({"url": "http://shop.example/"})));
/// assert_eq!(fault, Err(Fault::Unsupported("the test lends no http".into())));
/// # }
/// ```
///
/// # Errors
/// The component's own.
pub fn pulse<E: private::pulse_interface::Guest>(settings: &Value) -> Result<Report, Fault> {
    clock::begin(attempt().deadline_ms);
    E::run(private::pulse_interface::Job {
        subject: subject(),
        attempt: attempt(),
        settings: settings.to_string(),
    })
}

/// Runs a component's `code` export natively, the reading of its settings included.
///
/// ```
/// # use pulse_plugin_sdk::{*, serde_json::json};
/// # struct Fetch;
/// # impl Pulse for Fetch {
/// #     type Settings = std::collections::BTreeMap<String, String>;
/// #     fn run(job: PulseJob<Self::Settings>) -> Result<Report, Fault> {
/// #         Report::from_error(&http::Request::get(&job.settings["url"]).send().unwrap_err())
/// #     }
/// # }
/// # struct Tell;
/// # impl Code for Tell {
/// #     type Settings = <Fetch as Pulse>::Settings;
/// #     fn notify(job: CodeJob<Self::Settings>) -> Result<Receipt, DeliveryFailure> {
/// #         Ok(Receipt::taken(job.color.name()))
/// #     }
/// # }
/// # struct Repair;
/// # impl Intervention for Repair {
/// #     type Settings = <Fetch as Pulse>::Settings;
/// #     fn run(job: InterventionJob<Self::Settings>) -> Result<ActionReport, ActionFailure> {
/// #         Ok(ActionReport::done(job.idempotency_key))
/// #     }
/// # }
/// # export_plugin! { name: "fetch", summary: "Fetches a URL", pulse: Fetch, intervention: Repair, code: Tell }
/// # fn main() {
/// let receipt = testing::code::<Exports>(Color::Green, &json!({}));
/// assert_eq!(receipt.unwrap().summary, "green");
/// # }
/// ```
///
/// # Errors
/// The component's own.
pub fn code<E: private::code_interface::Guest>(
    color: Color,
    settings: &Value,
) -> Result<Receipt, DeliveryFailure> {
    let job = code_job(color, ());
    clock::begin(job.attempt.deadline_ms);
    E::notify(private::code_interface::Job {
        subject: job.subject,
        attempt: job.attempt,
        settings: settings.to_string(),
        color: job.color,
        title: job.title,
        body: job.body,
        happened_at: job.happened_at,
        reminder: job.reminder,
        incident: job.incident,
        incident_key: job.incident_key,
        delivery_id: job.delivery_id,
    })
}

/// Runs a component's `intervention` export natively, the reading of its settings included.
///
/// ```
/// # use pulse_plugin_sdk::{*, serde_json::json};
/// # struct Fetch;
/// # impl Pulse for Fetch {
/// #     type Settings = std::collections::BTreeMap<String, String>;
/// #     fn run(job: PulseJob<Self::Settings>) -> Result<Report, Fault> {
/// #         Report::from_error(&http::Request::get(&job.settings["url"]).send().unwrap_err())
/// #     }
/// # }
/// # struct Tell;
/// # impl Code for Tell {
/// #     type Settings = <Fetch as Pulse>::Settings;
/// #     fn notify(job: CodeJob<Self::Settings>) -> Result<Receipt, DeliveryFailure> {
/// #         Ok(Receipt::taken(job.color.name()))
/// #     }
/// # }
/// # struct Repair;
/// # impl Intervention for Repair {
/// #     type Settings = <Fetch as Pulse>::Settings;
/// #     fn run(job: InterventionJob<Self::Settings>) -> Result<ActionReport, ActionFailure> {
/// #         Ok(ActionReport::done(job.idempotency_key))
/// #     }
/// # }
/// # export_plugin! { name: "fetch", summary: "Fetches a URL", pulse: Fetch, intervention: Repair, code: Tell }
/// # fn main() {
/// let report = testing::intervention::<Exports>(&json!({}));
/// assert_eq!(report.unwrap().summary, "01jdf0/1");
/// # }
/// ```
///
/// # Errors
/// The component's own.
pub fn intervention<E: private::intervention_interface::Guest>(
    settings: &Value,
) -> Result<crate::ActionReport, crate::ActionFailure> {
    let job = intervention_job(());
    clock::begin(job.attempt.deadline_ms);
    E::run(private::intervention_interface::Job {
        subject: job.subject,
        attempt: job.attempt,
        settings: settings.to_string(),
        incident: job.incident,
        idempotency_key: job.idempotency_key,
    })
}

/// What a component says of its settings: each property's description, by name. For tests that hold a README's
/// table against it.
///
/// ```
/// # use pulse_plugin_sdk::{*, serde_json::json};
/// # struct Fetch;
/// # impl Pulse for Fetch {
/// #     type Settings = std::collections::BTreeMap<String, String>;
/// #     fn run(job: PulseJob<Self::Settings>) -> Result<Report, Fault> {
/// #         Report::from_error(&http::Request::get(&job.settings["url"]).send().unwrap_err())
/// #     }
/// # }
/// # struct Tell;
/// # impl Code for Tell {
/// #     type Settings = <Fetch as Pulse>::Settings;
/// #     fn notify(job: CodeJob<Self::Settings>) -> Result<Receipt, DeliveryFailure> {
/// #         Ok(Receipt::taken(job.color.name()))
/// #     }
/// # }
/// # struct Repair;
/// # impl Intervention for Repair {
/// #     type Settings = <Fetch as Pulse>::Settings;
/// #     fn run(job: InterventionJob<Self::Settings>) -> Result<ActionReport, ActionFailure> {
/// #         Ok(ActionReport::done(job.idempotency_key))
/// #     }
/// # }
/// # export_plugin! { name: "fetch", summary: "Fetches a URL", pulse: Fetch, intervention: Repair, code: Tell }
/// # fn main() {
/// // A map has no settings of its own.
/// assert!(testing::documented_settings::<Exports>().is_empty());
/// # }
/// ```
#[must_use]
pub fn documented_settings<E: private::plugin_interface::Guest>() -> BTreeMap<String, String> {
    let schema: Value = serde_json::from_str(&E::describe().settings_schema).unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flatten()
        .map(|(name, property)| {
            let text = property.get("description").and_then(Value::as_str);
            (name.clone(), text.unwrap_or_default().to_owned())
        })
        .collect()
}
