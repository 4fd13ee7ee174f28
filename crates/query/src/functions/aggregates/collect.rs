//! `make_list`, `make_set` and `make_bag`: rows gathered into one `dynamic`. What a state holds is that JSON text already.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, LargeStringArray, StringViewArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use hashbrown::HashSet;
use strongroom_model::ColumnType;

use super::groups::{Plan, emitted, passes};
use crate::functions::scalars::args::{Values, values_of};
use crate::functions::scalars::json;

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum What {
    /// All values but nulls (of dynamics those, too), in their order.
    List,
    /// All values.
    ListWithNulls,
    /// Each value once, in the order first seen.
    Set,
    /// Entries of bags; of equal keys the first counts.
    Bag,
}

/// Most elements of one result, unless the call says less.
pub(super) const ELEMENTS_MAX: usize = 1_048_576;

/// `make_list` and its kin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Collect {
    pub(super) what: What,
    /// Most elements.
    pub(super) limit: usize,
    /// The argument's KQL type; none: as Arrow tells it.
    pub(super) kind: Option<ColumnType>,
}

impl Plan for Collect {
    fn name(&self) -> &'static str {
        match self.what {
            What::List => "make_list",
            What::ListWithNulls => "make_list_with_nulls",
            What::Set => "make_set",
            What::Bag => "make_bag",
        }
    }

    fn gives(&self, _: &[DataType]) -> DataType {
        DataType::Utf8View
    }

    fn state(&self, _: &[DataType]) -> Vec<DataType> {
        vec![DataType::LargeUtf8]
    }

    fn groups(&self, _: &[DataType], kinds: &[ColumnType]) -> Result<Box<dyn GroupsAccumulator>> {
        let kind = self.kind.or(kinds.first().copied()).unwrap_or(ColumnType::String);
        Ok(Box::new(Gathered { what: self.what, limit: self.limit, kind, groups: Vec::new(), bytes: 0, scratch: String::new() }))
    }
}

/// The elements of one group.
#[derive(Default)]
struct Group {
    /// Elements separated by commas, without the brackets around them.
    text: String,
    count: usize,
    seen: HashSet<Box<str>>,
}

struct Gathered {
    what: What,
    limit: usize,
    kind: ColumnType,
    groups: Vec<Group>,
    /// What the groups hold.
    bytes: usize,
    scratch: String,
}

impl Gathered {
    fn add(&mut self, group: usize, key: &str, element: &str) {
        let group = &mut self.groups[group];
        if group.count >= self.limit {
            return;
        }
        if matches!(self.what, What::Set | What::Bag) {
            if group.seen.contains(key) {
                return;
            }
            group.seen.insert(key.into());
            self.bytes += key.len() + size_of::<Box<str>>();
        }
        let before = group.text.capacity();
        if group.count > 0 {
            group.text.push(',');
        }
        group.text.push_str(element);
        group.count += 1;
        self.bytes += group.text.capacity() - before;
    }

    /// Entries of a bag, each as `"key":value`.
    fn add_bag(&mut self, group: usize, raw: &str) {
        for (key, value) in json::entries(raw).into_iter().flatten() {
            let mut entry = String::with_capacity(key.len() + value.len() + 1);
            entry.push_str(key);
            entry.push(':');
            entry.push_str(value);
            self.add(group, key, &entry);
        }
    }

    fn add_value(&mut self, group: usize, values: &Values, row: usize) {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        // A list of dynamics keeps its nulls.
        let keeps_nulls = self.what == What::ListWithNulls || self.what == What::List && self.kind == ColumnType::Dynamic;
        if keeps_nulls || !values.is_null(row) {
            values.write_json(row, &mut text);
            match (self.what, self.kind) {
                (What::Bag, _) => self.add_bag(group, &text),
                // Arrays inside a dynamic are flattened one level.
                (What::List | What::Set, ColumnType::Dynamic) => match json::items(&text) {
                    Some(items) => items.for_each(|item| self.add(group, item, item)),
                    None => self.add(group, &text, &text),
                },
                _ => self.add(group, &text, &text),
            }
        }
        self.scratch = text;
    }

    /// The results of the first groups.
    fn emit(&mut self, emit_to: EmitTo) -> Vec<String> {
        let count = emitted(emit_to, self.groups.len());
        let (open, close) = if self.what == What::Bag { ('{', '}') } else { ('[', ']') };
        let finish = |group: Group| {
            let mut text = String::with_capacity(group.text.len() + 2);
            text.push(open);
            text.push_str(&group.text);
            text.push(close);
            text
        };
        let texts = self.groups.drain(..count).map(finish).collect();
        if self.groups.is_empty() {
            self.bytes = 0;
        }
        texts
    }
}

impl GroupsAccumulator for Gathered {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        self.groups.resize_with(total, Group::default);
        let values = values_of(&values[0], self.kind)?;
        for (row, &group) in groups.iter().enumerate().filter(|(row, _)| passes(filter, *row)) {
            self.add_value(group, &values, row);
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(Arc::new(StringViewArray::from_iter_values(self.emit(emit_to))))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(LargeStringArray::from_iter_values(self.emit(emit_to)))])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.groups.resize_with(total, Group::default);
        let texts = arrow::array::cast::as_largestring_array(&values[0]);
        for (row, &group) in groups.iter().enumerate().filter(|(row, _)| texts.is_valid(*row)) {
            if self.what == What::Bag {
                self.add_bag(group, texts.value(row));
            } else {
                json::items(texts.value(row)).into_iter().flatten().for_each(|item| self.add(group, item, item));
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values[0].len();
        let groups: Vec<usize> = (0..rows).collect();
        let mut fresh = Self { what: self.what, limit: self.limit, kind: self.kind, groups: Vec::new(), bytes: 0, scratch: String::new() };
        fresh.update_batch(values, &groups, filter, rows)?;
        fresh.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.bytes + self.groups.capacity() * size_of::<Group>() + self.scratch.capacity()
    }
}
