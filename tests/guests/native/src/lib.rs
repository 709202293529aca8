//! A pulse that knows nothing of the host's own interfaces: it goes through `std::net`, which is `wasi:sockets`, and
//! through `wasi:http`. What it does is in its settings: `{"do": "tcp", "address": "db.example.com:5432"}`.

mod sockets;
mod web;

use pulse_plugin_sdk::{Fault, Pulse, PulseJob, Report, export_plugin};
use schemars::JsonSchema;
use serde::Deserialize;

/// What to do, and what for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// What to do.
    #[serde(rename = "do")]
    pub deed: Deed,
    /// Of all but the deeds of HTTP: `host:port`.
    pub address: Option<String>,
    /// What is sent; nothing is sent without it.
    pub say: Option<String>,
    /// How many: datagrams of `spray`, connections of `tcp-many`, bytes of `tcp-read` and
    /// `tcp-write`, chunks of `post`.
    pub count: Option<u32>,
    /// Milliseconds that `tcp-then-sleep` and `get-later` sleep, or that `get-impatient` waits for the answer.
    pub ms: Option<u64>,
    /// Of HTTP: milliseconds that the host is asked to wait for the head of the answer.
    pub first_byte_ms: Option<u64>,
    /// Of HTTP: `http` or `https`.
    pub scheme: Option<String>,
    /// Of HTTP: `host:port`.
    pub authority: Option<String>,
    /// Of HTTP: what `set-path-with-query` is given.
    pub path: Option<String>,
    /// Of HTTP: more fields.
    #[serde(default)]
    pub fields: Vec<(String, String)>,
    /// Answer healthy although it went wrong, as a guest that hides a denial would.
    #[serde(default)]
    pub ignore_errors: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Connects, says, and reads a line.
    Tcp,
    /// Connects, and reads so many bytes.
    TcpRead,
    /// Connects, and sends so many bytes.
    TcpWrite,
    /// Connects as often as it is told, and keeps all connections until it has them.
    TcpMany,
    /// Connects, and leaves the connection open when it answers.
    TcpLeave,
    /// Connects, and sleeps while it is connected.
    TcpThenSleep,
    /// Connects through the bindings themselves, and waits for the connection or a timer, whichever is first.
    TcpOrTimer,
    /// Looks a name up.
    Resolve,
    /// Sends a datagram to a socket that is not connected, and waits for the answer.
    Udp,
    /// The same, connected.
    UdpConnected,
    /// Sends a datagram to each of so many addresses, and ignores what comes of it.
    Spray,
    /// Listens for connections.
    Listen,
    /// Binds a socket for datagrams to the address.
    Bind,
    /// A GET.
    Get,
    /// A POST whose body comes in so many chunks after the request has begun.
    Post,
    /// A GET whose body is not read.
    GetHead,
    /// A GET that is given up after so many milliseconds.
    GetImpatient,
    /// A GET whose answer is looked at only after so many milliseconds.
    GetLater,
}

/// The guest.
pub struct Native;

impl Pulse for Native {
    type Settings = Settings;

    fn run(job: PulseJob<Settings>) -> Result<Report, Fault> {
        let settings = job.settings;
        let done = match settings.deed {
            Deed::Get | Deed::Post | Deed::GetHead | Deed::GetImpatient | Deed::GetLater => {
                web::perform(&settings)
            }
            _ => sockets::perform(&settings),
        };
        Ok(match done {
            Ok(words) => Report::healthy(words),
            Err(error) if settings.ignore_errors => Report::healthy(format!("hides: {error}")),
            Err(error) => Report::unhealthy("native", error),
        })
    }
}

export_plugin! {
    name: "native",
    summary: "Uses its language's own network clients",
    pulse: Native,
}
