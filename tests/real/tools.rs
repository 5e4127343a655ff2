//! Flows that work with real servers of the Model Context Protocol: over standard input and output, and over HTTP.

use std::{fs, time::Instant};

use colloquy_client::{Client, v1};

use super::{
    Bench,
    servers::{Everything, Memory},
};

const WORKSHOP: &str = include_str!("workshop.yaml");

/// One conversation with the workshop.
struct Talk<'a> {
    bench: &'a Bench,
    client: Client,
    turns: Vec<v1::Turn>,
}

impl<'a> Talk<'a> {
    async fn begin(bench: &'a Bench) -> Self {
        Self { bench, client: bench.server.client().await, turns: Vec::new() }
    }

    async fn say(&mut self, text: &str) -> v1::Turn {
        let turn = self.bench.turn("c", &format!("r-{}", self.turns.len()), text);
        let turn = self.client.submit(&turn).await.unwrap().turn.unwrap();
        self.turns.push(turn.clone());
        turn
    }

    /// Asserts the reply to a text, that nothing was done without, and that the answer is recorded.
    async fn says(&mut self, text: &str, reply: &str) {
        let turn = self.say(text).await;
        assert_eq!((said(&turn), turn.outcome()), (reply, v1::TurnOutcome::Complete), "{:?}", turn.degradations);
    }

    /// Asserts the reply to a text, and what it had to do without.
    async fn says_without(&mut self, text: &str, reply: &str, source: &str, reason: &str) {
        let turn = self.say(text).await;
        assert_eq!((said(&turn), turn.outcome()), (reply, v1::TurnOutcome::Degraded));
        let missed: Vec<_> = turn.degradations.iter().map(|one| (one.source.as_str(), one.reason.as_str())).collect();
        assert_eq!(missed, [(source, reason)]);
    }

    /// Asserts that all of it is recorded as it was answered, and gives how many turns that were.
    async fn is_recorded(&self) -> usize {
        self.bench.recorded(&self.client, "c", &self.turns).await;
        self.turns.len()
    }
}

fn said(turn: &v1::Turn) -> &str {
    turn.reply.as_ref().map(|reply| reply.text.as_str()).unwrap_or_default()
}

/// What every session with the server of everything lets a conversation do.
async fn plays(everything: Everything) {
    let bench = Bench::start("workshop", WORKSHOP, &everything.settings());
    let mut talk = Talk::begin(&bench).await;
    talk.says("greet", "Echo: hello").await;
    talk.says("add 2 to 40", "The sum of 2 and 40 is 42.").await;
    talk.says("call ada", "Shall I call ada?").await;
    talk.says("yes", "Echo: ada!").await;
    talk.says("call bob", "Shall I call bob?").await;
    talk.says("no", "Then not.").await;
    // It is there, and the settings do not allow it.
    talk.says_without("pry", "That is not allowed.", "pry", "refused").await;
    for (text, reply, reason) in
        [("wait", "It took too long.", "timed_out"), ("work", "Nobody knows whether it was done.", "unknown")]
    {
        let began = Instant::now();
        talk.says_without(text, reply, text, reason).await;
        let took = began.elapsed().as_millis();
        assert!((600..700).contains(&took), "{text}: {took} ms");
    }
    talk.says("add 3 to 4", "The sum of 3 and 4 is 7.").await;
    let turns = talk.is_recorded().await;
    for (outcome, count) in [("answered", 4), ("no_such_tool", 1), ("timed_out", 2)] {
        let series = format!("colloquy_source_calls_total{{name=\"everything\",outcome=\"{outcome}\"}}");
        assert_eq!(bench.metric(&series), count, "{outcome}");
    }
    bench.assert_replays(1, turns);
}

/// CE-014, MI-10, CE-007: tools that look, that wait for a yes, that are late, and that nobody allowed.
#[tokio::test(flavor = "multi_thread")]
async fn tools_over_standard_output_are_called_within_their_bounds() {
    let Some(everything) = Everything::over_stdio() else { return };
    plays(everything).await;
}

