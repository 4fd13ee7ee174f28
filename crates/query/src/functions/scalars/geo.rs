//! Points on the globe, which is a sphere of 6,371,010 m here as in Kusto: distances, angles, geohashes, points in circles and
//! polygons. Sides are parts of great circles. A place that is none (|longitude| > 180, |latitude| > 90) gives null.

use std::f64::consts::{PI, TAU};

use arrow::array::ArrayRef;
use datafusion::common::Result;
use strongroom_model::ColumnType as C;

use super::args::Call;
use super::dynamics::{elements, write_list};
use super::json;
use super::spec::{ScalarSpec, Want as W};
use super::table::f;

const R: W = W::Real;

pub(super) static SPECS: &[ScalarSpec] = &[
    f("geo_distance_2points", &[R, R, R, R], C::Real, distance_2points),
    f("geo_azimuth", &[R, R, R, R], C::Real, azimuth),
    f("geo_angle", &[R, R, R, R, R, R], C::Real, angle),
    f("geo_point_in_circle", &[R, R, R, R, R], C::Bool, point_in_circle),
    f("geo_point_in_polygon", &[R, R, W::Dynamic], C::Bool, point_in_polygon),
    f("geo_line_length", &[W::Dynamic], C::Real, line_length),
    f("geo_polygon_perimeter", &[W::Dynamic], C::Real, polygon_perimeter),
    f("geo_point_to_geohash", &[R, R, W::Long], C::String, point_to_geohash).least(2),
    f("geo_geohash_to_central_point", &[W::String], C::Dynamic, geohash_to_central_point),
    f("geo_geohash_to_polygon", &[W::String], C::Dynamic, geohash_to_polygon),
    f("geo_geohash_neighbors", &[W::String], C::Dynamic, geohash_neighbors),
];

/// Meters.
const RADIUS: f64 = 6_371_010.0;

/// Longitude and latitude in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    longitude: f64,
    latitude: f64,
}

impl Place {
    fn new(longitude: f64, latitude: f64) -> Option<Self> {
        (longitude.abs() <= 180.0 && latitude.abs() <= 90.0).then_some(Self { longitude, latitude })
    }

    fn radians(self) -> (f64, f64) {
        (self.longitude.to_radians(), self.latitude.to_radians())
    }

    /// Meters to another place (haversine).
    fn distance(self, other: Self) -> f64 {
        let ((x1, y1), (x2, y2)) = (self.radians(), other.radians());
        let chord = ((y2 - y1) / 2.0).sin().powi(2) + y1.cos() * y2.cos() * ((x2 - x1) / 2.0).sin().powi(2);
        2.0 * RADIUS * chord.sqrt().min(1.0).asin()
    }

    /// The direction to another place, clockwise from north; none if it is the same place.
    fn azimuth(self, other: Self) -> Option<f64> {
        if self == other {
            return None;
        }
        let ((x1, y1), (x2, y2)) = (self.radians(), other.radians());
        let (east, north) = ((x2 - x1).sin() * y2.cos(), y1.cos() * y2.sin() - y1.sin() * y2.cos() * (x2 - x1).cos());
        Some(east.atan2(north).rem_euclid(TAU))
    }
}

/// Places out of pairs of arguments.
fn places<const N: usize>(call: &Call<'_>) -> Result<impl Fn(usize) -> Option<[Place; N]>> {
    let numbers = (0..2 * N).map(|index| call.real(index)).collect::<Result<Vec<_>>>()?;
    Ok(move |row| {
        let all = (0..N).map(|at| Place::new(numbers[2 * at].get(row)?, numbers[2 * at + 1].get(row)?));
        all.collect::<Option<Vec<Place>>>()?.try_into().ok()
    })
}

fn distance_2points(call: &Call<'_>) -> Result<ArrayRef> {
    let places = places::<2>(call)?;
    Ok(call.reals(|row| places(row).map(|[a, b]| a.distance(b))))
}

fn azimuth(call: &Call<'_>) -> Result<ArrayRef> {
    let places = places::<2>(call)?;
    Ok(call.reals(|row| places(row).and_then(|[a, b]| a.azimuth(b))))
}

/// At the second place, clockwise from the first to the third.
fn angle(call: &Call<'_>) -> Result<ArrayRef> {
    let places = places::<3>(call)?;
    Ok(call.reals(|row| {
        let [a, b, c] = places(row)?;
        Some((b.azimuth(c)? - b.azimuth(a)?).rem_euclid(TAU))
    }))
}

