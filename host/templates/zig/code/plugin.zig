//! Sends an alert as JSON.

const std = @import("std");
const pulse = @import("pulse.zig");
const c = pulse.c;
const text = pulse.text;
const slice = pulse.slice;

pub const panic = std.debug.FullPanic(pulse.panicked);

/// What an operator may set.
const Settings = struct { url: []const u8 };

const schema =
    \\{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{
    \\"url":{"type":"string","format":"uri","minLength":1,"description":"Where to send it."}},
    \\"required":["url"],"additionalProperties":false}
;

const colors = [_][]const u8{ "yellow", "red", "cyan", "green", "gray", "purple" };

export fn exports_pulse_plugin_plugin_describe(ret: *c.exports_pulse_plugin_plugin_description_t) void {
    ret.* = .{
        .name = text("__NAME__", .{}),
        .version = text("0.1.0", .{}),
        .summary = text("Sends an alert as JSON", .{}),
        .settings_schema = text("{s}", .{schema}),
    };
}

const Failure = c.exports_pulse_plugin_code_delivery_failure_t;

fn permanent(why: c.plugin_string_t) Failure {
    return .{ .tag = c.EXPORTS_PULSE_PLUGIN_CODE_DELIVERY_FAILURE_PERMANENT, .val = .{ .permanent = why } };
}

/// After so many seconds, if the receiver wishes it.
fn retryable(why: c.plugin_string_t, wish: ?[]const u8) Failure {
    var retry = std.mem.zeroes(c.exports_pulse_plugin_code_retry_t);
    retry.message = why;
    if (std.fmt.parseInt(u32, wish orelse "", 10)) |seconds| {
        retry.after_ms = .{ .is_some = true, .val = @min(seconds, 86_400) * 1000 };
    } else |_| {}
    return .{ .tag = c.EXPORTS_PULSE_PLUGIN_CODE_DELIVERY_FAILURE_RETRYABLE, .val = .{ .retryable = retry } };
}

export fn exports_pulse_plugin_code_notify(
    job: *c.exports_pulse_plugin_code_job_t,
    ret: *c.exports_pulse_plugin_code_receipt_t,
    failure: *Failure,
) bool {
    var wrong: c.plugin_string_t = undefined;
    const settings = pulse.settings(Settings, job.settings, &wrong) orelse {
        failure.* = permanent(wrong);
        return false;
    };
    const headers = [_]pulse.Header{
        .{ "content-type", text("application/json", .{}) },
        // The same when this alert is sent again, so that the receiver can drop the repeat.
        .{ "idempotency-key", text("{s}", .{slice(job.delivery_id)}) },
        .{ "x-check-id", text("{x:0>16}", .{pulse.random()}) },
        .{ "x-check-at", text("{d}", .{pulse.nowMs()}) },
    };
    const body = pulse.json(.{
        .color = colors[job.color],
        .title = slice(job.title),
        .body = slice(job.body),
        .monitor = slice(job.subject.monitor),
        .tenant = slice(job.subject.tenant),
        .incident = slice(job.incident_key),
        .reminder = job.reminder,
        .@"happened-at" = slice(pulse.rfc3339(job.happened_at)),
    });
    const response = switch (pulse.send("POST", settings.url, &headers, body, pulse.budgetMs(job.attempt))) {
        .response => |response| response,
        .failed => |failed| {
            const why = text("{s}", .{slice(failed.message)});
            failure.* = if (pulse.useless(failed)) permanent(why) else retryable(why, null);
            return false;
        },
    };
    const answered = text("HTTP {d}", .{response.status});
    ret.* = std.mem.zeroes(c.exports_pulse_plugin_code_receipt_t);
    switch (response.status) {
        200...299 => {
            ret.summary = answered;
            if (pulse.header(response, "x-request-id")) |id| ret.id = .{ .is_some = true, .val = text("{s}", .{id}) };
            return true;
        },
        408, 425, 429, 500...599 => failure.* = retryable(answered, pulse.header(response, "retry-after")),
        else => failure.* = permanent(answered),
    }
    return false;
}
