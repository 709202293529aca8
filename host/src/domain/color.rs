//! The colors of alerts.

use serde::{Deserialize, Serialize};

/// What an alert ("code") says about its monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Color {
    /// First failure, or degraded.
    Yellow,
    /// Down and no repair left, or repairs take longer than `page-after`.
    Red,
    /// An intervention was done and is being verified.
    Cyan,
    /// Healthy again.
    Green,
    /// Entered or left maintenance.
    Gray,
    /// Can't tell: the prober is in trouble.
    Purple,
}

impl Color {
    /// All colors, in the order in which people list them.
    pub const ALL: [Self; 6] = [
        Self::Yellow,
        Self::Red,
        Self::Cyan,
        Self::Green,
        Self::Gray,
        Self::Purple,
    ];

    /// The color's name as it stands in configuration, logs and payloads.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Yellow => "yellow",
            Self::Red => "red",
            Self::Cyan => "cyan",
            Self::Green => "green",
            Self::Gray => "gray",
            Self::Purple => "purple",
        }
    }

    /// The color of that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|color| color.name() == name)
    }
}

impl std::fmt::Display for Color {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A set of colors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ColorSet(u8);

impl ColorSet {
    /// The empty set.
    pub const EMPTY: Self = Self(0);

    /// Adds a color; true if it was not there.
    pub fn insert(&mut self, color: Color) -> bool {
        let fresh = !self.contains(color);
        self.0 |= 1 << color as u8;
        fresh
    }

    /// Whether the color is in the set.
    #[must_use]
    pub fn contains(self, color: Color) -> bool {
        self.0 & (1 << color as u8) != 0
    }

    /// Whether no color is in the set.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Color> for ColorSet {
    fn from_iter<I: IntoIterator<Item = Color>>(colors: I) -> Self {
        let mut set = Self::EMPTY;
        for color in colors {
            set.insert(color);
        }
        set
    }
}