/// CE-014, MI-10: the same over streamable HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn tools_over_http_are_called_within_their_bounds() {
    let Some(everything) = Everything::over_http() else { return };
    plays(everything).await;
}

/// Lets the server be killed between calls and in the middle of one, and come back.
async fn survives(mut everything: Everything) {
    let bench = Bench::start("workshop", WORKSHOP, &everything.settings());
    let mut talk = Talk::begin(&bench).await;
    talk.says("add 2 to 40", "The sum of 2 and 40 is 42.").await;

    let client = talk.client.clone();
    let began = Instant::now();
    let working = tokio::spawn({
        let turn = bench.turn("c", &format!("r-{}", talk.turns.len()), "work");
        async move { client.submit(&turn).await.unwrap().turn.unwrap() }
    });
    while gate(&bench, &talk.client).await.inside == 0 {
        assert!(!working.is_finished(), "the tool was not called");
    }
    everything.kill();
    let cut = working.await.unwrap();
    assert_eq!(said(&cut), "Nobody knows whether it was done.");
    assert!(began.elapsed().as_millis() < 500, "it was not the end of the server that ended it");
    talk.turns.push(cut);

    for _ in 0..3 {
        let turn = talk.say("add 1 to 1").await;
        assert_eq!((said(&turn), turn.outcome()), ("I cannot count now.", v1::TurnOutcome::Degraded));
    }
    let there = session(&bench, &talk.client).await.state() == v1::ActorState::Running;
    assert_eq!(there, !everything.takes_sessions_along());

    everything.come_back();
    let patience = Instant::now() + crate::harness::DEADLINE;
    while session(&bench, &talk.client).await.restarts == 0 {
        assert!(Instant::now() < patience, "no session since it is back");
        talk.say("add 1 to 1").await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    talk.says("add 2 to 3", "The sum of 2 and 3 is 5.").await;
    let turns = talk.is_recorded().await;
    bench.assert_replays(1, turns);
}

async fn session(bench: &Bench, client: &Client) -> v1::Actor {
    bench.actor(client, v1::ActorKind::Session, "root/sources/everything/session").await
}

async fn gate(bench: &Bench, client: &Client) -> v1::Gate {
    bench.actor(client, v1::ActorKind::Source, "root/sources/everything").await.gate.unwrap()
}

/// BO-04, BO-11: a program that is killed is started again, and turns in between go on without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_server_that_is_killed_gets_a_new_session() {
    let Some(everything) = Everything::over_stdio() else { return };
    survives(everything).await;
}

/// BO-04, BO-11: a server over HTTP that forgot its sessions gets a new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_server_over_http_that_is_killed_gets_a_new_session() {
    let Some(everything) = Everything::over_http() else { return };
    survives(everything).await;
}

/// CE-parity: what changes the world waits for a yes, happens once, and is found again by another process.
#[tokio::test(flavor = "multi_thread")]
async fn a_memory_is_written_after_a_yes_and_read_again() {
    let Some(mut memory) = Memory::start() else { return };
    let bench = Bench::start("workshop", WORKSHOP, &memory.settings());
    let mut talk = Talk::begin(&bench).await;
    // The path of the result leads to nobody.
    talk.says_without("recall tea", "Nobody.", "found", "slot_type").await;
    talk.says("note", "Shall I remember Ada?").await;
    assert!(!memory.file().exists(), "nothing is written before the yes");
    talk.says("no", "Forgotten.").await;
    assert!(!memory.file().exists(), "nothing is written after a no");
    talk.says("note", "Shall I remember Ada?").await;
    talk.says("yes", "Remembered.").await;
    let written = fs::read_to_string(memory.file()).unwrap();
    assert_eq!(written.matches("likes tea").count(), 1, "{written}");
    talk.says("recall tea", "Ada").await;
    memory.kill();
    talk.says("desk", "Hello.").await;
    let patience = Instant::now() + crate::harness::DEADLINE;
    while said(&talk.say("recall tea").await) != "Ada" {
        assert!(Instant::now() < patience, "no session since it is back");
    }
    let turns = talk.is_recorded().await;
    bench.assert_replays(1, turns);
}
