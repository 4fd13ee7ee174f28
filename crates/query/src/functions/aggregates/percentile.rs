//! `percentile` and `percentiles`: nearest rank, so a result is an element of the data and has its type. Exact: values are kept.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, LargeBinaryArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, DurationNanosecondType, Field, Fields, Float64Type, Int64Type, TimestampNanosecondType};
use datafusion::common::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use strongroom_model::ColumnType;

use super::groups::{Plan, emitted, passes};

/// `percentile(x, p)`, `percentiles(x, p, ..)`: a struct by number of the percentile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Percentiles {
    /// Percent, as the bits of a real.
    pub(super) wanted: Vec<u64>,
}

pub(super) fn fields(kind: &DataType, count: usize) -> Fields {
    (0..count).map(|index| Field::new(index.to_string(), kind.clone(), true)).collect()
}

impl Plan for Percentiles {
    fn name(&self) -> &'static str {
        "percentiles"
    }

    fn gives(&self, args: &[DataType]) -> DataType {
        DataType::Struct(fields(&args[0], self.wanted.len()))
    }

    /// All values: 8 bytes each, little-endian.
    fn state(&self, _: &[DataType]) -> Vec<DataType> {
        vec![DataType::LargeBinary]
    }

    fn groups(&self, args: &[DataType], _: &[ColumnType]) -> Result<Box<dyn GroupsAccumulator>> {
        let wanted = self.wanted.iter().map(|bits| f64::from_bits(*bits)).collect();
        Ok(Box::new(Sorted { wanted, kind: args[0].clone(), groups: Vec::new(), values: 0 }))
    }
}

struct Sorted {
    wanted: Vec<f64>,
    kind: DataType,
    /// Reals as bits that order as they do, everything else as it is.
    groups: Vec<Vec<i64>>,
    /// How many values there are in all.
    values: usize,
}

/// 64 bits that order as the reals do, and back.
fn ordered(bits: i64) -> i64 {
    bits ^ (((bits >> 63).cast_unsigned()) >> 1).cast_signed()
}

/// The bits of a NaN, which is no value here.
pub(super) const MISSING: i64 = i64::MIN;

/// A column as bits that order as its values do.
pub(super) fn bits_of(array: &ArrayRef) -> Result<Int64Array> {
    Ok(match array.data_type() {
        DataType::Float64 => {
            array.as_primitive::<Float64Type>().unary(|value| if value.is_nan() { MISSING } else { ordered(value.to_bits().cast_signed()) })
        }
        DataType::Timestamp(..) => array.as_primitive::<TimestampNanosecondType>().reinterpret_cast(),
        DataType::Duration(_) => array.as_primitive::<DurationNanosecondType>().reinterpret_cast(),
        _ => cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone(),
    })
}

/// The place of a percentile among `count` sorted values.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "clamped to the count, which memory bounds"
)]
fn rank(percent: f64, count: usize) -> usize {
    let rank = (percent / 100.0 * count as f64).ceil();
    (rank.max(1.0) as usize).min(count) - 1
}

impl Sorted {
    fn emit(&mut self, emit_to: EmitTo) -> Vec<Vec<i64>> {
        let count = emitted(emit_to, self.groups.len());
        let groups: Vec<Vec<i64>> = self.groups.drain(..count).collect();
        self.values -= groups.iter().map(Vec::len).sum::<usize>();
        groups
    }
}

/// Bits back to a column of the data's type.
pub(super) fn column_of(kind: &DataType, bits: Int64Array) -> Result<ArrayRef> {
    Ok(match kind {
        DataType::Float64 => Arc::new(bits.unary::<_, Float64Type>(|bits| f64::from_bits(ordered(bits).cast_unsigned()))) as ArrayRef,
        DataType::Timestamp(..) => Arc::new(bits.reinterpret_cast::<TimestampNanosecondType>().with_data_type(kind.clone())),
        DataType::Duration(_) => Arc::new(bits.reinterpret_cast::<DurationNanosecondType>()),
        kind => cast(&(Arc::new(bits) as ArrayRef), kind)?,
    })
}

impl GroupsAccumulator for Sorted {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        self.groups.resize_with(total, Vec::new);
        let bits = bits_of(&values[0])?;
        let skip_nan = self.kind == DataType::Float64;
        for (row, &group) in groups.iter().enumerate().filter(|(row, _)| passes(filter, *row) && bits.is_valid(*row)) {
            let value = bits.value(row);
            if skip_nan && value == MISSING {
                continue;
            }
            self.groups[group].push(value);
            self.values += 1;
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let mut groups = self.emit(emit_to);
        for group in &mut groups {
            group.sort_unstable();
        }
        let column = |percent: &f64| {
            let pick = |group: &Vec<i64>| if group.is_empty() { None } else { Some(group[rank(*percent, group.len())]) };
            column_of(&self.kind, groups.iter().map(pick).collect())
        };
        let columns = self.wanted.iter().map(column).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(StructArray::try_new_with_length(fields(&self.kind, self.wanted.len()), columns, None, groups.len())?))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let bytes = self.emit(emit_to).into_iter().map(|group| group.into_iter().flat_map(i64::to_le_bytes).collect::<Vec<u8>>());
        Ok(vec![Arc::new(LargeBinaryArray::from_iter_values(bytes))])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.groups.resize_with(total, Vec::new);
        let bytes = values[0].as_binary::<i64>();
        for (row, &group) in groups.iter().enumerate().filter(|(row, _)| bytes.is_valid(*row)) {
            let (chunks, _) = bytes.value(row).as_chunks::<8>();
            self.groups[group].extend(chunks.iter().map(|chunk| i64::from_le_bytes(*chunk)));
            self.values += chunks.len();
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values[0].len();
        let groups: Vec<usize> = (0..rows).collect();
        let mut fresh = Self { wanted: self.wanted.clone(), kind: self.kind.clone(), groups: Vec::new(), values: 0 };
        fresh.update_batch(values, &groups, filter, rows)?;
        fresh.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        // Vectors grow by doubling.
        self.values * 16 + self.groups.capacity() * size_of::<Vec<i64>>()
    }
}
