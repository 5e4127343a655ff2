//! What must hold of the fields of requests about flows.

use colloquy_actors::{FlowFile, FlowSources, GraphDrawing};
use colloquy_proto::v1;
use colloquy_types::FlowName;

use super::Faults;

/// Most files of a flow, as the loader takes them.
const FILES_MAX: usize = 64;
/// Longest file, in bytes, as the loader takes it.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Longest name of a file, in bytes.
const FILE_NAME_BYTES_MAX: usize = 256;
/// How many digits name a revision.
const REVISION_DIGITS: std::ops::RangeInclusive<usize> = 8..=64;

impl Faults {
    /// A flow's name that must be there.
    pub(crate) fn flow_name(&mut self, flow: &str) -> Option<String> {
        FlowName::parse(flow).map_or_else(|invalid| self.add("flow", invalid.to_string()), |_| Some(flow.to_owned()))
    }

    /// A flow's name, or nothing for all flows.
    pub(crate) fn flow_filter(&mut self, flow: String) -> Option<String> {
        if flow.is_empty() { Some(flow) } else { self.flow_name(&flow) }
    }

    /// The first digits of a revision, in lower case; empty only where that means something.
    pub(crate) fn digits(&mut self, field: &'static str, digits: &str, may_be_empty: bool) -> Option<String> {
        let fits = REVISION_DIGITS.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if fits || (may_be_empty && digits.is_empty()) {
            return Some(digits.to_ascii_lowercase());
        }
        self.add(field, "must be 8 to 64 hexadecimal digits")
    }

    /// The sources of a flow, within the loader's bounds.
    pub(crate) fn sources(&mut self, sources: Option<v1::FlowSources>) -> Option<FlowSources> {
        let v1::FlowSources { files, scenarios } = sources.unwrap_or_default();
        if files.is_empty() || files.len() > FILES_MAX {
            return self.add("sources.files", format!("must be 1 to {FILES_MAX} files, but are {}", files.len()));
        }
        for file in &files {
            if file.name.is_empty() || file.name.len() > FILE_NAME_BYTES_MAX || file.name.chars().any(char::is_control)
            {
                let problem = format!("must be 1 to {FILE_NAME_BYTES_MAX} bytes without control characters");
                return self.add("sources.files.name", problem);
            }
            if file.text.len() > FILE_BYTES_MAX {
                let problem = format!("must be at most {FILE_BYTES_MAX} bytes long, but has {}", file.text.len());
                return self.add("sources.files.text", problem);
            }
        }
        let scenarios = self.scenarios("sources.scenarios", scenarios)?;
        let files = files.into_iter().map(|file| FlowFile { name: file.name, text: file.text }).collect();
        Some(FlowSources { files, scenarios })
    }

    pub(crate) fn scenarios(&mut self, field: &'static str, scenarios: String) -> Option<String> {
        if scenarios.len() > FILE_BYTES_MAX {
            let problem = format!("must be at most {FILE_BYTES_MAX} bytes long, but has {}", scenarios.len());
            return self.add(field, problem);
        }
        Some(scenarios)
    }

    /// What a graph is drawn in; `Some(None)` for rows.
    #[expect(clippy::option_option, reason = "the outer one says whether it is valid, the inner whether it is drawn")]
    pub(crate) fn graph_format(&mut self, format: i32) -> Option<Option<GraphDrawing>> {
        match v1::GraphFormat::try_from(format) {
            Ok(v1::GraphFormat::Unspecified | v1::GraphFormat::Rows) => Some(None),
            Ok(v1::GraphFormat::Dot) => Some(Some(GraphDrawing::Dot)),
            Ok(v1::GraphFormat::Mermaid) => Some(Some(GraphDrawing::Mermaid)),
            Ok(v1::GraphFormat::Svg) => Some(Some(GraphDrawing::Svg)),
            Err(_) => self.add("format", format!("{format} is not a known format: use ROWS, DOT, MERMAID or SVG")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_flows_is_bounded() {
        let named = |check: fn(&mut Faults) -> bool| {
            let mut faults = Faults::default();
            let passed = check(&mut faults);
            assert_eq!(passed, faults.0.is_empty());
            faults.0.first().map(|invalid| invalid.field)
        };
        let of = |files: usize, text: usize| {
            let file = v1::FlowFile { name: "flow.yaml".into(), text: "x".repeat(text) };
            Some(v1::FlowSources { files: vec![file; files], scenarios: String::new() })
        };
        let sources = |files, text| Faults::default().sources(of(files, text)).is_some();
        assert!(sources(1, FILE_BYTES_MAX) && sources(FILES_MAX, 1));
        assert!(!sources(0, 0) && !sources(FILES_MAX + 1, 1) && !sources(1, FILE_BYTES_MAX + 1));
        assert_eq!(named(|faults| faults.digits("revision", "0123abCD", false).is_some()), None);
        assert_eq!(named(|faults| faults.digits("revision", "", true).is_some()), None);
        assert_eq!(named(|faults| faults.digits("revision", "", false).is_some()), Some("revision"));
        assert_eq!(named(|faults| faults.digits("revision", "0123abc", true).is_some()), Some("revision"));
        assert_eq!(named(|faults| faults.digits("revision", "0123abcg", true).is_some()), Some("revision"));
    }
}
