//! Schemas as servers write them, and what they admit.

use super::*;

fn check(schema: &str) -> Option<ArgumentCheck> {
    ArgumentCheck::compile(serde_json::from_str::<Value>(schema).unwrap().as_object().unwrap())
}

fn admits(schema: &str, arguments: &str) -> Result<(), String> {
    let admitted = check(schema).unwrap().admit(&Json::parse(arguments).unwrap());
    admitted.map(drop).map_err(|fault| match fault {
        ArgumentFault::Misfit { keyword } => keyword,
        other => other.to_string(),
    })
}

#[test]
fn a_schema_that_says_all_is_checked_as_flows_do_and_any_other_in_full() {
    let own = r#"{"type":"object","properties":{"a":{"type":"integer","minimum":1}},"required":["a"],"additionalProperties":false}"#;
    assert!(matches!(check(own), Some(ArgumentCheck::Own(_))));
    assert_eq!(admits(own, r#"{"a":1}"#), Ok(()));
    assert_eq!(admits(own, r#"{"a":0}"#), Err("minimum".to_owned()));
    assert_eq!(admits(own, r#"{"a":1,"b":2}"#), Err("additionalProperties".to_owned()));
    let full = [
        r#"{"type":"object","properties":{"a":{"type":"integer"}}}"#,
        r#"{"type":"object","properties":{"a":{"type":"object"}},"additionalProperties":false}"#,
        r#"{"type":"object","properties":{"a":{}},"additionalProperties":false}"#,
        r#"{"type":"object","properties":{"a":{"anyOf":[{"type":"integer"},{"type":"null"}]}},"additionalProperties":false}"#,
    ];
    for schema in full {
        assert!(matches!(check(schema), Some(ArgumentCheck::Full(_))), "{schema}");
    }
    assert_eq!(admits(full[0], r#"{"a":1,"b":2}"#), Ok(()), "silence is a yes there");
    assert_eq!(admits(full[0], r#"{"a":"x"}"#), Err("type".to_owned()));
    assert_eq!(admits(full[1], r#"{"a":{"free":1}}"#), Ok(()));
    assert_eq!(admits(full[3], r#"{"a":"x"}"#), Err("anyOf".to_owned()));
}

#[test]
fn references_inside_are_followed_and_circles_and_the_network_are_not() {
    let inside = r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/n"}},"$defs":{"n":{"type":"integer"}}}"##;
    assert_eq!(admits(inside, r#"{"a":1}"#), Ok(()));
    assert_eq!(admits(inside, r#"{"a":"x"}"#), Err("type".to_owned()));
    let refused = [
        r##"{"$ref":"#"}"##,
        r##"{"allOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}"##,
        r##"{"$ref":"#/$defs/none"}"##,
        r#"{"$ref":"http://127.0.0.1:1/schema"}"#,
        r##"{"$id":"http://127.0.0.1:1/","$ref":"#/$defs/a","$defs":{"a":{}}}"##,
        r##"{"$dynamicRef":"#a","$dynamicAnchor":"a"}"##,
    ];
    for schema in refused {
        assert!(check(schema).is_none(), "{schema}");
    }
    // Each refers twice to the next: following them all would take for ever.
    let chain: Vec<_> = (0..40)
        .map(|n| format!(r##""n{n}":{{"allOf":[{{"$ref":"#/$defs/n{0}"}},{{"$ref":"#/$defs/n{0}"}}]}}"##, n + 1))
        .collect();
    let bomb = format!(r##"{{"$ref":"#/$defs/n0","$defs":{{{},"n40":{{}}}}}}"##, chain.join(","));
    assert!(check(&bomb).is_none());
}

#[test]
fn schemas_and_arguments_are_bounded_and_patterns_are_linear() {
    let large = format!(r#"{{"type":"object","description":"{}"}}"#, "x".repeat(64 << 10));
    assert!(check(&large).is_none());
    assert!(check(r#"{"type":"object","properties":{"a":{"type":"string","pattern":"(?=a)b"}}}"#).is_none());
    let slow = r#"{"type":"object","properties":{"a":{"type":"string","pattern":"^(a+)+$"}}}"#;
    let text = format!(r#"{{"a":"{}!"}}"#, "a".repeat(50_000));
    assert_eq!(admits(slow, &text), Err("pattern".to_owned()));
    let long = format!(r#"{{"a":"{}"}}"#, "a".repeat(64 << 10));
    assert_eq!(admits(slow, &long), Err("they make more than 65536 bytes".to_owned()));
    assert_eq!(admits(slow, "[]"), Err("they are no object".to_owned()));
}

#[test]
fn numbers_arrive_exactly_or_not_at_all() {
    let open = r#"{"type":"object"}"#;
    let exact = r#"{"a":12.5,"b":0.000001,"c":9007199254740993,"d":-123456789.123456,"e":"1.10"}"#;
    let members = check(open).unwrap().admit(&Json::parse(exact).unwrap()).unwrap();
    assert_eq!(Json::parse(&Value::Object(members).to_string()).unwrap(), Json::parse(exact).unwrap());
    // Exact here, but no float holds it.
    let digits =
        Json::object([("a".into(), Json::Decimal(colloquy_flow::Decimal::from_micros(123_456_789_012_123_456)))]);
    assert_eq!(check(open).unwrap().admit(&digits), Err(ArgumentFault::Inexact));
}
