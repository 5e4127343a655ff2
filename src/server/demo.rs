//! `colloquy demo`: a server of its own, the example conversations through real gRPC, every reply checked.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use colloquy_author::{Scenario, ScenarioTurn, check};
use colloquy_client::{Client, Key, Turn, v1};
use serde_json::json;

use crate::{
    Exit, flows,
    output::{self, Output},
    serve::Server,
    settings::{Settings, Sources},
};

/// The tenant of the demo's conversations.
const TENANT: &str = "demo";
/// How long a turn may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// What the demo counts.
#[derive(Default)]
struct Tally {
    latencies: Vec<Duration>,
    wrong: usize,
    /// Scenarios that script time, models, sources, tools or structured input: `colloquy flow test` plays them.
    skipped: usize,
}

/// Plays everything.
pub(crate) async fn run(output: Output) -> Exit {
    match play_all(output).await {
        Ok(tally) => summary(&tally, output),
        Err(error) => {
            output::error(&format!("{error:#}"));
            Exit::NotAsItShouldBe
        }
    }
}

async fn play_all(output: Output) -> anyhow::Result<Tally> {
    let folder = tempfile::tempdir().context("no temporary folder can be made")?;
    let data_dir = folder.path().join("store");
    let flags = [
        ("listen.grpc", "127.0.0.1:0".to_owned()),
        ("listen.http", "127.0.0.1:0".to_owned()),
        ("store.data_dir", data_dir.display().to_string()),
    ];
    let flags = flags.into_iter().map(|(name, value)| (name, "demo", value)).collect();
    let settings = Settings::read(&Sources { flags, ..Sources::default() });
    let settings = settings.map_err(|faults| anyhow::anyhow!("{} faults in the demo's own settings", faults.len()))?;
    let server = Server::start(&settings).await?;
    let client = Client::connect(&server.grpc.to_string(), DEADLINE).await?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.run_until(async { drop(stopped.await) }));
    let mut tally = Tally::default();
    for flow in &flows::BUILT_IN {
        let scenarios = flow.scenarios().map_err(|faults| {
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("scenarios have faults\n{}", faults.join("\n"))
        })?;
        let (plain, scripted): (Vec<_>, Vec<_>) = scenarios.iter().partition(|scenario| scenario.is_plain());
        tally.skipped += scripted.len();
        for scenario in plain {
            play(&client, flow.name, scenario, &mut tally, output).await?;
        }
    }
    drop(stop);
    serving.await??;
    Ok(tally)
}

async fn play(
    client: &Client,
    flow: &str,
    scenario: &Scenario,
    tally: &mut Tally,
    output: Output,
) -> anyhow::Result<()> {
    let conversation: String =
        scenario.name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let key = Key::new(TENANT, format!("{flow}.{}", conversation.trim_matches('-')));
    if !output.json {
        output::line(&format!("\n{} {}", output.strong(&scenario.name), output.faint(&format!("({flow})"))));
    }
    for (number, promised) in scenario.turns.iter().enumerate() {
        let turn = Turn::new(key.clone(), format!("demo-{number}"), flow, promised.say.clone());
        let began = Instant::now();
        let response = client.submit(&turn).await?;
        let latency = began.elapsed();
        tally.latencies.push(latency);
        let turn = response.turn.unwrap_or_default();
        let reply = turn.reply.clone().unwrap_or_default().text;
        let checked = check(promised, &turn.intent, &turn.state, &reply).map_err(|mismatch| mismatch.to_string());
        let checked = match promised_slots(client, &key, promised).await? {
            Some(mismatch) if checked.is_ok() => Err(mismatch),
            _ => checked,
        };
        tally.wrong += usize::from(checked.is_err());
        print(&turn, promised, &reply, latency, &checked, output);
    }
    Ok(())
}

async fn promised_slots(client: &Client, key: &Key, promised: &ScenarioTurn) -> anyhow::Result<Option<String>> {
    if promised.slots.is_empty() {
        return Ok(None);
    }
    let conversation = client.conversation(key).await?;
    Ok(promised.slots.iter().find_map(|(name, expected)| {
        let slot = conversation.slots.iter().find(|slot| slot.name == *name);
        let got = slot.map(|slot| slot.value.as_str()).unwrap_or_default();
        (got != expected).then(|| format!("slot {name} is {got:?}, expected {expected:?}"))
    }))
}

fn print(
    turn: &v1::Turn,
    promised: &ScenarioTurn,
    reply: &str,
    latency: Duration,
    checked: &Result<(), String>,
    output: Output,
) {
    if output.json {
        let latency_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let line = json!({
            "say": promised.say, "reply": reply, "intent": turn.intent, "state": turn.state,
            "turn_seq": turn.turn_seq, "latency_us": latency_us, "ok": checked.is_ok(), "mismatch": checked.as_ref().err(),
        });
        return output::line(&line.to_string());
    }
    let place = format!("#{} {}.{} {:.1} ms", turn.turn_seq, turn.intent, turn.state, latency.as_secs_f64() * 1e3);
    output::line(&format!("  {} {}", output.faint("user "), promised.say));
    let mark = if checked.is_ok() { output.good("ok") } else { output.bad("differs") };
    output::line(&format!(
        "  {} {} {} {mark}",
        output.faint("desk "),
        reply.replace('\n', "\n        "),
        output.faint(&place)
    ));
    if let Err(mismatch) = checked {
        output::line(&format!("        {}", output.bad(mismatch)));
    }
}

fn summary(tally: &Tally, output: Output) -> Exit {
    let mut latencies = tally.latencies.clone();
    latencies.sort();
    let at = |share: usize| latencies.get((latencies.len() * share / 100).min(latencies.len().saturating_sub(1)));
    let ms = |latency: Option<&Duration>| latency.map_or(0.0, |latency| latency.as_secs_f64() * 1e3);
    let turns = latencies.len();
    if output.json {
        let line = json!({ "turns": turns, "wrong": tally.wrong, "scenarios_skipped": tally.skipped, "p50_ms": ms(at(50)), "p99_ms": ms(at(99)) });
        output::line(&line.to_string());
    } else {
        let right = turns - tally.wrong;
        output::line(&format!(
            "\n{right} of {turns} turns as promised, p50 {:.1} ms, p99 {:.1} ms",
            ms(at(50)),
            ms(at(99))
        ));
        let skipped = format!("{} scenarios that script their outside were left out", tally.skipped);
        output::line(&output.faint(&skipped));
    }
    if tally.wrong == 0 && turns > 0 { Exit::Ok } else { Exit::NotAsItShouldBe }
}
