//! Every kind of fault is found at its place, and all of them at once.

use crate::{Fault, Severity, load_sources};

/// A flow without a fault; tests replace parts of it.
pub(super) const SOUND: &str = r#"format: colloquy.flow/v1
name: small
start: home.idle
fallback: Sorry?
flags: [vip]
guard: {policies: [{id: guests, prefix: [platinum], flag: vip}]}
slots:
  number: {type: string, extract: '\b(?P<value>\d{4})\b'}
  size: {type: enum, values: [small, large]}
  until: {type: date}
intents:
  home:
    classify: {keywords: [[home]]}
    initial: idle
    states:
      idle: {terminal: true}
  order:
    classify: {patterns: ['\border\b']}
    initial: ask
    collect: [number, size]
    keep: [until]
    states:
      ask: {}
      sure: {}
      done: {terminal: true}
transitions:
  - {from: "*", to: home.idle, by: intent}
  - {from: "*", to: order.ask, by: intent}
  - {from: order.ask, to: order.sure, by: rule}
  - {from: order.sure, to: order.done, by: [action, pending]}
rules:
  - id: known
    in: order.ask
    when: has(slots.number) && !flags.vip
    then: [{stage: buy}, {go: order.sure}, {set: {size: large}}]
actions:
  buy:
    kind: local
    slots: [number]
    confirm: {expires_turns: 2, expires_after: 5m}
    results: {until: executed_at}
    on_executed: order.done
    on_rejected: order.done
responses:
  - {in: home.idle, exact: Hello.}
  - {in: order.ask, exact: Which one?}
  - {in: order.sure, when: "has(slots.size) && slots.size == 'small'", exact: Is small right?}
  - {in: "order.*", template: "Number {{ slots.number }}."}
"#;

fn faults_of(source: &str) -> Vec<Fault> {
    load_sources("test", vec![("flow.yaml".to_owned(), source.to_owned())]).err().unwrap_or_default()
}

fn errors_of(source: &str) -> Vec<Fault> {
    faults_of(source).into_iter().filter(|fault| fault.severity == Severity::Error).collect()
}

/// The place, from 1, of `needle` in `text`.
fn place_of(text: &str, needle: &str) -> (u64, u64) {
    let offset = text.find(needle).unwrap_or_else(|| panic!("{needle:?} is not in the source"));
    let before = &text[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line as u64, column as u64)
}

#[test]
fn the_sound_flow_has_no_fault() {
    let loaded = load_sources("test", vec![("flow.yaml".to_owned(), SOUND.to_owned())]);
    assert_eq!(loaded.map(|loaded| loaded.warnings).map_err(|faults| format!("{faults:?}")), Ok(Vec::new()));
}

/// Replaces `from` by `to` in the sound flow; exactly one error must come of it, with this id, at `at`
/// (the first occurrence in the changed source).
#[track_caller]
fn one_error(id: &str, from: &str, to: &str, at: &str) {
    assert!(SOUND.contains(from), "{from:?} is not in the sound flow");
    let source = SOUND.replacen(from, to, 1);
    let errors = errors_of(&source);
    let (line, column) = place_of(&source, at);
    let found: Vec<_> = errors.iter().map(|fault| (fault.id, fault.file.as_str(), fault.line, fault.column)).collect();
    assert_eq!(found, [(id, "flow.yaml", line, column)], "{errors:#?}");
    assert!(errors.iter().all(|fault| !fault.fix.is_empty() && !fault.message.is_empty()));
}

#[test]
fn syntax_and_shape() {
    one_error("bad-format", "colloquy.flow/v1", "colloquy.flow/v9", "colloquy.flow/v9");
    one_error("unknown-key", "fallback: Sorry?", "fallback: Sorry?\nfalback: Sorry?", "falback");
    one_error("unknown-key", "    initial: ask\n", "    initial: ask\n    stiky: 80\n", "stiky");
    one_error("wrong-type", "{terminal: true}\n  order", "{terminal: maybe}\n  order", "maybe");
    one_error("bad-name", "  number: {", "  num-ber: {type: integer}\n  number: {", "num-ber");
    one_error("bad-duration", "expires_after: 5m", "expires_after: soon", "soon");
    one_error("out-of-range", "expires_turns: 2", "expires_turns: 0", "0, expires_after");
    one_error("duplicate-name", "  size: {", "  number: {type: integer}\n  size: {", "number: {type: integer}");
}

