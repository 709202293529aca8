// Package export_pulse_plugin_plugin answers for the interface `plugin`.
package export_pulse_plugin_plugin

import (
	"wit_component/plugin"
	"wit_component/pulse"
	"wit_component/pulse_plugin_plugin"
)

// Describe says what the plugin is.
func Describe() pulse_plugin_plugin.Description {
	return pulse_plugin_plugin.Description{
		Name:           plugin.Name,
		Version:        plugin.Version,
		Summary:        plugin.Summary,
		SettingsSchema: pulse.Schema[plugin.Settings](),
	}
}
