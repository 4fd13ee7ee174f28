//! One JSON object a line.

use arrow::array::RecordBatch;
use strongroom_model::{Column, ColumnType};

use super::Encode;
use super::cell::{Cell, cell, quote, write_json};
use crate::QueryError;

pub(super) struct Lines {
    /// Each name as a JSON string and a colon, and whether it is `dynamic`.
    names: Vec<(Vec<u8>, bool)>,
}

impl Lines {
    pub(super) fn new(columns: &[Column]) -> Self {
        let name = |column: &Column| {
            let mut out = Vec::new();
            quote(&column.name, &mut out);
            out.push(b':');
            (out, column.kind == ColumnType::Dynamic)
        };
        Self { names: columns.iter().map(name).collect() }
    }
}

impl Encode for Lines {
    fn start(&mut self, _out: &mut Vec<u8>) -> Result<(), QueryError> {
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError> {
        for row in 0..batch.num_rows() {
            out.push(b'{');
            let mut first = true;
            for ((name, dynamic), column) in self.names.iter().zip(batch.columns()) {
                let value = cell(column.as_ref(), row, *dynamic);
                if matches!(value, Cell::Null) {
                    continue;
                }
                if !first {
                    out.push(b',');
                }
                first = false;
                out.extend_from_slice(name);
                write_json(&value, true, out);
            }
            out.extend_from_slice(b"}\n");
        }
        Ok(())
    }

    fn end(&mut self, _out: &mut Vec<u8>) -> Result<(), QueryError> {
        Ok(())
    }
}
