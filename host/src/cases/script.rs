//! A case as the script of an execution: its calls in their order, and what did not go as it says.

use super::{
    calls,
    diff::{self, Diff},
    format::Call,
};
use crate::capability::{
    ErrorCode, Failure, Phase, Taint,
    course::{Ask, Script, Scripted},
};
use crate::domain::outcome::Denial;
use std::sync::{Arc, Mutex, PoisonError};

/// Wrong calls that are kept.
const WRONG_MAX: usize = 20;
/// What a plugin is told of a call that it should not have made.
const UNEXPECTED: &str = "the case expects no such call";

/// One call that did not go as the case says.
#[derive(Clone, Debug)]
pub enum Wrong {
    /// It was to be another one: which of the case's calls it stands for.
    Differs(usize, Diff),
    /// The case has no more calls; as it would be written there.
    Unexpected(String),
}

/// What came of the calls.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Calls that were made.
    pub made: usize,
    /// What was wrong with them.
    pub wrong: Vec<Wrong>,
}

/// Plays the calls of one case.
pub struct CaseScript {
    calls: Arc<[Call]>,
    /// Everything must be as it is written, and not only what is.
    exact: bool,
    progress: Arc<Mutex<Progress>>,
}

impl CaseScript {
    /// These calls; and where it is told how they went.
    #[must_use]
    pub fn new(calls: Arc<[Call]>, exact: bool) -> (Self, Arc<Mutex<Progress>>) {
        let progress: Arc<Mutex<Progress>> = Arc::default();
        let script = Self {
            calls,
            exact,
            progress: Arc::clone(&progress),
        };
        (script, progress)
    }
}

impl Script for CaseScript {
    fn next(&mut self, ask: &Ask) -> Scripted {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let number = progress.made;
        progress.made += 1;
        // What is recorded shows no credentials. Who writes a case by hand says which of them are sent; or, where it was a
        // recording once, what stands in their place.
        let hidden = calls::asked(&ask.redacted());
        let asked = if self.exact {
            hidden.clone()
        } else {
            calls::asked(ask)
        };
        let Some(call) = self.calls.get(number) else {
            if progress.wrong.len() < WRONG_MAX {
                progress.wrong.push(Wrong::Unexpected(written(&asked)));
            }
            return unexpected(ask);
        };
        let wanted = calls::question(call);
        let (asked, hidden) = if self.exact {
            (asked, hidden)
        } else {
            (
                calls::as_far_as(&wanted, asked),
                calls::as_far_as(&wanted, hidden),
            )
        };
        if wanted == asked || wanted == hidden {
            return Scripted {
                recorded: self.exact,
                ..calls::scripted(call, ask)
            };
        }
        let same_interface = calls::fits(call, ask);
        if progress.wrong.len() < WRONG_MAX {
            let diff = diff::lines(&written(&wanted), &written(&asked));
            progress.wrong.push(Wrong::Differs(number, diff));
        }
        // It goes on with the answer that it would have had, so that one mistake is not told as many.
        if same_interface {
            calls::scripted(call, ask)
        } else {
            unexpected(ask)
        }
    }
}

/// As it stands in a case.
pub fn written(call: &Call) -> String {
    #[derive(serde::Serialize)]
    struct One<'a> {
        call: [&'a Call; 1],
    }
    toml::to_string(&One { call: [call] }).unwrap_or_else(|error| format!("# can't be written: {error}\n"))
}

fn unexpected(ask: &Ask) -> Scripted {
    refusing(ask, UNEXPECTED)
}

/// Denies a call, and taints the execution as a missing grant does.
#[must_use]
pub fn refusing(ask: &Ask, why: &str) -> Scripted {
    let reply = ask.failed(Failure {
        code: ErrorCode::Denied,
        phase: Phase::Prepare,
        message: why.to_owned(),
        taint: Some(Taint::Denied(Denial {
            capability: ask.capability(),
            wanted: ask.wanted(),
            grant: why.to_owned(),
        })),
    });
    Scripted {
        reply: Some(reply),
        after: std::time::Duration::ZERO,
        recorded: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::{http, net::IpFamily};

    fn sends(authorization: &str, wanted: &str, exact: bool) -> usize {
        let ask = Ask::Http(http::Request {
            method: "GET".to_owned(),
            url: "http://shop.example/".to_owned(),
            headers: vec![http::Header {
                name: "authorization".to_owned(),
                value: authorization.to_owned(),
            }],
            body: None,
            max_redirects: 0,
            family: IpFamily::Any,
            tls: None,
            timeout_ms: None,
            max_body_bytes: None,
        });
        let mut call = if exact {
            calls::asked(&ask.redacted())
        } else {
            Call::default()
        };
        let http = call.http.get_or_insert_default();
        http.headers = Some(vec![format!("authorization: {wanted}")]);
        let (mut script, progress) = CaseScript::new([call].into(), exact);
        script.next(&ask);
        progress.lock().unwrap().wrong.len()
    }

    #[test]
    fn a_case_by_hand_says_which_credentials_are_sent_and_a_recording_does_not() {
        assert_eq!(sends("Bearer a", "Bearer a", false), 0);
        assert_eq!(sends("Bearer a", "Bearer b", false), 1);
        assert_eq!(sends("Bearer a", "[secret]", false), 0, "it was a recording once");
        assert_eq!(sends("Bearer a", "[secret]", true), 0);
        assert_eq!(sends("Bearer a", "Bearer a", true), 1);
    }
}
