//! Real servers: `tests/real/mcp.sh` installs them, names their folder in `COLLOQUY_MCP_SERVERS` and runs these tests.
//! Without that variable each says that it was not run.

use std::{path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::{
    DeadReason, Error, Factory, Happened, McpSettings, McpTransport, Session, Source as _, StdioSettings,
    StreamableSettings,
    testing::{AMPLE, in_time, outbound},
};

use super::{ask, call, connect, json};

const EVERYTHING: [&str; 5] =
    ["echo", "get-sum", "get-structured-content", "get-tiny-image", "trigger-long-running-operation"];

/// A program of the installed servers; none when they are not there.
fn program(test: &str, name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("COLLOQUY_MCP_SERVERS").map(PathBuf::from);
    if folder.is_none() {
        println!("not run: {test}: COLLOQUY_MCP_SERVERS names no folder with servers; see tests/real/mcp.sh");
    }
    let program = folder?.join("node_modules/.bin").join(name);
    assert!(program.exists(), "{} is missing", program.display());
    Some(program)
}

fn stdio(program: PathBuf, arguments: &[&str], environment: &[(&str, &str)], tools: &[&str]) -> Factory {
    let transport = McpTransport::Stdio(StdioSettings {
        command: program,
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        environment: environment.iter().map(|&(name, value)| (name.to_owned(), value.into())).collect(),
        folder: None,
    });
    let settings = McpSettings::new(transport, tools.iter().map(|&tool| Arc::from(tool)));
    Factory::new(settings, &outbound(&[], false, Arc::new(crate::SystemLookup))).unwrap()
}

/// A port that was free a moment ago.
async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

fn start(program: &PathBuf, port: u16) -> Child {
    let mut command = Command::new(program);
    command.arg("streamableHttp").env("PORT", port.to_string()).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn streamable(port: u16) -> Factory {
    let url = format!("http://127.0.0.1:{port}/mcp");
    let transport = McpTransport::Streamable(StreamableSettings { url, headers: vec![] });
    let settings = McpSettings::new(transport, EVERYTHING.map(Arc::from));
    Factory::new(settings, &outbound(&[("127.0.0.1", port)], true, Arc::new(crate::SystemLookup))).unwrap()
}

/// Connects as soon as the server listens.
async fn connect_soon(factory: &Factory) -> Session {
    let until = Instant::now() + AMPLE;
    loop {
        match factory.connect(until).await {
            Ok(session) => return session,
            Err(Error::Unreachable(_)) if Instant::now() < until => sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// What every session with that server can do.
async fn plays_everything(session: &Session) {
    let tools = session.tools();
    let usable = tools.iter().filter(|tool| tool.allowed && tool.checkable).count();
    assert_eq!(usable, EVERYTHING.len(), "{tools:?}");
    assert!(tools.len() > EVERYTHING.len(), "others are listed and not allowed");
    assert_eq!(ask(session, "echo", r#"{"message":"hello"}"#).await.unwrap().value, json(r#""Echo: hello""#));
    let sum = ask(session, "get-sum", r#"{"a":1.5,"b":2}"#).await.unwrap();
    assert!(sum.value.as_text().unwrap().contains("3.5"), "{:?}", sum.value);
    let weather = ask(session, "get-structured-content", r#"{"location":"Chicago"}"#).await.unwrap();
    assert!(weather.value.get("temperature").is_some(), "{:?}", weather.value);
    let image = ask(session, "get-tiny-image", "{}").await.unwrap();
    assert!(image.partial && image.value.to_string().contains("image/png"), "{:?}", image.value);
    assert!(matches!(ask(session, "get-sum", r#"{"a":"x"}"#).await, Err(Error::Arguments(_))));
    assert_eq!(ask(session, "get-env", "{}").await.unwrap_err(), Error::NoSuchTool);
}

/// Lets a call run into its deadline, and another one be answered after it.
async fn times_out(session: &Session) {
    let long = call("trigger-long-running-operation", r#"{"duration":30,"steps":60}"#);
    let error = in_time(Duration::from_secs(1), |deadline| session.call(long, deadline)).await.unwrap_err();
    assert_eq!((error.happened(), error), (Happened::Unknown, Error::TimedOut { sent: true }));
    assert!(ask(session, "echo", r#"{"message":"still here"}"#).await.is_ok());
}

#[tokio::test]
async fn the_everything_server_over_standard_output() {
    let Some(program) = program("everything over standard output", "mcp-server-everything") else { return };
    let factory = stdio(program, &["stdio"], &[], &EVERYTHING);
    let session = connect(&factory).await;
    plays_everything(&session).await;
    times_out(&session).await;
    let checked = in_time(AMPLE, |deadline| session.check(deadline)).await.unwrap();
    assert_eq!(checked.tools.len(), session.tools().len());
    assert_eq!(in_time(Duration::from_secs(6), |deadline| session.close(deadline)).await, DeadReason::Closed);
}

#[tokio::test]
async fn the_everything_server_killed_in_the_middle_and_started_again() {
    let Some(program) = program("everything killed", "mcp-server-everything") else { return };
    let folder = TempDir::new().unwrap();
    let pid = folder.path().join("pid");
    // The shell becomes the server, so that the number it writes is the server's.
    let script = format!("echo $$ >'{}'; exec '{}' stdio", pid.display(), program.display());
    let factory = stdio("sh".into(), &["-c", &script], &[], &EVERYTHING);
    let session = connect(&factory).await;
    let number: i32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    let long = call("trigger-long-running-operation", r#"{"duration":30,"steps":3}"#);
    let running = session.call(long, Instant::now() + AMPLE);
    let kill = async {
        sleep(Duration::from_millis(300)).await;
        let process = rustix::process::Pid::from_raw(number).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    };
    let (ended, ()) = tokio::join!(running, kill);
    assert_eq!(ended.unwrap_err(), Error::Interrupted);
    assert_eq!(session.ended().await, DeadReason::Exited { code: None });
    let next = connect(&factory).await;
    assert!(ask(&next, "echo", r#"{"message":"again"}"#).await.is_ok());
}

#[tokio::test]
async fn the_memory_server_remembers_across_sessions() {
    let Some(program) = program("memory", "mcp-server-memory") else { return };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("memory.jsonl").display().to_string();
    let factory = stdio(program, &[], &[("MEMORY_FILE_PATH", &file)], &["create_entities", "search_nodes"]);
    let session = connect(&factory).await;
    let entities = r#"{"entities":[{"name":"Ada","entityType":"person","observations":["likes tea"]}]}"#;
    ask(&session, "create_entities", entities).await.unwrap();
    assert!(matches!(ask(&session, "create_entities", r#"{"entities":[{}]}"#).await, Err(Error::Arguments(_))));
    in_time(Duration::from_secs(6), |deadline| session.close(deadline)).await;
    let session = connect(&factory).await;
    let found = ask(&session, "search_nodes", r#"{"query":"tea"}"#).await.unwrap();
    assert!(found.value.to_string().contains("Ada"), "{:?}", found.value);
}

#[tokio::test]
async fn the_everything_server_over_http() {
    let Some(program) = program("everything over HTTP", "mcp-server-everything") else { return };
    let port = free_port().await;
    let mut server = start(&program, port);
    let factory = streamable(port);
    let session = connect_soon(&factory).await;
    plays_everything(&session).await;
    times_out(&session).await;
    // Killed in the middle, then started again at the same place.
    let long = call("trigger-long-running-operation", r#"{"duration":30,"steps":3}"#);
    let deadline = Instant::now() + Duration::from_secs(5);
    let kill = async {
        sleep(Duration::from_millis(300)).await;
        server.kill().await.unwrap();
    };
    let (ended, ()) = tokio::join!(session.call(long, deadline), kill);
    assert_eq!(ended.unwrap_err().happened(), Happened::Unknown);
    let gone = ask(&session, "echo", r#"{"message":"x"}"#).await.unwrap_err();
    assert_eq!(gone.happened(), Happened::No, "{gone}");
    let _server = start(&program, port);
    let next = connect_soon(&factory).await;
    let forgotten = ask(&session, "echo", r#"{"message":"x"}"#).await.unwrap_err();
    assert_eq!(forgotten.happened(), Happened::No, "{forgotten}");
    assert!(ask(&next, "echo", r#"{"message":"again"}"#).await.is_ok());
    println!("killed: {gone}; forgotten: {forgotten}");
    assert_eq!(in_time(Duration::from_secs(6), |deadline| next.close(deadline)).await, DeadReason::Closed);
}
