// Package plugin checks a URL: whether it answers, and with the status that is expected.
package plugin

import (
	"fmt"
	"strconv"
	"time"

	"wit_component/pulse"
)

const (
	Name    = "__NAME__"
	Version = "0.1.0"
	Summary = "Checks a URL"
)

// Settings is what an operator may set.
type Settings struct {
	URL          string `json:"url" description:"What to fetch." format:"uri" minLength:"1"`
	ExpectStatus uint16 `json:"expect-status" description:"The status of a healthy answer." default:"200" minimum:"100" maximum:"599"`
}

// Run checks once.
func Run(job Job, settings Settings) (Report, error) {
	headers := []pulse.Header{
		// By these the request is found in the log of whoever answers.
		{Name: "x-check-id", Value: pulse.RandomID()},
		{Name: "x-check-at", Value: strconv.FormatInt(time.Now().UnixMilli(), 10)},
	}
	response, err := pulse.Send("GET", settings.URL, headers, nil, pulse.BudgetMs(job.Attempt))
	if err != nil {
		return Report{}, err
	}
	took := pulse.Measured("response_duration", response.Seconds(), "s")
	if response.Status != settings.ExpectStatus {
		summary := fmt.Sprintf("HTTP %d, expected %d", response.Status, settings.ExpectStatus)
		return Unhealthy("unexpected-status", summary, took), nil
	}
	return Healthy(fmt.Sprintf("HTTP %d in %.0f ms", response.Status, response.Seconds()*1000), took), nil
}
