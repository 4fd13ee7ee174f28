//! CSV after RFC 4180.

use arrow::array::RecordBatch;
use strongroom_model::{Column, ColumnType};

use super::Encode;
use super::cell::{Cell, cell};
use crate::QueryError;

pub(super) struct Csv {
    columns: Vec<Column>,
}

impl Csv {
    pub(super) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec() }
    }
}

/// Quoted where it must be, and where it is empty: an empty field is null.
fn field(text: &str, out: &mut Vec<u8>) {
    if !text.is_empty() && !text.contains(['"', ',', '\n', '\r']) && !text.starts_with(' ') && !text.ends_with(' ') {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

impl Encode for Csv {
    fn start(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        for (i, column) in self.columns.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            field(&column.name, out);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError> {
        for row in 0..batch.num_rows() {
            for (i, column) in batch.columns().iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                match cell(column.as_ref(), row, self.columns[i].kind == ColumnType::Dynamic) {
                    Cell::Null => {}
                    Cell::Bool(b) => out.extend_from_slice(if b { b"true" } else { b"false" }),
                    Cell::Number(text) | Cell::Owned(text) => field(&text, out),
                    Cell::Odd(text) | Cell::Text(text) | Cell::Json(text) => field(text, out),
                }
            }
            out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    fn end(&mut self, _out: &mut Vec<u8>) -> Result<(), QueryError> {
        Ok(())
    }
}
