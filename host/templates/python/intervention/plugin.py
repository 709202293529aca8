"""Calls a hook that repairs."""

import json
import time
from dataclasses import dataclass

import pulse
from pulse import ActionFailure, Job, budget_ms, random_id, request, setting


@dataclass
class Settings:
    url: str = setting("The hook.", format="uri", minLength=1)


def repair(job: Job[Settings]) -> str:
    headers = {
        "content-type": "application/json",
        # The same when this attempt is delivered again, so that the hook does it once.
        "idempotency-key": job.idempotency_key,
        "x-check-id": random_id(),
        "x-check-at": str(int(time.time() * 1000)),
    }
    body = json.dumps(
        {
            "monitor": job.subject.monitor,
            "tenant": job.subject.tenant,
            "incident": job.incident.key,
            "reason": job.incident.reason,
            "summary": job.incident.summary,
        }
    )
    response = request(
        "POST", job.settings.url, headers=headers, body=body.encode(), timeout_ms=budget_ms(job.attempt)
    )
    answered = f"HTTP {response.status}"
    if 200 <= response.status < 300:
        return answered
    # Refused before anything was done.
    if response.status in (408, 425, 429, 503):
        raise ActionFailure("retryable", answered)
    # Not a thing that this hook does.
    if response.status in (501, 505):
        raise ActionFailure("permanent", answered)
    # Many applications answer so once it is done; or it began and broke.
    if response.status in (302, 303) or response.status >= 500:
        raise ActionFailure("effect-unknown", answered)
    # It is refused for good.
    raise ActionFailure("permanent", answered)


Plugin = pulse.plugin("__NAME__", "0.1.0", "Calls a hook that repairs", Settings)
Intervention = pulse.intervention(Settings, repair)
