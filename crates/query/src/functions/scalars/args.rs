//! Arguments of a kernel as typed columns, and builders of its result. A constant argument is one value, not a column of copies.

use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, PrimitiveArray, StringViewArray,
    StringViewBuilder,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, DurationNanosecondType, Float64Type, Int32Type, Int64Type, TimestampNanosecondType};
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;
use strongroom_model::ColumnType;

use super::json;
use super::text_of;

/// Most bytes of text that one call makes of one batch of rows. A few functions make much out of little (`repeat`, `range`, gzip,
/// `replace_string`), and what they make is not counted anywhere before it is there.
pub(super) const MADE_MAX_BYTES: usize = if cfg!(test) { 4 << 20 } else { 256 << 20 };

/// One call of a kernel: its arguments, their KQL types, and how many rows to compute.
#[derive(Debug)]
pub(in crate::functions) struct Call<'a> {
    pub(super) args: &'a [ColumnarValue],
    pub(super) kinds: &'a [ColumnType],
    /// What the call gives.
    pub(super) result: ColumnType,
    /// 1 if every argument is a constant.
    pub(super) rows: usize,
    /// Whether the call wanted to make more than [`MADE_MAX_BYTES`]: its result is not to be used then.
    pub(super) full: Cell<bool>,
}

/// A column of numbers, or one number for all rows.
#[derive(Debug)]
pub(in crate::functions) struct Numbers<T: ArrowPrimitiveType> {
    array: PrimitiveArray<T>,
    single: bool,
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    pub(super) fn get(&self, row: usize) -> Option<T::Native> {
        let row = if self.single { 0 } else { row };
        self.array.is_valid(row).then(|| self.array.value(row))
    }

    /// The one value, if it is a constant and not null.
    pub(super) fn constant(&self) -> Option<T::Native> {
        if self.single { self.get(0) } else { None }
    }
}

/// A column of texts, or one text for all rows. Null reads as `""`.
#[derive(Debug)]
pub(in crate::functions) struct Text {
    array: StringViewArray,
    single: bool,
}

impl Text {
    pub(super) fn get(&self, row: usize) -> &str {
        self.value(row).unwrap_or("")
    }

    /// For `dynamic` and guids, which can be null.
    pub(super) fn value(&self, row: usize) -> Option<&str> {
        let row = if self.single { 0 } else { row };
        self.array.is_valid(row).then(|| self.array.value(row))
    }

    /// As a `dynamic`: JSON text, null if it is null or `null`.
    pub(super) fn json(&self, row: usize) -> Option<&str> {
        self.value(row).filter(|text| !text.is_empty() && *text != "null")
    }

    /// The one text, if it is a constant.
    pub(super) fn constant(&self) -> Option<&str> {
        self.single.then(|| self.get(0))
    }
}

/// A column of yes and no, or one for all rows.
#[derive(Debug)]
pub(in crate::functions) struct Bools {
    array: BooleanArray,
    single: bool,
}

impl Bools {
    pub(super) fn get(&self, row: usize) -> Option<bool> {
        let row = if self.single { 0 } else { row };
        self.array.is_valid(row).then(|| self.array.value(row))
    }
}

/// A column of any KQL type.
#[derive(Debug)]
pub(in crate::functions) enum Values {
    Bool(Bools),
    Int(Numbers<Int32Type>),
    Long(Numbers<Int64Type>),
    Real(Numbers<Float64Type>),
    Decimal(Numbers<Decimal128Type>),
    String(Text),
    Guid(Text),
    DateTime(Numbers<TimestampNanosecondType>),
    TimeSpan(Numbers<DurationNanosecondType>),
    Dynamic(Text),
}

