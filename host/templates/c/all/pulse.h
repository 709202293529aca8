// What every plugin in C needs: settings, texts, HTTP, log, clock and random numbers.
// It is yours: change it where it does not fit.
#ifndef PULSE_H
#define PULSE_H

#include "bindings/plugin.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---- Texts ----

// A text that grows. Begin with `text t = {0}`. It ends with a zero byte that is not counted.
typedef struct {
  char *ptr;
  size_t len;
  size_t capacity;
} text;

void text_add(text *to, const char *bytes, size_t len);
// As printf.
__attribute__((format(printf, 2, 3))) void text_put(text *to, const char *format, ...);
// Adds a JSON string, with its quotes.
void text_put_json(text *to, plugin_string_t value);
// Adds a time in milliseconds since the Unix epoch, as RFC 3339 has it: 2026-11-24T06:40:00.000Z.
void text_put_time(text *to, uint64_t ms);

// Hands a text to the host, which frees it.
plugin_string_t text_give(text *from);
// A text of printf's, for the host.
__attribute__((format(printf, 1, 2))) plugin_string_t words(const char *format, ...);
plugin_string_t copy(plugin_string_t of);
bool same(plugin_string_t a, const char *b);

// ---- Settings ----

// What is wrong is put into `wrong`, one complaint after the other; the settings are right when it stays empty.
// A key that is not there leaves `value` as it is, unless it is required.
void setting_text(plugin_string_t settings, const char *key, bool required, text *value, text *wrong);
void setting_integer(plugin_string_t settings, const char *key, int64_t minimum, int64_t maximum, int64_t *value,
                     text *wrong);

// ---- The host ----

void log_line(pulse_host_log_level_t level, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t now_ms(void);
uint64_t random_number(void);
// Milliseconds that a job may wait for its target and still answer.
uint32_t budget_ms(pulse_plugin_model_attempt_t attempt);

// ---- HTTP ----

// A request of that method. Add what is missing, and send it with `pulse_host_http_send`.
pulse_host_http_request_t request(const char *method, const text *url, uint32_t timeout_ms);
void request_header(pulse_host_http_request_t *request, const char *name, plugin_string_t value);
// The first header field of that name, whatever its case; NULL if there is none.
const plugin_string_t *response_header(const pulse_host_http_response_t *response, const char *name);
double seconds(pulse_host_net_timings_t timings);
// The word for a report's reason.
const char *reason_of(pulse_host_net_error_code_t code);
// Whether the peer may have seen the request: what was asked for may have happened.
bool after_sending(pulse_host_net_error_t error);

#endif
