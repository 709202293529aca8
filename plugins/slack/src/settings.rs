//! What an operator may set.

use pulse_plugin_sdk::Color;
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// The incoming webhook's URL. Whoever knows it can post: keep it in a file of its own.
    #[schemars(regex(pattern = r"^https?://."), extend("writeOnly" = true))]
    pub url: String,
    /// Whom to mention, as Slack writes it: `<!here>`, `<@U024BE7LH>`, `<!subteam^SAZ94GDB8>`.
    #[schemars(regex(pattern = r"^(<[!@#][^<>]+> ?)+$"))]
    pub mention: Option<String>,
    /// Which colors mention them.
    #[serde(default = "red")]
    pub mention_colors: Vec<Name>,
    /// Another channel than the webhook's own. Only webhooks of the old kind and compatible receivers heed it.
    pub channel: Option<String>,
    /// Another sender's name. Only webhooks of the old kind and compatible receivers heed it.
    pub username: Option<String>,
}

/// A color by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Name {
    Yellow,
    Red,
    Cyan,
    Green,
    Gray,
    Purple,
}

impl Name {
    /// Whether that is the color's name.
    pub fn is(self, color: Color) -> bool {
        matches!(
            (self, color),
            (Self::Yellow, Color::Yellow)
                | (Self::Red, Color::Red)
                | (Self::Cyan, Color::Cyan)
                | (Self::Green, Color::Green)
                | (Self::Gray, Color::Gray)
                | (Self::Purple, Color::Purple)
        )
    }
}

fn red() -> Vec<Name> {
    vec![Name::Red]
}
