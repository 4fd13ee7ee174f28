//! `evaluate`: plugins, and columns that depend on the data.

use super::fixture::{check, problem};

#[test]
fn a_bag_becomes_columns_sorted_by_name() {
    check(
        "datatable(i:int, d:dynamic)[1, dynamic({\"b\": 1, \"a\": \"x\"}), 2, dynamic({\"c\": true, \"b\": null}), 3, dynamic(null)] | evaluate bag_unpack(d)",
        &["i:int, a:string, b:long, c:bool", "1 | 'x' | 1 | null", "2 | '' | null | true", "3 | '' | null | null"],
    );
    check(
        "datatable(d:dynamic)[dynamic({\"a\": 1}), dynamic({\"a\": \"x\", \"b\": [1]})] | evaluate bag_unpack(d, 'p_')",
        &["p_a:dynamic, p_b:dynamic", "1 | null", "\"x\" | [1]"],
    );
    check(
        "print d = dynamic({\"a\": 1, \"b\": 2, \"c\": 3}) | evaluate bag_unpack(d, ignoredProperties=dynamic(['a', 'c']))",
        &["b:long", "2"],
    );
}

#[test]
fn a_column_that_is_there_already_is_a_conflict() {
    let data = "print a = 'old', d = dynamic({\"a\": 1, \"b\": 2})";
    assert!(problem(&format!("{data} | evaluate bag_unpack(d)")).contains("already a column `a`"));
    check(&format!("{data} | evaluate bag_unpack(d, columnsConflict='keep_source')"), &["a:string, b:long", "'old' | 2"]);
    check(&format!("{data} | evaluate bag_unpack(d, columnsConflict='replace_source')"), &["a:long, b:long", "1 | 2"]);
}

#[test]
fn declared_columns_need_no_look_at_the_data() {
    let data = "print k = 7, d = dynamic({\"a\": \"1\", \"b\": 2})";
    check(&format!("{data} | evaluate bag_unpack(d) : (*, a:long, z:string)"), &["k:long, a:long, z:string", "7 | 1 | ''"]);
    check(&format!("{data} | evaluate bag_unpack(d) : (b:real, k:long)"), &["b:real, k:long", "2.0 | 7"]);
    let parsed = strongroom_kql::parse("Logs | evaluate bag_unpack(Props) : (n:long)");
    assert!(crate::kql::bind(&parsed.query, "Logs | evaluate bag_unpack(Props) : (n:long)", &super::fixture::context()).is_ok());
}

#[test]
fn a_pivot_makes_columns_of_values() {
    let data = "datatable(k:string, y:long, v:long)['b', 1, 10, 'a', 1, 20, 'b', 2, 5, 'b', 2, 6]";
    check(&format!("{data} | evaluate pivot(k, sum(v)) | sort by y asc"), &["y:long, a:long, b:long", "1 | 20 | 10", "2 | 0 | 11"]);
    check(&format!("{data} | project k, y | evaluate pivot(k) | sort by y asc"), &["y:long, a:long, b:long", "1 | 1 | 1", "2 | 0 | 2"]);
    check(
        &format!("{data} | evaluate pivot(y, max(v), k) | sort by k asc"),
        &["k:string, 1:long, 2:long", "'a' | 20 | null", "'b' | 10 | 6"],
    );
    check(
        &format!("{data} | evaluate pivot(k, count(), y) : (y:long, b:long, q:long) | sort by y asc"),
        &["y:long, b:long, q:long", "1 | 1 | 0", "2 | 2 | 0"],
    );
}

#[test]
fn facts_are_asked_one_after_the_other() {
    check(
        "let U = print d = dynamic({\"x\": {\"y\": 5}}) | evaluate bag_unpack(d); U | evaluate bag_unpack(x) | union (print e = dynamic({\"z\": 1}) | evaluate bag_unpack(e))",
        &["y:long, z:long", "5 | null", "null | 1"],
    );
}

#[test]
fn narrow_makes_a_row_of_each_cell() {
    check(
        "datatable(a:string, b:long)['x', 1, '', long(null)] | evaluate narrow()",
        &["Row:long, Column:string, Value:string", "0 | 'a' | 'x'", "0 | 'b' | '1'", "1 | 'a' | ''", "1 | 'b' | ''"],
    );
}

#[test]
fn addresses_are_looked_up_in_the_narrowest_network() {
    let nets =
        "let N = datatable(net:string, name:string)['10.0.0.0/8', 'wide', '10.1.0.0/16', 'narrow', 'rubbish', 'r', '1.2.3.4', 'one'];";
    let ips = "datatable(ip:string, n:long)['10.1.2.3', 1, '10.2.0.1', 2, '1.2.3.4', 3, '8.8.8.8', 4, 'x', 5]";
    check(
        &format!("{nets} {ips} | evaluate ipv4_lookup(N, ip, net) | sort by n asc"),
        &[
            "ip:string, n:long, net:string, name:string",
            "'10.1.2.3' | 1 | '10.1.0.0/16' | 'narrow'",
            "'10.2.0.1' | 2 | '10.0.0.0/8' | 'wide'",
            "'1.2.3.4' | 3 | '1.2.3.4' | 'one'",
        ],
    );
    check(
        &format!("{nets} {ips} | evaluate ipv4_lookup(N, ip, net, return_unmatched = true) | where n > 3 | sort by n asc"),
        &["ip:string, n:long, net:string, name:string", "'8.8.8.8' | 4 | '' | ''", "'x' | 5 | '' | ''"],
    );
    check(
        "let N = datatable(net:string, k:string, name:string)['10.0.0.0/8', 'a', 'wide', '10.1.0.0/16', 'b', 'narrow']; \
         datatable(ip:string, k:string)['10.1.2.3', 'a'] | evaluate ipv4_lookup(N, ip, net, k)",
        &["ip:string, k:string, net:string, k1:string, name:string", "'10.1.2.3' | 'a' | '10.0.0.0/8' | 'a' | 'wide'"],
    );
    check(
        "let N = datatable(net:string, c:string)['2001:db8::/32', 'doc', '2001:db8:1::/48', 'one']; print ip = '2001:0db8:1::5' | evaluate ipv6_lookup(N, ip, net)",
        &["net:string, c:string, ip:string", "'2001:db8:1::/48' | 'one' | '2001:0db8:1::5'"],
    );
}
