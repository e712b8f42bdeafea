//! Expressions over a packet, and their errors.

use super::*;
use packetring::dynamic::Schema;

const SCHEMA: &str = r#"{"kind":"struct","name":"Order","size":24,"align":8,"fields":[
    {"name":"price","offset":0,"type":{"kind":"primitive","name":"f64","size":8,"align":8}},
    {"name":"id","offset":8,"type":{"kind":"primitive","name":"u64","size":8,"align":8}},
    {"name":"symbol","offset":16,"type":{"kind":"string","name":"String","size":8,"align":4}}]}"#;

fn fits(expression: &str) -> bool {
    let schema = Schema::parse(SCHEMA, 0).expect("a schema");
    let json = serde_json::json!({ "price": 10.5, "id": u64::MAX, "symbol": "a\"b" });
    let packet = schema.encode(&json).expect("a packet");
    let value = schema.read(&packet).expect("it is valid");
    Filter::parse(expression).expect(expression).fits(value)
}

#[test]
fn packets_that_fit_are_found() {
    for expression in [
        "price > 10",
        "price >= 10.5 && price<10.6",
        "symbol == 'a\"b' && id == 18446744073709551615",
        "symbol == \"a\\\"b\"",
        "symbol ~ 'b'",
        "price == 1 || !(price < 1.5e1 && id < 7)|| symbol != 'x'",
        "none == null && id != null",
        "symbol",
        ".price == 10.5",
        "id > -1",
    ] {
        assert!(fits(expression), "{expression}");
    }
    for expression in [
        "price > 10.5",
        "none == 1",
        "none != 1",
        "none",
        "symbol == 1",
        "id == null",
        "price[0] == 1",
        "symbol ~ 'c'",
        ". == 1",
    ] {
        assert!(!fits(expression), "{expression}");
    }
}

#[test]
fn errors_name_the_place() {
    for (expression, part) in [
        ("price >", "at character 8, found the end"),
        ("price = 1", "`==`"),
        ("price > x", "at character 9, found `x`"),
        ("(price > 1", "expected `)`"),
        ("price 7", "found `7`"),
        ("a[x]", "an index"),
        ("a == 'x", "a quote at its end"),
        ("", "a field"),
        ("&& a", "a field"),
    ] {
        let error = Filter::parse(expression).expect_err(expression);
        assert!(error.contains(part), "{expression}: {error}");
    }
    assert!(Filter::parse(&"(".repeat(100_000)).is_err());
    assert!(Filter::parse(&"!".repeat(100_000)).is_err());
}
