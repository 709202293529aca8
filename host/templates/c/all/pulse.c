#include "pulse.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

// The bindings make sure by this name that the component's type is linked in. Here build.sh embeds it.
void __component_type_object_force_link_plugin(void) {}

// Without memory there is no going on; the job ends as a trap.
static void *must(void *memory) {
  if (memory == NULL) abort();
  return memory;
}

// ---- Texts ----

void text_add(text *to, const char *bytes, size_t len) {
  if (to->len + len + 1 > to->capacity) {
    to->capacity = (to->len + len + 1) * 2;
    to->ptr = must(realloc(to->ptr, to->capacity));
  }
  if (len > 0) memcpy(to->ptr + to->len, bytes, len);
  to->len += len;
  to->ptr[to->len] = 0;
}

static void put(text *to, const char *format, va_list values) {
  va_list again;
  va_copy(again, values);
  int len = vsnprintf(NULL, 0, format, again);
  va_end(again);
  if (len < 0) abort();
  char *bytes = must(malloc((size_t)len + 1));
  vsnprintf(bytes, (size_t)len + 1, format, values);
  text_add(to, bytes, (size_t)len);
  free(bytes);
}

void text_put(text *to, const char *format, ...) {
  va_list values;
  va_start(values, format);
  put(to, format, values);
  va_end(values);
}

void text_put_json(text *to, plugin_string_t value) {
  text_add(to, "\"", 1);
  for (size_t i = 0, from = 0; i <= value.len; i++) {
    unsigned char byte = i < value.len ? value.ptr[i] : 0;
    if (i < value.len && byte >= 0x20 && byte != '"' && byte != '\\') continue;
    text_add(to, (const char *)value.ptr + from, i - from);
    from = i + 1;
    if (i == value.len) break;
    if (byte < 0x20) text_put(to, "\\u%04x", byte);
    else text_put(to, "\\%c", byte);
  }
  text_add(to, "\"", 1);
}

void text_put_time(text *to, uint64_t ms) {
  time_t at = (time_t)(ms / 1000);
  const struct tm *utc = gmtime(&at);
  if (utc == NULL) abort();
  text_put(to, "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ", utc->tm_year + 1900, utc->tm_mon + 1, utc->tm_mday, utc->tm_hour,
           utc->tm_min, utc->tm_sec, (unsigned)(ms % 1000));
}

plugin_string_t text_give(text *from) {
  plugin_string_t given = {(uint8_t *)from->ptr, from->len};
  *from = (text){0};
  return given;
}

plugin_string_t words(const char *format, ...) {
  text t = {0};
  va_list values;
  va_start(values, format);
  put(&t, format, values);
  va_end(values);
  return text_give(&t);
}

plugin_string_t copy(plugin_string_t of) {
  text t = {0};
  text_add(&t, (const char *)of.ptr, of.len);
  return text_give(&t);
}

bool same(plugin_string_t a, const char *b) {
  return a.len == strlen(b) && memcmp(a.ptr, b, a.len) == 0;
}

// ---- Settings: a JSON object. Its schema was checked by the host, but nobody has to rely on that. ----

typedef struct {
  const char *at;
  const char *end;
} cursor;

static void blanks(cursor *c) {
  while (c->at < c->end && strchr(" \t\r\n", *c->at) != NULL) c->at++;
}

static bool take(cursor *c, char wanted) {
  blanks(c);
  if (c->at == c->end || *c->at != wanted) return false;
  c->at++;
  return true;
}

static int hex4(cursor *c) {
  int value = 0;
  for (int i = 0; i < 4; i++) {
    if (c->at == c->end || !isxdigit((unsigned char)*c->at)) return -1;
    char digit = (char)tolower((unsigned char)*c->at++);
    value = value * 16 + (digit <= '9' ? digit - '0' : digit - 'a' + 10);
  }
  return value;
}

