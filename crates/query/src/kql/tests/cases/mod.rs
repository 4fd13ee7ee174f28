//! Questions with known answers, and real queries with the columns Microsoft's own parser derives for them.
//!
//! The files are not in this repository: they hold other people's queries. They are looked for in `../shared/kql` beside it,
//! or where `STRONGROOM_KQL_CASES` says; `cargo xtask ci kql` runs them, and says so where they are missing. By hand:
//! `cargo nextest run -p strongroom-query --run-ignored all --no-capture -E 'test(kql::tests::cases)'`; `KQL_CASES` and `KQL_CORPUS`
//! name other files, `KQL_ONLY` one case of them, and then nothing is asserted.

mod compare;
mod order;
mod tiers;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use serde_json::Value;
use strongroom_model::ColumnType;

use super::fixture::{self, NOW, Table, table_alone};
use crate::resolve::BoundContext;

/// Deterministic cases of the first tier that must give the known answer, in percent.
const FIRST_TIER_MIN: f64 = 99.0;
/// Real queries that must plan, run and have the official columns, in percent.
const CORPUS_MIN: f64 = 95.0;

/// How a question fared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passed,
    Failed,
    /// A construct that is known not to be here, or a function nobody knows: said, not guessed.
    Refused,
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    refused: usize,
}

