//! The data set on disk: a day of logs as NDJSON, cut into batches, and the same rows as plain Parquet.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::json::ReaderBuilder;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};
use strongroom_benches::Logs;
use strongroom_benches::data::{LATE_NS, NS_PER_ROW, schema};

use crate::ingest::BATCH;

/// A set made for another run is used again while its rows end so shortly ago: the newest hours are laid out otherwise.
const FRESH_NS: i64 = 6 * 3_600 * 1_000_000_000;
/// Rows of a group in the Parquet that the references read.
const GROUP_ROWS: usize = 122_880;
/// The service whose newest rows are asked for: the sixth, 4 % of rows.
const SERVICE: usize = 5;

/// Where it lies, and what questions about it need to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Corpus {
    dir: PathBuf,
    seed: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Nanoseconds since 1970; no row is at or after the end.
    pub(crate) end: i64,
    pub(crate) trace: String,
    pub(crate) service: String,
    /// Where each request's rows begin, and how many bytes they are.
    pub(crate) batches: Vec<(u64, usize)>,
}

impl Corpus {
    /// Of that seed and so many rows, in `dir`; made if it is not there, or too old.
    pub(crate) fn open(dir: &Path, seed: u64, rows: u64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        let now = i64::try_from(now).expect("before 2262");
        let told: Option<Self> = fs::read(dir.join("corpus.json")).ok().and_then(|text| serde_json::from_slice(&text).ok());
        match told {
            Some(told) if told.seed == seed && told.rows == rows && told.dir == dir && now - told.end < FRESH_NS => told,
            _ => Self::make(dir, seed, rows, now - now % 60_000_000_000),
        }
    }

    fn make(dir: &Path, seed: u64, rows: u64, end: i64) -> Self {
        fs::create_dir_all(dir).expect("a directory");
        fs::remove_file(dir.join("corpus.json")).ok();
        fs::remove_file(dir.join("logs.parquet")).ok();
        let mut logs = Logs::from(seed, end - i64::try_from(rows).expect("fewer rows") * NS_PER_ROW);
        let mut out = BufWriter::with_capacity(1 << 20, File::create(dir.join("logs.ndjson")).expect("a file"));
        let (mut batches, mut bytes, mut trace) = (Vec::new(), 0, String::new());
        let mut body = Vec::with_capacity(BATCH + 4_096);
        while logs.rows() < rows {
            body.clear();
            while body.len() < BATCH && logs.rows() < rows {
                logs.row(&mut body);
            }
            if trace.is_empty() && logs.rows() >= rows / 2 {
                trace = logs.recent_trace();
            }
            out.write_all(&body).expect("room on disk");
            batches.push((bytes, body.len()));
            bytes += body.len() as u64;
        }
        out.flush().expect("room on disk");
        let made = Self { dir: dir.to_owned(), seed, rows, bytes, end, trace, service: logs.service(SERVICE).to_owned(), batches };
        fs::write(dir.join("corpus.json"), serde_json::to_vec(&made).expect("plain data")).expect("room on disk");
        made
    }

    pub(crate) fn giga(&self) -> f64 {
        crate::mega(self.bytes) / 1e3
    }

    pub(crate) fn ndjson(&self) -> PathBuf {
        self.dir.join("logs.ndjson")
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads one batch into `body`.
    pub(crate) fn batch(&self, file: &File, number: usize, body: &mut Vec<u8>) {
        let (start, len) = self.batches[number];
        body.resize(len, 0);
        file.read_exact_at(body, start).expect("the file is as long as it was written");
    }

    /// The same rows as one Parquet file: zstd-3, in order of time; written once.
    pub(crate) fn parquet(&self) -> PathBuf {
        let path = self.dir.join("logs.parquet");
        if !path.exists() {
            let unfinished = self.dir.join("logs.parquet.tmp");
            write_sorted(&self.ndjson(), &unfinished);
            fs::rename(unfinished, &path).expect("the same directory");
        }
        path
    }
}

/// Rows are late by less than half a second, so a short queue sorts them.
fn write_sorted(from: &Path, to: &Path) {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3).expect("a level that zstd has"));
    let properties = WriterProperties::builder().set_compression(zstd).set_max_row_group_row_count(Some(GROUP_ROWS)).build();
    let file = File::create(to).expect("a file");
    let mut writer = ArrowWriter::try_new(file, schema(), Some(properties)).expect("a writer");
    let lines = BufReader::with_capacity(1 << 20, File::open(from).expect("the data set"));
    let mut waiting = RecordBatch::new_empty(schema());
    for batch in ReaderBuilder::new(schema()).with_batch_size(8_192).build(lines).expect("a reader") {
        let batch = concat_batches(&schema(), [&waiting, &batch.expect("rows of ours")]).expect("one schema");
        let order = sort_to_indices(batch.column(0), None, None).expect("times");
        let batch = take_record_batch(&batch, &order).expect("its own rows");
        let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values().clone();
        let safe = times.last().map_or(0, |last| last - LATE_NS / 1_000);
        let ready = times.partition_point(|time| *time < safe);
        writer.write(&batch.slice(0, ready)).expect("room on disk");
        waiting = batch.slice(ready, batch.num_rows() - ready);
    }
    writer.write(&waiting).expect("room on disk");
    writer.close().expect("room on disk");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_made_once_and_its_parquet_holds_all_rows_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let made = Corpus::open(dir.path(), 7, 12_000);
        assert_eq!(made.batches.iter().map(|(_, len)| *len as u64).sum::<u64>(), made.bytes);
        assert_eq!(Corpus::open(dir.path(), 7, 12_000).end, made.end);
        let text = fs::read_to_string(made.ndjson()).unwrap();
        let mut sent: Vec<&str> = text.lines().map(|line| &line[18..44]).collect();
        sent.sort_unstable();
        let file = File::open(made.parquet()).unwrap();
        let batches = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        let mut kept = Vec::new();
        for batch in batches {
            let batch = batch.unwrap();
            for row in 0..batch.num_rows() {
                kept.push(arrow::util::display::array_value_to_string(batch.column(0), row).unwrap());
            }
        }
        assert_eq!(kept.len(), 12_000);
        assert!(kept.iter().zip(&sent).all(|(kept, sent)| sent.starts_with(kept.as_str()) || kept == sent), "in order of time");
    }
}
