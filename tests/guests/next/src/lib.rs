//! A pulse for `pulse:plugin@0.2.0` (`tests/abi/`), which borrows from `pulse:host@0.1.0`.

wit_bindgen::generate!({
    path: ["../../../wit/host", "../../abi/0.2.0"],
    inline: "package pulse:next; world next {
        import pulse:host/log@0.1.0;
        export pulse:plugin/plugin@0.2.0;
        export pulse:plugin/pulse@0.2.0;
    }",
    generate_all,
});

use exports::pulse::plugin::{
    plugin::{Description, Guest as Plugin},
    pulse::{Guest as Pulse, Job, Report, Status},
};
use pulse::{
    host::log::{self, Level},
    plugin::model::Fault,
};

struct Next;

impl Plugin for Next {
    fn describe() -> Description {
        Description {
            name: "next".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "Has two reasons".into(),
            settings_schema: r#"{"type":"object"}"#.into(),
        }
    }
}

impl Pulse for Next {
    fn run(job: Job) -> Result<Report, Fault> {
        log::write(Level::Info, &format!("next looks at {}", job.subject.monitor));
        Ok(Report {
            status: Status::Unhealthy,
            summary: format!("settings {}", job.settings),
            reasons: vec!["first".into(), "second".into()],
            measurements: Vec::new(),
        })
    }
}

export!(Next);
