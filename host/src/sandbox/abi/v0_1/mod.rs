//! `pulse:plugin@0.1.0` and `pulse:host@0.1.0`.

mod lend;

pub use lend::lend;

use super::{Answered, Call, Description, Misfit};
use crate::{
    domain::{
        job::{Incident, Job, Payload},
        outcome::{
            ActionFailure, Answer, DeliveryFailure, Done, Measurement, PluginFault, Receipt, Report, Status,
        },
        spec::Kind,
        time::millis,
    },
    sandbox::store::State,
};
use std::time::Duration;
use wasmtime::{
    Store,
    component::{Instance, InstancePre},
};

mod generated {
    wasmtime::component::bindgen!({
        path: ["../wit/host", "../wit/plugin"],
        world: "pulse:plugin/every-plugin",
        imports: {
            "pulse:host/log.write": trappable,
            default: async | trappable,
        },
        exports: { default: async },
    });
}

use generated::{
    exports::pulse::plugin::{code, intervention, plugin, pulse as check},
    pulse::plugin::model,
};

/// The version.
pub const VERSION: &str = "0.1.0";

/// None if the component exports nothing of this version.
///
/// # Errors
/// One line for people: it exports only a part of what a plugin must.
pub fn recognise(pre: &InstancePre<State>) -> Result<Option<Box<dyn super::Exports>>, String> {
    Ok(Exports::of(pre)?.map(|exports| Box::new(exports) as Box<dyn super::Exports>))
}

/// What a component of this version exports.
struct Exports {
    plugin: plugin::GuestIndices,
    pulse: Option<check::GuestIndices>,
    intervention: Option<intervention::GuestIndices>,
    code: Option<code::GuestIndices>,
}

impl Exports {
    fn of(pre: &InstancePre<State>) -> Result<Option<Self>, String> {
        let has = |interface: &str| {
            pre.component()
                .get_export_index(None, format!("pulse:plugin/{interface}@{VERSION}"))
                .is_some()
        };
        let (describes, pulses, intervenes, codes) =
            (has("plugin"), has("pulse"), has("intervention"), has("code"));
        if !describes && !pulses && !intervenes && !codes {
            return Ok(None);
        }
        if !describes {
            return Err(format!(
                "does not export pulse:plugin/plugin@{VERSION}, so it can't say what it is"
            ));
        }
        if !pulses && !intervenes && !codes {
            return Err("exports neither pulse nor intervention nor code, so it can do nothing".to_owned());
        }
        let wrong = |error: wasmtime::Error| crate::sandbox::classify::one_line(&error);
        Ok(Some(Self {
            plugin: plugin::GuestIndices::new(pre).map_err(wrong)?,
            pulse: pulses
                .then(|| check::GuestIndices::new(pre))
                .transpose()
                .map_err(wrong)?,
            intervention: intervenes
                .then(|| intervention::GuestIndices::new(pre))
                .transpose()
                .map_err(wrong)?,
            code: codes
                .then(|| code::GuestIndices::new(pre))
                .transpose()
                .map_err(wrong)?,
        }))
    }
}

impl super::Exports for Exports {
    fn version(&self) -> &'static str {
        VERSION
    }

    fn kinds(&self) -> Vec<Kind> {
        let mut kinds = Vec::new();
        kinds.extend(self.pulse.as_ref().map(|_| Kind::Pulse));
        kinds.extend(self.intervention.as_ref().map(|_| Kind::Intervention));
        kinds.extend(self.code.as_ref().map(|_| Kind::Code));
        kinds
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
            let missing = || Misfit(format!("the plugin has no {} export", job.key.kind));
            match (job.key.kind, &job.payload) {
                (Kind::Pulse, Payload::Pulse) => {
                    let guest = self
                        .pulse
                        .as_ref()
                        .ok_or_else(missing)?
                        .load(&mut *store, instance)?;
                    let result = guest.call_run(store, &pulse_job(job)).await?;
                    Ok(result
                        .map(|report| Answer::Pulse(report.into()))
                        .map_err(Into::into))
                }
                (Kind::Intervention, Payload::Intervention(order)) => {
                    let guest = self
                        .intervention
                        .as_ref()
                        .ok_or_else(missing)?
                        .load(&mut *store, instance)?;
                    let job = intervention::Job {
                        subject: subject(job),
                        attempt: attempt(job),
                        settings: settings(job),
                        incident: (&order.incident).into(),
                        idempotency_key: order.idempotency_key.clone(),
                    };
                    let result = guest.call_run(store, &job).await?;
                    Ok(Ok(Answer::Intervention(
                        result.map(Into::into).map_err(Into::into),
                    )))
                }
                (Kind::Code, Payload::Code(alert)) => {
                    let guest = self
                        .code
                        .as_ref()
                        .ok_or_else(missing)?
                        .load(&mut *store, instance)?;
                    let result = guest.call_notify(store, &code_job(job, alert)).await?;
                    Ok(Ok(Answer::Code(result.map(Into::into).map_err(Into::into))))
                }
                (kind, _) => Err(Misfit(format!("a {kind} job without its payload")).into()),
            }
        })
    }
}

