//! The deeds that all three kinds can do.

use crate::settings::{Deed, Settings, Then};
use pulse_plugin_sdk::{
    Measurement, docker, files, http,
    log::{self, Level},
    net, tcp,
};
use std::{
    hash::{BuildHasher, RandomState},
    hint::black_box,
    io::Write,
    mem::forget,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// What would forge lines, colours and directions on a terminal.
const CONTROL: &str = "one\ntwo\r\0three\u{1b}[31mfour\u{202e}five";

/// What came of a deed.
#[derive(Debug, Default)]
pub struct Done {
    pub words: String,
    pub reason: Option<String>,
    pub measurements: Vec<Measurement>,
}

impl Done {
    fn said(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            ..Self::default()
        }
    }
}

/// What a lent call answered, as far as a pulse cares.
pub type Failure = net::Error;

/// Does it. Deeds that have no end never return.
pub fn perform(settings: &Settings) -> Result<Done, Failure> {
    let done = perform_deed(settings)?;
    if settings.then == Then::Trap {
        trap();
    }
    Ok(done)
}

fn perform_deed(settings: &Settings) -> Result<Done, Failure> {
    let count = settings.count.unwrap_or(1);
    let bytes = settings.bytes.unwrap_or(64);
    let time = Duration::from_millis(settings.ms.unwrap_or(0));
    match settings.deed {
        Deed::Panic => panic!("chaos panics"),
        Deed::Say => Ok(say(settings.text.as_deref().unwrap_or_default())),
        Deed::SayPanicking => panic!("{}", settings.text.as_deref().unwrap_or_default()),
        Deed::Trap => trap(),
        Deed::OutOfBounds => out_of_bounds(),
        Deed::Exit => std::process::exit(1),
        Deed::Spin => spin(),
        Deed::SpinMs => {
            let start = Instant::now();
            while start.elapsed() < time {
                black_box(());
            }
            Ok(Done::said("spun"))
        }
        Deed::Alloc => alloc(settings.bytes),
        Deed::GrowLoop => grow_loop(),
        Deed::GrowUntilRefused => {
            #[cfg(target_family = "wasm")]
            while core::arch::wasm32::memory_grow(0, 1) != usize::MAX {}
            Ok(Done::said("refused"))
        }
        Deed::CopyLoop => copy_loop(),
        Deed::Recurse => Ok(Done::said(recurse(1, u64::MAX).to_string())),
        Deed::RecurseAndCall => Ok(Done::said(recurse(1, 512).to_string())),
        Deed::RecurseInMemory => Ok(Done::said(recurse_in_memory(1).to_string())),
        Deed::Sleep => {
            std::thread::sleep(time);
            Ok(Done::said("slept"))
        }
        Deed::Http => {
            let url = settings.url.as_deref().unwrap_or_default();
            std::thread::sleep(time);
            let response = tried(count, || http::Request::get(url).send())?;
            let mut done = Done::said(format!("HTTP {}", response.status));
            let size = Measurement::new("body_size", response.body.len() as f64, "By");
            done.measurements.push(size);
            Ok(done)
        }
        Deed::Tcp => tried(count, || dialogue(settings, false)),
        Deed::TcpWait => tried(count, || dialogue(settings, true)),
        Deed::Append => append(settings, count, bytes),
        Deed::Docker => {
            let name = settings.container.as_deref().unwrap_or_default();
            match docker::restart(name, 1) {
                Ok(()) => Ok(Done::said(format!("restarted {name}"))),
                Err(docker::Error::Denied(text)) => Err(failure(net::ErrorCode::Denied, &text)),
                Err(error) => Err(failure(net::ErrorCode::Protocol, &error.to_string())),
            }
        }
        Deed::LogFlood => {
            let line = "x".repeat(bytes);
            for _ in 0..count {
                log::write(Level::Info, &line);
            }
            Ok(Done::said("logged"))
        }
        Deed::Stdout => lines(std::io::stdout().lock(), count, bytes),
        Deed::Stderr => lines(std::io::stderr().lock(), count, bytes),
        Deed::HugeSummary => Ok(Done::said("x".repeat(bytes))),
        Deed::Measurements => Ok(Done {
            measurements: (0..count)
                .map(|index| Measurement::new(format!("number_{index}"), f64::from(index), ""))
                .collect(),
            ..Done::said("measured")
        }),
        Deed::Nan => Ok(Done {
            measurements: vec![
                Measurement::new("not_a_number", f64::NAN, ""),
                Measurement::new("infinite", f64::INFINITY, ""),
                Measurement::new("negative_infinite", f64::NEG_INFINITY, ""),
                Measurement::new("good", 1.0, ""),
            ],
            ..Done::said("measured")
        }),
        Deed::PartialLine => {
            print!("{}", "x".repeat(bytes));
            let _ = std::io::stdout().flush();
            Ok(Done::said("written"))
        }
        Deed::LogControlCharacters => {
            log::write(Level::Error, CONTROL);
            println!("{CONTROL}");
            eprintln!("{CONTROL}");
            Ok(Done::said("logged"))
        }
        Deed::LeakPollables => {
            for _ in 0..count {
                forget(wasip2::clocks::monotonic_clock::subscribe_duration(u64::MAX));
            }
            Ok(Done::said("leaked"))
        }
        Deed::LeakStreams => {
            for _ in 0..count {
                forget(wasip2::cli::stdout::get_stdout());
            }
            Ok(Done::said("leaked"))
        }
        Deed::RandomBytes => {
            let random = wasip2::random::random::get_random_bytes(bytes as u64);
            Ok(Done::said(format!("{} bytes", random.len())))
        }
        Deed::Environment => Ok(environment()),
        Deed::ControlCharacters => Ok(Done {
            words: CONTROL.into(),
            reason: Some("bad\nreason\u{1b}[0m".into()),
            measurements: vec![Measurement::new("bad\nname", 1.0, "u\nnit")],
        }),
        Deed::Clocks => Ok(clocks()),
        Deed::Random => Ok(Done {
            // The keys of a `RandomState` are all the randomness that std asks the host for.
            measurements: vec![Measurement::new(
                "random",
                f64::from(RandomState::new().hash_one(0) as u32),
                "",
            )],
            ..Done::said("measured")
        }),
        Deed::Healthy
        | Deed::Degraded
        | Deed::Unhealthy
        | Deed::FaultInvalidSettings
        | Deed::FaultUnsupported
        | Deed::FaultInternal
        | Deed::Done
        | Deed::Receipt
        | Deed::Retryable
        | Deed::Permanent
        | Deed::EffectUnknown => Ok(Done::said("nothing was done")),
    }
}

