//! `colloquy chat`: a conversation, line by line.

use std::io::IsTerminal as _;

use colloquy_client::{
    Client, ClientError, Key, Turn,
    v1::{self, TextDelta, stream_turn_response::Event},
};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::{
    Exit, calls,
    output::{self, Output},
};

/// Who answers.
const SPEAKER: &str = "desk>";
const HELP: &str = "  /state   where the conversation stands and what it knows
  /reset   clear its state; its history stays
  /turns   its turns so far
  /quit    leave (also: end of input)";

/// Reads lines and sends each as a turn, until the end of input or `/quit`.
pub(crate) async fn run(client: &Client, key: Key, flow: &str, output: Output) -> Exit {
    if !output.json {
        output::line(
            &output.faint(&format!("conversation {}/{}, flow {flow}; /help for help", key.tenant, key.conversation)),
        );
    }
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut exists = client.conversation(&key).await.is_ok();
    let prompted = !output.json && std::io::stdin().is_terminal();
    loop {
        if prompted {
            output::prompt(&output.strong("you> "));
        }
        let line = match lines.next_line().await {
            Ok(Some(line)) => line,
            Ok(None) => return Exit::Ok,
            Err(error) => {
                output::error(&format!("the input cannot be read: {error}"));
                return Exit::Usage;
            }
        };
        let ended = match line.trim() {
            "" => continue,
            "/quit" => return Exit::Ok,
            "/help" => {
                output::line(HELP);
                continue;
            }
            "/turns" => calls::turns(client, &key, 1, usize::MAX, output).await,
            "/state" => state(client, &key, output).await,
            "/reset" => calls::reset(client, &key, &calls::fresh_id("reset"), "asked in chat", output).await,
            text => {
                let flow = if exists { "" } else { flow };
                let turn = Turn::new(key.clone(), calls::fresh_id("chat"), flow, text);
                let sent = say(client, &turn, output).await;
                exists |= sent.is_ok();
                sent
            }
        };
        if let Err(refusal) = ended {
            let exit = output::refused(&refusal);
            if exit == Exit::Unreachable {
                return exit;
            }
        }
    }
}

async fn say(client: &Client, turn: &Turn, output: Output) -> Result<(), ClientError> {
    if output.json {
        let response = client.submit(turn).await?;
        output::line(&calls::turn_json(&response.turn.unwrap_or_default(), response.replayed).to_string());
        return Ok(());
    }
    let mut events = client.stream(turn).await?;
    let mut shown = Shown::default();
    // A turn that does not end well ends the stream with its error.
    while let Some(event) = events.message().await.inspect_err(|_| shown.end_line())? {
        match event.event {
            Some(Event::Progress(progress)) => shown.progress(&progress.text, output),
            Some(Event::Delta(delta)) => shown.part(&delta, output),
            Some(Event::Committed(committed)) => shown.ending(&committed.turn.unwrap_or_default(), output),
            Some(Event::Accepted(_) | Event::Stage(_) | Event::Failed(_) | Event::KeepAlive(_)) | None => {}
        }
    }
    Ok(())
}

/// What of a reply is on the screen while it is being written.
#[derive(Default)]
struct Shown {
    answer: u32,
    text: String,
}

impl Shown {
    /// Ends a line that was begun.
    fn end_line(&mut self) {
        if !std::mem::take(&mut self.text).is_empty() {
            output::line("");
        }
    }

    fn progress(&mut self, text: &str, output: Output) {
        self.end_line();
        output::line(&output.faint(&format!("      {}", output::plain(text))));
    }

    fn part(&mut self, part: &TextDelta, output: Output) {
        if part.answer != self.answer {
            self.end_line();
            self.answer = part.answer;
        }
        if self.text.is_empty() {
            output::prompt(&format!("{} ", output.good(SPEAKER)));
        }
        self.text.push_str(&part.text);
        output::prompt(&output::plain(&part.text));
    }

    /// What was committed counts. It is told again unless it is what was shown.
    fn ending(&mut self, turn: &v1::Turn, output: Output) {
        let reply = turn.reply.as_ref().map(|reply| reply.text.as_str()).unwrap_or_default();
        let place = output.faint(&format!("[{}.{}]", turn.intent, turn.state));
        if !reply.is_empty() && self.text == reply {
            output::line(&format!(" {place}"));
        } else {
            self.end_line();
            output::line(&format!("{} {} {place}", output.good(SPEAKER), output::plain(reply)));
        }
        calls::offered(turn, output);
    }
}

async fn state(client: &Client, key: &Key, output: Output) -> Result<(), ClientError> {
    let conversation = client.conversation(key).await?;
    let turns = conversation.head.as_ref().map(|head| head.turn_seq).unwrap_or_default();
    output::line(&format!("  {}.{} after {turns} turns", conversation.intent, conversation.state));
    for slot in &conversation.slots {
        output::line(&format!("  {} = {}", slot.name, output::plain(&slot.value)));
    }
    for action in &conversation.pending_actions {
        output::line(&output.faint(&format!("  waits for a confirmation: {action}")));
    }
    Ok(())
}
