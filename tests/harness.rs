//! The real binary as a process, and clients of it.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use colloquy_client::{Client, Key, Turn};
use tempfile::TempDir;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_colloquy");
/// How long a call may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Runs a command to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).stdin(Stdio::null()).output().expect("the binary runs")
}

/// As [`run`], with variables in the command's environment.
pub(crate) fn run_with(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::null());
    command.output().expect("the binary runs")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with a store that servers may come and go on.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a server and waits until it listens.
    pub(crate) fn start(&self) -> Server {
        self.start_with(&[])
    }

    /// As [`Place::start`], with more flags.
    pub(crate) fn start_with(&self, flags: &[&str]) -> Server {
        self.launch(flags, Stdio::inherit())
    }

    /// As [`Place::start_with`], with the log in a file.
    pub(crate) fn start_logging(&self, flags: &[&str], log: &Path) -> Server {
        self.launch(flags, File::create(log).expect("the log file").into())
    }

    /// As [`Place::start_logging`], as the last thing that `script` does: a shell's, whose `"$@"` is the server and
    /// whose `$0` is the place's folder. With segments of 1 MiB, the smallest there are.
    pub(crate) fn start_under(&self, wrapper: &[&str], script: &str, log: &Path) -> Server {
        let (program, arguments) = wrapper.split_first().unwrap_or((&"sh", &[]));
        let mut command = Command::new(program);
        command
            .args(arguments)
            .args(["-c", script])
            .arg(self.path())
            .arg(BINARY)
            .env("COLLOQUY_STORE_SEGMENT", "1 MiB");
        self.listening(command, &["--log-filter", "info"], File::create(log).expect("the log file").into())
    }

    fn launch(&self, flags: &[&str], log: Stdio) -> Server {
        self.listening(Command::new(BINARY), flags, log)
    }

    /// Starts a server with `command`, which lacks the server's arguments, and waits until it listens.
    fn listening(&self, mut command: Command, flags: &[&str], log: Stdio) -> Server {
        let mut child = command
            .args(["serve", "--json", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(if flags.contains(&"--log-filter") { &[][..] } else { &["--log-filter", "warn"] })
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        stdout.read_line(&mut line).expect("the server speaks");
        let listening: serde_json::Value = serde_json::from_str(&line).expect("a JSON line");
        let address = |name: &str| listening[name].as_str().expect("an address").to_owned();
        Server { grpc: address("grpc"), http: address("http"), child }
    }
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    pub(crate) grpc: String,
    pub(crate) http: String,
    child: Child,
}

impl Server {
    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.grpc, DEADLINE).await.expect("the server answers")
    }

    /// SIGKILL, and wait until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has ended by itself; its exit code.
    pub(crate) fn ended(mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }

    /// Its metrics; `None` when it does not answer, for example because it has ended.
    fn metrics(&self) -> Option<String> {
        self.get("/metrics").filter(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// What its console answers; `None` when it answers nobody.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.http).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: console\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        (!answer.is_empty()).then_some(answer)
    }

    /// SIGTERM, and its exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        check(&self.metrics().unwrap_or_default());
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        self.child.wait().expect("it ends").code()
    }
}

/// What kept its thread for long, as the metrics of a server tell it; nothing when there are none to be had.
fn offenders(metrics: &str) -> Vec<&str> {
    let told: Vec<_> = metrics.lines().filter(|line| line.starts_with("colloquy_stalls_cpu_total{")).collect();
    let is_measured = metrics.is_empty() || !told.is_empty();
    assert!(is_measured || !cfg!(debug_assertions), "the server does not measure its polls: {metrics}");
    told.into_iter().filter(|line| !line.ends_with(" 0")).collect()
}

fn check(metrics: &str) {
    let offenders = offenders(metrics);
    assert!(offenders.is_empty(), "polls kept their thread: {offenders:?}");
}

impl Drop for Server {
    /// A poll that kept its thread fails the test whose server it was, unless that was killed.
    fn drop(&mut self) {
        // Of one that has ended, somebody else may have the port by now.
        let runs = matches!(self.child.try_wait(), Ok(None));
        let metrics = runs.then(|| self.metrics()).flatten().unwrap_or_default();
        drop(self.child.kill());
        drop(self.child.wait());
        if !std::thread::panicking() {
            check(&metrics);
        }
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_server_whose_polls_keep_their_thread_is_told_by_its_metrics() {
    let place = Place::new();
    let server = place.start();
    let metrics = server.metrics().expect("it answers");
    assert_eq!(offenders(&metrics), [""; 0]);
    let kept = metrics.replace("stalls_cpu_total{what=\"gateway\"} 0", "stalls_cpu_total{what=\"gateway\"} 2");
    assert_eq!(offenders(&kept), ["colloquy_stalls_cpu_total{what=\"gateway\"} 2"]);
    assert!(std::panic::catch_unwind(|| check(&kept)).is_err());
}

/// A turn of the order desk.
pub(crate) fn turn(conversation: &str, request_id: &str, text: &str) -> Turn {
    Turn::new(Key::new("acme", conversation), request_id, "order-desk", text)
}
