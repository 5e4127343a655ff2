//! How actors are printed.

use colloquy_client::v1;
use serde_json::json;

use crate::output::{self, Output};

/// The kind's name in the contract, without what all of them begin with.
pub(super) fn kind_name(kind: v1::ActorKind) -> &'static str {
    kind.as_str_name().trim_start_matches("ACTOR_KIND_")
}

pub(super) fn name(kind: v1::ActorKind) -> String {
    kind_name(kind).to_lowercase()
}

fn state(actor: &v1::Actor) -> String {
    actor.state().as_str_name().trim_start_matches("ACTOR_STATE_").to_lowercase()
}

fn row_json(actor: &v1::Actor) -> serde_json::Value {
    json!({
        "path": actor.path, "kind": name(actor.kind()), "key": actor.key, "state": state(actor),
        "queue_depth": actor.queue_depth, "restarts": actor.restarts, "activation": actor.activation,
        "age_ms": actor.age_ms, "children": actor.children, "last_failure": actor.last_failure,
        "memory_bytes": actor.memory_bytes, "effect": actor.effect.as_ref().map(effect_json),
    })
}

fn effect_json(effect: &v1::EffectReport) -> serde_json::Value {
    json!({ "step": effect.step, "kind": effect.kind, "name": effect.name, "left_ms": effect.left_ms })
}

fn row_text(actor: &v1::Actor) -> String {
    let depth = actor.path.matches('/').count() * 2;
    let figures = [("queue", actor.queue_depth), ("restarts", actor.restarts.into()), ("children", actor.children)];
    let figures =
        figures.into_iter().filter(|(_, number)| *number > 0).map(|(name, number)| format!("  {name} {number}"));
    let failed = Some(&actor.last_failure).filter(|cause| !cause.is_empty());
    let failed = failed.map(|cause| format!("  failed: {}", output::plain(cause))).unwrap_or_default();
    let waits = actor.effect.as_ref().map(|v1::EffectReport { kind, name, left_ms, .. }| {
        format!("  waits for {} {}, {left_ms} ms left", output::plain(kind), output::plain(name))
    });
    let told = [figures.collect(), format!("  age {}", age(actor.age_ms)), failed, waits.unwrap_or_default()].concat();
    format!("{:depth$}{} {}{told}", "", output::plain(&actor.path), state(actor))
}

/// An age in the largest unit that tells it.
fn age(millis: u64) -> String {
    match millis / 1000 {
        0 => format!("{millis} ms"),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

pub(super) fn row(actor: &v1::Actor, output: Output) {
    output::line(&if output.json { row_json(actor).to_string() } else { row_text(actor) });
}

pub(super) fn inspection(path: &str, found: v1::InspectActorResponse, output: Output) {
    if output.json {
        return output::line(&inspection_json(&found).to_string());
    }
    output::line(&found.actor.as_ref().map_or_else(|| format!("{path} is not in memory"), row_text));
    let report = found.conversation.unwrap_or_default();
    let some = |number: u64, unit: &str| if number == 0 { String::new() } else { format!("{number}{unit}") };
    let failed = || format!("{}, at last {}", found.failures, found.last_failure);
    let mut lines = vec![
        ("turns", report.head.as_ref().map(|head| head.turn_seq.to_string()).unwrap_or_default()),
        ("memory", some(found.memory_bytes, " bytes")),
        ("waiting", some(report.queued, "")),
        ("in sync", some(report.ahead, "")),
        ("paused", if report.paused_at_us > 0 { "yes".to_owned() } else { String::new() }),
        ("unusable", report.unusable),
        ("failures", if found.failures > 0 { failed() } else { String::new() }),
        ("quarantined", found.quarantined),
    ];
    if let Some(running) = report.running {
        let v1::RunningReport { phase, turn_id, since_ms, left_ms, effects } = running;
        lines.push(("running", format!("{phase} {turn_id} for {since_ms} ms, {left_ms} ms left")));
        lines.extend(effects.into_iter().map(|v1::EffectReport { step, kind, name, left_ms }| {
            ("waits for", format!("{kind} {name} ({step}), {left_ms} ms left"))
        }));
    }
    for (name, value) in lines.into_iter().filter(|(_, value)| !value.is_empty()) {
        output::line(&format!("  {name:<12} {}", output::plain(&value)));
    }
}

fn inspection_json(found: &v1::InspectActorResponse) -> serde_json::Value {
    let report = found.conversation.clone().unwrap_or_default();
    let running = report.running.as_ref().map(|running| {
        json!({
            "phase": running.phase, "turn_id": running.turn_id, "since_ms": running.since_ms,
            "left_ms": running.left_ms, "effects": running.effects.iter().map(effect_json).collect::<Vec<_>>(),
        })
    });
    json!({
        "actor": found.actor.as_ref().map(row_json), "memory_bytes": found.memory_bytes, "failures": found.failures,
        "last_failure": found.last_failure, "quarantined": found.quarantined,
        "turn_seq": report.head.as_ref().map(|head| head.turn_seq), "paused_at_us": report.paused_at_us,
        "queued": report.queued, "ahead": report.ahead, "running": running, "unusable": report.unusable,
    })
}
