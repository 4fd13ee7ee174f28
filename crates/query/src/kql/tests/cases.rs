//! The cases with known answers: to be a runner of its own.
#![allow(clippy::many_single_char_names, clippy::float_cmp, clippy::match_same_arms)]

use super::fixture::table;
use serde_json::Value;
use strongroom_model::ColumnType;

fn norm(v: &Value, kind: ColumnType) -> String {
    match (v, kind) {
        (Value::Null, ColumnType::String) => "''".into(),
        (Value::Null, _) => "null".into(),
        (Value::String(s), ColumnType::String) => format!("'{s}'"),
        (Value::String(s), ColumnType::Dynamic) if serde_json::from_str::<Value>(s).is_ok_and(|v| !v.is_string()) => s.clone(),
        (v, ColumnType::Dynamic) => v.to_string(),
        (Value::String(s), ColumnType::DateTime | ColumnType::TimeSpan) => s.clone(),
        (Value::String(s), _) => s.clone(),
        (Value::Bool(b), _) => b.to_string(),
        (Value::Number(n), ColumnType::Bool) => (n.as_f64() != Some(0.0)).to_string(),
        (v, _) => v.to_string(),
    }
}
fn same(a: &str, b: &str, kind: ColumnType) -> bool {
    if a == b {
        return true;
    }
    match kind {
        ColumnType::Real | ColumnType::Decimal | ColumnType::Long | ColumnType::Int => {
            let p = |s: &str| match s {
                "inf" | "Infinity" => Some(f64::INFINITY),
                "-inf" | "-Infinity" => Some(f64::NEG_INFINITY),
                "NaN" => Some(f64::NAN),
                s => s.parse::<f64>().ok(),
            };
            match (p(a), p(b)) {
                (Some(x), Some(y)) => x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= 1e-9 * x.abs().max(y.abs()),
                _ => false,
            }
        }
        ColumnType::DateTime => {
            let t = |s: &str| {
                let s = s.trim_end_matches('Z');
                if s.contains('.') { s.trim_end_matches('0').trim_end_matches('.').to_owned() } else { s.to_owned() }
            };
            t(a) == t(b)
        }
        ColumnType::TimeSpan => {
            let t = |s: &str| if s.contains('.') { s.trim_end_matches('0').trim_end_matches('.').to_owned() } else { s.to_owned() };
            t(a) == t(b)
        }
        ColumnType::Dynamic => {
            fn n(v: Value) -> Value {
                match v {
                    Value::Number(x) => Value::from(x.as_f64().map_or(0.0, |x| x)),
                    Value::Array(a) => a.into_iter().map(n).collect(),
                    Value::Object(o) => {
                        let mut kv: Vec<_> = o.into_iter().map(|(k, v)| (k, n(v))).collect();
                        kv.sort_by(|a, b| a.0.cmp(&b.0));
                        Value::Object(kv.into_iter().collect())
                    }
                    v => v,
                }
            }
            match (serde_json::from_str::<Value>(a), serde_json::from_str::<Value>(b)) {
                (Ok(x), Ok(y)) => n(x) == n(y),
                (Err(_), Ok(Value::String(y))) => a == y,
                (Ok(Value::String(x)), Err(_)) => b == x,
                _ => a.trim_matches('"') == b.trim_matches('"'),
            }
        }
        ColumnType::Bool => a.eq_ignore_ascii_case(b),
        _ => false,
    }
}

