// Calls a hook that repairs.
#include "pulse.h"

static const char SCHEMA[] =
    "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"type\":\"object\",\"properties\":{"
    "\"url\":{\"type\":\"string\",\"format\":\"uri\",\"minLength\":1,\"description\":\"The hook.\"}},"
    "\"required\":[\"url\"],\"additionalProperties\":false}";

void exports_pulse_plugin_plugin_describe(exports_pulse_plugin_plugin_description_t *ret) {
  ret->name = words("__NAME__");
  ret->version = words("0.1.0");
  ret->summary = words("Calls a hook that repairs");
  ret->settings_schema = words("%s", SCHEMA);
}

typedef exports_pulse_plugin_intervention_action_failure_t failure;

static bool retryable(failure *failure, plugin_string_t why) {
  failure->tag = EXPORTS_PULSE_PLUGIN_INTERVENTION_ACTION_FAILURE_RETRYABLE;
  failure->val.retryable = why;
  return false;
}

static bool permanent(failure *failure, plugin_string_t why) {
  failure->tag = EXPORTS_PULSE_PLUGIN_INTERVENTION_ACTION_FAILURE_PERMANENT;
  failure->val.permanent = why;
  return false;
}

static bool effect_unknown(failure *failure, plugin_string_t why) {
  failure->tag = EXPORTS_PULSE_PLUGIN_INTERVENTION_ACTION_FAILURE_EFFECT_UNKNOWN;
  failure->val.effect_unknown = why;
  return false;
}

static bool not_answered(failure *failure, const pulse_host_net_error_t *error) {
  plugin_string_t why = copy(error->message);
  if (after_sending(*error)) return effect_unknown(failure, why);
  switch (error->code) {
  case PULSE_HOST_NET_ERROR_CODE_DENIED:
  case PULSE_HOST_NET_ERROR_CODE_INVALID_REQUEST:
  case PULSE_HOST_NET_ERROR_CODE_CERTIFICATE_EXPIRED:
  case PULSE_HOST_NET_ERROR_CODE_CERTIFICATE_NAME_MISMATCH:
  case PULSE_HOST_NET_ERROR_CODE_CERTIFICATE_UNTRUSTED:
    return permanent(failure, why);
  default:
    return retryable(failure, why);
  }
}

bool exports_pulse_plugin_intervention_run(exports_pulse_plugin_intervention_job_t *job,
                                           exports_pulse_plugin_intervention_action_report_t *ret,
                                           exports_pulse_plugin_intervention_action_failure_t *failure) {
  *ret = (exports_pulse_plugin_intervention_action_report_t){0};
  text url = {0}, wrong = {0}, body = {0};
  setting_text(job->settings, "url", true, &url, &wrong);
  if (wrong.len > 0) return permanent(failure, text_give(&wrong));

  text_put(&body, "{\"monitor\":");
  text_put_json(&body, job->subject.monitor);
  text_put(&body, ",\"tenant\":");
  text_put_json(&body, job->subject.tenant);
  text_put(&body, ",\"incident\":");
  text_put_json(&body, job->incident.key);
  text_put(&body, ",\"reason\":");
  text_put_json(&body, job->incident.reason);
  text_put(&body, ",\"summary\":");
  text_put_json(&body, job->incident.summary);
  text_put(&body, "}");

  pulse_host_http_request_t post = request("POST", &url, budget_ms(job->attempt));
  request_header(&post, "content-type", words("application/json"));
  // The same when this attempt is delivered again, so that the hook does it once.
  request_header(&post, "idempotency-key", copy(job->idempotency_key));
  request_header(&post, "x-check-id", words("%016llx", (unsigned long long)random_number()));
  request_header(&post, "x-check-at", words("%llu", (unsigned long long)now_ms()));
  post.body = (plugin_option_list_u8_t){true, {(uint8_t *)body.ptr, body.len}};

  pulse_host_http_response_t response;
  pulse_host_net_error_t error;
  if (!pulse_host_http_send(&post, &response, &error)) return not_answered(failure, &error);
  int status = response.status;
  plugin_string_t answered = words("HTTP %d", status);
  if (status >= 200 && status < 300) {
    ret->summary = answered;
    return true;
  }
  switch (status) {
  // Refused before anything was done.
  case 408: case 425: case 429: case 503:
    return retryable(failure, answered);
  // Not a thing that this hook does.
  case 501: case 505:
    return permanent(failure, answered);
  // Many applications answer so once it is done.
  case 302: case 303:
    return effect_unknown(failure, answered);
  // It began and broke; or it is refused for good.
  default:
    return status >= 500 ? effect_unknown(failure, answered) : permanent(failure, answered);
  }
}
