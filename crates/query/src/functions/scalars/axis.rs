//! The arrays of `make-series`: cells put in their places along an axis, and the axis itself.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use strongroom_model::ColumnType;

use super::args::{Values, values_of};
use super::json;
use super::text_of;

/// Most bins of a series: what `range` makes, too.
const BINS_MAX: usize = 1 << 20;

/// What stands along an axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Axis {
    /// long, real, datetime or timespan.
    pub(crate) kind: ColumnType,
    /// Whether the end is the last bin, or the first behind it.
    pub(crate) inclusive: bool,
}

/// A column of arrays. `cells` is a list of structs: a bin's start, then values in JSON form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SeriesOf {
    /// That field of the cells, with what stands in JSON form where there is no cell; none: null.
    Cells { field: usize, default: Option<String> },
    /// The starts of the bins.
    Bins,
}

/// An array for each row, as a `dynamic`.
pub(crate) fn series(of: SeriesOf, axis: Axis, cells: Expr, [start, end, step]: [Expr; 3]) -> Expr {
    let function = Series { of, axis, signature: Signature::any(4, Volatility::Immutable) };
    ScalarUDF::new_from_impl(function).call(vec![cells, start, end, step])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Series {
    of: SeriesOf,
    axis: Axis,
    signature: Signature,
}

/// A column of places on an axis.
enum Places {
    Whole(Values),
    Real(Values),
}

impl Places {
    fn new(array: &ArrayRef, kind: ColumnType) -> Result<Self> {
        let values = values_of(array, kind)?;
        Ok(if kind == ColumnType::Real { Self::Real(values) } else { Self::Whole(values) })
    }

    fn whole(&self, row: usize) -> Option<i64> {
        match self {
            Self::Whole(Values::Long(values)) => values.get(row),
            Self::Whole(Values::DateTime(values)) => values.get(row),
            Self::Whole(Values::TimeSpan(values)) => values.get(row),
            _ => None,
        }
    }

    fn real(&self, row: usize) -> Option<f64> {
        match self {
            Self::Real(Values::Real(values)) => values.get(row).filter(|value| value.is_finite()),
            _ => None,
        }
    }
}

/// Where one row's axis begins and how it goes on.
enum Steps {
    Whole { start: i64, step: i64 },
    Real { start: f64, step: f64 },
}

impl Steps {
    /// The axis of a row, and how many bins it has; none: nothing is known of it.
    fn of(axis: &Axis, ends: &[Places; 3], row: usize) -> Option<(Self, usize)> {
        let [start, end, step] = ends;
        if axis.kind == ColumnType::Real {
            let (start, end, step) = (start.real(row)?, end.real(row)?, step.real(row)?);
            if step <= 0.0 {
                return None;
            }
            // A hair off is not a bin more.
            let count = (end - start) / step;
            let count = if axis.inclusive { (count + 1e-9).floor() + 1.0 } else { (count - 1e-9).ceil() };
            return Some((Self::Real { start, step }, at_most(count)));
        }
        let (start, end, step) = (start.whole(row)?, end.whole(row)?, step.whole(row)?);
        if step <= 0 {
            return None;
        }
        let (length, by) = (i128::from(end) - i128::from(start), i128::from(step));
        let count = if axis.inclusive { length.div_euclid(by) + 1 } else { (length + by - 1).div_euclid(by) };
        Some((Self::Whole { start, step }, usize::try_from(count.max(0)).unwrap_or(usize::MAX)))
    }

    /// The place of a bin.
    fn index(&self, bins: &Places, at: usize) -> Option<usize> {
        match self {
            Self::Whole { start, step } => {
                let length = i128::from(bins.whole(at)?) - i128::from(*start);
                usize::try_from(length.div_euclid(i128::from(*step))).ok()
            }
            Self::Real { start, step } => {
                let place = ((bins.real(at)? - start) / step).round();
                (place >= 0.0).then(|| at_most(place))
            }
        }
    }

    /// The start of a bin in JSON form.
    #[expect(clippy::cast_precision_loss, reason = "there are at most 2^20 bins")]
    fn write(&self, kind: ColumnType, at: usize, out: &mut String) {
        match self {
            Self::Real { start, step } => json::write_real(step.mul_add(at as f64, *start), out),
            Self::Whole { start, step } => {
                let value = start.saturating_add(step.saturating_mul(i64::try_from(at).unwrap_or(i64::MAX)));
                let quote = kind != ColumnType::Long;
                if quote {
                    out.push('"');
                }
                match kind {
                    ColumnType::DateTime => text_of::write_datetime(value, out),
                    ColumnType::TimeSpan => text_of::write_timespan(value, out),
                    _ => out.push_str(&value.to_string()),
                }
                if quote {
                    out.push('"');
                }
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates at both ends, which is what is wanted")]
fn at_most(count: f64) -> usize {
    count as usize
}

impl Series {
    fn row(&self, cells: Option<&ArrayRef>, steps: &Steps, count: usize, out: &mut String) -> Result<()> {
        if count > BINS_MAX {
            return exec_err!("a series has at most {BINS_MAX} bins, this would have {count}");
        }
        let (field, default) = match &self.of {
            SeriesOf::Bins => {
                for at in 0..count {
                    separate(out);
                    steps.write(self.axis.kind, at, out);
                }
                return Ok(());
            }
            SeriesOf::Cells { field, default } => (*field, default.as_deref().unwrap_or("null")),
        };
        let mut values = vec![default; count];
        let cells = cells.and_then(|cells| cells.as_struct_opt());
        if let Some(cells) = cells {
            let bins = Places::new(cells.column(0), self.axis.kind)?;
            let texts = cells.column(field).as_string_view();
            for at in 0..cells.len() {
                if let Some(place) = steps.index(&bins, at).and_then(|place| values.get_mut(place)) {
                    *place = if texts.is_valid(at) { texts.value(at) } else { "null" };
                }
            }
        }
        for value in values {
            separate(out);
            out.push_str(value);
        }
        Ok(())
    }
}

fn separate(out: &mut String) {
    if out.len() > 1 {
        out.push(',');
    }
}

impl ScalarUDFImpl for Series {
    fn name(&self) -> &'static str {
        "kql_series"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(ColumnType::Dynamic.query_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [cells, start, end, step] = arrays.as_slice() else { return exec_err!("cells and an axis are needed") };
        let step_kind = if self.axis.kind == ColumnType::DateTime { ColumnType::TimeSpan } else { self.axis.kind };
        let ends = [Places::new(start, self.axis.kind)?, Places::new(end, self.axis.kind)?, Places::new(step, step_kind)?];
        let lists = cells.as_list_opt::<i32>();
        let mut builder = StringViewBuilder::with_capacity(start.len());
        let mut scratch = String::new();
        for row in 0..start.len() {
            scratch.clear();
            scratch.push('[');
            if let Some((steps, count)) = Steps::of(&self.axis, &ends, row) {
                let cells = lists.filter(|lists| lists.is_valid(row)).map(|lists| lists.value(row));
                self.row(cells.as_ref(), &steps, count, &mut scratch)?;
            }
            scratch.push(']');
            builder.append_value(&scratch);
        }
        let array: ArrayRef = Arc::new(builder.finish());
        debug_assert!(array.len() == rows || array.len() == 1, "constants come as one row");
        Ok(ColumnarValue::Array(array))
    }
}
