//! What the demo was asked for.

use super::owner;
use anyhow::{Context as _, Result, bail};
use std::{
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

/// Arguments of `cargo xtask demo`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Ends by itself after that time.
    pub seconds: Option<Duration>,
    /// The alerts must begin with these colors.
    pub expect: Option<Vec<String>>,
    /// Where the service listens.
    pub ports: Ports,
}

/// Where the demo's service listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ports {
    /// Where the quickstart says.
    #[default]
    Quickstart,
    /// Wherever there is room.
    Free,
}

impl Options {
    /// Reads the arguments.
    pub fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--seconds" => {
                    let value = args.next().context("`--seconds` needs a number")?;
                    let seconds: u32 = value
                        .parse()
                        .with_context(|| format!("`--seconds {value}`: not a number of seconds"))?;
                    options.seconds = Some(Duration::from_secs(seconds.into()));
                }
                "--expect" => {
                    let value = args
                        .next()
                        .context("`--expect` needs colors, such as yellow,cyan,green")?;
                    options.expect = Some(value.split(',').map(|color| color.trim().to_owned()).collect());
                }
                "--free-ports" => options.ports = Ports::Free,
                other => bail!("`cargo xtask demo` has no option `{other}`; `cargo xtask help` lists them"),
            }
        }
        if options.expect.is_some() && options.seconds.is_none() {
            bail!("`--expect` needs `--seconds`: how long to wait for the colors at most");
        }
        Ok(options)
    }

    /// The colors that are expected; none if nothing is.
    pub fn expected(&self) -> &[String] {
        self.expect.as_deref().unwrap_or_default()
    }
}

impl Ports {
    /// Listens at the quickstart's address, or at another port of that host.
    pub fn bind(self, (host, port): (&str, u16)) -> Result<TcpListener> {
        if self == Self::Free {
            return Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
        }
        match TcpListener::bind((host, port)) {
            Ok(listener) => Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                let who = owner::of_port(port).unwrap_or_else(|| "another program".to_owned());
                bail!(
                    "port {port} is taken by {who}, and the demo's service listens there (pulse-host.toml names \
                     http://{host}:{port}/): end that program, or run `cargo xtask demo --free-ports`"
                )
            }
            Err(error) => Err(error).with_context(|| format!("listening at {host}:{port}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_and_what_makes_no_sense_is_refused() {
        assert_eq!(parse("").unwrap(), Options::default());
        let options = parse("--seconds 90 --expect yellow,cyan --free-ports").unwrap();
        assert_eq!(options.seconds, Some(Duration::from_secs(90)));
        assert_eq!(options.expected(), ["yellow", "cyan"]);
        assert_eq!(options.ports, Ports::Free);
        for wrong in [
            "--seconds",
            "--seconds soon",
            "--seconds -1",
            "--expect yellow",
            "--port 1",
            "now",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_taken_port_names_the_port_and_the_way_out() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = Ports::Quickstart
            .bind(("127.0.0.1", port))
            .unwrap_err()
            .to_string();
        assert!(error.contains(&format!("port {port} is taken by ")), "{error}");
        assert!(error.contains("--free-ports"), "{error}");
        let free = Ports::Free.bind(("127.0.0.1", port)).unwrap();
        assert_ne!(free.local_addr().unwrap().port(), port);
    }
}
