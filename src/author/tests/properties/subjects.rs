//! Flows that are put under pressure.

use std::sync::Arc;

use colloquy_flow::Flow;

use super::oracle::Declared;
use crate::{
    load::load_despite_faults,
    tests::examples::{example, folder},
};

/// Flow, what it declares, and words that mean something to it.
pub(super) struct Subject {
    pub(super) flow: Arc<Flow>,
    pub(super) declared: Declared,
}

pub(super) fn shipped(name: &str) -> Subject {
    let mut source = String::new();
    for entry in std::fs::read_dir(folder(name)).expect("the example can be read") {
        let path = entry.expect("the example can be read").path();
        if path.file_name().is_some_and(|file| file != "scenarios.yaml") {
            source.push_str(&std::fs::read_to_string(path).expect("the example can be read"));
        }
    }
    Subject { flow: example(name).flow, declared: Declared::read(&source) }
}

/// A flow whose rules propose any position from anywhere, of which almost nothing is declared.
pub(super) fn hostile() -> Subject {
    let places = ["a.one", "a.two", "a.end", "b.one", "b.two", "b.end"];
    let mut source = String::from(
        "format: colloquy.flow/v1\nname: hostile\nstart: a.one\nfallback: Refused.\n\
         intents:\n  a:\n    initial: one\n    states: {one: {}, two: {}, end: {terminal: true}}\n  \
         b:\n    initial: one\n    digression: true\n    classify: {keywords: [[digress]]}\n    \
         states: {one: {}, two: {}, end: {terminal: true}}\n\
         transitions:\n  - {from: a.one, to: a.two, by: rule}\n  - {from: a.two, to: b.one, by: [rule, digression]}\n  \
         - {from: b.one, to: b.end, by: rule}\n  - {from: b.end, to: a.end, by: pending}\nrules:\n",
    );
    for place in places {
        let id = place.replace('.', "-");
        source.push_str(&format!(
            "  - {{id: jump-{id}, in: any, when: \"text.contains('jump {place}')\", then: [{{go: {place}}}]}}\n"
        ));
        source.push_str(&format!(
            "  - {{id: act-{id}, in: any, when: \"text.contains('act {place}')\", then: [{{stage: act_{}}}]}}\n",
            place.replace('.', "_")
        ));
    }
    source.push_str("actions:\n");
    for place in places {
        source.push_str(&format!("  act_{}: {{kind: local, on_executed: {place}}}\n", place.replace('.', "_")));
    }
    source.push_str("responses:\n  - {in: any, template: \"At {{ intent }}.{{ state }}.\"}\n");
    let declared = Declared::read(&source);
    Subject { flow: load_despite_faults(&source).expect("the hostile flow compiles"), declared }
}

/// A flow in which models choose acts, intents, slots and replies, and tools lead anywhere, of which little
/// is declared.
pub(super) fn guided() -> Subject {
    let source = GUIDED.replace("COMMON", "timeout: 1s, attempts: 1");
    let declared = Declared::read(&source);
    Subject { flow: load_despite_faults(&source).expect("the guided flow compiles"), declared }
}

const GUIDED: &str = r#"
format: colloquy.flow/v1
name: guided
start: a.one
fallback: Refused.
limits: {digression_depth: 1, pending_actions: 2, action_calls: 3}
acts: {model: {prompt: act, below: 100, threshold: 50}}
understanding:
  model: {prompt: choose, below: 100, threshold: 50}
  collision: "Which: {{ options }}?"
  sticky: 80
  let_go: ['never mind']
guard:
  policies: [{id: forbidden, contains: [forbidden], flag: seen}]
  steering: {flag_at: 40, flag: seen}
flags: [seen, {name: brief, lives: turn}, {name: restart, reset: true}]
slots:
  number: {type: string, extract: '\b(?P<value>[A-Z]-\d{4})\b', by_model: true}
  amount: {type: decimal, by_model: true, scope: conversation}
  colours: {type: list, items: {type: enum, values: [red, green]}}
  status: {type: string}
extract: {prompt: read}
intents:
  a:
    description: the first
    initial: one
    collect: [number, amount]
    keep: [status]
    classify: {keywords: [[cancel], [hours]]}
    states: {one: {}, two: {until: {when: has(slots.number), go: a.end}}, end: {terminal: true}}
  b:
    description: the second
    initial: one
    digression: true
    collect: [colours]
    classify: {keywords: [[track], [hours]], examples: [where is my order now]}
    states: {one: {}, two: {}, end: {terminal: true}}
  c: {description: never declared, initial: one, states: {one: {terminal: true}}}
  d: {description: start over, initial: one, reset: true, classify: {keywords: [[refund]]}, states: {one: {terminal: true}}}
