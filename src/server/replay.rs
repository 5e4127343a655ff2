//! `colloquy replay`: exported conversations, decided again without a server.

mod files;
mod print;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use clap::Args;
use colloquy_author::{
    load_folder,
    replay::{ReplayedConversation, RevisionCache, Summary},
};
use colloquy_types::ConversationKey;

use self::files::Question;
pub(crate) use self::files::find;
use crate::{
    Exit,
    output::{self, Output},
};

/// Files replayed before their results are printed, for each thread: bounds what waits for its place.
const FILES_PER_THREAD: usize = 32;
/// Most threads; beyond that a machine's disk is what one waits for.
const JOBS_MAX: usize = 256;

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Exports, or folders with exports (`*.jsonl`, also in folders below).
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// Decide the conversations anew on the flow in this folder, and report what it would change; without it
    /// each is held against the revisions it was made by.
    #[arg(long, value_name = "FLOW_DIR")]
    against: Option<PathBuf>,
    /// How many to replay at once; as many as there are processors when not given.
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
}

/// What came of one file.
struct Outcome {
    file: PathBuf,
    replayed: Result<(ConversationKey, ReplayedConversation), anyhow::Error>,
}

/// Does what was asked, on threads of its own.
pub(crate) async fn run(args: ReplayArgs, output: Output) -> Exit {
    let replayed = tokio::task::spawn_blocking(move || replay(&args, output)).await;
    replayed.unwrap_or_else(|error| {
        output::error(&format!("the replay ended unexpectedly: {error}"));
        Exit::NotAsItShouldBe
    })
}

fn replay(args: &ReplayArgs, output: Output) -> Exit {
    let question = match &args.against {
        None => Question::IsItTheSame,
        Some(folder) => match load_folder(folder) {
            Ok(loaded) => Question::WhatChanges(Box::new(loaded)),
            Err(faults) => {
                faults.iter().for_each(|fault| output::error(&fault.to_string()));
                return Exit::Usage;
            }
        },
    };
    let files = match files::find(&args.paths) {
        Ok(files) => files,
        Err(error) => {
            output::error(&format!("{error:#}"));
            return Exit::Usage;
        }
    };
    let processors = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let jobs = args.jobs.unwrap_or(processors).get().min(JOBS_MAX);
    let (revisions, mut summary) = (RevisionCache::default(), Summary::default());
    let mut done = 0;
    for chunk in files.chunks(jobs * FILES_PER_THREAD) {
        for outcome in replay_chunk(chunk, jobs, &question, &revisions) {
            add(&mut summary, &outcome);
            output::progress("");
            print::outcome(&outcome, output);
            done += 1;
        }
        output::progress(&format!("{done} of {} conversations", files.len()));
    }
    output::progress("");
    print::summary(&summary, &question, output);
    exit(&summary)
}

/// What is unreadable leaves the question open, which weighs more than an answer one may not like.
fn exit(summary: &Summary) -> Exit {
    match (summary.unreadable, summary.different) {
        (0, 0) => Exit::Ok,
        (0, _) => Exit::NotAsItShouldBe,
        (_, _) => Exit::Usage,
    }
}

fn add(summary: &mut Summary, outcome: &Outcome) {
    match &outcome.replayed {
        Ok((key, replayed)) => summary.add(key.as_str(), replayed),
        Err(_) => summary.add_unreadable(),
    }
}

/// Replays files on several threads and gives the outcomes in the order of the files.
fn replay_chunk(files: &[PathBuf], jobs: usize, question: &Question, revisions: &RevisionCache) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut outcomes = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(place) else { return outcomes };
            outcomes.push((place, replay_file(file, question, revisions)));
        }
    };
    let mut outcomes = std::thread::scope(|threads| {
        let workers: Vec<_> = (1..jobs.min(files.len())).map(|_| threads.spawn(work)).collect();
        let mut outcomes = work();
        // A panic goes on in this thread: there would be files without an outcome.
        let finished =
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        outcomes.extend(finished.flatten());
        outcomes
    });
    outcomes.sort_by_key(|(place, _)| *place);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn replay_file(file: &Path, question: &Question, revisions: &RevisionCache) -> Outcome {
    Outcome { file: file.to_path_buf(), replayed: files::replay(file, question, revisions) }
}
