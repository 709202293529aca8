//! Rounds of parts, their medians, and ratios within a round.

use super::process::Figures;
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// What the parts of one round came to.
pub type Round = BTreeMap<&'static str, Value>;

/// The figures of one part.
pub fn figures(jobs: u64, elapsed: Duration, used: &Figures) -> Value {
    json!({
        "jobs": jobs,
        "jobs_per_second": jobs as f64 / elapsed.as_secs_f64(),
        "cpu_us_per_job": used.cpu.as_secs_f64() * 1e6 / jobs.max(1) as f64,
        "minor_faults_per_job": used.minor_faults as f64 / jobs.max(1) as f64,
    })
}

/// One figure of one part.
pub fn figure(parts: &Round, part: &str, key: &str) -> Result<f64> {
    parts
        .get(part)
        .and_then(|figures| figures.get(key))
        .and_then(Value::as_f64)
        .with_context(|| format!("{part}: {key}"))
}

/// The median over all rounds of what `of` makes of one: ratios are taken within a round, where the machine was the
/// same.
pub fn median(rounds: &[Round], of: impl Fn(&Round) -> Result<f64>) -> Result<f64> {
    let values: Result<Vec<f64>> = rounds.iter().map(of).collect();
    middle(values?).context("no rounds")
}

/// Medians of the figures of each part.
pub fn medians(rounds: &[Round], parts: &[&'static str]) -> Result<Value> {
    let mut all = serde_json::Map::new();
    for part in parts {
        let mut medians = serde_json::Map::new();
        let first = rounds.first().and_then(|round| round.get(part)?.as_object());
        for (key, _) in first.into_iter().flatten().filter(|(_, value)| value.is_number()) {
            medians.insert(
                key.clone(),
                json!(median(rounds, |round| figure(round, part, key))?),
            );
        }
        all.insert((*part).to_owned(), Value::Object(medians));
    }
    Ok(Value::Object(all))
}

/// Prints what [`medians`] made.
pub fn print(medians: &Value, parts: &[&'static str]) -> Result<()> {
    println!(
        "{:12}{:>14}{:>18}{:>24}",
        "", "jobs/s", "CPU per job (us)", "minor faults per job"
    );
    for part in parts {
        let figure = |key: &str| {
            medians
                .pointer(&format!("/{part}/{key}"))
                .and_then(Value::as_f64)
                .with_context(|| format!("{part}: {key}"))
        };
        println!(
            "{part:12}{:>14.0}{:>18.2}{:>24.4}",
            figure("jobs_per_second")?,
            figure("cpu_us_per_job")?,
            figure("minor_faults_per_job")?
        );
    }
    println!();
    Ok(())
}

/// The middle one; of an even number the mean of the middle two. None of none.
fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get(values.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(*lower, *upper))
}
