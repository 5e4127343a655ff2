//! JSON found in what models write.

use colloquy_flow::{Json, Schema};
use proptest::prelude::*;

use crate::json::settle;

fn schema(source: &str) -> Schema {
    Schema::compile(&Json::parse(source).expect("it is JSON")).expect("it is a schema")
}

#[test]
fn fences_and_prose_are_taken_off() {
    let wanted =
        schema(r#"{"type":"object","properties":{"n":{"type":"integer"},"s":{"type":"string"}},"required":["n"]}"#);
    for (text, found) in [
        (" {\"n\":1}\n", "{\"n\":1}"),
        ("```json\n{\"n\":1}\n```", "{\"n\":1}"),
        ("```\n{\"n\":1}\n```\n", "{\"n\":1}"),
        ("```{\"n\":1}```", "{\"n\":1}"),
        ("Here: {\"n\":1}. Good?", "{\"n\":1}"),
        ("As in [1] and {x}: {\"n\":1}", "{\"n\":1}"),
        ("First {\"n\":\"no\"}, rather {\"n\":1}", "{\"n\":1}"),
        ("It is {\"n\":1,\"s\":\"a } \\\" ] {\"} then", "{\"n\":1,\"s\":\"a } \\\" ] {\"}"),
        ("{ broken, but {\"n\":1}", "{\"n\":1}"),
        ("{\"n\":1,\"s\":\"```json\\n{}\\n```\"}", "{\"n\":1,\"s\":\"```json\\n{}\\n```\"}"),
    ] {
        assert_eq!(settle(text, &wanted), (found.to_owned(), None), "{text}");
    }
}

#[test]
fn what_does_not_fit_is_given_as_the_nearest_json_or_as_it_is() {
    let wanted = schema(r#"{"type":"object","properties":{"a":{"type":"array","items":{"type":"integer"}}}}"#);
    let at = |text: &str| {
        let (found, misfit) = settle(text, &wanted);
        let misfit = misfit.expect("it does not fit");
        (found, misfit.at, misfit.rule)
    };
    assert_eq!(at("Well: {\"a\":[1,\"x\"]}!"), ("{\"a\":[1,\"x\"]}".to_owned(), "#/a/1".to_owned(), "type"));
    assert_eq!(at("{\"secret\":1}"), ("{\"secret\":1}".to_owned(), "#".to_owned(), "additionalProperties"));
    assert_eq!(at(" nothing "), ("nothing".to_owned(), "#".to_owned(), "json"));
    assert_eq!(at(""), (String::new(), "#".to_owned(), "json"));
}

#[test]
fn brackets_by_the_thousand_take_no_time() {
    let wanted = schema(r#"{"type":"object"}"#);
    let began = std::time::Instant::now();
    for text in ["{".repeat(1 << 20), "[{\"".repeat(1 << 18), "```".repeat(1 << 18), "{}".repeat(1 << 19)] {
        settle(&text, &wanted);
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}

proptest! {
    #[test]
    fn a_value_is_found_whatever_stands_around_it(
        before in "[^{}\\[\\]`\"]{0,40}", after in "[^`]{0,40}", number in any::<i64>(), text in "\\PC{0,20}",
    ) {
        let wanted = schema(r#"{"type":"object","properties":{"n":{"type":"integer"},"s":{"type":"string"}},"required":["n","s"]}"#);
        let value = serde_json::json!({ "n": number, "s": text }).to_string();
        prop_assert_eq!(settle(&format!("{before}{value}{after}"), &wanted), (value, None));
    }

    #[test]
    fn any_text_is_settled(text in "[a{}\\[\\]\"\\\\`\n é,:1]{0,200}") {
        let (found, _) = settle(&text, &schema(r#"{"type":"object"}"#));
        prop_assert!(text.contains(&found));
    }
}
