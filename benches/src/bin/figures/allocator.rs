//! What zeroing on free costs: the same work by two servers that differ in their allocator alone, in turns.

use std::path::Path;

use strongroom_benches::median;

use crate::ingest::{bodies, send};
use crate::server::Server;
use crate::{Arguments, Figure};

/// Each server's share of the data: enough for a few flushes.
const MEGABYTES: usize = 200;

pub(crate) fn take(arguments: &Arguments, dir: &Path) -> Vec<Figure> {
    let bodies = bodies(arguments.seed, arguments.megabytes.min(MEGABYTES));
    let run = |binary: &Path| {
        let server = Server::start(binary, dir);
        server.settle();
        let start = server.cpu();
        send(&server, &bodies, 2);
        let mut client = server.client();
        client.insist("POST", "/v1/workspaces/default/flush", b"");
        client.insist("POST", "/v1/workspaces/default/compact", b"");
        for _ in 0..3 {
            let query = br#"{"query":"logs | summarize count(), avg(duration_ms) by service, level"}"#;
            client.insist("POST", "/v1/workspaces/default/query", query);
        }
        (server.cpu().saturating_sub(start)).as_secs_f64()
    };
    let pairs: Vec<(f64, f64)> = (0..arguments.repeats)
        .map(|turn| {
            // In turns, so that neither always comes first.
            if turn % 2 == 0 {
                let zeroing = run(&arguments.binary);
                (zeroing, run(&arguments.unzeroed))
            } else {
                let without = run(&arguments.unzeroed);
                (run(&arguments.binary), without)
            }
        })
        .collect();
    let costs = pairs.iter().map(|(zeroing, without)| (zeroing / without - 1.0) * 100.0).collect();
    let (zeroing, without): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    vec![
        Figure::new("with / without, median", format!("{:.2} / {:.2} CPU-s", median(zeroing), median(without)), ""),
        Figure::new("cost, median of pairs", format!("{:.1} %", median(costs)), "≤ 3 %"),
    ]
}
