//! `colloquy flow schema`.

use std::path::Path;

use colloquy_author::schema;

use crate::{Exit, output};

/// Writes the JSON Schema of flow files, or of scenario files.
pub(crate) fn run(scenarios: bool, out: Option<&Path>) -> Exit {
    let schema = if scenarios { schema::of_scenarios() } else { schema::of_flows() };
    let text = schema::text(&schema);
    match out {
        Some(out) if !output::write_file(out, &text) => Exit::Usage,
        Some(_) => Exit::Ok,
        None => {
            output::line(text.trim_end());
            Exit::Ok
        }
    }
}
