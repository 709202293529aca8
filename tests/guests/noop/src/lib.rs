//! A pulse that answers healthy at once and parses nothing: what is left is the host's own cost per job. It does
//! without the SDK, so that no more of a guest than its bindings is measured.

wit_bindgen::generate!({
    path: ["../../../wit/host", "../../../wit/plugin"],
    inline: "package pulse:noop; world noop { export pulse:plugin/plugin@0.1.0; export pulse:plugin/pulse@0.1.0; }",
    generate_all,
});

use exports::pulse::plugin::{
    plugin::{Description, Guest as Plugin},
    pulse::{Guest as Pulse, Job, Report, Status},
};
use pulse::plugin::model::Fault;

struct Noop;

impl Plugin for Noop {
    fn describe() -> Description {
        Description {
            name: "noop".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "Answers healthy at once".into(),
            settings_schema: r#"{"type":"object"}"#.into(),
        }
    }
}

impl Pulse for Noop {
    fn run(_: Job) -> Result<Report, Fault> {
        Ok(Report {
            status: Status::Healthy,
            summary: String::new(),
            reason: None,
            measurements: Vec::new(),
        })
    }
}

export!(Noop);
