//! HTTP servers that do what a test says, on TCP, over TLS or on a unix socket.

use super::{tls, wait};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What a server does with a request.
pub enum Reply {
    /// Status, header fields, body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Nothing, until the client goes.
    Silence,
    /// Closes the connection.
    Close,
}

/// An answer without anything but its status.
pub fn status(status: u16) -> Reply {
    Reply::Answer(status, Vec::new(), String::new())
}

struct Shared {
    requests: Mutex<Vec<Request>>,
    in_flight: AtomicUsize,
    handler: Box<dyn Fn(&Request) -> Reply + Send + Sync>,
}

/// A server that runs until the test program ends. Its threads end with their connections.
pub struct Server {
    address: Option<SocketAddr>,
    shared: Arc<Shared>,
}

impl Server {
    /// On a port of the system's choice.
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(handler, serve)
    }

    /// The same over TLS.
    pub fn start_tls(keys: tls::Keys, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(handler, move |stream, shared| {
            // A client that does not like the certificate breaks off in here.
            if let Some(stream) = keys.accept(stream) {
                serve(stream, shared);
            }
        })
    }

    /// On a unix socket.
    pub fn start_unix(path: &Path, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let shared = Shared::new(handler);
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self {
            address: None,
            shared,
        }
    }

    fn listen(
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
        serve: impl Fn(TcpStream, &Shared) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared::new(handler);
        let (accepting, serve) = (Arc::clone(&shared), Arc::new(serve));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (shared, serve) = (Arc::clone(&accepting), Arc::clone(&serve));
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self {
            address: Some(address),
            shared,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address.unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub fn https(&self, path: &str) -> String {
        format!("https://{}{path}", self.address())
    }

    /// Everything that came so far, in the order in which it came.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.shared.requests.lock().unwrap().len()
    }

    /// How many requests for that path came.
    pub fn count_of(&self, path: &str) -> usize {
        let requests = self.shared.requests.lock().unwrap();
        requests.iter().filter(|request| request.path == path).count()
    }

    /// Requests that were read and not yet answered.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::SeqCst)
    }

    /// Waits for so many requests in all.
    pub fn wait_for(&self, count: usize) {
        wait::until(
            &format!("{count} requests"),
            || (self.count() >= count).then_some(()),
            || format!("{} came", self.count()),
        );
    }

    /// Waits for so many requests more than there are now.
    pub fn wait_for_more(&self, count: usize) {
        self.wait_for(self.count() + count);
    }
}

impl Shared {
    fn new(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            requests: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            handler: Box::new(handler),
        })
    }
}

/// Serves one connection until the client closes it or the handler wants it closed.
fn serve(stream: impl Read + Write, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        shared.in_flight.fetch_add(1, Ordering::SeqCst);
        shared.requests.lock().unwrap().push(request.clone());
        let reply = (shared.handler)(&request);
        shared.in_flight.fetch_sub(1, Ordering::SeqCst);
        match reply {
            Reply::Answer(status, headers, body) => {
                let mut text = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    text.push_str(&format!("{name}: {value}\r\n"));
                }
                text.push_str("\r\n");
                text.push_str(&body);
                let stream = reader.get_mut();
                if stream.write_all(text.as_bytes()).is_err() || stream.flush().is_err() {
                    return;
                }
            }
            Reply::Silence => {
                let _ = std::io::copy(&mut reader, &mut std::io::sink());
                return;
            }
            Reply::Close => return,
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let first = line(reader)?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let line = line(reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        path,
        headers,
        body,
    })
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    let length = reader.read_line(&mut line).ok()?;
    (length > 0).then(|| line.trim_end().to_owned())
}
