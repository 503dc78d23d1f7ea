//! Zones with a limit of their own, from `GeoJSON`.
//!
//! The file is a `FeatureCollection` (RFC 7946). Each feature is a zone: a `Polygon` or a `MultiPolygon`, holes
//! included, with the properties `name` and `limit_kmh`. Edges are straight lines in longitude and latitude, as section 3.1.1
//! has it.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use geojson::{Feature, FeatureCollection, GeometryValue, Position};
use rstar::{AABB, RTree, RTreeObject};

use crate::error::Error;
use crate::limits::{KMH_PER_MPS, LimitSource};
use crate::point::Point;

/// The largest file of zones, in bytes: some hundred thousand corners. All of them are in memory.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// All zones of a file. [`Default`] is no zone at all.
#[derive(Debug, Clone, Default)]
pub struct Zones {
    areas: RTree<Area>,
}

/// A zone, as far as its limit goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    /// The zone as the source of a limit, with its name.
    pub source: LimitSource,
    /// Its limit, in metres a second.
    pub limit_mps: f64,
}

/// One polygon of a zone.
#[derive(Debug, Clone)]
struct Area {
    bounds: AABB<[f64; 2]>,
    /// The outline and the holes, in degrees east and north. The last corner is the first one once more.
    rings: Vec<Vec<[f64; 2]>>,
    zone: Arc<Zone>,
}

impl RTreeObject for Area {
    type Envelope = AABB<[f64; 2]>;

    fn envelope(&self) -> Self::Envelope {
        self.bounds
    }
}

impl Zones {
    /// Reads a file of at most 16 MiB.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], or [`Error::Zones`] if the file is too large, is no `FeatureCollection`, or has a feature that is no
    /// zone: which one, and what to do about it.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(Error::io("open", path))?;
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
        let zones = if bytes.len() as u64 > MAX_FILE_BYTES {
            Err("is larger than 16 MiB; leave out zones, or corners that make no difference".to_owned())
        } else {
            Self::parse(&bytes)
        };
        zones.map_err(|problem| Error::Zones { path: path.to_owned(), problem })
    }

    /// How many zones there are is not limited but by the size of the file. What is wrong with it is the error.
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let collection: FeatureCollection = serde_json::from_slice(bytes).map_err(|error| {
            format!("is no GeoJSON FeatureCollection ({error}); export it as GeoJSON (RFC 7946)")
        })?;
        let mut areas = Vec::new();
        for (feature, number) in collection.features.iter().zip(1_u64..) {
            let name = feature.property("name").and_then(|name| name.as_str()).unwrap_or_default();
            areas.extend(
                zone(feature, name).map_err(|problem| format!("feature {number} ({name:?}) {problem}"))?,
            );
        }
        Ok(Self { areas: RTree::bulk_load(areas) })
    }

    /// The name, the limit in metres a second and the rings of each polygon of each zone, in degrees east and north.
    pub fn outlines(&self) -> impl Iterator<Item = (&str, f64, &[Vec<[f64; 2]>])> {
        self.areas.iter().map(|area| {
            let name = match &area.zone.source {
                LimitSource::Zone(name) => &**name,
                LimitSource::Default | LimitSource::Vehicle | LimitSource::Road => "",
            };
            (name, area.zone.limit_mps, area.rings.as_slice())
        })
    }

    /// The zone that a point lies in; where several overlap, the one with the lowest limit.
    pub fn at(&self, point: &Point) -> Option<&Zone> {
        let position = [point.longitude_deg, point.latitude_deg];
        self.areas
            .locate_in_envelope_intersecting(&AABB::from_point(position))
            .filter(|area| area.contains(position))
            .map(|area| &*area.zone)
            .min_by(|a, b| a.limit_mps.total_cmp(&b.limit_mps))
    }
}

impl Area {
    /// By the even-odd rule: a line from the point to the east crosses the edges an odd number of times (M. Shimrat, "Algorithm 112:
    /// Position of point relative to polygon", Communications of the ACM 5, 1962, page 434). What is in a hole is outside.
    fn contains(&self, [x, y]: [f64; 2]) -> bool {
        let mut inside = false;
        for ring in &self.rings {
            for edge in ring.windows(2) {
                let &[[from_x, from_y], [to_x, to_y]] = edge else { continue };
                // Of each edge one end counts and the other does not, so that a line through a corner crosses it once.
                let crosses = (from_y > y) != (to_y > y)
                    && x < from_x + (to_x - from_x) * (y - from_y) / (to_y - from_y);
                inside ^= crosses;
            }
        }
        inside
    }
}

fn zone(feature: &Feature, name: &str) -> Result<Vec<Area>, String> {
    if name.is_empty() {
        return Err("has no name; give it the property `name`, a text".to_owned());
    }
    let limit_kmh =
        feature.property("limit_kmh").and_then(serde_json::Value::as_f64).filter(|&limit| limit > 0.0);
    let Some(limit_kmh) = limit_kmh else {
        return Err("has no limit; give it the property `limit_kmh`, a number above 0".to_owned());
    };
    let zone = Arc::new(Zone { source: LimitSource::Zone(name.into()), limit_mps: limit_kmh / KMH_PER_MPS });
    let polygons = match feature.geometry.as_ref().map(|geometry| &geometry.value) {
        Some(GeometryValue::Polygon { coordinates }) => std::slice::from_ref(coordinates),
        Some(GeometryValue::MultiPolygon { coordinates }) => coordinates,
        Some(other) => {
            return Err(format!("is a {}; draw it as a Polygon or MultiPolygon", other.type_name()));
        }
        None => return Err("has no geometry; draw it as a Polygon or MultiPolygon".to_owned()),
    };
    polygons.iter().map(|polygon| area(polygon, &zone)).collect()
}

fn area(polygon: &[Vec<Position>], zone: &Arc<Zone>) -> Result<Area, String> {
    let rings = polygon.iter().map(|ring| corners(ring)).collect::<Result<Vec<_>, _>>()?;
    let Some(outline) = rings.first() else {
        return Err("has a polygon without a ring; draw its outline".to_owned());
    };
    Ok(Area { bounds: AABB::from_points(outline), rings, zone: Arc::clone(zone) })
}

fn corners(ring: &[Position]) -> Result<Vec<[f64; 2]>, String> {
    let corners = ring.iter().map(corner).collect::<Result<Vec<_>, _>>()?;
    if corners.len() < 4 || corners.first() != corners.last() {
        return Err("has a ring that is not closed; it takes at least three corners, and the first once more at its end".to_owned());
    }
    for edge in corners.windows(2) {
        let &[[from, _], [to, _]] = edge else { continue };
        if (to - from).abs() > 180.0 {
            return Err(format!(
                "goes across the date line (from {from} to {to} degrees east); cut it in two there, as RFC 7946 wants it (section 3.1.9)"
            ));
        }
    }
    Ok(corners)
}

fn corner(position: &Position) -> Result<[f64; 2], String> {
    match *position.as_slice() {
        [east, north, ..] if (-180.0..=180.0).contains(&east) && (-90.0..=90.0).contains(&north) => {
            Ok([east, north])
        }
        ref other => Err(format!(
            "has the corner {other:?}, which is no place; write [longitude, latitude] in degrees, longitude first"
        )),
    }
}
