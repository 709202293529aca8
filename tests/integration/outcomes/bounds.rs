//! What a guest says is bounded and clean before anybody sees it.

use super::{measured, report};
use crate::support::sandbox::{Lab, Work};
use pulse_host::{
    capability::log::{BYTES_MAX, LINE_BYTES_MAX, LINES_MAX, Level, Line},
    domain::outcome::Status,
};
use serde_json::json;

fn assert_clean(text: &str) {
    let hidden = |character: char| character.is_control() || character == '\u{202e}';
    assert!(!text.contains(hidden), "{text:?}");
}

#[test]
fn a_flood_of_lines_is_cut_and_the_job_goes_on() {
    let lab = Lab::new(1, &[]);
    for (deed, level) in [
        ("log-flood", Level::Info),
        ("stdout", Level::Info),
        ("stderr", Level::Warn),
    ] {
        for (count, bytes) in [(1_000, 10), (1_000, 1_000), (20, 100_000)] {
            let name = format!("{count} lines of {bytes} bytes by {deed}");
            let work = Work::chaos(json!({"do": deed, "count": count, "bytes": bytes}));
            let (result, lines) = lab.run_keeping_log(&work);
            assert_eq!(report(&result).status, Status::Healthy, "{name}");
            assert!(lines.len() <= LINES_MAX as usize, "{name}: {}", lines.len());
            let total: usize = lines.iter().map(|line| line.message.len()).sum();
            assert!(total <= BYTES_MAX + LINE_BYTES_MAX, "{name}: {total}");
            // As much as fits is there.
            assert!(
                lines.len() == LINES_MAX as usize || total >= BYTES_MAX || lines.len() == count,
                "{name}"
            );
            for Line { level: at, message } in &lines {
                assert_eq!(*at, level, "{name}");
                assert!(message.len() <= LINE_BYTES_MAX, "{name}: {}", message.len());
                // A line that was cut shows it.
                let whole = message.len() == bytes && message.chars().all(|character| character == 'x');
                assert!(
                    whole || (bytes > LINE_BYTES_MAX && message.ends_with('…')),
                    "{name}: {} bytes",
                    message.len()
                );
            }
        }
    }
}

#[test]
fn a_line_without_an_end_is_a_line_of_its_own_job() {
    let lab = Lab::new(1, &[]);
    let work = Work::chaos(json!({"do": "partial-line", "bytes": 5})).reuse(100);
    for calls in 1..=3 {
        let (result, lines) = lab.run_keeping_log(&work);
        assert_eq!(measured(&result, "calls"), f64::from(calls));
        let messages: Vec<&str> = lines.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(messages, ["xxxxx"]);
    }
}

#[test]
fn nothing_can_be_forged_with_control_characters() {
    let lab = Lab::new(1, &[]);
    let (result, _) = lab.run_keeping_log(&Work::chaos(json!({"do": "control-characters"})));
    let report = report(&result);
    assert_clean(&report.summary);
    assert!(
        report.summary.contains("one\\ntwo\\r\\u{0}three"),
        "{}",
        report.summary
    );
    assert_clean(report.reason.as_deref().unwrap());
    for measurement in &report.measurements {
        assert_clean(&measurement.name);
        assert_clean(&measurement.unit);
    }
    let (_, lines) = lab.run_keeping_log(&Work::chaos(json!({"do": "log-control-characters"})));
    assert!(lines.len() >= 3, "{lines:?}");
    for line in &lines {
        assert_clean(&line.message);
    }
}

#[test]
fn summaries_and_measurements_are_bounded() {
    let lab = Lab::new(1, &[]);
    let result = lab.run(&Work::chaos(json!({"do": "huge-summary", "bytes": 1 << 20})));
    let summary = &report(&result).summary;
    assert!(
        summary.len() <= 1_024 && summary.len() > 1_000 && summary.ends_with('…'),
        "{}",
        summary.len()
    );

    // More than one call may carry: the guest is cut for it.
    let result = lab.run(&Work::chaos(json!({"do": "huge-summary", "bytes": 5 << 20})));
    assert_eq!(result.outcome.class(), "trap");

    let result = lab.run(&Work::chaos(json!({"do": "measurements", "count": 10_000})));
    assert_eq!(report(&result).measurements.len(), 64);

    let result = lab.run(&Work::chaos(json!({"do": "nan"})));
    let names: Vec<&str> = report(&result)
        .measurements
        .iter()
        .map(|measurement| measurement.name.as_str())
        .collect();
    assert_eq!(names, ["good", "calls"]);
}
