//! What a block's columns hold, gathered while it is written.

use arrow::array::{Array, ArrayAccessor, ArrayIter, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{max, max_boolean, min, min_boolean};
use arrow::datatypes::{DurationNanosecondType, Float64Type, Int32Type, Int64Type, TimestampNanosecondType};
use arrow_schema::Schema;
use strongroom_model::{BlockStats, ColumnStats, ColumnType, StatValue, TIME_COLUMN, TimeRange};

use super::counts::CountsBuilder;
use crate::IngestError;

/// Bytes of a text's least and greatest value that are kept.
pub(super) const TEXT_BYTES_MAX: usize = 64;

/// Gathers [`BlockStats`] batch by batch.
#[derive(Debug)]
pub struct StatsBuilder {
    stats: BlockStats,
    /// A value that no bound can be given for was met: these columns stay without.
    unbounded: Vec<bool>,
    counts: CountsBuilder,
}

impl StatsBuilder {
    /// For batches of this schema.
    ///
    /// # Errors
    /// [`IngestError::Internal`] if a column has a type no table has.
    pub fn new(schema: &Schema) -> Result<Self, IngestError> {
        let columns = schema
            .fields()
            .iter()
            .map(|field| {
                let kind = ColumnType::of_field(field).ok_or(IngestError::Internal { what: "a column's type", source: None })?;
                Ok(ColumnStats { name: field.name().clone(), kind, min: None, max: None, nulls: 0 })
            })
            .collect::<Result<Vec<_>, IngestError>>()?;
        Ok(Self {
            unbounded: vec![false; columns.len()],
            counts: CountsBuilder::new(&columns),
            stats: BlockStats { rows: 0, columns, counts: None },
        })
    }

    /// Takes the rows of one batch into account.
    pub fn update(&mut self, batch: &RecordBatch) {
        self.stats.rows += batch.num_rows() as u64;
        self.counts.update(batch);
        for ((column, values), unbounded) in self.stats.columns.iter_mut().zip(batch.columns()).zip(&mut self.unbounded) {
            column.nulls += values.null_count() as u64;
            if *unbounded || values.null_count() == values.len() {
                continue;
            }
            let bounds = bounds(values, column.kind);
            *unbounded = bounds.is_none();
            let Some((low, high)) = bounds else {
                (column.min, column.max) = (None, None);
                continue;
            };
            if column.min.as_ref().is_none_or(|min| less(&low, min)) {
                column.min = Some(low);
            }
            if column.max.as_ref().is_none_or(|max| less(max, &high)) {
                column.max = Some(high);
            }
        }
    }

    /// The statistics, and the range of `TimeGenerated`.
    #[must_use]
    pub fn finish(mut self) -> (BlockStats, TimeRange) {
        self.stats.counts = self.counts.finish();
        for column in &mut self.stats.columns {
            column.min = column.min.take().map(cut_low);
            column.max = column.max.take().and_then(cut_high);
        }
        let time = self.stats.columns.iter().find(|column| column.name == TIME_COLUMN);
        let range = match time.map(|column| (&column.min, &column.max)) {
            Some((Some(StatValue::Nanos(start)), Some(StatValue::Nanos(end)))) => TimeRange { start: *start, end: *end },
            _ => TimeRange { start: 0, end: 0 },
        };
        (self.stats, range)
    }
}

/// Least and greatest value; `None` if there is no telling.
fn bounds(values: &ArrayRef, kind: ColumnType) -> Option<(StatValue, StatValue)> {
    let both = |low: Option<StatValue>, high: Option<StatValue>| Some((low?, high?));
    match kind {
        ColumnType::Bool => {
            both(min_boolean(values.as_boolean()).map(StatValue::Bool), max_boolean(values.as_boolean()).map(StatValue::Bool))
        }
        ColumnType::Int => {
            let values = values.as_primitive_opt::<Int32Type>()?;
            both(min(values).map(|n| StatValue::Long(n.into())), max(values).map(|n| StatValue::Long(n.into())))
        }
        ColumnType::Long => {
            let values = values.as_primitive_opt::<Int64Type>()?;
            both(min(values).map(StatValue::Long), max(values).map(StatValue::Long))
        }
        ColumnType::Real => {
            let values = values.as_primitive_opt::<Float64Type>()?;
            let finite = |x: Option<f64>| x.filter(|x| x.is_finite()).map(StatValue::Real);
            both(finite(min(values)), finite(max(values)))
        }
        ColumnType::DateTime => {
            let values = values.as_primitive_opt::<TimestampNanosecondType>()?;
            both(min(values).map(StatValue::Nanos), max(values).map(StatValue::Nanos))
        }
        ColumnType::TimeSpan => {
            let values = values.as_primitive_opt::<DurationNanosecondType>()?;
            both(min(values).map(StatValue::Nanos), max(values).map(StatValue::Nanos))
        }
        ColumnType::String | ColumnType::Guid => {
            let found = match values.as_string_view_opt() {
                Some(values) => text_bounds(values),
                None => text_bounds(values.as_string_opt::<i32>()?),
            };
            found.map(|(low, high)| (StatValue::Text(low.to_owned()), StatValue::Text(high.to_owned())))
        }
        // The order of JSON texts says nothing of their values.
        ColumnType::Dynamic | ColumnType::Decimal => None,
    }
}

/// Least and greatest text in one pass. Texts are told apart by their first eight bytes, which needs no call; only those
/// that tie with a bound are compared whole.
fn text_bounds<'a>(values: impl ArrayAccessor<Item = &'a str>) -> Option<(&'a str, &'a str)> {
    let mut texts = ArrayIter::new(values).flatten().map(|text| (head(text), text));
    let first = texts.next()?;
    let (mut low, mut high) = (first, first);
    for (head, text) in texts {
        if head <= low.0 && (head < low.0 || text < low.1) {
            low = (head, text);
        }
        if head >= high.0 && (head > high.0 || text > high.1) {
            high = (head, text);
        }
    }
    Some((low.1, high.1))
}

