"""Checks a URL: whether it answers, and with the status that is expected."""

import time
from dataclasses import dataclass

import pulse
from pulse import Job, Measurement, budget_ms, healthy, milliseconds, random_id, request, setting, unhealthy


@dataclass
class Settings:
    url: str = setting("What to fetch.", format="uri", minLength=1)
    expect_status: int = setting("The status of a healthy answer.", default=200, minimum=100, maximum=599)


def check(job: Job[Settings]):
    # By these the request is found in the log of whoever answers.
    headers = {"x-check-id": random_id(), "x-check-at": str(int(time.time() * 1000))}
    response = request("GET", job.settings.url, headers=headers, timeout_ms=budget_ms(job.attempt))
    measurements = [Measurement("response_duration", response.seconds, "s")]
    if response.status != job.settings.expect_status:
        summary = f"HTTP {response.status}, expected {job.settings.expect_status}"
        return unhealthy("unexpected-status", summary, measurements)
    return healthy(f"HTTP {response.status} in {milliseconds(response.seconds)}", measurements)


Plugin = pulse.plugin("__NAME__", "0.1.0", "Checks a URL", Settings)
Pulse = pulse.pulse(Settings, check)
