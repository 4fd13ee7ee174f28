//! `parse`, `parse-where`, `parse-kv`: columns out of a text.

use super::fixture::{check, problem};

#[test]
fn a_column_takes_the_text_up_to_the_next_literal_and_the_last_the_rest() {
    check("print s = 'a###b###c' | parse s with l '###' r", &["s:string, l:string, r:string", "'a###b###c' | 'a' | 'b###c'"]);
    check(
        "print s = 'x name=bob, age=42 (old)' | parse s with * 'name=' name ', age=' age:long * | project name, age",
        &["name:string, age:long", "'bob' | 42"],
    );
    check("print s = 'line1\\nline2' | parse s with a '\\n' b | project a, b", &["a:string, b:string", "'line1' | 'line2'"]);
    check("print s = 'k.v*w' | parse s with a '.' b '*' c | project a, b, c", &["a:string, b:string, c:string", "'k' | 'v' | 'w'"]);
}

#[test]
fn one_misfit_spoils_the_row_unless_relaxed() {
    let data = "datatable(s:string)['id=1 n=x', 'id=y n=z', 'nothing', 'id=2 n=w'] ";
    check(
        &format!("{data} | parse s with 'id=' id:long ' n=' n | project id, n"),
        &["id:long, n:string", "1 | 'x'", "null | ''", "null | ''", "2 | 'w'"],
    );
    check(
        &format!("{data} | parse kind=relaxed s with 'id=' id:long ' n=' n | project id, n"),
        &["id:long, n:string", "1 | 'x'", "null | 'z'", "null | ''", "2 | 'w'"],
    );
    check(&format!("{data} | parse-where s with 'id=' id:long ' n=' n | project id, n"), &["id:long, n:string", "1 | 'x'", "2 | 'w'"]);
    check("print s = 'at=never n=3' | parse s with 'at=' at:datetime ' n=' n:int | project at, n", &["at:datetime, n:int", "null | null"]);
}

#[test]
fn the_whole_text_must_fit() {
    check("print s = 'xa=1' | parse s with 'a=' n | project n", &["n:string", "''"]);
    check("print s = 'a=1;b' | parse s with 'a=' n ';' | project n", &["n:string", "''"]);
    check("print s = 'a=1;b' | parse s with 'a=' n ';' * | project n", &["n:string", "'1'"]);
}

#[test]
fn columns_of_a_regex_are_greedy_and_flags_change_that() {
    let text = "print s = 'Name=ann, Age=5, x'";
    check(&format!("{text} | parse kind=regex s with * 'Name=' n ',' * | project n"), &["n:string", "'ann, Age=5'"]);
    check(&format!("{text} | parse kind=regex flags=Ui s with * 'NAME=' n ',' * | project n"), &["n:string", "'ann'"]);
    check(
        "print s = 'v1.22-x' | parse kind=regex s with 'v' a:int '.' b:int '-|_' c | project a, b, c",
        &["a:int, b:int, c:string", "1 | 22 | 'x'"],
    );
    check("print s = 'k1 = v' | parse kind=regex s with @'(\\w)+\\s*=\\s*' v | project v", &["v:string", "'v'"]);
}

#[test]
fn columns_that_are_there_are_replaced_in_place() {
    check("print s = 'a-b', t = 1, u = 2 | parse s with t '-' v", &["s:string, t:string, u:long, v:string", "'a-b' | 'a' | 2 | 'b'"]);
    check("print n = 12.5 | parse n with a:long '.' b:long", &["n:real, a:long, b:long", "12.5 | 12 | 5"]);
}

#[test]
fn a_bad_pattern_is_told() {
    assert!(problem("print s = '' | parse kind=regex s with '(' a").contains("BadRegex"));
    assert!(problem("print s = '' | parse kind=regex flags=q s with 'x' a").contains("no flag `q`"));
    assert!(problem("print s = '' | parse-kv s as (a:long) with (regex='(a)')").contains("two groups"));
    assert!(problem("print s = '' | parse-kv s as (a:long) with (pair_delimiter=',')").contains("go together"));
    assert!(problem("print s = '' | parse-kv s as (a:long) with (quotes=',')").contains("no setting `quotes`"));
}

#[test]
fn keys_and_values_are_found_by_their_delimiters() {
    check(
        "print s = ' a = 1 ; b = x y ; a = 2;c=' | parse-kv s as (b:string, a:int, c:real, d:string) with (pair_delimiter=';', kv_delimiter='=') | project-away s",
        &["b:string, a:int, c:real, d:string", "'x y' | 1 | null | ''"],
    );
    check(
        "print s = 'src=10.0.0.1 why=\"it said \\\\\"no\\\\\"\" \"event time\"=2021-01-01' \
         | parse-kv s as (['event time']:datetime, src:string, why:string) with (pair_delimiter=' ', kv_delimiter='=', quote='\"', escape='\\\\') | project-away s",
        &["event time:datetime, src:string, why:string", "2021-01-01T00:00:00Z | '10.0.0.1' | 'it said \"no\"'"],
    );
    check(
        "print s = 'a=(x y) b=z' | parse-kv s as (a:string, b:string) with (pair_delimiter=' ', kv_delimiter='=', quote='()') | project a, b",
        &["a:string, b:string", "'x y' | 'z'"],
    );
}

#[test]
fn greedy_values_go_on_to_the_next_key() {
    let text = "print s = 'name=John Doe phone=555 5555 city=New York'";
    let wanted = "as (name:string, phone:string, city:string)";
    check(
        &format!("{text} | parse-kv s {wanted} with (pair_delimiter=' ', kv_delimiter='=') | project-away s"),
        &["name:string, phone:string, city:string", "'John' | '555' | 'New'"],
    );
    check(
        &format!("{text} | parse-kv s {wanted} with (pair_delimiter=' ', kv_delimiter='=', greedy=true) | project-away s"),
        &["name:string, phone:string, city:string", "'John Doe' | '555 5555' | 'New York'"],
    );
}

#[test]
fn without_delimiters_a_value_is_the_word_behind_its_key() {
    check(
        "print s = '2021-01-01T10:00:34 [INFO] ThreadId:458745723, Machine:Node001, Text: Started' \
         | parse-kv s as (Text:string, ThreadId:long, Machine:string) | project-away s",
        &["Text:string, ThreadId:long, Machine:string", "'Started' | 458745723 | 'Node001'"],
    );
    check(
        "print s = '[\"referer url: https://h/x?d=1\", \"id: 24fefbca-cf27-4d62-a623-249c2ad30c73\"]' \
         | parse-kv s as (['referer url']:string, id:guid) with (regex=@'\"([\\w ]+)\\s*:\\s*([^\"]*)\"') | project-away s",
        &["referer url:string, id:guid", "'https://h/x?d=1' | 24fefbca-cf27-4d62-a623-249c2ad30c73"],
    );
}
