package plugin

import "wit_component/pulse_plugin_intervention"

// Job is one repair.
type Job = pulse_plugin_intervention.Job

// Report says that the repair was carried out.
type Report = pulse_plugin_intervention.ActionReport

// Retryable: nothing happened; trying again may work.
var Retryable = pulse_plugin_intervention.MakeActionFailureRetryable

// Permanent: nothing happened, and trying again is useless.
var Permanent = pulse_plugin_intervention.MakeActionFailurePermanent

// EffectUnknown: it may or may not have happened.
var EffectUnknown = pulse_plugin_intervention.MakeActionFailureEffectUnknown

// Failed is one of these as an error.
type Failed struct {
	pulse_plugin_intervention.ActionFailure
}

func (failed Failed) Error() string { return "the repair failed" }
