//! Frozen rows sorted into the windows their blocks lie in.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::TimestampNanosecondType;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use strongroom_buffer::conform;
use strongroom_model::{ColumnType, TIME_COLUMN, Window};

use super::columns::SAMPLE_ROWS;
use super::{BlockWriter, Encoded, Profile, text_len};
use crate::IngestError;

/// The rows of one block to be: not moved yet, their order is known.
#[derive(Clone, Debug)]
pub struct Arranged {
    /// The window they all lie in.
    pub window: Window,
    /// When the oldest of them arrived, nanoseconds since 1970.
    pub arrival: i64,
    /// Columns that have a value in some of them.
    schema: SchemaRef,
    /// What came, in these columns; long texts as views.
    batches: Vec<RecordBatch>,
    /// The rows, newest first.
    places: Vec<Place>,
}

impl Arranged {
    /// How many rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.places.len()
    }

    /// All rows in one batch.
    ///
    /// # Errors
    /// [`IngestError::Internal`].
    pub fn batch(&self) -> Result<RecordBatch, IngestError> {
        self.part(0, self.places.len())
    }

    /// Writes the rows as a Parquet file in memory.
    ///
    /// # Errors
    /// [`IngestError::Internal`] if the writer refuses them.
    pub fn encode(&self, profile: Profile) -> Result<Encoded, IngestError> {
        let rows = self.places.len();
        let sample = self.part(rows.saturating_sub(SAMPLE_ROWS) / 2, SAMPLE_ROWS)?;
        let mut writer = BlockWriter::new(self.schema.clone(), profile, &sample)?;
        drop(sample);
        for start in (0..rows).step_by(PART_ROWS) {
            writer.write(&self.part(start, PART_ROWS)?)?;
        }
        writer.finish()
    }

    /// Some rows, put together from the batches that they lie in.
    fn part(&self, start: usize, rows: usize) -> Result<RecordBatch, IngestError> {
        let places = &self.places[start..self.places.len().min(start + rows)];
        let (mut used, mut at) = (Vec::new(), vec![usize::MAX; self.batches.len()]);
        let mut from = Vec::with_capacity(places.len());
        for place in places {
            let at = &mut at[place.batch as usize];
            if *at == usize::MAX {
                *at = used.len();
                used.push(&self.batches[place.batch as usize]);
            }
            from.push((*at, place.row as usize));
        }
        interleave_record_batch(&used, &from).map_err(|error| IngestError::internal("arranging rows", error))
    }
}

/// One row's place, with what it is sorted by.
#[derive(Clone, Copy, Debug)]
struct Place {
    time: i64,
    batch: u32,
    row: u32,
}

struct Group {
    arrival: i64,
    places: Vec<Place>,
}

