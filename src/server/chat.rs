//! `colloquy chat`: a conversation, line by line.

use std::io::IsTerminal as _;

use colloquy_client::{Client, Key, Turn};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::{
    Exit, calls,
    output::{self, Output},
};

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

async fn say(client: &Client, turn: &Turn, output: Output) -> Result<(), colloquy_client::ClientError> {
    let response = client.submit(turn).await?;
    let turn = response.turn.unwrap_or_default();
    if output.json {
        output::line(&calls::turn_json(&turn, response.replayed).to_string());
        return Ok(());
    }
    let reply = turn.reply.as_ref().map(|reply| reply.text.as_str()).unwrap_or_default();
    let place = format!("[{}.{}]", turn.intent, turn.state);
    output::line(&format!("{} {reply} {}", output.good("desk>"), output.faint(&place)));
    calls::offered(&turn, output);
    Ok(())
}

async fn state(client: &Client, key: &Key, output: Output) -> Result<(), colloquy_client::ClientError> {
    let conversation = client.conversation(key).await?;
    let turns = conversation.head.as_ref().map(|head| head.turn_seq).unwrap_or_default();
    output::line(&format!("  {}.{} after {turns} turns", conversation.intent, conversation.state));
    for slot in &conversation.slots {
        output::line(&format!("  {} = {}", slot.name, slot.value));
    }
    for action in &conversation.pending_actions {
        output::line(&output.faint(&format!("  waits for a confirmation: {action}")));
    }
    Ok(())
}
