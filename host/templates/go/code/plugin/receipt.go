package plugin

import (
	"strconv"

	"wit_component/pulse_plugin_code"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// Job is one alert.
type Job = pulse_plugin_code.Job

// Receipt says that the receiver took it.
type Receipt = pulse_plugin_code.Receipt

// Permanent: sending it again is useless.
var Permanent = pulse_plugin_code.MakeDeliveryFailurePermanent

// Retryable: sending it again may work, after as many seconds as the receiver wishes, if it has a wish.
func Retryable(message, wish string) pulse_plugin_code.DeliveryFailure {
	after := witTypes.None[uint32]()
	if seconds, err := strconv.ParseUint(wish, 10, 32); err == nil {
		after = witTypes.Some(uint32(min(seconds, 86_400) * 1000))
	}
	return pulse_plugin_code.MakeDeliveryFailureRetryable(pulse_plugin_code.Retry{Message: message, AfterMs: after})
}

// Failed is one of these as an error.
type Failed struct {
	pulse_plugin_code.DeliveryFailure
}

func (failed Failed) Error() string { return "the alert was not taken" }

// Colors are the names of the colors.
var Colors = [...]string{"yellow", "red", "cyan", "green", "gray", "purple"}
