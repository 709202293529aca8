//! What the chaos guest can be told to do.

use schemars::JsonSchema;
use serde::Deserialize;

/// `{"do": "spin"}` and what the deed needs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// What to do.
    #[serde(rename = "do")]
    pub deed: Deed,
    /// What to answer once a deed is done.
    #[serde(default)]
    pub then: Then,
    /// Answer so even where a lent call failed, as a guest that hides a denial would.
    #[serde(default)]
    pub ignore_errors: bool,
    /// How many: `log-flood`, `stdout`, `stderr`, `append`, `measurements`, `leak-pollables`, `leak-streams`; how often
    /// `http`, `tcp` and `tcp-wait` are tried while they fail.
    pub count: Option<u32>,
    /// How many bytes: `huge-summary`, `partial-line`, `random-bytes`, and of each line of `log-flood`, `stdout`, `stderr` and `append`; how much
    /// to touch before `alloc` stops.
    pub bytes: Option<usize>,
    /// Milliseconds: `spin-ms`, `sleep`, and what `http` sleeps before it begins; of `retryable`, what the receiver wishes for.
    pub ms: Option<u64>,
    /// Of `http`.
    pub url: Option<String>,
    /// Of `tcp` and `tcp-wait`: `host:port`.
    pub address: Option<String>,
    /// Of `append`.
    pub path: Option<String>,
    /// Of `docker`: the container to restart.
    pub container: Option<String>,
    /// Of `say`.
    pub text: Option<String>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Pulse: healthy; intervention: done; code: receipt.
    Healthy,
    /// Pulse: degraded, reason `chaos`.
    Degraded,
    /// Pulse: unhealthy, reason `chaos`.
    Unhealthy,
    /// Pulse: `fault.invalid-settings`.
    FaultInvalidSettings,
    /// Pulse: `fault.unsupported`.
    FaultUnsupported,
    /// Pulse: `fault.internal`.
    FaultInternal,
    /// Intervention: done.
    Done,
    /// Code: a receipt with the id `receipt-1`.
    Receipt,
    /// Intervention and code: retryable.
    Retryable,
    /// Intervention and code: permanent.
    Permanent,
    /// Intervention: effect unknown.
    EffectUnknown,

    /// Says its `text` in every way there is: log, standard output and error, summary, reason, name of a measurement.
    Say,
    /// Panics with its `text` for a message, if it has one.
    SayPanicking,

    /// Panics with the message `chaos panics`.
    Panic,
    /// Executes `unreachable`.
    Trap,
    /// Reads far outside its memory.
    OutOfBounds,
    /// `wasi:cli/exit`.
    Exit,
    /// Loops for ever.
    Spin,
    /// Loops for `ms`, by the monotonic clock.
    SpinMs,
    /// Takes and touches memory: `bytes`, or until there is no more.
    Alloc,
    /// Asks for memory for ever, and minds no refusal.
    GrowLoop,
    /// Asks for memory until it is refused, and goes on without.
    GrowUntilRefused,
    /// Copies memory for ever, a megabyte at a time.
    CopyLoop,
    /// Calls itself until the stack of the sandbox runs over.
    Recurse,
    /// The same, and calls the host now and then on the way.
    RecurseAndCall,
    /// Calls itself until the guest's own stack, in its memory, runs over.
    RecurseInMemory,
    /// Sleeps for `ms`.
    Sleep,

    /// `GET`s `url`.
    Http,
    /// Connects to `address` and closes.
    Tcp,
    /// Connects to `address` and waits for a line.
    TcpWait,
    /// Appends `count` lines to `path`.
    Append,
    /// Restarts `container`.
    Docker,
    /// Writes `count` log lines of `bytes` bytes.
    LogFlood,
    /// Writes `count` lines to standard output.
    Stdout,
    /// Writes `count` lines to standard error.
    Stderr,
    /// Writes `bytes` bytes to standard output, and no line feed.
    PartialLine,
    /// Writes what `control-characters` answers with to the log and to both standard streams.
    LogControlCharacters,
    /// Makes `count` pollables and keeps them.
    LeakPollables,
    /// Opens standard output `count` times and keeps the streams.
    LeakStreams,
    /// Asks for `bytes` random bytes at once.
    RandomBytes,
    /// Measures `arguments`, `variables` and `files`: how many it can see.
    Environment,

    /// Answers with a summary of `bytes` bytes.
    HugeSummary,
    /// Answers with `count` measurements.
    Measurements,
    /// Answers with measurements that are not finite, and a good one.
    Nan,
    /// Answers with control characters and escape sequences in summary, reason and a measurement's name.
    ControlCharacters,
    /// Measures `wall_clock` in milliseconds, and in nanoseconds `monotonic_clock` and `monotonic_step`, the time
    /// between two looks at it.
    Clocks,
    /// Measures `random`, a number from the host's generator.
    Random,
}

/// What to answer once a deed is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// Pulse: healthy; intervention: done; code: receipt.
    #[default]
    Healthy,
    /// Pulse: unhealthy, reason `chaos`; intervention and code: permanent.
    Unhealthy,
    /// Executes `unreachable` instead.
    Trap,
}
