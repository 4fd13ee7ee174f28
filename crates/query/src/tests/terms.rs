//! Token filters leave out what holds no wanted row, and nothing else.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::Value;
use strongroom_model::ErrorKind;

use crate::output::{JsonOptions, format_datetime, json};
use crate::rig::{NOW, Rig};
use crate::{Engine, Language, QueryConfig, QueryRequest};

/// Words that differ in what may go wrong: case, script, length, what stands around them.
const WORDS: [&str; 24] = [
    "alpha",
    "Beta",
    "GAMMA",
    "delta_epsilon",
    "zeta-eta",
    "theta.iota",
    "ab",
    "x",
    "404",
    "10.0.0.7",
    "7f3a9c0d11e2",
    "ошибка",
    "СЕРВЕР",
    "naïve",
    "Straße",
    "ΣΊΣΥΦΟΣ",
    "İstanbul",
    "\u{212a}ilo",
    "ma\u{17f}k",
    "错误",
    "a b",
    "foo bar baz",
    "C:\\new\\path",
    "say \\\"hi\\\"",
];

/// A stream of numbers that is the same in every run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// Rows whose words come from a few of all, other ones in each block; `late` is in some blocks only, `s` null in some rows.
fn body(dice: &mut Dice, block: usize, rows: usize) -> String {
    body_at(NOW - 600_000_000_000, dice, block, rows)
}

