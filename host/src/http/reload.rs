//! `POST /-/reload`.

use super::{App, problem::Problem, reply::json, tokens::Caller};
use axum::{Extension, extract::State, http::StatusCode, response::Response};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

/// Somebody wants everything read anew, and to know what became of it.
#[derive(Debug)]
pub struct Wish {
    /// Who.
    pub by: String,
    /// What changed, or what is wrong.
    pub told: oneshot::Sender<Result<String, String>>,
}

/// Wishes that may wait: one reload answers all that waited when it began.
pub const WISHES_MAX: usize = 64;

/// Reads everything anew, and answers when that is done.
pub async fn reload(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let (told, answer) = oneshot::channel();
    let by = caller.name.to_string();
    app.wishes.try_send(Wish { by, told }).map_err(|refused| {
        Problem::busy(match refused {
            mpsc::error::TrySendError::Full(_) => "too many reloads are asked for at the same time",
            mpsc::error::TrySendError::Closed(_) => "the host is stopping",
        })
    })?;
    match answer.await {
        Ok(Ok(told)) => Ok(json(&json!({ "reloaded": told }))),
        Ok(Err(wrong)) => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-configuration",
            "The configuration is wrong, and nothing has changed",
            wrong,
        )),
        Err(_) => Err(Problem::busy("the host is stopping")),
    }
}
