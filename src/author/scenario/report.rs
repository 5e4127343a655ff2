//! Played scenarios as JUnit XML, which build servers read.

use super::Played;

/// The scenarios as JUnit XML: a test suite for each flow, a test case for each scenario.
pub fn junit(played: &[Played]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    open(&mut xml, "", "testsuites", "colloquy flow test", played);
    for flow in played.chunk_by(|one, other| one.flow == other.flow) {
        let name = flow.first().map(|first| first.flow.as_str()).unwrap_or_default();
        open(&mut xml, "  ", "testsuite", name, flow);
        flow.iter().for_each(|played| case(&mut xml, played));
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn open(xml: &mut String, indent: &str, element: &str, name: &str, played: &[Played]) {
    let failures = played.iter().filter(|played| played.failure.is_some()).count();
    let seconds: f64 = played.iter().map(|played| played.elapsed.as_secs_f64()).sum();
    let name = escaped(name);
    let tests = played.len();
    xml.push_str(&format!(
        "{indent}<{element} name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" time=\"{seconds:.6}\">\n"
    ));
}

fn case(xml: &mut String, played: &Played) {
    let (flow, scenario) = (escaped(&played.flow), escaped(&played.scenario));
    let seconds = played.elapsed.as_secs_f64();
    xml.push_str(&format!("    <testcase classname=\"{flow}\" name=\"{scenario}\" time=\"{seconds:.6}\""));
    let Some(failure) = &played.failure else {
        xml.push_str("/>\n");
        return;
    };
    let message = escaped(&format!("turn {}: {}", failure.turn, failure.mismatch));
    let stages = escaped(&failure.stage_lines().collect::<Vec<_>>().join("\n"));
    xml.push_str(&format!(">\n      <failure message=\"{message}\">{stages}</failure>\n    </testcase>\n"));
}

/// A text as it may stand in an attribute or an element; what XML has no letter for becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            '\r' => escaped.push_str("&#13;"),
            '\u{FFFE}' | '\u{FFFF}' => escaped.push('\u{FFFD}'),
            letter if letter < ' ' => escaped.push('\u{FFFD}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}
