//! Stage 6: reads slots: from structured input, from the text by pattern, then by a model. A correction of a
//! pending action's slot patches it in place.

use std::sync::Arc;

use colloquy_flow::{Act, Flow, Json, Name, Schema, SlotIx, SlotValue, StateIx};

use crate::{
    event::{Detail, Reason, Stage, StageResult},
    stages::{
        Progress,
        asking::{self, Extra},
        pending,
    },
    state::Change,
    work::{Course, Work},
};

pub(super) fn run(work: &mut Work) -> Progress {
    match work.course {
        Course::Open | Course::Corrected if work.reset.is_none() => {}
        Course::Blocked => return Progress::Next,
        _ => {
            work.event(Stage::Extract, StageResult::Skipped, Reason::Decided, Detail::None);
            return Progress::Next;
        }
    }
    let flow = Arc::clone(&work.flow);
    let heading = flow.state(work.candidate);
    let same_intent = heading.intent == flow.state(work.origin).intent;
    let waiting = if same_intent { pending::eligible(work, &flow) } else { Vec::new() };
    let wanted = waiting.iter().flat_map(|(_, action)| &flow.action(*action).slots);
    let mut looked_for = heading.collect.clone();
    looked_for.extend(wanted);
    looked_for.sort_unstable();
    looked_for.dedup();
    looked_for.retain(|slot| !flow.slot(*slot).asked_only || asked_for(work, *slot));

    let (mut read, refused) = given(work, &flow, &looked_for);
    for slot in &looked_for {
        if !read.iter().any(|(known, _)| known == slot) {
            read.extend(flow.slot(*slot).read(work.said()).map(|value| (*slot, value)));
        }
    }
    let (by, trouble) = match by_model(work, &flow, &looked_for, &read) {
        None => return Progress::Need,
        Some(Ok(more)) => {
            let by = if more.is_empty() { Reason::Pattern } else { Reason::Model };
            read.extend(more);
            (by, None)
        }
        Some(Err(reason)) => (Reason::Pattern, Some(reason)),
    };

    // From here on things change.
    for name in &refused {
        work.degrade(Stage::Extract, Reason::SlotType, name);
    }
    if let (Some(reason), Some(prompt)) = (trouble, flow.extract_prompt()) {
        work.degrade(Stage::Extract, reason, &prompt.name);
    }
    if read.is_empty() && resume_interrupted(work, &flow) {
        return Progress::Next;
    }
    if looked_for.is_empty() {
        work.event(Stage::Extract, StageResult::Skipped, Reason::NotDeclared, Detail::None);
        return Progress::Next;
    }
    let mut corrected = false;
    read.sort_by_key(|(slot, _)| *slot);
    for (index, value) in read {
        let slot = flow.slot(index);
        work.filled.push(Arc::clone(&slot.name));
        if work.state().slot(&slot.name) == Some(&value) {
            continue;
        }
        work.change(Change::SlotSet { slot: Arc::clone(&slot.name), value });
        for (pending, action) in &waiting {
            if flow.action(*action).slots.contains(&index) {
                corrected = true;
                work.change(Change::PendingRenewed { id: pending.id, at: work.now });
            }
        }
    }
    let names = Detail::names(work.filled.clone());
    match (corrected, work.filled.is_empty()) {
        (true, _) => work.event(Stage::Extract, StageResult::Edited, Reason::Correction, names),
        (false, false) => work.event(Stage::Extract, StageResult::Done, by, names),
        (false, true) => work.event(Stage::Extract, StageResult::NoMatch, Reason::None, Detail::None),
    }
    Progress::Next
}

/// Whether the turn began where this slot was the next one asked for.
fn asked_for(work: &Work, slot: SlotIx) -> bool {
    let flow = &work.flow;
    let origin = flow.state(work.origin);
    let empty = |slot: &&SlotIx| work.state().slot(&flow.slot(**slot).name).is_none();
    work.candidate == work.origin && origin.asks.iter().find(empty) == Some(&slot)
}

/// Slots that structured input gives, and the names of those it may not give.
fn given(work: &Work, flow: &Flow, looked_for: &[SlotIx]) -> (Vec<(SlotIx, SlotValue)>, Vec<Name>) {
    let Some(structured) = &work.structured else { return Default::default() };
    let mut read = Vec::new();
    let mut refused = Vec::new();
    for (name, value) in &structured.slots {
        let slot = flow.find_slot(name).filter(|slot| looked_for.contains(slot));
        match slot.and_then(|slot| Some((slot, flow.slot(slot).kind.accept(value)?))) {
            Some(found) => read.push(found),
            None => refused.push(Arc::clone(name)),
        }
    }
    (read, refused)
}

