//! Batches in another table schema than their own.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, SchemaRef};

/// `batch` in the shape of `schema`, column by column by name: reordered, absent ones null, extra ones left out,
/// a long cast to a real where the schema says so, text as views where the schema wants views.
///
/// # Errors
/// If a column cannot be cast, or a value does not survive it.
pub fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if Arc::ptr_eq(schema, batch.schema_ref()) || schema == batch.schema_ref() {
        return batch.clone().with_schema(Arc::clone(schema));
    }
    // A cast must not turn what it cannot do into nulls: that would lose values without a word.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let column = |field: &Arc<arrow_schema::Field>| -> Result<ArrayRef, ArrowError> {
        match batch.column_by_name(field.name()) {
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
            Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
            Some(column) => cast_with_options(column, field.data_type(), &options),
        }
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &RecordBatchOptions::new().with_row_count(Some(batch.num_rows())))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray, Float64Array, Int64Array, StringArray};
    use arrow::datatypes::Float64Type;
    use arrow_schema::{DataType, Schema};
    use strongroom_model::ColumnType;

    use super::*;

    fn batch() -> RecordBatch {
        let schema = Schema::new(vec![ColumnType::String.storage_field("msg"), ColumnType::Long.storage_field("n")]);
        let columns: Vec<ArrayRef> =
            vec![Arc::new(StringArray::from(vec![Some("a"), None])), Arc::new(Int64Array::from(vec![None, Some(7)]))];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    #[test]
    fn columns_are_found_by_name_widened_and_filled_with_nulls() {
        let wanted: SchemaRef = Arc::new(Schema::new(vec![
            ColumnType::Real.query_field("n"),
            ColumnType::Bool.query_field("new"),
            ColumnType::String.query_field("msg"),
        ]));
        let got = conform(&batch(), &wanted).unwrap();
        assert_eq!(got.schema(), wanted);
        assert_eq!(got.column(0).as_primitive::<Float64Type>(), &Float64Array::from(vec![None, Some(7.0)]));
        assert_eq!(got.column(1).null_count(), 2);
        assert_eq!(got.column(2).data_type(), &DataType::Utf8View);
        assert_eq!(got.column(2).as_string_view().value(0), "a");
    }

    #[test]
    fn no_columns_at_all_keep_the_number_of_rows() {
        assert_eq!(conform(&batch(), &Arc::new(Schema::empty())).unwrap().num_rows(), 2);
    }

    #[test]
    fn a_value_that_does_not_survive_its_cast_is_an_error_and_no_null() {
        let wanted: SchemaRef = Arc::new(Schema::new(vec![ColumnType::Long.storage_field("msg")]));
        assert!(conform(&batch(), &wanted).is_err());
    }
}
