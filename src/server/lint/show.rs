//! Faults as people read them: with the line they stand in, and a caret below the place.

use std::{collections::HashMap, fs::File, io::Read as _};

use colloquy_author::{FILE_BYTES_MAX, Fault, Severity};

use crate::output::Output;

/// Widest part of a line that is shown, in characters.
const WIDTH_MAX: usize = 120;
/// Characters shown before the place when a line is too wide.
const BEFORE_MAX: usize = 60;

/// Reads each file once.
#[derive(Default)]
pub(super) struct Excerpts {
    files: HashMap<String, Option<String>>,
}

impl Excerpts {
    /// The fault, with an excerpt where its line can be read.
    pub(super) fn fault(&mut self, fault: &Fault, output: Output) -> String {
        let place = if fault.line > 0 { format!("{}:{}", fault.line, fault.column) } else { String::new() };
        let place = [fault.file.as_str(), &place].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>();
        let severity = format!("{}[{}]", fault.severity.name(), fault.id);
        let severity = match fault.severity {
            Severity::Error => output.bad(&severity),
            Severity::Warning => output.strong(&severity),
        };
        let mut shown = format!("{}: {severity}: {}", place.join(":"), fault.message);
        if let Some((line, caret)) = self.excerpt(fault) {
            let number = fault.line.to_string();
            let margin = " ".repeat(number.len());
            shown.push_str(&format!("\n  {} {line}", output.faint(&format!("{number} |"))));
            shown.push_str(&format!("\n  {} {caret}", output.faint(&format!("{margin} |"))));
        }
        if !fault.path.is_empty() {
            shown.push_str(&format!("\n  path: {}", fault.path.join(" -> ")));
        }
        shown.push_str(&format!("\n  fix: {}", fault.fix));
        shown
    }

    fn excerpt(&mut self, fault: &Fault) -> Option<(String, String)> {
        let line = usize::try_from(fault.line).ok()?.checked_sub(1)?;
        let column = usize::try_from(fault.column).ok()?.checked_sub(1)?;
        let text = self.files.entry(fault.file.clone()).or_insert_with(|| read(&fault.file)).as_ref()?;
        Some(cut(text.lines().nth(line)?, column))
    }
}

fn read(file: &str) -> Option<String> {
    let bound = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut text = String::new();
    File::open(file).ok()?.take(bound).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The part of a line around a column, from 0, and the caret below it. What could command a terminal is blank.
fn cut(line: &str, column: usize) -> (String, String) {
    let skipped = if column < WIDTH_MAX { 0 } else { column - BEFORE_MAX };
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    let shown: String = line.chars().skip(skipped).take(WIDTH_MAX).map(plain).collect();
    (shown.trim_end().to_owned(), format!("{}^", " ".repeat(column - skipped)))
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn the_caret_stands_below_the_place() {
        assert_eq!(cut("start: home.idel", 7), ("start: home.idel".to_owned(), "       ^".to_owned()));
        let (line, caret) = cut(&format!("{}here{}", "x".repeat(500), "y".repeat(500)), 500);
        assert_eq!(line.chars().count(), 120);
        assert!(line[caret.len() - 1..].starts_with("here"), "{line}\n{caret}");
        assert_eq!(cut("a\u{1b}[31m\tb", 0).0, "a [31m b");
    }
}
