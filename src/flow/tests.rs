//! Values, patterns, conditions and templates, each on its own.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use crate::{
    Condition, ConditionError, Date, Decimal, Facts, Json, Pattern, PatternError, SlotKind, SlotValue, Variables,
    Words, template::Templates,
};

const NOTHING: Facts<'static> = Facts {
    slots: &[],
    flags: &[],
    act: "",
    intent: "a",
    state: "b",
    text: "hello",
    recognised: false,
    filled: &[],
    moved: false,
    pending: &[],
    ended: "",
    by: "",
    confidence: 0,
    released: false,
    timer: "",
    asked: false,
    interrupted: 0,
    input: "text",
    missing: &[],
    failed: &[],
    enrich: &[],
    result: &[],
    data: &[],
};

#[test]
fn decimals_are_exact_and_bounded() {
    for (text, micros) in
        [("0", 0), ("12.5", 12_500_000), ("-0.000001", -1), ("+3", 3_000_000), ("9223372036854.775807", i64::MAX)]
    {
        assert_eq!(Decimal::parse(text), Some(Decimal::from_micros(micros)), "{text}");
    }
    for text in ["", "-", ".5", "1.", "1.0000001", "1e3", "1 000", "9223372036854.775808", "٣", "--1"] {
        assert_eq!(Decimal::parse(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn decimals_read_back_as_they_are_shown(micros in -i64::MAX..=i64::MAX) {
        let number = Decimal::from_micros(micros);
        prop_assert_eq!(Decimal::parse(&number.to_string()), Some(number));
    }

    #[test]
    fn days_count_up_one_by_one_and_read_back(days in 0_u64..2_932_895) {
        let day = Date::from_unix_days(days).ok_or_else(|| TestCaseError::fail("before the year 10000"))?;
        let next = Date::from_unix_days(days + 1).ok_or_else(|| TestCaseError::fail("before the year 10000"))?;
        prop_assert!(day < next);
        prop_assert_eq!(Date::parse(&day.to_string()), Some(day));
    }

    #[test]
    fn no_condition_makes_the_compiler_panic(source in "[a-z0-9 .()!&|<>=+'\\[\\]{},?:-]{0,80}") {
        if let Ok(condition) = Condition::compile(&source) {
            let _ = condition.holds(&NOTHING);
        }
    }
}

#[test]
fn days_that_do_not_exist_are_refused() {
    for text in ["2026-02-29", "2026-13-01", "2026-00-10", "2026-04-31", "26-04-30", "2026-4-30", "1900-02-29", "x"] {
        assert_eq!(Date::parse(text), None, "{text}");
    }
    assert!(Date::parse("2000-02-29").is_some() && Date::parse("2024-02-29").is_some());
    assert_eq!(Date::from_unix_days(0), Date::parse("1970-01-01"));
    assert_eq!(Date::from_unix_days(2_932_896), Date::parse("9999-12-31"));
    assert_eq!(Date::from_unix_days(2_932_897), None);
}

#[test]
fn patterns_are_bounded() {
    assert!(matches!(Pattern::compile(&"a".repeat(1025)), Err(PatternError::TooLong { len: 1025 })));
    assert!(matches!(Pattern::compile("(?:a{1000}){1000}"), Err(PatternError::TooLarge)));
    assert!(matches!(Pattern::compile("a*"), Err(PatternError::MatchesEmpty)));
    assert!(matches!(Pattern::compile("(a"), Err(PatternError::Syntax(_))));
    assert!(Pattern::compile("straße").expect("it compiles").is_match("STRAßE"));
}

#[test]
fn words_are_lower_case_runs_of_letters_digits_and_apostrophes() {
    let words = Words::of("Don't CANCEL: order A-1001, Ärger!");
    assert_eq!(words.iter().collect::<Vec<_>>(), ["don't", "cancel", "order", "a", "1001", "ärger"]);
}

#[test]
fn conditions_see_the_facts() {
    let text = |text: &str| SlotValue::Text(text.into());
    let slots: Vec<(Arc<str>, SlotValue)> = vec![
        ("amount".into(), SlotValue::Decimal(Decimal::from_micros(12_500_000))),
        ("count".into(), SlotValue::Integer(3)),
        ("day".into(), SlotValue::Date(Date::parse("2026-11-21").expect("it is a day"))),
        ("number".into(), text("A-1001")),
        ("sure".into(), SlotValue::Boolean(true)),
    ];
    let names: Vec<Arc<str>> = vec!["number".into()];
    let facts = Facts { slots: &slots, flags: &names, filled: &names, pending: &names, act: "affirm", ..NOTHING };
    for condition in [
        "has(slots.number) && slots.number == 'A-1001'",
        "!has(slots.nobody) && 'count' in slots && !('nobody' in slots)",
        "slots.amount > decimal('12.499999') && slots.amount == decimal('12.5')",
        "slots.count + 1 == 4 && slots.count in [1, 3] && string(slots.count) == '3'",
        "slots.day >= '2026-11-01' && slots.sure",
        "flags.number && !flags.other",
        "'number' in filled && size(filled) == 1 && pending.size() == 1",
        "act == 'affirm' && intent == 'a' && state == 'b' && ended == '' && !moved && !recognised",
        "text.contains('ell') && text.startsWith('h') && text.endsWith('o')",
        "slots.number.startsWith('A') ? true : false",
    ] {
        let compiled = Condition::compile(condition).unwrap_or_else(|error| panic!("{condition}: {error}"));
        assert_eq!(compiled.holds(&facts), Ok(true), "{condition}");
    }
    for condition in
        ["slots.nobody == 'x'", "slots.number > 3", "slots.count", "slots.count / 0 == 1", "decimal('x') == 1"]
    {
        let compiled = Condition::compile(condition).unwrap_or_else(|error| panic!("{condition}: {error}"));
        assert!(compiled.holds(&facts).is_err(), "{condition}");
    }
}

#[test]
fn conditions_are_restricted_to_what_is_deterministic_and_bounded() {
    let refused = |source: &str| Condition::compile(source).expect_err("it is refused");
    for source in ["filled.exists(f, f == 'x')", "[1].all(x, x > 0)", "[1].map(x, x) == [1]"] {
        assert_eq!(refused(source), ConditionError::Iterates, "{source}");
    }
    assert_eq!(refused("1.5 > 1.0"), ConditionError::Float);
    assert_eq!(refused("text.matches('a')"), ConditionError::UnknownFunction("matches".to_owned()));
    assert_eq!(refused("now > 1"), ConditionError::UnknownVariable("now".to_owned()));
    assert_eq!(refused(&format!("{}true", "!".repeat(40))), ConditionError::TooDeep);
    assert_eq!(refused(&format!("1{} == 1", " + 1".repeat(40))), ConditionError::TooDeep);
    assert!(matches!(refused(&"a".repeat(1025)), ConditionError::TooLong { .. }));
    assert!(matches!(refused("slots.a ="), ConditionError::Syntax { line: 1, .. }));
}

fn variables(slots: Vec<(Arc<str>, SlotValue)>) -> Arc<Variables> {
    Arc::new(Variables {
        slots,
        intent: "cancel".into(),
        state: "done".into(),
        options: None,
        outside: BTreeMap::new(),
    })
}

#[test]
fn templates_see_what_they_are_given_and_nothing_else() {
    let mut templates = Templates::default();
    let given = variables(vec![("n".into(), SlotValue::Text("A<1>".into()))]);
    for (source, expected) in [
        ("{{ slots.n }} in {{ intent }}.{{ state }}", Some("A<1> in cancel.done")),
        ("{% if slots.m is defined %}x{% else %}y{% endif %}", Some("y")),
        ("{{ slots.m }}", None),
        ("{{ options }}", None),
        ("{{ nobody }}", None),
        ("{% for a in [1,2,3,4,5,6,7,8,9] %}{% for b in 'x' * 9000 %}{{ a }}{% endfor %}{% endfor %}", None),
    ] {
        let Ok(template) = templates.add(source) else { panic!("{source} does not compile") };
        assert_eq!(templates.render(&template, &given).ok().as_deref(), expected, "{source}");
    }
    for source in ["{{ slots.n", "{% include 'x' %}", "{% macro x() %}{% endmacro %}", "{% bogus %}"] {
        assert!(templates.add(source).is_err(), "{source}");
    }
    let template = templates.add("{{ slots.n }} {{ intent }} {{ slots.m is defined }}").expect("it compiles");
    assert_eq!(templates.variables(&template).into_iter().collect::<Vec<_>>(), ["intent", "slots.m", "slots.n"]);
}

/// A grammar that a server makes of a schema may know no classes of characters such as `\d`.
#[test]
fn the_schema_of_a_date_names_its_characters() {
    let schema = SlotKind::Date { min: None, max: None }.schema();
    let pattern = schema.get("pattern").and_then(Json::as_text).unwrap().to_owned();
    assert!(!pattern.contains('\\'), "{pattern}");
    let read = Pattern::compile(&pattern).unwrap();
    assert!(read.is_match("2031-02-28") && !read.is_match("2031-2-28") && !read.is_match("x2031-02-28"));
}
