//! Sessions with real programs: kept, and begun anew when they end.

use colloquy_enrich::{Factory, McpSettings, McpTransport, Outbound, StdioSettings, SystemLookup};
use colloquy_flow::{Json, Patience};
use colloquy_turn::{CallOutcome, CallRequest, Failure};

use super::*;
use crate::{
    directory::ActorStatus,
    outside::{
        SourceAdapter, SourceCall, SourceSpec,
        session::{Desk, SessionSpec},
        supervisor::Child,
    },
};

/// A server that tells its process id, and dies when asked to.
const SERVER: &str = r#"
say() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
while IFS= read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9][0-9]*\).*/\1/p')
  case $line in
    *'"method":"initialize"'*)
      say '{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"fake","version":"1"}}' ;;
    *'"method":"tools/list"'*)
      say '{"tools":[{"name":"pid","inputSchema":{"type":"object"}},{"name":"die","inputSchema":{"type":"object"}}]}' ;;
    *'"name":"pid"'*) say "{\"content\":[{\"type\":\"text\",\"text\":\"$$\"}]}" ;;
    *'"name":"die"'*) exit 3 ;;
  esac
done
"#;

fn stdio(command: &str, arguments: &[&str]) -> Arc<Factory> {
    let settings = StdioSettings {
        command: command.into(),
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        environment: Vec::new(),
        folder: None,
    };
    let settings = McpSettings::new(McpTransport::Stdio(settings), ["pid", "die"].map(Into::into));
    Arc::new(Factory::new(settings, &Outbound::new([], false, Arc::new(SystemLookup))).expect("the settings are right"))
}

async fn with(factory: Arc<Factory>) -> Kept {
    let adapter = SourceAdapter::Session(factory);
    let spec = SourceSpec { name: "fake".into(), adapter, gate: policy(4, 8, 50) };
    kept(WorldSpec { sources: vec![spec], ..WorldSpec::default() }).await
}

async fn call(kept: &Kept, tool: &str, budget: Duration) -> CallOutcome {
    let patience = Patience { timeout: budget, attempts: 1 };
    let request = CallRequest {
        name: tool.into(),
        target: format!("fake/{tool}").into(),
        arguments: Json::object([]),
        read_only: true,
        idempotent: false,
        patience,
    };
    kept.world.call(SourceCall { context: context(budget), request: Arc::new(request) }).await
}

const AMPLE: Duration = Duration::from_secs(10);

async fn pid(kept: &Kept) -> Json {
    match call(kept, "pid", AMPLE).await {
        CallOutcome::Done(value) => value,
        other => panic!("no answer: {other:?}"),
    }
}

fn session(kept: &Kept) -> SessionSpec {
    let gates = kept.world.gates();
    let session = gates.iter().flat_map(|gates| gates.children.iter()).find_map(|child| match child {
        Child::Session(spec) => Some(spec.clone()),
        Child::Gate(..) => None,
    });
    session.expect("there is a session")
}

fn status(kept: &Kept) -> (ActorStatus, u32) {
    let figures = session(kept).figures();
    (figures.status, figures.restarts)
}

/// Waits until the desk is as it should be.
async fn shown(kept: &Kept, holds: impl FnMut(&Desk) -> bool) {
    let mut desk = session(kept).desk.subscribe();
    let shown = tokio::time::timeout(AMPLE, desk.wait_for(holds)).await;
    shown.expect("it is shown in time").expect("the desk lives");
}

#[tokio::test]
async fn a_session_that_dies_is_begun_anew() {
    let kept = with(stdio("/bin/sh", &["-c", SERVER])).await;
    let first = pid(&kept).await;
    assert_eq!(first, pid(&kept).await, "one session for all calls");
    assert_eq!(status(&kept), (ActorStatus::Running, 0));
    let died = call(&kept, "die", AMPLE).await;
    assert!(matches!(died, CallOutcome::Failed(Failure::Unavailable)), "{died:?}");
    // The end of the old one may still be on its way.
    shown(&kept, |desk| !matches!(desk, Desk::Ready(session) if !session.is_alive())).await;
    shown(&kept, |desk| matches!(desk, Desk::Ready(_))).await;
    assert_ne!(first, pid(&kept).await);
    assert_eq!(status(&kept), (ActorStatus::Running, 1));
}

#[tokio::test]
async fn the_program_ends_with_its_keeper() {
    let kept = with(stdio("/bin/sh", &["-c", SERVER])).await;
    let pid = pid(&kept).await.to_string().replace('"', "");
    let alive = || std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert!(alive());
    drop(kept);
    let deadline = Instant::now() + AMPLE;
    while alive() {
        assert!(Instant::now() < deadline, "the program lives on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_started_fails_calls_at_once() {
    let kept = with(stdio("/nowhere/at/all", &[])).await;
    shown(&kept, |desk| matches!(desk, Desk::Down)).await;
    assert_eq!(status(&kept).0, ActorStatus::Idle);
    let began = Instant::now();
    assert_eq!(call(&kept, "pid", AMPLE).await, CallOutcome::Failed(Failure::Unavailable));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
