//! What zeroing on free costs: the same work by two servers that differ in their allocators alone, in turns. The one without has
//! glibc's for everything, two arenas, and nothing is filled. Neighbours on the machine only ever add time: so the least of each side
//! says more than a median.

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
        let server = if binary == arguments.unzeroed { Server::start_as_glibc_is(binary, dir) } else { Server::start(binary, dir) };
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
    let least = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).fold(f64::INFINITY, f64::min);
    let (least_zeroing, least_without) = (least(|pair| pair.0), least(|pair| pair.1));
    let costs = pairs.iter().map(|(zeroing, without)| (zeroing / without - 1.0) * 100.0).collect();
    let (zeroing, without): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    vec![
        Figure::new("with / without, median", format!("{:.2} / {:.2} CPU-s", median(zeroing), median(without)), ""),
        Figure::new("with / without, least", format!("{least_zeroing:.2} / {least_without:.2} CPU-s"), ""),
        Figure::new("cost, least against least", format!("{:.1} %", (least_zeroing / least_without - 1.0) * 100.0), "≤ 3 %"),
        Figure::new("cost, median of pairs", format!("{:.1} %", median(costs)), "≤ 3 %"),
    ]
}
