//! `hll`, `tdigest` and `buildschema`: groups whose state is a summary that can be written down as JSON and read back.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, LargeStringArray, StringViewArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use strongroom_model::ColumnType;

use super::groups::{Plan, emitted, passes};
use super::schema::Shape;
use crate::functions::scalars::args::{Values, values_of};
use crate::functions::scalars::{bytes_of, measured};
use crate::functions::sketches::{Digest, Hll, Measure};

/// What is made of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sketch {
    /// Different values, with so many registers as a power of two.
    Hll(u8),
    /// Several of those in one.
    HllMerge,
    /// The distribution of numbers, perhaps with weights.
    Digest,
    DigestMerge,
    /// What dynamics look like.
    Schema,
}

/// `hll` and its kin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sketched {
    pub(super) sketch: Sketch,
    /// The argument's KQL type.
    pub(super) kind: ColumnType,
}

impl Plan for Sketched {
    fn name(&self) -> &'static str {
        match self.sketch {
            Sketch::Hll(_) => "hll",
            Sketch::HllMerge => "hll_merge",
            Sketch::Digest => "tdigest",
            Sketch::DigestMerge => "tdigest_merge",
            Sketch::Schema => "buildschema",
        }
    }

    fn gives(&self, _: &[DataType]) -> DataType {
        DataType::Utf8View
    }

    fn state(&self, _: &[DataType]) -> Vec<DataType> {
        vec![DataType::LargeUtf8]
    }

    fn groups(&self, _: &[DataType], kinds: &[ColumnType]) -> Result<Box<dyn GroupsAccumulator>> {
        let weights = kinds.get(1).copied();
        Ok(Box::new(Summaries { plan: self.clone(), weights, groups: Vec::new(), bytes: 0 }))
    }
}

/// A group's summary.
#[derive(Debug)]
enum State {
    Hll(Hll),
    Digest(Digest),
    Schema(Shape),
}

impl State {
    fn read(sketch: Sketch, raw: &str) -> Option<Self> {
        match sketch {
            Sketch::Hll(_) | Sketch::HllMerge => Hll::read(raw).map(Self::Hll),
            Sketch::Digest | Sketch::DigestMerge => Digest::read(raw).map(Self::Digest),
            Sketch::Schema => Shape::read(raw).map(Self::Schema),
        }
    }

    fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Hll(mine), Self::Hll(other)) => mine.merge(other),
            (Self::Digest(mine), Self::Digest(other)) => mine.merge(other),
            (Self::Schema(mine), Self::Schema(other)) => mine.merge(other),
            _ => {}
        }
    }

    fn write(&mut self, out: &mut String) {
        match self {
            Self::Hll(hll) => hll.write(out),
            Self::Digest(digest) => digest.write(out),
            Self::Schema(shape) => shape.write(out),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Hll(hll) => hll.size(),
            Self::Digest(digest) => digest.size(),
            Self::Schema(shape) => shape.size(),
        }
    }
}

struct Summaries {
    plan: Sketched,
    /// The type of the weights, if there are any.
    weights: Option<ColumnType>,
    groups: Vec<Option<State>>,
    /// What the summaries hold.
    bytes: usize,
}

impl Summaries {
    fn merge(&mut self, group: usize, other: State) {
        match &mut self.groups[group] {
            Some(state) => {
                let before = state.size();
                state.merge(&other);
                self.bytes = (self.bytes + state.size()).saturating_sub(before);
            }
            empty => {
                self.bytes += other.size();
                *empty = Some(other);
            }
        }
    }

    /// The first groups' summaries; none where nothing was added.
    fn emit(&mut self, emit_to: EmitTo) -> Vec<Option<String>> {
        let count = emitted(emit_to, self.groups.len());
        let written = self.groups.drain(..count).map(|state| {
            let mut state = state?;
            let mut text = String::new();
            self.bytes = self.bytes.saturating_sub(state.size());
            state.write(&mut text);
            Some(text)
        });
        written.collect()
    }

    fn update(&mut self, values: &Values, weights: Option<&Values>, row: usize, group: usize, scratch: &mut (Vec<u8>, String)) {
        let sketch = self.plan.sketch;
        if values.is_null(row) {
            return;
        }
        if matches!(sketch, Sketch::HllMerge | Sketch::DigestMerge) {
            scratch.1.clear();
            values.write_json(row, &mut scratch.1);
            if let Some(other) = State::read(sketch, &scratch.1) {
                self.merge(group, other);
            }
            return;
        }
        let kind = self.plan.kind;
        let state = self.groups[group].get_or_insert_with(|| match sketch {
            Sketch::Hll(precision) => State::Hll(Hll::new(precision)),
            Sketch::Schema => State::Schema(Shape::default()),
            _ => State::Digest(Digest::new(Measure::of(kind))),
        });
        let before = state.size();
        match state {
            State::Hll(hll) => {
                bytes_of(values, row, &mut scratch.0, &mut scratch.1);
                hll.add(xxhash_rust::xxh64::xxh64(&scratch.0, 0));
            }
            State::Digest(digest) => {
                let weight = weights.map_or(Some(1.0), |weights| measured(weights, row));
                if let Some((value, weight)) = measured(values, row).zip(weight) {
                    digest.add(value, weight);
                }
            }
            State::Schema(shape) => {
                scratch.1.clear();
                values.write_json(row, &mut scratch.1);
                shape.admit(&scratch.1, 0);
            }
        }
        self.bytes = (self.bytes + state.size()).saturating_sub(before);
    }
}

impl GroupsAccumulator for Summaries {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        self.groups.resize_with(total, || None);
        let weights = match (self.weights, values.get(1)) {
            (Some(kind), Some(array)) => Some(values_of(array, kind)?),
            _ => None,
        };
        let values = values_of(&values[0], self.plan.kind)?;
        let mut scratch = (Vec::new(), String::new());
        for (row, &group) in groups.iter().enumerate().filter(|(row, _)| passes(filter, *row)) {
            self.update(&values, weights.as_ref(), row, group, &mut scratch);
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(Arc::new(self.emit(emit_to).into_iter().collect::<StringViewArray>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(self.emit(emit_to).into_iter().collect::<LargeStringArray>())])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.groups.resize_with(total, || None);
        let texts = arrow::array::cast::as_largestring_array(&values[0]);
        for (row, &group) in groups.iter().enumerate().filter(|(row, _)| texts.is_valid(*row)) {
            if let Some(other) = State::read(self.plan.sketch, texts.value(row)) {
                self.merge(group, other);
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values[0].len();
        let groups: Vec<usize> = (0..rows).collect();
        let mut fresh = Self { plan: self.plan.clone(), weights: self.weights, groups: Vec::new(), bytes: 0 };
        fresh.update_batch(values, &groups, filter, rows)?;
        fresh.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.bytes + self.groups.capacity() * size_of::<Option<State>>()
    }
}