impl Tally {
    fn add(&mut self, fate: Fate) {
        match fate {
            Fate::Passed => self.passed += 1,
            Fate::Failed => self.failed += 1,
            Fate::Refused => self.refused += 1,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    fn percent(&self) -> f64 {
        100.0 * self.passed as f64 / (self.passed + self.failed + self.refused).max(1) as f64
    }

    fn row(&self, name: &str) -> String {
        format!("{name:<34} {:>6} {:>6} {:>7} {:>6.1} %", self.passed, self.failed, self.refused, self.percent())
    }
}

const HEAD: &str = "                                   passed failed refused";

/// One of the two files, and whether it is the one that counts.
fn file(name: &str, override_by: &str) -> (Value, bool) {
    let (path, counts) = if let Some(path) = std::env::var_os(override_by) {
        (PathBuf::from(path), false)
    } else {
        let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/kql");
        let directory = std::env::var_os("STRONGROOM_KQL_CASES").map_or_else(beside, PathBuf::from);
        (directory.join(name), true)
    };
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (serde_json::from_str(&text).expect("the file is JSON"), counts && std::env::var_os("KQL_ONLY").is_none())
}

/// The questions of a file, or the one asked for.
fn questions<'f>(file: &'f Value, list: &str) -> impl Iterator<Item = (&'f str, &'f Value)> {
    let only = std::env::var("KQL_ONLY").ok();
    let all = file[list].as_array().expect("a list").iter().map(|question| (question["id"].as_str().expect("an id"), question));
    all.filter(move |(id, _)| only.as_deref().is_none_or(|only| only == *id))
}

/// Mistakes of the text as it stands.
fn misread(text: &str) -> Option<String> {
    let parsed = strongroom_kql::parse(text);
    (!parsed.diagnostics.is_empty()).then(|| strongroom_kql::render(text, &parsed.diagnostics))
}

fn is_refusal(problem: &str) -> bool {
    problem.starts_with("error[NotSupportedYet") || problem.starts_with("error[UnknownFunction")
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[test]
#[ignore = "needs files from outside this repository: see above"]
fn cases() {
    let (file, counts) = file("cases.json", "KQL_CASES");
    let (mut first, mut free, mut rest) = (Tally::default(), Tally::default(), Tally::default());
    let mut kept = [0, 0, 0, 0];
    let mut aside = 0;
    for (id, case) in questions(&file, "cases") {
        let text = case["query"].as_str().expect("a query");
        let trust = &case["trust"];
        let beyond = tiers::beyond(&case["tags"]);
        let free_choice = compare::is_free(case);
        if is_no_question(text, case) {
            println!("ASIDE {id} {}\n", first_line(text));
            aside += 1;
            continue;
        }
        let fate = if let Some(complaint) = misread(text) {
            println!("SYNTAX {id} {}\n{text}\n", first_line(&complaint));
            kept[3] += 1;
            Fate::Failed
        } else {
            let answer = catch_unwind(|| table_alone(text)).unwrap_or_else(|_| Err("failed: panic".to_owned()));
            let fate = verdict(id, text, case, answer);
            kept[fate as usize] += 1;
            fate
        };
        if fate != Fate::Passed {
            let tier = if beyond.is_empty() { "TIER-1".to_owned() } else { format!("BEYOND {}", beyond.join(" ")) };
            println!("  ^ {id} trust {trust} {tier}\n");
        }
        let tally = if !beyond.is_empty() {
            &mut rest
        } else if free_choice {
            &mut free
        } else {
            &mut first
        };
        tally.add(fate);
    }
    println!("pass {} failed {} refused {} syntax {}", kept[0], kept[1], kept[2], kept[3]);
    let mut told = format!("{HEAD}\n{}\n", first.row("tier 1, one right answer"));
    writeln!(told, "{}\n{}", free.row("tier 1, several right answers"), rest.row("beyond tier 1")).expect("a string takes text");
    println!("{told}{aside} set aside: commands, fragments, or over tables that the file does not give");
    if counts {
        assert!(aside <= 12, "{aside} cases are set aside");
        assert!(first.percent() >= FIRST_TIER_MIN, "fewer than {FIRST_TIER_MIN} % of the first tier:\n{told}");
    }
}

/// What the file has but nobody could answer: commands (`.show`, `#connect`), calls that the documentation shows without the
/// `print` that would make a query of them (their columns have no type), and tables of the documentation's own cluster.
fn is_no_question(text: &str, case: &Value) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    let command = lines.next().is_some_and(|line| line.starts_with(['.', '#']));
    let untyped = case["columns"].as_array().is_some_and(|columns| columns.iter().all(|column| column["type"].is_null()));
    let elsewhere = ["search ", "find "].iter().any(|word| text.starts_with(word)) || text.contains("'StormEvents'");
    command || untyped && !text.contains(['|', ';']) && !text.contains("print ") || elsewhere
}

/// Compares an answer with the known one, and tells of what differs.
fn verdict(id: &str, text: &str, case: &Value, answer: Result<Table, String>) -> Fate {
    let trust = &case["trust"];
    let answer = match answer {
        Err(problem) if is_refusal(&problem) => {
            println!("REFUSED {id} {}", first_line(&problem));
            return Fate::Refused;
        }
        Err(problem) => {
            println!("FAILED {id} trust {trust}\n{text}\n  {problem}\n");
            return Fate::Failed;
        }
        Ok(answer) => answer,
    };
    match compare::difference(text, case, &answer) {
        None => Fate::Passed,
        Some(difference) => {
            println!("FAILED {id} trust {trust}\n{text}\n  {difference}\n");
            Fate::Failed
        }
    }
}

/// Tables without rows, of the schemas a query expects.
fn empty_tables(schemas: &Value) -> HashMap<String, Arc<dyn TableProvider>> {
    let empty = |columns: &Value| -> Arc<dyn TableProvider> {
        let fields = columns.as_object().expect("columns").iter().map(|(name, kind)| kind_of(kind).query_field(name));
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Arc::new(MemTable::try_new(Arc::clone(&schema), vec![vec![RecordBatch::new_empty(schema)]]).expect("an empty table"))
    };
    schemas.as_object().expect("tables").iter().map(|(name, table)| (name.clone(), empty(&table["columns"]))).collect()
}

fn kind_of(name: &Value) -> ColumnType {
    match name.as_str().unwrap_or_default() {
        "bool" => ColumnType::Bool,
        "int" => ColumnType::Int,
        "long" => ColumnType::Long,
        "real" => ColumnType::Real,
        "decimal" => ColumnType::Decimal,
        "datetime" => ColumnType::DateTime,
        "timespan" => ColumnType::TimeSpan,
        "guid" => ColumnType::Guid,
        "dynamic" => ColumnType::Dynamic,
        _ => ColumnType::String,
    }
}

#[test]
#[ignore = "needs files from outside this repository: see above"]
fn corpus() {
    let (file, counts) = file("corpus-sample.json", "KQL_CORPUS");
    let (mut tally, mut syntax, mut ran) = (Tally::default(), 0, 0);
    let mut times: [Vec<Duration>; 2] = Default::default();
    for (id, query) in questions(&file, "queries") {
        let text = query["query"].as_str().expect("a query");
        if let Some(complaint) = misread(text) {
            println!("SYNTAX {id} {complaint}");
            syntax += 1;
            tally.add(Fate::Failed);
            continue;
        }
        let tables = empty_tables(&query["tables"]);
        let mut names: Vec<String> = tables.keys().cloned().collect();
        names.sort_unstable();
        let context = BoundContext { names, tables, now: NOW, ..BoundContext::default() };
        timed(&mut times, text, &context);
        let fate = match catch_unwind(AssertUnwindSafe(|| planned(text, &context))) {
            Err(_) => {
                println!("FAILED {id} by a panic\n{text}\n");
                Fate::Failed
            }
            Ok(Err(problem)) if is_refusal(&problem) => {
                println!("REFUSED {id} {}", first_line(&problem));
                Fate::Refused
            }
            Ok(Err(problem)) => {
                println!("FAILED {id}\n{text}\n{problem}\n");
                Fate::Failed
            }
            Ok(Ok(have)) => {
                ran += 1;
                match compare::columns_differ(&query["expected_columns"], &have) {
                    None => Fate::Passed,
                    Some(why) => {
                        println!("FAILED {id}\n{text}\n{why}\n");
                        Fate::Failed
                    }
                }
            }
        };
        tally.add(fate);
    }
    println!("corpus pass {} failed {} refused {} syntax {syntax} ran {ran}", tally.passed, tally.failed - syntax, tally.refused);
    println!("{HEAD}\n{}", tally.row("real queries"));
    let [parsing, planning] = times.map(|mut times| {
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    });
    println!(
        "p50 of parsing {} µs, of planning {} µs (marks, in a release build: 50 and 3,000)",
        parsing.as_micros(),
        planning.as_micros()
    );
    if counts {
        assert_eq!(syntax, 0, "every query of the corpus parses");
        assert!(tally.percent() >= CORPUS_MIN, "fewer than {CORPUS_MIN} % of the corpus");
    }
}

/// How long parsing and planning take, without running anything.
fn timed(times: &mut [Vec<Duration>; 2], text: &str, context: &BoundContext) {
    let begun = Instant::now();
    let parsed = strongroom_kql::parse(text);
    times[0].push(begun.elapsed());
    let begun = Instant::now();
    if catch_unwind(AssertUnwindSafe(|| crate::kql::bind(&parsed.query, text, context))).is_ok_and(|planned| planned.is_ok()) {
        times[1].push(begun.elapsed());
    }
}

/// Plans a query, runs it over its empty tables, and gives its columns.
fn planned(text: &str, context: &BoundContext) -> Result<Vec<(String, ColumnType)>, String> {
    let parsed = strongroom_kql::parse(text);
    let planned = fixture::bound_over(&parsed.query, text, context).map_err(|problem| problem.render(text))?;
    fixture::execute(&planned)?;
    let fields = planned.plan.schema().fields();
    Ok(fields.iter().map(|field| (field.name().clone(), ColumnType::of_field(field).expect("a KQL type"))).collect())
}
