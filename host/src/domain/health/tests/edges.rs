//! Where two rules meet: what comes between, just after, or not at all.

use super::*;

#[test]
fn reminders_go_on_counting_when_red_gets_a_second_cause() {
    let mut stage = Stage::new(spec(1, 1, Some(1)));
    stage.bad();
    stage.intervene();
    assert_eq!(stage.wait(120), [Red], "page-after");
    assert_eq!(stage.wait(300), [Red], "the first reminder");
    assert_eq!(stage.end(InterventionEnd::Permanent("gone".to_owned())), [Red]);
    assert_eq!(stage.wait(300), [Red], "the second reminder");
    let mut causes: Vec<&str> = stage.codes.iter().map(|code| code.cause.as_str()).collect();
    causes.sort_unstable();
    assert_eq!(
        causes,
        ["down", "failing", "page-after", "reminder-1", "reminder-2"]
    );
}
