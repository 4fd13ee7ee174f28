//! How finely a value hangs on the time of its row.

use std::sync::Arc;

use arrow_schema::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, IsNotNullExpr, IsNullExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use strongroom_model::TimeRange;

use super::block::MINUTE_NS;

/// What of the row's time a value depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grain {
    /// At most the minute: it is the same for all instants of one.
    Minute,
    /// It is the time itself, or that so many whole minutes off.
    Instant,
    /// Anything else.
    Finer,
}

/// A condition on time alone that holds from some instant on, or up to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    From(i64),
    To(i64),
    /// Of every row, or of none.
    Always(bool),
}

impl Span {
    /// Whether it holds at all these instants, or at none; `None`: at some.
    pub(super) fn at(self, time: TimeRange) -> Option<bool> {
        let (first, last) = match self {
            Self::From(at) => (time.start >= at, time.end >= at),
            Self::To(at) => (time.start <= at, time.end <= at),
            Self::Always(holds) => (holds, holds),
        };
        (first == last).then_some(first)
    }

    fn is_whole(self) -> bool {
        match self {
            Self::From(at) => at.rem_euclid(MINUTE_NS) == 0,
            Self::To(at) => at.rem_euclid(MINUTE_NS) == MINUTE_NS - 1,
            Self::Always(_) => true,
        }
    }
}

/// The span that a condition is, if it is one; `time` is the place of the time column.
pub(super) fn span(expr: &Arc<dyn PhysicalExpr>, time: Option<usize>) -> Option<Span> {
    let is_time = |expr: &Arc<dyn PhysicalExpr>| expr.downcast_ref::<Column>().is_some_and(|column| Some(column.index()) == time);
    // Every row has its time.
    if let Some(null) = expr.downcast_ref::<IsNullExpr>() {
        return is_time(null.arg()).then_some(Span::Always(false));
    }
    if let Some(null) = expr.downcast_ref::<IsNotNullExpr>() {
        return is_time(null.arg()).then_some(Span::Always(true));
    }
    let compared = expr.downcast_ref::<BinaryExpr>()?;
    let (op, at) = if is_time(compared.left()) {
        (*compared.op(), instant(compared.right())?)
    } else if is_time(compared.right()) {
        (compared.op().swap()?, instant(compared.left())?)
    } else {
        return None;
    };
    match op {
        Operator::GtEq => Some(Span::From(at)),
        Operator::Gt => at.checked_add(1).map(Span::From),
        Operator::LtEq => Some(Span::To(at)),
        Operator::Lt => at.checked_sub(1).map(Span::To),
        _ => None,
    }
}

fn literal(expr: &Arc<dyn PhysicalExpr>) -> Option<&ScalarValue> {
    expr.downcast_ref::<Literal>().map(Literal::value)
}

fn instant(expr: &Arc<dyn PhysicalExpr>) -> Option<i64> {
    match literal(expr)? {
        ScalarValue::TimestampNanosecond(Some(ns), _) => Some(*ns),
        _ => None,
    }
}

/// Nanoseconds of a literal length of time; of a calendar's lengths, days are such.
fn length(expr: &Arc<dyn PhysicalExpr>) -> Option<i64> {
    const DAY_NS: i64 = 1_440 * MINUTE_NS;
    match literal(expr)? {
        ScalarValue::DurationNanosecond(Some(ns)) => Some(*ns),
        ScalarValue::IntervalMonthDayNano(Some(of)) if of.months == 0 => {
            i64::from(of.days).checked_mul(DAY_NS)?.checked_add(of.nanoseconds)
        }
        ScalarValue::IntervalDayTime(Some(of)) => {
            i64::from(of.days).checked_mul(DAY_NS)?.checked_add(i64::from(of.milliseconds).checked_mul(1_000_000)?)
        }
        _ => None,
    }
}

fn is_whole(ns: i64) -> bool {
    ns.rem_euclid(MINUTE_NS) == 0
}

/// Functions of one instant that look at no less than its minute; further arguments are numbers.
const WHOLE: &[&str] = &[
    "startofday",
    "startofweek",
    "startofmonth",
    "startofyear",
    "endofday",
    "endofweek",
    "endofmonth",
    "endofyear",
    "getyear",
    "monthofyear",
    "dayofmonth",
    "dayofyear",
    "hourofday",
    "week_of_year",
    "dayofweek",
];

/// Parts of an instant that are no less, as both languages call them.
const PARTS: &[&str] =
    &["minute", "hour", "day", "week", "month", "quarter", "year", "dow", "doy", "dayofyear", "weekofyear", "week_of_year"];

fn is_part(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let Some(ScalarValue::Utf8(Some(part)) | ScalarValue::Utf8View(Some(part)) | ScalarValue::LargeUtf8(Some(part))) = literal(expr) else {
        return false;
    };
    PARTS.iter().any(|known| part.eq_ignore_ascii_case(known))
}

/// The grain of a value whose expression is not volatile; `time` is the place of the time column.
pub(super) fn of(expr: &Arc<dyn PhysicalExpr>, time: Option<usize>) -> Grain {
    if let Some(column) = expr.downcast_ref::<Column>() {
        return if Some(column.index()) == time { Grain::Instant } else { Grain::Minute };
    }
    let parts: Vec<Grain> = expr.children().into_iter().map(|part| of(part, time)).collect();
    if parts.iter().all(|part| *part == Grain::Minute) {
        return Grain::Minute;
    }
    if parts.contains(&Grain::Finer) {
        return Grain::Finer;
    }
    if let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() {
        return of_call(call.fun().name(), call.args(), &parts);
    }
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        return if *cast.cast_type() == DataType::Date32 { Grain::Minute } else { Grain::Finer };
    }
    if span(expr, time).is_some_and(Span::is_whole) { Grain::Minute } else { Grain::Finer }
}

fn of_call(name: &str, args: &[Arc<dyn PhysicalExpr>], parts: &[Grain]) -> Grain {
    use Grain::{Instant, Minute};
    let whole = match (name, args, parts) {
        ("bin", [_, width], [Instant, Minute]) => length(width).is_some_and(|width| width > 0 && is_whole(width)),
        ("subtract" | "add", [_, by], [Instant, Minute]) | ("add", [by, _], [Minute, Instant]) => {
            let by = instant(by).or_else(|| length(by));
            return if by.is_some_and(is_whole) { Instant } else { Grain::Finer };
        }
        ("date_bin", [width, _], [Minute, Instant]) => length(width).is_some_and(|width| width > 0 && is_whole(width)),
        ("date_bin", [width, _, origin], [Minute, Instant, Minute]) => {
            length(width).is_some_and(|width| width > 0 && is_whole(width)) && instant(origin).is_some_and(is_whole)
        }
        ("date_trunc" | "date_part" | "datetime_part", [part, _], [Minute, Instant]) => is_part(part),
        (name, _, [Instant, shift @ ..]) => WHOLE.contains(&name) && shift.iter().all(|shift| *shift == Minute),
        _ => false,
    };
    if whole { Minute } else { Grain::Finer }
}
