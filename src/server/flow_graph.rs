//! `colloquy flow graph`.

use std::path::PathBuf;

use clap::Args;
use colloquy_author::{
    Graph,
    graph::{Format, GraphState},
    load_folder,
};
use serde_json::json;

use crate::{
    Exit, lint,
    output::{self, Output},
};

/// What is drawn, and where to.
#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// The flow's folder, or a single file.
    folder: PathBuf,
    /// What to write; when not given, what the ending of --out says, or Mermaid.
    #[arg(long, value_enum)]
    format: Option<Drawn>,
    /// The file to write to, instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print what leads nowhere and what a model may propose; exit code 1 when a state is a dead end or
    /// unreachable.
    #[arg(long)]
    report: bool,
}

/// What a drawing is written in.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Drawn {
    /// For Graphviz.
    Dot,
    /// For Mermaid.
    Mermaid,
    /// A picture.
    Svg,
    /// A page with a Mermaid block and the report.
    Markdown,
}

impl GraphArgs {
    fn format(&self) -> Format {
        let ending = self.out.as_ref().and_then(|out| out.extension()).and_then(|ending| ending.to_str());
        match (self.format, ending) {
            (Some(Drawn::Dot), _) | (None, Some("dot" | "gv")) => Format::Dot,
            (Some(Drawn::Svg), _) | (None, Some("svg")) => Format::Svg,
            (Some(Drawn::Markdown), _) | (None, Some("md")) => Format::Markdown,
            (Some(Drawn::Mermaid), _) | (None, _) => Format::Mermaid,
        }
    }
}

/// Draws a flow, or reports on it, or both.
pub(crate) fn run(args: &GraphArgs, output: Output) -> Exit {
    let loaded = match load_folder(&args.folder) {
        Ok(loaded) => loaded,
        Err(faults) => return lint::faulty(&faults, output),
    };
    let graph = Graph::of(&loaded.flow);
    if let Some(out) = &args.out
        && !output::write_file(out, &graph.draw(args.format()))
    {
        return Exit::Usage;
    }
    if output.json {
        output::line(&in_json(&graph).to_string());
    } else if args.report {
        output::line(&graph.report());
    } else if args.out.is_none() {
        output::line(graph.draw(args.format()).trim_end());
    }
    if args.report && !graph.is_sound() { Exit::NotAsItShouldBe } else { Exit::Ok }
}

/// The graph, with what leads nowhere beside it.
fn in_json(graph: &Graph) -> serde_json::Value {
    let dead = graph.dead_ends().map(|state| json!({ "state": state.name, "path": state.path }));
    let unreachable = graph.unreachable().map(|state: &GraphState| state.name.as_str());
    json!({
        "graph": graph,
        "dead_ends": dead.collect::<Vec<_>>(),
        "unreachable": unreachable.collect::<Vec<_>>(),
    })
}
