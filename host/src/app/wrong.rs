//! Why nothing can be started, for people and for machines.

use crate::{
    config::{Problems, Standing, TenantState, Unfit},
    journal::counted,
    plugins::{self, lock::LockError},
};
use serde_json::Value;

/// Why nothing can be started.
pub struct Wrong {
    pub(super) why: Why,
    pub(super) plugins: Vec<plugins::Problem>,
}

pub(super) enum Why {
    /// There is no configuration; says where it was looked for.
    Nowhere(String),
    /// It says something that can't be.
    Problems(Unfit),
    /// The lock of plugins can't be used.
    Lock(LockError),
}

impl Wrong {
    /// Every problem, for people: whole lines.
    #[must_use]
    pub fn text(&self, color: bool) -> String {
        let mut text = match &self.why {
            Why::Nowhere(message) => format!("pulse-host: {message}\n"),
            Why::Problems(unfit) => {
                let mut text = format!("{}\n", unfit.problems.render(color));
                let tenants = tenants_text(&unfit.tenants, color);
                if !tenants.is_empty() {
                    text.push('\n');
                    text.push_str(&tenants);
                }
                text
            }
            Why::Lock(error) => format!("pulse-host: {error}\n"),
        };
        // An unknown plugin is often one that is there and can't be used.
        for plugin in &self.plugins {
            text.push_str(&format!("note: not usable: {plugin}\n"));
        }
        text
    }

    /// Every problem, for machines.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        match &self.why {
            Why::Nowhere(message) => serde_json::json!([{
                "file": null,
                "line": null,
                "column": null,
                "message": message,
                "help": null,
                "id": "no-configuration",
            }]),
            Why::Problems(unfit) => {
                let mut all = json_of(&unfit.problems, None);
                all.extend(tenants_json(&unfit.tenants));
                all.into()
            }
            Why::Lock(error) => {
                let (line, column) = match error {
                    LockError::Broken { fault, .. } => (Some(fault.line), Some(fault.column)),
                    _ => (None, None),
                };
                serde_json::json!([{
                    "file": error.path(),
                    "line": line,
                    "column": column,
                    "message": error.to_string(),
                    "help": null,
                    "id": "unusable-lock",
                }])
            }
        }
    }

    /// The first line of what is wrong.
    #[must_use]
    pub fn summary(&self) -> String {
        match &self.why {
            Why::Nowhere(message) => message.lines().next().unwrap_or_default().to_owned(),
            Why::Problems(unfit) => {
                let count = counted(unfit.problems.len() as u64, "problem");
                format!("the configuration is wrong ({count}); check-config shows what")
            }
            Why::Lock(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
        }
    }
}

/// Everything that is wrong with configurations of tenants, in whole lines; empty if nothing is.
#[must_use]
pub fn tenants_text<'a>(tenants: impl IntoIterator<Item = &'a TenantState>, color: bool) -> String {
    let mut text = String::new();
    for state in tenants {
        let name = &state.tenant.name;
        let (problems, then) = match &state.standing {
            Standing::Present => continue,
            Standing::LastGood { problems, .. } => (
                problems,
                "its last good configuration stands in for it".to_owned(),
            ),
            Standing::None { problems, why, .. } => (problems, format!("it has no monitors: {why}")),
        };
        let count = counted(problems.len() as u64, "problem");
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!(
            "{}\nnote: tenant {name}: {count} in {}; {then}\n",
            problems.render(color),
            state.config
        ));
        if let Standing::None {
            stale: Some(stale), ..
        } = &state.standing
        {
            text.push_str(&format!("{}\n", stale.render(color)));
        }
    }
    text
}

/// The same for machines: each problem says whose it is.
#[must_use]
pub fn tenants_json(tenants: &[TenantState]) -> Vec<Value> {
    tenants
        .iter()
        .filter_map(|state| Some((state, state.standing.problems()?)))
        .flat_map(|(state, problems)| json_of(problems, Some(&state.tenant.name)))
        .collect()
}

fn json_of(problems: &Problems, tenant: Option<&str>) -> Vec<Value> {
    let shown = serde_json::to_value(problems).unwrap_or_default();
    let Value::Array(mut all) = shown else {
        return Vec::new();
    };
    if let Some(tenant) = tenant {
        for problem in &mut all {
            if let Value::Object(problem) = problem {
                problem.insert("tenant".to_owned(), tenant.into());
            }
        }
    }
    all
}
