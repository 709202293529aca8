//! Codes for named services, against servers that take only what the services' documentation allows.

use super::Target;
use crate::support::{
    host::{Config, Host},
    http::{Reply, Request, Server},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";

fn only_keys(value: &Value, known: &[&str]) -> Result<(), String> {
    let object = value.as_object().ok_or("not an object")?;
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("'{key}' is not documented")),
        None => Ok(()),
    }
}

fn text<'a>(value: &'a Value, key: &str, max: usize) -> Result<&'a str, String> {
    let text = value[key]
        .as_str()
        .ok_or(format!("'{key}' is missing or blank"))?;
    if text.is_empty() || text.chars().count() > max {
        return Err(format!("'{key}' has {} characters", text.chars().count()));
    }
    Ok(text)
}

/// PagerDuty's documentation of an event, and what it makes of a stream of them.
#[derive(Default)]
struct PagerDuty {
    /// By `dedup_key`: what was done with the alert, in order.
    alerts: Mutex<BTreeMap<String, Vec<(String, String)>>>,
}

impl PagerDuty {
    fn take(&self, request: &Request) -> Result<String, String> {
        if (request.method.as_str(), request.path.as_str()) != ("POST", "/v2/enqueue") {
            return Err("not the documented place".into());
        }
        if request.header("content-type") != Some("application/json") {
            return Err("not JSON".into());
        }
        let event: Value = serde_json::from_slice(&request.body).map_err(|error| error.to_string())?;
        only_keys(
            &event,
            &[
                "routing_key",
                "event_action",
                "dedup_key",
                "payload",
                "client",
                "client_url",
                "links",
                "images",
            ],
        )?;
        if text(&event, "routing_key", 32)? != ROUTING_KEY {
            return Err("'routing_key' is invalid".into());
        }
        let key = text(&event, "dedup_key", 255)?.to_owned();
        let action = text(&event, "event_action", 11)?;
        let payload = &event["payload"];
        only_keys(
            payload,
            &[
                "summary",
                "source",
                "severity",
                "timestamp",
                "component",
                "group",
                "class",
                "custom_details",
            ],
        )?;
        text(payload, "summary", 1_024)?;
        text(payload, "source", 1_024)?;
        let severity = text(payload, "severity", 8)?;
        if !["critical", "error", "warning", "info"].contains(&severity) {
            return Err(format!("'payload.severity' is {severity}"));
        }
        let time = text(payload, "timestamp", 40)?;
        if time.len() != 24 || !time.ends_with('Z') {
            return Err(format!("'payload.timestamp' is {time}"));
        }
        let mut alerts = self.alerts.lock().unwrap();
        match action {
            "trigger" => {}
            "acknowledge" | "resolve" if alerts.contains_key(&key) => {}
            "acknowledge" | "resolve" => return Err(format!("{action} of {key}, which nothing has opened")),
            _ => return Err(format!("'event_action' is {action}")),
        }
        let done = alerts.entry(key.clone()).or_default();
        done.push((action.to_owned(), severity.to_owned()));
        Ok(key)
    }

    fn answer(&self, request: &Request) -> Reply {
        let (status, body) = match self.take(request) {
            Ok(key) => (
                202,
                json!({ "status": "success", "message": "Event processed", "dedup_key": key }),
            ),
            Err(wrong) => (
                400,
                json!({ "status": "invalid event", "message": "Event object is invalid", "errors": [wrong] }),
            ),
        };
        Reply::Answer(status, Vec::new(), body.to_string())
    }
}

/// Answers as it must at first: too many requests, then its own trouble.
fn overloaded(call: usize) -> Option<Reply> {
    match call {
        0 => Some(Reply::Answer(
            429,
            vec![("retry-after", "1".to_owned())],
            "rate_limited".into(),
        )),
        1 => Some(Reply::Answer(500, Vec::new(), String::new())),
        _ => None,
    }
}

fn plugin(name: &str, server: &Server) -> String {
    format!(
        "[plugins.{name}]\ngrants.http = [\"http://{}\"]\ngrants.networks = [\"loopback\"]\n",
        server.address()
    )
}

#[test]
fn one_alert_of_pagerduty_is_opened_escalated_and_resolved() {
    let target = Target::start(false);
    let service = Arc::new(PagerDuty::default());
    let (own, calls) = (Arc::clone(&service), AtomicUsize::new(0));
    let server = Server::start(move |request| {
        overloaded(calls.fetch_add(1, Ordering::SeqCst)).unwrap_or_else(|| own.answer(request))
    });
    let config = plugin("pagerduty", &server)
        + &format!(
            "[notifiers.oncall]\nplugin = \"pagerduty\"\nsettings = {{ routing-key = {ROUTING_KEY:?}, url = {:?} }}\n",
            server.url("/v2/enqueue")
        )
        + &target.monitor("shop")
        + "notify-add = [\"oncall\"]\n";
    let host = Host::start(&Config::new(config));
    let alerts = host.wait_for_color("shop", "red");
    host.wait_for_log("shop: red was sent to oncall");
    target.set(true);
    host.wait_for_log("shop: green was sent to oncall");
    let taken = service.alerts.lock().unwrap().clone();
    let step = |action: &str, severity: &str| (action.to_owned(), severity.to_owned());
    assert_eq!(
        taken,
        BTreeMap::from([(
            alerts[0]["incident_key"].as_str().unwrap().to_owned(),
            vec![
                step("trigger", "warning"),
                step("trigger", "critical"),
                step("resolve", "info"),
            ],
        )]),
        "one alert, by the episode's own key"
    );
    assert!(host.logged("shop: yellow was not taken by oncall, again in ") >= 2);
}

