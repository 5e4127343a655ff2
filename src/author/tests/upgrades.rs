//! Upgrades: what is refused of them, and that no conversation is lost by one, whatever they say.

use std::{fmt::Write as _, sync::Arc};

use colloquy_flow::{Date, Decimal, Flow, Json, SlotValue};
use colloquy_turn::{
    Change, ConversationState, Obstacle, PendingAction, PendingId, PositionName, Question, at_boundary, upgrade,
};
use colloquy_types::{Revision, Timestamp};
use proptest::{collection::vec, option, prelude::*, sample::subsequence};

use super::faults::SOUND;
use crate::{Fault, Severity, load_sources};

const OLD: Revision = Revision([0xab; 32]);

fn load(source: &str) -> Result<Arc<Flow>, Vec<Fault>> {
    load_sources("test", vec![("flow.yaml".to_owned(), source.to_owned())]).map(|loaded| loaded.flow)
}

fn sound(upgrades: &str) -> Arc<Flow> {
    load(&format!("{SOUND}upgrades:\n{upgrades}")).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn position(text: &str) -> PositionName {
    let (intent, state) = text.split_once('.').expect("a position");
    PositionName { intent: intent.into(), state: state.into() }
}

fn state(at: &str, changes: &[Change]) -> ConversationState {
    let at = position(at);
    let mut state = ConversationState::new(at.intent, at.state);
    state.apply_all(changes);
    state
}

fn filled(slot: &str, value: &str) -> Change {
    Change::SlotSet { slot: slot.into(), value: SlotValue::Text(value.into()) }
}

fn pending(action: &str, intent: &str) -> Change {
    Change::PendingOpened(PendingAction {
        id: PendingId([1; 16]),
        action: action.into(),
        intent: intent.into(),
        staged_at: Timestamp::from_micros(1),
        staged_turn: 1,
    })
}

#[test]
fn faults_of_upgrades_are_told_at_their_place() {
    let table = [
        ("  - {states: {a.b: home.idle}}\n", "missing-key", 64),
        ("  - {from: 1234, states: {a.b: home.idle}}\n", "bad-value", 64),
        ("  - {from: [], states: {a.b: home.idle}}\n", "bad-value", 64),
        ("  - {from: \"*\", state: {a.b: home.idle}}\n", "unknown-key", 64),
        ("  - {from: \"*\", states: {ab: home.idle}}\n", "bad-value", 64),
        ("  - {from: \"*\", states: {a.b: home.away}}\n", "unknown-state", 64),
        ("  - {from: \"*\", states: {a.b: away.idle}}\n", "unknown-intent", 64),
        ("  - {from: \"*\", slots: {old: nummer}}\n", "unknown-slot", 64),
        ("  - {from: \"*\", flags: {old: vap}}\n", "unknown-flag", 64),
        ("  - {from: \"*\", slots: {one: number, two: number}}\n", "upgrade-collision", 64),
        ("  - {from: \"*\"}\n  - {from: \"*\"}\n", "upgrade-never-applies", 65),
    ];
    let first = SOUND.lines().count() as u64 + 2;
    for (upgrades, id, line) in table {
        let loaded = load_sources("test", vec![("flow.yaml".to_owned(), format!("{SOUND}upgrades:\n{upgrades}"))]);
        let faults = loaded.map_or_else(|faults| faults, |loaded| loaded.warnings);
        let found: Vec<_> = faults.iter().map(|fault| (fault.id, fault.line)).collect();
        assert_eq!(found, [(id, first + line - 64)], "{upgrades}{faults:#?}");
        assert_eq!(faults[0].severity == Severity::Warning, id == "upgrade-never-applies");
    }
}

#[test]
fn what_keeps_its_name_needs_no_mapping() {
    let held = state("order.done", &[filled("number", "1234"), Change::FlagSet { flag: "vip".into() }]);
    assert_eq!(upgrade(&held, OLD, &load(SOUND).expect("it is sound")), Ok(Vec::new()));
}

#[test]
fn mapped_names_move_and_the_first_entry_that_applies_holds() {
    let flow = sound(
        "  - {from: [\"abababab\"], states: {shop.closed: order.done}, slots: {nr: number, note: null}, \
         flags: {gold: vip, odd: null}}\n  - {from: \"*\", states: {shop.closed: home.idle}}\n",
    );
    let flag = |flag: &str| Change::FlagSet { flag: flag.into() };
    let mut held = state("shop.closed", &[filled("nr", "1234"), filled("note", "x"), flag("gold"), flag("odd")]);
    let changes = upgrade(&held, OLD, &flow).expect("it maps");
    held.apply_all(&changes);
    assert_eq!(held, state("order.done", &[filled("number", "1234"), flag("vip")]));
    let elsewhere = upgrade(&state("shop.closed", &[]), Revision([0xcd; 32]), &flow);
    assert_eq!(elsewhere, Ok(vec![Change::Moved(position("home.idle"))]));
}

#[test]
fn slots_may_change_places() {
    let source = SOUND.replace("size: {type: enum, values: [small, large]}", "size: {type: string, extract: 'x'}");
    let flow = load(&format!("{source}upgrades:\n  - {{from: \"*\", slots: {{number: size, size: number}}}}\n"));
    let mut held = state("order.done", &[filled("number", "one"), filled("size", "two")]);
    held.apply_all(&upgrade(&held, OLD, &flow.expect("it is sound")).expect("it maps"));
    assert_eq!(held, state("order.done", &[filled("number", "two"), filled("size", "one")]));
}

#[test]
fn every_obstacle_is_told_at_once() {
    let held = state(
        "shop.closed",
        &[
            Change::DigressionPushed(position("shop.open")),
            filled("gone", "x"),
            filled("size", "huge"),
            Change::FlagSet { flag: "odd".into() },
            pending("sell", "shop"),
            pending("buy", "shop"),
        ],
    );
    let (shop, buy) = (Arc::from("shop"), Arc::from("buy"));
    assert_eq!(
        upgrade(&held, OLD, &load(SOUND).expect("it is sound")),
        Err(vec![
            Obstacle::Position(position("shop.closed")),
            Obstacle::Interrupted(position("shop.open")),
            Obstacle::SlotGone { slot: "gone".into() },
            Obstacle::SlotValue { slot: "size".into(), into: "size".into() },
            Obstacle::FlagGone { flag: "odd".into() },
            Obstacle::PendingAction { action: "sell".into() },
            Obstacle::PendingSlot { action: Arc::clone(&buy), slot: "number".into() },
            Obstacle::PendingIntent { action: buy, intent: shop },
        ])
    );
}

#[test]
fn a_pending_action_follows_its_intent() {
    let flow = sound("  - {from: \"*\", states: {shop.pay: order.sure}}\n");
    let mut held = state("shop.pay", &[filled("number", "1234"), pending("buy", "shop")]);
    held.apply_all(&upgrade(&held, OLD, &flow).expect("it maps"));
    assert_eq!(held.pending().iter().map(|pending| pending.intent.as_ref()).collect::<Vec<_>>(), ["order"]);
    assert_eq!(held.pending()[0].id, PendingId([1; 16]));
}

#[test]
fn what_is_remembered_under_names_that_are_gone_is_forgotten_and_no_obstacle() {
    let question = |name: &str| Change::Asked(Question::Actions(vec!["buy".into(), name.into()]));
    let noted = |name: &str| Change::FailureNoted { name: name.into() };
    let remembered = [
        question("sell"),
        noted("sell"),
        noted("buy"),
        Change::DataSet { name: "customer".into(), value: Json::Integer(7) },
    ];
    let mut held = state("order.done", &remembered);
    held.apply_all(&upgrade(&held, OLD, &load(SOUND).expect("it is sound")).expect("it maps"));
    assert_eq!(held, state("order.done", &[noted("buy")]));
    let kept = state("order.done", &[question("buy")]);
    assert_eq!(upgrade(&kept, OLD, &load(SOUND).expect("it is sound")), Ok(Vec::new()));
}

#[test]
fn a_pending_action_that_failed_is_still_one_that_failed() {
    let flow = sound("  - {from: \"*\", states: {shop.pay: order.sure}}\n");
    let failed = Change::PendingFailed { id: PendingId([1; 16]) };
    let mut held = state("shop.pay", &[filled("number", "1234"), pending("buy", "shop"), failed]);
    held.apply_all(&upgrade(&held, OLD, &flow).expect("it maps"));
    assert!(held.has_failed(PendingId([1; 16])));
}

#[test]
fn only_terminal_and_boundary_states_are_boundaries() {
    let flow = load(&SOUND.replace("      sure: {}", "      sure: {boundary: true}")).expect("it is sound");
    let places = ["home.idle", "order.ask", "order.sure", "order.done", "shop.gone"];
    let found: Vec<_> = places.into_iter().filter(|place| at_boundary(&state(place, &[]), &flow)).collect();
    assert_eq!(found, ["home.idle", "order.sure", "order.done"]);
}

const PLACES: [&str; 6] = ["a.one", "a.two", "a.end", "b.one", "b.two", "b.end"];
const SLOTS: [&str; 4] = ["p", "q", "r", "s"];
const TYPES: [&str; 7] = [
    "{type: list, items: {type: string}, max_items: 2, extract: 'x'}",
    "{type: string, extract: 'x', max_chars: 3}",
    "{type: integer, max: 50}",
    "{type: decimal, min: 1}",
    "{type: boolean}",
    "{type: date, min: 2026-01-01}",
    "{type: enum, values: [red, blue]}",
];
const FLAGS: [&str; 3] = ["f", "g", "h"];
const ACTIONS: [&str; 2] = ["sell", "buy"];

/// Any revision over these names, with any mapping from any name to any that it declares.
fn any_flow() -> impl Strategy<Value = String> {
    let declared = (
        subsequence(PLACES.to_vec(), 1..=PLACES.len()),
        vec(option::weighted(0.8, 0..TYPES.len()), SLOTS.len()),
        subsequence(FLAGS.to_vec(), 0..=FLAGS.len()),
        vec(option::weighted(0.8, any::<bool>()), ACTIONS.len()),
    );
    let mapping = (
        vec((0..PLACES.len(), any::<prop::sample::Index>()), 0..4),
        vec((0..SLOTS.len(), option::of(any::<prop::sample::Index>())), 0..4),
        vec((0..FLAGS.len(), option::of(any::<prop::sample::Index>())), 0..3),
    );
    let limits = (0_u8..4, 1_u8..4);
    (declared, mapping, limits).prop_map(|((places, slots, flags, actions), (states, renamed, raised), limits)| {
        source(&places, &slots, &flags, &actions, limits, &(states, renamed, raised))
    })
}

type Picked = Vec<(usize, Option<prop::sample::Index>)>;
type Mapping = (Vec<(usize, prop::sample::Index)>, Picked, Picked);

fn source(
    places: &[&str],
    slots: &[Option<usize>],
    flags: &[&str],
    actions: &[Option<bool>],
    (depth, pending): (u8, u8),
    (states, renamed, raised): &Mapping,
) -> String {
    let mut text = format!(
        "format: colloquy.flow/v1\nname: any\nstart: {}\nfallback: No.\nflags: [{}]\n\
         limits: {{digression_depth: {depth}, pending_actions: {pending}}}\nslots:\n",
        places[0],
        flags.join(", "),
    );
    let declared: Vec<&str> =
        SLOTS.into_iter().zip(slots).filter(|(_, kind)| kind.is_some()).map(|(name, _)| name).collect();
    for (name, kind) in SLOTS.into_iter().zip(slots) {
        text.extend(kind.map(|kind| format!("  {name}: {}\n", TYPES[kind])));
    }
    text.push_str("intents:\n");
    for intent in ["a", "b"] {
        let of: Vec<&str> = places.iter().filter_map(|place| place.strip_prefix(intent)?.strip_prefix('.')).collect();
        let Some(initial) = of.first() else { continue };
        let _ = write!(text, "  {intent}:\n    initial: {initial}\n    states:\n");
        of.iter().for_each(|state| text.push_str(&format!("      {state}: {{terminal: true}}\n")));
    }
    text.push_str("transitions:\n");
    places.iter().for_each(|place| text.push_str(&format!("  - {{from: \"*\", to: {place}, by: rule}}\n")));
    text.push_str("actions:\n");
    for (name, confirm) in ACTIONS.into_iter().zip(actions) {
        let needs = declared.first().copied().unwrap_or_default();
        text.push_str(&match confirm {
            Some(true) => format!("  {name}: {{kind: local, slots: [{needs}], confirm: {{expires_turns: 2}}}}\n"),
            Some(false) => format!("  {name}: {{kind: local}}\n"),
            None => String::new(),
        });
    }
    text.push_str("responses:\n  - {in: any, exact: Yes.}\nupgrades:\n  - from: \"*\"\n");
    let pick = |list: &[&str], which: &Option<prop::sample::Index>| match which {
        Some(index) if !list.is_empty() => index.get(list).to_string(),
        _ => "null".to_owned(),
    };
    let mut section = |name: &str, rows: Vec<(String, String)>, twice: bool| {
        let (mut olds, mut news) = (Vec::new(), Vec::new());
        for (old, new) in rows {
            let collides = !twice && new != "null" && news.contains(&new);
            if !olds.contains(&old) && !collides {
                let heading = if olds.is_empty() { format!("    {name}:\n") } else { String::new() };
                let _ = writeln!(text, "{heading}      {old}: {new}");
                olds.push(old);
                news.push(new);
            }
        }
    };
    let states = states.iter().map(|(old, new)| (PLACES[*old].to_owned(), new.get(places).to_string()));
    section("states", states.collect(), true);
    let renamed = renamed.iter().map(|(old, new)| (SLOTS[*old].to_owned(), pick(&declared, new)));
    section("slots", renamed.collect(), false);
    let raised = raised.iter().map(|(old, new)| (FLAGS[*old].to_owned(), pick(flags, new)));
    section("flags", raised.collect(), true);
    text
}

fn any_value() -> impl Strategy<Value = SlotValue> {
    prop_oneof![
        prop::sample::select(vec!["red", "BLUE", "true", "7", "2026-11-21", "long text"])
            .prop_map(|text| SlotValue::Text(text.into())),
        (-9_i64..99).prop_map(SlotValue::Integer),
        (-9_000_000_i64..9_000_000).prop_map(|micros| SlotValue::Decimal(Decimal::from_micros(micros))),
        any::<bool>().prop_map(SlotValue::Boolean),
        Just(SlotValue::List(vec![Json::Text("a, b".into()), Json::Text("c".into())])),
        Just(SlotValue::Date(Date::parse("2026-11-21").expect("a day"))),
    ]
}

/// Any state that a conversation of some revision over these names may hold.
fn any_state() -> impl Strategy<Value = ConversationState> {
    let place = || prop::sample::select(PLACES.to_vec());
    let slots = vec((prop::sample::select(SLOTS.to_vec()), any_value()), 0..4);
    let flags = subsequence(FLAGS.to_vec(), 0..=FLAGS.len());
    let waits = vec((prop::sample::select(ACTIONS.to_vec()), prop::sample::select(vec!["a", "b"])), 0..3);
    (place(), slots, flags, vec(place(), 0..4), waits).prop_map(|(at, slots, flags, interrupted, waits)| {
        let slots = slots.into_iter().map(|(slot, value)| Change::SlotSet { slot: slot.into(), value });
        let flags = flags.into_iter().map(|flag| Change::FlagSet { flag: flag.into() });
        let interrupted = interrupted.into_iter().map(|at| Change::DigressionPushed(position(at)));
        let waits = waits.into_iter().map(|(action, intent)| pending(action, intent));
        state(at, &slots.chain(flags).chain(interrupted).chain(waits).collect::<Vec<_>>())
    })
}

/// The first thing in `state` that `flow` does not declare or allow.
fn invalid(state: &ConversationState, flow: &Flow) -> Option<String> {
    let mut places = std::iter::once(state.position()).chain(state.interrupted());
    if let Some(place) = places.find(|at| flow.find_state(&at.intent, &at.state).is_none()) {
        return Some(format!("{place}"));
    }
    for (slot, value) in state.slots() {
        let kind = flow.find_slot(slot).map(|slot| &flow.slot(slot).kind);
        let read = kind.and_then(|kind| match value {
            SlotValue::List(_) | SlotValue::Object(_) => kind.accept(&Json::from(value)),
            single => kind.parse(&single.to_string()),
        });
        if read.as_ref() != Some(value) {
            return Some(format!("slot {slot}"));
        }
    }
    if let Some(flag) = state.flags().iter().find(|flag| !flow.has_flag(flag)) {
        return Some(format!("flag {flag}"));
    }
    for pending in state.pending() {
        let action = flow.find_action(&pending.action).map(|action| flow.action(action));
        let lacks = |action: &colloquy_flow::Action| {
            action.slots.iter().any(|slot| state.slot(&flow.slot(*slot).name).is_none())
        };
        if action.is_none_or(|action| action.confirm.is_none() || lacks(action)) {
            return Some(format!("action {}", pending.action));
        }
        if flow.find_intent(&pending.intent).is_none() {
            return Some(format!("intent {}", pending.intent));
        }
    }
    let limits = flow.limits();
    let fits = state.interrupted().len() <= usize::from(limits.digression_depth)
        && state.pending().len() <= usize::from(limits.pending_actions);
    (!fits).then(|| "a limit".to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// SO-03: a conversation moves to a state that is valid in the new revision, or stays and says why.
    #[test]
    fn a_conversation_moves_to_a_valid_state_or_stays_and_says_why(
        source in any_flow(),
        states in vec(any_state(), 8),
    ) {
        let flow = load(&source).map_err(|faults| TestCaseError::fail(format!("{faults:#?}\n{source}")))?;
        for held in states {
            match upgrade(&held, OLD, &flow) {
                Ok(changes) => {
                    let mut moved = held.clone();
                    moved.apply_all(&changes);
                    prop_assert_eq!(invalid(&moved, &flow), None, "{:?} became {:?} in\n{}", held, moved, source);
                    prop_assert_eq!(moved.turns(), held.turns());
                    let ids = |state: &ConversationState| state.pending().iter().map(|one| one.id).collect::<Vec<_>>();
                    prop_assert_eq!(ids(&moved), ids(&held), "nothing that waits is dropped");
                    prop_assert_eq!(moved.interrupted().len(), held.interrupted().len());
                }
                Err(obstacles) => {
                    prop_assert!(!obstacles.is_empty());
                    prop_assert!(obstacles.iter().all(|obstacle| !obstacle.to_string().is_empty()));
                }
            }
        }
    }

    #[test]
    fn without_a_mapping_what_is_valid_stays_as_it_is_and_what_is_not_stays_behind(
        source in any_flow(),
        states in vec(any_state(), 8),
    ) {
        let (unmapped, _) = source.split_once("upgrades:").expect("it has upgrades");
        let flow = load(unmapped).map_err(|faults| TestCaseError::fail(format!("{faults:#?}\n{unmapped}")))?;
        for held in states {
            match (upgrade(&held, OLD, &flow), invalid(&held, &flow)) {
                (Ok(changes), None) => prop_assert_eq!(changes, Vec::new()),
                // What one type wrote another may read: the value goes on, newly typed.
                (Ok(changes), Some(_)) => {
                    prop_assert!(changes.iter().all(|change| matches!(change, Change::SlotSet { .. })), "{:?}", changes);
                }
                (Err(obstacles), None) => prop_assert!(false, "{:?} is valid, but {:?}", held, obstacles),
                (Err(_), Some(_)) => {}
            }
        }
    }
}
