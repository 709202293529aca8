//! Requests read and answers written, alike everywhere.

use super::problem::Problem;
use axum::{
    http::{StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use serde::de::DeserializeOwned;

/// An answer in JSON.
#[must_use]
pub fn json(value: &impl serde::Serialize) -> Response {
    json_as(StatusCode::OK, value)
}

/// The same with another status.
#[must_use]
pub fn json_as(status: StatusCode, value: &impl serde::Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => (status, [(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => Problem::internal(error.to_string()).into_response(),
    }
}

/// What stands behind the question mark.
///
/// # Errors
/// Something else stands there.
pub fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    axum::extract::Query::try_from_uri(uri)
        .map(|axum::extract::Query(query)| query)
        .map_err(|error| Problem::bad(error.body_text()))
}

/// A time as RFC 3339 has it, from milliseconds since 1970.
#[must_use]
pub fn when(ms: u64) -> String {
    i64::try_from(ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map(|at| at.to_string())
        .unwrap_or_default()
}

/// What a request says beyond its path, in JSON; nothing at all says nothing.
///
/// # Errors
/// It is something else.
pub fn told<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Problem> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad(format!("the body is not as it should be: {error}")))
}
