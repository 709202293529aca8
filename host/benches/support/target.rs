//! Targets on loopback, in a process of their own: `/ok` answers after 50 ms, `/hang` never.

use anyhow::{Context as _, Result};
use std::{
    io::{BufRead as _, BufReader},
    net::Ipv4Addr,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

pub const SUBCOMMAND: &str = "serve-targets";
const ANSWER_AFTER: Duration = Duration::from_millis(50);
/// Several addresses, so that the ports that linger after a connection do not run out.
const ADDRESSES: u8 = 16;

/// The running server; it ends with this value.
pub struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// The address of a monitor's target.
    pub fn address(&self, number: usize) -> String {
        format!("127.0.0.{}:{}", 1 + number % usize::from(ADDRESSES), self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts this program again as the server.
pub fn start() -> Result<Server> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(SUBCOMMAND)
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("no output of the server")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let port = line.trim().parse().context("the server did not say its port")?;
    Ok(Server { child, port })
}

/// The server itself.
pub fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = first.local_addr()?.port();
        let mut listeners = vec![first];
        for last in 2..=ADDRESSES {
            listeners.push(TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), port)).await?);
        }
        println!("{port}");
        let mut loops = tokio::task::JoinSet::new();
        for listener in listeners {
            loops.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(answer(stream));
                }
            });
        }
        while loops.join_next().await.is_some() {}
        Ok(())
    })
}

async fn answer(mut stream: TcpStream) {
    let mut head = [0; 1024];
    let Ok(count) = stream.read(&mut head).await else {
        return;
    };
    if head
        .get(..count)
        .is_some_and(|head| head.starts_with(b"GET /hang"))
    {
        // Until the client gives up.
        let _ = stream.read(&mut head).await;
        return;
    }
    tokio::time::sleep(ANSWER_AFTER).await;
    let _ = stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        .await;
}