#[test]
#[ignore = "needs KQL_CASES or KQL_CORPUS"]
fn cases() {
    let Ok(path) = std::env::var("KQL_CASES") else { return };
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let only = std::env::var("KQL_ONLY").ok();
    let (mut pass, mut refused, mut failed, mut syntax) = (0, 0, 0, 0);
    for case in all["cases"].as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        if only.as_deref().is_some_and(|o| o != id) {
            continue;
        }
        let text = case["query"].as_str().unwrap();
        let parsed = strongroom_kql::parse(text);
        if !parsed.diagnostics.is_empty() {
            syntax += 1;
            println!("SYNTAX {id} {}\n{text}\n", parsed.diagnostics[0].message);
            continue;
        }
        let result = std::panic::catch_unwind(|| table(text)).unwrap_or_else(|_| Err("failed: panic".into()));
        match result {
            Err(e) if e.starts_with("error[NotSupportedYet") || e.starts_with("error[UnknownFunction") => {
                refused += 1;
                println!("REFUSED {id} {}", e.lines().next().unwrap());
            }
            Err(e) => {
                failed += 1;
                println!("FAILED {id} trust {}\n{text}\n  {e}\n", case["trust"]);
            }
            Ok(t) => {
                let cols: Vec<(String, String)> = case["columns"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|c| (c["name"].as_str().unwrap_or("").to_owned(), c["type"].as_str().unwrap_or("").to_owned()))
                    .collect();
                let mine: Vec<(String, String)> = t.columns.iter().map(|(n, k)| (n.clone(), k.as_str().to_owned())).collect();
                let mut why = String::new();
                let cols_ok = cols.len() == mine.len()
                    && cols.iter().zip(&mine).all(|(c, m)| {
                        c.0 == m.0 && (c.1.is_empty() || c.1 == m.1 || (c.1 == "int|long" && (m.1 == "int" || m.1 == "long")))
                    });
                if !cols_ok {
                    why = format!("columns: want {cols:?} have {mine:?}");
                }
                let free = case["nondeterministic"].as_bool() == Some(true) || case["row_choice_free"].as_bool() == Some(true);
                if why.is_empty()
                    && !free
                    && let Some(rows) = case["rows"].as_array()
                {
                    let want: Vec<Vec<String>> = rows
                        .iter()
                        .map(|r| r.as_array().unwrap().iter().zip(&t.columns).map(|(v, (_, k))| norm(v, *k)).collect())
                        .collect();
                    let eq = |w: &Vec<String>, h: &Vec<String>| {
                        w.len() == h.len() && w.iter().zip(h).zip(&t.columns).all(|((a, b), (_, k))| same(a, b, *k))
                    };
                    let truncated = case["truncated"].as_bool() == Some(true);
                    let mut left: Vec<&Vec<String>> = t.rows.iter().collect();
                    let mut ok = truncated || left.len() == want.len();
                    for w in &want {
                        match left.iter().position(|h| eq(w, h)) {
                            Some(i) => {
                                left.remove(i);
                            }
                            None => {
                                ok = false;
                            }
                        }
                    }
                    if ok && case["ordered"].as_bool() == Some(true) && !truncated && !want.iter().zip(&t.rows).all(|(w, h)| eq(w, h)) {
                        why = format!("order?\n  want {want:?}\n  have {:?}", t.rows);
                    }
                    if !ok {
                        why = format!("rows:\n  want {want:?}\n  have {:?}", t.rows);
                    }
                }
                if why.is_empty() {
                    pass += 1;
                } else {
                    failed += 1;
                    println!("FAILED {id} trust {}\n{text}\n  {why}\n", case["trust"]);
                }
            }
        }
    }
    println!("pass {pass} failed {failed} refused {refused} syntax {syntax}");
}

#[test]
#[ignore = "needs KQL_CASES or KQL_CORPUS"]
fn corpus() {
    use datafusion::{catalog::TableProvider, datasource::MemTable};
    use std::{collections::HashMap, sync::Arc};
    let Ok(path) = std::env::var("KQL_CORPUS") else { return };
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let kind = |t: &str| match t {
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
    };
    let (mut pass, mut failed, mut refused, mut syntax, mut ran) = (0, 0, 0, 0, 0);
    for q in all["queries"].as_array().unwrap() {
        let id = q["id"].as_str().unwrap();
        let text = q["query"].as_str().unwrap();
        let parsed = strongroom_kql::parse(text);
        if !parsed.diagnostics.is_empty() {
            syntax += 1;
            println!("SYNTAX {id} {}", strongroom_kql::render(text, &parsed.diagnostics));
            continue;
        }
        let mut tables: HashMap<String, Arc<dyn TableProvider>> = HashMap::new();
        for (name, t) in q["tables"].as_object().unwrap() {
            let schema: arrow_schema::SchemaRef = Arc::new(arrow_schema::Schema::new(
                t["columns"].as_object().unwrap().iter().map(|(n, k)| kind(k.as_str().unwrap()).query_field(n)).collect::<Vec<_>>(),
            ));
            tables.insert(
                name.clone(),
                Arc::new(MemTable::try_new(Arc::clone(&schema), vec![vec![arrow::array::RecordBatch::new_empty(schema)]]).unwrap()),
            );
        }
        let context =
            crate::resolve::BoundContext { names: tables.keys().cloned().collect(), tables, now: super::fixture::NOW, timespan: None };
        match crate::kql::bind(&parsed.query, text, &context) {
            Err(p) => {
                let r = p.render(text);
                if r.starts_with("error[NotSupported") || r.starts_with("error[UnknownFunction") {
                    refused += 1;
                    println!("REFUSED {id} {}", r.lines().next().unwrap());
                } else {
                    failed += 1;
                    println!("FAILED {id}\n{text}\n{r}\n");
                }
            }
            Ok(planned) => {
                let have: Vec<(String, String)> = planned
                    .plan
                    .schema()
                    .fields()
                    .iter()
                    .map(|f| (f.name().clone(), ColumnType::of_field(f).unwrap().as_str().to_owned()))
                    .collect();
                let want: Vec<(String, String)> = q["expected_columns"]
                    .as_array()
                    .map(|a| a.iter().map(|c| (c["name"].as_str().unwrap().to_owned(), c["type"].as_str().unwrap().to_owned())).collect())
                    .unwrap_or_default();
                if have == want {
                    pass += 1;
                } else {
                    failed += 1;
                    println!(
                        "FAILED {id}\n{text}\n want {want:?}\n have {have:?}\n diff {:?}\n",
                        want.iter().zip(&have).filter(|(a, b)| a != b).collect::<Vec<_>>()
                    );
                }
                match super::fixture::execute(&planned) {
                    Ok(_) => ran += 1,
                    Err(e) => println!("NOTRUN {id}\n{text}\n{e}\n"),
                }
            }
        }
    }
    println!("corpus pass {pass} failed {failed} refused {refused} syntax {syntax} ran {ran}");
}
