//! For each lint an edit of the sound flow that trips it, and an edit of that which mends it.

use super::Edit::{self, Below, Swap};

/// One lint's flows.
pub(super) struct Case {
    /// The lint.
    pub(super) id: &'static str,
    /// What is done to the sound flow to trip it.
    pub(super) trips: &'static [Edit],
    /// What is done then to mend it; nothing where the sound flow itself is the mended one.
    pub(super) mend: &'static [Edit],
}

/// Every lint that one source of ordinary size can trip.
pub(super) const CASES: &[Case] = &[
    Case {
        id: "action-never-staged",
        trips: &[Below("actions:", "  gift: {kind: local, results: {until: executed_at}}")],
        mend: &[Below("rules:", "  - {id: gift, in: home.idle, when: flags.vip, then: [{stage: gift}]}")],
    },
    Case {
        id: "action-without-confirmation",
        trips: &[
            Below("actions:", "  pay: {kind: tool, tool: bank/pay, timeout: 1s}"),
            Below("rules:", "  - {id: pay, in: home.idle, when: flags.vip, then: [{stage: pay}]}"),
        ],
        mend: &[Swap(
            "pay: {kind: tool, tool: bank/pay, timeout: 1s}",
            "pay: {kind: tool, tool: bank/pay, timeout: 1s, confirm: {}}",
        )],
    },
    Case { id: "bad-condition", trips: &[Swap("&& !flags", "and !flags")], mend: &[] },
    Case { id: "bad-duration", trips: &[Swap("expires_after: 5m", "expires_after: soon")], mend: &[] },
    Case { id: "bad-format", trips: &[Swap("flow/v1", "flow/v9")], mend: &[] },
    Case { id: "bad-name", trips: &[Swap("{id: guests,", r#"{id: "the guests","#)], mend: &[] },
    Case { id: "bad-pattern", trips: &[Swap(r#"['\border\b']"#, r#"['\border(']"#)], mend: &[] },
    Case {
        id: "bad-schema",
        trips: &[
            Below("slots:", "  address: {type: object, by_model: true, schema: {type: thing}}"),
            Swap("collect: [number, size]", "collect: [number, size, address]"),
            Swap("keep: [until]", "keep: [until, address]"),
        ],
        mend: &[Swap(
            "address: {type: object, by_model: true, schema: {type: thing}}",
            "address: {type: object, by_model: true, schema: {type: object}}",
        )],
    },
    Case { id: "bad-template", trips: &[Swap("{{ slots.number }}", "{{ slots.number")], mend: &[] },
    Case { id: "bad-value", trips: &[Swap("{size: large}", "{size: huge}")], mend: &[] },
    Case {
        id: "budget-over-deadline",
        trips: &[
            Below("actions:", "  look: {kind: tool, tool: bank/look, read_only: true, timeout: 20s}"),
            Below("rules:", "  - {id: look, in: home.idle, when: flags.vip, then: [{stage: look}]}"),
        ],
        mend: &[Swap(
            "look: {kind: tool, tool: bank/look, read_only: true, timeout: 20s}",
            "look: {kind: tool, tool: bank/look, read_only: true, timeout: 2s}",
        )],
    },
    Case {
        id: "call-without-timeout",
        trips: &[
            Below("actions:", "  look: {kind: tool, tool: bank/look, read_only: true}"),
            Below("rules:", "  - {id: look, in: home.idle, when: flags.vip, then: [{stage: look}]}"),
        ],
        mend: &[Swap(
            "look: {kind: tool, tool: bank/look, read_only: true}",
            "look: {kind: tool, tool: bank/look, read_only: true, timeout: 2s}",
        )],
    },
    Case {
        id: "condition-never-holds",
        trips: &[Below(
            "rules:",
            r#"  - {id: plain, in: home.idle, when: "recognised && !recognised", then: [{unflag: vip}]}"#,
        )],
        mend: &[Swap(
            r#"- {id: plain, in: home.idle, when: "recognised && !recognised", then: [{unflag: vip}]}"#,
            r#"- {id: plain, in: home.idle, when: "recognised && !moved", then: [{unflag: vip}]}"#,
        )],
    },
    Case { id: "condition-type", trips: &[Swap("== 'small'", "== 'tiny'")], mend: &[] },
    Case {
        id: "conditional-response",
        trips: &[Swap("  - {in: home.idle, exact: Hello.}", "  - {in: home.idle, when: recognised, exact: Welcome.}")],
        mend: &[Swap(
            "  - {in: home.idle, when: recognised, exact: Welcome.}",
            "  - {in: home.idle, when: recognised, exact: Welcome.}\n  - {in: home.idle, exact: Hello.}",
        )],
    },
    Case {
        id: "dead-end",
        trips: &[
            Swap(r#"from: "*", to: home"#, "from: [home.idle, order.ask, order.sure, order.done], to: home"),
            Swap(r#"from: "*", to: order"#, "from: [home.idle, order.ask, order.sure, order.done], to: order"),
            Swap("      sure: {}\n", "      sure: {}\n      lost: {}\n"),
            Below("transitions:", "  - {from: order.sure, to: order.lost, by: rule}"),
            Below("rules:", "  - {id: lose, in: order.sure, when: act == 'negate', then: [{go: order.lost}]}"),
        ],
        mend: &[Swap("lost: {}", "lost: {terminal: true}")],
    },
    Case { id: "duplicate-name", trips: &[Swap("  size: {", "  number: {type: integer}\n  size: {")], mend: &[] },
    Case {
        id: "enrichment-never-used",
        trips: &[Below(
            "fallback: Sorry?",
            "enrichments: {crm: {source: crm, in: home.idle, timeout: 1s, default: {}}}",
        )],
        mend: &[Below("responses:", "  - {in: home.idle, when: has(enrich.crm.name), exact: Hello again.}")],
    },
    Case {
        id: "enrichment-without-default",
        trips: &[
            Below("fallback: Sorry?", "enrichments: {crm: {source: crm, in: home.idle, timeout: 1s}}"),
            Below("responses:", "  - {in: home.idle, when: has(enrich.crm.name), exact: Hello again.}"),
        ],
        mend: &[Swap(
            "enrichments: {crm: {source: crm, in: home.idle, timeout: 1s}}",
            "enrichments: {crm: {source: crm, in: home.idle, timeout: 1s, default: {}}}",
        )],
    },
    Case {
        id: "enum-without-values",
        trips: &[Swap("{type: enum, values: [small, large]}", "{type: enum}")],
        mend: &[],
    },
    Case {
        id: "flag-never-raised",
        trips: &[
            Swap("flags: [vip]\n", "flags: [vip, tired]\n"),
            Below("responses:", "  - {in: home.idle, when: flags.tired, exact: Rest a little.}"),
        ],
        mend: &[Below("rules:", "  - {id: tired, in: home.idle, when: text.contains('tired'), then: [{flag: tired}]}")],
    },
    Case {
        id: "flag-never-read",
        trips: &[
            Swap("flags: [vip]\n", "flags: [vip, tired]\n"),
            Below("rules:", "  - {id: tired, in: home.idle, when: text.contains('tired'), then: [{flag: tired}]}"),
        ],
        mend: &[Below("responses:", "  - {in: home.idle, when: flags.tired, exact: Rest a little.}")],
    },
    Case {
        id: "intent-collision",
        trips: &[Swap("    classify: {keywords: [[home]]}", r#"    classify: {patterns: ['\border\b']}"#)],
        mend: &[Swap(
            r#"    classify: {patterns: ['\border\b']}"#,
            "    priority: -1\n    classify: {patterns: ['\\border\\b']}",
        )],
    },
    Case { id: "intent-never-chosen", trips: &[Swap("  - {from: \"*\", to: home.idle, by: intent}\n", "")], mend: &[] },
    Case { id: "missing-key", trips: &[Swap("    initial: idle\n", "")], mend: &[] },
    Case { id: "no-response", trips: &[Swap("  - {in: home.idle, exact: Hello.}\n", "")], mend: &[] },
    Case { id: "out-of-range", trips: &[Swap("expires_turns: 2", "expires_turns: 0")], mend: &[] },
    Case {
        id: "planner-never-works",
        trips: &[
            Below("actions:", "  look: {kind: tool, tool: bank/look, timeout: 1s, read_only: true}"),
            Below("fallback: Sorry?", "prompts: {plan: {purpose: classify, user: hm}}"),
            Below(
                "fallback: Sorry?",
                "planners:\n  first: {in: order.ask, prompt: plan, tools: look, calls: 1}\n  second: {in: order.ask, prompt: plan, tools: look, calls: 1}",
            ),
        ],
        mend: &[Swap("first: {in: order.ask, prompt", "first: {in: order.ask, when: flags.vip, prompt")],
    },
    Case {
        id: "planner-tool",
        trips: &[
            Below("actions:", "  look: {kind: tool, tool: bank/look, timeout: 1s, confirm: {required: false}}"),
            Below("fallback: Sorry?", "prompts: {plan: {purpose: classify, user: hm}}"),
            Below("fallback: Sorry?", "planners: {asks: {in: order.ask, prompt: plan, tools: look, calls: 1}}"),
        ],
        mend: &[Swap("timeout: 1s, confirm: {required: false}", "timeout: 1s, read_only: true")],
    },
    Case {
        id: "prompt-never-used",
        trips: &[Below(
            "fallback: Sorry?",
            r#"prompts: {answer: {purpose: respond, user: "{{ text }}", variables: [text], timeout: 1s}}"#,
        )],
        mend: &[Below("responses:", "  - {in: home.idle, when: recognised, model: {prompt: answer}}")],
    },
    Case {
        id: "regex-costly",
        trips: &[Swap(r#"['\border\b']"#, r#"['\border\b', '(?:\w+\s*)+please']"#)],
        mend: &[Swap(r#"['\border\b', '(?:\w+\s*)+please']"#, r#"['\border\b', '\w.*please']"#)],
    },
    Case {
        id: "response-never-chosen",
        trips: &[Swap(
            "  - {in: home.idle, exact: Hello.}",
            "  - {in: home.idle, exact: Hello.}\n  - {in: home.idle, when: recognised, exact: Welcome.}",
        )],
        mend: &[Swap(
            "  - {in: home.idle, exact: Hello.}\n  - {in: home.idle, when: recognised, exact: Welcome.}",
            "  - {in: home.idle, when: recognised, exact: Welcome.}\n  - {in: home.idle, exact: Hello.}",
        )],
    },
    Case {
        id: "retry-not-idempotent",
        trips: &[
            Below("actions:", "  pay: {kind: tool, tool: bank/pay, timeout: 1s, attempts: 3, confirm: {}}"),
            Below("rules:", "  - {id: pay, in: home.idle, when: flags.vip, then: [{stage: pay}]}"),
        ],
        mend: &[Swap(
            "pay: {kind: tool, tool: bank/pay, timeout: 1s, attempts: 3, confirm: {}}",
            "pay: {kind: tool, tool: bank/pay, timeout: 1s, attempts: 3, confirm: {}, idempotent: true}",
        )],
    },
    Case {
        id: "rule-collision",
        trips: &[
            Below("rules:", "  - {id: down, in: order.ask, when: moved, then: [{set: {size: small}}]}"),
            Below("rules:", "  - {id: up, in: order.ask, when: moved, then: [{set: {size: large}}]}"),
        ],
        mend: &[Swap(
            "- {id: down, in: order.ask, when: moved, then: [{set: {size: small}}]}",
            "- {id: down, in: order.ask, when: asked, then: [{set: {size: small}}]}",
        )],
    },
    Case {
        id: "rule-loop",
        trips: &[
            Below("transitions:", "  - {from: home.idle, to: order.done, by: rule}"),
            Below("transitions:", "  - {from: order.done, to: home.idle, by: rule}"),
            Below("rules:", "  - {id: back, in: order.done, when: asked, then: [{go: home.idle}]}"),
            Below("rules:", "  - {id: there, in: home.idle, when: asked, then: [{go: order.done}]}"),
        ],
        mend: &[Swap(
            "- {id: back, in: order.done, when: asked, then: [{go: home.idle}]}",
            r#"- {id: back, in: order.done, when: "!asked", then: [{go: home.idle}]}"#,
        )],
    },
    Case {
        id: "secret-in-prompt",
        trips: &[
            Swap("  number: {type: string, extract:", "  number: {type: string, secret: true, extract:"),
            Below(
                "fallback: Sorry?",
                r#"prompts: {answer: {purpose: respond, user: "{{ text }}", variables: [text, slots.number], timeout: 1s}}"#,
            ),
            Below("responses:", "  - {in: home.idle, when: recognised, model: {prompt: answer}}"),
        ],
        mend: &[Swap(
            r#"prompts: {answer: {purpose: respond, user: "{{ text }}", variables: [text, slots.number], timeout: 1s}}"#,
            r#"prompts: {answer: {purpose: respond, user: "{{ text }}", variables: [text, slots.size], timeout: 1s}}"#,
        )],
    },
    Case {
        id: "slot-never-filled",
        trips: &[
            Below("slots:", "  spare: {type: integer}"),
            Below("responses:", "  - {in: order.ask, when: has(slots.spare), exact: So many.}"),
        ],
        mend: &[Swap("collect: [number, size]", "collect: [number, size, spare]")],
    },
    Case {
        id: "slot-never-used",
        trips: &[
            Below("slots:", "  spare: {type: integer}"),
            Swap("collect: [number, size]", "collect: [number, size, spare]"),
        ],
        mend: &[Below("responses:", "  - {in: order.ask, when: has(slots.spare), exact: So many.}")],
    },
    Case {
        id: "slot-unguarded",
        trips: &[Below("responses:", r#"  - {in: order.ask, when: "slots.size == 'small'", exact: A small one?}"#)],
        mend: &[Swap(
            r#"- {in: order.ask, when: "slots.size == 'small'", exact: A small one?}"#,
            r#"- {in: order.ask, when: "has(slots.size) && slots.size == 'small'", exact: A small one?}"#,
        )],
    },
    Case {
        id: "slot-without-pattern",
        trips: &[Swap(r#"{type: string, extract: '\b(?P<value>\d{4})\b'}"#, "{type: string}")],
        mend: &[],
    },
    Case {
        id: "transition-never-proposed",
        trips: &[Below("transitions:", "  - {from: order.done, to: order.ask, by: rule}")],
        mend: &[Below("rules:", "  - {id: again, in: order.done, when: flags.vip, then: [{go: order.ask}]}")],
    },
    Case {
        id: "turn-over-deadline",
        trips: &[
            Below("actions:", "  look: {kind: tool, tool: bank/look, read_only: true, timeout: 1500ms}"),
            Below("rules:", "  - {id: look, in: home.idle, when: flags.vip, then: [{stage: look}]}"),
            Below("fallback: Sorry?", "enrichments: {crm: {source: crm, in: home.idle, timeout: 1s, default: {}}}"),
            Below("fallback: Sorry?", "limits: {turn_deadline: 2s}"),
            Below("responses:", "  - {in: home.idle, when: has(enrich.crm.name), exact: Hello again.}"),
        ],
        mend: &[Swap("limits: {turn_deadline: 2s}", "limits: {turn_deadline: 4s}")],
    },
    Case { id: "undeclared-transition", trips: &[Swap("{go: order.sure}", "{go: order.done}")], mend: &[] },
    Case { id: "unknown-action", trips: &[Swap("{stage: buy}", "{stage: by}")], mend: &[] },
    Case {
        id: "unknown-enrichment",
        trips: &[Below("responses:", "  - {in: home.idle, when: has(enrich.crm.name), exact: Hello again.}")],
        mend: &[Below(
            "fallback: Sorry?",
            "enrichments: {crm: {source: crm, in: home.idle, timeout: 1s, default: {}}}",
        )],
    },
    Case { id: "unknown-flag", trips: &[Swap("!flags.vip", "!flags.vpi")], mend: &[] },
    Case { id: "unknown-intent", trips: &[Swap("to: home.idle", "to: house.idle")], mend: &[] },
    Case { id: "unknown-key", trips: &[Below("fallback: Sorry?", "falback: Sorry?")], mend: &[] },
    Case {
        id: "unknown-prompt",
        trips: &[Below("responses:", "  - {in: home.idle, when: recognised, model: {prompt: answer}}")],
        mend: &[Below(
            "fallback: Sorry?",
            r#"prompts: {answer: {purpose: respond, user: "{{ text }}", variables: [text], timeout: 1s}}"#,
        )],
    },
    Case { id: "unknown-slot", trips: &[Swap("has(slots.number)", "has(slots.nummer)")], mend: &[] },
    Case { id: "unknown-state", trips: &[Swap("start: home.idle", "start: home.idel")], mend: &[] },
    Case {
        id: "unknown-timer",
        trips: &[Below("rules:", "  - {id: back, in: home.idle, when: flags.vip, then: [{forget: nudge}]}")],
        mend: &[Below(
            "rules:",
            "  - {id: later, in: home.idle, when: \"!flags.vip\", then: [{remind: {id: nudge, in: 1d}}]}",
        )],
    },
    Case { id: "unknown-variable", trips: &[Swap("{{ slots.number }}", "{{ slots.nummer }}")], mend: &[] },
    Case {
        id: "unlisted-variable",
        trips: &[
            Below(
                "fallback: Sorry?",
                r#"prompts: {answer: {purpose: respond, user: "{{ slots.number }}", variables: [text], timeout: 1s}}"#,
            ),
            Below("responses:", "  - {in: home.idle, when: recognised, model: {prompt: answer}}"),
        ],
        mend: &[Swap(
            r#"prompts: {answer: {purpose: respond, user: "{{ slots.number }}", variables: [text], timeout: 1s}}"#,
            r#"prompts: {answer: {purpose: respond, user: "{{ slots.number }}", variables: [slots.number], timeout: 1s}}"#,
        )],
    },
    Case {
        id: "unreachable-state",
        trips: &[Swap("      sure: {}\n", "      sure: {}\n      gone: {terminal: true}\n")],
        mend: &[
            Swap("by: [action, pending]}", "by: action}\n  - {from: order.sure, to: order.gone, by: pending}"),
            Swap("on_rejected: order.done", "on_rejected: order.gone"),
        ],
    },
    Case {
        id: "upgrade-collision",
        trips: &[Below("fallback: Sorry?", r#"upgrades: [{from: "*", slots: {nr: number, no: number}}]"#)],
        mend: &[Swap("{nr: number, no: number}", "{nr: number, no: null}")],
    },
    Case {
        id: "upgrade-never-applies",
        trips: &[Below(
            "fallback: Sorry?",
            r#"upgrades: [{from: "*", slots: {nr: number}}, {from: ["0a1b2c3d"], slots: {no: number}}]"#,
        )],
        mend: &[Swap(
            r#"[{from: "*", slots: {nr: number}}, {from: ["0a1b2c3d"], slots: {no: number}}]"#,
            r#"[{from: ["0a1b2c3d"], slots: {no: number}}, {from: "*", slots: {nr: number}}]"#,
        )],
    },
    Case { id: "wrong-type", trips: &[Swap("idle: {terminal: true}", "idle: {terminal: maybe}")], mend: &[] },
    Case { id: "yaml", trips: &[Swap("fallback: Sorry?", "fallback: {Sorry?")], mend: &[] },
];
