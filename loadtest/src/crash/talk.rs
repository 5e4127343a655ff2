//! One caller and its conversation: what it sends while servers come and go, and what it was told.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail, ensure};
use colloquy_client::{
    Client, ClientError, Key, Turn,
    v1::{self, ErrorReason, stream_turn_response::Event},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

const FLOW: &str = "order-desk";
const TENANT: &str = "crash";
const TEXTS: [&str; 4] =
    ["I want to cancel order A-1234", "no, leave it", "where is order B-2345?", "what are your opening hours?"];
/// A retry may ask for one of so many turns ago: fewer than a conversation remembers.
const RECENT: u64 = 100;

/// A turn that was sent and of which nobody was told the end.
#[derive(Clone, Debug)]
pub(super) struct Open {
    turn: Turn,
    /// The client was told that it is accepted, so it must end.
    promised: bool,
}

/// What a caller counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) acknowledged: u64,
    pub(super) replayed: u64,
    pub(super) refused: u64,
    pub(super) promised: u64,
    pub(super) found_applied: u64,
    pub(super) found_lost: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.replayed += other.replayed;
        self.refused += other.refused;
        self.promised += other.promised;
        self.found_applied += other.found_applied;
        self.found_lost += other.found_lost;
    }
}

/// A conversation as its caller knows it.
pub(super) struct Talk {
    pub(super) key: Key,
    random: StdRng,
    /// Turns by number, as they were told.
    pub(super) told: BTreeMap<u64, v1::Turn>,
    sent: u64,
    open: Option<Open>,
    /// Sent, not answered, and not sent again: they may be there. With the last turn known when each was given up.
    abandoned: BTreeMap<String, u64>,
    /// They must never be there, and why.
    never: BTreeMap<String, &'static str>,
    pub(super) counts: Counts,
}

/// How a call ended.
enum Ended {
    Answered {
        turn: Box<v1::Turn>,
        replayed: bool,
    },
    Refused(ErrorReason),
    /// The server went away first.
    Cut {
        promised: bool,
    },
}

fn refused(error: &ClientError) -> Ended {
    error.error_reason().map_or(Ended::Cut { promised: false }, Ended::Refused)
}

async fn submit(client: &Client, turn: &Turn) -> anyhow::Result<Ended> {
    match client.submit(turn).await {
        Ok(answer) => {
            let answered = answer.turn.context("an answer without its turn")?;
            Ok(Ended::Answered { turn: Box::new(answered), replayed: answer.replayed })
        }
        Err(error) => Ok(refused(&error)),
    }
}

async fn stream(client: &Client, turn: &Turn) -> anyhow::Result<Ended> {
    let mut promised = false;
    let mut events = match client.stream(turn).await {
        Ok(events) => events,
        Err(error) => return Ok(refused(&error)),
    };
    loop {
        match events.message().await {
            Ok(Some(v1::StreamTurnResponse { event: Some(event), .. })) => match event {
                Event::Accepted(_) => promised = true,
                Event::Committed(committed) => {
                    let answered = committed.turn.context("a committed event without its turn")?;
                    return Ok(Ended::Answered { turn: Box::new(answered), replayed: committed.replayed });
                }
                _ => {}
            },
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return Ok(Ended::Cut { promised }),
        }
    }
}

/// Whether a turn is still what its caller was told. A stream tells the stages one by one, and not again at the end.
fn is_as_told(told: &v1::Turn, now: &v1::Turn) -> bool {
    if told.stages.is_empty() {
        return *told == v1::Turn { stages: Vec::new(), ..now.clone() };
    }
    told == now
}

