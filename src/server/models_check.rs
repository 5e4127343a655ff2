//! `colloquy models check`: asks each model and looks at each source once, and tells what is wrong and what to do.
//!
//! Nothing is changed in the world: a model is asked something tiny, a server of tools lists them, an API is connected
//! to, or asked for its `check` URL. All run at once, each until its own deadline.

mod fixes;
mod model;
mod print;
mod source;

use std::{path::PathBuf, time::Duration};

use clap::Args;
use tokio::{task::JoinSet, time::Instant};

use colloquy_actors::WorldSpec;
use colloquy_enrich::Tool;

use crate::{
    Exit,
    output::{self, Output},
    settings::{Fault, Settings, Sources},
};

/// What is to be checked.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Settings file (TOML).
    #[arg(long, env = "COLLOQUY_CONFIG")]
    config: Option<PathBuf>,
}

/// What was found of one model or source.
#[derive(Debug)]
struct Finding {
    /// `model` or `source`.
    kind: &'static str,
    name: String,
    /// How long a whole answer took, or a session or connection to come about.
    latency: Option<Duration>,
    /// How long the first words of a streamed answer took.
    first_token: Option<Duration>,
    /// What it does, by name, as far as that was seen.
    features: Vec<(&'static str, bool)>,
    tools: Vec<Tool>,
    problems: Vec<Problem>,
}

impl Finding {
    fn new(kind: &'static str, name: &str) -> Self {
        let name = name.to_owned();
        Self {
            kind,
            name,
            latency: None,
            first_token: None,
            features: Vec::new(),
            tools: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn wrong(&mut self, what: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(Problem { what: what.into(), fix: fix.into() });
    }
}

/// What is wrong, and what to do about it.
#[derive(Debug)]
struct Problem {
    what: String,
    fix: String,
}

/// Checks everything that the settings name.
///
/// # Errors
/// Every fault of the settings.
pub(crate) async fn run(args: &CheckArgs, patience: Duration, output: Output) -> Result<Exit, Vec<Fault>> {
    let sources = Sources::gather(args.config.as_deref()).map_err(|fault| vec![fault])?;
    let settings = Settings::read(&sources)?;
    let findings = check_all(settings.world, Instant::now() + patience).await;
    for finding in &findings {
        print::finding(finding, output);
    }
    let wrong = findings.iter().filter(|finding| !finding.problems.is_empty()).count();
    if !output.json {
        output::line(&format!("{} of {} are well", findings.len() - wrong, findings.len()));
    }
    Ok(if wrong == 0 { Exit::Ok } else { Exit::NotAsItShouldBe })
}

/// What was found, in the order of the settings.
async fn check_all(world: WorldSpec, deadline: Instant) -> Vec<Finding> {
    let all = world.models.len() + world.sources.len();
    let mut tasks = JoinSet::new();
    for (place, spec) in world.models.into_iter().enumerate() {
        tasks.spawn(async move { (place, model::check(&spec, deadline).await) });
    }
    let models = tasks.len();
    for (place, spec) in world.sources.into_iter().enumerate() {
        tasks.spawn(async move { (models + place, source::check(&spec, deadline).await) });
    }
    let mut found = Vec::new();
    output::progress(&format!("0 of {all} checked"));
    while let Some(ended) = tasks.join_next().await {
        // A check that panics is a fault of ours; the panic itself has been told.
        found.extend(ended.ok());
        output::progress(&format!("{} of {all} checked", found.len()));
    }
    output::progress("");
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, finding)| finding).collect()
}
