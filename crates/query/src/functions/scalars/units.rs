//! `convert_*`: from one unit to another, both by their English names (`MeterPerSecond`). A name that is none gives null.

use arrow::array::ArrayRef;
use datafusion::common::Result;
use strongroom_model::ColumnType as C;

use super::args::Call;
use super::spec::{ScalarSpec, Want as W};
use super::table::f;

const UNITS: &[W] = &[W::Real, W::String, W::String];

pub(super) static SPECS: &[ScalarSpec] = &[
    f("convert_angle", UNITS, C::Real, |call| scaled(call, |name| prefixed(name, ANGLES, &[]))),
    f("convert_energy", UNITS, C::Real, |call| scaled(call, |name| prefixed(name, ENERGIES, &[]))),
    f("convert_force", UNITS, C::Real, |call| scaled(call, |name| prefixed(name, FORCES, &[]))),
    f("convert_length", UNITS, C::Real, |call| scaled(call, length)),
    f("convert_mass", UNITS, C::Real, |call| scaled(call, |name| prefixed(name, MASSES, &[]))),
    f("convert_speed", UNITS, C::Real, |call| scaled(call, speed)),
    f("convert_temperature", UNITS, C::Real, temperature),
    f("convert_volume", UNITS, C::Real, |call| scaled(call, volume)),
];

/// Names and what one of it is in the unit of reference. Those in lower case take prefixes (`Kilo`), alone they are capitalized.
type Units = &'static [(&'static str, f64)];

const PREFIXES: [(&str, f64); 14] = [
    ("Femto", 1e-15),
    ("Pico", 1e-12),
    ("Nano", 1e-9),
    ("Micro", 1e-6),
    ("Milli", 1e-3),
    ("Centi", 1e-2),
    ("Deci", 1e-1),
    ("Deca", 1e1),
    ("Hecto", 1e2),
    ("Kilo", 1e3),
    ("Mega", 1e6),
    ("Giga", 1e9),
    ("Tera", 1e12),
    ("Peta", 1e15),
];

const ANGLES: Units = &[
    ("radian", 1.0),
    ("degree", std::f64::consts::PI / 180.0),
    ("Arcminute", std::f64::consts::PI / 10_800.0),
    ("Arcsecond", std::f64::consts::PI / 648_000.0),
    ("Gradian", std::f64::consts::PI / 200.0),
    ("NatoMil", std::f64::consts::PI / 3_200.0),
    ("Revolution", std::f64::consts::TAU),
    ("Tilt", std::f64::consts::FRAC_PI_2),
];

const ENERGIES: Units = &[
    ("joule", 1.0),
    ("calorie", 4.184),
    ("wattHour", 3_600.0),
    ("wattDay", 86_400.0),
    ("electronVolt", 1.602_176_565e-19),
    ("britishThermalUnit", 1_055.055_852_62),
    ("ThermEc", 105_505_585.262),
    ("ThermImperial", 105_505_585.257_348),
    ("ThermUs", 105_480_400.0),
    ("DecathermEc", 1_055_055_852.62),
    ("DecathermImperial", 1_055_055_852.573_48),
    ("DecathermUs", 1_054_804_000.0),
    ("Erg", 1e-7),
    ("FootPound", 1.355_817_948_331_4),
    ("HorsepowerHour", 2_684_519.537_696_173),
];

const FORCES: Units = &[
    ("newton", 1.0),
    ("Dyn", 1e-5),
    ("KilogramForce", 9.806_65),
    ("KiloPond", 9.806_65),
    ("TonneForce", 9_806.65),
    ("OunceForce", 0.278_013_850_953_781_2),
    ("PoundForce", 4.448_221_615_260_5),
    ("KilopoundForce", 4_448.221_615_260_5),
    ("Poundal", 0.138_254_954_376),
    ("ShortTonForce", 8_896.443_230_521),
];

const LENGTHS: Units = &[
    ("meter", 1.0),
    ("parsec", 3.085_677_581_491_367e16),
    ("lightYear", 9.460_730_472_580_8e15),
    ("Angstrom", 1e-10),
    ("AstronomicalUnit", 1.495_978_707e11),
    ("Chain", 20.116_8),
    ("Fathom", 1.828_8),
    ("Foot", 0.304_8),
    ("UsSurveyFoot", 1_200.0 / 3_937.0),
    ("Hand", 0.101_6),
    ("Inch", 0.025_4),
    ("Microinch", 2.54e-8),
    ("Mil", 2.54e-5),
    ("Mile", 1_609.344),
    ("NauticalMile", 1_852.0),
    ("Yard", 0.914_4),
    ("Shackle", 27.432),
    ("SolarRadius", 6.955_1e8),
    ("DtpPica", 0.025_4 / 6.0),
    ("DtpPoint", 0.025_4 / 72.0),
];

const MASSES: Units = &[
    ("gram", 1e-3),
    ("tonne", 1e3),
    ("pound", 0.453_592_37),
    ("EarthMass", 5.972_2e24),
    ("SolarMass", 1.989_47e30),
    ("Grain", 6.479_891e-5),
    ("LongHundredweight", 50.802_345_44),
    ("ShortHundredweight", 45.359_237),
    ("LongTon", 1_016.046_908_8),
    ("ShortTon", 907.184_74),
    ("Ounce", 0.028_349_523_125),
    ("Slug", 14.593_902_937_206_36),
    ("Stone", 6.350_293_18),
];