static void add_utf8(text *to, int code) {
  char bytes[4];
  size_t len = 0;
  if (code < 0x80) bytes[len++] = (char)code;
  else if (code < 0x800) bytes[len++] = (char)(0xc0 | code >> 6);
  else if (code < 0x10000) bytes[len++] = (char)(0xe0 | code >> 12);
  else {
    bytes[len++] = (char)(0xf0 | code >> 18);
    bytes[len++] = (char)(0x80 | (code >> 12 & 0x3f));
  }
  if (code >= 0x800) bytes[len++] = (char)(0x80 | (code >> 6 & 0x3f));
  if (code >= 0x80) bytes[len++] = (char)(0x80 | (code & 0x3f));
  text_add(to, bytes, len);
}

static bool string(cursor *c, text *value) {
  if (!take(c, '"')) return false;
  text_add(value, "", 0);
  while (c->at < c->end && *c->at != '"') {
    const char *plain = c->at;
    while (c->at < c->end && *c->at != '"' && *c->at != '\\') c->at++;
    text_add(value, plain, (size_t)(c->at - plain));
    if (c->at == c->end || *c->at == '"') break;
    c->at++;
    if (c->at == c->end) return false;
    char letter = *c->at++;
    if (letter == 'u') {
      int code = hex4(c);
      if (code < 0) return false;
      if (code >= 0xd800 && code < 0xdc00 && c->end - c->at > 2 && c->at[0] == '\\' && c->at[1] == 'u') {
        c->at += 2;
        int low = hex4(c);
        if (low < 0xdc00 || low > 0xdfff) return false;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      }
      add_utf8(value, code);
      continue;
    }
    const char *from = "\"\\/bfnrt", *to = "\"\\/\b\f\n\r\t";
    const char *found = letter ? strchr(from, letter) : NULL;
    if (found == NULL) return false;
    text_add(value, to + (found - from), 1);
  }
  return take(c, '"');
}

// Goes over any value.
static bool skip(cursor *c) {
  blanks(c);
  int depth = 0;
  do {
    if (c->at == c->end) return false;
    if (*c->at == '"') {
      text ignored = {0};
      bool whole = string(c, &ignored);
      free(ignored.ptr);
      if (!whole) return false;
    } else if (*c->at == '{' || *c->at == '[') {
      depth++;
      c->at++;
    } else if (*c->at == '}' || *c->at == ']') {
      depth--;
      c->at++;
    } else if (depth == 0) {
      while (c->at < c->end && strchr(",}] \t\r\n", *c->at) == NULL) c->at++;
    } else {
      c->at++;
    }
  } while (depth > 0);
  return true;
}

// Leads to the value of a key.
static bool find(plugin_string_t settings, const char *key, cursor *value) {
  cursor c = {(const char *)settings.ptr, (const char *)settings.ptr + settings.len};
  if (!take(&c, '{')) return false;
  do {
    text name = {0};
    bool whole = string(&c, &name) && take(&c, ':');
    bool found = whole && strcmp(name.ptr, key) == 0;
    free(name.ptr);
    if (!whole) return false;
    blanks(&c);
    if (found) {
      *value = c;
      return true;
    }
  } while (skip(&c) && take(&c, ','));
  return false;
}

static void complain(text *wrong, const char *key, const char *what) {
  text_put(wrong, "%s/%s: %s", wrong->len > 0 ? "; " : "", key, what);
}

void setting_text(plugin_string_t settings, const char *key, bool required, text *value, text *wrong) {
  cursor c;
  if (!find(settings, key, &c)) {
    if (required) complain(wrong, key, "is missing");
    return;
  }
  text read = {0};
  if (!string(&c, &read)) {
    complain(wrong, key, "must be a text");
    free(read.ptr);
    return;
  }
  free(value->ptr);
  *value = read;
}

