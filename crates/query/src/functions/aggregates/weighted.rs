//! `percentilew` and `percentilesw`: nearest rank among values that count several times.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, LargeBinaryArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use strongroom_model::ColumnType;

use super::groups::{Plan, emitted, passes};
use super::percentile::{MISSING, bits_of, column_of, fields};

/// `percentilesw(x, weight, p, ..)`: a struct by number of the percentile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Weighted {
    /// Percent, as the bits of a real.
    pub(super) wanted: Vec<u64>,
}

impl Plan for Weighted {
    fn name(&self) -> &'static str {
        "percentilesw"
    }

    fn gives(&self, args: &[DataType]) -> DataType {
        DataType::Struct(fields(&args[0], self.wanted.len()))
    }

    /// Values and weights by turns: 8 bytes each, little-endian.
    fn state(&self, _: &[DataType]) -> Vec<DataType> {
        vec![DataType::LargeBinary]
    }

    fn groups(&self, args: &[DataType], _: &[ColumnType]) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Heaps { plan: self.clone(), kind: args[0].clone(), groups: Vec::new(), values: 0 }))
    }
}

struct Heaps {
    plan: Weighted,
    kind: DataType,
    /// Weights by value, the value as bits that order as it does.
    groups: Vec<BTreeMap<i64, i64>>,
    /// How many values there are in all.
    values: usize,
}

impl Heaps {
    fn add(&mut self, group: usize, value: i64, weight: i64) {
        let there = &mut self.groups[group];
        let before = there.len();
        let sum = there.entry(value).or_default();
        *sum = sum.saturating_add(weight);
        self.values += there.len() - before;
    }

    fn emit(&mut self, emit_to: EmitTo) -> Vec<BTreeMap<i64, i64>> {
        let count = emitted(emit_to, self.groups.len());
        let groups: Vec<BTreeMap<i64, i64>> = self.groups.drain(..count).collect();
        self.values -= groups.iter().map(BTreeMap::len).sum::<usize>();
        groups
    }
}

/// The value at that percentile.
#[expect(clippy::cast_precision_loss, reason = "weights beyond 2^53 lose some of their last digits")]
fn pick(group: &BTreeMap<i64, i64>, percent: f64) -> Option<i64> {
    let all: f64 = group.values().map(|weight| *weight as f64).sum();
    let rank = (percent / 100.0 * all).ceil().max(1.0);
    let mut seen = 0.0;
    let hit = group.iter().find(|(_, weight)| {
        seen += **weight as f64;
        seen >= rank
    });
    hit.or_else(|| group.last_key_value()).map(|(value, _)| *value)
}

impl GroupsAccumulator for Heaps {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        self.groups.resize_with(total, BTreeMap::new);
        let bits = bits_of(&values[0])?;
        let weights = cast(&values[1], &DataType::Int64)?;
        let weights = weights.as_primitive::<Int64Type>();
        let skip_nan = self.kind == DataType::Float64;
        for (row, &group) in groups.iter().enumerate().filter(|(row, _)| passes(filter, *row) && bits.is_valid(*row)) {
            let (value, weight) = (bits.value(row), if weights.is_valid(row) { weights.value(row) } else { 0 });
            if weight > 0 && !(skip_nan && value == MISSING) {
                self.add(group, value, weight);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = self.emit(emit_to);
        let column = |percent: &u64| {
            let bits: Int64Array = groups.iter().map(|group| pick(group, f64::from_bits(*percent))).collect();
            column_of(&self.kind, bits)
        };
        let columns = self.plan.wanted.iter().map(column).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(StructArray::try_new_with_length(fields(&self.kind, self.plan.wanted.len()), columns, None, groups.len())?))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let bytes = |group: BTreeMap<i64, i64>| group.into_iter().flat_map(|(value, weight)| [value, weight]).flat_map(i64::to_le_bytes);
        let states = self.emit(emit_to).into_iter().map(|group| bytes(group).collect::<Vec<u8>>());
        Ok(vec![Arc::new(LargeBinaryArray::from_iter_values(states))])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.groups.resize_with(total, BTreeMap::new);
        let states = values[0].as_binary::<i64>();
        for (row, &group) in groups.iter().enumerate().filter(|(row, _)| states.is_valid(*row)) {
            for pair in states.value(row).as_chunks::<16>().0 {
                let half = |from: usize| i64::from_le_bytes(std::array::from_fn(|at| pair[from + at]));
                self.add(group, half(0), half(8));
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values[0].len();
        let groups: Vec<usize> = (0..rows).collect();
        let mut fresh = Self { plan: self.plan.clone(), kind: self.kind.clone(), groups: Vec::new(), values: 0 };
        fresh.update_batch(values, &groups, filter, rows)?;
        fresh.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        // Nodes of a B-tree are half full at least.
        self.values * 48 + self.groups.capacity() * size_of::<BTreeMap<i64, i64>>()
    }
}
