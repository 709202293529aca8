//! Scripts that tests need over and over.

use super::net_error;
use crate::net::{Error, ErrorCode, Phase};
use std::{cell::RefCell, rc::Rc};

/// A script that gives these answers one after the other. A question too many is denied.
///
/// ```
/// use pulse_plugin_sdk::{http::Request, net::{ErrorCode, Phase}, testing::{self, Host}};
///
/// let host = Host::new().http(testing::in_turn([
///     Err(testing::net_error(ErrorCode::ConnectionReset, Phase::Processing, "reset by peer")),
///     Ok(testing::response(200, "")),
/// ]));
/// host.run(|| {
///     let request = Request::get("http://shop.example/");
///     assert!(request.send().is_err());
///     assert!(request.send().is_ok());
///     assert_eq!(request.send().unwrap_err().code, ErrorCode::Denied);
/// });
/// ```
pub fn in_turn<Question, Answer>(
    answers: impl IntoIterator<Item = Result<Answer, Error>>,
) -> impl FnMut(Question) -> Result<Answer, Error> {
    let mut answers = answers.into_iter().collect::<Vec<_>>().into_iter();
    let total = answers.len();
    move |_| {
        answers.next().unwrap_or_else(|| {
            let message = format!("the test has {total} answers, and this is one question more");
            Err(net_error(ErrorCode::Denied, Phase::Prepare, &message))
        })
    }
}

/// What a script was asked, in order.
///
/// ```
/// use pulse_plugin_sdk::testing::Seen;
///
/// assert!(Seen::<u8>::default().questions().is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct Seen<Question>(Rc<RefCell<Vec<Question>>>);

impl<Question> Default for Seen<Question> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<Question: Clone> Seen<Question> {
    /// A copy of the questions so far.
    ///
    /// ```
    /// use pulse_plugin_sdk::testing;
    ///
    /// let (mut script, seen) = testing::recorded(|number: u8| number + 1);
    /// script(1);
    /// assert_eq!(seen.questions(), [1]);
    /// ```
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        self.0.borrow().clone()
    }
}

/// A script that writes down what it is asked.
///
/// ```
/// use pulse_plugin_sdk::{http::Request, testing::{self, Host}};
///
/// let (script, seen) = testing::recorded(|_| Ok(testing::response(200, "")));
/// Host::new().http(script).run(|| Request::get("http://shop.example/health").send());
/// assert_eq!(seen.questions()[0].url, "http://shop.example/health");
/// ```
pub fn recorded<Question: Clone, Answer>(
    mut script: impl FnMut(Question) -> Answer,
) -> (impl FnMut(Question) -> Answer, Seen<Question>) {
    let seen = Seen::default();
    let questions = Rc::clone(&seen.0);
    let recording = move |question: Question| {
        questions.borrow_mut().push(question.clone());
        script(question)
    };
    (recording, seen)
}
