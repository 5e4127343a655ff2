//! `colloquy store migrate`.

use std::path::Path;

use colloquy_store::journal::migrate::{Migrated, migrate};
use colloquy_types::SystemEntropy;
use serde_json::json;

use super::unusable;
use crate::{
    Exit,
    output::{self, Output},
};

/// Memory for the index's pages.
const CACHE_BYTES: u64 = 64 << 20;

/// Migrates a folder.
pub(super) fn run(folder: &Path, output: Output) -> Exit {
    let mut shown = |rows| output::progress(&format!("{rows} conversations looked at"));
    let done = migrate(folder, CACHE_BYTES, &SystemEntropy, &mut shown);
    output::progress("");
    match done {
        Err(error) => unusable(&error),
        Ok(Migrated { rows, rewritten, trees }) => {
            if output.json {
                output::line(&json!({ "rows": rows, "rewritten": rewritten, "trees_removed": trees }).to_string());
            } else if rewritten + trees == 0 {
                output::line(&format!("nothing to do: all {rows} conversations are of the newest format"));
            } else {
                output::line(&format!("{rewritten} of {rows} conversations brought to the newest format"));
            }
            Exit::Ok
        }
    }
}