fn point_in_circle(call: &Call<'_>) -> Result<ArrayRef> {
    let places = places::<2>(call)?;
    let radii = call.real(4)?;
    Ok(call.maybe_bools(|row| {
        let ([point, center], radius) = (places(row)?, radii.get(row)?);
        (radius >= 0.0).then(|| point.distance(center) <= radius)
    }))
}

/// `[[x,y],..]`
fn line(raw: &str) -> Option<Vec<Place>> {
    json::items(raw)?
        .map(|pair| match elements(Some(pair))?.as_slice() {
            [x, y, ..] => Place::new(x.parse().ok()?, y.parse().ok()?),
            _ => None,
        })
        .collect()
}

fn has_twins(line: &[Place]) -> bool {
    line.windows(2).any(|pair| pair[0] == pair[1])
}

/// The lines of a GeoJSON line or lines.
fn lines(raw: &str) -> Option<Vec<Vec<Place>>> {
    let coordinates = json::member(raw, "coordinates")?;
    let lines = match json::string(json::member(raw, "type")?)?.as_ref() {
        "LineString" => vec![line(coordinates)?],
        "MultiLineString" => json::items(coordinates)?.map(line).collect::<Option<_>>()?,
        _ => return None,
    };
    lines.iter().all(|line| line.len() >= 2 && !has_twins(line)).then_some(lines)
}

/// The rings of the polygons of a GeoJSON polygon or polygons.
fn polygons(raw: &str) -> Option<Vec<Vec<Vec<Place>>>> {
    let coordinates = json::member(raw, "coordinates")?;
    let rings = |raw: &str| json::items(raw)?.map(line).collect::<Option<Vec<_>>>();
    let polygons = match json::string(json::member(raw, "type")?)?.as_ref() {
        "Polygon" => vec![rings(coordinates)?],
        "MultiPolygon" => json::items(coordinates)?.map(rings).collect::<Option<_>>()?,
        _ => return None,
    };
    // A ring is closed and has three corners at least.
    let valid = |ring: &Vec<Place>| ring.len() >= 4 && ring.first() == ring.last() && !has_twins(ring);
    polygons.iter().all(|rings| !rings.is_empty() && rings.iter().all(valid)).then_some(polygons)
}

fn length(line: &[Place]) -> f64 {
    line.windows(2).map(|pair| pair[0].distance(pair[1])).sum()
}

fn line_length(call: &Call<'_>) -> Result<ArrayRef> {
    let shapes = call.text(0)?;
    Ok(call.reals(|row| Some(lines(shapes.json(row)?)?.iter().map(|line| length(line)).sum())))
}

fn polygon_perimeter(call: &Call<'_>) -> Result<ArrayRef> {
    let shapes = call.text(0)?;
    Ok(call.reals(|row| Some(polygons(shapes.json(row)?)?.iter().flatten().map(|ring| length(ring)).sum())))
}

/// How many sides of a ring cross the meridian from the place to the north pole.
fn crossings(place: Place, ring: &[Place]) -> usize {
    let (x, y) = place.radians();
    let turned = |other: f64| (other - x + PI).rem_euclid(TAU) - PI;
    let sides = ring.windows(2).filter(|pair| {
        let ((x1, y1), (x2, y2)) = (pair[0].radians(), pair[1].radians());
        let (x1, x2) = (turned(x1), turned(x2));
        if (x1 > 0.0) == (x2 > 0.0) || (x1 - x2).abs() >= PI {
            return false;
        }
        // The tangent of the latitude at which the great circle crosses.
        (y1.tan() * x2.sin() - y2.tan() * x1.sin()) / (x2 - x1).sin() > y.tan()
    });
    sides.count()
}

/// Polygons that hold a pole are not told from the rest of the globe.
fn point_in_polygon(call: &Call<'_>) -> Result<ArrayRef> {
    let (longitudes, latitudes, shapes) = (call.real(0)?, call.real(1)?, call.text(2)?);
    let constant = shapes.constant().map(polygons);
    Ok(call.maybe_bools(|row| {
        let place = Place::new(longitudes.get(row)?, latitudes.get(row)?)?;
        let own;
        let polygons = if let Some(polygons) = &constant {
            polygons.as_ref()?
        } else {
            own = polygons(shapes.json(row)?)?;
            &own
        };
        // Holes are rings, too: who crosses an odd number of sides is inside.
        Some(polygons.iter().any(|rings| rings.iter().map(|ring| crossings(place, ring)).sum::<usize>() % 2 == 1))
    }))
}

const GEOHASH: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
const GEOHASH_MAX: usize = 18;

