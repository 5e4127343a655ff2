//! The supervision tree as operators see it, page by page. Built from the directory's own figures; no
//! actor is asked.

use std::{collections::BinaryHeap, sync::Arc, time::Duration};

use colloquy_types::{Activation, ConversationKey};

use crate::{
    directory::{ActorInfo, ActorStatus},
    heartbeat::Janitor,
    inspecting::EffectReport,
    lives::Life,
    outside::{self, GateFigures, GateKind, Gates},
    quarantine::FailureCause,
    root::Child,
    shard::SHARDS,
    shared::Shared,
};

/// What an actor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ActorKind {
    /// The root.
    Root,
    /// The store's writer.
    StoreWriter,
    /// A shard supervisor.
    Shard,
    /// A conversation.
    Conversation,
    /// What publishes and promotes flows.
    Flows,
    /// A supervisor of gates and sessions.
    Gates,
    /// The gate in front of a model.
    Model,
    /// The gate in front of a source.
    Source,
    /// The keeper of a session with a source.
    Session,
    /// What passivates or erases idle conversations, or has them speak when their timers are due.
    Janitor,
}

/// Which actors to show.
#[derive(Clone, Debug, Default)]
pub struct TreeFilter {
    /// Only actors of this kind.
    pub kind: Option<ActorKind>,
    /// Only conversations of this tenant.
    pub tenant: Option<String>,
}

/// One actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeRow {
    /// Its place in the tree, unique: `root/conversations/07/acme/c-1`.
    pub path: String,
    /// The path of its supervisor; empty for the root.
    pub parent: String,
    /// What it is.
    pub kind: ActorKind,
    /// `tenant/conversation` of a conversation; empty for others.
    pub key: String,
    /// What it is doing.
    pub status: ActorStatus,
    /// Calls that wait or run with it.
    pub queue_depth: usize,
    /// How often it was restarted after failures.
    pub restarts: u32,
    /// How it failed last, as far as that is remembered.
    pub last_failure: Option<FailureCause>,
    /// Its activation, 0 while it has none.
    pub activation: Activation,
    /// How long it has lived; while it waits to be started anew, how long it has waited.
    pub age: Duration,
    /// About how much memory it takes, in bytes; of conversations, 0 of others.
    pub memory_bytes: usize,
    /// The call that it waits for, of several the one that may take longest; of conversations.
    pub effect: Option<EffectReport>,
    /// How many actors it supervises.
    pub children: usize,
    /// How a gate stands.
    pub gate: Option<GateFigures>,
}

/// A page of the tree, in order of path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreePage {
    /// The actors.
    pub rows: Vec<TreeRow>,
    /// Where the next page begins; `None` when this is the last.
    pub next: Option<String>,
    /// How many actors match the filter.
    pub total: usize,
}

const ROOT: &str = "root";
/// The path of what publishes and promotes flows.
pub(crate) const FLOWS: &str = "root/flows";
/// What the paths of shards and conversations begin with.
const CONVERSATIONS: &str = "root/conversations/";

/// Collects the rows after `after`, at most `limit` of them. However many conversations there are, only as many are
/// made into rows as the page shows.
pub(crate) fn page(shared: &Shared, filter: &TreeFilter, after: Option<&str>, limit: usize) -> TreePage {
    let (mut below, mut conversations) = (Below::default(), 0);
    let wanted = limit.saturating_add(1);
    let behind = after.map(conversation_after);
    // The first of those behind `after`, the last of them on top.
    let mut first: BinaryHeap<ByPath> = BinaryHeap::new();
    let shows_conversations = filter.kind.is_none_or(|kind| kind == ActorKind::Conversation);
    shared.directory.each(|info| {
        below.count(info);
        if !shows_conversations || filter.tenant.as_ref().is_some_and(|tenant| info.key.tenant() != tenant) {
            return;
        }
        conversations += 1;
        let place = (info.shard, info.key.as_str());
        if behind.is_some_and(|behind| place <= behind) {
            return;
        }
        if first.len() < wanted || first.peek().is_some_and(|last| place < last.place()) {
            first.push(ByPath(Arc::clone(info)));
            if first.len() > wanted {
                first.pop();
            }
        }
    });
    let mut rows = fixed_rows(&below, shared);
    rows.extend(outside_rows(shared));
    rows.retain(|row| filter.kind.is_none_or(|kind| row.kind == kind) && filter.tenant.is_none());
    let total = rows.len() + conversations;
    rows.retain(|row| after.is_none_or(|after| row.path.as_str() > after));
    rows.extend(first.iter().map(|ByPath(info)| conversation_row(shared, info)));
    rows.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = if more { rows.last().map(|row| row.path.clone()) } else { None };
    TreePage { rows, next, total }
}

