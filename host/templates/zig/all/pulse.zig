//! What every plugin in Zig needs: settings, texts, HTTP, log, clock and random numbers.
//! It is yours: change it where it does not fit.

const std = @import("std");
pub const c = @import("bindings");

/// The bindings give what they return back to this allocator. An instance lives for one job: nothing else is freed.
pub const allocator = std.heap.c_allocator;

/// The bindings make sure by this name that the component's type is linked in. Here build.sh embeds it.
export fn __component_type_object_force_link_plugin() void {}

/// A text for the host, which frees it. Without memory there is no going on.
pub fn text(comptime format: []const u8, values: anytype) c.plugin_string_t {
    const made = std.fmt.allocPrint(allocator, format, values) catch @panic("out of memory");
    return .{ .ptr = made.ptr, .len = made.len };
}

/// The bytes of a text of the host's.
pub fn slice(given: c.plugin_string_t) []const u8 {
    return if (given.len == 0) "" else given.ptr[0..given.len];
}

/// A line in the host's log, marked with monitor and plugin.
pub fn log(level: c.pulse_host_log_level_t, comptime format: []const u8, values: anytype) void {
    var line = text(format, values);
    c.pulse_host_log_write(level, &line);
}

/// A panic ends the job as a trap; what it says, and where, goes to the log first.
pub fn panicked(message: []const u8, _: ?usize) noreturn {
    var line: c.plugin_string_t = .{ .ptr = @constCast(message.ptr), .len = message.len };
    c.pulse_host_log_write(c.PULSE_HOST_LOG_LEVEL_ERROR, &line);
    @trap();
}

/// Reads settings; which are wrong is said in `wrong`.
pub fn settings(comptime S: type, given: c.plugin_string_t, wrong: *c.plugin_string_t) ?S {
    var diagnostics: std.json.Diagnostics = .{};
    var scanner = std.json.Scanner.initCompleteInput(allocator, slice(given));
    scanner.enableDiagnostics(&diagnostics);
    return std.json.parseFromTokenSourceLeaky(S, allocator, &scanner, .{}) catch |why| {
        wrong.* = text("settings, column {d}: {s}", .{ diagnostics.getColumn(), @errorName(why) });
        return null;
    };
}

/// A value as JSON.
pub fn json(value: anytype) []u8 {
    return std.json.Stringify.valueAlloc(allocator, value, .{}) catch @panic("out of memory");
}

pub fn nowMs() u64 {
    var now: c.wasi_clocks_wall_clock_datetime_t = undefined;
    c.wasi_clocks_wall_clock_now(&now);
    return now.seconds * 1000 + now.nanoseconds / 1_000_000;
}

/// A time in milliseconds since the Unix epoch, as RFC 3339 has it: 2026-11-24T06:40:00.000Z.
pub fn rfc3339(ms: u64) c.plugin_string_t {
    const at: std.time.epoch.EpochSeconds = .{ .secs = ms / 1000 };
    const year = at.getEpochDay().calculateYearDay();
    const month = year.calculateMonthDay();
    const day = at.getDaySeconds();
    return text("{d:0>4}-{d:0>2}-{d:0>2}T{d:0>2}:{d:0>2}:{d:0>2}.{d:0>3}Z", .{
        year.year,              month.month.numeric(),   month.day_index + 1,     day.getHoursIntoDay(),
        day.getMinutesIntoHour(), day.getSecondsIntoMinute(), ms % 1000,
    });
}

pub fn random() u64 {
    return c.wasi_random_random_get_random_u64();
}

/// Milliseconds that a job may wait for its target and still answer.
pub fn budgetMs(attempt: c.pulse_plugin_model_attempt_t) u32 {
    return @max(1, attempt.deadline_ms - @min(100, attempt.deadline_ms / 20));
}

pub const Header = struct { []const u8, c.plugin_string_t };

pub const Answer = union(enum) {
    response: c.pulse_host_http_response_t,
    failed: c.pulse_host_net_error_t,
};

/// Sends a request on a new connection and reads the answer.
pub fn send(method: []const u8, url: []const u8, headers: []const Header, body: ?[]u8, timeout_ms: u32) Answer {
    var fields: c.pulse_host_http_list_header_t = .{
        .ptr = (allocator.alloc(c.pulse_host_http_header_t, headers.len) catch @panic("out of memory")).ptr,
        .len = headers.len,
    };
    for (headers, 0..) |field, index| {
        fields.ptr[index] = .{ .name = text("{s}", .{field[0]}), .value = field[1] };
    }
    var request = std.mem.zeroes(c.pulse_host_http_request_t);
    request.method = text("{s}", .{method});
    request.url = text("{s}", .{url});
    request.headers = fields;
    if (body) |bytes| request.body = .{ .is_some = true, .val = .{ .ptr = bytes.ptr, .len = bytes.len } };
    request.timeout_ms = .{ .is_some = true, .val = timeout_ms };
    var response: c.pulse_host_http_response_t = undefined;
    var failed: c.pulse_host_net_error_t = undefined;
    return if (c.pulse_host_http_send(&request, &response, &failed)) .{ .response = response } else .{ .failed = failed };
}

/// The first header field of that name, whatever its case.
pub fn header(response: c.pulse_host_http_response_t, name: []const u8) ?[]const u8 {
    for (response.headers.ptr[0..response.headers.len]) |field| {
        if (std.ascii.eqlIgnoreCase(slice(field.name), name)) return slice(field.value);
    }
    return null;
}

/// All phases together.
pub fn seconds(t: c.pulse_host_net_timings_t) f64 {
    const micros = t.resolve_us + t.connect_us + t.tls_us + t.processing_us + t.transfer_us;
    return @as(f64, @floatFromInt(micros)) / 1e6;
}

/// The word for a report's reason.
pub fn reasonOf(code: c.pulse_host_net_error_code_t) []const u8 {
    const reasons = [_][]const u8{
        "denied",           "invalid-request",    "name-not-found", "resolve-failed",
        "connection-refused", "connection-reset", "unreachable",    "timeout",
        "tls-expired",      "tls-name-mismatch",  "tls-untrusted",  "tls-failed",
        "protocol-error",   "too-many-redirects", "host-error",
    };
    return if (code < reasons.len) reasons[code] else "failed";
}

/// Whether the peer may have seen the request: what was asked for may have happened.
pub fn afterSending(failed: c.pulse_host_net_error_t) bool {
    return failed.phase == c.PULSE_HOST_NET_PHASE_PROCESSING or failed.phase == c.PULSE_HOST_NET_PHASE_TRANSFER;
}

/// Whether sending the same request again could never work.
pub fn useless(failed: c.pulse_host_net_error_t) bool {
    return failed.code == c.PULSE_HOST_NET_ERROR_CODE_DENIED or failed.code == c.PULSE_HOST_NET_ERROR_CODE_INVALID_REQUEST;
}
