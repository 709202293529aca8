//! `heartbeat` of a monitor: what it watches says by itself that it is well.

use super::{
    build::Owner,
    layer::LaneLayer,
    problem::Problem,
    read::{Reader, Spot},
    source::At,
    tree::{Node, Table, Value},
};
use crate::domain::{deadman, time::millis};
use std::time::Duration;

/// Keys of `heartbeat`.
pub const KEYS_BEAT: &[&str] = &["every", "grace", "hash"];

/// What a heartbeat may come late, unless something else is said.
const GRACE: Duration = Duration::from_secs(60);
/// How often heartbeats come at most; more often is a load test.
const EVERY_MIN: Duration = Duration::from_secs(1);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// What one level says about heartbeats.
#[derive(Clone, Debug)]
pub(super) struct BeatLayer {
    pub at: At,
    /// As it was written.
    pub written: Table,
    every: Option<Spot<Duration>>,
    grace: Option<Spot<Duration>>,
    hash: Option<Node>,
    /// Something could not be read, which was reported: nothing is missing.
    spoiled: bool,
}

impl BeatLayer {
    /// Reads what the table says.
    pub fn read(reader: &mut Reader<'_>, node: &Node) -> Option<Self> {
        let table = reader.table(node, "heartbeat")?;
        reader.known_keys(table, KEYS_BEAT, "`heartbeat`");
        let mut span = |key: &'static str, least| {
            table
                .get(key)
                .and_then(|node| reader.duration(node, &format!("heartbeat.{key}"), least..=YEAR))
        };
        let (every, grace) = (span("every", EVERY_MIN), span("grace", Duration::ZERO));
        let hash = table.get("hash");
        let hash = hash
            .filter(|node| reader.string(node, "heartbeat.hash").is_some())
            .cloned();
        let unread = |key: &str, read: bool| table.get(key).is_some() && !read;
        Some(Self {
            at: node.at,
            spoiled: unread("every", every.is_some())
                || unread("grace", grace.is_some())
                || unread("hash", hash.is_some()),
            written: table.clone(),
            every,
            grace,
            hash,
        })
    }

    /// This layer over `base`.
    pub fn over(&self, base: &Self) -> Self {
        Self {
            at: self.at,
            written: base.written.overlaid(&self.written),
            every: self.every.or(base.every),
            grace: self.grace.or(base.grace),
            hash: self.hash.clone().or_else(|| base.hash.clone()),
            spoiled: self.spoiled || base.spoiled,
        }
    }

    /// How late a heartbeat may come.
    pub fn grace(&self) -> Duration {
        self.grace.map_or(GRACE, |span| span.value)
    }

    /// The check that this comes to. `owner` is whose it is.
    pub fn lane(&self, reader: &mut Reader<'_>, owner: &Owner<'_>) -> LaneLayer {
        let lane = |settings: Option<Spot<Table>>| LaneLayer {
            plugin: Some(Spot {
                at: self.at,
                value: deadman::PLUGIN.into(),
            }),
            spoiled: settings.is_none(),
            settings,
            ..LaneLayer::default()
        };
        let mut lacks = |key: &str, help: &str| {
            if !self.spoiled && !owner.partial {
                let text = format!("{} lacks `heartbeat.{key}`", owner.who);
                reader.report(Problem::new("missing-key", owner.at, text).help(help));
            }
        };
        if self.every.is_none() {
            lacks("every", "how often heartbeats come: heartbeat.every = \"5m\"");
        }
        if self.hash.is_none() {
            lacks(
                "hash",
                "`pulse-host token new` makes a token for whatever sends them, and prints its hash: heartbeat.hash = \"sha256:...\"",
            );
        }
        let (Some(every), Some(hash)) = (self.every, &self.hash) else {
            return lane(None);
        };
        let whole = |at, span| Node {
            at,
            value: Value::Integer(i64::try_from(millis(span)).unwrap_or(i64::MAX)),
            veiled: false,
        };
        let settings = Table::of([
            ("every_ms", whole(every.at, every.value)),
            (
                "grace_ms",
                whole(self.grace.map_or(self.at, |span| span.at), self.grace()),
            ),
            ("hash", hash.clone()),
        ]);
        lane(Some(Spot {
            at: self.at,
            value: settings,
        }))
    }
}
