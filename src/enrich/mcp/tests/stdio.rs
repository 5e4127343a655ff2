//! A server that is a child process.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rustix::process::{Pid, test_kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    ArgumentFault, DeadReason, Error, Factory, Happened, McpSettings, McpTransport, SessionState, Source as _,
    StdioSettings, UnreachableKind,
    testing::{AMPLE, in_time, outbound},
};

use super::{ALLOWED, ask, ask_shortly, call, connect, json};

/// A server's program, and where it writes what it saw.
struct Server {
    folder: TempDir,
    factory: Factory,
}

impl Server {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(environment: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let notes = folder.path().join("notes").display().to_string();
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("mcp/tests/server.sh");
        let named = environment.iter().copied().chain([("NOTES", notes.as_str())]);
        let settings = StdioSettings {
            command: "sh".into(),
            arguments: vec![script.display().to_string()],
            environment: named.map(|(name, value)| (name.to_owned(), value.into())).collect(),
            folder: Some(folder.path().to_owned()),
        };
        Self { folder, factory: factory(settings) }
    }

    fn notes(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("notes")).unwrap_or_default()
    }

    /// Waits until the server has noted something.
    async fn noted(&self, wanted: &str) {
        let seen = async {
            while !self.notes().contains(wanted) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(AMPLE, seen).await.is_ok(), "{wanted} in {}", self.notes());
    }

    /// The processes it noted: itself and its child.
    fn processes(&self) -> Vec<Pid> {
        let notes = self.notes();
        let numbers = notes.lines().filter_map(|line| line.strip_prefix("pid ").or(line.strip_prefix("child ")));
        numbers.map(|number| Pid::from_raw(number.parse().unwrap()).unwrap()).collect()
    }

    /// Waits until none of its processes is left.
    async fn leaves_nothing(&self) {
        let processes = self.processes();
        assert!(processes.len() >= 2, "it had a child: {}", self.notes());
        let gone = async {
            // A process that was killed but not yet collected by the init process counts as gone.
            while processes.iter().any(|process| is_running(*process)) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(AMPLE, gone).await.is_ok(), "something is left");
    }
}

fn is_running(process: Pid) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    let ended = state.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')));
    test_kill_process(process).is_ok() && !ended
}

fn factory(settings: StdioSettings) -> Factory {
    let settings = McpSettings::new(McpTransport::Stdio(settings), ALLOWED.map(Arc::from));
    Factory::new(settings, &outbound(&[], false, Arc::new(crate::SystemLookup))).unwrap()
}

