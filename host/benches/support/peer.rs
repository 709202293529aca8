//! Programs of others that are measured beside ours: each in a process of its own, on a free port of loopback, with its
//! files in a folder of its own.

use super::process;
use anyhow::{Context as _, Result, bail};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// How long a program may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running program; it ends with this value.
pub struct Peer {
    child: Child,
    pub address: SocketAddr,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn start(command: &mut Command, address: SocketAddr) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let mut peer = Self { child, address };
        let mut waited = Duration::ZERO;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = peer.child.try_wait()? {
                bail!("{command:?} ended: {status}");
            }
            if waited > PATIENCE {
                bail!("{command:?} does not listen at {address}");
            }
            std::thread::sleep(LOOK_EVERY);
            waited += LOOK_EVERY;
        }
        Ok(peer)
    }
}

/// A web server that answers every request with a few bytes. None if it is not installed.
pub fn nginx() -> Result<Option<Peer>> {
    let Some(program) = installed("nginx", "nginx-light") else {
        return Ok(None);
    };
    let (folder, address) = (folder("nginx")?, free_address()?);
    let config = folder.join("nginx.conf");
    let path = folder.display();
    let places: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("  {what}_temp_path {path}/{what};\n"))
        .concat();
    std::fs::write(
        &config,
        format!(
            "daemon off;\nmaster_process off;\npid {path}/pid;\nerror_log {path}/error.log;\n\
             events {{ worker_connections 4096; }}\n\
             http {{\n{places}  access_log off;\n  server {{\n    listen {address};\n    \
             location / {{ default_type text/plain; return 200 \"ok\\n\"; }}\n  }}\n}}\n"
        ),
    )?;
    let mut command = Command::new(program);
    command.arg("-p").arg(&folder).arg("-c").arg(&config);
    Peer::start(&mut command, address).map(Some)
}

/// Prometheus' prober. None if it is not installed.
pub fn blackbox_exporter() -> Result<Option<Peer>> {
    let name = "prometheus-blackbox-exporter";
    let Some(program) = installed(name, name) else {
        return Ok(None);
    };
    let (folder, address) = (folder("blackbox")?, free_address()?);
    let config = folder.join("blackbox.yml");
    std::fs::write(
        &config,
        "modules:\n  http_2xx:\n    prober: http\n    timeout: 5s\n    http:\n      preferred_ip_protocol: ip4\n",
    )?;
    let mut command = Command::new(program);
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--web.listen-address={address}"))
        .arg("--log.level=error");
    Peer::start(&mut command, address).map(Some)
}

fn installed(program: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|path| path.is_file());
    if found.is_none() {
        eprintln!("{program} is not installed, so nothing is measured with it: apt-get install {package}");
    }
    found
}

fn folder(name: &str) -> Result<PathBuf> {
    let folder = process::scratch()?.join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir_all(Path::new(&folder))?;
    Ok(folder)
}

/// A port that nobody listens at. Somebody else may take it before it is used, which then is said.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
