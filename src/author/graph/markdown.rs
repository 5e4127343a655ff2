//! A page of Markdown with a graph and its report.

use super::{Graph, mermaid, report};

pub(super) fn write(graph: &Graph) -> String {
    let marks = "Terminal states are rounded, the start has a thick border, and dashed arrows are moves that a model \
                 may propose.";
    format!(
        "# {}\n\nWritten by `colloquy flow graph`. {marks}\n\n```mermaid\n{}```\n\n```text\n{}\n```\n",
        graph.name,
        mermaid::write(graph),
        report::write(graph),
    )
}