/// One actor's row, if there is such an actor.
pub(crate) fn row(shared: &Shared, path: &str) -> Option<TreeRow> {
    if let Some(key) = conversation_of(path) {
        return shared.directory.get(&key).map(|handle| conversation_row(shared, &handle.info));
    }
    let mut below = Below::default();
    shared.directory.each(|info| below.count(info));
    fixed_rows(&below, shared).into_iter().chain(outside_rows(shared)).find(|row| row.path == path)
}

/// The conversation whose actor has this path.
pub(crate) fn conversation_of(path: &str) -> Option<ConversationKey> {
    let (number, key) = path.strip_prefix(CONVERSATIONS)?.split_once('/')?;
    let (tenant, conversation) = key.split_once('/')?;
    let key = ConversationKey::from_parts(tenant, conversation).ok()?;
    (number.parse() == Ok(crate::shard::of(&key))).then_some(key)
}

/// The number of the shard whose supervisor has this path.
pub(crate) fn shard_of(path: &str) -> Option<u16> {
    path.strip_prefix(CONVERSATIONS)?.parse().ok().filter(|number| *number < SHARDS)
}

/// A conversation's actor in the order of paths.
struct ByPath(Arc<ActorInfo>);

impl ByPath {
    fn place(&self) -> (u16, &str) {
        (self.0.shard, self.0.key.as_str())
    }
}

impl PartialEq for ByPath {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for ByPath {}

impl PartialOrd for ByPath {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByPath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place().cmp(&other.place())
    }
}

/// The last place among conversations that is not behind the path `after`.
fn conversation_after(after: &str) -> (u16, &str) {
    match after.strip_prefix(CONVERSATIONS) {
        None if after < CONVERSATIONS => (0, ""),
        None => (u16::MAX, ""),
        Some(place) => {
            let (number, key) = place.split_once('/').unwrap_or((place, ""));
            (number.parse().unwrap_or(u16::MAX), key)
        }
    }
}

fn shard_path(shard: u16) -> String {
    format!("{CONVERSATIONS}{shard:02}")
}

/// What stands below each shard's supervisor.
struct Below([Crowd; SHARDS as usize]);

#[derive(Clone, Copy, Default)]
struct Crowd {
    conversations: usize,
    calls: usize,
}

impl Default for Below {
    fn default() -> Self {
        Self([Crowd::default(); SHARDS as usize])
    }
}

impl Below {
    fn count(&mut self, info: &ActorInfo) {
        if let Some(crowd) = self.0.get_mut(usize::from(info.shard)) {
            crowd.conversations += 1;
            crowd.calls += info.in_flight.get();
        }
    }
}