#[tokio::test]
async fn tools_are_listed_over_pages_and_only_allowed_ones_can_be_called() {
    let server = Server::new();
    let session = connect(&server.factory).await;
    let tools = session.tools();
    assert_eq!(tools.len(), 13);
    let allowed: Vec<_> = tools.iter().filter(|tool| tool.allowed && tool.checkable).collect();
    assert_eq!(allowed.len(), 12);
    for tool in ["secret", "unknown", ""] {
        let error = ask(&session, tool, "{}").await.unwrap_err();
        assert_eq!((error.happened(), error), (Happened::No, Error::NoSuchTool));
    }
    let error = ask(&session, "echo", r#"{"text":1}"#).await.unwrap_err();
    assert_eq!(error, Error::Arguments(ArgumentFault::Misfit { keyword: "type".to_owned() }));
    assert!(!server.notes().contains("call "), "nothing of that was sent");
    let checked = in_time(AMPLE, |deadline| session.check(deadline)).await.unwrap();
    assert_eq!(checked.tools, tools);
}

#[tokio::test]
async fn a_result_becomes_a_value() {
    let server = Server::new();
    let session = connect(&server.factory).await;
    let cases = [
        ("echo", r#""{\"a\":1}""#, false),
        ("structured", r#"{"price":12.5}"#, false),
        ("several", r#"["a","b"]"#, false),
        ("nothing", "[]", false),
        ("picture", r#"["a",{"not_carried":"image","media_type":"image/png"}]"#, true),
    ];
    for (tool, value, partial) in cases {
        let answer = ask(&session, tool, r#"{"text":"hello"}"#).await.unwrap();
        assert_eq!((answer.value, answer.partial), (json(value), partial), "{tool}");
    }
    let notes = server.notes();
    assert!(
        notes.contains(r#""colloquy/idempotency-key":"turn-1/2""#) && notes.contains(r#""text":"hello""#),
        "{notes}"
    );
}

#[tokio::test]
async fn what_a_server_refuses_or_fails_at_is_told_apart_and_not_repeated() {
    let server = Server::new();
    let session = connect(&server.factory).await;
    let cases = [
        ("failing", Error::Refused { code: None }, Happened::No),
        ("wrong", Error::Refused { code: Some(-32602) }, Happened::No),
        ("broken", Error::Failed { code: Some(-32603), retry_after: None }, Happened::Unknown),
        ("large", Error::TooLarge { bytes_max: 64 << 10 }, Happened::Unknown),
    ];
    for (tool, wanted, happened) in cases {
        let error = ask(&session, tool, "{}").await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("tell-tale"));
        assert_eq!((error.happened(), error), (happened, wanted));
    }
    assert!(session.is_alive());
}

#[tokio::test]
async fn a_call_past_its_deadline_is_cancelled_and_the_session_goes_on() {
    let server = Server::new();
    let session = connect(&server.factory).await;
    let error = ask_shortly(&session, "hanging", "{}").await.unwrap_err();
    assert_eq!((error.happened(), error), (Happened::Unknown, Error::TimedOut { sent: true }));
    server.noted("cancelled").await;
    assert!(ask(&session, "echo", "{}").await.is_ok());
}

#[tokio::test]
async fn dropping_a_call_cancels_it() {
    let server = Server::new();
    let session = connect(&server.factory).await;
    let dropped = session.call(call("hanging", "{}"), Instant::now() + AMPLE);
    assert!(timeout(Duration::from_millis(200), dropped).await.is_err());
    server.noted("cancelled").await;
}

#[tokio::test]
async fn a_server_that_dies_ends_the_session_and_another_one_can_be_made() {
    let server = Server::new();
    let mut watch = server.factory.watch();
    assert_eq!(*watch.borrow_and_update(), SessionState::Dead { reason: DeadReason::NotStarted });
    let session = connect(&server.factory).await;
    assert_eq!(*watch.borrow_and_update(), SessionState::Ready);
    let error = ask(&session, "dying", "{}").await.unwrap_err();
    assert_eq!((error.happened(), error), (Happened::Unknown, Error::Interrupted));
    let reason = DeadReason::Exited { code: Some(3) };
    assert_eq!(timeout(AMPLE, session.ended()).await.unwrap(), reason);
    assert_eq!(*watch.borrow_and_update(), SessionState::Dead { reason });
    assert!(!session.is_alive());
    let error = ask(&session, "echo", "{}").await.unwrap_err();
    assert_eq!((error.happened(), error), (Happened::No, Error::Unreachable(UnreachableKind::NoSession)));
    server.leaves_nothing().await;
    let next = connect(&server.factory).await;
    assert!(ask(&next, "echo", "{}").await.is_ok());
    drop(session);
    assert_eq!(*watch.borrow_and_update(), SessionState::Ready, "the old session shows nothing any more");
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_session() {
    let server = Server::new();
    let session = connect(&server.factory).await;
    let error = ask(&session, "flooding", "{}").await.unwrap_err();
    assert_eq!((error.happened(), error), (Happened::Unknown, Error::TooLarge { bytes_max: 4 << 20 }));
    assert_eq!(timeout(AMPLE, session.ended()).await.unwrap(), DeadReason::Overlong);
    server.leaves_nothing().await;
}

#[tokio::test]
async fn closing_lets_a_server_end_of_itself_and_leaves_nothing() {
    let server = Server::new();
    let session = connect(&server.factory).await;
    let reason = in_time(Duration::from_secs(6), |deadline| session.close(deadline)).await;
    assert_eq!(reason, DeadReason::Closed);
    assert!(server.notes().contains("ended"), "it saw its input end");
    assert_eq!(*server.factory.watch().borrow(), SessionState::Dead { reason });
    server.leaves_nothing().await;
    assert_eq!(session.last_errors(), "a word on standard error\n");
}

#[tokio::test]
async fn closing_kills_a_server_that_will_not_end() {
    let server = Server::with(&[("STUBBORN", "1")]);
    let session = connect(&server.factory).await;
    in_time(Duration::from_secs(1), |deadline| session.close(deadline)).await;
    assert!(server.notes().contains("input closed") && !server.notes().contains("ended"));
    server.leaves_nothing().await;
}

#[tokio::test]
async fn dropping_a_session_leaves_nothing() {
    let server = Server::new();
    drop(connect(&server.factory).await);
    server.leaves_nothing().await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_at_the_deadline() {
    let server = Server::with(&[("SILENT", "1")]);
    let error = in_time(Duration::from_secs(1), |deadline| server.factory.connect(deadline)).await.unwrap_err();
    assert_eq!((error.happened(), error), (Happened::No, Error::TimedOut { sent: false }));
    let shown = *server.factory.watch().borrow();
    assert_eq!(shown, SessionState::Dead { reason: DeadReason::NotConnected });
    server.leaves_nothing().await;
}

#[tokio::test]
async fn a_program_that_is_missing_or_ends_at_once_is_no_session() {
    let program = |command: &str| {
        factory(StdioSettings { command: command.into(), arguments: vec![], environment: vec![], folder: None })
    };
    for (command, kind) in [("/no/such/program", UnreachableKind::Spawn), ("true", UnreachableKind::Handshake)] {
        let factory = program(command);
        let error = in_time(AMPLE, |deadline| factory.connect(deadline)).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable(_)), "{command}: {error}");
        if kind == UnreachableKind::Spawn {
            assert_eq!(error, Error::Unreachable(kind));
        }
    }
}

#[tokio::test]
async fn a_program_gets_the_environment_it_is_given_and_the_path() {
    let server = Server::with(&[("GIVEN", "yes")]);
    let session = connect(&server.factory).await;
    let notes = server.notes();
    let names: Vec<_> =
        notes.lines().filter_map(|line| line.strip_prefix("env ")?.split_once('=')).map(|(name, _)| name).collect();
    // Shells add some of their own.
    let own = ["PWD", "OLDPWD", "SHLVL", "_"];
    let given: Vec<_> = names.into_iter().filter(|name| !own.contains(name)).collect();
    assert_eq!(given, ["GIVEN", "NOTES", "PATH"]);
    assert!(!format!("{session:?} {:?}", server.factory).contains("yes"));
}
