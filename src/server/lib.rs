//! The program `colloquy`: command line, settings, wiring, shutdown.
//!
//! A library too, so that other programs of the workspace can be the server: see [`run`].

mod authoring;
mod calls;
mod chat;
mod cli;
mod demo;
mod erase;
mod export;
mod flow_calls;
mod flow_deletions;
mod flow_diff;
mod flow_graph;
mod flow_guard;
mod flow_schema;
mod flow_test;
mod flows;
mod history;
mod lint;
mod models_check;
mod operate;
mod output;
mod pausing;
mod replay;
mod replaying;
mod serve;
mod settings;
mod steering;
mod store;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::Parser as _;

/// How the program can end; the documented exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well.
    Ok = 0,
    /// What was asked about is not as it should be: a faulty flow, a demo that differs.
    NotAsItShouldBe = 1,
    /// The command line or the settings are wrong.
    Usage = 2,
    /// No server answers at the address.
    Unreachable = 3,
    /// The server refused; the reason is printed.
    Refused = 4,
    /// The store failed; a supervisor should start the process anew.
    Store = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Runs the program with these arguments, the first of which is its name.
pub fn run<I, T>(arguments: I) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<std::ffi::OsString> + Clone,
{
    let cli = match cli::Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            // Nothing can be done about a closed standard output.
            drop(error.print());
            return exit.into();
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error(&format!("the async runtime cannot start: {error}"));
            return Exit::Usage.into();
        }
    };
    runtime.block_on(cli.dispatch()).into()
}
