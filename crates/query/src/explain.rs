//! EXPLAIN: how a question would be answered, as rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use strongroom_model::{Epoch, KeyClass, ObjectId, Window, WindowLength};
use strongroom_store::Hotness;

use crate::output::format_datetime;

/// Why a block is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pruned {
    /// Its window lies outside the wanted time.
    Window,
    /// Its event times lie outside the wanted time.
    Time,
    /// Its sealed statistics.
    Statistics,
    /// Its token filters.
    Terms,
    /// What was counted in it says enough.
    Counts,
}

impl Pruned {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Window => "pruned by window",
            Self::Time => "pruned by time",
            Self::Statistics => "pruned by statistics",
            Self::Terms => "pruned by terms",
            Self::Counts => "answered by counts",
        }
    }
}

/// What happens to one part of a table.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// The rows that are in no block yet.
    Memory {
        /// The table.
        table: String,
        /// Rows read.
        rows: u64,
        /// Rows there.
        all: u64,
    },
    /// A block.
    Block {
        /// The table.
        table: String,
        /// The block.
        object: ObjectId,
        /// Its window.
        window: Window,
        /// Its rows.
        rows: u64,
        /// Its sealed bytes.
        bytes: u64,
        /// Why it is not read, if it is not.
        pruned: Option<Pruned>,
        /// Who can take its key away, and whether it is sealed in two layers; `None` if the key is away.
        key: Option<(KeyClass, bool)>,
        /// Its epoch.
        epoch: Epoch,
        /// How much of it is on SSD.
        hotness: Hotness,
        /// How many of its slices are read, and of how many, if its token filters were asked.
        slices: Option<(usize, usize)>,
        /// Whether a group's filters told that, so that the block was not opened for it.
        grouped: bool,
    },
}

pub(crate) fn schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, true);
    let long = |name| Field::new(name, DataType::Int64, true);
    Arc::new(Schema::new(vec![
        text("Item"),
        text("Table"),
        text("Block"),
        text("Window"),
        text("Fate"),
        long("Rows"),
        long("Bytes"),
        text("KeyClass"),
        text("Epoch"),
        text("Cache"),
        text("Detail"),
    ]))
}

#[derive(Default)]
struct Line {
    text: [Option<String>; 9],
    rows: Option<i64>,
    bytes: Option<i64>,
}

fn line(fate: &Fate) -> Line {
    let long = |n: u64| i64::try_from(n).ok();
    match fate {
        Fate::Memory { table, rows, all } => Line {
            text: [
                Some("memtable".into()),
                Some(table.clone()),
                None,
                None,
                Some(
                    if *rows > 0 {
                        "read"
                    } else if *all > 0 {
                        "pruned by time"
                    } else {
                        "empty"
                    }
                    .into(),
                ),
                None,
                None,
                None,
                Some(format!("{rows} of {all} rows")),
            ],
            rows: long(*rows),
            bytes: None,
        },
        Fate::Block { table, object, window, rows, bytes, pruned, key, epoch, hotness, slices, grouped } => {
            let length = match window.length {
                WindowLength::Hour => "PT1H",
                WindowLength::Day => "P1D",
            };
            Line {
                text: [
                    Some("block".into()),
                    Some(table.clone()),
                    Some(object.to_string()),
                    Some(format!("{}/{length}", format_datetime(window.range().start))),
                    Some(pruned.map_or("read", Pruned::as_str).into()),
                    Some(key.map_or("unavailable", |(class, _)| class.as_str()).into()),
                    Some(epoch.aek.to_string()),
                    Some(hotness.as_str().into()),
                    key.map(|(_, double)| {
                        let layers = if double { "two layers" } else { "one layer" };
                        let by = if *grouped { " by its group" } else { "" };
                        slices.map_or_else(|| layers.into(), |(read, all)| format!("{layers}, {read} of {all} slices{by}"))
                    }),
                ],
                rows: long(*rows),
                bytes: long(*bytes),
            }
        }
    }
}

/// Of how many blocks of each table groups of filters told, if there were any.
fn groups(fates: &[Fate]) -> Vec<Line> {
    let mut of_table: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for fate in fates {
        if let Fate::Block { table, slices: Some(_), grouped, .. } = fate {
            let counts = of_table.entry(table).or_default();
            *counts = (counts.0 + usize::from(*grouped), counts.1 + 1);
        }
    }
    let told = of_table.into_iter().filter(|(_, (grouped, _))| *grouped > 0);
    told.map(|(table, (grouped, asked))| Line {
        text: [
            Some("filter groups".into()),
            Some(table.into()),
            None,
            None,
            Some("asked".into()),
            None,
            None,
            None,
            Some(format!("told of {grouped} of {asked} blocks")),
        ],
        ..Line::default()
    })
    .collect()
}

/// The rows: both plans, then what groups of filters told, then memtables, then blocks newest first.
pub(crate) fn rows(
    logical: &LogicalPlan,
    physical: &dyn ExecutionPlan,
    mut fates: Vec<Fate>,
) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let plan = |item: &str, text: String| Line {
        text: [Some(item.into()), None, None, None, None, None, None, None, Some(text)],
        ..Line::default()
    };
    fates.sort_by_key(|fate| match fate {
        Fate::Memory { table, .. } => (0, table.clone(), std::cmp::Reverse((0, ObjectId::NIL))),
        Fate::Block { table, window, object, .. } => (1, table.clone(), std::cmp::Reverse((window.start, *object))),
    });
    let mut lines = vec![
        plan("logical plan", logical.display_indent().to_string()),
        plan("physical plan", displayable(physical).indent(false).to_string()),
    ];
    lines.extend(groups(&fates));
    lines.extend(fates.iter().map(line));
    let text = |i: usize| -> ArrayRef { Arc::new(lines.iter().map(|line| line.text[i].as_deref()).collect::<StringArray>()) };
    let long = |of: fn(&Line) -> Option<i64>| -> ArrayRef { Arc::new(lines.iter().map(of).collect::<Int64Array>()) };
    RecordBatch::try_new(
        schema(),
        vec![text(0), text(1), text(2), text(3), text(4), long(|l| l.rows), long(|l| l.bytes), text(5), text(6), text(7), text(8)],
    )
}
