//! `fleet.toml`: where the data is, and what counts as what.

use std::path::{Path, PathBuf};

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::clean::CleanSettings;
use crate::error::Error;
use crate::figures::FigureSettings;
use crate::limits::{LimitSettings, Limits};
use crate::overspeed::OverspeedSettings;
use crate::rapid::RapidSettings;
use crate::read::ReadSettings;
use crate::zones::Zones;

/// The settings as a file, each at its default and with what it means.
pub const SAMPLE: &str = include_str!("../fleet.toml");

/// Everything that can be set. A file says only what differs from the defaults; an unknown key is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The folder of the trips, `VEHICLE/2026-11-23/trip_….json`. Default `data`. A relative path counts from the folder of the file.
    pub data: PathBuf,
    /// Where the results go. Default `results`. A relative path counts from the folder of the file.
    pub results: PathBuf,
    /// The zone of the days. Default Asia/Seoul.
    pub timezone: Tz,
    /// How much of a file is used.
    pub read: ReadSettings,
    /// Which points are possible.
    pub clean: CleanSettings,
    /// Which speed limit holds where.
    pub limits: LimitSettings,
    /// What counts as overspeed.
    pub overspeed: OverspeedSettings,
    /// What counts as rapid behaviour.
    pub rapid: RapidSettings,
    /// When a vehicle stands, and how its driver is scored.
    pub figures: FigureSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data: "data".into(),
            results: "results".into(),
            timezone: chrono_tz::Asia::Seoul,
            read: ReadSettings::default(),
            clean: CleanSettings::default(),
            limits: LimitSettings::default(),
            overspeed: OverspeedSettings::default(),
            rapid: RapidSettings::default(),
            figures: FigureSettings::default(),
        }
    }
}

impl Settings {
    /// Reads a file, and the zones that it names. Relative paths in it count from its folder.
    ///
    /// # Errors
    /// [`Error::Settings`] and [`Error::Zones`], which say where in the file and what is possible.
    pub fn read(path: &Path) -> Result<(Self, Limits), Error> {
        let problem = |problem: String| Error::Settings { path: path.to_owned(), problem };
        let text = std::fs::read_to_string(path)
            .map_err(|error| problem(format!("the settings cannot be read: {error}")))?;
        let mut settings: Self =
            toml::from_str(&text).map_err(|error| problem(error.to_string().trim_end().to_owned()))?;
        settings.check().map_err(problem)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for path in [&mut settings.data, &mut settings.results].into_iter().chain(&mut settings.limits.zones)
        {
            *path = folder.join(&*path);
        }
        let zones = settings.limits.zones.as_deref().map_or_else(|| Ok(Zones::default()), Zones::read)?;
        let limits = Limits::new(&settings.limits, zones).map_err(problem)?;
        Ok((settings, limits))
    }

    /// Looks for numbers that make no sense: with a negative threshold everything would be an event, without a window nothing.
    fn check(&self) -> Result<(), String> {
        let above_zero = [
            ("rapid.window_s", self.rapid.window_s),
            ("rapid.acceleration_mps2", self.rapid.acceleration_mps2),
            ("rapid.braking_mps2", self.rapid.braking_mps2),
            ("rapid.turn_mps2", self.rapid.turn_mps2),
            ("clean.max_speed_kmh", self.clean.max_speed_kmh),
            ("figures.score.half_per_100_km", self.figures.score.half_per_100_km),
        ];
        if let Some((name, number)) = above_zero.into_iter().find(|(_, number)| *number <= 0.0) {
            return Err(format!("`{name}` is {number}: it must be a number above 0"));
        }
        let values = toml::Value::try_from(self).map_err(|error| error.to_string())?;
        match senseless(&values, "") {
            Some((name, number)) => Err(format!("`{name}` is {number}: it must be a number from 0 on")),
            None => Ok(()),
        }
    }
}

/// The first number that is negative, infinite or none, and what it is called.
fn senseless(value: &toml::Value, name: &str) -> Option<(String, f64)> {
    match value {
        toml::Value::Float(number) if !number.is_finite() || *number < 0.0 => {
            Some((name.to_owned(), *number))
        }
        toml::Value::Table(table) => table.iter().find_map(|(key, value)| {
            senseless(value, &if name.is_empty() { key.clone() } else { format!("{name}.{key}") })
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Settings, Limits), Error> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fleet.toml");
        std::fs::write(&file, text).unwrap();
        let read = Settings::read(&file);
        read.map(|(mut settings, limits)| {
            for path in [&mut settings.data, &mut settings.results] {
                *path = path.strip_prefix(folder.path()).map_or_else(|_| path.clone(), Path::to_owned);
            }
            (settings, limits)
        })
    }

    #[test]
    fn the_sample_says_what_holds_without_it() {
        assert_eq!(read(SAMPLE).unwrap().0, Settings::default());
        assert_eq!(read("").unwrap().0, Settings::default());
        // And it says all of it.
        let of_defaults = toml::Value::try_from(Settings::default()).unwrap();
        let of_sample: toml::Value = toml::from_str(SAMPLE).unwrap();
        assert_eq!(of_sample, of_defaults);
    }

    #[test]
    fn what_cannot_be_is_said_with_its_place() {
        for (text, said) in [
            ("dta = \"x\"", "dta"),
            ("[clean]\nmax_sped = 1", "max_sped"),
            ("timezone = \"Seoul\"", "Seoul"),
            ("[limits]\ndefault_kmh = -1.0", "default_kmh"),
            ("[clean]\noff = [\"syntax\"]", "syntax"),
            ("[overspeed]\nmin_duration_s = -3", "overspeed.min_duration_s"),
            ("[rapid]\nhysteresis = nan", "rapid.hysteresis"),
            ("[rapid]\nwindow_s = 0", "rapid.window_s"),
            ("[figures.score]\noverspeed_weight = inf", "figures.score.overspeed_weight"),
        ] {
            let error = read(text).unwrap_err();
            assert!(matches!(error, Error::Settings { .. }), "{error:?}");
            let message = error.to_string();
            assert!(message.contains(said) && message.contains("fleet.toml"), "{message}");
        }
        let error = read("[limits]\nzones = \"none.geojson\"").unwrap_err();
        assert!(error.to_string().contains("none.geojson"), "{error}");
    }

    #[test]
    fn paths_count_from_the_folder_of_the_file() {
        let (settings, _) = read("data = \"trips\"\nresults = \"/srv/results\"").unwrap();
        assert_eq!((settings.data, settings.results), ("trips".into(), "/srv/results".into()));
    }
}
