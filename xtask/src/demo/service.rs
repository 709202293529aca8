//! The demo's service: a few threads that speak just enough HTTP/1.1 for a check and a restart.
//!
//! Bounded like everything else: a fixed number of threads, a time and a size limit for each request.

use super::outage::{Found, Outage};
use crate::stopwatch::Stopwatch;
use anyhow::Result;
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// A silent client takes one of them for [`PATIENCE`].
const THREADS_PER_PORT: usize = 4;
const PATIENCE: Duration = Duration::from_secs(2);
/// Request line and header fields together.
const HEAD_BYTES_MAX: u64 = 8 << 10;
const BODY_BYTES_MAX: u64 = 64 << 10;

/// A running service. It ends with the process.
#[derive(Debug)]
pub struct Service {
    /// What is watched.
    pub address: SocketAddr,
    /// Where `POST /restart` heals it.
    pub control: SocketAddr,
}

/// What the threads share.
struct Shared {
    outage: Mutex<Outage>,
    stopwatch: Stopwatch,
}

/// The answer to a request.
type Answer = (&'static str, &'static str);

impl Service {
    /// Answers on both listeners from now on.
    pub fn start(
        service: TcpListener,
        control: TcpListener,
        outage: Outage,
        stopwatch: Stopwatch,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            outage: Mutex::new(outage),
            stopwatch,
        });
        let started = Self {
            address: service.local_addr()?,
            control: control.local_addr()?,
        };
        serve(&service, &shared, visit)?;
        serve(&control, &shared, restart)?;
        Ok(started)
    }
}

fn serve(
    listener: &TcpListener,
    shared: &Arc<Shared>,
    answer: fn(&Shared, &Request) -> Answer,
) -> Result<()> {
    for number in 0..THREADS_PER_PORT {
        let listener = listener.try_clone()?;
        let shared = Arc::clone(shared);
        std::thread::Builder::new()
            .name(format!("service-{number}"))
            .spawn(move || {
                for stream in listener.incoming().flatten() {
                    // A client that breaks off is the client's affair.
                    let _ = converse(&stream, &shared, answer);
                }
            })?;
    }
    Ok(())
}

/// What the service looks at in a request.
struct Request {
    method: String,
    path: String,
}

fn converse(
    stream: &TcpStream,
    shared: &Shared,
    answer: fn(&Shared, &Request) -> Answer,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (status, body) = match read(stream)? {
        Some(request) => answer(shared, &request),
        None => (
            "400 Bad Request",
            "that is no request that this service understands\n",
        ),
    };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Reads a request with its body, so that closing the connection resets nothing. None: it makes no sense.
fn read(stream: &TcpStream) -> std::io::Result<Option<Request>> {
    let mut reader = BufReader::new(stream).take(HEAD_BYTES_MAX);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(path), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Ok(None);
    };
    if !version.starts_with("HTTP/1.") {
        return Ok(None);
    }
    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
    };
    let mut length = 0u64;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            let Ok(bytes) = value.trim().parse() else {
                return Ok(None);
            };
            length = bytes;
        }
    }
    if length > BODY_BYTES_MAX {
        return Ok(None);
    }
    reader.set_limit(length);
    std::io::copy(&mut reader, &mut std::io::sink())?;
    Ok(Some(request))
}

fn visit(shared: &Shared, _: &Request) -> Answer {
    let mut outage = shared.outage.lock().unwrap_or_else(PoisonError::into_inner);
    match outage.visit(shared.stopwatch.elapsed()) {
        Found::Up => ("200 OK", "ok\n"),
        Found::WentDown => {
            eprintln!("demo: the service goes down now");
            ("503 Service Unavailable", "simulated outage\n")
        }
        Found::Down => ("503 Service Unavailable", "simulated outage\n"),
    }
}

fn restart(shared: &Shared, request: &Request) -> Answer {
    if request.path != "/restart" {
        return ("404 Not Found", "the only path here is /restart\n");
    }
    if request.method != "POST" {
        return ("405 Method Not Allowed", "POST restarts the service\n");
    }
    let mut outage = shared.outage.lock().unwrap_or_else(PoisonError::into_inner);
    if outage.heal(shared.stopwatch.elapsed()) {
        eprintln!("demo: the service was restarted and is well again");
    }
    ("200 OK", "restarted\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(first_after: Duration, next_after: Duration) -> Service {
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        let outage = Outage::new(first_after, next_after);
        Service::start(bind(), bind(), outage, Stopwatch::start()).unwrap()
    }

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    #[test]
    fn it_goes_down_and_a_post_heals_it() {
        let service = start(Duration::ZERO, Duration::from_secs(3600));
        assert!(ask(service.address, GET).starts_with("HTTP/1.1 200 OK\r\n"));
        for _ in 0..2 {
            let answer = ask(service.address, GET);
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            assert!(answer.ends_with("\r\n\r\nsimulated outage\n"), "{answer}");
        }
        let get = ask(service.control, "GET /restart HTTP/1.1\r\n\r\n");
        assert!(get.starts_with("HTTP/1.1 405 "), "{get}");
        let elsewhere = ask(service.control, "POST / HTTP/1.1\r\n\r\n");
        assert!(elsewhere.starts_with("HTTP/1.1 404 "), "{elsewhere}");
        assert!(
            ask(service.address, GET).starts_with("HTTP/1.1 503 "),
            "neither healed it"
        );
        let post = ask(
            service.control,
            "POST /restart HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        );
        assert!(post.starts_with("HTTP/1.1 200 OK\r\n"), "{post}");
        assert!(ask(service.address, GET).starts_with("HTTP/1.1 200 OK\r\n"));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let service = start(Duration::from_secs(3600), Duration::from_secs(3600));
        for wrong in [
            "\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / SPDY/1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: many\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n",
        ] {
            let answer = ask(service.address, wrong);
            assert!(answer.starts_with("HTTP/1.1 400 "), "{wrong:?}: {answer}");
        }
    }

    #[test]
    fn silent_clients_do_not_keep_others_out() {
        let service = start(Duration::from_secs(3600), Duration::from_secs(3600));
        let silent: Vec<TcpStream> = (0..THREADS_PER_PORT - 1)
            .map(|_| TcpStream::connect(service.address).unwrap())
            .collect();
        assert!(ask(service.address, GET).starts_with("HTTP/1.1 200 OK\r\n"));
        drop(silent);
    }
}