impl Talk {
    pub(super) fn new(number: u64, seed: u64) -> Self {
        Self {
            key: Key::new(TENANT, format!("c-{number}")),
            random: StdRng::seed_from_u64(seed ^ number.rotate_left(32)),
            told: BTreeMap::new(),
            sent: 0,
            open: None,
            abandoned: BTreeMap::new(),
            never: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    fn last(&self) -> u64 {
        self.told.last_key_value().map_or(0, |(seq, _)| *seq)
    }

    fn next_turn(&mut self) -> Turn {
        self.sent += 1;
        let text = TEXTS.get(self.random.random_range(0..TEXTS.len())).copied().unwrap_or_default();
        let flow = if self.last() == 0 { FLOW } else { "" };
        self.turn(format!("r-{}", self.sent), flow, text)
    }

    /// A turn whose answer is all that is stored of it.
    fn turn(&self, request_id: String, flow: &str, text: &str) -> Turn {
        let mut turn = Turn::new(self.key.clone(), request_id, flow, text);
        turn.include_stages = true;
        turn
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    /// Says a few things, until the server goes away.
    pub(super) async fn go_on(&mut self, client: &Client) -> anyhow::Result<()> {
        if !self.take_up(client).await? {
            return Ok(());
        }
        for _ in 0..self.random.random_range(1..12) {
            let goes_on = match self.random.random_range(0..100) {
                0..6 => self.ask_again(client).await?,
                6..10 => self.say_beside(client).await?,
                10..14 => self.reuse(client).await?,
                14..22 => self.say_twice(client).await?,
                _ => self.say(client).await?,
            };
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Sends again what the last server did not answer, or gives it up; `false` when this one is gone too.
    async fn take_up(&mut self, client: &Client) -> anyhow::Result<bool> {
        let Some(Open { turn, promised }) = self.open.take() else { return Ok(true) };
        if !promised && self.percent(30) {
            self.abandoned.insert(turn.request_id, self.last());
            return Ok(true);
        }
        match submit(client, &turn).await? {
            Ended::Answered { turn: answered, replayed } => {
                ensure!(replayed || !promised, "{} was promised, and had to be decided anew", turn.request_id);
                self.learn(&turn, *answered, replayed)?;
                Ok(true)
            }
            // An abandoned turn before it was there after all.
            Ended::Refused(ErrorReason::SeqMismatch) if !promised && !self.abandoned.is_empty() => {
                self.never.insert(turn.request_id, "refused when sent again");
                Ok(true)
            }
            Ended::Refused(reason) => bail!("{} sent again was refused: {reason:?}", turn.request_id),
            Ended::Cut { .. } => {
                self.open = Some(Open { turn, promised });
                Ok(false)
            }
        }
    }

    async fn say(&mut self, client: &Client) -> anyhow::Result<bool> {
        let mut turn = self.next_turn();
        if self.abandoned.is_empty() && self.percent(60) {
            turn.expected_seq = Some(self.last());
        }
        let ended = if self.percent(15) { stream(client, &turn).await? } else { submit(client, &turn).await? };
        self.ended(turn, ended)
    }

    /// The same request twice at once: one ending.
    async fn say_twice(&mut self, client: &Client) -> anyhow::Result<bool> {
        let turn = self.next_turn();
        let (one, other) = tokio::join!(submit(client, &turn), submit(client, &turn));
        let (one, other) = (one?, other?);
        if let (Ended::Answered { turn: one, .. }, Ended::Answered { turn: other, .. }) = (&one, &other) {
            ensure!(one == other, "{} has two endings", turn.request_id);
        }
        let told = if matches!(one, Ended::Cut { .. }) { other } else { one };
        self.ended(turn, told)
    }

    fn ended(&mut self, turn: Turn, ended: Ended) -> anyhow::Result<bool> {
        match ended {
            Ended::Answered { turn: answered, replayed } => {
                self.learn(&turn, *answered, replayed)?;
                Ok(true)
            }
            Ended::Refused(reason) => bail!("{} was refused: {reason:?}", turn.request_id),
            Ended::Cut { promised } => {
                self.counts.promised += u64::from(promised);
                self.open = Some(Open { turn, promised });
                Ok(false)
            }
        }
    }

    /// A turn that was told, asked for again: the same ending.
    async fn ask_again(&mut self, client: &Client) -> anyhow::Result<bool> {
        let Some((seq, turn)) = self.recent() else { return Ok(true) };
        match submit(client, &turn).await? {
            Ended::Answered { turn: answered, replayed } => {
                ensure!(replayed, "{} was decided twice", turn.request_id);
                let told = self.told.get(&seq).context("it was told")?;
                let id = &turn.request_id;
                ensure!(is_as_told(told, &answered), "{id} has another ending now: {answered:?}; it was {told:?}");
                self.counts.replayed += 1;
                Ok(true)
            }
            Ended::Refused(reason) => bail!("{} asked for again was refused: {reason:?}", turn.request_id),
            Ended::Cut { .. } => Ok(false),
        }
    }

    fn recent(&mut self) -> Option<(u64, Turn)> {
        let last = self.last();
        let seq = self.random.random_range(last.saturating_sub(RECENT)..=last);
        let told = self.told.get(&seq)?;
        let Some(v1::turn_input::Input::Text(text)) = told.input.clone()?.input else { return None };
        Some((seq, self.turn(told.request_id.clone(), "", &text)))
    }

    /// A turn that expects another place than there is: refused, and never there.
    async fn say_beside(&mut self, client: &Client) -> anyhow::Result<bool> {
        let mut turn = self.next_turn();
        turn.expected_seq = Some(self.last() + 1000);
        self.never.insert(turn.request_id.clone(), "to be refused");
        self.must_refuse(submit(client, &turn).await?, ErrorReason::SeqMismatch)
    }

    /// Another text under a request id that was used: refused.
    async fn reuse(&mut self, client: &Client) -> anyhow::Result<bool> {
        let Some((_, mut turn)) = self.recent() else { return Ok(true) };
        turn.input = colloquy_client::Input::Text("something else".to_owned());
        self.must_refuse(submit(client, &turn).await?, ErrorReason::RequestIdReused)
    }

    fn must_refuse(&mut self, ended: Ended, with: ErrorReason) -> anyhow::Result<bool> {
        match ended {
            Ended::Refused(reason) if reason == with => {
                self.counts.refused += 1;
                Ok(true)
            }
            Ended::Refused(reason) => bail!("refused with {reason:?} instead of {with:?}"),
            Ended::Answered { turn, .. } => bail!("{} was answered and not refused with {with:?}", turn.request_id),
            Ended::Cut { .. } => Ok(false),
        }
    }

    fn learn(&mut self, sent: &Turn, answered: v1::Turn, replayed: bool) -> anyhow::Result<()> {
        let (seq, last) = (answered.turn_seq, self.last());
        ensure!(answered.request_id == sent.request_id, "{} was answered for another", sent.request_id);
        let latest = last + 1 + self.abandoned.len() as u64;
        ensure!((last + 1..=latest).contains(&seq), "{} is turn {seq}, behind turn {last}", sent.request_id);
        ensure!(answered.head.as_ref().is_some_and(|head| head.turn_seq == seq), "turn {seq} has another head");
        self.counts.acknowledged += 1;
        self.counts.replayed += u64::from(replayed);
        self.told.insert(seq, answered);
        Ok(())
    }

    /// Holds the stored turns against what was told; what was not told becomes known by it.
    pub(super) async fn check(&mut self, client: &Client) -> anyhow::Result<()> {
        let Some(stored) = self.stored(client).await? else {
            ensure!(self.told.is_empty(), "{} is gone", self.key.conversation);
            return Ok(());
        };
        ensure!(stored.len() as u64 >= self.last(), "turns {}..={} are gone", stored.len() + 1, self.last());
        let mut ids = BTreeSet::new();
        for (seq, turn) in (1_u64..).zip(stored) {
            ensure!(turn.turn_seq == seq, "turn {} stands in the place of turn {seq}", turn.turn_seq);
            ensure!(ids.insert(turn.request_id.clone()), "{} is there twice", turn.request_id);
            let never = self.never.get(&turn.request_id);
            ensure!(never.is_none(), "{} is turn {seq}, and was {}", turn.request_id, never.unwrap_or(&""));
            match self.told.get(&seq) {
                Some(told) => ensure!(is_as_told(told, &turn), "turn {seq} is not as it was told: {told:?}; {turn:?}"),
                None => self.found(turn)?,
            }
        }
        // An accepted turn may still be taken up, until another one that came later has ended.
        let last = self.last();
        let lost =
            self.abandoned.extract_if(.., |_, known| *known < last).map(|(id, _)| (id, "given up and passed over"));
        let before = self.never.len();
        self.never.extend(lost);
        self.counts.found_lost += (self.never.len() - before) as u64;
        Ok(())
    }

    /// A turn that nobody was told of: one whose answer was cut off.
    fn found(&mut self, turn: v1::Turn) -> anyhow::Result<()> {
        let is_open = self.open.as_ref().is_some_and(|open| open.turn.request_id == turn.request_id);
        if is_open {
            // It is asked for again, and must be answered as what is there.
            return Ok(());
        }
        ensure!(self.abandoned.remove(&turn.request_id).is_some(), "{} was never sent", turn.request_id);
        self.counts.found_applied += 1;
        self.told.insert(turn.turn_seq, turn);
        Ok(())
    }

    async fn stored(&self, client: &Client) -> anyhow::Result<Option<Vec<v1::Turn>>> {
        let (mut turns, mut from) = (Vec::new(), 1);
        while from != 0 {
            let page = match client.turns(&self.key, from, 1000).await {
                Err(error) if error.error_reason() == Some(ErrorReason::ConversationNotFound) => return Ok(None),
                page => page.context("the turns cannot be listed")?,
            };
            turns.extend(page.turns);
            from = page.next_from_seq;
        }
        Ok(Some(turns))
    }
}
