// Package export_pulse_plugin_pulse answers for the interface `pulse`.
package export_pulse_plugin_pulse

import (
	"errors"

	"wit_component/plugin"
	"wit_component/pulse"
	"wit_component/pulse_host_net"
	"wit_component/pulse_plugin_model"
	"wit_component/pulse_plugin_pulse"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

type result = witTypes.Result[pulse_plugin_pulse.Report, pulse_plugin_model.Fault]

var ok, fault = witTypes.Ok[pulse_plugin_pulse.Report, pulse_plugin_model.Fault],
	witTypes.Err[pulse_plugin_pulse.Report, pulse_plugin_model.Fault]

// Run checks once. A panic becomes `fault.internal`, with message and stack.
func Run(job pulse_plugin_pulse.Job) (answer result) {
	defer func() {
		if panicked := recover(); panicked != nil {
			answer = fault(pulse_plugin_model.MakeFaultInternal(pulse.Story(panicked)))
		}
	}()
	settings, err := pulse.Read[plugin.Settings](job.Settings)
	if err != nil {
		return fault(pulse.FaultOf(err))
	}
	report, err := plugin.Run(job, settings)
	var failed pulse.HTTPError
	if errors.As(err, &failed) && !failed.Useless() && failed.Code != pulse_host_net.ErrorCode_Host {
		return ok(plugin.Unhealthy(failed.Reason(), failed.Message))
	}
	if err != nil {
		return fault(pulse.FaultOf(err))
	}
	return ok(report)
}
