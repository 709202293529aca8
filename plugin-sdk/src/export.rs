//! From the generated bindings to the traits, and the macro that makes a component of a plugin.

/// What the macro's expansion calls.
pub mod private {
    pub use crate::bindings::{
        code, code::exports::pulse::plugin::code as code_interface, intervention,
        intervention::exports::pulse::plugin::intervention as intervention_interface, plugin,
        plugin::exports::pulse::plugin::plugin as plugin_interface, pulse,
        pulse::exports::pulse::plugin::pulse as pulse_interface,
    };
    use crate::{
        ActionFailure, ActionReport, Code, CodeJob, DeliveryFailure, Fault, Intervention, InterventionJob,
        JsonSchema, Pulse, PulseJob, Receipt, Report, panic, settings,
    };
    use std::marker::PhantomData;

    /// The kinds that a component exports.
    pub trait Kinds {
        /// Their names, in the order of the macro's call.
        const KINDS: &'static [&'static str];
    }

    /// The settings type of a plugin, as a value that the macro can hand around.
    pub const fn settings<S>() -> PhantomData<S> {
        PhantomData
    }

    /// Compiles only if all kinds of a plugin share one settings type: there is one schema per plugin, and a
    /// schema of alternatives could not say which of them an operator meant.
    pub const fn same<S>(_: PhantomData<S>, _: PhantomData<S>) {}

    /// What a plugin says about itself.
    pub fn describe<S: JsonSchema>(
        name: &str,
        version: &str,
        summary: &str,
        _: PhantomData<S>,
    ) -> plugin_interface::Description {
        panic::speak();
        plugin_interface::Description {
            name: name.to_owned(),
            version: version.to_owned(),
            summary: summary.to_owned(),
            settings_schema: settings::schema::<S>().as_value().to_string(),
        }
    }

    /// Settings that can't be read are a fault.
    pub fn pulse<P: Pulse>(job: pulse_interface::Job) -> Result<Report, Fault> {
        panic::speak();
        P::run(PulseJob {
            settings: settings::parse_once(&job.settings).map_err(Fault::InvalidSettings)?,
            subject: job.subject,
            attempt: job.attempt,
        })
    }

    /// Settings that can't be read change nothing, and no later attempt reads them better: `permanent`.
    pub fn intervention<I: Intervention>(
        job: intervention_interface::Job,
    ) -> Result<ActionReport, ActionFailure> {
        panic::speak();
        let settings = settings::parse_once(&job.settings)
            .map_err(|error| ActionFailure::Permanent(format!("invalid settings: {error}")))?;
        I::run(InterventionJob {
            settings,
            subject: job.subject,
            attempt: job.attempt,
            incident: job.incident,
            idempotency_key: job.idempotency_key,
        })
    }

    /// As for [`intervention`]: `permanent`.
    pub fn code<C: Code>(job: code_interface::Job) -> Result<Receipt, DeliveryFailure> {
        panic::speak();
        let settings = settings::parse_once(&job.settings)
            .map_err(|error| DeliveryFailure::Permanent(format!("invalid settings: {error}")))?;
        C::notify(CodeJob {
            settings,
            subject: job.subject,
            attempt: job.attempt,
            color: job.color,
            title: job.title,
            body: job.body,
            happened_at: job.happened_at,
            reminder: job.reminder,
            incident: job.incident,
            incident_key: job.incident_key,
            delivery_id: job.delivery_id,
        })
    }
}

/// Makes a component of a plugin: `pulse:`, `intervention:` and `code:` name the types of the kinds that it has,
/// which share one settings type.
///
/// The version is the package's. Call it once, in the root of a `cdylib`. It defines `Exports`, the type that
/// the component's exports lead to and that [`testing`](crate::testing) takes.
///
/// Kinds whose settings differ don't compile:
///
/// ```compile_fail,E0308
/// use pulse_plugin_sdk::*;
///
/// struct Check;
/// impl Pulse for Check {
///     type Settings = String;
///     fn run(_: PulseJob<String>) -> Result<Report, Fault> {
///         Ok(Report::healthy(""))
///     }
/// }
///
/// struct Tell;
/// impl Code for Tell {
///     type Settings = bool;
///     fn notify(_: CodeJob<bool>) -> Result<Receipt, DeliveryFailure> {
///         Ok(Receipt::taken(""))
///     }
/// }
///
/// export_plugin! { name: "two", summary: "Two kinds", pulse: Check, code: Tell }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export_plugin {
    (name: $name:expr, summary: $summary:expr, $first:ident: $plugin:ty $(, $kind:ident: $other:ty)* $(,)?) => {
        /// What this component exports.
        pub struct Exports;

        impl $crate::private::plugin_interface::Guest for Exports {
            fn describe() -> $crate::private::plugin_interface::Description {
                $( $crate::private::same(
                    $crate::export_plugin!(@settings $first $plugin),
                    $crate::export_plugin!(@settings $kind $other),
                ); )*
                $crate::private::describe(
                    $name,
                    ::std::env!("CARGO_PKG_VERSION"),
                    $summary,
                    $crate::export_plugin!(@settings $first $plugin),
                )
            }
        }

        impl $crate::private::Kinds for Exports {
            const KINDS: &'static [&'static str] = &[::std::stringify!($first) $(, ::std::stringify!($kind))*];
        }

        $crate::export_plugin!(@kind $first $plugin);
        $( $crate::export_plugin!(@kind $kind $other); )*

        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code, reason = "a component's exports are C functions")]
        const _: () = {
            $crate::private::plugin::export!(Exports with_types_in $crate::private::plugin);
            $crate::export_plugin!(@export $first);
            $( $crate::export_plugin!(@export $kind); )*
        };
    };

    (@settings pulse $plugin:ty) => {
        $crate::private::settings::<<$plugin as $crate::Pulse>::Settings>()
    };
    (@settings intervention $plugin:ty) => {
        $crate::private::settings::<<$plugin as $crate::Intervention>::Settings>()
    };
    (@settings code $plugin:ty) => {
        $crate::private::settings::<<$plugin as $crate::Code>::Settings>()
    };

    (@kind pulse $plugin:ty) => {
        impl $crate::private::pulse_interface::Guest for Exports {
            fn run(job: $crate::private::pulse_interface::Job) -> ::std::result::Result<$crate::Report, $crate::Fault> {
                $crate::private::pulse::<$plugin>(job)
            }
        }
    };
    (@kind intervention $plugin:ty) => {
        impl $crate::private::intervention_interface::Guest for Exports {
            fn run(
                job: $crate::private::intervention_interface::Job,
            ) -> ::std::result::Result<$crate::ActionReport, $crate::ActionFailure> {
                $crate::private::intervention::<$plugin>(job)
            }
        }
    };
    (@kind code $plugin:ty) => {
        impl $crate::private::code_interface::Guest for Exports {
            fn notify(
                job: $crate::private::code_interface::Job,
            ) -> ::std::result::Result<$crate::Receipt, $crate::DeliveryFailure> {
                $crate::private::code::<$plugin>(job)
            }
        }
    };

    (@export pulse) => { $crate::private::pulse::export!(Exports with_types_in $crate::private::pulse); };
    (@export intervention) => {
        $crate::private::intervention::export!(Exports with_types_in $crate::private::intervention);
    };
    (@export code) => { $crate::private::code::export!(Exports with_types_in $crate::private::code); };
}
