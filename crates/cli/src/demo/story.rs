//! The steps of the demo.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::rows::{Marks, QUESTION, Sent};
use super::stage::{Stage, say, show};
use crate::Failure;
use crate::client::{CallError, Client};
use crate::load::Generator;
use crate::scan::{Marker, files, scan};

const BATCH: u64 = 8_000;
const SMALL_BATCH: u64 = 1_000;
const SEED: u64 = 7;
const KEY: &str = "demo-key";
const CLUSTER: &str = "demo-cluster";
/// What is promised: from the key's disabling to the last byte, and from its enabling to the first.
const PROMISED: Duration = Duration::from_mins(1);
/// Erased files go in the background.
const TIDY: Duration = Duration::from_secs(15);
const ASK_EVERY: Duration = Duration::from_millis(250);
const INGEST: &str = "strongroom ingest - --table ServiceLogs";

/// What is known so far.
struct Story<'a> {
    stage: &'a mut Stage,
    generator: Generator,
    marks: Marks,
    sent: Sent,
}

/// A block in EXPLAIN.
#[derive(Clone, Debug)]
struct Block {
    rows: u64,
    class: String,
    epoch: String,
    cache: String,
}

/// Tells it from the beginning to the end.
pub(super) async fn tell(stage: &mut Stage) -> Result<(), Failure> {
    say("The lock: whose key it is, whose data it is. Every command is shown as you would type it.")?;
    let mut story = Story { stage, generator: Generator::new(SEED, "TimeGenerated"), marks: Marks::new(), sent: Sent::default() };
    let (client, vault) = story.start().await?;
    story.before_the_key().await?;
    story.vault().await?;
    story.cluster(&vault).await?;
    let epoch = story.under_the_key().await?;
    story.cached(&epoch).await?;
    story.disable(&client).await?;
    story.nothing_left(&epoch).await?;
    story.enable(&client).await?;
    story.unlink().await
}

