//! `arg_max`, `arg_min` and `take_any`: whole rows chosen by one value.
//!
//! For each group the best row so far is kept as a place in retained batches, which hold nothing but best rows; when most of
//! those have been beaten the batches are packed anew. All values of a result come from one row.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StructArray, UInt32Array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{cast, interleave, take};
use arrow::datatypes::{DataType, Field, Fields, Float64Type, Int64Type, TimeUnit};
use arrow::row::{RowConverter, SortField};
use datafusion::common::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use strongroom_model::ColumnType;

use super::groups::{Plan, emitted, passes};

/// Which row wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wins {
    /// The greatest first argument; of equals the first row.
    Greatest,
    /// The least first argument; of equals the first row.
    Least,
    /// Any; rather one whose first argument is neither null nor `""`.
    Any,
}

/// `arg_max` and its kin: gives a struct of all arguments, by number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Extreme {
    pub(super) wins: Wins,
}

fn fields(args: &[DataType]) -> Fields {
    args.iter().enumerate().map(|(index, kind)| Field::new(index.to_string(), kind.clone(), true)).collect()
}

impl Plan for Extreme {
    fn name(&self) -> &'static str {
        match self.wins {
            Wins::Greatest => "arg_max",
            Wins::Least => "arg_min",
            Wins::Any => "take_any",
        }
    }

    fn gives(&self, args: &[DataType]) -> DataType {
        DataType::Struct(fields(args))
    }

    fn state(&self, args: &[DataType]) -> Vec<DataType> {
        args.iter().cloned().chain([DataType::Boolean]).collect()
    }

    fn groups(&self, args: &[DataType], _: &[ColumnType]) -> Result<Box<dyn GroupsAccumulator>> {
        let words = !is_wide(&args[0]);
        let converter = if words { Some(RowConverter::new(vec![SortField::new(args[0].clone())])?) } else { None };
        let nulls = args.iter().map(|kind| new_null_array(kind, 1)).collect();
        Ok(Box::new(Rows {
            wins: self.wins,
            args: args.to_vec(),
            converter,
            best: Vec::new(),
            keys: Vec::new(),
            batches: vec![nulls],
            retained: 1,
        }))
    }
}

/// Whether values of the type are compared as 64-bit numbers.
fn is_wide(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Int64
            | DataType::Int32
            | DataType::Boolean
            | DataType::Float64
            | DataType::Timestamp(TimeUnit::Nanosecond, _)
            | DataType::Duration(TimeUnit::Nanosecond)
    )
}

/// What rows are compared by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// No row yet.
    None,
    /// A row that only counts if there is no better.
    Poor,
    Wide(i64),
    Words(Box<[u8]>),
}

/// The state of all groups.
struct Rows {
    wins: Wins,
    args: Vec<DataType>,
    converter: Option<RowConverter>,
    /// For each group: batch and row of its best row. (0, 0) is a row of nulls.
    best: Vec<(usize, usize)>,
    keys: Vec<Key>,
    batches: Vec<Vec<ArrayRef>>,
    /// Rows in all batches.
    retained: usize,
}

/// 64 bits that order as the reals do; a NaN wins whatever is looked for.
fn ordered(value: f64, wins: Wins) -> i64 {
    if value.is_nan() {
        return if wins == Wins::Least { i64::MIN } else { i64::MAX };
    }
    let bits = value.to_bits().cast_signed();
    bits ^ (((bits >> 63).cast_unsigned()) >> 1).cast_signed()
}

fn wide_keys(array: &ArrayRef, wins: Wins) -> Result<Vec<i64>> {
    Ok(match array.data_type() {
        DataType::Float64 => array.as_primitive::<Float64Type>().values().iter().map(|v| ordered(*v, wins)).collect(),
        _ => cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().values().to_vec(),
    })
}

impl Rows {
    /// Takes in rows: the arguments' columns; `counts` tells which rows count.
    fn take_in(&mut self, values: &[ArrayRef], groups: &[usize], total: usize, counts: impl Fn(usize) -> bool) -> Result<()> {
        self.best.resize(total, (0, 0));
        self.keys.resize(total, Key::None);
        let first = &values[0];
        let rows = match &self.converter {
            Some(converter) if self.wins != Wins::Any => Some(converter.convert_columns(std::slice::from_ref(first))?),
            _ => None,
        };
        let wide = if rows.is_none() && self.wins != Wins::Any { wide_keys(first, self.wins)? } else { Vec::new() };
        let batch = self.batches.len();
        let mut improved = Vec::new();
        for (row, &group) in groups.iter().enumerate().filter(|(row, _)| counts(*row)) {
            let best = &mut self.keys[group];
            let key = match self.wins {
                Wins::Any => {
                    if *best > Key::Poor {
                        continue;
                    }
                    if is_poor(first, row) { Key::Poor } else { Key::Wide(0) }
                }
                // A null never wins.
                _ if first.is_null(row) => continue,
                wins => {
                    let wanted = if wins == Wins::Greatest { Ordering::Greater } else { Ordering::Less };
                    match (&rows, &*best) {
                        (Some(rows), Key::Words(best)) if rows.row(row).data().cmp(best) != wanted => continue,
                        (None, Key::Wide(best)) if wide[row].cmp(best) != wanted => continue,
                        (Some(rows), _) => Key::Words(rows.row(row).data().into()),
                        (None, _) => Key::Wide(wide[row]),
                    }
                }
            };
            if *best == key && key == Key::Poor {
                continue;
            }
            *best = key;
            if self.best[group].0 != batch {
                improved.push(group);
            }
            self.best[group] = (batch, row);
        }
        self.retain(values, &improved)
    }

