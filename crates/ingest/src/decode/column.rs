//! One column while it is built.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder as _, ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, TimestampNanosecondBuilder,
};
use simd_json::{Node, StaticNode};
use strongroom_model::ColumnType;

use super::{json, time};

/// A value on its way to a cell.
#[derive(Clone, Copy)]
pub(super) enum Value<'v> {
    Bool(bool),
    Long(i64),
    Real(f64),
    Text(&'v str),
    /// An object or array: the first of these nodes and those it spans.
    Nested(&'v [Node<'v>]),
}

impl<'v> Value<'v> {
    /// The value at the start of `nodes`; `None` for null.
    pub(super) fn of(nodes: &'v [Node<'v>]) -> Option<Self> {
        Some(match nodes[0] {
            Node::String(text) => Self::Text(text),
            Node::Object { .. } | Node::Array { .. } => Self::Nested(nodes),
            Node::Static(StaticNode::Null) => return None,
            Node::Static(StaticNode::Bool(b)) => Self::Bool(b),
            Node::Static(StaticNode::I64(n)) => Self::Long(n),
            Node::Static(StaticNode::U64(n)) => i64::try_from(n).map_or(Self::Real(real_unsigned(n)), Self::Long),
            Node::Static(StaticNode::F64(x)) => Self::Real(x),
        })
    }

    /// The type of a column made for it.
    pub(super) fn natural(self) -> ColumnType {
        match self {
            Self::Bool(_) => ColumnType::Bool,
            Self::Long(_) => ColumnType::Long,
            Self::Real(_) => ColumnType::Real,
            Self::Text(_) => ColumnType::String,
            Self::Nested(_) => ColumnType::Dynamic,
        }
    }

    /// Which sibling it goes to.
    pub(super) fn suffix(self) -> usize {
        match self {
            Self::Text(_) => 0,
            Self::Long(_) | Self::Real(_) => 1,
            Self::Bool(_) => 2,
            Self::Nested(_) => 3,
        }
    }

    /// Appends its compact JSON text.
    pub(super) fn write(self, out: &mut String) {
        match self {
            Self::Bool(b) => json::write_static(out, StaticNode::Bool(b)),
            Self::Long(n) => json::write_static(out, StaticNode::I64(n)),
            Self::Real(x) => json::write_static(out, StaticNode::F64(x)),
            Self::Text(text) => json::write_string(out, text),
            Self::Nested(nodes) => json::write(out, nodes),
        }
    }
}

/// The names' endings, by [`Value::suffix`].
pub(super) const SUFFIXES: [&str; 4] = ["_s", "_d", "_b", "_dyn"];

/// What became of a value offered to a column.
pub(super) enum Offer {
    Taken,
    /// This row has a value there already.
    Occupied,
    /// A value of this type cannot lie there.
    Mismatch,
}

/// One column: nothing is allocated before its first value.
pub(super) struct ColumnBuilder {
    pub(super) kind: ColumnType,
    /// Whether it is wider than the table had it.
    pub(super) widened: bool,
    values: Values,
    /// Rows to make room for at first.
    room: usize,
}

enum Values {
    Unused,
    Bool(BooleanBuilder),
    Long(Int64Builder),
    Real(Float64Builder),
    Text(StringBuilder),
    Time(TimestampNanosecondBuilder),
}

macro_rules! each {
    ($self:expr, $b:ident => $do:expr, $unused:expr) => {
        match $self {
            Values::Unused => $unused,
            Values::Bool($b) => $do,
            Values::Long($b) => $do,
            Values::Real($b) => $do,
            Values::Text($b) => $do,
            Values::Time($b) => $do,
        }
    };
}

impl ColumnBuilder {
    /// A column that makes room for `room` rows with its first value.
    pub(super) fn new(kind: ColumnType, room: usize) -> Self {
        Self { kind, widened: false, values: Values::Unused, room }
    }

    pub(super) fn is_used(&self) -> bool {
        !matches!(self.values, Values::Unused)
    }

    fn len(&self) -> usize {
        each!(&self.values, b => b.len(), 0)
    }

    /// Offers the value of row `row`; `scratch` is for its text.
    pub(super) fn offer(&mut self, row: usize, value: Value<'_>, scratch: &mut String) -> Offer {
        if self.is_used() && self.len() > row {
            return Offer::Occupied;
        }
        match (self.kind, value) {
            (ColumnType::String, Value::Text(text)) => self.text(row, text),
            (ColumnType::Long, Value::Long(n)) => self.long(row, n),
            (ColumnType::Long, Value::Real(x)) => {
                self.widen();
                self.real(row, x);
            }
            (ColumnType::Real, Value::Real(x)) => self.real(row, x),
            (ColumnType::Real, Value::Long(n)) => self.real(row, real(n)),
            (ColumnType::Bool, Value::Bool(b)) => self.bool(row, b),
            (ColumnType::Dynamic, value) => {
                scratch.clear();
                value.write(scratch);
                self.text(row, scratch);
            }
            (ColumnType::Guid, Value::Text(text)) if is_guid(text) => self.text(row, text),
            (ColumnType::DateTime, Value::Text(text)) => match time::parse_iso8601(text) {
                Some(at) => self.time(row, at),
                None => return Offer::Mismatch,
            },
            _ => return Offer::Mismatch,
        }
        Offer::Taken
    }

