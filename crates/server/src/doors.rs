//! Settings of the doors that speak Azure's protocols for data.

use serde::{Deserialize, Serialize};

/// Bounds and manners of Azure's data doors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DoorsConfig {
    /// What the Logs Ingestion API answers to rows that are refused because the customer took the key away: `403`, as Azure's doors
    /// do, or `503` with Retry-After, for senders that throw away what gets a 403.
    pub logs_ingestion_while_revoked: Refusal,
    /// The same of the HTTP Data Collector API.
    pub data_collector_while_revoked: Refusal,
    /// Bytes of one call of the Logs Ingestion API, on the wire and inflated. Azure says 1 MB; its own clients send up to twice as
    /// much, for they count records without what stands between them.
    pub logs_ingestion_bytes_max: usize,
    /// Calls of the Logs Ingestion API through one rule in a minute (Azure's limit); 0: no limit.
    pub logs_ingestion_requests_per_minute: u64,
    /// Bytes of those calls (Azure's limit); 0: no limit.
    pub logs_ingestion_bytes_per_minute: u64,
    /// Bytes of one post to the HTTP Data Collector API (Azure's limit).
    pub data_collector_bytes_max: usize,
    /// How far `x-ms-date` may be from the server's clock, in seconds.
    pub data_collector_skew_max_s: u64,
    /// How long a query that took too long is not tried again for a client that only repeats itself, in milliseconds.
    pub timed_out_query_ms: u64,
    /// Questions of one batch that run at once.
    pub batch_concurrent_max: usize,
    /// Questions of one batch.
    pub batch_questions_max: usize,
    /// Bytes of all answers of one batch: they are in memory until the last one is there. An answer is cut at its part of what is left.
    pub batch_bytes_max: u64,
}

impl Default for DoorsConfig {
    fn default() -> Self {
        Self {
            logs_ingestion_while_revoked: Refusal::Forbidden,
            data_collector_while_revoked: Refusal::Forbidden,
            logs_ingestion_bytes_max: 4 << 20,
            logs_ingestion_requests_per_minute: 12_000,
            logs_ingestion_bytes_per_minute: 2 << 30,
            data_collector_bytes_max: 30 << 20,
            data_collector_skew_max_s: 15 * 60,
            timed_out_query_ms: 60_000,
            batch_concurrent_max: 4,
            batch_questions_max: 100,
            batch_bytes_max: 64_000_000,
        }
    }
}

/// How a door says that rows are not taken while the key is away by the customer's will.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// 403: it is not to be tried again as it is.
    #[default]
    #[serde(rename = "403")]
    Forbidden,
    /// 503 with Retry-After: keep it and try again.
    #[serde(rename = "503")]
    Unavailable,
}