void setting_integer(plugin_string_t settings, const char *key, int64_t minimum, int64_t maximum, int64_t *value,
                     text *wrong) {
  cursor c;
  if (!find(settings, key, &c)) return;
  int64_t read = 0;
  bool negative = c.at < c.end && *c.at == '-';
  const char *first = c.at += negative;
  while (c.at < c.end && isdigit((unsigned char)*c.at) && read < INT64_MAX / 10 - 9) read = read * 10 + (*c.at++ - '0');
  bool ended = c.at > first && c.at < c.end && strchr(",} \t\r\n", *c.at) != NULL;
  if (negative) read = -read;
  if (!ended || read < minimum || read > maximum) {
    text what = {0};
    text_put(&what, "must be a whole number from %lld to %lld", (long long)minimum, (long long)maximum);
    complain(wrong, key, what.ptr);
    free(what.ptr);
    return;
  }
  *value = read;
}

// ---- The host ----

void log_line(pulse_host_log_level_t level, const char *format, ...) {
  text t = {0};
  va_list values;
  va_start(values, format);
  put(&t, format, values);
  va_end(values);
  plugin_string_t line = {(uint8_t *)t.ptr, t.len};
  pulse_host_log_write(level, &line);
  free(t.ptr);
}

uint64_t now_ms(void) {
  wasi_clocks_wall_clock_datetime_t now;
  wasi_clocks_wall_clock_now(&now);
  return now.seconds * 1000 + now.nanoseconds / 1000000;
}

uint64_t random_number(void) { return wasi_random_random_get_random_u64(); }

uint32_t budget_ms(pulse_plugin_model_attempt_t attempt) {
  uint32_t twentieth = attempt.deadline_ms / 20;
  uint32_t left = attempt.deadline_ms - (twentieth < 100 ? twentieth : 100);
  return left > 0 ? left : 1;
}

// ---- HTTP ----

pulse_host_http_request_t request(const char *method, const text *url, uint32_t timeout_ms) {
  pulse_host_http_request_t made = {0};
  made.method = words("%s", method);
  made.url = copy((plugin_string_t){(uint8_t *)url->ptr, url->len});
  made.family = PULSE_HOST_NET_IP_FAMILY_ANY;
  made.timeout_ms.is_some = true;
  made.timeout_ms.val = timeout_ms;
  return made;
}

void request_header(pulse_host_http_request_t *request, const char *name, plugin_string_t value) {
  size_t count = request->headers.len + 1;
  request->headers.ptr = must(realloc(request->headers.ptr, count * sizeof *request->headers.ptr));
  request->headers.ptr[count - 1] = (pulse_host_http_header_t){words("%s", name), value};
  request->headers.len = count;
}

const plugin_string_t *response_header(const pulse_host_http_response_t *response, const char *name) {
  for (size_t i = 0; i < response->headers.len; i++) {
    const pulse_host_http_header_t *header = &response->headers.ptr[i];
    if (header->name.len == strlen(name) && strncasecmp((const char *)header->name.ptr, name, header->name.len) == 0)
      return &header->value;
  }
  return NULL;
}

double seconds(pulse_host_net_timings_t t) {
  return (double)(t.resolve_us + t.connect_us + t.tls_us + t.processing_us + t.transfer_us) / 1e6;
}

const char *reason_of(pulse_host_net_error_code_t code) {
  static const char *const reasons[] = {
      "denied",      "invalid-request",   "name-not-found", "resolve-failed",     "connection-refused",
      "connection-reset", "unreachable",  "timeout",        "tls-expired",        "tls-name-mismatch",
      "tls-untrusted", "tls-failed",      "protocol-error", "too-many-redirects", "host-error",
  };
  return code < sizeof reasons / sizeof *reasons ? reasons[code] : "failed";
}

bool after_sending(pulse_host_net_error_t error) {
  return error.phase == PULSE_HOST_NET_PHASE_PROCESSING || error.phase == PULSE_HOST_NET_PHASE_TRANSFER;
}
