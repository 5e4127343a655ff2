//! Conditions that contradict themselves.

use std::collections::HashSet;

use colloquy_flow::condition::{Comparison, Shape};

/// Why the condition can never hold, if that is certain.
pub(super) fn contradiction(shape: &Shape) -> Option<String> {
    match shape {
        Shape::Boolean(false) => Some("it is false".to_owned()),
        Shape::Not(part) if **part == Shape::Boolean(true) => Some("it is false".to_owned()),
        Shape::Any(parts) => {
            let all: Option<Vec<String>> = parts.iter().map(contradiction).collect();
            all.and_then(|reasons| reasons.into_iter().next())
        }
        Shape::All(parts) => parts.iter().find_map(contradiction).or_else(|| clash(parts)),
        Shape::Compare(how, sides) => compared(*how, sides),
        _ => None,
    }
}

/// Two parts of a conjunction that exclude each other.
fn clash(parts: &[Shape]) -> Option<String> {
    let held: HashSet<&Shape> = parts.iter().collect();
    for (place, part) in parts.iter().enumerate() {
        if let Shape::Not(negated) = part
            && held.contains(negated.as_ref())
        {
            return Some("a part of it must both hold and not hold".to_owned());
        }
        let Some((subject, value, equal)) = pinned(part) else { continue };
        for other in parts.iter().skip(place + 1) {
            let Some((of, another, other_equal)) = pinned(other) else { continue };
            let clashes = match (equal, other_equal) {
                (true, true) => value != another,
                (true, false) | (false, true) => value == another,
                (false, false) => false,
            };
            if of == subject && clashes {
                return Some("the same is compared with values that exclude each other".to_owned());
            }
        }
    }
    None
}

/// What is compared with which written value, and whether it must equal it.
fn pinned(part: &Shape) -> Option<(&Shape, &Shape, bool)> {
    let Shape::Compare(how @ (Comparison::Equal | Comparison::Differs), sides) = part else { return None };
    let equal = *how == Comparison::Equal;
    let [one, other] = sides.as_ref();
    match (is_written(one), is_written(other)) {
        (false, true) => Some((one, other, equal)),
        (true, false) => Some((other, one, equal)),
        _ => None,
    }
}

const fn is_written(shape: &Shape) -> bool {
    matches!(shape, Shape::Text(_) | Shape::Integer(_) | Shape::Boolean(_))
}

/// A comparison of two written values, or of something with itself.
fn compared(how: Comparison, sides: &[Shape; 2]) -> Option<String> {
    let [one, other] = sides;
    let reason = || Some("it compares what is written there, and that does not change".to_owned());
    let same = one == other;
    match how {
        Comparison::Equal if is_written(one) && is_written(other) && !same => reason(),
        Comparison::Differs | Comparison::Less | Comparison::Greater if same => reason(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use colloquy_flow::Condition;

    use super::contradiction;

    #[test]
    fn only_what_is_certain_is_called_a_contradiction() {
        let told = |source: &str| contradiction(&Condition::compile(source).expect("it is a condition").shape());
        for source in [
            "false",
            "moved && !moved",
            "act == 'affirm' && recognised && act == 'negate'",
            "act == 'affirm' && act != 'affirm'",
            "asked && (moved && false || act != act)",
            "'a' == 'b'",
            "slots.size < slots.size",
        ] {
            assert!(told(source).is_some(), "{source}");
        }
        for source in [
            "true",
            "moved || !moved",
            "act == 'affirm' || act == 'negate'",
            "act != 'affirm' && act != 'negate'",
            "act == 'affirm' && intent == 'negate'",
            "act == act",
            "moved && (asked || false)",
        ] {
            assert!(told(source).is_none(), "{source}");
        }
    }
}
