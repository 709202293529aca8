//! Checks a URL: whether it answers, and with the status that is expected.

const std = @import("std");
const pulse = @import("pulse.zig");
const c = pulse.c;
const text = pulse.text;

pub const panic = std.debug.FullPanic(pulse.panicked);

/// What an operator may set.
const Settings = struct {
    url: []const u8,
    @"expect-status": u16 = 200,
};

const schema =
    \\{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{
    \\"url":{"type":"string","format":"uri","minLength":1,"description":"What to fetch."},
    \\"expect-status":{"type":"integer","minimum":100,"maximum":599,"default":200,
    \\"description":"The status of a healthy answer."}},"required":["url"],"additionalProperties":false}
;

export fn exports_pulse_plugin_plugin_describe(ret: *c.exports_pulse_plugin_plugin_description_t) void {
    ret.* = .{
        .name = text("__NAME__", .{}),
        .version = text("0.1.0", .{}),
        .summary = text("Checks a URL", .{}),
        .settings_schema = text("{s}", .{schema}),
    };
}

export fn exports_pulse_plugin_pulse_run(
    job: *c.exports_pulse_plugin_pulse_job_t,
    ret: *c.exports_pulse_plugin_pulse_report_t,
    fault: *c.exports_pulse_plugin_pulse_fault_t,
) bool {
    fault.tag = c.PULSE_PLUGIN_MODEL_FAULT_INVALID_SETTINGS;
    const settings = pulse.settings(Settings, job.settings, &fault.val.invalid_settings) orelse return false;
    const headers = [_]pulse.Header{
        // By these the request is found in the log of whoever answers.
        .{ "x-check-id", text("{x:0>16}", .{pulse.random()}) },
        .{ "x-check-at", text("{d}", .{pulse.nowMs()}) },
    };
    switch (pulse.send("GET", settings.url, &headers, null, pulse.budgetMs(job.attempt))) {
        .failed => |failed| return report(failed, ret, fault),
        .response => |response| {
            const took = pulse.seconds(response.timings);
            ret.* = std.mem.zeroes(c.exports_pulse_plugin_pulse_report_t);
            if (response.status == settings.@"expect-status") {
                ret.status = c.EXPORTS_PULSE_PLUGIN_PULSE_STATUS_HEALTHY;
                ret.summary = text("HTTP {d} in {d:.0} ms", .{ response.status, took * 1000 });
            } else {
                ret.status = c.EXPORTS_PULSE_PLUGIN_PULSE_STATUS_UNHEALTHY;
                ret.summary = text("HTTP {d}, expected {d}", .{ response.status, settings.@"expect-status" });
                ret.reason = .{ .is_some = true, .val = text("unexpected-status", .{}) };
            }
            const Measurement = c.exports_pulse_plugin_pulse_measurement_t;
            const measured = pulse.allocator.alloc(Measurement, 1) catch @panic("out of memory");
            measured[0] = .{ .name = text("response_duration", .{}), .value = took, .unit = text("s", .{}) };
            ret.measurements = .{ .ptr = measured.ptr, .len = measured.len };
            return true;
        },
    }
}

/// The target could not be talked to. Who is to blame decides whether that says something about it.
fn report(
    failed: c.pulse_host_net_error_t,
    ret: *c.exports_pulse_plugin_pulse_report_t,
    fault: *c.exports_pulse_plugin_pulse_fault_t,
) bool {
    const message = text("{s}", .{pulse.slice(failed.message)});
    switch (failed.code) {
        c.PULSE_HOST_NET_ERROR_CODE_INVALID_REQUEST => {
            fault.* = .{ .tag = c.PULSE_PLUGIN_MODEL_FAULT_INVALID_SETTINGS, .val = .{ .invalid_settings = message } };
        },
        c.PULSE_HOST_NET_ERROR_CODE_DENIED => {
            fault.* = .{ .tag = c.PULSE_PLUGIN_MODEL_FAULT_UNSUPPORTED, .val = .{ .unsupported = message } };
        },
        c.PULSE_HOST_NET_ERROR_CODE_HOST => {
            fault.* = .{ .tag = c.PULSE_PLUGIN_MODEL_FAULT_INTERNAL, .val = .{ .internal = message } };
        },
        else => {
            ret.* = std.mem.zeroes(c.exports_pulse_plugin_pulse_report_t);
            ret.status = c.EXPORTS_PULSE_PLUGIN_PULSE_STATUS_UNHEALTHY;
            ret.summary = message;
            ret.reason = .{ .is_some = true, .val = text("{s}", .{pulse.reasonOf(failed.code)}) };
            return true;
        },
    }
    return false;
}
