//! What goes wrong with the disk under a running or starting server, and how the server says so.

mod damage;
mod disk;
pub(crate) mod folders;

use std::path::{Path, PathBuf};

use colloquy_client::{Client, Key};

use crate::harness::{Place, turn};

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).expect("the log")
}

/// Files of the journal, oldest first.
fn segments(place: &Place) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place.data_dir().join("journal")).expect("the journal");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// Three turns of each conversation, and the answers.
async fn talk(client: &Client, conversations: &[&str]) {
    for conversation in conversations {
        for n in 1..=3 {
            let said = turn(conversation, &format!("{conversation}-{n}"), &format!("{conversation} says {n}"));
            let answered = client.submit(&said).await.expect("answered").turn.expect("a turn");
            assert_eq!(answered.turn_seq, n);
        }
    }
}

/// The texts of a conversation's turns, as the server lists them.
async fn said(client: &Client, conversation: &str) -> Vec<String> {
    let listed = client.turns(&Key::new("acme", conversation), 1, 1000).await.expect("listed").turns;
    let text = |turn: colloquy_client::v1::Turn| match turn.input.and_then(|input| input.input) {
        Some(colloquy_client::v1::turn_input::Input::Text(text)) => text,
        other => panic!("no text: {other:?}"),
    };
    listed.into_iter().map(text).collect()
}

/// What [`talk`] said in a conversation.
fn told(conversation: &str) -> Vec<String> {
    (1..=3).map(|n| format!("{conversation} says {n}")).collect()
}
