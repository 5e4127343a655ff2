//! Dialogue acts, and how intents are understood.

use colloquy_flow::{Act, ActPattern, Likeness, ModelChoice, Pattern};

use crate::{
    fault::{At, Faults},
    node::{Node, Value},
    reader::{self, Fields},
    source::{SourceModelText, SourceText, SourceUnderstanding},
};

/// What each act looks like unless the flow says otherwise, and how sure it makes. English.
const DEFAULTS: [(Act, u8, &str); 8] = [
    (
        Act::Affirm,
        100,
        r"^\W*(?:yes|yep|yeah|yup|sure|ok|okay|correct|exactly|absolutely|go ahead|do it|please do|confirm|confirmed)\b",
    ),
    (Act::Negate, 100, r"^\W*(?:no|nope|nah|don'?t|do not|never ?mind|stop|leave it|keep it|rather not)\b"),
    (Act::Reset, 100, r"^\W*(?:start over|start again|begin again|restart|reset)\W*$"),
    (Act::Retry, 100, r"^\W*(?:(?:please )?(?:try|do) (?:it |that )?again|retry|once more)\W*$"),
    (Act::Edit, 80, r"\b(?:change|correct|edit|update|i meant|i mean|make (?:it|that)|instead of)\b"),
    (Act::NewRequest, 80, r"\b(?:something else|another (?:thing|request)|new request|different topic)\b"),
    (Act::Question, 60, r"\?\s*$|^\W*(?:what|when|where|who|why|how|which|can you|could you|is there|are there)\b"),
    (Act::Answer, 50, r"^\W*(?:it is|it's|that is|that's|my|the)\b"),
];

/// The patterns of the acts; an act that is not given has English defaults. And the model that decides when
/// they are not sure enough.
pub(super) fn acts(node: Option<&Node>, faults: &mut Faults) -> (Vec<ActPattern>, Option<At<ModelChoice>>) {
    let known: Vec<&str> = Act::ALL.iter().map(|act| act.name()).chain(["model"]).collect();
    let fields = node.and_then(|node| Fields::of(node, "acts", &known, faults));
    let written = |act: Act| fields.as_ref().and_then(|fields| fields.get(act.name()));
    let mut patterns = Vec::new();
    for (act, confidence, default) in DEFAULTS {
        match written(act) {
            Some(node) => patterns.extend(reader::list(node).filter_map(|item| act_pattern(act, item, faults))),
            None => {
                let pattern = Pattern::compile(default).ok();
                patterns.extend(pattern.map(|pattern| ActPattern { act, pattern, confidence }));
            }
        }
    }
    let model = fields.as_ref().and_then(|fields| choice(fields.get("model")?, "acts.model", 70, faults));
    (patterns, model)
}

/// A pattern alone, or with how sure it makes.
fn act_pattern(act: Act, node: &Node, faults: &mut Faults) -> Option<ActPattern> {
    let Value::Map(_) = node.value else {
        let pattern = reader::pattern(node, act.name(), faults)?;
        return Some(ActPattern { act, pattern, confidence: 100 });
    };
    let fields = Fields::of(node, "an act's pattern", &["pattern", "confidence"], faults)?;
    let pattern = fields.required("pattern", "write pattern: '…'", faults);
    let pattern = pattern.and_then(|node| reader::pattern(node, act.name(), faults))?;
    let confidence = reader::percent(fields.get("confidence"), "confidence", faults).unwrap_or(100);
    Some(ActPattern { act, pattern, confidence })
}

/// How a model chooses.
fn choice(node: &Node, what: &'static str, below: u8, faults: &mut Faults) -> Option<At<ModelChoice>> {
    let fields = Fields::of(node, what, &["prompt", "below", "threshold"], faults)?;
    let prompt = fields.required("prompt", "name one of the prompts: prompt: classify", faults);
    let prompt = prompt.and_then(|node| reader::reference(node, "a prompt", faults));
    let below = reader::percent(fields.get("below"), "below", faults).unwrap_or(below);
    let threshold = reader::percent(fields.get("threshold"), "threshold", faults).unwrap_or(60);
    let At { value, mark } = prompt?;
    Some(At { value: ModelChoice { prompt: value, below, threshold }, mark })
}

pub(super) fn understanding(node: Option<&Node>, faults: &mut Faults) -> SourceUnderstanding {
    let known = ["examples", "collision", "model", "sticky", "let_go"];
    let Some(fields) = node.and_then(|node| Fields::of(node, "understanding", &known, faults)) else {
        return SourceUnderstanding::default();
    };
    let let_go = fields.get("let_go").into_iter().flat_map(reader::list);
    SourceUnderstanding {
        likeness: likeness(fields.get("examples"), faults),
        collision: fields.get("collision").and_then(|node| collision(node, faults)),
        model: fields.get("model").and_then(|node| choice(node, "understanding.model", 90, faults)),
        sticky: reader::percent(fields.get("sticky"), "sticky", faults),
        let_go: let_go.filter_map(|item| reader::pattern(item, "let_go", faults)).collect(),
    }
}

fn likeness(node: Option<&Node>, faults: &mut Faults) -> Likeness {
    let default = Likeness::default();
    let Some(fields) = node.and_then(|node| Fields::of(node, "examples", &["min", "margin"], faults)) else {
        return default;
    };
    Likeness {
        min: reader::percent(fields.get("min"), "min", faults).unwrap_or(default.min),
        margin: reader::integer(fields.get("margin"), "margin", 0..=50, faults)
            .and_then(|margin| u8::try_from(margin).ok())
            .unwrap_or(default.margin),
    }
}

/// A template with `options`, or a prompt.
fn collision(node: &Node, faults: &mut Faults) -> Option<SourceText> {
    let Value::Map(_) = node.value else {
        return reader::reply(node, "collision", faults).map(SourceText::Template);
    };
    let fields = Fields::of(node, "collision", &["prompt", "max_chars"], faults)?;
    let prompt = fields.required("prompt", "name one of the prompts, or write the question itself", faults);
    let prompt = prompt.and_then(|node| reader::reference(node, "a prompt", faults))?;
    let chars_max = reader::integer(fields.get("max_chars"), "max_chars", 1..=16_384, faults);
    Some(SourceText::Model(Box::new(SourceModelText {
        prompt,
        chars_max: chars_max.and_then(|chars| u32::try_from(chars).ok()).unwrap_or(400),
        schema: None,
        say: None,
        malformed: None,
        failed: None,
    })))
}
