//! The classes of roads, and how fast one may drive on them.

/// A class of road, in the words of OpenStreetMap, from the fastest to the slowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Road {
    Motorway,
    Trunk,
    Primary,
    Secondary,
    Tertiary,
    Residential,
}

/// No lorry may be faster, whatever the road.
const LORRY_LIMIT_KMH: f64 = 80.0;

impl Road {
    const ALL: [Self; 6] =
        [Self::Motorway, Self::Trunk, Self::Primary, Self::Secondary, Self::Tertiary, Self::Residential];

    /// The word in the files.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Motorway => "motorway",
            Self::Trunk => "trunk",
            Self::Primary => "primary",
            Self::Secondary => "secondary",
            Self::Tertiary => "tertiary",
            Self::Residential => "residential",
        }
    }

    /// The limit in metres a second: that of Korean towns since 2021 ("Safety Speed 5030": 50 km/h, 30 where people
    /// live), 60 on the largest of their streets, 80 on expressways, and 100 on motorways.
    pub(crate) fn limit_mps(self, lorry: bool) -> f64 {
        let of_the_road = match self {
            Self::Motorway => 100.0,
            Self::Trunk => 80.0,
            Self::Primary => 60.0,
            Self::Secondary | Self::Tertiary => 50.0,
            Self::Residential => 30.0,
        };
        let limit_kmh = if lorry { LORRY_LIMIT_KMH.min(of_the_road) } else { of_the_road };
        limit_kmh / 3.6
    }

    /// Whether one neither stops nor turns off at a crossing.
    pub(crate) fn has_no_crossings(self) -> bool {
        self == Self::Motorway
    }

    /// The next faster or slower class; there is always one of the two.
    pub(crate) fn next(self, faster: bool) -> Self {
        let at = self as usize;
        let next = if faster { at.checked_sub(1).unwrap_or(1) } else { at + 1 };
        Self::ALL.get(next).copied().unwrap_or(Self::Tertiary)
    }
}
