// Package export_pulse_plugin_intervention answers for the interface `intervention`.
package export_pulse_plugin_intervention

import (
	"errors"

	"wit_component/plugin"
	"wit_component/pulse"
	"wit_component/pulse_plugin_intervention"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

type result = witTypes.Result[pulse_plugin_intervention.ActionReport, pulse_plugin_intervention.ActionFailure]

var ok, failure = witTypes.Ok[pulse_plugin_intervention.ActionReport, pulse_plugin_intervention.ActionFailure],
	witTypes.Err[pulse_plugin_intervention.ActionReport, pulse_plugin_intervention.ActionFailure]

// Run repairs once. After a panic nobody knows what was done.
func Run(job pulse_plugin_intervention.Job) (answer result) {
	defer func() {
		if panicked := recover(); panicked != nil {
			answer = failure(plugin.EffectUnknown(pulse.Story(panicked)))
		}
	}()
	settings, err := pulse.Read[plugin.Settings](job.Settings)
	if err != nil {
		return failure(plugin.Permanent(err.Error()))
	}
	report, err := plugin.Run(job, settings)
	var known plugin.Failed
	var failed pulse.HTTPError
	switch {
	case err == nil:
		return ok(report)
	case errors.As(err, &known):
		return failure(known.ActionFailure)
	case !errors.As(err, &failed) || failed.AfterSending():
		return failure(plugin.EffectUnknown(err.Error()))
	case failed.Useless() || failed.Untrusted():
		return failure(plugin.Permanent(err.Error()))
	}
	return failure(plugin.Retryable(err.Error()))
}
