//! Rows on their way into a table: one JSON object a line, as the write path reads them.
//!
//! Texts are cut where Azure cuts them. What a table has no type for takes the nearest one that it has.

use arrow::array::RecordBatch;
use strongroom_model::{Column, ColumnType};

use super::cell::{Cell, cell, quote, write_json};

/// Bytes of one value; what is longer is cut (Azure's limit).
const SHAPED_TEXT_MAX: usize = 64 << 10;

/// Appends the rows of a batch, one object a line, nulls left out. Whether they fit: no row is begun behind `bytes_max`.
#[must_use]
pub(crate) fn shaped_lines(batch: &RecordBatch, columns: &[Column], bytes_max: u64, out: &mut Vec<u8>) -> bool {
    let names: Vec<Vec<u8>> = columns.iter().map(|column| name(&column.name)).collect();
    for row in 0..batch.num_rows() {
        out.push(b'{');
        let mut first = true;
        for ((name, column), array) in names.iter().zip(columns).zip(batch.columns()) {
            let value = match cell(array.as_ref(), row, column.kind == ColumnType::Dynamic) {
                // No number of JSON's: nothing, for a text would go to a column of its own.
                Cell::Null | Cell::Odd(_) => continue,
                Cell::Text(text) => Cell::Text(cut(text)),
                // Cut, it is no JSON any more, but a text it still is.
                Cell::Json(text) if text.len() > SHAPED_TEXT_MAX => Cell::Text(cut(text)),
                Cell::Owned(digits) if column.kind == ColumnType::Decimal => Cell::Number(digits),
                other => other,
            };
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            out.extend_from_slice(name);
            write_json(&value, true, out);
        }
        out.extend_from_slice(b"}\n");
        if out.len() as u64 > bytes_max {
            return false;
        }
    }
    true
}

fn name(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 3);
    quote(name, &mut out);
    out.push(b':');
    out
}

/// As much of a text as is kept, in whole characters.
fn cut(text: &str) -> &str {
    if text.len() <= SHAPED_TEXT_MAX {
        return text;
    }
    let mut end = SHAPED_TEXT_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = format!("a{}", "ä".repeat(SHAPED_TEXT_MAX / 2));
        assert_eq!(cut(&text).len(), SHAPED_TEXT_MAX - 1);
        assert_eq!(cut("short"), "short");
    }
}
