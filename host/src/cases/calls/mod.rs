//! Between lent calls and how they are written in a case.

mod answer;
mod check;
mod compare;
mod write;

pub use answer::scripted;
pub use check::wrong;
pub use compare::{as_far_as, fits, question};
pub use write::{asked, noted};

use crate::capability::http;

fn header(field: &str) -> http::Header {
    let (name, value) = field.split_once(':').unwrap_or((field, ""));
    http::Header {
        name: name.trim().to_owned(),
        value: value.trim_start().to_owned(),
    }
}

#[cfg(test)]
mod tests;
