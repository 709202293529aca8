//! Calls a hook that repairs.

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
    \\"url":{"type":"string","format":"uri","minLength":1,"description":"The hook."}},
    \\"required":["url"],"additionalProperties":false}
;

export fn exports_pulse_plugin_plugin_describe(ret: *c.exports_pulse_plugin_plugin_description_t) void {
    ret.* = .{
        .name = text("__NAME__", .{}),
        .version = text("0.1.0", .{}),
        .summary = text("Calls a hook that repairs", .{}),
        .settings_schema = text("{s}", .{schema}),
    };
}

const Failure = c.exports_pulse_plugin_intervention_action_failure_t;

fn retryable(why: c.plugin_string_t) Failure {
    return .{ .tag = c.EXPORTS_PULSE_PLUGIN_INTERVENTION_ACTION_FAILURE_RETRYABLE, .val = .{ .retryable = why } };
}

fn permanent(why: c.plugin_string_t) Failure {
    return .{ .tag = c.EXPORTS_PULSE_PLUGIN_INTERVENTION_ACTION_FAILURE_PERMANENT, .val = .{ .permanent = why } };
}

fn effectUnknown(why: c.plugin_string_t) Failure {
    return .{ .tag = c.EXPORTS_PULSE_PLUGIN_INTERVENTION_ACTION_FAILURE_EFFECT_UNKNOWN, .val = .{ .effect_unknown = why } };
}

export fn exports_pulse_plugin_intervention_run(
    job: *c.exports_pulse_plugin_intervention_job_t,
    ret: *c.exports_pulse_plugin_intervention_action_report_t,
    failure: *Failure,
) bool {
    var wrong: c.plugin_string_t = undefined;
    const settings = pulse.settings(Settings, job.settings, &wrong) orelse {
        failure.* = permanent(wrong);
        return false;
    };
    const headers = [_]pulse.Header{
        .{ "content-type", text("application/json", .{}) },
        // The same when this attempt is delivered again, so that the hook does it once.
        .{ "idempotency-key", text("{s}", .{slice(job.idempotency_key)}) },
        .{ "x-check-id", text("{x:0>16}", .{pulse.random()}) },
        .{ "x-check-at", text("{d}", .{pulse.nowMs()}) },
    };
    const body = pulse.json(.{
        .monitor = slice(job.subject.monitor),
        .tenant = slice(job.subject.tenant),
        .incident = slice(job.incident.key),
        .reason = slice(job.incident.reason),
        .summary = slice(job.incident.summary),
    });
    const status = switch (pulse.send("POST", settings.url, &headers, body, pulse.budgetMs(job.attempt))) {
        .response => |response| response.status,
        .failed => |failed| {
            failure.* = notAnswered(failed);
            return false;
        },
    };
    const answered = text("HTTP {d}", .{status});
    ret.* = std.mem.zeroes(c.exports_pulse_plugin_intervention_action_report_t);
    switch (status) {
        200...299 => {
            ret.summary = answered;
            return true;
        },
        // Refused before anything was done.
        408, 425, 429, 503 => failure.* = retryable(answered),
        // Not a thing that this hook does.
        501, 505 => failure.* = permanent(answered),
        // Many applications answer so once it is done; or it began and broke.
        302, 303, 500, 502, 504, 506...599 => failure.* = effectUnknown(answered),
        // It is refused for good.
        else => failure.* = permanent(answered),
    }
    return false;
}

fn notAnswered(failed: c.pulse_host_net_error_t) Failure {
    const why = text("{s}", .{slice(failed.message)});
    if (pulse.afterSending(failed)) return effectUnknown(why);
    return switch (failed.code) {
        c.PULSE_HOST_NET_ERROR_CODE_DENIED,
        c.PULSE_HOST_NET_ERROR_CODE_INVALID_REQUEST,
        c.PULSE_HOST_NET_ERROR_CODE_CERTIFICATE_EXPIRED,
        c.PULSE_HOST_NET_ERROR_CODE_CERTIFICATE_NAME_MISMATCH,
        c.PULSE_HOST_NET_ERROR_CODE_CERTIFICATE_UNTRUSTED,
        => permanent(why),
        else => retryable(why),
    };
}