/// The first eight bytes, as a number of the same order; what is missing is zero.
fn head(text: &str) -> u64 {
    if let Some(head) = text.as_bytes().first_chunk() {
        return u64::from_be_bytes(*head);
    }
    let mut head = [0; 8];
    head[..text.len()].copy_from_slice(text.as_bytes());
    u64::from_be_bytes(head)
}

fn less(a: &StatValue, b: &StatValue) -> bool {
    match (a, b) {
        (StatValue::Bool(a), StatValue::Bool(b)) => a < b,
        (StatValue::Long(a), StatValue::Long(b)) | (StatValue::Nanos(a), StatValue::Nanos(b)) => a < b,
        (StatValue::Real(a), StatValue::Real(b)) => a < b,
        (StatValue::Text(a), StatValue::Text(b)) => a < b,
        _ => false,
    }
}

fn cut(text: &str) -> &str {
    let mut end = TEXT_BYTES_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A lower bound stays one when it is cut short.
fn cut_low(value: StatValue) -> StatValue {
    match value {
        StatValue::Text(text) if text.len() > TEXT_BYTES_MAX => StatValue::Text(cut(&text).to_owned()),
        other => other,
    }
}

/// An upper bound cut short is raised: its last character that can be becomes the next one.
fn cut_high(value: StatValue) -> Option<StatValue> {
    let StatValue::Text(text) = value else { return Some(value) };
    if text.len() <= TEXT_BYTES_MAX {
        return Some(StatValue::Text(text));
    }
    let mut kept = cut(&text).to_owned();
    while let Some(last) = kept.pop() {
        // The next code point, past the surrogates; it may take one byte more.
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            char::MAX => None,
            other => char::from_u32(other as u32 + 1),
        };
        if let Some(next) = next {
            kept.push(next);
            return Some(StatValue::Text(kept));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, StringArray, StringViewArray};
    use proptest::prelude::*;

    use super::*;

    fn text_bounds(texts: &[&str]) -> (Option<StatValue>, Option<StatValue>) {
        let field = ColumnType::String.storage_field("a");
        let schema = Arc::new(Schema::new(vec![field]));
        let mut builder = StatsBuilder::new(&schema).unwrap();
        for text in texts {
            builder.update(&RecordBatch::try_new(schema.clone(), vec![Arc::new(StringArray::from(vec![*text]))]).unwrap());
        }
        let (mut stats, _) = builder.finish();
        let column = stats.columns.remove(0);
        (column.min, column.max)
    }

    #[test]
    fn long_texts_are_cut_so_that_the_bounds_still_hold() {
        let text = |text: &str| Some(StatValue::Text(text.to_owned()));
        assert_eq!(text_bounds(&["b", "a", "c"]), (text("a"), text("c")));
        let long = format!("{}xyz", "é".repeat(32));
        assert_eq!(text_bounds(&[&long]), (text(&"é".repeat(32)), text(&format!("{}ê", "é".repeat(31)))));
        let highest = char::MAX.to_string().repeat(17);
        assert_eq!(text_bounds(&[&highest]).1, None);
    }

    proptest! {
        #[test]
        fn the_bounds_of_texts_are_those_of_their_order(texts in proptest::collection::vec("[a-c\\u{0}é]{0,12}", 1..40)) {
            let expected = texts.iter().map(String::as_str).min().zip(texts.iter().map(String::as_str).max());
            let array: StringArray = texts.iter().map(Some).chain([None]).collect();
            prop_assert_eq!(super::text_bounds(&array), expected);
            let views = StringViewArray::from(&array);
            prop_assert_eq!(super::text_bounds(&views), expected);
        }
    }

    #[test]
    fn a_column_with_an_infinite_value_has_no_bounds_from_then_on() {
        let schema = Arc::new(Schema::new(vec![ColumnType::Real.storage_field("a")]));
        let mut builder = StatsBuilder::new(&schema).unwrap();
        for x in [1.0, f64::INFINITY, 2.0] {
            builder.update(&RecordBatch::try_new(schema.clone(), vec![Arc::new(Float64Array::from(vec![x]))]).unwrap());
        }
        let (stats, _) = builder.finish();
        assert_eq!((stats.rows, stats.columns[0].min.clone(), stats.columns[0].max.clone()), (3, None, None));
    }
}