impl Story<'_> {
    async fn start(&mut self) -> Result<(Client, String), Failure> {
        let stage = &mut *self.stage;
        stage.chapter("Two processes: the customer's key vault, and a log server that is told where it may call")?;
        stage.introduce()?;
        let dir = stage.path("vault");
        let vault = stage.start("vault", &["vault", "serve", "--vault-dir", &dir, "--listen", "127.0.0.1:0"], "vault: ").await?;
        let address = vault.trim_start_matches("https://").to_owned();
        // A small disk does for a small demo.
        let settings = format!(
            "[outbound]\nallow = [\"{address}\"]\n\n[buffer]\nreserve_bytes = 268435456\nreserve_percent = 0\n\n[cache]\n\
             size_bytes = 268435456\nfree_min_bytes = 134217728\n"
        );
        let file = stage.path("config/strongroom.toml");
        std::fs::write(&file, &settings).map_err(|error| Failure::Failed(format!("{file}: {error}")))?;
        say("   $ cat > $DEMO/config/strongroom.toml")?;
        show(&settings)?;
        let (data, config) = (stage.path("data"), stage.path("config"));
        let serve = ["serve", "--no-vault", "--listen", "127.0.0.1:0", "--data-dir", &data, "--config-dir", &config];
        let address = stage.start("server", &serve, "serving address=").await?;
        let server = format!("http://{address}");
        stage.export(&[
            ("STRONGROOM_SERVER", server.clone()),
            ("STRONGROOM_CONFIG_DIR", config),
            ("STRONGROOM_VAULT", vault.clone()),
            ("STRONGROOM_VAULT_DIR", dir),
        ])?;
        let client = stage.client(&server)?;
        until(Duration::from_secs(30), async || client.send(client.request(Method::GET, &["readyz"])).await.is_ok().then_some(()))
            .await
            .ok_or_else(|| Failure::Failed("the demo failed: the server did not become ready within 30 s".into()))?;
        say(&format!("   ok  the vault answers at {vault}, the server at {server}"))?;
        Ok((client, vault))
    }

    async fn before_the_key(&mut self) -> Result<(), Failure> {
        self.stage.chapter("Logs arrive; nobody has given a key yet, so they are sealed under the provider's (MMK)")?;
        self.ingest(BATCH, Duration::from_mins(20)).await?;
        self.same_numbers().await?;
        self.stage.run(&["flush"]).await?;
        self.same_numbers().await?;
        let found = self.stage.quiet(&["query", &self.marked(), "--output", "csv"]).await?;
        let what = format!("{} of them are marked, in a column of their own: what the demo looks for on the disks later", self.sent.marked);
        self.stage.check(&what, &format!("Count\n{}\n", self.sent.marked), &found.out)
    }

    async fn vault(&mut self) -> Result<(), Failure> {
        let stage = &mut *self.stage;
        stage.chapter("The customer makes a key that cannot be lost by mistake")?;
        stage.run(&["vault", "update", "--soft-delete", "--purge-protection"]).await?;
        let vault = json_of(&stage.quiet(&["vault", "show", "--output", "json"]).await?.out)?;
        let protections = |vault: &Value| (vault["enableSoftDelete"] == true, vault["enablePurgeProtection"] == true);
        stage.check("soft delete and purge protection are on", &(true, true), &protections(&vault))?;
        stage.run(&["key", "create", KEY]).await?;
        Ok(())
    }

    async fn cluster(&mut self, vault: &str) -> Result<(), Failure> {
        let stage = &mut *self.stage;
        stage.chapter("A dedicated cluster with an identity of its own, which the customer lets use the key")?;
        stage.run(&["cluster", "create", CLUSTER]).await?;
        let cluster = json_of(&stage.quiet(&["cluster", "show", CLUSTER, "--output", "json"]).await?.out)?;
        stage.check("double encryption is on unless one says no", &json!(true), &cluster["properties"]["isDoubleEncryptionEnabled"])?;
        let pem = stage.path("demo-cluster.pem");
        let principal = stage.run(&["cluster", "identity", CLUSTER, "--out", &pem]).await?.out.trim().to_owned();
        stage.run(&["vault", "identity", "add", "--name", CLUSTER, "--principal-id", &principal, "--public-key", &pem]).await?;
        stage.run(&["vault", "grant", "--principal", CLUSTER]).await?;
        let ca = stage.path("vault/ca.pem");
        stage.run(&["cluster", "register-vault", "demo-vault", "--vault-uri", vault, "--ca", &ca]).await?;
        stage.run(&["cluster", "set-key", CLUSTER, "--vault-uri", vault, "--key-name", KEY]).await?;
        stage.run(&["workspace", "link", "default", "--cluster", CLUSTER]).await?;
        let status = json_of(&stage.quiet(&["key", "status", "--cluster", CLUSTER, "--output", "json"]).await?.out)?;
        stage.check("the key is Active", &json!("Active"), &status["state"])
    }

    /// Gives back the epoch under the customer's key.
    async fn under_the_key(&mut self) -> Result<String, Failure> {
        self.stage.chapter("More logs arrive; they are sealed under the customer's key (CMK), and one question reads both")?;
        self.ingest(BATCH, Duration::from_mins(2)).await?;
        self.stage.run(&["flush"]).await?;
        self.same_numbers().await?;
        // What was read is kept on SSD from the first time.
        let blocks = self.explain().await?;
        let rows = |class: &str| blocks.iter().filter(|block| block.class == class).map(|block| block.rows).sum::<u64>();
        let what = format!("{BATCH} rows in blocks under the provider's key, {BATCH} under the customer's");
        self.stage.check(&what, &(BATCH, BATCH), &(rows("MMK"), rows("CMK")))?;
        let customers = blocks.iter().find(|block| block.class == "CMK").expect("it has rows");
        Ok(customers.epoch.clone())
    }

    async fn cached(&mut self, epoch: &str) -> Result<(), Failure> {
        let files = self.cache_files(epoch);
        self.stage.holds(&format!("the hot cache holds {} files of the customer's epoch", files.len()), files.len() > 1, || {
            ("a key record and at least one part".into(), format!("{files:?}"))
        })?;
        say("   (and some rows that are in no block yet, only in memory and in the write-ahead log)")?;
        self.ingest(SMALL_BATCH, Duration::from_mins(1)).await?;
        self.same_numbers().await
    }

    async fn disable(&mut self, client: &Client) -> Result<(), Failure> {
        self.stage.chapter("The customer takes the key away, and the server finds out by itself")?;
        self.stage.run(&["key", "disable", KEY]).await?;
        let began = Instant::now();
        say("   (asking the same question again and again: the right numbers, or an error that says why; never less)")?;
        let right = self.sent.json();
        let (mut wrong, mut good) = (None, 0_u32);
        let told = until(PROMISED, async || match ask(client).await {
            Ok(rows) if rows == right => {
                good += 1;
                None
            }
            Err(error) if error.status.is_some_and(|status| status.as_u16() == 403) => Some(error.failure.to_string()),
            other => {
                wrong = Some(format!("{other:?}"));
                Some(String::new())
            }
        })
        .await;
        let seconds = began.elapsed().as_secs_f64();
        let told = wrong.or(told).unwrap_or_else(|| format!("right numbers for {} s", PROMISED.as_secs()));
        self.stage.holds(
            &format!("gone {seconds:.1} s after the key was disabled; {good} answers before, all right"),
            told.starts_with("CustomerKeyRevoked: "),
            || (format!("403 CustomerKeyRevoked within {} s", PROMISED.as_secs()), told),
        )?;
        self.stage.refused(&["query", QUESTION], "CustomerKeyRevoked").await?;
        let status = json_of(&self.stage.quiet(&["key", "status", "--cluster", CLUSTER, "--output", "json"]).await?.out)?;
        self.stage.check(
            "what the server says of the key",
            &(json!("Revoked"), json!("KeyDisabled")),
            &(status["state"].clone(), status["code"].clone()),
        )?;

        // By hand: the command would wait and try again, as it should.
        say("   $ curl -i -H \"Authorization: Bearer $(cat $DEMO/config/admin-token)\" -d '{\"level\":\"INFO\"}' \
             $STRONGROOM_SERVER/v1/workspaces/default/ingest/ServiceLogs")?;
        let request = client.request(Method::POST, &["v1", "workspaces", "default", "ingest", "ServiceLogs"]);
        let answer = client.json(request.body("{\"level\":\"INFO\"}")).await;
        let refused = match answer {
            Ok(answer) => format!("200 {answer}"),
            Err(error) => {
                let status = error.status.map_or(0, |status| status.as_u16());
                let retry = error.retry_after.map_or_else(String::new, |wait| format!(" (Retry-After: {})", wait.as_secs()));
                format!("{status}{retry} {}", error.failure)
            }
        };
        show(&refused)?;
        let good = refused.starts_with("503 (Retry-After") && refused.contains("CustomerKeyRevoked") && refused.contains("not accepted");
        self.stage.holds("new rows are not taken, and the answer says so", good, || {
            ("503 with Retry-After, CustomerKeyRevoked, \"not accepted\"".into(), refused.clone())
        })
    }

    async fn nothing_left(&mut self, epoch: &str) -> Result<(), Failure> {
        self.stage.chapter("What is left on the disks")?;
        let left = until(TIDY, async || self.cache_files(epoch).is_empty().then_some(())).await;
        self.stage.holds("the hot cache's files of that epoch are gone", left.is_some(), || {
            ("no file".into(), format!("{:?}", self.cache_files(epoch)))
        })?;
        let markers = [Marker::new(&self.marks.value), Marker::new(&self.marks.column)];
        let places = ["data", "config", "logs"].map(|below| self.stage.dir().join(below));
        let planted = self.stage.dir().join("data/planted");
        let text = markers.iter().map(|marker| hex::encode(marker.text())).collect::<Vec<_>>().join("\n");
        let cannot = |error: std::io::Error| Failure::Failed(format!("{}: {error}", planted.display()));
        std::fs::write(&planted, text).map_err(cannot)?;
        let look = move || places.iter().map(|place| (files(place).len(), scan(place, &markers))).fold((0, Vec::new()), join);
        let (_, hits) = blocking(look.clone()).await?;
        std::fs::remove_file(&planted).map_err(cannot)?;
        self.stage.check("the scanner finds both markers where they were planted, in hex, on purpose", &2, &hits.len())?;
        let (count, hits) = blocking(look).await?;
        let what = format!("none in the {count} files of data, config and logs: raw, hex, base64, UTF-16, compressed");
        self.stage.check(&what, &Vec::<String>::new(), &hits)
    }

    async fn enable(&mut self, client: &Client) -> Result<(), Failure> {
        self.stage.chapter("The customer gives the key back")?;
        self.stage.run(&["key", "enable", KEY]).await?;
        let began = Instant::now();
        let right = self.sent.json();
        let mut last = String::new();
        let back = until(PROMISED, async || match ask(client).await {
            Ok(rows) => Some(rows),
            Err(error) => {
                last = error.failure.to_string();
                None
            }
        })
        .await;
        let seconds = began.elapsed().as_secs_f64();
        self.stage.holds(
            &format!("back {seconds:.1} s after the key was enabled, and nothing is missing"),
            back.as_ref() == Some(&right),
            || (right.to_string(), back.map_or(last, |rows| rows.to_string())),
        )?;
        self.same_numbers().await
    }

    async fn unlink(&mut self) -> Result<(), Failure> {
        self.stage.chapter("And the way back: unlinked, new rows are under the provider's key again; old ones stay locked")?;
        self.stage.run(&["workspace", "unlink", "default"]).await?;
        self.ingest(SMALL_BATCH, Duration::ZERO).await?;
        self.stage.run(&["flush"]).await?;
        self.same_numbers().await?;
        let blocks = self.explain().await?;
        let rows = |class: &str| blocks.iter().filter(|block| block.class == class).map(|block| block.rows).sum::<u64>();
        let expected = (BATCH + SMALL_BATCH, BATCH + SMALL_BATCH);
        let what = format!("{} rows in blocks under the provider's key, {} under the customer's", expected.0, expected.1);
        self.stage.check(&what, &expected, &(rows("MMK"), rows("CMK")))?;
        let log = json_of(&self.stage.quiet(&["vault", "log", "--output", "json"]).await?.out)?;
        let unwraps = log["value"].as_array().into_iter().flatten().filter(|call| call["operation"] == "KeyUnwrap");
        let (good, refused): (Vec<&Value>, Vec<&Value>) = unwraps.partition(|call| call["status"] == 200);
        let what =
            format!("the vault's own log: {} unwraps for the cluster, {} of them refused", good.len() + refused.len(), refused.len());
        self.stage.holds(&what, !good.is_empty() && refused.len() >= 2, || ("some good ones and at least two refused".into(), what.clone()))
    }

    /// Sends generated rows.
    async fn ingest(&mut self, rows: u64, before_now: Duration) -> Result<(), Failure> {
        let body = self.sent.generate(&mut self.generator, &self.marks, rows, before_now);
        self.stage.feed("generated logs", body, &INGEST.split(' ').skip(1).collect::<Vec<_>>()).await.map(drop)
    }

    /// Asks, and compares with what was sent.
    async fn same_numbers(&self) -> Result<(), Failure> {
        let said = self.stage.run(&["query", QUESTION, "--output", "csv"]).await?;
        self.stage.check(&format!("all {} rows, the same sums as sent", self.sent.rows()), &self.sent.csv(), &said.out)
    }

    fn marked(&self) -> String {
        format!("ServiceLogs | where {} == \"{}\" | count", self.marks.column, self.marks.value)
    }

    /// The blocks that the question reads.
    async fn explain(&self) -> Result<Vec<Block>, Failure> {
        let said = self.stage.quiet(&["query", QUESTION, "--explain", "--output", "ndjson"]).await?;
        let lines: Result<Vec<Value>, Failure> = said.out.lines().map(json_of).collect();
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let blocks: Vec<Block> = lines?
            .iter()
            .filter(|row| row["Item"] == "block")
            .map(|row| Block {
                rows: row["Rows"].as_u64().unwrap_or(0),
                class: text(row, "KeyClass"),
                epoch: text(row, "Epoch"),
                cache: text(row, "Cache"),
            })
            .collect();
        for block in &blocks {
            show(&format!("block of {:>5} rows  {}  epoch {}  {}", block.rows, block.class, block.epoch, block.cache))?;
        }
        Ok(blocks)
    }

    /// The files of the hot cache that belong to an epoch.
    fn cache_files(&self, epoch: &str) -> Vec<String> {
        let all = files(&self.stage.dir().join("data/cache"));
        all.iter().map(|path| path.display().to_string()).filter(|path| path.contains(epoch)).collect()
    }
}

/// The question's rows.
async fn ask(client: &Client) -> Result<Value, CallError> {
    let request = client.request(Method::POST, &["v1", "workspaces", "default", "query"]);
    let answer = client.json(request.json(&json!({"query": QUESTION}))).await?;
    Ok(answer["tables"][0]["rows"].clone())
}

/// Tries until there is something, for so long at most.
async fn until<T>(limit: Duration, mut attempt: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = attempt().await {
            return Some(found);
        }
        if began.elapsed() > limit {
            return None;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Failure::Failed(format!("the scan stopped: {error}")))
}

fn join((files, mut hits): (usize, Vec<String>), (more, others): (usize, Vec<String>)) -> (usize, Vec<String>) {
    hits.extend(others);
    (files + more, hits)
}

fn json_of(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::Failed(format!("the demo failed: a command's JSON cannot be read: {error}")))
}
