//! Time zones by their IANA names.

use std::cmp::Ordering;

use arrow::array::ArrayRef;
use chrono::{LocalResult, NaiveDateTime, Offset as _, TimeZone as _};
use chrono_tz::{TZ_VARIANTS, Tz};
use datafusion::common::Result;
use strongroom_model::ColumnType as C;

use super::args::{Call, Text};
use super::json;
use super::spec::{ScalarSpec, Want as W};
use super::table::f;
use super::text_of::{HOUR, SECOND};

pub(super) static SPECS: &[ScalarSpec] = &[
    f("datetime_utc_to_local", &[W::DateTime, W::String], C::DateTime, datetime_utc_to_local),
    f("datetime_local_to_utc", &[W::DateTime, W::String], C::DateTime, datetime_local_to_utc),
    f("datetime_list_timezones", &[], C::Dynamic, datetime_list_timezones),
];

/// Zones of a call: a constant name is looked up once.
enum Zones {
    /// None: there is no such zone.
    Constant(Option<Tz>),
    Named(Text),
}

impl Zones {
    fn of(call: &Call<'_>) -> Result<Self> {
        let names = call.text(1)?;
        Ok(match names.constant() {
            Some(name) => Self::Constant(name.parse().ok()),
            None => Self::Named(names),
        })
    }

    fn get(&self, row: usize) -> Option<Tz> {
        match self {
            Self::Constant(zone) => *zone,
            Self::Named(names) => names.get(row).parse().ok(),
        }
    }
}

fn civil(ns: i64) -> Option<NaiveDateTime> {
    Some(chrono::DateTime::from_timestamp(ns.div_euclid(SECOND), 0)?.naive_utc())
}

fn offset_at(zone: Tz, ns: i64) -> Option<i64> {
    Some(i64::from(zone.offset_from_utc_datetime(&civil(ns)?).fix().local_minus_utc()) * SECOND)
}

/// Null for a zone that is not known.
fn datetime_utc_to_local(call: &Call<'_>) -> Result<ArrayRef> {
    let (times, zones) = (call.datetime(0)?, Zones::of(call)?);
    Ok(call.datetimes(|row| {
        let ns = times.get(row)?;
        ns.checked_add(offset_at(zones.get(row)?, ns)?)
    }))
}

/// A time that comes twice is the earlier one; one that is skipped is read with the offset that begins there (E).
fn datetime_local_to_utc(call: &Call<'_>) -> Result<ArrayRef> {
    let (times, zones) = (call.datetime(0)?, Zones::of(call)?);
    Ok(call.datetimes(|row| {
        let (ns, zone) = (times.get(row)?, zones.get(row)?);
        let offset = match zone.offset_from_local_datetime(&civil(ns)?) {
            LocalResult::Single(offset) | LocalResult::Ambiguous(offset, _) => i64::from(offset.fix().local_minus_utc()) * SECOND,
            // Gaps are shorter than a day, and nothing else changes that soon after.
            LocalResult::None => offset_at(zone, ns.checked_add(3 * HOUR)?.checked_sub(offset_at(zone, ns)?)?)?,
        };
        ns.checked_sub(offset)
    }))
}

/// Every zone that the two functions know.
#[expect(clippy::unnecessary_wraps, reason = "kernels have one shape")]
fn datetime_list_timezones(call: &Call<'_>) -> Result<ArrayRef> {
    let mut names: Vec<&str> = TZ_VARIANTS.iter().map(|zone| zone.name()).collect();
    names.sort_unstable_by(|a, b| match a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase()) {
        Ordering::Equal => a.cmp(b),
        order => order,
    });
    Ok(call.dynamics(|_, out| {
        out.push('[');
        for (at, name) in names.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            json::write_string(name, out);
        }
        out.push(']');
        true
    }))
}
