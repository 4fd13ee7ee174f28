//! Constants as written.

use arrow::compute::kernels::cast_utils::parse_decimal;
use arrow::datatypes::Decimal128Type;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use strongroom_kql::Span;
use strongroom_kql::ast::{DynamicValue, Literal, ScalarType};
use strongroom_model::ColumnType;

use crate::kql::bound::{Bound, null_of};

/// Nanoseconds in a tick, KQL's unit of time.
pub(in crate::kql) const NS_PER_TICK: i64 = 100;

/// Digits and scale of a decimal in the engine.
pub(in crate::kql) const DECIMAL: (u8, i8) = (34, 17);

/// A constant as written.
pub(in crate::kql) fn literal(value: &Literal, span: Span) -> Bound {
    let kind = kind_of(value.scalar_type());
    let scalar = match value {
        Literal::Bool(value) => ScalarValue::Boolean(Some(*value)),
        Literal::Int(value) => ScalarValue::Int32(Some(*value)),
        Literal::Long(value) => ScalarValue::Int64(Some(*value)),
        Literal::Real(value) => ScalarValue::Float64(Some(*value)),
        Literal::Decimal(text) => {
            let parsed = parse_decimal::<Decimal128Type>(text, DECIMAL.0, DECIMAL.1).ok();
            ScalarValue::Decimal128(parsed, DECIMAL.0, DECIMAL.1)
        }
        Literal::String { value, .. } => ScalarValue::Utf8View(Some(value.clone())),
        Literal::DateTime(ticks) => datetime_ns(strongroom_kql::ticks_to_unix_ns(*ticks)),
        Literal::TimeSpan(ticks) => timespan_ns(ticks.saturating_mul(NS_PER_TICK)),
        Literal::Guid(text) => ScalarValue::Utf8View(Some(text.clone())),
        Literal::Dynamic(DynamicValue::Null) | Literal::Null(_) => return Bound::new(null_of(kind), kind, span),
        Literal::Dynamic(value) => ScalarValue::Utf8View(Some(value.to_json())),
    };
    Bound::new(Expr::Literal(scalar, None), kind, span)
}

/// An instant.
pub(in crate::kql) fn datetime_ns(ns: i64) -> ScalarValue {
    ScalarValue::TimestampNanosecond(Some(ns), Some("UTC".into()))
}

/// A length of time.
pub(in crate::kql) fn timespan_ns(ns: i64) -> ScalarValue {
    ScalarValue::DurationNanosecond(Some(ns))
}

/// The column type of a written type.
pub(in crate::kql) const fn kind_of(kind: ScalarType) -> ColumnType {
    match kind {
        ScalarType::Bool => ColumnType::Bool,
        ScalarType::Int => ColumnType::Int,
        ScalarType::Long => ColumnType::Long,
        ScalarType::Real => ColumnType::Real,
        ScalarType::Decimal => ColumnType::Decimal,
        ScalarType::String => ColumnType::String,
        ScalarType::DateTime => ColumnType::DateTime,
        ScalarType::TimeSpan => ColumnType::TimeSpan,
        ScalarType::Guid => ColumnType::Guid,
        ScalarType::Dynamic => ColumnType::Dynamic,
    }
}
