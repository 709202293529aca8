//! Sockets that are no HTTP server: dead, silent, rude, or speaking in lines.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
};

/// A port that nobody listens on: bound, never listening, and held so that nobody else gets it.
pub struct Dead {
    _socket: tokio::net::TcpSocket,
    pub address: SocketAddr,
}

pub fn dead() -> Dead {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    Dead {
        address: socket.local_addr().unwrap(),
        _socket: socket,
    }
}

/// Accepts, and says nothing until the client goes.
pub fn silent() -> SocketAddr {
    serve(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

/// Accepts, and resets the connection once the client has said something: closing a socket with unread bytes in it
/// makes the kernel do that.
pub fn resetting() -> SocketAddr {
    serve(|stream| {
        let _ = stream.peek(&mut [0]);
    })
}

/// Answers each line with what `answer` makes of it.
pub fn lines(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> SocketAddr {
    serve(move |stream| {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
            let answer = answer(line.trim_end());
            if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
            line.clear();
        }
    })
}

fn serve(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle = std::sync::Arc::new(handle);
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let handle = std::sync::Arc::clone(&handle);
            std::thread::spawn(move || handle(stream));
        }
    });
    address
}
