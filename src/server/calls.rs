//! The commands that call a server once.

use colloquy_client::{Client, ClientError, Key, Turn, v1};
use colloquy_types::{Entropy as _, SystemEntropy, TurnId};
use serde_json::{Value, json};

use crate::output::{self, Output};

/// A name that nobody used before: a prefix and 16 random bytes.
pub(crate) fn fresh_id(prefix: &str) -> String {
    format!("{prefix}-{}", TurnId(SystemEntropy.bytes16()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What kind of input a turn had, and the input; both empty for one that was closed.
fn said(turn: &v1::Turn) -> (&'static str, &str) {
    use v1::turn_input::Input;
    match turn.input.as_ref().and_then(|input| input.input.as_ref()) {
        Some(Input::Text(text)) => ("text", text),
        Some(Input::Json(json)) => ("json", json),
        Some(Input::Event(event)) => ("event", &event.name),
        Some(Input::Timer(id)) => ("timer", id),
        None => ("", ""),
    }
}

fn usage_json(usage: &v1::Usage) -> Value {
    json!({
        "model_calls": usage.model_calls,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cost_micros": usage.cost_micros,
    })
}

/// A turn as JSON.
pub(crate) fn turn_json(turn: &v1::Turn, replayed: bool) -> Value {
    let reply = turn.reply.clone().unwrap_or_default();
    let head = turn.head.clone().unwrap_or_default();
    let (input, text) = said(turn);
    json!({
        "turn_seq": turn.turn_seq,
        "turn_id": turn.turn_id,
        "request_id": turn.request_id,
        "input": input,
        "text": text,
        "reply": reply.text,
        "reply_kind": reply.kind,
        "follow_ups": reply.follow_ups,
        "reply_json": reply.json.map(|json| serde_json::from_str::<Value>(&json).unwrap_or(Value::String(json))),
        "intent": turn.intent,
        "state": turn.state,
        "usage": turn.usage.as_ref().map(usage_json),
        "outcome": turn.outcome().as_str_name().trim_start_matches("TURN_OUTCOME_").to_lowercase(),
        "replayed": replayed,
        "head": { "epoch": head.epoch, "turn_seq": head.turn_seq, "hash": hex(&head.hash) },
    })
}

pub(crate) fn print_turn(turn: &v1::Turn, replayed: bool, output: Output) {
    if output.json {
        return output::line(&turn_json(turn, replayed).to_string());
    }
    let reply = output::plain(turn.reply.as_ref().map(|reply| reply.text.as_str()).unwrap_or_default());
    let said = output::plain(said(turn).1);
    output::line(&format!("{} {said}", output.faint(&format!("{:>4} user     ", turn.turn_seq))));
    let place = format!("[{}.{}{}]", turn.intent, turn.state, if replayed { ", replayed" } else { "" });
    output::line(&format!("{} {} {}", output.faint("     assistant"), output.strong(&reply), output.faint(&place)));
    offered(turn, output);
}

/// Shows what may be said next, if the reply offers anything.
pub(crate) fn offered(turn: &v1::Turn, output: Output) {
    let offered = turn.reply.as_ref().map(|reply| reply.follow_ups.join(" | ")).unwrap_or_default();
    if !offered.is_empty() {
        output::line(&output.faint(&format!("     offers    {}", output::plain(&offered))));
    }
}

pub(crate) async fn send(client: &Client, turn: &Turn, output: Output) -> Result<(), ClientError> {
    let response = client.submit(turn).await?;
    print_turn(&response.turn.unwrap_or_default(), response.replayed, output);
    Ok(())
}

pub(crate) async fn stream(client: &Client, turn: &Turn, output: Output) -> Result<(), ClientError> {
    use v1::stream_turn_response::Event;
    let mut events = client.stream(turn).await?;
    while let Some(event) = events.message().await? {
        let offset = event.offset.unwrap_or_default();
        let place = format!("{}/{}/{}", offset.turn_seq, offset.attempt, offset.index);
        let note = |text: String| {
            if output.json {
                output::line(&json!({ "offset": place, "event": text }).to_string());
            } else {
                output::line(&output.faint(&format!("{place:>8} {}", output::plain(&text))));
            }
        };
        match event.event {
            Some(Event::Accepted(accepted)) => note(format!("accepted {}", accepted.turn_id)),
            Some(Event::Stage(stage)) => {
                note(
                    format!("{} {} {} {}", stage.stage, stage.result, stage.reason, stage.detail).trim_end().to_owned(),
                );
            }
            Some(Event::Progress(progress)) => note(format!("{} waits: {}", progress.stage, progress.text)),
            Some(Event::Committed(committed)) => {
                print_turn(&committed.turn.unwrap_or_default(), committed.replayed, output);
            }
            Some(Event::Delta(delta)) => note(format!("writes {}", delta.text)),
            Some(Event::Failed(failed)) => note(format!("failed {} {}", failed.reason, failed.message)),
            Some(Event::KeepAlive(_)) | None => {}
        }
    }
    Ok(())
}

pub(crate) async fn turns(
    client: &Client,
    key: &Key,
    from: u64,
    limit: usize,
    output: Output,
) -> Result<(), ClientError> {
    let (mut next, mut left) = (from, limit);
    while left > 0 {
        let page = client.turns(key, next, u32::try_from(left.min(500)).unwrap_or(500)).await?;
        page.turns.iter().for_each(|turn| print_turn(turn, false, output));
        left = left.saturating_sub(page.turns.len());
        next = page.next_from_seq;
        if next == 0 {
            break;
        }
    }
    Ok(())
}

pub(crate) async fn watch(client: &Client, key: &Key, from: u64, output: Output) -> Result<(), ClientError> {
    use v1::watch_conversation_response::Event;
    let mut events = client.watch(key, from, None).await?;
    while let Some(event) = events.message().await? {
        match event.event {
            Some(Event::Committed(committed)) => print_turn(&committed.turn.unwrap_or_default(), false, output),
            Some(Event::Reset(_)) if output.json => output::line(&json!({ "event": "reset" }).to_string()),
            Some(Event::Reset(_)) => output::line(&output.faint("     reset")),
            None => {}
        }
    }
    Ok(())
}

pub(crate) async fn reset(
    client: &Client,
    key: &Key,
    request_id: &str,
    reason: &str,
    output: Output,
) -> Result<(), ClientError> {
    let response = client.reset(key, request_id, reason).await?;
    let head = response.head.unwrap_or_default();
    if output.json {
        output::line(&json!({ "turn_seq": head.turn_seq, "replayed": response.replayed }).to_string());
    } else {
        output::line(&format!("reset; the conversation goes on after turn {}", head.turn_seq));
    }
    Ok(())
}

pub(crate) async fn status(client: &Client, actors: u32, output: Output) -> Result<(), ClientError> {
    let runtime = client.runtime().await?;
    let kind = v1::ActorKind::Conversation.into();
    let request = v1::GetSupervisionTreeRequest { kind, page_size: actors.clamp(1, 1000), ..Default::default() };
    let tree = client.tree(request).await?;
    if output.json {
        let flows = runtime
            .flows
            .iter()
            .map(|flow| json!({ "tenant": flow.tenant, "name": flow.name, "revision": flow.revision }));
        let figures = json!({
        "version": runtime.version,
        "engine": runtime.engine,
        "epoch": runtime.epoch,
        "writable": runtime.writable,
        "draining": runtime.draining,
        "conversations_active": runtime.conversations_active,
        "in_flight": runtime.in_flight,
        "in_flight_max": runtime.in_flight_max,
        "watchers": runtime.watchers,
        "records": runtime.records,
        "record_bytes": runtime.record_bytes,
        "syncs": runtime.syncs,
        "flows": flows.collect::<Vec<_>>(),
                });
        output::line(&figures.to_string());
        return Ok(());
    }
    let state = match (runtime.writable, runtime.draining) {
        (true, false) => output.good("serving"),
        (_, true) => output.bad("draining"),
        (false, _) => output.bad("read-only"),
    };
    output::line(&format!("colloquy {} {state}", runtime.version));
    output::line(&format!("  store          {}, epoch {}", runtime.engine, runtime.epoch));
    output::line(&format!("  conversations  {} live", runtime.conversations_active));
    output::line(&format!("  calls          {} of {} in flight", runtime.in_flight, runtime.in_flight_max));
    output::line(&format!("  records        {} in {} syncs", runtime.records, runtime.syncs));
    for flow in &runtime.flows {
        let revision = flow.revision.get(..12).unwrap_or_default();
        output::line(&format!("  flow           {}/{} {}", flow.tenant, flow.name, output.faint(revision)));
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(["actor", "state", "queue", "restarts", "age"]);
    for actor in &tree.actors {
        let state = actor.state().as_str_name().trim_start_matches("ACTOR_STATE_").to_lowercase();
        let age = format!("{}s", actor.age_ms / 1000);
        table.add_row([actor.path.clone(), state, actor.queue_depth.to_string(), actor.restarts.to_string(), age]);
    }
    output::line(&table.to_string());
    if tree.total > tree.actors.len() as u64 {
        output::line(&output.faint(&format!("and {} more conversations", tree.total - tree.actors.len() as u64)));
    }
    Ok(())
}