/// Tries it that often while it fails.
fn tried<T>(count: u32, call: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
    (1..count).find_map(|_| call().ok()).map_or_else(&call, Ok)
}

fn failure(code: net::ErrorCode, message: &str) -> Failure {
    net::Error {
        code,
        phase: net::Phase::Prepare,
        message: message.to_owned(),
    }
}

fn trap() -> ! {
    #[cfg(target_family = "wasm")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_family = "wasm"))]
    std::process::abort();
}

fn out_of_bounds() -> ! {
    // SAFETY: none, on purpose: the sandbox has to stop it.
    let value = unsafe { std::ptr::read_volatile(black_box(0xffff_ff00_usize) as *const u64) };
    panic!("read {value} from outside the memory");
}

fn spin() -> ! {
    loop {
        black_box(());
    }
}

/// Takes a mebibyte at a time and writes to every page of it, and to no more: fuel should not end it first.
fn alloc(stop_at: Option<usize>) -> Result<Done, Failure> {
    const MIB: usize = 1 << 20;
    let mut taken: Vec<Vec<u8>> = Vec::new();
    while stop_at.is_none_or(|bytes| taken.len() * MIB < bytes) {
        let mut block = Vec::with_capacity(MIB);
        for page in block.spare_capacity_mut().chunks_mut(4_096) {
            page[0].write(1);
        }
        taken.push(black_box(block));
    }
    Ok(Done::said(format!("touched {} MiB", taken.len())))
}

fn grow_loop() -> ! {
    loop {
        #[cfg(target_family = "wasm")]
        black_box(core::arch::wasm32::memory_grow(0, 1));
        #[cfg(not(target_family = "wasm"))]
        black_box(());
    }
}

