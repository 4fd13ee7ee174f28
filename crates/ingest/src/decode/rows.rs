//! A batch while it grows: names matched to columns, values to cells.

use std::borrow::Cow;
use std::hash::BuildHasher;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow_schema::Schema;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use simd_json::Node;
use strongroom_model::{Column, ColumnType, TIME_COLUMN, TableSchema};

use super::column::{ColumnBuilder, Offer, SUFFIXES, Value, is_guid};
use super::{DecodeOptions, Decoded, Fault, RAW_COLUMN, Reject, clean, json, time};
use crate::{BadReason, Format, IngestError};

/// The `dynamic` column that holds what has no column of its own, as one object per row.
pub const OVERFLOW_COLUMN: &str = "_Overflow";

/// Longest name of a column, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// Rows that columns make room for at most before they are there.
const ROOM_MAX: usize = 1 << 16;

/// Where `TimeGenerated` is in both lists.
const TIME: usize = 0;
const TIME_SLOT: u32 = 0;

/// No slot, no column.
const NONE: u32 = u32::MAX;

/// One name that was met, as a key or as a sibling's name.
struct Slot<'s> {
    name: Cow<'s, str>,
    /// The column of that name, once there is one.
    column: u32,
    /// The slot whose key followed this one last time: the first guess for the next.
    next: u32,
    /// The siblings' slots, by [`Value::suffix`].
    siblings: [u32; 4],
    /// The record that had this key last, and where on its tape the value is.
    record: u64,
    node: usize,
}

/// The rows of one body.
pub(super) struct Rows<'s> {
    options: DecodeOptions<'s>,
    base: &'s TableSchema,
    /// Rows that columns make room for at first.
    room: usize,
    /// Columns with a value.
    used: usize,
    slots: Vec<Slot<'s>>,
    by_name: HashTable<u32>,
    hasher: DefaultHashBuilder,
    columns: Vec<ColumnBuilder>,
    /// Of each column: its name's slot, and its place in the table so far.
    named: Vec<(u32, Option<usize>)>,
    overflow: Option<ColumnBuilder>,
    row: usize,
    /// Counts records, bad ones too: what tells this record's marks in the slots from older ones.
    record: u64,
    /// This record's slots, and its keys that have none with the place of their values.
    touched: Vec<u32>,
    homeless: Vec<(usize, usize)>,
    /// Slots of this record that a key spelt otherwise has taken, and where that key stands.
    cleaned: Vec<(u32, usize)>,
    /// The overflow object of this row, without its braces.
    spill: String,
    scratch: String,
}

impl<'s> Rows<'s> {
    /// Of a body of about `room` rows.
    pub(super) fn new(schema: &'s TableSchema, options: &DecodeOptions<'s>, room: usize) -> Self {
        let mut rows = Self {
            options: *options,
            base: schema,
            room: room.clamp(16, ROOM_MAX),
            used: 1,
            slots: Vec::with_capacity(schema.columns.len() + 32),
            by_name: HashTable::with_capacity(schema.columns.len() + 32),
            hasher: DefaultHashBuilder::default(),
            columns: Vec::with_capacity(schema.columns.len() + 32),
            named: Vec::with_capacity(schema.columns.len() + 32),
            overflow: None,
            row: 0,
            record: 0,
            touched: Vec::with_capacity(64),
            homeless: Vec::new(),
            cleaned: Vec::new(),
            spill: String::new(),
            scratch: String::new(),
        };
        let time = schema.columns.iter().position(|column| column.name == TIME_COLUMN);
        rows.adopt(Cow::Borrowed(TIME_COLUMN), ColumnType::DateTime, time);
        for (at, column) in schema.columns.iter().enumerate() {
            if column.name == OVERFLOW_COLUMN {
                rows.overflow = Some(ColumnBuilder::new(ColumnType::Dynamic, 16));
            } else if column.name != TIME_COLUMN {
                rows.adopt(Cow::Borrowed(&column.name), column.kind, Some(at));
            }
        }
        rows
    }

    fn adopt(&mut self, name: Cow<'s, str>, kind: ColumnType, home: Option<usize>) {
        let slot = self.new_slot(name);
        self.give_column(slot, kind);
        self.named[self.columns.len() - 1].1 = home;
    }