/// What a model reads of what patterns did not find. Slots that are filled are read again only when the user
/// wants to change something.
fn by_model(
    work: &mut Work,
    flow: &Flow,
    looked_for: &[SlotIx],
    read: &[(SlotIx, SlotValue)],
) -> asking::Asked<Vec<(SlotIx, SlotValue)>> {
    let Some(prompt) = flow.extract_prompt() else { return Some(Ok(Vec::new())) };
    let says_only = matches!(work.act, Some(Act::Affirm | Act::Negate));
    let open = |slot: &&SlotIx| {
        let declared = flow.slot(**slot);
        let known = read.iter().any(|(known, _)| known == *slot);
        let empty = work.state().slot(&declared.name).is_none();
        declared.by_model && !known && (empty || work.act == Some(Act::Edit))
    };
    let open: Vec<SlotIx> = looked_for.iter().filter(open).copied().collect();
    if open.is_empty() || says_only || work.said().trim().is_empty() {
        return Some(Ok(Vec::new()));
    }
    let extra = Extra { schema: schema_of(flow, &open), ..Extra::default() };
    let open = &open;
    asking::json(work, prompt, &extra, |value| {
        let Json::Object(members) = value else { return Err("it must be an object".to_owned()) };
        let mut found = Vec::new();
        for (name, value) in members.iter().filter(|(_, value)| *value != Json::Null) {
            let slot = flow.find_slot(name).filter(|slot| open.contains(slot));
            let slot = slot.ok_or_else(|| format!("{name:?} was not asked for"))?;
            let value = flow.slot(slot).kind.accept(value);
            found.push((slot, value.ok_or_else(|| format!("the value of {name:?} does not fit its type or bounds"))?));
        }
        Ok(found)
    })
}

/// An object with one optional member for each slot.
fn schema_of(flow: &Flow, slots: &[SlotIx]) -> Option<Schema> {
    let properties = slots.iter().map(|slot| {
        let slot = flow.slot(*slot);
        let Json::Object(mut schema) = slot.kind.schema() else { return (Arc::clone(&slot.name), Json::Null) };
        // A model that must answer something invents it; it may say that there is nothing.
        for (key, value) in &mut schema {
            if key.as_ref() == "type" {
                *value = Json::List(vec![value.clone(), Json::Text("null".into())]);
            }
            if let ("enum", Json::List(values)) = (key.as_ref(), &mut *value) {
                values.push(Json::Null);
            }
        }
        schema.push(("description".into(), Json::Text(Arc::clone(&slot.description))));
        (Arc::clone(&slot.name), Json::object(schema))
    });
    let schema =
        Json::object([("type".into(), Json::Text("object".into())), ("properties".into(), Json::object(properties))]);
    Schema::compile(&schema).ok()
}

/// Takes up an interrupted position that the text answers, when it answers nothing here.
fn resume_interrupted(work: &mut Work, flow: &Flow) -> bool {
    let plain = matches!(work.act, None | Some(Act::Answer));
    let stays = work.candidate == work.origin && !work.recognised && plain;
    let Some(position) = work.state().interrupted().last().filter(|_| stays && work.course == Course::Open) else {
        return false;
    };
    let Some(interrupted) = flow.find_state(&position.intent, &position.state) else { return false };
    let read = answers(work, flow, interrupted);
    if read.is_empty() {
        return false;
    }
    work.resumed = true;
    work.head_for(interrupted);
    for (slot, value) in read {
        let name = &flow.slot(slot).name;
        work.filled.push(Arc::clone(name));
        work.change(Change::SlotSet { slot: Arc::clone(name), value });
    }
    let names = Detail::names(work.filled.clone());
    work.event(Stage::Extract, StageResult::Done, Reason::Resumed, names);
    true
}

/// Empty slots of a position that the text fills.
fn answers(work: &Work, flow: &Flow, position: StateIx) -> Vec<(SlotIx, SlotValue)> {
    let asks = flow.state(position).asks.iter();
    let empty = asks.filter(|slot| work.state().slot(&flow.slot(**slot).name).is_none());
    empty.filter_map(|slot| Some((*slot, flow.slot(*slot).read(work.said())?))).collect()
}
