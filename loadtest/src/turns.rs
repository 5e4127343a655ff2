//! Turns in a closed loop over many conversations, every reply checked.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Args;
use colloquy_client::{Client, Key, Turn, v1};
use prost::Message as _;

use crate::{
    LoadArgs, echo,
    load::{self, Report},
    process,
};

/// How long a turn may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// What a conversation says, over and over.
pub(crate) const SCRIPT: [&str; 4] =
    ["I want to cancel order A-1234", "no, leave it", "where is order B-2345?", "what are your opening hours?"];

/// What to send and where to.
#[derive(Args, Clone)]
pub(crate) struct TurnsArgs {
    /// A server that runs already; otherwise one is started with a durable store.
    #[arg(long)]
    addr: Option<String>,
    /// Where the started server's store is made; must be on a real file system.
    #[arg(long, default_value = ".")]
    data_in: std::path::PathBuf,
    /// Conversations.
    #[arg(long, default_value_t = 10_000)]
    conversations: usize,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

/// What must come of each turn of the script, played twice: intent and state. The second time is what
/// every later time is like.
type Expected = Arc<Vec<(String, String)>>;

/// One caller's conversations, spoken to in rotation.
struct Caller {
    client: Client,
    expected: Expected,
    names: Vec<String>,
    turns: Vec<u64>,
    next: usize,
}

impl Caller {
    /// The next turn, and what must come of it.
    fn next(&mut self) -> Option<(Client, Turn, u64, Expected)> {
        let place = self.next % self.names.len().max(1);
        self.next += 1;
        let (name, said) = (self.names.get(place)?, self.turns.get_mut(place)?);
        let text = SCRIPT.get(usize::try_from(*said).ok()? % SCRIPT.len())?;
        let flow = if *said == 0 { "order-desk" } else { "" };
        let turn = Turn::new(Key::new("load", name.as_str()), format!("r-{said}"), flow, *text);
        *said += 1;
        Some((self.client.clone(), turn, *said, Arc::clone(&self.expected)))
    }
}

async fn say(client: &Client, turn: &Turn, seq: u64, expected: Option<&(String, String)>) -> anyhow::Result<v1::Turn> {
    let response = client.submit(turn).await?;
    let answered = response.turn.context("the response has no turn")?;
    ensure!(!response.replayed, "turn {seq} was answered as a repeated one");
    ensure!(answered.turn_seq == seq, "turn {seq} was answered as turn {}", answered.turn_seq);
    ensure!(answered.request_id == turn.request_id, "turn {seq} was answered for another request");
    ensure!(answered.reply.as_ref().is_some_and(|reply| !reply.text.is_empty()), "turn {seq} has no reply");
    if let Some((intent, state)) = expected {
        let place = (&answered.intent, &answered.state);
        ensure!(place == (intent, state), "turn {seq} led to {}.{}, not {intent}.{state}", place.0, place.1);
    }
    Ok(answered)
}

/// Plays the script twice to learn where each turn leads, and holds the echo's sizes against the turns'.
async fn learn(client: &Client, name: &str) -> anyhow::Result<Expected> {
    let (mut expected, mut bytes) = (Vec::new(), 0);
    for (number, text) in (0_u64..).zip(SCRIPT.into_iter().chain(SCRIPT)) {
        let turn = Turn::new(Key::new("load", name), format!("r-{number}"), "order-desk", text);
        let answered = say(client, &turn, number + 1, None).await?;
        bytes += answered.encoded_len();
        expected.push((answered.intent, answered.state));
    }
    let mean = bytes / expected.len().max(1);
    let echo = echo::RESPONSE_BYTES as usize;
    ensure!(mean.abs_diff(echo) * 10 < echo, "a turn's response has {mean} bytes, the echo's {echo}: set it right");
    Ok(Arc::new(expected))
}

/// Measures it.
pub(crate) async fn run(args: &TurnsArgs) -> anyhow::Result<Report> {
    let folder = tempfile::Builder::new().prefix("loadtest-").tempdir_in(&args.data_in)?;
    let started = match &args.addr {
        Some(_) => None,
        None => Some(process::serve(&folder.path().join("store"), &["--log-filter", "warn"]).await?),
    };
    let address = args.addr.clone().or_else(|| started.as_ref().map(|server| server.address.clone()));
    let address = address.context("no server")?;
    let channels = process::channels(&address, args.load.channels).await?;
    let clients: Vec<_> = channels.into_iter().map(|channel| Client::on(channel, DEADLINE)).collect();
    let run = format!("{:x}", std::process::id());
    let first = clients.first().context("no connection")?;
    let expected = learn(first, &format!("learn-{run}")).await?;
    let concurrency = args.load.concurrency.max(1);
    load::run("turns", &args.load, |number| {
        let names: Vec<_> =
            (number..args.conversations.max(concurrency)).step_by(concurrency).map(|c| format!("{run}-{c}")).collect();
        let client = clients.get(number % clients.len()).unwrap_or(first).clone();
        let turns = vec![0; names.len()];
        let mut caller = Caller { client, expected: Arc::clone(&expected), names, turns, next: 0 };
        move || {
            let next = caller.next();
            async move {
                let (client, turn, seq, expected) = next.context("there is a conversation")?;
                let place = usize::try_from(seq - 1)?;
                let place = if place < SCRIPT.len() { place } else { SCRIPT.len() + place % SCRIPT.len() };
                say(&client, &turn, seq, expected.get(place)).await?;
                Ok(())
            }
        }
    })
    .await
}
