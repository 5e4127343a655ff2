//! Servers of the Model Context Protocol from npm, and the settings that lead to them.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::named;
use crate::{outside::until, peer::nobody};

/// The tools that the settings allow; the server has more.
const ALLOWED: &str = r#"["echo", "get-sum", "trigger-long-running-operation"]"#;

/// A server's program among those installed; none when the environment names no folder.
fn installed(name: &str) -> Option<PathBuf> {
    let program = named("REAL_MCP_SERVERS")?.join("node_modules/.bin").join(name);
    assert!(program.exists(), "{} is missing", program.display());
    Some(program)
}

/// A program that the server under test starts, and the test kills.
struct Program {
    folder: TempDir,
    command: String,
}

impl Program {
    /// The shell becomes the program, so that the number it writes is the program's. While a file is there, the
    /// program cannot be started.
    fn new(command: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [hold, pid] = ["hold", "pid"].map(|name| folder.path().join(name).display().to_string());
        let command = format!("[ -e '{hold}' ] && exit 1; echo $$ >'{pid}'; exec {command}");
        Self { folder, command }
    }

    /// As a setting.
    fn command(&self) -> String {
        format!("command = {:?}", ["sh", "-c", &self.command])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn kill(&self) {
        let pid = fs::read_to_string(self.path("pid")).unwrap();
        assert!(Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap().success());
    }
}

/// How the server of everything is reached.
enum Way {
    Stdio(Program),
    Http { program: PathBuf, address: SocketAddr, child: Child },
}

/// The server that has everything the protocol knows.
pub(super) struct Everything(Way);

impl Everything {
    /// One that the server under test starts.
    pub(super) fn over_stdio() -> Option<Self> {
        let program = installed("mcp-server-everything")?;
        Some(Self(Way::Stdio(Program::new(&format!("'{}' stdio", program.display())))))
    }

    /// One that listens.
    pub(super) fn over_http() -> Option<Self> {
        let (program, address) = (installed("mcp-server-everything")?, nobody());
        let child = listening(&program, address);
        Some(Self(Way::Http { program, address, child }))
    }

    pub(super) fn settings(&self) -> String {
        let reached = match &self.0 {
            Way::Stdio(program) => program.command(),
            Way::Http { address, .. } => format!("url = \"http://{address}/mcp\"\nprivate_networks = true"),
        };
        // The breaker is another test's.
        format!("[enrichments.everything]\nkind = \"mcp\"\n{reached}\ntools = {ALLOWED}\nbreaker.failures = 100\n")
    }

    /// Whether its end is seen at once. That of a server over HTTP is only found by the next call after it is back.
    pub(super) fn takes_sessions_along(&self) -> bool {
        matches!(self.0, Way::Stdio(_))
    }

    /// SIGKILL; it does not come back of itself.
    pub(super) fn kill(&mut self) {
        match &mut self.0 {
            Way::Stdio(program) => {
                fs::write(program.path("hold"), "").unwrap();
                program.kill();
            }
            Way::Http { child, .. } => end(child),
        }
    }

    /// Lets it be there again, at the same place and knowing nothing of what was.
    pub(super) fn come_back(&mut self) {
        match &mut self.0 {
            Way::Stdio(program) => fs::remove_file(program.path("hold")).unwrap(),
            Way::Http { program, address, child } => *child = listening(program, *address),
        }
    }
}

impl Drop for Everything {
    fn drop(&mut self) {
        if let Way::Http { child, .. } = &mut self.0 {
            end(child);
        }
    }
}

/// The server that remembers, in a file.
pub(super) struct Memory(Program);

impl Memory {
    pub(super) fn start() -> Option<Self> {
        let program = installed("mcp-server-memory")?;
        Some(Self(Program::new(&format!("'{}'", program.display()))))
    }

    /// Where it keeps what it remembers.
    pub(super) fn file(&self) -> PathBuf {
        self.0.path("memory.jsonl")
    }

    pub(super) fn settings(&self) -> String {
        let (command, file) = (self.0.command(), self.file());
        let tools = r#"["create_entities", "search_nodes"]"#;
        format!(
            "[enrichments.memory]\nkind = \"mcp\"\n{command}\ntools = {tools}\nbreaker.failures = 100\n\
             environment.MEMORY_FILE_PATH = {file:?}\n"
        )
    }

    /// SIGKILL; the server under test starts it again.
    pub(super) fn kill(&mut self) {
        self.0.kill();
    }
}

fn end(child: &mut Child) {
    drop(child.kill());
    drop(child.wait());
}

fn listening(program: &Path, address: SocketAddr) -> Child {
    let child = Command::new(program)
        .arg("streamableHttp")
        .env("PORT", address.port().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the server's port", || TcpStream::connect(address).is_ok());
    child
}
