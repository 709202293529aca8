//! What is asked of a host that runs: how things stand, and what operators say of monitors.

use super::{Output, put, put_json, table::table, whose::Whose};
use crate::{
    http::{client, tokens::Door},
    journal::counted,
};
use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::process::ExitCode;

/// Which host, and how to get in.
#[derive(Debug, Args)]
pub struct Remote {
    /// The host's address [default: the one that runs with the data directory]
    #[arg(long, value_name = "URL", env = "PULSE_HOST_URL")]
    url: Option<String>,
    /// What opens it [default: the token that the running host keeps in its data directory]
    #[arg(long, value_name = "TOKEN", env = "PULSE_HOST_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// How the result looks
    #[arg(long, value_enum, env = "PULSE_HOST_OUTPUT", default_value_t)]
    output: Output,
    #[command(flatten)]
    whose: Whose,
}

/// Which monitor.
#[derive(Debug, Args)]
pub struct One {
    /// The monitor's name
    #[arg(value_name = "MONITOR")]
    monitor: String,
    /// Whose monitor it is
    #[arg(long, value_name = "NAME", default_value = "default")]
    tenant: String,
}

/// What is said with an order.
#[derive(Debug, Args)]
pub struct Said {
    /// How long it holds, as 30m or 2h; until it is taken back, if nothing is said
    #[arg(long = "for", value_name = "DURATION")]
    lasts: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pulse-host status
  pulse-host status --url https://pulse.example.org:9273 --output json")]
pub struct StatusArgs {
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct ReloadArgs {
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pulse-host pause shop --for 2h --comment 'moving house'
  pulse-host pause shop --tenant acme")]
pub struct PauseArgs {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    said: Said,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct OneArgs {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pulse-host ack shop --comment 'disk ordered' --for 1d
  pulse-host ack shop --undo
Reminders and page-after wait while it holds; the end of the incident is told, and ends it.")]
pub struct AckArgs {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    said: Said,
    /// Take it back
    #[arg(long, conflicts_with_all = ["lasts", "comment"])]
    undo: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
pub enum OrderCommand {
    /// Show those that hold, and those to come
    List(ListArgs),
    /// Begin one, for all monitors that a selector means
    Add(AddArgs),
    /// End one
    End(EndArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Of that tenant only
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples (silence and maintenance alike):
  pulse-host maintenance add 'site=\"a\"' --for 2h --comment 'new switches'
  pulse-host maintenance add 'site=\"a\"' --from 2026-12-01T22:00:00+01:00 --for 4h
  pulse-host maintenance add 'kind=\"batch\"' --days sat,sun --at 22:00 --for 6h --zone Europe/Berlin
  pulse-host silence add 'monitor=~\"test-.*\"'")]
pub struct AddArgs {
    /// Labels of the monitors, as in 'site="a",env!="dev"'; an empty one means all of them
    #[arg(value_name = "SELECTOR")]
    selector: String,
    /// Of that tenant only
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// When it begins [default: now]
    #[arg(long, value_name = "TIME", conflicts_with_all = ["days", "at"])]
    from: Option<String>,
    /// When it ends
    #[arg(long, value_name = "TIME", conflicts_with_all = ["days", "at", "lasts"])]
    until: Option<String>,
    /// It recurs on these days, as sat,sun
    #[arg(long, value_name = "DAYS", value_delimiter = ',', requires = "at")]
    days: Option<Vec<String>>,
    /// It recurs at this time of the day, as 22:00
    #[arg(long, value_name = "TIME", requires = "lasts")]
    at: Option<String>,
    /// Whose clocks are meant [default: UTC]
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    #[command(flatten)]
    said: Said,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct EndArgs {
    /// Its id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    remote: Remote,
}

/// A host that can be asked.
pub(super) struct Host {
    pub(super) door: Door,
    output: Output,
}

impl Remote {
    /// The host, or the exit code of a configuration that is wrong.
    pub(super) fn reach(self) -> Result<Result<Host, ExitCode>> {
        let door = match (self.url, self.token) {
            (Some(url), token) => Door::named(url, token.unwrap_or_default()),
            (None, token) => {
                let data_dir = match self.whose.data_dir()? {
                    Ok(data_dir) => data_dir,
                    Err(code) => return Ok(Err(code)),
                };
                let door = Door::read(&data_dir).with_context(|| {
                    format!("how to reach the host can't be read in {}", data_dir.display())
                })?;
                let Some(mut door) = door else {
                    bail!(
                        "no pulse-host runs with the data directory {}, or it serves no API; --data-dir or --url says which is meant",
                        data_dir.display()
                    );
                };
                if let Some(token) = token {
                    door.token = token;
                }
                door
            }
        };
        Ok(Ok(Host {
            door,
            output: self.output,
        }))
    }
}

impl Host {
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        client::ask(&self.door, method, path, body)
    }

    /// Prints an answer as it is, or the line that it comes to.
    pub(super) fn show(&self, answer: &Value, line: impl FnOnce(&Value) -> String) -> Result<ExitCode> {
        match self.output {
            Output::Json => put_json(answer)?,
            Output::Text => {
                put(&format!("{}\n", line(answer)))?;
                if let Some(why) = answer
                    .pointer("/order/unkept")
                    .or(answer.get("unkept"))
                    .and_then(Value::as_str)
                {
                    eprintln!("warning: this is not on record, and a restart forgets it: {why}");
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

macro_rules! reached {
    ($remote:expr) => {
        match $remote.reach()? {
            Ok(host) => host,
            Err(code) => return Ok(code),
        }
    };
}

impl One {
    fn path(&self, action: &str) -> String {
        format!(
            "/api/v1/monitors/{}/{}/{action}",
            escaped(&self.tenant),
            escaped(&self.monitor)
        )
    }
}

impl Said {
    fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        if let Some(lasts) = &self.lasts {
            body.insert("for".to_owned(), lasts.clone().into());
        }
        if let Some(comment) = &self.comment {
            body.insert("comment".to_owned(), comment.clone().into());
        }
        body
    }
}

/// A part of a path.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte))
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn is_changed(answer: &Value) -> bool {
    answer.get("changed").and_then(Value::as_bool) == Some(true)
}

/// Until when an order holds, as a part of a sentence.
fn until(order: &Value) -> String {
    match text(order, "/until") {
        "" => "until it is taken back".to_owned(),
        until => format!("until {until}"),
    }
}

pub fn status(args: StatusArgs) -> Result<ExitCode> {
    let host = reached!(args.remote);
    let answer = host.ask("GET", "/api/v1/status", None)?;
    host.show(&answer, |answer| {
        let mut lines = vec![format!(
            "pulse-host {}, {}, since {}",
            text(answer, "/version"),
            if answer.get("ready").and_then(Value::as_bool) == Some(true) {
                "ready"
            } else {
                "not ready"
            },
            text(answer, "/started")
        )];
        let counts = answer.get("monitors").and_then(Value::as_object);
        let counts: Vec<String> = counts
            .into_iter()
            .flatten()
            .filter(|(_, count)| count.as_u64() > Some(0))
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        if !counts.is_empty() {
            lines.push(format!("monitors: {}", counts.join(", ")));
        }
        for kind in ["pulse", "intervention", "code"] {
            let of = |key: &str| {
                let figure = answer.pointer(&format!("/jobs/{kind}/{key}"));
                figure.and_then(Value::as_u64).unwrap_or_default()
            };
            if of("sent") > 0 {
                lines.push(format!(
                    "{kind}: {} sent, {} under way, {} waiting, {} lost; lateness p99 {:.1} ms",
                    of("sent"),
                    of("pending"),
                    of("needed"),
                    of("lost"),
                    of("lateness_p99_us") as f64 / 1000.0
                ));
            }
        }
        if let Some(wrong) = answer
            .pointer("/configuration/last_reload")
            .filter(|last| last.get("ok").and_then(Value::as_bool) == Some(false))
        {
            lines.push(format!("the last reload failed: {}", text(wrong, "/message")));
        }
        lines.join("\n")
    })
}

pub fn reload(args: ReloadArgs) -> Result<ExitCode> {
    let host = reached!(args.remote);
    let answer = host.ask("POST", "/-/reload", None)?;
    host.show(&answer, |answer| text(answer, "/reloaded").to_owned())
}

pub fn pause(args: PauseArgs) -> Result<ExitCode> {
    let host = reached!(args.remote);
    let answer = host.ask("POST", &args.one.path("pause"), Some(&args.said.body().into()))?;
    let monitor = args.one.monitor;
    host.show(&answer, |answer| {
        format!(
            "{monitor} is paused {}",
            until(answer.get("order").unwrap_or(&Value::Null))
        )
    })
}

pub fn resume(args: OneArgs) -> Result<ExitCode> {
    let host = reached!(args.remote);
    let answer = host.ask("POST", &args.one.path("resume"), None)?;
    let monitor = args.one.monitor;
    host.show(&answer, |answer| match is_changed(answer) {
        true => format!("{monitor} is checked again"),
        false => format!("{monitor} was not paused"),
    })
}

pub fn check(args: OneArgs) -> Result<ExitCode> {
    let host = reached!(args.remote);
    let answer = host.ask("POST", &args.one.path("check"), None)?;
    let monitor = args.one.monitor;
    host.show(&answer, |answer| match text(answer, "/checking") {
        "due" => format!("{monitor} is checked now"),
        _ => format!("{monitor} is being checked already"),
    })
}

pub fn ack(args: AckArgs) -> Result<ExitCode> {
    let host = reached!(args.remote);
    let monitor = args.one.monitor.clone();
    if args.undo {
        let answer = host.ask("POST", &args.one.path("unacknowledge"), None)?;
        return host.show(&answer, |answer| match is_changed(answer) {
            true => format!("the incident of {monitor} is not acknowledged any more"),
            false => format!("the incident of {monitor} was not acknowledged"),
        });
    }
    let answer = host.ask(
        "POST",
        &args.one.path("acknowledge"),
        Some(&args.said.body().into()),
    )?;
    host.show(&answer, |answer| {
        format!(
            "incident {} of {monitor} is acknowledged",
            text(answer, "/order/incident")
        )
    })
}

/// `silence` and `maintenance`; `kind`: what stands in the path.
pub fn orders(kind: &str, command: OrderCommand) -> Result<ExitCode> {
    match command {
        OrderCommand::List(args) => {
            let host = reached!(args.remote);
            let of = args.tenant.map(|tenant| format!("?tenant={}", escaped(&tenant)));
            let answer = host.ask("GET", &format!("/api/v1/{kind}{}", of.unwrap_or_default()), None)?;
            host.show(&answer, list)
        }
        OrderCommand::Add(args) => {
            let host = reached!(args.remote);
            let mut body = args.said.body();
            body.insert("selector".to_owned(), args.selector.into());
            for (key, value) in [
                ("tenant", args.tenant),
                ("from", args.from),
                ("until", args.until),
                ("at", args.at),
                ("zone", args.zone),
            ] {
                if let Some(value) = value {
                    body.insert(key.to_owned(), value.into());
                }
            }
            if let Some(days) = args.days {
                body.insert("days".to_owned(), json!(days));
            }
            let answer = host.ask("POST", &format!("/api/v1/{kind}"), Some(&body.into()))?;
            host.show(&answer, |answer| {
                let changed = answer.get("changed").and_then(Value::as_u64).unwrap_or_default();
                match answer.get("active").and_then(Value::as_bool) {
                    Some(true) => format!(
                        "{} holds for {}",
                        text(answer, "/id"),
                        counted(changed, "monitor")
                    ),
                    _ => format!(
                        "{} begins at {}",
                        text(answer, "/id"),
                        text(answer, "/next_change")
                    ),
                }
            })
        }
        OrderCommand::End(args) => {
            let host = reached!(args.remote);
            let answer = host.ask("DELETE", &format!("/api/v1/{kind}/{}", escaped(&args.id)), None)?;
            host.show(&answer, |answer| {
                let changed = answer.get("changed").and_then(Value::as_u64).unwrap_or_default();
                format!("{} has ended, for {}", args.id, counted(changed, "monitor"))
            })
        }
    }
}

fn list(answer: &Value) -> String {
    let orders: Vec<&Value> = answer
        .get("orders")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect();
    if orders.is_empty() {
        return "none".to_owned();
    }
    let mut rows = vec![["ID", "MONITORS", "TENANT", "HOLDS", "WHEN", "BY", "WHY"].map(str::to_owned)];
    rows.extend(orders.into_iter().map(|order| {
        let monitors = match (text(order, "/monitor"), text(order, "/selector")) {
            ("", "") => "all",
            ("", selector) => selector,
            (monitor, _) => monitor,
        };
        let when = match text(order, "/at") {
            "" => match text(order, "/until") {
                "" => format!("from {}", text(order, "/from")),
                until => format!("{} to {until}", text(order, "/from")),
            },
            at => {
                let days = order.get("days").and_then(Value::as_array).into_iter().flatten();
                let days: Vec<&str> = days.filter_map(Value::as_str).collect();
                format!(
                    "{} {at} for {} {}",
                    days.join(","),
                    text(order, "/for"),
                    text(order, "/zone")
                )
            }
        };
        [
            text(order, "/id").to_owned(),
            monitors.to_owned(),
            match text(order, "/tenant") {
                "" => "all".to_owned(),
                tenant => tenant.to_owned(),
            },
            match order.get("active").and_then(Value::as_bool) {
                Some(true) => "now".to_owned(),
                _ => "later".to_owned(),
            },
            when,
            text(order, "/by").to_owned(),
            text(order, "/comment").to_owned(),
        ]
    }));
    table(&rows).trim_end().to_owned()
}