    /// Keeps the best rows of a batch: of the groups that improved in it.
    fn retain(&mut self, values: &[ArrayRef], improved: &[usize]) -> Result<()> {
        if improved.is_empty() {
            return Ok(());
        }
        let batch = self.batches.len();
        let rows: UInt32Array = improved.iter().map(|group| u32::try_from(self.best[*group].1).ok()).collect();
        self.batches.push(values.iter().map(|array| take(array, &rows, None)).collect::<Result<_, _>>()?);
        for (row, group) in improved.iter().enumerate() {
            self.best[*group] = (batch, row);
        }
        self.retained += improved.len();
        // Beaten rows go once they are the majority.
        if self.retained > 2 * self.best.len() + 8_192 || self.batches.len() > 1_024 {
            self.pack()?;
        }
        Ok(())
    }

    fn pack(&mut self) -> Result<()> {
        let packed = self.columns(&self.best)?;
        let nulls = self.batches.swap_remove(0);
        self.retained = 1 + self.best.len();
        self.batches = vec![nulls, packed];
        for (row, (best, key)) in self.best.iter_mut().zip(&self.keys).enumerate() {
            *best = if *key == Key::None { (0, 0) } else { (1, row) };
        }
        Ok(())
    }

    /// The columns of rows at those places.
    fn columns(&self, places: &[(usize, usize)]) -> Result<Vec<ArrayRef>> {
        let column = |index: usize| {
            if places.is_empty() {
                return Ok(arrow::array::new_empty_array(&self.args[index]));
            }
            let arrays: Vec<&dyn Array> = self.batches.iter().map(|batch| batch[index].as_ref()).collect();
            Ok(interleave(&arrays, places)?)
        };
        (0..self.args.len()).map(column).collect()
    }

    /// The first groups' columns and which of them have a row.
    fn emit(&mut self, emit_to: EmitTo) -> Result<(Vec<ArrayRef>, Vec<bool>)> {
        let count = emitted(emit_to, self.best.len());
        let columns = self.columns(&self.best[..count])?;
        let has = self.keys[..count].iter().map(|key| *key != Key::None).collect();
        self.best.drain(..count);
        self.keys.drain(..count);
        if self.best.is_empty() {
            self.batches.truncate(1);
            self.retained = 1;
        }
        Ok((columns, has))
    }
}

/// Null or `""`.
fn is_poor(array: &ArrayRef, row: usize) -> bool {
    array.is_null(row) || array.as_string_view_opt().is_some_and(|texts| texts.value(row).is_empty())
}

impl GroupsAccumulator for Rows {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        self.take_in(values, groups, total, |row| passes(filter, row))
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (columns, has) = self.emit(emit_to)?;
        Ok(Arc::new(StructArray::try_new_with_length(fields(&self.args), columns, None::<NullBuffer>, has.len())?))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (mut columns, has) = self.emit(emit_to)?;
        columns.push(Arc::new(BooleanArray::from(has)));
        Ok(columns)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        let (has, columns) = values.split_last().expect("the state ends with a flag");
        let has = has.as_boolean();
        self.take_in(columns, groups, total, |row| has.is_valid(row) && has.value(row))
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values[0].len();
        let mut state = values.to_vec();
        let wins = |row: usize| passes(filter, row) && (self.wins == Wins::Any || values[0].is_valid(row));
        state.push(Arc::new((0..rows).map(|row| Some(wins(row))).collect::<BooleanArray>()));
        Ok(state)
    }

    fn size(&self) -> usize {
        let arrays: usize = self.batches.iter().flatten().map(Array::get_array_memory_size).sum();
        let words: usize = self.keys.iter().map(|key| if let Key::Words(bytes) = key { bytes.len() } else { 0 }).sum();
        arrays + words + self.best.capacity() * size_of::<(usize, usize)>() + self.keys.capacity() * size_of::<Key>()
    }
}
