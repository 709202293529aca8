// Package pulse is what every plugin in Go needs: HTTP, log, and a guard around the plugin's own code.
// It is yours: change it where it does not fit.
package pulse

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"wit_component/pulse_host_http"
	"wit_component/pulse_host_log"
	"wit_component/pulse_host_net"
	"wit_component/pulse_plugin_model"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// Log writes a line into the host's log, marked with monitor and plugin.
func Log(format string, values ...any) {
	pulse_host_log.Write(pulse_host_log.Level_Info, fmt.Sprintf(format, values...))
}

// BudgetMs is how many milliseconds a job may wait for its target and still answer.
func BudgetMs(attempt pulse_plugin_model.Attempt) uint32 {
	return max(1, attempt.DeadlineMs-min(500, attempt.DeadlineMs/10))
}

// RandomID is a random id of 16 hexadecimal digits.
func RandomID() string {
	var id [8]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// Measured is a number; the name is in snake case without the unit, which is `s`, `By`, `1` or `%`.
func Measured(name string, value float64, unit string) pulse_plugin_model.Measurement {
	return pulse_plugin_model.Measurement{Name: name, Value: value, Unit: unit}
}

// Header is a header field.
type Header = pulse_host_http.Header

// Response is an answer.
type Response struct {
	pulse_host_http.Response
}

// Seconds is the time of all phases together.
func (response Response) Seconds() float64 {
	t := response.Timings
	return float64(t.ResolveUs+t.ConnectUs+t.TlsUs+t.ProcessingUs+t.TransferUs) / 1e6
}

// Header is the first header field of that name, whatever its case; empty if there is none.
func (response Response) Header(name string) string {
	for _, header := range response.Headers {
		if strings.EqualFold(header.Name, name) {
			return header.Value
		}
	}
	return ""
}

// HTTPError is an exchange that failed; an answer of any status is none.
type HTTPError struct {
	netError
}

type netError = pulse_host_net.Error

func (failed HTTPError) Error() string { return failed.Message }

var reasons = [...]string{
	"denied", "invalid-request", "name-not-found", "resolve-failed", "connection-refused", "connection-reset",
	"unreachable", "timeout", "tls-expired", "tls-name-mismatch", "tls-untrusted", "tls-failed", "protocol-error",
	"too-many-redirects", "host-error",
}

// Reason is the word for a report's reason.
func (failed HTTPError) Reason() string { return reasons[failed.Code] }

// AfterSending says whether the peer may have seen the request: what was asked for may have happened.
func (failed HTTPError) AfterSending() bool {
	return failed.Phase == pulse_host_net.Phase_Processing || failed.Phase == pulse_host_net.Phase_Transfer
}

// Useless says whether sending the same request again could never work.
func (failed HTTPError) Useless() bool {
	switch failed.Code {
	case pulse_host_net.ErrorCode_Denied, pulse_host_net.ErrorCode_InvalidRequest:
		return true
	}
	return false
}

// Untrusted says whether the peer's certificate was the reason.
func (failed HTTPError) Untrusted() bool {
	return failed.Code >= pulse_host_net.ErrorCode_CertificateExpired &&
		failed.Code <= pulse_host_net.ErrorCode_CertificateUntrusted
}

// Send sends a request on a new connection and reads the answer. The error is an HTTPError.
func Send(method, url string, headers []Header, body []byte, timeoutMs uint32) (Response, error) {
	request := pulse_host_http.Request{
		Method:       method,
		Url:          url,
		Headers:      headers,
		Body:         witTypes.None[[]uint8](),
		Family:       pulse_host_net.IpFamily_Any,
		Tls:          witTypes.None[pulse_host_net.TlsOptions](),
		TimeoutMs:    witTypes.Some(timeoutMs),
		MaxBodyBytes: witTypes.None[uint32](),
	}
	if body != nil {
		request.Body = witTypes.Some(body)
	}
	result := pulse_host_http.Send(request)
	if result.IsErr() {
		return Response{}, HTTPError{result.Err()}
	}
	return Response{result.Ok()}, nil
}

// InvalidSettings passed the schema but can't work.
type InvalidSettings string

func (wrong InvalidSettings) Error() string { return string(wrong) }

// FaultOf is what an error says about the plugin. An error that nobody expected is a defect.
func FaultOf(err error) pulse_plugin_model.Fault {
	var settings InvalidSettings
	var failed HTTPError
	switch {
	case errors.As(err, &settings):
		return pulse_plugin_model.MakeFaultInvalidSettings(settings.Error())
	case errors.As(err, &failed) && failed.Code == pulse_host_net.ErrorCode_InvalidRequest:
		return pulse_plugin_model.MakeFaultInvalidSettings(failed.Message)
	case errors.As(err, &failed) && failed.Code == pulse_host_net.ErrorCode_Denied:
		return pulse_plugin_model.MakeFaultUnsupported(failed.Message)
	}
	return pulse_plugin_model.MakeFaultInternal(err.Error())
}

// Story is a panic's message and where it came from, for the operator.
func Story(panicked any) string {
	var places []string
	lines := strings.Split(string(bytes.TrimSpace(debug.Stack())), "\n")
	for index, line := range lines {
		// Frames of two lines each: a function, and a tab with the place. The first are those of the panic itself.
		if index == 0 || !strings.HasPrefix(line, "\t") || strings.Contains(line, "runtime/") ||
			strings.Contains(line, "/pulse/pulse.go") || strings.Contains(line, "/export_pulse_plugin_") ||
			strings.Contains(line, "wit_exports.go") {
			continue
		}
		place, _, _ := strings.Cut(strings.TrimSpace(line), " +")
		places = append(places, place)
	}
	return fmt.Sprintf("panic: %v (%s)", panicked, strings.Join(places, "; "))
}
