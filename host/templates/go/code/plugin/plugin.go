// Package plugin sends an alert as JSON.
package plugin

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"wit_component/pulse"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

const (
	Name    = "__NAME__"
	Version = "0.1.0"
	Summary = "Sends an alert as JSON"
)

// Settings is what an operator may set.
type Settings struct {
	URL string `json:"url" description:"Where to send it." format:"uri" minLength:"1"`
}

// Notify sends one alert.
func Notify(job Job, settings Settings) (Receipt, error) {
	headers := []pulse.Header{
		{Name: "content-type", Value: "application/json"},
		// The same when this alert is sent again, so that the receiver can drop the repeat.
		{Name: "idempotency-key", Value: job.DeliveryId},
		{Name: "x-check-id", Value: pulse.RandomID()},
		{Name: "x-check-at", Value: strconv.FormatInt(time.Now().UnixMilli(), 10)},
	}
	body, err := json.Marshal(map[string]any{
		"color":       Colors[job.Color],
		"title":       job.Title,
		"body":        job.Body,
		"monitor":     job.Subject.Monitor,
		"tenant":      job.Subject.Tenant,
		"incident":    job.IncidentKey,
		"reminder":    job.Reminder,
		"happened-at": time.UnixMilli(int64(job.HappenedAt)).UTC().Format("2006-01-02T15:04:05.000Z"),
	})
	if err != nil {
		return Receipt{}, err
	}
	response, err := pulse.Send("POST", settings.URL, headers, body, pulse.BudgetMs(job.Attempt))
	if err != nil {
		return Receipt{}, err
	}
	answered := fmt.Sprintf("HTTP %d", response.Status)
	switch status := response.Status; {
	case status >= 200 && status < 300:
		receipt := Receipt{Summary: answered, Id: witTypes.None[string]()}
		if id := response.Header("x-request-id"); id != "" {
			receipt.Id = witTypes.Some(id)
		}
		return receipt, nil
	case status == 408 || status == 425 || status == 429 || status >= 500:
		return Receipt{}, Failed{Retryable(answered, response.Header("retry-after"))}
	}
	return Receipt{}, Failed{Permanent(answered)}
}