/// The root, the store's writer, and the root's children but for the supervisors of gates.
fn fixed_rows(below: &Below, shared: &Shared) -> Vec<TreeRow> {
    let janitors: Vec<_> = Janitor::ALL.into_iter().filter(|janitor| shared.has(*janitor)).collect();
    // The store's writer is a thread: it lives as long as the process, which does not outlive it.
    let of_process =
        |path: String, parent: &str, kind| TreeRow { age: shared.age(), ..fixed_row(path, parent.to_owned(), kind) };
    let children = usize::from(SHARDS) + janitors.len() + 2 + shared.outside.gates().len();
    let flows = child_of_root(shared, &Child::Flows, FLOWS.to_owned(), ActorKind::Flows);
    let mut rows = vec![
        TreeRow { children, ..of_process(ROOT.to_owned(), "", ActorKind::Root) },
        of_process(format!("{ROOT}/store-writer"), ROOT, ActorKind::StoreWriter),
        TreeRow { queue_depth: shared.workshop.admitted(), ..flows },
    ];
    rows.extend(janitors.into_iter().map(|janitor| {
        let path = format!("{ROOT}/{}", janitor.name());
        child_of_root(shared, &Child::Janitor(janitor), path, ActorKind::Janitor)
    }));
    rows.extend((0..SHARDS).zip(&below.0).map(|(shard, crowd)| TreeRow {
        children: crowd.conversations,
        queue_depth: crowd.calls,
        ..child_of_root(shared, &Child::Shard(shard), shard_path(shard), ActorKind::Shard)
    }));
    rows
}

/// The row of one of the root's children, with what the root tells of it.
fn child_of_root(shared: &Shared, child: &Child, path: String, kind: ActorKind) -> TreeRow {
    let row = fixed_row(path, ROOT.to_owned(), kind);
    match shared.lives.of(child) {
        Some(Life { status, since, restarts, last_failure }) => {
            TreeRow { status, restarts, last_failure, age: since.elapsed(), ..row }
        }
        None => TreeRow { status: ActorStatus::Activating, ..row },
    }
}

fn fixed_row(path: String, parent: String, kind: ActorKind) -> TreeRow {
    TreeRow {
        path,
        parent,
        kind,
        key: String::new(),
        status: ActorStatus::Running,
        queue_depth: 0,
        restarts: 0,
        last_failure: None,
        activation: Activation::default(),
        age: Duration::ZERO,
        memory_bytes: 0,
        effect: None,
        children: 0,
        gate: None,
    }
}

/// The supervisors of gates, and what they supervise.
fn outside_rows(shared: &Shared) -> Vec<TreeRow> {
    let mut rows = Vec::new();
    for (place, Gates { kind, children }) in shared.outside.gates().into_iter().enumerate() {
        let path = format!("{ROOT}/{}", kind.supervisor());
        let row = child_of_root(shared, &Child::Gates(place), path.clone(), ActorKind::Gates);
        rows.push(TreeRow { children: children.len(), ..row });
        rows.extend(children.iter().map(|child| child_row(kind, child, &path)));
    }
    rows
}

fn child_row(kind: GateKind, child: &outside::Child, supervisor: &str) -> TreeRow {
    match child {
        outside::Child::Gate(_, board) => {
            let kind = match kind {
                GateKind::Model => ActorKind::Model,
                GateKind::Source => ActorKind::Source,
            };
            let figures = board.figures();
            TreeRow {
                status: if figures.inside > 0 { ActorStatus::Running } else { ActorStatus::Idle },
                queue_depth: figures.waiting,
                restarts: u32::try_from(figures.restarts).unwrap_or(u32::MAX),
                age: figures.age,
                gate: Some(figures),
                ..fixed_row(format!("{supervisor}/{}", board.name), supervisor.to_owned(), kind)
            }
        }
        outside::Child::Session(spec) => {
            let path = format!("{supervisor}/{}/session", spec.name);
            let figures = spec.figures();
            TreeRow {
                status: figures.status,
                restarts: figures.restarts,
                age: figures.age,
                ..fixed_row(path, supervisor.to_owned(), ActorKind::Session)
            }
        }
    }
}

fn conversation_row(shared: &Shared, info: &ActorInfo) -> TreeRow {
    let parent = shard_path(info.shard);
    TreeRow {
        key: info.key.to_string(),
        status: info.status(),
        queue_depth: info.in_flight.get(),
        restarts: info.restarts,
        last_failure: shared.quarantine.trouble(&info.key).0.map(|(_, cause)| cause),
        activation: info.activation(),
        age: info.age(),
        memory_bytes: info.bytes(),
        effect: info.waits_for(),
        ..fixed_row(format!("{parent}/{}", info.key), parent, ActorKind::Conversation)
    }
}