fn pulse_job(job: &Job) -> check::Job {
    check::Job {
        subject: subject(job),
        attempt: attempt(job),
        settings: settings(job),
    }
}

fn code_job(job: &Job, alert: &crate::domain::job::Alert) -> code::Job {
    use crate::domain::color::Color;
    let sink = job.spec.sinks.get(usize::from(job.key.sink));
    code::Job {
        subject: subject(job),
        attempt: attempt(job),
        settings: settings(job),
        color: match alert.color {
            Color::Yellow => code::Color::Yellow,
            Color::Red => code::Color::Red,
            Color::Cyan => code::Color::Cyan,
            Color::Green => code::Color::Green,
            Color::Gray => code::Color::Gray,
            Color::Purple => code::Color::Purple,
        },
        title: alert.title.clone(),
        body: alert.body.clone(),
        happened_at: alert.happened_at.0,
        reminder: alert.reminder,
        incident: alert.incident.as_ref().map(Into::into),
        incident_key: alert.incident_key.clone(),
        delivery_id: alert.delivery_id(sink.map_or("", |sink| &*sink.name)),
    }
}

fn subject(job: &Job) -> model::Subject {
    let spec = &job.spec;
    model::Subject {
        monitor: spec.name().to_owned(),
        tenant: spec.tenant.name.to_string(),
        labels: spec
            .labels
            .iter()
            .map(|(name, value)| model::Label {
                name: name.to_string(),
                value: value.to_string(),
            })
            .collect(),
    }
}

fn attempt(job: &Job) -> model::Attempt {
    let timeout = job.assignment().map_or(Duration::ZERO, |lane| lane.timeout);
    model::Attempt {
        number: job.key.attempt,
        deadline_ms: u32::try_from(millis(timeout)).unwrap_or(u32::MAX),
        scheduled_at: job.due_wall.0,
    }
}

fn settings(job: &Job) -> String {
    job.settings().into_owned()
}

impl From<&Incident> for model::Incident {
    fn from(incident: &Incident) -> Self {
        Self {
            id: incident.id.clone(),
            key: incident.key.clone(),
            opened_at: incident.opened_at.0,
            summary: incident.summary.clone(),
            reason: incident.reason.clone(),
        }
    }
}

impl From<check::Report> for Report {
    fn from(report: check::Report) -> Self {
        Self {
            status: match report.status {
                check::Status::Healthy => Status::Healthy,
                check::Status::Degraded => Status::Degraded,
                check::Status::Unhealthy => Status::Unhealthy,
            },
            summary: report.summary,
            reason: report.reason,
            measurements: report.measurements.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<model::Measurement> for Measurement {
    fn from(measurement: model::Measurement) -> Self {
        Self {
            name: measurement.name,
            value: measurement.value,
            unit: measurement.unit,
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

impl From<intervention::ActionReport> for Done {
    fn from(report: intervention::ActionReport) -> Self {
        Self {
            summary: report.summary,
            measurements: report.measurements.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<intervention::ActionFailure> for ActionFailure {
    fn from(failure: intervention::ActionFailure) -> Self {
        match failure {
            intervention::ActionFailure::Retryable(message) => Self::Retryable(message),
            intervention::ActionFailure::Permanent(message) => Self::Permanent(message),
            intervention::ActionFailure::EffectUnknown(message) => Self::EffectUnknown(message),
        }
    }
}

impl From<code::Receipt> for Receipt {
    fn from(receipt: code::Receipt) -> Self {
        Self {
            id: receipt.id,
            summary: receipt.summary,
        }
    }
}

impl From<code::DeliveryFailure> for DeliveryFailure {
    fn from(failure: code::DeliveryFailure) -> Self {
        match failure {
            code::DeliveryFailure::Retryable(retry) => Self::Retryable {
                message: retry.message,
                after: retry.after_ms.map(|ms| Duration::from_millis(ms.into())),
            },
            code::DeliveryFailure::Permanent(message) => Self::Permanent(message),
        }
    }
}