/// Likewise, back from a moment.
pub(super) fn body_at(moment: i64, dice: &mut Dice, block: usize, rows: usize) -> String {
    let own: Vec<&str> = (0..5).map(|_| WORDS[dice.roll(WORDS.len())]).collect();
    let mut body = String::new();
    for row in 0..rows {
        let mut words = |count: usize| {
            let separators = [" ", "_", "/", "é", "=", "\n"];
            (0..count)
                .map(|_| format!("{}{}", own[dice.roll(own.len())], separators[dice.roll(separators.len())]))
                .collect::<Vec<_>>()
                .concat()
        };
        let (message, text, inner, list) = (words(3), words(1), words(2), words(1));
        let at = format_datetime(moment - i64::try_from(block * 1_000 + row).unwrap() * 1_000_000);
        let n = block * 10_000 + row;
        write!(body, r#"{{"TimeGenerated":"{at}","n":{n},"m":{}"#, quoted(&message)).unwrap();
        if row % 3 > 0 {
            write!(body, r#","s":{}"#, quoted(text.trim_end())).unwrap();
        }
        if block % 2 == 1 {
            write!(body, r#","late":{}"#, quoted(own[row % own.len()])).unwrap();
        }
        write!(
            body,
            r#","d":{{"k":{},"l":[{},{n}]}},"fill":"{}{}"}}"#,
            quoted(&inner),
            quoted(&list),
            id(i64::try_from(n).unwrap()),
            id(-1 - i64::try_from(n).unwrap())
        )
        .unwrap();
        body.push('\n');
    }
    body
}

pub(super) fn questions(dice: &mut Dice) -> Vec<(Language, String)> {
    let rounds = std::env::var("STRONGROOM_TEST_QUESTIONS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
    let mut questions = Vec::new();
    for _ in 0..rounds {
        let mut word = || {
            let word = WORDS[dice.roll(WORDS.len())];
            // A part of a word, or two together, now and then.
            match dice.roll(6) {
                0 => word.chars().skip(1).collect(),
                1 => word.to_lowercase(),
                2 => format!(" {word} "),
                _ => word.to_owned(),
            }
        };
        let (a, b) = (quoted(&word()), quoted(&word()));
        let (sql_a, sql_b) = (word().replace('\'', "''"), word().replace('\'', "''"));
        let pattern = regex::escape(&word());
        let kql = [
            format!("m has {a}"),
            format!("m has_cs {a} and s has {b}"),
            format!("m has_any ({a}, {b})"),
            format!("m has_all ({a}, {b})"),
            format!("m has_any (dynamic([{a}, {b}]))"),
            format!("m contains {a} or late == {b}"),
            format!("m contains_cs {a}"),
            format!("s startswith {a} or s endswith {b}"),
            format!("m hasprefix {a} or m hassuffix {b}"),
            format!("s == {a} or late =~ {b}"),
            format!("s in ({a}, {b}) or late in~ ({a}, {b})"),
            format!("not(m has {a}) and not(late has {b})"),
            format!("m !has {a} or s !in ({b})"),
            format!("tostring(d) has {a}"),
            format!("d.k has {a} or d.l[0] has {b}"),
            format!("d.k == {a}"),
            format!("d has {a} and tolower(m) has {b}"),
            format!("tolower(s) == {a} or toupper(s) == {b}"),
            format!("m matches regex @'{pattern}' or s has {b}"),
            format!("m matches regex @'\\b{pattern}\\W'"),
            format!("* has {a}"),
            format!("coalesce(late, s) has {a}"),
            format!("iff(isempty(late), m, late) has {a}"),
            format!("n > 20100 and (m has {a} or late has {b})"),
        ];
        questions.extend(kql.map(|filter| (Language::Kql, format!("App | where {filter} | project n"))));
        questions.push((Language::Kql, format!("search {a} | project n")));
        questions.push((Language::Kql, format!("App | where m has {a} | top 7 by TimeGenerated | project n")));
        let sql = [
            format!("s = '{sql_a}' or late in ('{sql_a}', '{sql_b}')"),
            format!("m like '%{sql_a}%' and not (m like '%{sql_b}%')"),
            format!("m ilike '%{sql_a}%'"),
            format!("s like '{sql_a}%'"),
            format!("lower(late) = '{}'", sql_a.to_lowercase()),
            format!("has(m, '{sql_a}') or has_any(s, '{sql_a}', '{sql_b}')"),
            format!("m ~ '{}'", regex::escape(&sql_a)),
            format!("d like '%{sql_a}%'"),
        ];
        questions.extend(sql.map(|filter| (Language::Sql, format!("select n from App where {filter}"))));
    }
    questions
}

pub(super) async fn answered(engine: &Engine, request: QueryRequest) -> (Vec<i64>, u64) {
    let text = request.text.clone();
    let answer = engine.run(request).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    let stats = answer.stats.clone();
    let bytes = json(answer, JsonOptions::default()).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    let whole: Value = serde_json::from_slice(&bytes).unwrap();
    let mut rows: Vec<i64> = whole["tables"][0]["rows"].as_array().unwrap().iter().map(|row| row[0].as_i64().unwrap()).collect();
    rows.sort_unstable();
    (rows, stats.blocks_kept())
}

/// The same question with and without filters, many times (`STRONGROOM_TEST_QUESTIONS=60` by hand): how many blocks the filters
/// ruled out.
async fn compared(rig: &Rig, plain: &Engine, dice: &mut Dice) -> u64 {
    let mut spared = 0;
    for (language, text) in questions(dice) {
        let (found, read) = answered(&rig.engine, rig.request(&text, language)).await;
        let (expected, all) = answered(plain, rig.request(&text, language)).await;
        assert_eq!(found, expected, "{text}");
        spared += all - read;
    }
    spared
}

#[tokio::test]
async fn what_filters_rule_out_holds_no_wanted_row() {
    let rig = Rig::new().await;
    let plain = Engine::open(rig.deps.clone(), QueryConfig { filter_blocks_max: 0, ..QueryConfig::default() }).await.unwrap();
    let mut dice = Dice(7);
    for block in 0..5 {
        rig.send("App", body(&mut dice, block, 600)).await;
        rig.flush().await;
    }
    assert_eq!(rig.blocks("App").await.len(), 5);
    // Rows in memory, too: they have no filters.
    rig.send("App", body(&mut dice, 5, 50)).await;
    let spared = compared(&rig, &plain, &mut dice).await;
    assert!(spared > 10, "filters that rule nothing out prove nothing: {spared}");
    rig.flush().await;
    rig.intake.compact(rig.workspace, None).await.unwrap();
    assert_eq!(rig.blocks("App").await.len(), 1);
    compared(&rig, &plain, &mut dice).await;
}

fn fates(items: &[HashMap<String, Value>]) -> Vec<String> {
    let mut fates: Vec<String> = items
        .iter()
        .filter(|item| item["Item"] == "block")
        .map(|item| format!("{}: {}", item["Fate"].as_str().unwrap(), item["Detail"].as_str().unwrap()))
        .collect();
    fates.sort();
    fates
}

/// Looks like chance, and is the same in every run.
fn id(n: i64) -> String {
    let hash = |seed| xxhash_rust::xxh3::xxh3_64_with_seed(&n.to_le_bytes(), seed);
    format!("{:016x}{:016x}", hash(1), hash(2))
}

/// Rows with an id each, ten of one number.
fn lines(from: i64, rows: i64) -> String {
    let line = |n: i64| {
        let at = format_datetime(NOW - 600_000_000_000 - n * 1_000_000);
        format!(r#"{{"TimeGenerated":"{at}","n":{n},"m":"request {} took a while","id":"{}"}}"#, n / 10, id(n))
    };
    (from..from + rows).map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn explain_tells_which_blocks_and_slices_the_filters_left() {
    let rig = Rig::new().await;
    rig.send("App", lines(0, 20_000)).await;
    rig.flush().await;
    rig.send("App", lines(20_000, 1_000)).await;
    rig.flush().await;
    let of = async |text: &str| fates(&rig.explain(text).await);
    let both = ["read: one layer, 1 of 1 slices", "read: one layer, 5 of 5 slices"];
    assert_eq!(of("select n from App where has(m, 'request')").await, both);
    assert_eq!(
        of("select n from App where has(m, '1700')").await,
        ["pruned by terms: one layer, 0 of 1 slices", "read: one layer, 1 of 5 slices"]
    );
    let id = id(20_500);
    assert_eq!(
        of(&format!("select n from App where id = '{id}'")).await,
        ["pruned by terms: one layer, 0 of 5 slices", "read: one layer, 1 of 1 slices"]
    );
    assert_eq!(rig.sql(&format!("select n from App where id = '{id}'")).await.rows()[0][0], 20_500);
    assert_eq!(of("select n from App where has(m, 'nowhere')").await.iter().filter(|fate| fate.starts_with("pruned")).count(), 2);
    // No test of terms: nobody asks the filters.
    assert_eq!(of("select n from App where n = 17").await, ["pruned by statistics: one layer", "read: one layer"]);
    assert_eq!(rig.sql("select count(*) from App where has(m, '1700') or has(m, '2050')").await.rows()[0][0], 20);
}

#[tokio::test]
async fn an_absent_term_reads_filters_and_no_rows_and_the_next_question_nothing() {
    let rig = Rig::new().await;
    rig.send("App", lines(0, 6_000)).await;
    rig.flush().await;
    let read = async |text: &str| {
        let answer = rig.run(text).await.unwrap();
        let stats = answer.stats.clone();
        json(answer, JsonOptions::default()).await.unwrap();
        stats.bytes_read()
    };
    let first = read("select n from App where has(m, 'nowhere')").await;
    let blocks: u64 = rig.blocks("App").await.iter().map(|block| block.sealed_len).sum();
    assert!(first > 0 && first <= 2 * blocks, "{first} of {blocks}");
    assert_eq!(read("select n from App where has(m, 'nowhere')").await, 0);
}

#[tokio::test]
async fn a_changed_byte_of_a_filter_is_an_error_that_names_the_block() {
    let rig = Rig::new().await;
    rig.send("App", lines(0, 3_000)).await;
    rig.flush().await;
    let block = rig.blocks("App").await[0].clone();
    for offset in (0..usize::try_from(block.sealed_len).unwrap()).step_by(7_001) {
        rig.flip(&block, offset).await;
    }
    let error = rig.try_sql("select n from App where has(m, 'nowhere')").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Corrupt, "IntegrityError"), "{error}");
}