/// The columns of all of these together, in the order they first come; a column that is long in one and real in another is real.
///
/// # Errors
/// [`IngestError::Internal`] if two types of a column do not go together (one lineage never has that).
pub fn union_schema<'a>(schemas: impl IntoIterator<Item = &'a SchemaRef>) -> Result<SchemaRef, IngestError> {
    let mut fields: Vec<Arc<Field>> = Vec::new();
    let mut places: hashbrown::HashMap<String, usize> = hashbrown::HashMap::new();
    let mut last: Option<&SchemaRef> = None;
    for schema in schemas {
        if last.is_some_and(|last| Arc::ptr_eq(last, schema)) {
            continue;
        }
        last = Some(schema);
        for field in schema.fields() {
            let Some(&at) = places.get(field.name()) else {
                places.insert(field.name().clone(), fields.len());
                fields.push(field.clone());
                continue;
            };
            let kinds = (ColumnType::of_field(&fields[at]), ColumnType::of_field(field));
            match kinds {
                (Some(a), Some(b)) if a == b => {}
                (Some(ColumnType::Long), Some(ColumnType::Real)) => fields[at] = field.clone(),
                (Some(ColumnType::Real), Some(ColumnType::Long)) => {}
                _ => return Err(IngestError::Internal { what: "putting columns of different types together", source: None }),
            }
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// Texts of more bytes than this, the size of a view, are pointed to.
const VIEW_BYTES: usize = 16;
/// Rows put together at a time: what they take stays in the processor's cache.
const PART_ROWS: usize = 8_192;

/// Splits rows (each batch with its arrival, oldest first) by window and sorts each window newest first; of rows of the
/// same time the one that came last is first. Rows that came in order cost one pass, and long texts are not copied.
///
/// # Errors
/// [`IngestError::Internal`] if batches do not go together.
pub fn arrange(rows: &[(i64, RecordBatch)]) -> Result<Vec<Arranged>, IngestError> {
    let wrong = |error| IngestError::internal("arranging rows", error);
    let schemas: Vec<SchemaRef> = rows.iter().map(|(_, batch)| batch.schema()).collect();
    let schema = union_schema(&schemas)?;
    let long = |field: &Field| is_long(field, rows.iter().map(|(_, batch)| batch));
    let schema = as_views(&schema, long);
    let batches = rows.iter().map(|(_, batch)| conform(batch, &schema)).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    let mut groups: BTreeMap<Window, Group> = BTreeMap::new();
    for (at, ((arrival, _), batch)) in rows.iter().zip(&batches).enumerate().rev() {
        let times = batch
            .column_by_name(TIME_COLUMN)
            .and_then(|times| times.as_primitive_opt::<TimestampNanosecondType>())
            .ok_or(IngestError::Internal { what: "finding the rows' times", source: None })?;
        let batch = narrow(at)?;
        for row in (0..times.len()).rev() {
            let time = times.value(row);
            let group = groups.entry(Window::of(time, *arrival)).or_insert_with(|| Group { arrival: *arrival, places: Vec::new() });
            group.arrival = group.arrival.min(*arrival);
            group.places.push(Place { time, batch, row: narrow(row)? });
        }
    }
    groups.into_iter().map(|(window, group)| gather(window, group, &batches).map_err(wrong)).collect()
}

/// Whether a text column is worth views: a short text is copied as fast as pointed to.
fn is_long<'a>(field: &Field, batches: impl Iterator<Item = &'a RecordBatch>) -> bool {
    let (bytes, rows) = batches
        .filter_map(|batch| batch.column_by_name(field.name()))
        .fold((0, 0), |(bytes, rows), values| (bytes + text_len(values), rows + values.len() - values.null_count()));
    bytes > rows * VIEW_BYTES
}

/// The same columns, the texts that are asked for as views.
pub(super) fn as_views(schema: &Schema, wanted: impl Fn(&Field) -> bool) -> SchemaRef {
    let as_view = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8 if wanted(field) => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        _ => field.clone(),
    };
    Arc::new(Schema::new(schema.fields().iter().map(as_view).collect::<Vec<_>>()))
}

/// Places are kept in half the room; memory holds far fewer rows than this counts.
fn narrow(place: usize) -> Result<u32, IngestError> {
    u32::try_from(place).map_err(|error| IngestError::internal("arranging rows", error))
}

fn gather(window: Window, mut group: Group, batches: &[RecordBatch]) -> Result<Arranged, arrow_schema::ArrowError> {
    group.places.sort_by_key(|place| std::cmp::Reverse(place.time));
    let used = used(&group.places, batches);
    let batches = batches.iter().map(|batch| batch.project(&used)).collect::<Result<Vec<_>, _>>()?;
    let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
    Ok(Arranged { window, arrival: group.arrival, schema, batches, places: group.places })
}

/// Columns with a value in these rows; one without is left out: absent and null are the same.
fn used(places: &[Place], batches: &[RecordBatch]) -> Vec<usize> {
    let mut here = vec![false; batches.len()];
    for place in places {
        here[place.batch as usize] = true;
    }
    let is_used = |column: &usize| {
        let has_some = |batch: &RecordBatch| batch.column(*column).null_count() < batch.num_rows();
        if !here.iter().zip(batches).any(|(here, batch)| *here && has_some(batch)) {
            return false;
        }
        let nulls: Vec<_> = batches.iter().map(|batch| batch.column(*column).nulls()).collect();
        places.iter().any(|place| nulls[place.batch as usize].is_none_or(|nulls| nulls.is_valid(place.row as usize)))
    };
    (0..batches.first().map_or(0, RecordBatch::num_columns)).filter(is_used).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampNanosecondArray};
    use arrow::datatypes::Float64Type;
    use strongroom_model::WindowLength;

    use super::*;

    const HOUR: i64 = 3_600_000_000_000;
    const NOW: i64 = 500_000 * HOUR;

    fn batch(times: &[i64], extra: (&str, ColumnType, ArrayRef)) -> RecordBatch {
        let fields = vec![ColumnType::DateTime.storage_field(TIME_COLUMN), extra.1.storage_field(extra.0)];
        let times = TimestampNanosecondArray::from(times.to_vec()).with_timezone("UTC");
        RecordBatch::try_new(Schema::new(fields).into(), vec![Arc::new(times), extra.2]).unwrap()
    }

    fn longs(values: &[i64]) -> (&'static str, ColumnType, ArrayRef) {
        ("n", ColumnType::Long, Arc::new(Int64Array::from(values.to_vec())))
    }

    fn reals(values: &[f64]) -> (&'static str, ColumnType, ArrayRef) {
        ("n", ColumnType::Real, Arc::new(Float64Array::from(values.to_vec())))
    }

    fn n(arranged: &Arranged) -> Vec<f64> {
        arranged.batch().unwrap().column_by_name("n").unwrap().as_primitive::<Float64Type>().values().to_vec()
    }

    #[test]
    fn rows_go_to_their_windows_newest_first_and_the_last_of_equals_first() {
        let rows = [
            (NOW, batch(&[NOW + 1, NOW + 3, NOW + 3, NOW - HOUR], longs(&[1, 2, 3, 4]))),
            (NOW + 9, batch(&[NOW + 2, NOW + 3, NOW - 49 * HOUR], reals(&[5.0, 6.0, 7.0]))),
        ];
        let arranged = arrange(&rows).unwrap();
        let shown: Vec<_> = arranged.iter().map(|a| (a.window.length, a.arrival - NOW, n(a))).collect();
        assert_eq!(
            shown,
            [(WindowLength::Day, 9, vec![7.0]), (WindowLength::Hour, 0, vec![4.0]), (WindowLength::Hour, 0, vec![6.0, 3.0, 2.0, 5.0, 1.0]),]
        );
    }

    #[test]
    fn a_column_without_a_value_in_a_window_is_not_in_its_block() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        let rows = [(NOW, batch(&[NOW], longs(&[1]))), (NOW, batch(&[NOW - HOUR], ("s", ColumnType::String, text)))];
        let arranged = arrange(&rows).unwrap();
        let names: Vec<Vec<_>> =
            arranged.iter().map(|a| a.batch().unwrap().schema().fields().iter().map(|f| f.name().clone()).collect()).collect();
        assert_eq!(names, [vec![TIME_COLUMN.to_owned(), "s".to_owned()], vec![TIME_COLUMN.to_owned(), "n".to_owned()]]);
    }

    #[test]
    fn types_that_do_not_go_together_are_refused() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        let rows = [(NOW, batch(&[NOW], longs(&[1]))), (NOW, batch(&[NOW], ("n", ColumnType::String, text)))];
        assert!(matches!(arrange(&rows), Err(IngestError::Internal { .. })));
    }
}