#[test]
fn what_is_missing() {
    one_error("missing-key", "fallback: Sorry?\n", "", "format:");
    one_error("missing-key", "name: small\n", "", "format:");
    one_error("missing-key", "    initial: idle\n", "", "classify: {keywords: [[home]]}");
    one_error(
        "missing-key",
        "by: intent}\n  - {from: \"*\", to: order.ask",
        "}\n  - {from: \"*\", to: order.ask",
        "{from: \"*\", to: home.idle",
    );
    one_error("enum-without-values", "type: enum, values: [small, large]", "type: enum", "enum}");
    one_error("no-response", "  - {in: home.idle, exact: Hello.}\n", "", "idle: {terminal: true}");
    one_error(
        "slot-without-pattern",
        r"type: string, extract: '\b(?P<value>\d{4})\b'",
        "type: string",
        "number: {type: string}",
    );
}

#[test]
fn references_to_nothing() {
    one_error("unknown-state", "start: home.idle", "start: home.idel", "home.idel");
    one_error("unknown-intent", "to: home.idle, by", "to: house.idle, by", "house.idle");
    one_error("unknown-state", "initial: ask", "initial: aks", "aks");
    one_error("unknown-slot", "collect: [number, size]", "collect: [number, size, colour]", "colour");
    one_error("unknown-slot", "has(slots.number)", "has(slots.nummer)", "has(slots.nummer)");
    one_error("unknown-flag", "flags.vip", "flags.vpi", "has(slots.number) && !flags.vpi");
    one_error("unknown-action", "stage: buy", "stage: by", "by}, {go");
    one_error("unknown-variable", "{{ slots.number }}", "{{ slots.nummer }}", "\"Number {{");
    one_error("unknown-variable", "{{ slots.number }}", "{{ secret }}", "\"Number {{");
    one_error("unknown-variable", "exact: Hello.", "template: \"{{ slots.number }}!\"", "\"{{ slots.number }}!\"");
    one_error("bad-value", "size: large", "size: huge", "huge");
}

/// CE-006: moves that no transition declares are faults.
#[test]
fn moves_that_are_not_declared() {
    one_error("undeclared-transition", "{go: order.sure}", "{go: order.done}", "order.done}, {set");
    one_error("undeclared-transition", "by: [action, pending]", "by: [pending]", "order.done\n    on_rejected");
    one_error("undeclared-transition", "by: [action, pending]", "by: action", "order.done\nresponses");
    one_error(
        "unreachable-state",
        "      done: {terminal: true}",
        "      done: {terminal: true}\n      lost: {terminal: true}",
        "lost",
    );
}

#[test]
fn patterns_conditions_and_templates() {
    one_error("bad-pattern", r"'\border\b'", r"'(order'", "'(order'");
    one_error("bad-pattern", r"'\border\b'", "'x*'", "'x*'");
    one_error("bad-pattern", r"'\border\b'", "'(?:(?:a{100}){100}){100}'", "'(?:(?:a{100}");
    one_error("bad-condition", "has(slots.number) && !flags.vip", "has(slots.number) &&", "has(slots.number) &&");
    one_error("bad-condition", "has(slots.number) && !flags.vip", "slots.all(s, s == 'x')", "slots.all");
    one_error("bad-condition", "has(slots.number) && !flags.vip", "text.matches('a+')", "text.matches");
    one_error("bad-condition", "has(slots.number) && !flags.vip", "1.5 < 2.0", "1.5 < 2.0");
    one_error("bad-condition", "has(slots.number) && !flags.vip", "nobody == 1", "nobody == 1");
    one_error("bad-template", "{{ slots.number }}", "{{ slots.number", "\"Number {{");
    one_error("bad-template", "{{ slots.number }}", "{% include 'x' %}", "\"Number {%");
    one_error("bad-template", "{{ slots.number }}", "{{ slots.number|upper }}", "\"Number {{");
}

