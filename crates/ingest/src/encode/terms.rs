//! Filters over the terms of a block's text columns, gathered while it is written.
//!
//! Of each column and slice only the hashes of its terms are kept, each once; the filters are made of them at the end, when it is
//! known how large the block has become. Values that repeat are not taken apart again.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow_schema::{DataType, Schema};
use strongroom_model::terms::{Gathered, Splitter, build};
use xxhash_rust::xxh3::xxh3_64;

/// Rows of a slice.
pub const SLICE_ROWS: usize = 16 << 10;
/// Blocks of fewer rows are read as soon as their filters would be.
const ROWS_MIN: u64 = 512;
/// Filters take at most this share of a block.
const BYTES_SHARE: u64 = 10;
/// Values remembered per column, those of at most so many bytes; and after how many it is asked whether that pays.
const RECENT: usize = 512;
const RECENT_BYTES_MAX: usize = 128;
const TRIAL: u32 = 2_048;

/// Gathers the terms of batches.
#[derive(Debug)]
pub struct TermsBuilder {
    slice_rows: usize,
    columns: Vec<Column>,
    splitter: Splitter,
    rows: u64,
    /// Rows of the slice under way.
    filled: usize,
}

#[derive(Debug)]
struct Column {
    at: usize,
    name: String,
    recent: Recent,
    set: TermSet,
    slices: Vec<Vec<u64>>,
}

impl TermsBuilder {
    /// For batches of this schema, in slices of so many rows.
    #[must_use]
    pub fn new(schema: &Schema, slice_rows: usize) -> Self {
        let is_text = |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::Utf8View);
        let column =
            |at, name: &String| Column { at, name: name.clone(), recent: Recent::default(), set: TermSet::default(), slices: Vec::new() };
        let fields = schema.fields().iter().enumerate();
        let columns = fields.filter(|(_, field)| is_text(field.data_type())).map(|(at, field)| column(at, field.name())).collect();
        Self { slice_rows, columns, splitter: Splitter::default(), rows: 0, filled: 0 }
    }

    /// Takes the rows of one batch into account.
    pub fn update(&mut self, batch: &RecordBatch) {
        let mut start = 0;
        while start < batch.num_rows() {
            let len = (self.slice_rows - self.filled).min(batch.num_rows() - start);
            for column in &mut self.columns {
                column.update(&batch.columns()[column.at].slice(start, len), &mut self.splitter);
            }
            (start, self.filled, self.rows) = (start + len, self.filled + len, self.rows + len as u64);
            if self.filled == self.slice_rows {
                self.close();
            }
        }
    }

    fn close(&mut self) {
        self.filled = 0;
        for column in &mut self.columns {
            column.slices.push(column.set.take());
            column.recent.clear();
        }
    }

    /// The filters as they are to lie at `offset`, behind that many bytes of data, and their directory. `None` if the block does
    /// without.
    #[must_use]
    pub fn finish(mut self, offset: u64) -> Option<(Vec<u8>, String)> {
        if self.rows < ROWS_MIN {
            return None;
        }
        if self.filled > 0 {
            self.close();
        }
        let columns = self.columns.into_iter().map(|column| Gathered { column: column.name, slices: column.slices }).collect();
        build(columns, self.rows, self.slice_rows as u64, offset, offset / BYTES_SHARE)
    }
}

impl Column {
    fn update(&mut self, values: &Arc<dyn Array>, splitter: &mut Splitter) {
        if let Some(values) = values.as_string_view_opt() {
            values.iter().flatten().for_each(|value| self.add(value, splitter));
        } else if let Some(values) = values.as_string_opt::<i32>() {
            values.iter().flatten().for_each(|value| self.add(value, splitter));
        }
    }

    fn add(&mut self, value: &str, splitter: &mut Splitter) {
        if !self.recent.met(value) {
            splitter.each(value, |term| self.set.insert(term));
        }
    }
}

/// The last values of a column, by their hash; given up for a slice in which few repeat.
#[derive(Debug, Default)]
struct Recent {
    /// Hash and place of each.
    slots: Vec<(u64, usize, usize)>,
    texts: Vec<u8>,
    looked: u32,
    found: u32,
}

impl Recent {
    fn clear(&mut self) {
        self.slots.fill((0, 0, 0));
        self.texts.clear();
        (self.looked, self.found) = (0, 0);
    }

    /// Whether this value was met in this slice already, as far as is remembered. The texts are compared: whoever knew two of one
    /// hash could hide a row behind another.
    fn met(&mut self, value: &str) -> bool {
        let given_up = self.looked >= TRIAL && self.found < self.looked / 4;
        if given_up || value.len() > RECENT_BYTES_MAX {
            return false;
        }
        self.slots.resize(RECENT, (0, 0, 0));
        let hash = xxh3_64(value.as_bytes());
        let slot = &mut self.slots[usize::try_from(hash % RECENT as u64).unwrap_or(0)];
        self.looked += 1;
        if slot.0 == hash && self.texts[slot.1..slot.2] == *value.as_bytes() {
            self.found += 1;
            return true;
        }
        if self.texts.len() > RECENT * RECENT_BYTES_MAX {
            return false;
        }
        let start = self.texts.len();
        self.texts.extend_from_slice(value.as_bytes());
        *slot = (hash, start, self.texts.len());
        false
    }
}

/// A set of hashes, none of which is 0: open addressing, at most half full.
#[derive(Debug, Default)]
struct TermSet {
    slots: Vec<u64>,
    count: usize,
}

impl TermSet {
    fn insert(&mut self, term: u64) {
        if self.count * 2 >= self.slots.len() {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut at = usize::try_from(term & mask as u64).unwrap_or(0);
        loop {
            match self.slots[at] {
                0 => break,
                there if there == term => return,
                _ => at = (at + 1) & mask,
            }
        }
        self.slots[at] = term;
        self.count += 1;
    }

    fn grow(&mut self) {
        let room = (self.slots.len() * 2).max(64);
        let old = std::mem::replace(&mut self.slots, vec![0; room]);
        self.count = 0;
        for term in old.into_iter().filter(|term| *term != 0) {
            self.insert(term);
        }
    }

    /// What it holds; it is empty afterwards.
    fn take(&mut self) -> Vec<u64> {
        let mut terms = Vec::with_capacity(self.count);
        terms.extend(self.slots.iter().copied().filter(|term| *term != 0));
        self.slots.fill(0);
        self.count = 0;
        terms
    }
}
