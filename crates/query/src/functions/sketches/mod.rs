//! Summaries of many values in little space, kept as `dynamic`: what `hll` and `tdigest` make and `dcount_hll` and
//! `percentile_tdigest` read. Their JSON is our own; Kusto's is not read.

mod hll;
mod tdigest;

pub(in crate::functions) use hll::{Hll, precision};
pub(in crate::functions) use tdigest::{Digest, Measure};
