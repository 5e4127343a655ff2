//! How conversations of older revisions move to this one.

use colloquy_flow::{
    Name, Place,
    upgrade::{REVISION_DIGITS_MAX, REVISION_DIGITS_MIN, UpgradeFrom},
};

use crate::{
    fault::{At, Faults},
    node::{Key, Node, Value},
    reader::{self, Fields},
    source::SourceUpgrade,
};

const KEYS: [&str; 4] = ["from", "states", "slots", "flags"];

pub(super) fn upgrades(node: Option<&Node>, faults: &mut Faults) -> Vec<SourceUpgrade> {
    node.into_iter().flat_map(reader::list).filter_map(|item| upgrade(item, faults)).collect()
}

fn upgrade(node: &Node, faults: &mut Faults) -> Option<SourceUpgrade> {
    let fields = Fields::of(node, "an upgrade", &KEYS, faults)?;
    let from = fields.required("from", "name the older revisions: from: \"*\", or from: [\"1f2e3d4c\"]", faults);
    let from = from.and_then(|node| self::from(node, faults));
    let mut states = Vec::new();
    for (key, node) in entries(&fields, "states", faults) {
        let (old, new) = (old_place(key, faults), reader::place(node, "what it became", faults));
        states.extend(old.zip(new));
    }
    let slots = renamed(&fields, "slots", "a slot", faults);
    let flags = renamed(&fields, "flags", "a flag", faults);
    Some(SourceUpgrade { from: from?, states, slots, flags, mark: node.mark.clone() })
}

fn entries<'n>(fields: &Fields<'n>, key: &'static str, faults: &mut Faults) -> &'n [(Key, Node)] {
    fields.get(key).and_then(|node| reader::map(node, key, faults)).unwrap_or_default()
}

fn from(node: &Node, faults: &mut Faults) -> Option<UpgradeFrom> {
    let mut prefixes = Vec::new();
    for item in reader::list(node) {
        let said = reader::text(item, "from", faults)?;
        if said.value == "*" {
            return Some(UpgradeFrom::Any);
        }
        let digits = said.value.to_ascii_lowercase();
        let long_enough = (REVISION_DIGITS_MIN..=REVISION_DIGITS_MAX).contains(&digits.len());
        if !long_enough || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let fix = format!(
                "write \"*\", or the first {REVISION_DIGITS_MIN} to {REVISION_DIGITS_MAX} hexadecimal digits of a \
                 revision, in quotes"
            );
            faults.error("bad-value", &said.mark, format!("{:?} names no revision", said.value), fix);
            return None;
        }
        prefixes.push(digits);
    }
    if prefixes.is_empty() {
        faults.error("bad-value", &node.mark, "from names no revision", "write \"*\", or digits of a revision");
        return None;
    }
    Some(UpgradeFrom::Prefixes(prefixes))
}

fn old_place(key: &Key, faults: &mut Faults) -> Option<Place> {
    let Some((intent, state)) = key.text.split_once('.') else {
        let message = format!("{:?} is no position of an older revision", key.text);
        faults.error("bad-value", &key.mark, message, "write intent.state");
        return None;
    };
    let intent = reader::name(intent, &key.mark, "an intent", false, faults)?;
    let state = reader::name(state, &key.mark, "a state", false, faults)?;
    Some(Place { intent, state })
}

fn renamed(
    fields: &Fields<'_>,
    key: &'static str,
    what: &'static str,
    faults: &mut Faults,
) -> Vec<(Name, Option<At<Name>>)> {
    let mut renamed = Vec::new();
    for (old, node) in entries(fields, key, faults) {
        let Some(old) = reader::name(&old.text, &old.mark, what, false, faults) else { continue };
        match node.value {
            Value::Null => renamed.push((old, None)),
            _ => renamed.extend(reader::reference(node, what, faults).map(|new| (old, Some(new)))),
        }
    }
    renamed
}