    /// A long column that meets a real becomes one.
    fn widen(&mut self) {
        self.kind = ColumnType::Real;
        self.widened = true;
        if let Values::Long(longs) = &mut self.values {
            let longs = longs.finish();
            let mut reals = Float64Builder::with_capacity(longs.len() + 1);
            reals.extend(longs.iter().map(|n| n.map(real)));
            self.values = Values::Real(reals);
        }
    }

    fn bool(&mut self, row: usize, value: bool) {
        if !self.is_used() {
            self.values = Values::Bool(BooleanBuilder::with_capacity(self.room));
        }
        self.pad(row);
        if let Values::Bool(builder) = &mut self.values {
            builder.append_value(value);
        }
    }

    fn long(&mut self, row: usize, value: i64) {
        if !self.is_used() {
            self.values = Values::Long(Int64Builder::with_capacity(self.room));
        }
        self.pad(row);
        if let Values::Long(builder) = &mut self.values {
            builder.append_value(value);
        }
    }

    fn real(&mut self, row: usize, value: f64) {
        if !self.is_used() {
            self.values = Values::Real(Float64Builder::with_capacity(self.room));
        }
        self.pad(row);
        if let Values::Real(builder) = &mut self.values {
            builder.append_value(value);
        }
    }

    pub(super) fn text(&mut self, row: usize, value: &str) {
        if !self.is_used() {
            self.values = Values::Text(StringBuilder::with_capacity(self.room, 0));
        }
        self.pad(row);
        if let Values::Text(builder) = &mut self.values {
            builder.append_value(value);
        }
    }

    pub(super) fn time(&mut self, row: usize, value: i64) {
        if !self.is_used() {
            self.values = Values::Time(TimestampNanosecondBuilder::with_capacity(self.room).with_timezone("UTC"));
        }
        self.pad(row);
        if let Values::Time(builder) = &mut self.values {
            builder.append_value(value);
        }
    }

    /// Fills the rows before `row` that had no value.
    fn pad(&mut self, row: usize) {
        let missing = row - self.len();
        if missing > 0 {
            each!(&mut self.values, b => b.append_nulls(missing), ());
        }
    }

    /// The column of times, which every row has; also if there are no rows.
    pub(super) fn finish_time(self) -> ArrayRef {
        match self.values {
            Values::Time(mut builder) => trimmed(builder.finish()),
            _ => Arc::new(TimestampNanosecondBuilder::new().with_timezone("UTC").finish()),
        }
    }

    /// The column over all rows, or `None` if it never got a value.
    pub(super) fn finish(mut self, rows: usize) -> Option<ArrayRef> {
        self.pad(if self.is_used() { rows } else { 0 });
        Some(match self.values {
            Values::Unused => return None,
            Values::Bool(mut b) => trimmed(b.finish()),
            Values::Long(mut b) => trimmed(b.finish()),
            Values::Real(mut b) => trimmed(b.finish()),
            Values::Text(mut b) => trimmed(b.finish()),
            Values::Time(mut b) => trimmed(b.finish()),
        })
    }
}

/// Arrays of fewer bytes than this are left as they are.
const TRIM_BYTES_MIN: usize = 4_096;

/// Gives back what a builder reserved too much, if that is a fifth or more: the column stays in memory until it is flushed,
/// and is counted there by its length.
fn trimmed(mut array: impl Array + 'static) -> ArrayRef {
    let (held, needed) = (array.get_buffer_memory_size(), array.to_data().get_slice_memory_size().unwrap_or(usize::MAX));
    if held > TRIM_BYTES_MIN && held / 5 >= needed / 4 {
        array.shrink_to_fit();
    }
    Arc::new(array)
}

/// The nearest real: a whole number beyond 2^53 is rounded, as KQL does it.
#[expect(clippy::cast_precision_loss, reason = "that is what the rule says")]
const fn real(n: i64) -> f64 {
    n as f64
}

/// The nearest real of a whole number beyond i64.
#[expect(clippy::cast_precision_loss, reason = "that is what the rule says")]
const fn real_unsigned(n: u64) -> f64 {
    n as f64
}

/// 8-4-4-4-12 hexadecimal digits.
pub(super) fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
