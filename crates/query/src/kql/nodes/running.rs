//! Functions over rows in order: what each remembers from row to row.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Int64Array, PrimitiveArray, PrimitiveBuilder, TimestampNanosecondArray,
};
use arrow::compute::concat;
use arrow::compute::kernels::cmp::distinct;
use arrow::datatypes::{DataType, Decimal128Type, DurationNanosecondType, Float64Type, Int32Type, Int64Type, TimestampNanosecondType};
use datafusion::error::Result;

use crate::run::array_size;

/// A function over rows in order. What it takes stands behind it; a restart is always the last and may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::kql) enum Running {
    /// `row_number(start, restart)`: restart.
    Number {
        /// The first row's.
        start: i64,
    },
    /// `prev(value, by, default)`: value, default.
    Before {
        /// How many rows.
        by: usize,
    },
    /// `next(value, by, default)`: value, default.
    After {
        /// How many rows.
        by: usize,
    },
    /// `row_cumsum(value, restart)`
    Sum,
    /// `row_rank_dense(value, restart)`
    RankDense,
    /// `row_rank_min(value, restart)`
    RankMin,
    /// `row_window_session(time, longest, gap, restart)`
    Session,
}

impl Running {
    /// How many rows beyond its own it must see.
    pub(super) const fn ahead(&self) -> usize {
        match self {
            Self::After { by } => *by,
            _ => 0,
        }
    }

    pub(super) fn memory(&self) -> Memory {
        match self {
            Self::Number { start } => Memory::Number { start: *start, next: *start },
            Self::Before { by } => Memory::Before { by: *by, tail: None },
            Self::After { by } => Memory::After { by: *by, rows: None },
            Self::Sum => Memory::Sum { whole: 0, real: 0.0 },
            Self::RankDense => Memory::Rank { dense: true, last: None, rank: 0, row: 0 },
            Self::RankMin => Memory::Rank { dense: false, last: None, rank: 0, row: 0 },
            Self::Session => Memory::Session { start: None, last: None },
        }
    }
}

/// What a function remembers.
#[derive(Debug)]
pub(super) enum Memory {
    Number {
        start: i64,
        next: i64,
    },
    /// The last values, at most `by`.
    Before {
        by: usize,
        tail: Option<ArrayRef>,
    },
    /// Values from the first row that is not answered yet.
    After {
        by: usize,
        rows: Option<ArrayRef>,
    },
    Sum {
        whole: i128,
        real: f64,
    },
    Rank {
        dense: bool,
        last: Option<ArrayRef>,
        rank: i64,
        row: i64,
    },
    Session {
        start: Option<i64>,
        last: Option<i64>,
    },
}

impl Memory {
    /// Bytes held beyond a few.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Before { tail: held, .. } | Self::After { rows: held, .. } | Self::Rank { last: held, .. } => {
                held.as_ref().map_or(0, |held| usize::try_from(array_size(held)).unwrap_or(usize::MAX))
            }
            _ => 0,
        }
    }

    /// The next rows' arguments; their results unless those depend on rows to come.
    pub(super) fn push(&mut self, arguments: &[ArrayRef], rows: usize) -> Result<Option<ArrayRef>> {
        Ok(Some(match self {
            Self::Number { start, next } => {
                let restart = restart(arguments.first());
                let numbers = (0..rows).map(|row| {
                    if restarts(restart, row) {
                        *next = *start;
                    }
                    let number = *next;
                    *next = next.wrapping_add(1);
                    number
                });
                Arc::new(Int64Array::from_iter_values(numbers))
            }
            Self::Before { by, tail } => before(*by, tail, &arguments[0], &arguments[1])?,
            Self::After { rows: held, .. } => {
                *held = Some(match held.take() {
                    Some(held) => concat(&[held.as_ref(), arguments[0].as_ref()])?,
                    None => Arc::clone(&arguments[0]),
                });
                return Ok(None);
            }
            Self::Sum { whole, real } => sum(whole, real, &arguments[0], restart(arguments.get(1))),
            Self::Rank { dense, last, rank, row } => {
                let values = &arguments[0];
                let restart = restart(arguments.get(1));
                let first = last.is_none();
                let joined = match last.take() {
                    Some(last) => concat(&[last.as_ref(), values.as_ref()])?,
                    None => concat(&[values.slice(0, 1.min(rows)).as_ref(), values.as_ref()])?,
                };
                let changed = distinct(&joined.slice(1, rows), &joined.slice(0, rows))?;
                let ranks = (0..rows).map(|at| {
                    if restarts(restart, at) || (first && at == 0) {
                        (*rank, *row) = (1, 1);
                    } else {
                        *row += 1;
                        if changed.value(at) {
                            *rank = if *dense { *rank + 1 } else { *row };
                        }
                    }
                    *rank
                });
                let ranks: ArrayRef = Arc::new(Int64Array::from_iter_values(ranks));
                *last = (rows > 0).then(|| owned(values.slice(rows - 1, 1)));
                ranks
            }
            Self::Session { start, last } => session(start, last, arguments),
        }))
    }

    /// The results of the oldest rows that have none yet; `default` is theirs.
    pub(super) fn pull(&mut self, default: &ArrayRef) -> Result<ArrayRef> {
        let rows = default.len();
        let Self::After { by, rows: held } = self else { return Ok(Arc::clone(default)) };
        let Some(all) = held.take() else { return Ok(Arc::clone(default)) };
        let from = (*by).min(all.len());
        let there = (all.len() - from).min(rows);
        let found = all.slice(from, there);
        let result = if there == rows { found } else { concat(&[found.as_ref(), default.slice(there, rows - there).as_ref()])? };
        *held = Some(owned(all.slice(rows.min(all.len()), all.len().saturating_sub(rows))));
        Ok(result)
    }
}

