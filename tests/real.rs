//! The whole system against real models and real tool servers: llama.cpp's server with a small model, and servers of
//! the Model Context Protocol. `tests/real/run.sh` installs them and names them in the environment; where they are
//! not named, each test says on standard error that it was not run.

mod breaks;
mod llama;
mod servers;
mod talks;
mod tools;

use std::{fs, io::Write as _, path::PathBuf};

use colloquy_client::{Client, Key, Turn, v1};

use crate::harness::{Place, Server, run, stderr, stdout};

/// A path that the environment names; none, and a line that says so, when it does not.
///
/// The names do not begin like those of settings: the server under test would take them for misspelt ones.
fn named(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        // Past the test runner, which shows nothing of what passes.
        let line = format!("not run: {test}: {variable} is not set; tests/real/run.sh sets it\n");
        std::io::stderr().write_all(line.as_bytes()).expect("a standard error");
    }
    path
}

/// Whether the model wrote the reply. A small one may not know where to end: then its token limit did, and the turn
/// says so.
fn is_answered(turn: &v1::Turn) -> bool {
    let kind = turn.reply.as_ref().map(|reply| reply.kind.as_str());
    kind == Some("model") && turn.degradations.iter().all(|one| one.reason == "truncated")
}

/// A server of its own store, with a flow and settings.
struct Bench {
    place: Place,
    server: Server,
    flow: &'static str,
}

impl Bench {
    fn start(flow: &'static str, source: &str, settings: &str) -> Self {
        let place = Place::new();
        let folder = place.path().join(flow);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("flow.yaml"), source).unwrap();
        let config = place.path().join("colloquy.toml");
        fs::write(&config, format!("[flows]\nfolders = [{folder:?}]\n{settings}")).unwrap();
        let server = place.start_with(&["--config", config.to_str().unwrap()]);
        Self { place, server, flow }
    }

    fn config(&self) -> PathBuf {
        self.place.path().join("colloquy.toml")
    }

    fn turn(&self, conversation: &str, request_id: &str, text: &str) -> Turn {
        Turn::new(Key::new("acme", conversation), request_id, self.flow, text)
    }

    /// Asserts that a conversation's recorded turns are those that were answered, and gives what their stages did.
    async fn recorded(&self, client: &Client, conversation: &str, answered: &[v1::Turn]) -> Vec<Vec<v1::StageEvent>> {
        let listed = client.turns(&Key::new("acme", conversation), 1, 100).await.unwrap().turns;
        let (turns, stages): (Vec<_>, Vec<_>) = listed.into_iter().map(apart).unzip();
        assert_eq!(turns, answered);
        stages
    }

    /// Asserts that what was recorded is decided in the same way again, without the server and all it asked.
    fn assert_replays(mut self, conversations: usize, turns: usize) {
        let folder = self.place.path().join("exports").display().to_string();
        let exported = run(&["export", "--all", "--out", &folder, "--addr", &self.server.grpc, "--tenant", "acme"]);
        assert_eq!(exported.status.code(), Some(0), "{}", stderr(&exported));
        self.server.kill();
        let told = stdout(&run(&["replay", &folder]));
        assert_eq!(told, format!("{turns} turns replayed: {conversations} identical, 0 different, 0 unreadable\n"));
    }

    /// The row of one actor in the supervision tree.
    async fn actor(&self, client: &Client, kind: v1::ActorKind, path: &str) -> v1::Actor {
        let asked = v1::GetSupervisionTreeRequest { kind: kind.into(), ..Default::default() };
        let actors = client.tree(asked).await.unwrap().actors;
        actors.into_iter().find(|actor| actor.path == path).expect(path)
    }

    /// The value of a metric with exactly these labels.
    fn metric(&self, series: &str) -> u64 {
        let told = crate::outside::metrics(&self.server);
        let value = told.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.expect(series).parse().expect(series)
    }
}

/// A turn as it is answered, and what its stages did.
fn apart(mut turn: v1::Turn) -> (v1::Turn, Vec<v1::StageEvent>) {
    let stages = std::mem::take(&mut turn.stages);
    (turn, stages)
}
