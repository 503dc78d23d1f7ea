//! Speed limits: which one holds for which vehicle, on which road, in which zone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};

use crate::point::{Point, Road};
use crate::zones::Zones;

/// A metre a second in kilometres an hour.
pub(crate) const KMH_PER_MPS: f64 = 3.6;

/// Whose limit it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitSource {
    /// The one for all.
    Default,
    /// The vehicle's own.
    Vehicle,
    /// The one of the class of the road.
    Road,
    /// The one of a zone, with its name.
    Zone(Arc<str>),
}

/// The part `[limits]` of the settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// The limit where no other is known, in km/h. 60 by default: in Korea what holds on a road outside of towns with one lane each
    /// way (Enforcement Rule of the Road Traffic Act, article 19).
    pub default_kmh: f64,
    /// The limit of each class of road, in km/h. By default motorway 100, trunk 80, primary 60, secondary 50, tertiary 50 and
    /// residential 30, which are the common signs on such roads in Korea. If there is any, these defaults are void.
    pub roads: BTreeMap<Road, f64>,
    /// Limits of some vehicles. By default vehicles whose name is `vehicle-` and a number that ends in 0 are lorries with 80 km/h.
    /// If there is any, this default is void.
    pub vehicles: Vec<VehicleLimit>,
    /// The `GeoJSON` file of the [zones](crate::zones); none by default.
    pub zones: Option<PathBuf>,
}

/// A limit of some vehicles, wherever they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VehicleLimit {
    /// Which vehicles: a pattern for their names, in which `*` is any text and `?` any character.
    pub vehicles: String,
    /// Their limit, in km/h.
    pub limit_kmh: f64,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            default_kmh: 60.0,
            roads: BTreeMap::from([
                (Road::Motorway, 100.0),
                (Road::Trunk, 80.0),
                (Road::Primary, 60.0),
                (Road::Secondary, 50.0),
                (Road::Tertiary, 50.0),
                (Road::Residential, 30.0),
            ]),
            vehicles: vec![VehicleLimit { vehicles: "vehicle-*0".to_owned(), limit_kmh: 80.0 }],
            zones: None,
        }
    }
}

/// All limits.
#[derive(Debug, Clone)]
pub struct Limits {
    default_mps: f64,
    roads_mps: BTreeMap<Road, f64>,
    vehicles_mps: Vec<(GlobMatcher, f64)>,
    zones: Zones,
}

/// The limits that hold for one vehicle.
#[derive(Debug, Clone)]
pub struct VehicleLimits<'a> {
    limits: &'a Limits,
    own_mps: Option<f64>,
}

/// The limit that holds at a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit<'a> {
    /// In metres a second.
    pub mps: f64,
    /// Whose it is.
    pub source: &'a LimitSource,
}

impl Limits {
    /// The limits of the settings and of zones, which have been [read](Zones::read) from the file that the settings name.
    ///
    /// # Errors
    ///
    /// What is wrong with which setting, in words for [`Error::Settings`](crate::error::Error::Settings).
    pub fn new(settings: &LimitSettings, zones: Zones) -> Result<Self, String> {
        let roads_mps = settings.roads.iter().map(|(&road, &limit_kmh)| {
            Ok((road, mps(limit_kmh, &format!("limits.roads.{}", road.as_str()))?))
        });
        let vehicles_mps = settings.vehicles.iter().map(|vehicle| {
            let pattern = Glob::new(&vehicle.vehicles).map_err(|error| {
                format!("`limits.vehicles` has a pattern that cannot be used ({error}); write for example \"lorry-*\"")
            })?;
            let what = format!("`limit_kmh` of the vehicles {:?}", vehicle.vehicles);
            Ok((pattern.compile_matcher(), mps(vehicle.limit_kmh, &what)?))
        });
        Ok(Self {
            default_mps: mps(settings.default_kmh, "limits.default_kmh")?,
            roads_mps: roads_mps.collect::<Result<_, String>>()?,
            vehicles_mps: vehicles_mps.collect::<Result<_, String>>()?,
            zones,
        })
    }

    /// The zones.
    pub fn zones(&self) -> &Zones {
        &self.zones
    }

    /// The limits of a vehicle. If several patterns match its name, the lowest of their limits is its own.
    pub fn of(&self, vehicle: &str) -> VehicleLimits<'_> {
        let own = self.vehicles_mps.iter().filter(|(pattern, _)| pattern.is_match(vehicle));
        VehicleLimits { limits: self, own_mps: own.map(|&(_, limit_mps)| limit_mps).min_by(f64::total_cmp) }
    }
}

impl<'a> VehicleLimits<'a> {
    /// The lowest limit that applies at a point: the vehicle's own, the road's and the zone's; only if there is none of
    /// these, the one for all.
    pub fn at(&self, point: &Point) -> Limit<'a> {
        let own = self.own_mps.map(|mps| Limit { mps, source: &LimitSource::Vehicle });
        let road = point.road.and_then(|road| self.limits.roads_mps.get(&road));
        let road = road.map(|&mps| Limit { mps, source: &LimitSource::Road });
        let zone = self.limits.zones.at(point);
        let zone = zone.map(|zone| Limit { mps: zone.limit_mps, source: &zone.source });
        let lowest = [own, road, zone].into_iter().flatten().min_by(|a, b| a.mps.total_cmp(&b.mps));
        lowest.unwrap_or(Limit { mps: self.limits.default_mps, source: &LimitSource::Default })
    }
}

fn mps(limit_kmh: f64, what: &str) -> Result<f64, String> {
    if limit_kmh > 0.0 && limit_kmh.is_finite() {
        Ok(limit_kmh / KMH_PER_MPS)
    } else {
        Err(format!("{what} is {limit_kmh}, which is no limit; give a number above 0, in km/h"))
    }
}