/// Without the texts of rows that are gone: joined views would collect them for ever.
fn owned(values: ArrayRef) -> ArrayRef {
    match values.as_string_view_opt() {
        Some(views) => Arc::new(views.gc()),
        None => values,
    }
}

fn restart(argument: Option<&ArrayRef>) -> Option<&BooleanArray> {
    argument.map(AsArray::as_boolean)
}

fn restarts(flags: Option<&BooleanArray>, row: usize) -> bool {
    flags.is_some_and(|flags| flags.is_valid(row) && flags.value(row))
}

fn before(by: usize, tail: &mut Option<ArrayRef>, values: &ArrayRef, default: &ArrayRef) -> Result<ArrayRef> {
    let rows = values.len();
    let joined = match tail.take() {
        Some(tail) => concat(&[tail.as_ref(), values.as_ref()])?,
        None => Arc::clone(values),
    };
    let known = joined.len() - rows;
    // Rows that have nothing so far before them.
    let without = (by - known).min(rows);
    let found = joined.slice(0, rows - without);
    let keep = joined.len().min(by);
    *tail = Some(owned(joined.slice(joined.len() - keep, keep)));
    Ok(if without == 0 { found } else { concat(&[default.slice(0, without).as_ref(), found.as_ref()])? })
}

/// Sums wrap as all of KQL's whole numbers do; what is null adds nothing.
fn sum(whole: &mut i128, real: &mut f64, values: &ArrayRef, restart: Option<&BooleanArray>) -> ArrayRef {
    fn run<T: ArrowPrimitiveType, S: Copy>(
        values: &PrimitiveArray<T>,
        restart: Option<&BooleanArray>,
        state: &mut S,
        zero: S,
        add: impl Fn(S, T::Native) -> S,
        shown: impl Fn(S) -> T::Native,
    ) -> ArrayRef {
        let mut out = PrimitiveBuilder::<T>::with_capacity(values.len()).with_data_type(values.data_type().clone());
        for row in 0..values.len() {
            if restarts(restart, row) {
                *state = zero;
            }
            if values.is_valid(row) {
                *state = add(*state, values.value(row));
            }
            out.append_value(shown(*state));
        }
        Arc::new(out.finish())
    }
    #[expect(clippy::cast_possible_truncation, reason = "that is how sums wrap")]
    match values.data_type() {
        DataType::Int32 => {
            run::<Int32Type, _>(values.as_primitive(), restart, whole, 0, |sum, x| sum.wrapping_add(x.into()), |sum| sum as i32)
        }
        DataType::Int64 => {
            run::<Int64Type, _>(values.as_primitive(), restart, whole, 0, |sum, x| sum.wrapping_add(x.into()), |sum| sum as i64)
        }
        DataType::Duration(_) => run::<DurationNanosecondType, _>(
            values.as_primitive(),
            restart,
            whole,
            0,
            |sum, x| sum.wrapping_add(x.into()),
            |sum| sum as i64,
        ),
        DataType::Decimal128(..) => run::<Decimal128Type, _>(values.as_primitive(), restart, whole, 0, i128::wrapping_add, |sum| sum),
        _ => run::<Float64Type, _>(values.as_primitive(), restart, real, 0.0, |sum, x| sum + x, |sum| sum),
    }
}

/// A session starts where the last one was null, where it would grow too long, after too wide a gap, and where it is told to.
fn session(start: &mut Option<i64>, last: &mut Option<i64>, arguments: &[ArrayRef]) -> ArrayRef {
    let times = arguments[0].as_primitive::<TimestampNanosecondType>();
    let [longest, gap] = [1, 2].map(|at| arguments[at].as_primitive::<DurationNanosecondType>());
    let restart = restart(arguments.get(3));
    let reached = |from: Option<i64>, by: &PrimitiveArray<DurationNanosecondType>, row: usize, now: i64| {
        from.is_none_or(|from| by.is_valid(row) && now.saturating_sub(from) >= by.value(row))
    };
    let starts = (0..times.len()).map(|row| {
        let now = times.is_valid(row).then(|| times.value(row));
        *start = now.map(|now| {
            let fresh = restarts(restart, row) || reached(*start, longest, row, now) || reached(*last, gap, row, now);
            start.filter(|_| !fresh).unwrap_or(now)
        });
        *last = now;
        *start
    });
    let starts: TimestampNanosecondArray = starts.collect();
    Arc::new(starts.with_timezone("UTC"))
}
