//! Questions asked beside the load, as dashboards and people ask them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use super::generate::Generator;
use super::words::SERVICES;
use super::{REQUEST_TIMEOUT, Run};
use crate::client::CallError;

/// Questions under way at the same time, at most; one that is due while all are busy is not asked, and counted.
const AT_ONCE: usize = 8;

/// The texts, one after the other. `{T}` is the table, `{S}` a service, `{X}` a trace.
const MIX: [&str; 8] = [
    "{T} | count",
    "{T} | where TimeGenerated > ago(5m) | summarize n = count() by level",
    "{T} | where service == \"{S}\" | top 100 by TimeGenerated desc",
    "{T} | where level == \"ERROR\" | summarize n = count() by service | top 10 by n",
    "{T} | where trace_id == \"{X}\"",
    "{T} | where TimeGenerated > ago(15m) | summarize n = count() by bin(TimeGenerated, 1m)",
    "{T} | where message has \"timeout\" | count",
    "{T} | where TimeGenerated > ago(15m) | summarize p95 = percentile(duration_ms, 95) by service",
];

fn text(number: usize, table: &str, generator: &mut Generator) -> String {
    let service = SERVICES[number * 7 % SERVICES.len()];
    MIX[number % MIX.len()].replace("{T}", table).replace("{S}", service).replace("{X}", &generator.some_trace())
}

/// Asks so many questions a second until it is stopped.
pub(super) async fn ask(run: Arc<Run>, per_second: f64, mut generator: Generator) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut due = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second));
    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // The first ack makes the table.
    while !run.figures.has_rows() {
        due.tick().await;
    }
    for number in 0.. {
        due.tick().await;
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            run.figures.not_asked();
            continue;
        };
        let question = text(number, &run.table, &mut generator);
        let run = Arc::clone(&run);
        tokio::spawn(async move {
            let start = Instant::now();
            let request = run
                .client
                .request(Method::POST, &["v1", "workspaces", &run.workspace, "query"])
                .timeout(REQUEST_TIMEOUT)
                .json(&json!({"query": question}));
            match run.client.json(request).await {
                Ok(_) => run.figures.answered(start.elapsed()),
                Err(error) => run.figures.not_answered(&error),
            }
            drop(permit);
        });
    }
}

/// Asks every question so many times, one after the other.
pub(super) async fn rounds(run: &Run, rounds: usize, generator: &mut Generator) -> Result<(), CallError> {
    for number in 0..rounds * MIX.len() {
        let question = text(number, &run.table, generator);
        let start = Instant::now();
        let request = run.client.request(Method::POST, &["v1", "workspaces", &run.workspace, "query"]);
        run.client.json(request.timeout(REQUEST_TIMEOUT).json(&json!({"query": question}))).await?;
        run.figures.answered(start.elapsed());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_name_the_table_and_leave_nothing_open() {
        let mut generator = Generator::new(1, "t");
        for number in 0..20 {
            let question = text(number, "Logs", &mut generator);
            assert!(question.starts_with("Logs | ") && !question.contains(['{', '}']), "{question}");
        }
    }
}
