//! llama.cpp's server as a process of the test, and the settings that lead to it.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::named;
use crate::peer::nobody;

/// How long it may take to load the model.
const LOADING: Duration = Duration::from_secs(60);

/// The server; killed when dropped.
pub(super) struct Llama {
    program: PathBuf,
    model: PathBuf,
    pub(super) address: SocketAddr,
    folder: TempDir,
    child: Child,
}

impl Llama {
    /// Starts one on a free port and waits until it has loaded the model; none when the environment names none.
    pub(super) fn start() -> Option<Self> {
        let (program, model) = (named("REAL_LLAMA_SERVER")?, named("REAL_LLAMA_MODEL")?);
        let (address, folder) = (nobody(), tempfile::tempdir().unwrap());
        let child = spawn(&program, &model, address, &folder);
        let mut llama = Self { program, model, address, folder, child };
        llama.await_health();
        Some(llama)
    }

    /// Starts it anew at the same address after [`Llama::kill`].
    pub(super) fn come_back(&mut self) {
        self.child = spawn(&self.program, &self.model, self.address, &self.folder);
        self.await_health();
    }

    /// SIGKILL, and wait until it is gone.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Holds it, so that it neither answers nor closes a connection.
    pub(super) fn hold(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(super) fn release(&self) {
        self.signal("-CONT");
    }

    /// A provider that leads to it for every purpose. A token read costs one millionth, one written two.
    pub(super) fn settings(&self, keys: &str) -> String {
        let address = self.address;
        format!(
            "[models.local]\napi = \"chat_completions\"\nurl = \"http://{address}/v1\"\ntemperature = 0\n{keys}\n\
             [models.local.prices.small]\ninput = 1\noutput = 2\n\
             [models.routes]\ndefault = [\"local/small\"]\n"
        )
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    #[expect(clippy::disallowed_methods, reason = "it can only be asked again, and there is a deadline")]
    fn await_health(&mut self) {
        let patience = Instant::now() + LOADING;
        while !self.is_well() {
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(self.child.try_wait().unwrap().is_none(), "it ended: {}", log());
            assert!(Instant::now() < patience, "it does not become ready: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks as a client does, so that a server that still loads its model is not ready.
    fn is_well(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.address) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut answer = String::new();
        let asked = write!(stream, "GET /health HTTP/1.1\r\nHost: llama\r\nConnection: close\r\n\r\n");
        asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
    }
}

impl Drop for Llama {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(program: &PathBuf, model: &PathBuf, address: SocketAddr, folder: &TempDir) -> Child {
    let log = File::create(folder.path().join("log")).unwrap();
    Command::new(program)
        .arg("-m")
        .arg(model)
        .args(["-ngl", "0", "--jinja", "--host", "127.0.0.1", "--port", &address.port().to_string()])
        // Its libraries lie beside it.
        .env("LD_LIBRARY_PATH", program.parent().unwrap())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}
