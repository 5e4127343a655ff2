//! `colloquy flow diff`.

use std::path::Path;

use colloquy_author::{Diff, load_folder};
use serde_json::json;

use crate::{
    Exit, lint,
    output::{self, Output},
};

/// Compares two revisions, each a folder or a file.
pub(crate) fn run(was: &Path, is: &Path, output: Output) -> Exit {
    let (was, is) = match (load_folder(was), load_folder(is)) {
        (Ok(was), Ok(is)) => (was, is),
        (was, is) => {
            let faults: Vec<_> = [was, is].into_iter().filter_map(Result::err).flatten().collect();
            lint::faulty(&faults, output);
            // Code 1 says that two flows differ; here there are no two flows.
            return Exit::Usage;
        }
    };
    let diff = Diff::of(&was, &is);
    if output.json {
        output::line(&json!(diff).to_string());
    } else {
        output::line(&diff.to_string());
    }
    if diff.is_empty() { Exit::Ok } else { Exit::NotAsItShouldBe }
}
