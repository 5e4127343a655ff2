//! A server's program: a process group of its own that leaves nothing behind.

use std::{
    os::fd::OwnedFd,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use secrecy::ExposeSecret as _;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, unix::AsyncFd},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use crate::error::{Error, UnreachableKind};

use super::settings::StdioSettings;

/// How much of what a program last wrote to its standard error is kept, in bytes.
pub(super) const STDERR_BYTES_KEPT: usize = 4 << 10;
/// How long a program may take to end of itself, and again after it was asked to.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// What a program last wrote to its standard error.
pub(super) type Tail = Arc<Mutex<Vec<u8>>>;

/// A running program. Dropping it kills its whole process group.
///
/// The group is always killed before the program's end is collected: until then its number cannot be given to another
/// process.
pub(super) struct Process {
    child: Child,
    group: Pid,
    /// Tells that the program has ended, without collecting it.
    ending: AsyncFd<OwnedFd>,
    errors: JoinHandle<()>,
    tail: Tail,
}

impl Process {
    /// Starts the program.
    pub(super) fn spawn(settings: &StdioSettings) -> Result<(Self, ChildStdout, ChildStdin), Error> {
        let failed = Error::Unreachable(UnreachableKind::Spawn);
        let mut child = command(settings).spawn().map_err(|_| failed.clone())?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).ok_or(failed.clone())?;
        let ending = pidfd_open(group, PidfdFlags::NONBLOCK).map_err(|_| failed.clone())?;
        #[expect(
            deprecated,
            reason = "the descriptor is owned, which is what its successor asks for in an unsafe block"
        )]
        let ending = AsyncFd::new(ending).map_err(|_| failed.clone())?;
        let (output, input) = child.stdout.take().zip(child.stdin.take()).ok_or(failed.clone())?;
        let tail = Tail::default();
        let errors = child.stderr.take().ok_or(failed)?;
        let errors = tokio::spawn(drain(errors, Arc::clone(&tail)));
        Ok((Self { child, group, ending, errors, tail }, output, input))
    }

    pub(super) fn tail(&self) -> Tail {
        Arc::clone(&self.tail)
    }

    /// Waits for the program to end of itself, its input being closed; asks it to; kills it. Ends by `deadline`.
    pub(super) async fn finish(mut self, deadline: Instant) {
        if !self.ends_by(share(deadline, 3)).await {
            self.signal(Signal::TERM);
            self.ends_by(share(deadline, 2)).await;
        }
        // In every case: it may have left children.
        self.signal(Signal::KILL);
        // A process that was killed ends at once, unless the kernel holds it; then the runtime collects it later.
        drop(timeout_at(deadline.max(Instant::now() + GRACE), self.child.wait()).await);
    }

    /// Kills what is left of the program, and tells its exit code; none when a signal ended it.
    pub(super) async fn reap(mut self) -> Option<i32> {
        // Its output may have ended a moment before it.
        self.ends_by(Instant::now() + GRACE).await;
        self.signal(Signal::KILL);
        let ended = timeout_at(Instant::now() + GRACE, self.child.wait()).await;
        ended.ok().and_then(Result::ok).and_then(|status| status.code())
    }

    /// Waits until the program has ended. It is not collected by this, and its children may go on.
    pub(super) async fn exited(&self) {
        // It cannot fail while the runtime's driver runs; afterwards nobody waits.
        drop(self.ending.readable().await);
    }

    async fn ends_by(&self, deadline: Instant) -> bool {
        timeout_at(deadline, self.exited()).await.is_ok()
    }

    fn signal(&self, signal: Signal) {
        // A group that is gone cannot be signalled, and need not.
        let _ = kill_process_group(self.group, signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.errors.abort();
        if self.child.id().is_some() {
            self.signal(Signal::KILL);
        }
    }
}

fn command(settings: &StdioSettings) -> Command {
    let mut command = Command::new(&settings.command);
    command.args(&settings.arguments).env_clear().process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.envs(settings.environment.iter().map(|(name, value)| (name, value.expose_secret())));
    if let Some(folder) = &settings.folder {
        command.current_dir(folder);
    }
    command
}

/// A part of what is left until `deadline`, at most [`GRACE`] away.
fn share(deadline: Instant, parts: u32) -> Instant {
    let now = Instant::now();
    now + (deadline.saturating_duration_since(now) / parts).min(GRACE)
}

/// Reads to the end, keeping the last bytes.
async fn drain(mut errors: impl AsyncRead + Unpin, tail: Tail) {
    let mut chunk = [0; 1 << 10];
    while let Ok(read @ 1..) = errors.read(&mut chunk).await {
        let mut kept = tail.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(chunk.iter().take(read));
        let surplus = kept.len().saturating_sub(STDERR_BYTES_KEPT);
        kept.drain(..surplus);
    }
}
