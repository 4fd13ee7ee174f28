//! What a block says about its columns without being opened: sealed in a cell beside its catalog row, used to prune.

use serde::{Deserialize, Serialize};

use crate::{BlockCounts, ColumnType};

/// One end of a column's values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum StatValue {
    /// A bool.
    Bool(bool),
    /// A long, or an int.
    Long(i64),
    /// A real, never NaN.
    Real(f64),
    /// Text; a minimum cut short stays a lower bound, a maximum cut short is raised to stay an upper bound.
    Text(String),
    /// Nanoseconds since 1970 (datetime) or a duration (timespan).
    Nanos(i64),
}

/// What is known of one column of a block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnStats {
    /// The column's name.
    pub name: String,
    /// Its type in this block (a later one may be wider).
    pub kind: ColumnType,
    /// A lower bound of all values that are not null; absent if unknown or if there are none.
    pub min: Option<StatValue>,
    /// An upper bound, likewise.
    pub max: Option<StatValue>,
    /// How many values are null.
    pub nulls: u64,
}

/// What is known of a block's rows. Columns that are not listed are not in the block: all null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockStats {
    /// How many rows.
    pub rows: u64,
    /// Its columns.
    pub columns: Vec<ColumnStats>,
    /// How often what occurs, if it was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<BlockCounts>,
}
