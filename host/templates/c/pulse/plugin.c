// Checks a URL: whether it answers, and with the status that is expected.
#include "pulse.h"
#include <stdlib.h>

static const char SCHEMA[] =
    "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"type\":\"object\",\"properties\":{"
    "\"url\":{\"type\":\"string\",\"format\":\"uri\",\"minLength\":1,\"description\":\"What to fetch.\"},"
    "\"expect-status\":{\"type\":\"integer\",\"minimum\":100,\"maximum\":599,\"default\":200,"
    "\"description\":\"The status of a healthy answer.\"}},"
    "\"required\":[\"url\"],\"additionalProperties\":false}";

// What an operator may set.
typedef struct {
  text url;
  int64_t expect_status;
} settings;

void exports_pulse_plugin_plugin_describe(exports_pulse_plugin_plugin_description_t *ret) {
  ret->name = words("__NAME__");
  ret->version = words("0.1.0");
  ret->summary = words("Checks a URL");
  ret->settings_schema = words("%s", SCHEMA);
}

// The target could not be talked to. Who is to blame decides whether that says something about it.
static bool failed(const pulse_host_net_error_t *error, exports_pulse_plugin_pulse_report_t *ret,
                   exports_pulse_plugin_pulse_fault_t *fault) {
  plugin_string_t message = copy(error->message);
  switch (error->code) {
  case PULSE_HOST_NET_ERROR_CODE_INVALID_REQUEST:
    fault->tag = PULSE_PLUGIN_MODEL_FAULT_INVALID_SETTINGS;
    fault->val.invalid_settings = message;
    return false;
  case PULSE_HOST_NET_ERROR_CODE_DENIED:
    fault->tag = PULSE_PLUGIN_MODEL_FAULT_UNSUPPORTED;
    fault->val.unsupported = message;
    return false;
  case PULSE_HOST_NET_ERROR_CODE_HOST:
    fault->tag = PULSE_PLUGIN_MODEL_FAULT_INTERNAL;
    fault->val.internal = message;
    return false;
  default:
    ret->status = EXPORTS_PULSE_PLUGIN_PULSE_STATUS_UNHEALTHY;
    ret->summary = message;
    ret->reason = (plugin_option_string_t){true, words("%s", reason_of(error->code))};
    return true;
  }
}

bool exports_pulse_plugin_pulse_run(exports_pulse_plugin_pulse_job_t *job, exports_pulse_plugin_pulse_report_t *ret,
                                    exports_pulse_plugin_pulse_fault_t *fault) {
  *ret = (exports_pulse_plugin_pulse_report_t){0};
  settings s = {.expect_status = 200};
  text wrong = {0};
  setting_text(job->settings, "url", true, &s.url, &wrong);
  setting_integer(job->settings, "expect-status", 100, 599, &s.expect_status, &wrong);
  if (wrong.len > 0) {
    fault->tag = PULSE_PLUGIN_MODEL_FAULT_INVALID_SETTINGS;
    fault->val.invalid_settings = text_give(&wrong);
    return false;
  }

  pulse_host_http_request_t get = request("GET", &s.url, budget_ms(job->attempt));
  // By these the request is found in the log of whoever answers.
  request_header(&get, "x-check-id", words("%016llx", (unsigned long long)random_number()));
  request_header(&get, "x-check-at", words("%llu", (unsigned long long)now_ms()));
  pulse_host_http_response_t response;
  pulse_host_net_error_t error;
  if (!pulse_host_http_send(&get, &response, &error)) return failed(&error, ret, fault);

  double took = seconds(response.timings);
  if (response.status == s.expect_status) {
    ret->status = EXPORTS_PULSE_PLUGIN_PULSE_STATUS_HEALTHY;
    ret->summary = words("HTTP %d in %.0f ms", response.status, took * 1000);
  } else {
    ret->status = EXPORTS_PULSE_PLUGIN_PULSE_STATUS_UNHEALTHY;
    ret->summary = words("HTTP %d, expected %lld", response.status, (long long)s.expect_status);
    ret->reason = (plugin_option_string_t){true, words("unexpected-status")};
  }
  ret->measurements.ptr = malloc(sizeof *ret->measurements.ptr);
  if (ret->measurements.ptr == NULL) abort();
  ret->measurements.ptr[0] =
      (exports_pulse_plugin_pulse_measurement_t){words("response_duration"), took, words("s")};
  ret->measurements.len = 1;
  return true;
}
