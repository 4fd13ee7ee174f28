//! The questions, asked of the server and of the references in turns.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use strongroom_benches::clock::forget_pages;
use strongroom_benches::median;

use super::answer::Answer;
use super::questions::Question;
use super::reference::{Duck, Files};
use crate::server::Server;

/// What an answer took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Took {
    pub(crate) cpu_ms: f64,
    pub(crate) wall_ms: f64,
}

impl Took {
    pub(crate) fn of(cpu: Duration, wall: Duration) -> Self {
        Self { cpu_ms: cpu.as_secs_f64() * 1e3, wall_ms: wall.as_secs_f64() * 1e3 }
    }

    fn median(all: &[Self]) -> Self {
        Self {
            cpu_ms: median(all.iter().map(|took| took.cpu_ms).collect()),
            wall_ms: median(all.iter().map(|took| took.wall_ms).collect()),
        }
    }
}

/// Hot: the median of several. Cold: once, after a restart and with no page of its files in memory.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Times {
    pub(crate) hot: Took,
    pub(crate) cold: Option<Took>,
}

/// One question, and what each took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) rows: usize,
    pub(crate) kql: Times,
    pub(crate) sql: Times,
    pub(crate) datafusion: Option<Times>,
    pub(crate) duckdb: Option<Times>,
}

/// Who else answers.
pub(crate) struct References {
    pub(crate) files: Files,
    pub(crate) duck: Option<Duck>,
}

/// Asks all questions hot, then all of them cold. A question that fails, or that engines answer differently, is told of and
/// left out.
pub(crate) fn ask_all(
    questions: &[Question],
    server: &mut Server,
    binary: &Path,
    references: &mut Option<References>,
    repeats: usize,
    cold: bool,
) -> (Vec<Asked>, Vec<String>) {
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    for question in questions {
        match hot(question, server, references, repeats) {
            Ok(asked) => all.push(asked),
            Err(why) => wrong.push(format!("{}: {why}", question.name)),
        }
    }
    if cold {
        for asked in &mut all {
            let question = questions.iter().find(|question| question.name == asked.name).expect("one of these");
            if let Err(why) = ask_cold(question, asked, server, binary, references) {
                wrong.push(format!("{}, cold: {why}", question.name));
            }
        }
    }
    (all, wrong)
}

fn ask_cold(
    question: &Question,
    asked: &mut Asked,
    server: &mut Server,
    binary: &Path,
    references: &mut Option<References>,
) -> Result<(), String> {
    asked.kql.cold = Some(cold_server(server, binary, &question.kql, "kql")?);
    asked.sql.cold = Some(cold_server(server, binary, &question.sql, "sql")?);
    if let (Some(references), Some(times)) = (references.as_mut(), asked.datafusion.as_mut()) {
        times.cold = Some(references.files.cold(&question.datafusion));
    }
    if let (Some(duck), Some(times)) = (references.as_mut().and_then(|all| all.duck.as_mut()), asked.duckdb.as_mut()) {
        duck.restart();
        forget_pages(duck.parquet());
        times.cold = Some(duck.ask(&question.duckdb).1);
    }
    Ok(())
}

fn hot(question: &Question, server: &Server, references: &mut Option<References>, repeats: usize) -> Result<Asked, String> {
    // The first of each is not counted, but compared.
    let (answer, _) = ask(server, &question.kql, "kql")?;
    let same = |who: &str, other: &Answer| answer.compare(other).map_err(|why| format!("KQL and {who} answer differently: {why}"));
    same("SQL", &ask(server, &question.sql, "sql")?.0)?;
    if let Some(References { files, duck }) = references {
        same("DataFusion", &files.ask(&question.datafusion).0)?;
        if let Some(duck) = duck {
            same("DuckDB", &duck.ask(&question.duckdb).0)?;
        }
    }
    let mut took: [Vec<Took>; 4] = Default::default();
    for _ in 0..repeats {
        took[0].push(ask(server, &question.kql, "kql")?.1);
        took[1].push(ask(server, &question.sql, "sql")?.1);
        if let Some(References { files, duck }) = references {
            took[2].push(files.ask(&question.datafusion).1);
            if let Some(duck) = duck {
                took[3].push(duck.ask(&question.duckdb).1);
            }
        }
    }
    let times = |all: &[Took]| (!all.is_empty()).then(|| Times { hot: Took::median(all), cold: None });
    let [kql, sql, datafusion, duckdb] = took.each_ref().map(|all| times(all));
    Ok(Asked {
        name: question.name.to_owned(),
        rows: answer.rows(),
        kql: kql.expect("asked at least once"),
        sql: sql.expect("asked at least once"),
        datafusion,
        duckdb,
    })
}

fn ask(server: &Server, text: &str, language: &str) -> Result<(Answer, Took), String> {
    let body = serde_json::json!({"query": text, "language": language}).to_string();
    let mut client = server.client();
    let (before, begun) = (server.threads(), Instant::now());
    let (status, reply, _) = client.send("POST", "/v1/workspaces/default/query", body.as_bytes());
    let wall = begun.elapsed();
    let cpu = server.threads().since(&before);
    if status == 200 { Ok((Answer::of_reply(&reply), Took::of(cpu, wall))) } else { Err(format!("in {language}: {status}: {reply}")) }
}

fn cold_server(server: &mut Server, binary: &Path, text: &str, language: &str) -> Result<Took, String> {
    server.stop();
    forget_pages(&server.data_dir());
    server.start_again(binary);
    // What starting up does is not the question's.
    server.settle();
    ask(server, text, language).map(|(_, took)| took)
}
