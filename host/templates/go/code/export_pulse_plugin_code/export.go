// Package export_pulse_plugin_code answers for the interface `code`.
package export_pulse_plugin_code

import (
	"errors"

	"wit_component/plugin"
	"wit_component/pulse"
	"wit_component/pulse_plugin_code"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

type result = witTypes.Result[pulse_plugin_code.Receipt, pulse_plugin_code.DeliveryFailure]

var ok, failure = witTypes.Ok[pulse_plugin_code.Receipt, pulse_plugin_code.DeliveryFailure],
	witTypes.Err[pulse_plugin_code.Receipt, pulse_plugin_code.DeliveryFailure]

// Notify sends one alert. After a panic it is sent again.
func Notify(job pulse_plugin_code.Job) (answer result) {
	defer func() {
		if panicked := recover(); panicked != nil {
			answer = failure(plugin.Retryable(pulse.Story(panicked), ""))
		}
	}()
	settings, err := pulse.Read[plugin.Settings](job.Settings)
	if err != nil {
		return failure(plugin.Permanent(err.Error()))
	}
	receipt, err := plugin.Notify(job, settings)
	var known plugin.Failed
	var failed pulse.HTTPError
	switch {
	case err == nil:
		return ok(receipt)
	case errors.As(err, &known):
		return failure(known.DeliveryFailure)
	case errors.As(err, &failed) && failed.Useless():
		return failure(plugin.Permanent(err.Error()))
	}
	return failure(plugin.Retryable(err.Error(), ""))
}
