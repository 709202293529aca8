// Sends an alert as JSON.
#include "pulse.h"
#include <stdlib.h>

static const char SCHEMA[] =
    "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"type\":\"object\",\"properties\":{"
    "\"url\":{\"type\":\"string\",\"format\":\"uri\",\"minLength\":1,\"description\":\"Where to send it.\"}},"
    "\"required\":[\"url\"],\"additionalProperties\":false}";

static const char *const COLORS[] = {"yellow", "red", "cyan", "green", "gray", "purple"};

void exports_pulse_plugin_plugin_describe(exports_pulse_plugin_plugin_description_t *ret) {
  ret->name = words("__NAME__");
  ret->version = words("0.1.0");
  ret->summary = words("Sends an alert as JSON");
  ret->settings_schema = words("%s", SCHEMA);
}

typedef exports_pulse_plugin_code_delivery_failure_t failure;

static bool permanent(failure *failure, plugin_string_t why) {
  failure->tag = EXPORTS_PULSE_PLUGIN_CODE_DELIVERY_FAILURE_PERMANENT;
  failure->val.permanent = why;
  return false;
}

// After so many seconds, as the receiver wishes; NULL when it has none.
static bool retryable(failure *failure, plugin_string_t why, const plugin_string_t *wish) {
  failure->tag = EXPORTS_PULSE_PLUGIN_CODE_DELIVERY_FAILURE_RETRYABLE;
  failure->val.retryable = (exports_pulse_plugin_code_retry_t){.message = why};
  uint32_t seconds = 0;
  bool is_number = wish != NULL && wish->len > 0;
  for (size_t i = 0; is_number && i < wish->len; i++) {
    is_number = wish->ptr[i] >= '0' && wish->ptr[i] <= '9';
    if (is_number && seconds < 86400) seconds = seconds * 10 + (wish->ptr[i] - '0');
  }
  if (is_number) {
    failure->val.retryable.after_ms.is_some = true;
    failure->val.retryable.after_ms.val = (seconds < 86400 ? seconds : 86400) * 1000;
  }
  return false;
}

bool exports_pulse_plugin_code_notify(exports_pulse_plugin_code_job_t *job,
                                      exports_pulse_plugin_code_receipt_t *ret,
                                      exports_pulse_plugin_code_delivery_failure_t *failure) {
  *ret = (exports_pulse_plugin_code_receipt_t){0};
  text url = {0}, wrong = {0}, body = {0};
  setting_text(job->settings, "url", true, &url, &wrong);
  if (wrong.len > 0) return permanent(failure, text_give(&wrong));

  text_put(&body, "{\"color\":\"%s\",\"title\":", COLORS[job->color]);
  text_put_json(&body, job->title);
  text_put(&body, ",\"body\":");
  text_put_json(&body, job->body);
  text_put(&body, ",\"monitor\":");
  text_put_json(&body, job->subject.monitor);
  text_put(&body, ",\"tenant\":");
  text_put_json(&body, job->subject.tenant);
  text_put(&body, ",\"incident\":");
  text_put_json(&body, job->incident_key);
  text_put(&body, ",\"reminder\":%s,\"happened-at\":\"", job->reminder ? "true" : "false");
  text_put_time(&body, job->happened_at);
  text_put(&body, "\"}");

  pulse_host_http_request_t post = request("POST", &url, budget_ms(job->attempt));
  request_header(&post, "content-type", words("application/json"));
  // The same when this alert is sent again, so that the receiver can drop the repeat.
  request_header(&post, "idempotency-key", copy(job->delivery_id));
  request_header(&post, "x-check-id", words("%016llx", (unsigned long long)random_number()));
  request_header(&post, "x-check-at", words("%llu", (unsigned long long)now_ms()));
  post.body = (plugin_option_list_u8_t){true, {(uint8_t *)body.ptr, body.len}};

  pulse_host_http_response_t response;
  pulse_host_net_error_t error;
  if (!pulse_host_http_send(&post, &response, &error)) {
    plugin_string_t why = copy(error.message);
    bool useless =
        error.code == PULSE_HOST_NET_ERROR_CODE_DENIED || error.code == PULSE_HOST_NET_ERROR_CODE_INVALID_REQUEST;
    return useless ? permanent(failure, why) : retryable(failure, why, NULL);
  }
  int status = response.status;
  plugin_string_t answered = words("HTTP %d", status);
  if (status >= 200 && status < 300) {
    ret->summary = answered;
    const plugin_string_t *id = response_header(&response, "x-request-id");
    if (id != NULL) ret->id = (plugin_option_string_t){true, copy(*id)};
    return true;
  }
  if (status == 408 || status == 425 || status == 429 || status >= 500)
    return retryable(failure, answered, response_header(&response, "retry-after"));
  return permanent(failure, answered);
}
