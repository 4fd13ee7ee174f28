//! What no question may do, whatever it is dressed as.

use strongroom_model::ErrorKind;

use crate::rig::Rig;

#[rustfmt::skip]
const REFUSED: &[&str] = &[
    // what changes things
    "create table T (n int)", "create table T as select * from App", "create view V as select 1", "create external table T stored as parquet location '/etc/passwd'",
    "create database d", "create schema s", "create function f() returns int return 1", "create index i on App (n)", "create role r",
    "drop table App", "drop view V", "drop schema s", "alter table App add column x int", "truncate table App", "truncate App",
    "insert into App values (1)", "insert into App select * from App", "update App set n = 1", "delete from App", "merge into App using App b on true when matched then delete",
    "select * into T from App", "with x as (insert into App values (1) returning *) select * from x", "with x as (delete from App returning *) select * from x",
    // what reaches out
    "copy App to '/tmp/x.parquet'", "copy (select * from App) to 's3://bucket/x' stored as csv", "copy App from '/etc/passwd'",
    "select * from '/etc/passwd'", "select * from 'file.parquet'", "select * from \"file.parquet\"", "select * from \"/etc/passwd\"",
    "select * from \"s3://bucket/x.parquet\"", "select * from \"http://169.254.169.254/latest\"", "select * from \"blk://blocks/x\"", "select * from \"file:///etc/passwd\"",
    "select * from read_csv('/etc/passwd')", "select * from read_parquet('x')", "select * from parquet_metadata('x')", "select * from metadata_cache()", "select * from statistics_cache()",
    // settings, sessions, plans
    "set datafusion.execution.batch_size = 1", "set time zone 'UTC'", "reset datafusion.execution.batch_size", "show all", "show tables", "show columns from App", "show functions",
    "describe App", "use other", "begin", "commit", "rollback", "prepare p as select 1", "execute p", "deallocate p", "explain analyze select * from App",
    "explain analyze verbose select 1", "explain copy App to 'x'", "explain create table T (n int)", "explain insert into App values (1)", "explain explain select 1", "explain drop table App",
    "analyze table App", "vacuum", "grant select on App to r", "call f()", "kill 1", "listen x", "lock table App", "declare c cursor for select 1",
    // other places
    "select * from information_schema.tables", "select * from information_schema.df_settings", "select * from pg_catalog.pg_class", "select * from datafusion.public.App",
    "select * from public.App", "select * from other.App", "select @@version", "select @x", "select $1", "select version()",
    // bombs
    "select * from generate_series(1, 1000000000)", "select * from range(1, 10)", "select generate_series(1, 1000000000)", "select range(1000000000)", "select unnest(range(1, 1000000000))",
    "select repeat('x', 1000000000)", "select repeat('x', n * 1000000) from App", "select lpad('x', 1000000000)", "select rpad(word, 20000) from App", "select array_repeat(1, 100000000)", "select array_resize([1], 100000000)",
    "with recursive r as (select 1 as n union all select n + 1 from r) select * from r", "with recursive r (n) as (values (1) union all select n + 1 from r where n < 9) select n from r",
    // more than one, or none
    "select 1; select 2", "select 1; drop table App", "", "   ", "-- nothing", ";", "select", "select from where", "App | count", "selec 1", "select * from App where", "select (1",
    "select 1 from App for update", "select * from App tablesample (10 percent)", "select * from json_table('[]', '$' columns (a int path '$'))", "table App; table App",
    "select no_such_function(1)", "select no_such_column from App", "select * from NoSuchTable", "select * from (select * from NoSuchTable)", "select 1 where exists (select 1 from NoSuchTable)",
    "select * from App a join NoSuchTable b on true", "select arrow_cast('x', 'Int64')", "values (select 1 from '/etc/passwd')",
];

#[tokio::test]
async fn each_of_these_is_refused_with_a_4xx_and_a_reason() {
    let rig = Rig::new().await;
    rig.send_many("App", 5, 5, 0).await;
    assert!(REFUSED.len() >= 60);
    let before = rig.names().await;
    for text in REFUSED {
        match rig.try_sql(text).await {
            Ok(told) => panic!("{text}: answered {:?}", told.rows()),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::TooLarge), "{text}: {:?} {error}", error.kind());
                assert!(error.message().len() > 8, "{text}: {error}");
                assert!(text.contains("datafusion") || !error.message().contains("datafusion"), "{text}: {error}");
            }
        }
    }
    assert_eq!(rig.names().await, before);
    assert_eq!(rig.sql("select count(*) from App").await.rows(), [serde_json::json!([5])]);
}

#[tokio::test]
async fn a_refusal_names_what_it_refuses() {
    let rig = Rig::new().await;
    rig.send_many("App", 5, 5, 0).await;
    for (text, named) in [
        ("drop table App", "DROP TABLE"),
        ("insert into App values (1)", "INSERT INTO"),
        ("copy App to 'x'", "COPY"),
        ("set x = 1", "SET"),
        ("explain analyze select 1", "EXPLAIN ANALYZE"),
        ("with recursive r as (select 1) select * from r", "WITH RECURSIVE"),
        ("select * from generate_series(1, 2)", "generate_series"),
        ("select repeat('x', 1000000000)", "repeat"),
        ("select * from public.App", "public.App"),
        ("select * into T from App", "SELECT INTO"),
    ] {
        let error = rig.try_sql(text).await.unwrap_err();
        assert!(error.message().contains(named), "{text}: {error}");
    }
}

#[tokio::test]
async fn a_syntax_error_says_where() {
    let rig = Rig::new().await;
    let error = rig.try_sql("select 1\nfrm App").await.unwrap_err();
    let inner = error.innererror();
    assert_eq!(error.code(), "SyntaxError", "{error}");
    assert_eq!(inner.unwrap()["innererror"]["line"], 2);
    assert!(!format!("{error:?}").contains("frm"), "Debug is for logs and quotes nothing");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    /// Whatever the text, parsing says yes or no; it does not panic or hang.
    #[test]
    fn any_text_parses_or_is_refused(words in proptest::collection::vec(proptest::sample::select(vec![
        "select", "from", "App", "(", ")", "with", "as", ",", "union", "all", "'x'", "\"q", "1", "*", "where", ";", "explain", "--", "/*", "$$", "case", "\0", "✓",
        "join", "on", "over", "recursive", "insert", "copy", "to", "||", "::", "[", "]", ".", "interval",
    ]), 0..40)) {
        drop(crate::sandbox::parse(&words.join(" "), 50));
    }
}