const VOLUMES: Units = &[
    ("liter", 1e-3),
    ("AcreFoot", 1_233.481_837_547_52),
    ("ImperialGallon", 0.004_546_09),
    ("ImperialOunce", 2.841_306_25e-5),
    ("ImperialPint", 5.682_612_5e-4),
    ("ImperialQuart", 1.136_522_5e-3),
    ("OilBarrel", 0.158_987_294_928),
    ("UsBeerBarrel", 0.117_347_765_304),
    ("UsGallon", 0.003_785_411_784),
    ("UsOunce", 2.957_352_956_25e-5),
    ("UsPint", 4.731_764_73e-4),
    ("UsQuart", 9.463_529_46e-4),
    ("UsLegalCup", 2.4e-4),
    ("UsCustomaryCup", 2.365_882_365e-4),
    ("UsTablespoon", 1.478_676_478_125e-5),
    ("UsTeaspoon", 4.928_921_593_75e-6),
    ("MetricCup", 2.5e-4),
    ("MetricTeaspoon", 5e-6),
    ("AuTablespoon", 2e-5),
    ("UkTablespoon", 1.5e-5),
    ("BoardFoot", 0.002_359_737_216),
];

/// One of the units: by its own name, capitalized, or with a prefix; `more` are names of no prefix.
fn prefixed(name: &str, units: Units, more: Units) -> Option<f64> {
    let named = |wanted: &str| units.iter().chain(more).find(|(unit, _)| *unit == wanted).map(|(_, factor)| *factor);
    let small = |text: &str| {
        let mut chars = text.chars();
        let first = chars.next()?;
        named(&format!("{}{}", first.to_ascii_lowercase(), chars.as_str()))
    };
    if !name.starts_with(|c: char| c.is_ascii_uppercase()) {
        return None;
    }
    named(name).or_else(|| small(name)).or_else(|| {
        let with = PREFIXES.iter().find_map(|(prefix, factor)| Some((name.strip_prefix(prefix)?, factor)))?;
        let rest = with.0;
        // Prefixes hold the next word down: `Kilogram`; a word of several keeps its own capitals: `KilowattHour`.
        (rest.starts_with(|c: char| c.is_ascii_lowercase())).then(|| named(rest)).flatten().map(|factor| factor * with.1)
    })
}

fn length(name: &str) -> Option<f64> {
    prefixed(name, LENGTHS, &[])
}

/// A length per time.
fn speed(name: &str) -> Option<f64> {
    match name {
        "Knot" => return Some(1_852.0 / 3_600.0),
        "Mach" => return Some(340.29),
        _ => {}
    }
    let (way, time) = name.split_once("Per")?;
    let seconds = match time {
        "Second" => 1.0,
        "Minute" => 60.0,
        "Hour" => 3_600.0,
        _ => return None,
    };
    Some(length(way)? / seconds)
}

/// A volume, or the cube of a length.
fn volume(name: &str) -> Option<f64> {
    match name.strip_prefix("Cubic") {
        Some(side) => length(side).map(|side| side.powi(3)),
        None => prefixed(name, VOLUMES, &[]),
    }
}

fn scaled(call: &Call<'_>, factor: fn(&str) -> Option<f64>) -> Result<ArrayRef> {
    let (values, from, to) = (call.real(0)?, call.text(1)?, call.text(2)?);
    Ok(call.reals(|row| {
        let value = values.get(row)?;
        if from.get(row) == to.get(row) {
            return factor(from.get(row)).map(|_| value);
        }
        Some(value * factor(from.get(row))? / factor(to.get(row))?)
    }))
}

/// How a scale reads: kelvin = (value + shift) * factor.
fn scale(name: &str) -> Option<(f64, f64)> {
    Some(match name {
        "Kelvin" => (0.0, 1.0),
        "MillidegreeCelsius" => (273_150.0, 1e-3),
        "DegreeCelsius" => (273.15, 1.0),
        "DegreeFahrenheit" => (459.67, 5.0 / 9.0),
        "DegreeRankine" => (0.0, 5.0 / 9.0),
        "DegreeReaumur" => (218.52, 1.25),
        "DegreeDelisle" => (-559.725, -2.0 / 3.0),
        "DegreeNewton" => (273.15 * 0.33, 1.0 / 0.33),
        "DegreeRoemer" => (273.15 * 21.0 / 40.0 - 7.5, 40.0 / 21.0),
        "SolarTemperature" => (0.0, 5_778.0),
        _ => return None,
    })
}

fn temperature(call: &Call<'_>) -> Result<ArrayRef> {
    let (values, from, to) = (call.real(0)?, call.text(1)?, call.text(2)?);
    Ok(call.reals(|row| {
        let ((shift, factor), (shift_back, factor_back)) = (scale(from.get(row))?, scale(to.get(row))?);
        Some((values.get(row)? + shift) * factor / factor_back - shift_back)
    }))
}