#[test]
fn what_pagerduty_refuses_is_told_in_its_own_words() {
    let target = Target::start(false);
    let service = PagerDuty::default();
    let server = Server::start(move |request| service.answer(request));
    let config = plugin("pagerduty", &server)
        + &format!(
            "[notifiers.oncall]\nplugin = \"pagerduty\"\nsettings = {{ routing-key = \"mistyped\", url = {:?} }}\n",
            server.url("/v2/enqueue")
        )
        + &target.monitor("shop")
        + "notify-add = [\"oncall\"]\n";
    let host = Host::start(&Config::new(config));
    host.wait_for_log(
        "shop: yellow can't be delivered to oncall and is given up: HTTP 400: Event object is invalid: \
         'routing_key' is invalid",
    );
}

/// Slack's documentation of a message.
fn slack(request: &Request) -> Result<(), String> {
    if (request.method.as_str(), request.path.as_str()) != ("POST", "/services/T0/B0/secret") {
        return Err("no_service".into());
    }
    let json = request
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("application/json"));
    let message: Value = serde_json::from_slice(&request.body).map_err(|_| "invalid_payload")?;
    if !json {
        return Err("invalid_payload".into());
    }
    only_keys(
        &message,
        &["text", "blocks", "attachments", "unfurl_links", "unfurl_media"],
    )?;
    text(&message, "text", 40_000)?;
    // Slack itself takes a text that is not verbatim, and looks for links and mentions in it.
    let verbatim = |object: &Value| -> Result<(), String> {
        only_keys(object, &["type", "text", "verbatim"])?;
        if object["type"] != "mrkdwn" || object["verbatim"] != true {
            return Err(format!("invalid_blocks: {object} is not verbatim"));
        }
        text(object, "text", 3_000).map(drop)
    };
    let blocks = |value: &Value| -> Result<(), String> {
        let blocks = value.as_array().ok_or("invalid_blocks")?;
        if blocks.is_empty() || blocks.len() > 50 {
            return Err("invalid_blocks".into());
        }
        for block in blocks {
            match block["type"].as_str() {
                Some("section") => {
                    only_keys(block, &["type", "text"])?;
                    verbatim(&block["text"])?;
                }
                Some("context") => {
                    only_keys(block, &["type", "elements"])?;
                    let elements = block["elements"].as_array().ok_or("invalid_blocks")?;
                    if elements.is_empty() || elements.len() > 10 {
                        return Err("invalid_blocks".into());
                    }
                    for element in elements {
                        verbatim(element)?;
                    }
                }
                other => return Err(format!("invalid_blocks: {other:?}")),
            }
        }
        Ok(())
    };
    blocks(&message["blocks"])?;
    let attachments = message["attachments"].as_array().ok_or("invalid_attachments")?;
    for attachment in attachments {
        only_keys(attachment, &["color", "blocks"])?;
        let color = text(attachment, "color", 7)?;
        if !(color.starts_with('#') && color.len() == 7) {
            return Err("invalid_attachments".into());
        }
        blocks(&attachment["blocks"])?;
    }
    Ok(())
}

#[test]
fn slack_gets_one_message_for_each_color_and_its_wish_is_heeded() {
    let target = Target::start(false);
    let calls = AtomicUsize::new(0);
    let posted: Arc<Mutex<Vec<String>>> = Arc::default();
    let channel = Arc::clone(&posted);
    let server = Server::start(move |request| {
        if let Some(reply) = overloaded(calls.fetch_add(1, Ordering::SeqCst)) {
            return reply;
        }
        match slack(request) {
            Ok(()) => {
                let text = request.json()["text"].as_str().unwrap().to_owned();
                channel.lock().unwrap().push(text);
                Reply::Answer(200, Vec::new(), "ok".into())
            }
            Err(word) => Reply::Answer(400, Vec::new(), word),
        }
    });
    let config = plugin("slack", &server)
        + &format!(
            "[notifiers.ops]\nplugin = \"slack\"\nsettings = {{ url = {:?}, mention = \"<!here>\" }}\n",
            server.url("/services/T0/B0/secret")
        )
        + &target.monitor("shop")
        + "labels = { owner = \"<!channel>\" }\nnotify-add = [\"ops\"]\n";
    let host = Host::start(&Config::new(config));
    host.wait_for_log("shop: red was sent to ops: shop is down (posted)");
    target.set(true);
    host.wait_for_log("shop: green was sent to ops: ");
    let posted = posted.lock().unwrap().clone();
    assert_eq!(posted.len(), 3, "{posted:?}");
    for (text, start) in posted.iter().zip([
        ":large_yellow_circle: YELLOW: ",
        "<!here> :red_circle: RED: shop is down",
        ":large_green_circle: GREEN: ",
    ]) {
        assert!(text.starts_with(start), "{text}");
    }
    assert!(host.logged("shop: yellow was not taken by ops, again in ") >= 2);
}

#[test]
fn a_channel_that_is_gone_is_given_up_at_once() {
    let target = Target::start(false);
    let server = Server::start(|_| Reply::Answer(410, Vec::new(), "channel_is_archived".into()));
    let config = plugin("slack", &server)
        + &format!(
            "[notifiers.ops]\nplugin = \"slack\"\nsettings = {{ url = {:?} }}\n",
            server.url("/services/T0/B0/secret")
        )
        + &target.monitor("shop")
        + "notify-add = [\"ops\"]\n";
    let host = Host::start(&Config::new(config));
    host.wait_for_log(
        "shop: yellow can't be delivered to ops and is given up: HTTP 410: channel_is_archived",
    );
}
