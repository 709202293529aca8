// Package plugin calls a hook that repairs.
package plugin

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"wit_component/pulse"
)

const (
	Name    = "__NAME__"
	Version = "0.1.0"
	Summary = "Calls a hook that repairs"
)

// Settings is what an operator may set.
type Settings struct {
	URL string `json:"url" description:"The hook." format:"uri" minLength:"1"`
}

// Run repairs once.
func Run(job Job, settings Settings) (Report, error) {
	headers := []pulse.Header{
		{Name: "content-type", Value: "application/json"},
		// The same when this attempt is delivered again, so that the hook does it once.
		{Name: "idempotency-key", Value: job.IdempotencyKey},
		{Name: "x-check-id", Value: pulse.RandomID()},
		{Name: "x-check-at", Value: strconv.FormatInt(time.Now().UnixMilli(), 10)},
	}
	body, err := json.Marshal(map[string]string{
		"monitor":  job.Subject.Monitor,
		"tenant":   job.Subject.Tenant,
		"incident": job.Incident.Key,
		"reason":   job.Incident.Reason,
		"summary":  job.Incident.Summary,
	})
	if err != nil {
		return Report{}, err
	}
	response, err := pulse.Send("POST", settings.URL, headers, body, pulse.BudgetMs(job.Attempt))
	if err != nil {
		return Report{}, err
	}
	answered := fmt.Sprintf("HTTP %d", response.Status)
	switch status := response.Status; {
	case status >= 200 && status < 300:
		return Report{Summary: answered}, nil
	// Refused before anything was done.
	case status == 408 || status == 425 || status == 429 || status == 503:
		return Report{}, Failed{Retryable(answered)}
	// Not a thing that this hook does.
	case status == 501 || status == 505:
		return Report{}, Failed{Permanent(answered)}
	// Many applications answer so once it is done; or it began and broke.
	case status == 302 || status == 303 || status >= 500:
		return Report{}, Failed{EffectUnknown(answered)}
	}
	// It is refused for good.
	return Report{}, Failed{Permanent(answered)}
}