    fn give_column(&mut self, slot: u32, kind: ColumnType) -> u32 {
        let column = u32::try_from(self.columns.len()).expect("columns are bounded");
        self.columns.push(ColumnBuilder::new(kind, self.room));
        self.named.push((slot, None));
        self.slots[slot as usize].column = column;
        column
    }

    fn new_slot(&mut self, name: Cow<'s, str>) -> u32 {
        let slot = u32::try_from(self.slots.len()).expect("slots are bounded");
        let hash = self.hasher.hash_one(&*name);
        let (slots, hasher) = (&mut self.slots, &self.hasher);
        slots.push(Slot { name, column: NONE, next: NONE, siblings: [NONE; 4], record: 0, node: 0 });
        self.by_name.insert_unique(hash, slot, |&other| hasher.hash_one(&*slots[other as usize].name));
        slot
    }

    fn find(&self, name: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        self.by_name.find(hash, |&slot| self.slots[slot as usize].name == name).copied()
    }

    /// Slots are few: beyond the columns only names whose value was never kept, and siblings.
    fn may_grow(&self) -> bool {
        self.slots.len() < self.options.limits.columns_max * 2
    }

    /// Takes one object as a row. On an error nothing of it is kept.
    pub(super) fn push(&mut self, nodes: &[Node<'_>]) -> Result<(), Fault> {
        self.match_keys(nodes)?;
        let time = self.time_of_record(nodes);
        self.columns[TIME].time(self.row, time);
        for at in 0..self.touched.len() {
            let slot = self.touched[at];
            if slot as usize == TIME {
                continue;
            }
            if let Some(value) = Value::of(&nodes[self.slots[slot as usize].node..]) {
                self.put(slot, value);
            }
        }
        if !self.homeless.is_empty() {
            self.spill_homeless(nodes);
        }
        self.end_row();
        Ok(())
    }

    /// Whether rows times columns are more than allowed: a body of few bytes can have many cells, nearly all of them null.
    pub(super) fn is_too_sparse(&self) -> bool {
        self.used.saturating_mul(self.row) > self.options.limits.cells_max
    }

    /// Takes one plain line as a row.
    pub(super) fn push_line(&mut self, text: &str) {
        self.columns[TIME].time(self.row, self.options.arrival);
        let slot = self.find(RAW_COLUMN).unwrap_or_else(|| self.new_slot(Cow::Borrowed(RAW_COLUMN)));
        self.put(slot, Value::Text(text));
        self.end_row();
    }

    fn end_row(&mut self) {
        if !self.spill.is_empty() {
            self.scratch.clear();
            self.scratch.push('{');
            self.scratch.push_str(&self.spill);
            self.scratch.push('}');
            self.spill.clear();
            self.overflow.get_or_insert_with(|| ColumnBuilder::new(ColumnType::Dynamic, 16)).text(self.row, &self.scratch);
        }
        self.row += 1;
    }

    /// Finds the slot of each key; of a key that comes twice the last value counts.
    fn match_keys(&mut self, nodes: &[Node<'_>]) -> Result<(), Fault> {
        self.record += 1;
        self.touched.clear();
        self.homeless.clear();
        self.cleaned.clear();
        let Node::Object { len, .. } = nodes[0] else { return Ok(()) };
        let (mut at, mut previous) = (1, NONE);
        for _ in 0..len {
            let Node::String(key) = nodes[at] else { break };
            let value = at + 1;
            let (slot, cleaned) = self.slot_of(key, previous, &nodes[value])?;
            let taken = slot != NONE && self.slots[slot as usize].record == self.record;
            if slot == NONE || (taken && cleaned) {
                self.homeless.push((at, value));
            } else {
                // Of two names that clean to one, the one that is spelt so has the column and the other keeps its own name.
                if cleaned {
                    self.cleaned.push((slot, at));
                } else if taken && let Some(other) = self.cleaned.iter().position(|(of, _)| *of == slot) {
                    let (_, key_at) = self.cleaned.swap_remove(other);
                    self.homeless.push((key_at, self.slots[slot as usize].node));
                }
                let found = &mut self.slots[slot as usize];
                found.node = value;
                if found.record != self.record {
                    found.record = self.record;
                    self.touched.push(slot);
                }
                if previous != NONE {
                    self.slots[previous as usize].next = slot;
                }
                previous = slot;
            }
            at = value + json::span(&nodes[value]);
        }
        Ok(())
    }

    /// The slot of a key, and whether the key is spelt otherwise than the column.
    fn slot_of(&mut self, key: &str, previous: u32, value: &Node<'_>) -> Result<(u32, bool), Fault> {
        let guess = if previous == NONE { TIME_SLOT } else { self.slots[previous as usize].next };
        if let Some(slot) = self.slots.get(guess as usize)
            && slot.name == key
        {
            return Ok((guess, false));
        }
        if let Some(slot) = self.find(key) {
            return Ok((slot, false));
        }
        let name = clean(key);
        if name.len() > NAME_BYTES_MAX {
            return Err(Fault { at: 0, reason: BadReason::NameTooLong { bytes: key.len() } });
        }
        let cleaned = name != key;
        if cleaned && let Some(slot) = self.find(&name) {
            return Ok((slot, true));
        }
        let is_null = matches!(value, Node::Static(simd_json::StaticNode::Null));
        if name == OVERFLOW_COLUMN || is_null || !self.may_grow() {
            return Ok((NONE, cleaned));
        }
        Ok((self.new_slot(Cow::Owned(name.into_owned())), cleaned))
    }

    /// The row's time; keeps what the field `TimeGenerated` said if that is not it.
    fn time_of_record(&mut self, nodes: &[Node<'_>]) -> i64 {
        let own = (self.slots[TIME].record == self.record).then(|| Value::of(&nodes[self.slots[TIME].node..])).flatten();
        let named = self.named_time(nodes);
        let taken = named.or_else(|| own.and_then(|value| self.usable_time(value)));
        if let Some(own) = own
            && (named.is_some() || taken.is_none())
        {
            self.keep_time_text(own);
        }
        taken.unwrap_or(self.options.arrival)
    }

    fn named_time(&self, nodes: &[Node<'_>]) -> Option<i64> {
        let name = self.options.time_field.filter(|&name| name != TIME_COLUMN)?;
        let node = match self.find(name) {
            Some(slot) if self.slots[slot as usize].record == self.record => self.slots[slot as usize].node,
            _ => self.homeless.iter().rev().find(|(key, _)| matches!(nodes[*key], Node::String(key) if key == name))?.1,
        };
        self.usable_time(Value::of(&nodes[node..])?)
    }

    fn usable_time(&self, value: Value<'_>) -> Option<i64> {
        let at = match value {
            Value::Text(text) => time::parse_iso8601(text)?,
            Value::Long(n) => time::from_integer(n),
            Value::Real(x) => time::from_real(x),
            Value::Bool(_) | Value::Nested(_) => return None,
        };
        (at <= self.options.arrival.saturating_add(self.options.limits.future_max_ns)).then_some(at)
    }

    fn keep_time_text(&mut self, value: Value<'_>) {
        let text = match value {
            Value::Text(text) => Cow::Borrowed(text),
            other => {
                let mut text = String::new();
                other.write(&mut text);
                Cow::Owned(text)
            }
        };
        let value = Value::Text(&text);
        match self.sibling(TIME_SLOT, value.suffix()) {
            Some(slot) => self.put(slot, value),
            None => self.spill(TIME_SLOT, value),
        }
    }

    /// Puts a value into its column, the sibling that can hold it, or the overflow.
    fn put(&mut self, key: u32, value: Value<'_>) {
        let mut slot = key;
        loop {
            let column = match self.slots[slot as usize].column {
                NONE if self.columns.len() < self.options.limits.columns_max => self.give_column(slot, self.kind_of_new(slot, value)),
                NONE => break,
                column => column,
            };
            let builder = &mut self.columns[column as usize];
            let first = !builder.is_used();
            if first && self.used.saturating_mul(self.row) >= self.options.limits.cells_max {
                // The rows before it would get a null each: they do not fit, and the request is refused.
                self.used += 1;
                return;
            }
            match builder.offer(self.row, value, &mut self.scratch) {
                Offer::Taken => {
                    self.used += usize::from(first);
                    return;
                }
                Offer::Occupied => break,
                Offer::Mismatch => match self.sibling(slot, value.suffix()) {
                    Some(sibling) => slot = sibling,
                    None => break,
                },
            }
        }
        self.spill(key, value);
    }

    /// The type of a column made for a value.
    fn kind_of_new(&self, slot: u32, value: Value<'_>) -> ColumnType {
        let natural = value.natural();
        if self.options.format != Format::Suffixed {
            return natural;
        }
        match (self.slots[slot as usize].name.rsplit_once('_').map(|(_, ending)| ending), value) {
            (Some("d"), Value::Long(_)) => ColumnType::Real,
            (Some("t"), Value::Text(text)) if time::parse_iso8601(text).is_some() => ColumnType::DateTime,
            (Some("g"), Value::Text(text)) if is_guid(text) => ColumnType::Guid,
            _ => natural,
        }
    }

    /// The slot of a sibling, made if there is room and its name is not too long.
    fn sibling(&mut self, slot: u32, suffix: usize) -> Option<u32> {
        let known = self.slots[slot as usize].siblings[suffix];
        if known != NONE {
            return Some(known);
        }
        let name = format!("{}{}", self.slots[slot as usize].name, SUFFIXES[suffix]);
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
        let sibling = match self.find(&name) {
            Some(sibling) => sibling,
            None if self.may_grow() => self.new_slot(Cow::Owned(name)),
            None => return None,
        };
        self.slots[slot as usize].siblings[suffix] = sibling;
        Some(sibling)
    }

    fn spill(&mut self, key: u32, value: Value<'_>) {
        if !self.spill.is_empty() {
            self.spill.push(',');
        }
        json::write_string(&mut self.spill, &self.slots[key as usize].name);
        self.spill.push(':');
        value.write(&mut self.spill);
    }

    /// Keys without a slot go into the overflow, the last value of each.
    fn spill_homeless(&mut self, nodes: &[Node<'_>]) {
        let homeless = std::mem::take(&mut self.homeless);
        let mut last: HashMap<&str, usize> = HashMap::with_capacity(homeless.len());
        for &(key, value) in &homeless {
            if let Node::String(key) = nodes[key] {
                last.insert(key, value);
            }
        }
        for &(key, value) in &homeless {
            let Node::String(key) = nodes[key] else { continue };
            let Some(kept) = Value::of(&nodes[value..]).filter(|_| last.get(key) == Some(&value)) else { continue };
            if !self.spill.is_empty() {
                self.spill.push(',');
            }
            json::write_string(&mut self.spill, &clean(key));
            self.spill.push(':');
            kept.write(&mut self.spill);
        }
        self.homeless = homeless;
    }

    /// The batch, and the table's columns with it.
    pub(super) fn finish(self, rejects: Vec<Reject>) -> Result<Decoded, IngestError> {
        let Self { base, slots, columns, named, overflow, row: rows, .. } = self;
        let mut schema = base.clone();
        let (mut added, mut changed) = (Vec::new(), false);
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        let named = columns.into_iter().zip(&named).map(|(column, &(slot, home))| (&*slots[slot as usize].name, column, home));
        let overflow_home = base.columns.iter().position(|column| column.name == OVERFLOW_COLUMN);
        for (name, column, home) in named.chain(overflow.map(|column| (OVERFLOW_COLUMN, column, overflow_home))) {
            let (kind, widened) = (column.kind, column.widened);
            let array = if name == TIME_COLUMN { Some(column.finish_time()) } else { column.finish(rows) };
            let Some(array) = array else { continue };
            fields.push(kind.storage_field(name));
            arrays.push(array);
            match home {
                Some(at) if widened => {
                    schema.columns[at].kind = kind;
                    changed = true;
                }
                Some(_) => {}
                None => {
                    let column = Column { name: name.to_owned(), kind };
                    added.push(column.clone());
                    schema.columns.push(column);
                    changed = true;
                }
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Schema::new(fields).into(), arrays, &options)
            .map_err(|error| IngestError::internal("putting columns together", error))?;
        Ok(Decoded { batch, schema, added, changed, rejects })
    }
}