transitions:
  - {from: a.one, to: a.two, by: [rule, action]}
  - {from: a.two, to: a.end, by: rule}
  - {from: a.one, to: b.one, by: [model, digression]}
  - {from: a.two, to: b.one, by: [digression, intent]}
  - {from: b.one, to: b.end, by: [rule, action]}
  - {from: b.end, to: a.one, by: [intent, model]}
  - {from: a.end, to: a.one, by: model}
rules:
  - {id: first, phase: after_dialogue_act, in: any, when: "act == 'question'", then: [{flag: brief}]}
  - {id: jump-model, phase: after_intent, in: any, when: "by == 'model' && text.contains('jump')", then: [{go: a.two}]}
  - {id: fetched, phase: after_enrichment, in: any, when: has(enrich.customer.level), then: [{flag: seen}]}
  - {id: call, in: any, when: "text.contains('act')", then: [{stage: call}]}
  - {id: look, in: any, when: "text.contains('order')", then: [{stage: look}]}
  - {id: ask, in: a.one, when: "text.contains('cancel')", then: [{stage: confirmed}]}
  - {id: after, phase: after_action, in: any, when: "ended == 'executed' && has(result.look.next)", then: [{go: b.end}, {stage: call}]}
  - {id: failed, phase: after_action, in: any, when: "'call' in failed", then: [{go: a.end}]}
  - {id: over, in: any, when: "text.contains('gift')", then: [{flag: restart}]}
  - {id: last, phase: before_response, in: any, when: "ended == 'unknown'", then: [{set: {status: unknown}}]}
planners:
  first: {in: [a.one, b.one], when: "text.contains('c')", prompt: plan, tools: [look, seek, weigh, grab], calls: 1}
  second: {in: any, prompt: plan, tools: [seek, look, confirmed], calls: 2}
enrichments:
  customer: {source: crm, in: any, COMMON, arguments: {id: {slot: number}}, default: {level: 1}, keep: conversation}
  weather: {source: sky, in: b.one, COMMON, default: {}}
actions:
  call: {kind: tool, tool: do/it, COMMON, confirm: {required: false}, arguments: {n: {slot: number}}, results: {status: {path: status}}, on_executed: a.two, on_failed: a.end}
  look: {kind: tool, tool: look/up, COMMON, read_only: true, in: [a.one, b.one], results: {status: {path: status}}}
  seek: {kind: tool, tool: look/for, COMMON, read_only: true, arguments: {what: {chosen: {type: string, max_chars: 20}}}, results: {status: {path: status}}}
  weigh: {kind: tool, tool: look/at, COMMON, read_only: true, on_executed: a.two, on_failed: b.end}
  grab: {kind: tool, tool: do/more, COMMON, confirm: {required: false}}
  never: {kind: tool, tool: do/not, COMMON, read_only: true}
  confirmed: {kind: tool, tool: do/that, COMMON, confirm: {}, slots: [number], on_executed: a.two}
prompts:
  act: {purpose: classify, user: "{{ text }}", variables: [text], COMMON}
  plan: {purpose: classify, user: "{{ allowed }} {{ called }}", variables: [allowed, called], COMMON}
  choose: {purpose: classify, user: "{{ text }} {{ allowed }}", variables: [text, allowed], history: {turns: 2, tokens: 50}, COMMON}
  read: {purpose: extract, user: "{{ text }} {{ missing }}", variables: [text, missing], COMMON}
  say: {purpose: respond, user: "{{ text }} {{ slots.number }}", variables: [text, slots.number], COMMON}
  shorten: {purpose: summarise, user: "{{ answer }} {{ summary }}", variables: [answer, summary], COMMON}
summary: {prompt: shorten, every_turns: 2, max_chars: 20}
responses:
  - {in: a.two, model: {prompt: say, max_chars: 40, failed: Later.}}
  - in: b.one
    model:
      prompt: say
      schema: {type: object, properties: {text: {type: string}}, required: [text]}
      say: "{{ answer.text }}"
      malformed: Pardon?
  - {in: any, template: "At {{ intent }}.{{ state }}.", follow_ups: [cancel]}
"#;