impl Values {
    /// Whether the value is null; a string never is.
    pub(in crate::functions) fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Bool(v) => v.get(row).is_none(),
            Self::Int(v) => v.get(row).is_none(),
            Self::Long(v) => v.get(row).is_none(),
            Self::Real(v) => v.get(row).is_none(),
            Self::Decimal(v) => v.get(row).is_none(),
            Self::String(_) => false,
            Self::Guid(v) => v.value(row).is_none(),
            Self::DateTime(v) => v.get(row).is_none(),
            Self::TimeSpan(v) => v.get(row).is_none(),
            Self::Dynamic(v) => v.json(row).is_none(),
        }
    }

    /// As `tostring` writes it; null writes nothing.
    pub(in crate::functions) fn write_text(&self, row: usize, out: &mut String) {
        match self {
            Self::Bool(v) => out.push_str(v.get(row).map_or("", |v| if v { "True" } else { "False" })),
            Self::Int(v) => put(out, v.get(row)),
            Self::Long(v) => put(out, v.get(row)),
            Self::Real(v) => v.get(row).into_iter().for_each(|v| text_of::write_real(v, out)),
            Self::Decimal(v) => v.get(row).into_iter().for_each(|v| text_of::write_decimal(v, out)),
            Self::String(v) | Self::Guid(v) => out.push_str(v.get(row)),
            Self::DateTime(v) => v.get(row).into_iter().for_each(|v| text_of::write_datetime(v, out)),
            Self::TimeSpan(v) => v.get(row).into_iter().for_each(|v| text_of::write_timespan(v, out)),
            Self::Dynamic(v) => v.json(row).into_iter().for_each(|v| json::write_plain(v, out)),
        }
    }

    /// As a JSON value; null writes `null`.
    pub(in crate::functions) fn write_json(&self, row: usize, out: &mut String) {
        if self.is_null(row) {
            out.push_str("null");
            return;
        }
        match self {
            Self::Bool(v) => out.push_str(if v.get(row) == Some(true) { "true" } else { "false" }),
            Self::Int(_) | Self::Long(_) => self.write_text(row, out),
            Self::Real(v) => json::write_real(v.get(row).unwrap_or(f64::NAN), out),
            Self::Decimal(_) | Self::DateTime(_) | Self::TimeSpan(_) => {
                out.push('"');
                self.write_text(row, out);
                out.push('"');
            }
            Self::String(v) | Self::Guid(v) => json::write_string(v.get(row), out),
            Self::Dynamic(v) => out.push_str(v.get(row)),
        }
    }
}

fn put<T: std::fmt::Display>(out: &mut String, value: Option<T>) {
    if let Some(value) = value {
        write!(out, "{value}").expect("a String takes everything");
    }
}