fn copy_loop() -> ! {
    let mut block = vec![1_u8; 2 << 20];
    loop {
        block.copy_within(0..1 << 20, 1 << 20);
        black_box(&mut block);
    }
}

/// Keeps everything in locals, so that it is the host's stack that runs over. What is done after the call keeps
/// the compiler from making a loop of it.
#[inline(never)]
#[allow(unconditional_recursion, reason = "that is the point")]
fn recurse(depth: u64, call_every: u64) -> u64 {
    static DEEPEST: AtomicU64 = AtomicU64::new(0);
    DEEPEST.store(depth, Ordering::Relaxed);
    if depth.is_multiple_of(call_every) {
        log::write(Level::Debug, "deeper");
    }
    recurse(depth + 1, call_every) ^ DEEPEST.load(Ordering::Relaxed)
}

/// Keeps a kilobyte of each frame in memory, so that it is the guest's own stack that runs over, out of the bottom
/// of its memory.
#[inline(never)]
#[allow(unconditional_recursion, reason = "that is the point")]
fn recurse_in_memory(depth: u64) -> u64 {
    let frame = black_box([depth; 128]);
    recurse_in_memory(depth + 1) + frame[0]
}

fn dialogue(settings: &Settings, wait: bool) -> Result<Done, Failure> {
    let address = settings.address.as_deref().unwrap_or_default();
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    let mut request = tcp::Request::to(host, port.parse().unwrap_or(0));
    if wait {
        request = request.then_read_line();
    }
    let response = request.run()?;
    Ok(Done::said(format!(
        "{} bytes from {}",
        response.received.len(),
        response.peer
    )))
}

fn append(settings: &Settings, count: u32, bytes: usize) -> Result<Done, Failure> {
    let path = settings.path.as_deref().unwrap_or_default();
    let line = "x".repeat(bytes);
    for _ in 0..count {
        files::append_line(path, &line).map_err(|error| match error {
            files::Error::Denied(text) => failure(net::ErrorCode::Denied, &text),
            other => failure(net::ErrorCode::Protocol, &other.to_string()),
        })?;
    }
    Ok(Done::said(format!("appended {count} lines")))
}

fn lines(mut stream: impl Write, count: u32, bytes: usize) -> Result<Done, Failure> {
    let line = "x".repeat(bytes);
    for _ in 0..count {
        // A stream that the host closes is no reason to stop trying.
        let _ = writeln!(stream, "{line}");
    }
    let _ = stream.flush();
    Ok(Done::said("written"))
}

fn say(text: &str) -> Done {
    log::write(Level::Warn, text);
    println!("{text}");
    eprintln!("{text}");
    Done {
        words: format!("said: {text}"),
        reason: Some(text.to_owned()),
        // The SDK makes snake case of a name, which would be another text.
        measurements: vec![Measurement {
            name: text.to_owned(),
            value: 1.0,
            unit: text.to_owned(),
        }],
    }
}

fn clocks() -> Done {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let start = Instant::now();
    let elapsed = start.elapsed();
    Done {
        measurements: vec![
            Measurement::new("wall_clock", wall.as_millis() as f64, "ms"),
            Measurement::new(
                "monotonic_clock",
                wasip2::clocks::monotonic_clock::now() as f64,
                "ns",
            ),
            Measurement::new("monotonic_step", elapsed.as_nanos() as f64, "ns"),
        ],
        ..Done::said("measured")
    }
}

fn environment() -> Done {
    let files = ["/", ".", "/etc/passwd", "/proc/self/environ"]
        .iter()
        .filter(|path| std::fs::metadata(path).is_ok() || std::fs::read_dir(path).is_ok())
        .count();
    let preopened = wasip2::filesystem::preopens::get_directories().len();
    Done {
        measurements: vec![
            Measurement::new("arguments", std::env::args_os().count() as f64, ""),
            Measurement::new("variables", std::env::vars_os().count() as f64, ""),
            Measurement::new("files", (files + preopened) as f64, ""),
        ],
        ..Done::said("measured")
    }
}
