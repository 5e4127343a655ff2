//! The journal's crash points on a simulated disk, seed after seed.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use colloquy_store::faults::{self, Report};

/// How often progress is told.
const TELL: Duration = Duration::from_secs(5);

/// What the points came to.
#[derive(Default)]
pub(super) struct Points {
    pub(super) seeds: u64,
    pub(super) report: Report,
    pub(super) took: Duration,
}

/// Where the indexes of the runs lie: in memory where there is such a file system.
fn scratch() -> std::io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { PathBuf::from(memory) } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("crash-points-").tempdir_in(parent)
}

/// Plays seeds from `seed` on until there were `points` crashes.
pub(super) fn run(seed: u64, points: u64) -> anyhow::Result<Points> {
    let (scratch, began) = (scratch()?, Instant::now());
    let (mut sum, mut told) = (Points::default(), began);
    while sum.report.points < points {
        sum.report.add(&faults::run(seed.wrapping_add(sum.seeds), scratch.path())?);
        sum.seeds += 1;
        if told.elapsed() > TELL {
            told = Instant::now();
            eprintln!("{} of {points} points, {} seeds", sum.report.points, sum.seeds);
        }
    }
    sum.took = began.elapsed();
    Ok(sum)
}