/// The cell of a geohash: west, south, east, north.
fn cell(hash: &str) -> Option<[f64; 4]> {
    let [mut west, mut south, mut east, mut north] = [-180.0, -90.0, 180.0, 90.0];
    if hash.is_empty() || hash.len() > GEOHASH_MAX {
        return None;
    }
    let mut along = true;
    for letter in hash.to_ascii_lowercase().bytes() {
        let value = GEOHASH.iter().position(|known| *known == letter)?;
        for bit in (0..5).rev() {
            let upper = value >> bit & 1 == 1;
            let (low, high) = if along { (&mut west, &mut east) } else { (&mut south, &mut north) };
            let middle = f64::midpoint(*low, *high);
            if upper {
                *low = middle;
            } else {
                *high = middle;
            }
            along = !along;
        }
    }
    Some([west, south, east, north])
}

fn geohash(place: Place, digits: usize) -> String {
    let [mut west, mut south, mut east, mut north] = [-180.0, -90.0, 180.0, 90.0];
    let mut along = true;
    let digit = |_| {
        let mut value = 0;
        for _ in 0..5 {
            let (low, high, here) = if along { (&mut west, &mut east, place.longitude) } else { (&mut south, &mut north, place.latitude) };
            let middle = f64::midpoint(*low, *high);
            let upper = here >= middle;
            if upper {
                *low = middle;
            } else {
                *high = middle;
            }
            value = value << 1 | usize::from(upper);
            along = !along;
        }
        char::from(GEOHASH[value])
    };
    (0..digits).map(digit).collect()
}

/// Five digits unless told; `""` for what is no place or more than 18 digits.
fn point_to_geohash(call: &Call<'_>) -> Result<ArrayRef> {
    let places = places::<1>(call)?;
    let digits = if call.has(2) { Some(call.long(2)?) } else { None };
    Ok(call.texts(|row, out| {
        let digits = digits.as_ref().map_or(Some(5), |digits| digits.get(row)).and_then(|digits| usize::try_from(digits).ok());
        if let (Some([place]), Some(digits @ 1..=GEOHASH_MAX)) = (places(row), digits) {
            out.push_str(&geohash(place, digits));
        }
    }))
}

fn pair(longitude: f64, latitude: f64, out: &mut String) {
    out.push('[');
    json::write_real(longitude, out);
    out.push(',');
    json::write_real(latitude, out);
    out.push(']');
}

fn geohash_to_central_point(call: &Call<'_>) -> Result<ArrayRef> {
    let hashes = call.text(0)?;
    Ok(call.dynamics(|row, out| {
        let Some([west, south, east, north]) = cell(hashes.get(row)) else { return false };
        out.push_str("{\"type\":\"Point\",\"coordinates\":");
        pair(f64::midpoint(west, east), f64::midpoint(south, north), out);
        out.push('}');
        true
    }))
}

fn geohash_to_polygon(call: &Call<'_>) -> Result<ArrayRef> {
    let hashes = call.text(0)?;
    Ok(call.dynamics(|row, out| {
        let Some([west, south, east, north]) = cell(hashes.get(row)) else { return false };
        out.push_str("{\"type\":\"Polygon\",\"coordinates\":[[");
        for (at, (x, y)) in [(west, south), (east, south), (east, north), (west, north), (west, south)].into_iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            pair(x, y, out);
        }
        out.push_str("]]}");
        true
    }))
}

/// The cells around: west, south-west, south, south-east, north-east, east, north, north-west (E).
fn geohash_neighbors(call: &Call<'_>) -> Result<ArrayRef> {
    const AROUND: [(f64, f64); 8] = [(-1.0, 0.0), (-1.0, -1.0), (0.0, -1.0), (1.0, -1.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 1.0)];
    let hashes = call.text(0)?;
    Ok(call.dynamics(|row, out| {
        let Some([west, south, east, north]) = cell(hashes.get(row)) else { return false };
        let neighbor = |(x, y): (f64, f64)| {
            let latitude = f64::midpoint(south, north) + y * (north - south);
            // Round the globe to the east and west; there is nothing beyond the poles.
            let longitude = (f64::midpoint(west, east) + x * (east - west) + 180.0).rem_euclid(360.0) - 180.0;
            (latitude.abs() <= 90.0).then(|| format!("\"{}\"", geohash(Place { longitude, latitude }, hashes.get(row).len())))
        };
        let all: Vec<String> = AROUND.into_iter().filter_map(neighbor).collect();
        write_list(out, all.iter().map(String::as_str));
        true
    }))
}