/// CE-006: all faults at once.
#[test]
fn all_faults_are_reported_at_once_in_order() {
    let source = SOUND
        .replace("fallback: Sorry?\n", "")
        .replace("values: [small, large]", "values: []")
        .replace(r"'\border\b'", "'('")
        .replace("go: order.sure", "go: order.gone")
        .replace("has(slots.number)", "has(slots.nobody)")
        .replace("stage: buy", "stage: sell")
        .replace("exact: Hello.", "exat: Hello.");
    let errors = errors_of(&source);
    let mut ids: Vec<_> = errors.iter().map(|fault| fault.id).collect();
    let lines: Vec<_> = errors.iter().map(|fault| fault.line).collect();
    assert!(lines.is_sorted(), "{errors:#?}");
    ids.sort_unstable();
    ids.dedup();
    for id in [
        "missing-key",
        "enum-without-values",
        "bad-pattern",
        "unknown-state",
        "unknown-slot",
        "unknown-action",
        "unknown-key",
    ] {
        assert!(ids.contains(&id), "{id} is missing from {errors:#?}");
    }
}

#[test]
fn warnings_do_not_refuse_a_flow() {
    let source = SOUND.replace("  until: {type: date}\n", "  until: {type: date}\n  spare: {type: integer}\n");
    let loaded = load_sources("test", vec![("flow.yaml".to_owned(), source.clone())]).expect("it can be used");
    let found: Vec<_> = loaded.warnings.iter().map(|fault| (fault.id, fault.line, fault.column)).collect();
    let (line, column) = place_of(&source, "spare");
    assert_eq!(found, [("slot-never-filled", line, column), ("slot-never-used", line, column)]);
}

#[test]
fn faults_of_several_files_name_their_file() {
    let (structure, responses) = SOUND.split_at(SOUND.find("responses:").expect("it has responses"));
    let responses = format!("format: colloquy.flow/v1\n{}", responses.replace("home.idle", "home.away"));
    let sources = vec![("flow.yaml".to_owned(), structure.to_owned()), ("responses.yaml".to_owned(), responses)];
    let faults = load_sources("test", sources).expect_err("a state is unknown");
    let unknown = faults.iter().find(|fault| fault.id == "unknown-state").expect("it is told");
    assert_eq!((unknown.file.as_str(), unknown.line, unknown.column), ("responses.yaml", 3, 10));
}

/// CE-006: no source makes the lint run on.
#[test]
fn hostile_sources_are_refused_in_bounded_time() {
    let deep = format!("format: colloquy.flow/v1\nname: {}{}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(errors_of(&deep).first().map(|fault| fault.id), Some("yaml"));
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
    for (name, before) in ["b", "c", "d", "e", "f", "g"].iter().zip(["a", "b", "c", "d", "e", "f"]) {
        bomb.push_str(&format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 9].join(", ")));
    }
    assert_eq!(errors_of(&bomb).first().map(|fault| fault.id), Some("yaml"));
    let large = format!("name: {}", "x".repeat(crate::FILE_BYTES_MAX));
    assert_eq!(errors_of(&large).first().map(|fault| fault.id), Some("file-too-large"));
    for condition in ["(".repeat(600), "!".repeat(600), format!("1{}", "+1".repeat(400)), "[".repeat(900)] {
        let source = SOUND.replace("has(slots.number) && !flags.vip", &format!("'{condition}'"));
        assert!(errors_of(&source).iter().any(|fault| fault.id == "bad-condition"), "{condition}");
    }
    let long = SOUND.replace("has(slots.number) && !flags.vip", &format!("\"text == '{}'\"", "x".repeat(1100)));
    assert!(errors_of(&long).iter().any(|fault| fault.id == "bad-condition"));
}

#[test]
fn a_fault_reads_well_for_people_and_programs() {
    let source = SOUND.replace("start: home.idle", "start: home.idel");
    let fault = errors_of(&source).remove(0);
    assert_eq!(
        fault.to_string(),
        "flow.yaml:3:8: error[unknown-state]: there is no state in intent \"home\" called \"idel\"\n  fix: did you mean \"idle\"?"
    );
    let json = serde_json::to_value(&fault).expect("it serialises");
    assert_eq!((&json["id"], &json["line"], &json["column"]), (&"unknown-state".into(), &3.into(), &8.into()));
}
