//! `pulse:plugin@0.2.0` as it might be: that of 0.1.0, but a report has several reasons. In the tests only.
//!
//! It shows what an incompatible change costs: a folder of WIT, a module like this one, a line in
//! [`VERSIONS`](super::VERSIONS). What a plugin borrows, `pulse:host`, has a version of its own and stays as it is.

mod tests;

use super::{Answered, Call, Description, Misfit};
use crate::{
    domain::{
        job::Job,
        outcome::{Answer, Measurement, PluginFault, Report, Status},
        spec::Kind,
        time::millis,
    },
    sandbox::{classify, store::State},
};
use wasmtime::{
    Store,
    component::{Instance, InstancePre},
};

mod generated {
    wasmtime::component::bindgen!({
        path: ["../wit/host", "../tests/abi/0.2.0"],
        inline: "package pulse:next; world next { export pulse:plugin/plugin@0.2.0; export pulse:plugin/pulse@0.2.0; }",
        world: "pulse:next/next",
        exports: { default: async },
    });
}

use generated::{
    exports::pulse::plugin::{plugin, pulse as check},
    pulse::plugin::model,
};

/// The version.
pub const VERSION: &str = "0.2.0";

struct Exports {
    plugin: plugin::GuestIndices,
    pulse: check::GuestIndices,
}

pub fn recognise(pre: &InstancePre<State>) -> Result<Option<Box<dyn super::Exports>>, String> {
    let export = format!("pulse:plugin/pulse@{VERSION}");
    if pre.component().get_export_index(None, export).is_none() {
        return Ok(None);
    }
    let wrong = |error: wasmtime::Error| classify::one_line(&error);
    Ok(Some(Box::new(Exports {
        plugin: plugin::GuestIndices::new(pre).map_err(wrong)?,
        pulse: check::GuestIndices::new(pre).map_err(wrong)?,
    })))
}

impl super::Exports for Exports {
    fn version(&self) -> &'static str {
        VERSION
    }

    fn kinds(&self) -> Vec<Kind> {
        vec![Kind::Pulse]
    }

    fn describe<'a>(&'a self, store: &'a mut Store<State>, instance: &'a Instance) -> Call<'a, Description> {
        Box::pin(async move {
            let guest = self.plugin.load(&mut *store, instance)?;
            let description = guest.call_describe(store).await?;
            Ok(Description {
                name: description.name,
                version: description.version,
                summary: description.summary,
                settings_schema: description.settings_schema,
            })
        })
    }

    fn run<'a>(
        &'a self,
        store: &'a mut Store<State>,
        instance: &'a Instance,
        job: &'a Job,
    ) -> Call<'a, Answered> {
        Box::pin(async move {
            let lane = job
                .assignment()
                .ok_or_else(|| Misfit("the job has no lane".to_owned()))?;
            let guest = self.pulse.load(&mut *store, instance)?;
            let asked = check::Job {
                subject: model::Subject {
                    monitor: job.spec.name().to_owned(),
                    tenant: job.spec.tenant.name.to_string(),
                    labels: Vec::new(),
                },
                attempt: model::Attempt {
                    number: job.key.attempt,
                    deadline_ms: u32::try_from(millis(lane.timeout)).unwrap_or(u32::MAX),
                    scheduled_at: job.due_wall.0,
                },
                settings: job.settings().into_owned(),
            };
            let result = guest.call_run(store, &asked).await?;
            Ok(result
                .map(|report| Answer::Pulse(report.into()))
                .map_err(Into::into))
        })
    }
}

/// The one change: the gravest reason is the one that this host has room for, the others are said.
impl From<check::Report> for Report {
    fn from(report: check::Report) -> Self {
        let mut reasons = report.reasons.into_iter();
        let reason = reasons.next();
        let mut summary = report.summary;
        for more in reasons {
            summary.push_str(", ");
            summary.push_str(&more);
        }
        Self {
            status: match report.status {
                check::Status::Healthy => Status::Healthy,
                check::Status::Degraded => Status::Degraded,
                check::Status::Unhealthy => Status::Unhealthy,
            },
            summary,
            reason,
            measurements: report
                .measurements
                .into_iter()
                .map(|measurement| Measurement {
                    name: measurement.name,
                    value: measurement.value,
                    unit: measurement.unit,
                })
                .collect(),
        }
    }
}

impl From<model::Fault> for PluginFault {
    fn from(fault: model::Fault) -> Self {
        match fault {
            model::Fault::InvalidSettings(message) => Self::InvalidSettings(message),
            model::Fault::Unsupported(message) => Self::Unsupported(message),
            model::Fault::Internal(message) => Self::Internal(message),
        }
    }
}