impl Call<'_> {
    fn array(&self, index: usize) -> Result<(ArrayRef, bool)> {
        Ok(match &self.args[index] {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(value) => (value.to_array_of_size(1)?, true),
        })
    }

    fn numbers<T: ArrowPrimitiveType>(&self, index: usize) -> Result<Numbers<T>> {
        let (array, single) = self.array(index)?;
        let array = match array.as_primitive_opt::<T>() {
            Some(array) => array.clone(),
            None => cast(&array, &T::DATA_TYPE)?.as_primitive::<T>().clone(),
        };
        Ok(Numbers { array, single })
    }

    /// Whether so many bytes may be made for one row; the call fails if not.
    pub(super) fn may_make(&self, bytes: usize) -> bool {
        if bytes > MADE_MAX_BYTES {
            self.full.set(true);
        }
        !self.full.get()
    }

    /// Whether there is such an argument.
    pub(super) fn has(&self, index: usize) -> bool {
        index < self.args.len()
    }

    pub(super) fn text(&self, index: usize) -> Result<Text> {
        let (array, single) = self.array(index)?;
        let array = match array.as_string_view_opt() {
            Some(array) => array.clone(),
            None => cast(&array, &DataType::Utf8View)?.as_string_view().clone(),
        };
        Ok(Text { array, single })
    }

    pub(super) fn long(&self, index: usize) -> Result<Numbers<Int64Type>> {
        self.numbers(index)
    }

    pub(super) fn real(&self, index: usize) -> Result<Numbers<Float64Type>> {
        self.numbers(index)
    }

    pub(super) fn datetime(&self, index: usize) -> Result<Numbers<TimestampNanosecondType>> {
        let (array, single) = self.array(index)?;
        let array = match array.as_primitive_opt::<TimestampNanosecondType>() {
            Some(array) => array.clone(),
            None => cast(&array, &ColumnType::DateTime.query_type())?.as_primitive::<TimestampNanosecondType>().clone(),
        };
        Ok(Numbers { array, single })
    }

    pub(super) fn timespan(&self, index: usize) -> Result<Numbers<DurationNanosecondType>> {
        self.numbers(index)
    }

    pub(super) fn bool(&self, index: usize) -> Result<Bools> {
        let (array, single) = self.array(index)?;
        let array = match array.as_boolean_opt() {
            Some(array) => array.clone(),
            None => cast(&array, &DataType::Boolean)?.as_boolean().clone(),
        };
        Ok(Bools { array, single })
    }

    /// An argument of any type.
    pub(super) fn values(&self, index: usize) -> Result<Values> {
        Ok(match self.kinds[index] {
            ColumnType::Bool => Values::Bool(self.bool(index)?),
            ColumnType::Int => Values::Int(self.numbers(index)?),
            ColumnType::Long => Values::Long(self.long(index)?),
            ColumnType::Real => Values::Real(self.real(index)?),
            ColumnType::Decimal => {
                let (array, single) = self.array(index)?;
                let array = match array.as_primitive_opt::<Decimal128Type>() {
                    Some(array) if array.scale() == text_of::DECIMAL_SCALE => array.clone(),
                    _ => cast(&array, &ColumnType::Decimal.query_type())?.as_primitive::<Decimal128Type>().clone(),
                };
                Values::Decimal(Numbers { array, single })
            }
            ColumnType::String => Values::String(self.text(index)?),
            ColumnType::Guid => Values::Guid(self.text(index)?),
            ColumnType::DateTime => Values::DateTime(self.datetime(index)?),
            ColumnType::TimeSpan => Values::TimeSpan(self.timespan(index)?),
            ColumnType::Dynamic => Values::Dynamic(self.text(index)?),
        })
    }

    /// All arguments from `first` on.
    pub(super) fn values_from(&self, first: usize) -> Result<Vec<Values>> {
        (first..self.args.len()).map(|index| self.values(index)).collect()
    }

    // ---- results ----

    /// Texts, each written into an empty string.
    pub(super) fn texts(&self, mut write: impl FnMut(usize, &mut String)) -> ArrayRef {
        let mut builder = StringViewBuilder::with_capacity(self.rows);
        let mut scratch = String::new();
        let mut made = 0;
        for row in 0..self.rows {
            scratch.clear();
            if self.may_make(made) {
                write(row, &mut scratch);
                made += scratch.len();
            }
            builder.append_value(&scratch);
        }
        Arc::new(builder.finish())
    }

    /// Texts that lie in an argument already.
    pub(super) fn slices<'t>(&self, mut get: impl FnMut(usize) -> &'t str) -> ArrayRef {
        let mut builder = StringViewBuilder::with_capacity(self.rows);
        for row in 0..self.rows {
            builder.append_value(get(row));
        }
        Arc::new(builder.finish())
    }

    /// `dynamic`s (or guids), each written into an empty string; false: null.
    pub(super) fn dynamics(&self, mut write: impl FnMut(usize, &mut String) -> bool) -> ArrayRef {
        let mut builder = StringViewBuilder::with_capacity(self.rows);
        let mut scratch = String::new();
        let mut made = 0;
        for row in 0..self.rows {
            scratch.clear();
            if self.may_make(made) && write(row, &mut scratch) {
                made += scratch.len();
                builder.append_value(&scratch);
            } else {
                builder.append_null();
            }
        }
        Arc::new(builder.finish())
    }

    /// `dynamic`s that lie in an argument already.
    pub(super) fn dynamic_slices<'t>(&self, mut get: impl FnMut(usize) -> Option<&'t str>) -> ArrayRef {
        let mut builder = StringViewBuilder::with_capacity(self.rows);
        for row in 0..self.rows {
            builder.append_option(get(row));
        }
        Arc::new(builder.finish())
    }

    pub(super) fn bools(&self, get: impl FnMut(usize) -> bool) -> ArrayRef {
        Arc::new(BooleanArray::new(BooleanBuffer::collect_bool(self.rows, get), None))
    }

    pub(super) fn maybe_bools(&self, get: impl FnMut(usize) -> Option<bool>) -> ArrayRef {
        Arc::new((0..self.rows).map(get).collect::<BooleanArray>())
    }

    pub(super) fn longs(&self, get: impl FnMut(usize) -> Option<i64>) -> ArrayRef {
        Arc::new((0..self.rows).map(get).collect::<Int64Array>())
    }

    pub(super) fn ints(&self, get: impl FnMut(usize) -> Option<i32>) -> ArrayRef {
        Arc::new((0..self.rows).map(get).collect::<Int32Array>())
    }

    pub(super) fn reals(&self, get: impl FnMut(usize) -> Option<f64>) -> ArrayRef {
        Arc::new((0..self.rows).map(get).collect::<Float64Array>())
    }

    pub(super) fn datetimes(&self, get: impl FnMut(usize) -> Option<i64>) -> ArrayRef {
        Arc::new((0..self.rows).map(get).collect::<PrimitiveArray<TimestampNanosecondType>>().with_timezone("UTC"))
    }

    pub(super) fn timespans(&self, get: impl FnMut(usize) -> Option<i64>) -> ArrayRef {
        Arc::new((0..self.rows).map(get).collect::<PrimitiveArray<DurationNanosecondType>>())
    }

    /// Numbers of the call's result type (long, datetime or timespan) from their 64 bits.
    pub(super) fn wide(&self, get: impl FnMut(usize) -> Option<i64>) -> ArrayRef {
        match self.result {
            ColumnType::DateTime => self.datetimes(get),
            ColumnType::TimeSpan => self.timespans(get),
            _ => self.longs(get),
        }
    }

    /// The 64 bits of a long, int, datetime or timespan argument.
    pub(super) fn wide_argument(&self, index: usize) -> Result<Numbers<Int64Type>> {
        let (array, single) = self.array(index)?;
        let data = match array.data_type() {
            DataType::Timestamp(..) => cast(&array, &ColumnType::DateTime.query_type())?,
            _ => array,
        };
        let array = match data.data_type() {
            DataType::Timestamp(..) => data.as_primitive::<TimestampNanosecondType>().reinterpret_cast::<Int64Type>(),
            DataType::Duration(_) => data.as_primitive::<DurationNanosecondType>().reinterpret_cast::<Int64Type>(),
            DataType::Int64 => data.as_primitive::<Int64Type>().clone(),
            _ => cast(&data, &DataType::Int64)?.as_primitive::<Int64Type>().clone(),
        };
        Ok(Numbers { array, single })
    }
}

/// A decimal column with KQL's precision.
pub(super) fn decimals(values: Vec<Option<i128>>) -> Result<ArrayRef> {
    let nulls: NullBuffer = values.iter().map(Option::is_some).collect();
    let array = PrimitiveArray::<Decimal128Type>::new(values.into_iter().map(Option::unwrap_or_default).collect(), Some(nulls));
    Ok(Arc::new(array.with_precision_and_scale(text_of::DECIMAL_PRECISION, text_of::DECIMAL_SCALE)?))
}

/// A column as values of a KQL type.
pub(in crate::functions) fn values_of(array: &ArrayRef, kind: ColumnType) -> Result<Values> {
    let args = [ColumnarValue::Array(Arc::clone(array))];
    Call { args: &args, kinds: &[kind], result: kind, rows: array.len(), full: Cell::new(false) }.values(0)
}
