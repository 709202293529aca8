package plugin

import (
	"wit_component/pulse_plugin_model"
	"wit_component/pulse_plugin_pulse"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// Job is one check.
type Job = pulse_plugin_pulse.Job

// Report is what the target's state is.
type Report = pulse_plugin_pulse.Report

// Healthy says that all is well.
func Healthy(summary string, measured ...pulse_plugin_model.Measurement) Report {
	return Report{
		Status:       pulse_plugin_pulse.Status_Healthy,
		Summary:      summary,
		Reason:       witTypes.None[string](),
		Measurements: measured,
	}
}

// Degraded says that the target is alive, but not as it should be.
func Degraded(reason, summary string, measured ...pulse_plugin_model.Measurement) Report {
	report := Unhealthy(reason, summary, measured...)
	report.Status = pulse_plugin_pulse.Status_Degraded
	return report
}

// Unhealthy says that the target is down, or answers wrongly. The reason is a word in kebab case.
func Unhealthy(reason, summary string, measured ...pulse_plugin_model.Measurement) Report {
	report := Healthy(summary, measured...)
	report.Status = pulse_plugin_pulse.Status_Unhealthy
	report.Reason = witTypes.Some(reason)
	return report
}
