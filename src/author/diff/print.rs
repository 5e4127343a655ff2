//! A diff as text.

use std::fmt;

use serde_json::Value as Shown;

use super::{Change, Detail, Diff, KINDS, Sign};

/// How much of a revision is shown.
const REVISION_CHARS: usize = 12;

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for kind in KINDS {
            let mut of_kind = self.changes.iter().filter(|change| change.kind == kind).peekable();
            if of_kind.peek().is_some() {
                writeln!(f, "{kind}")?;
                of_kind.try_for_each(|change| write!(f, "{change}"))?;
            }
        }
        let count = |sign| self.changes.iter().filter(|change| change.sign == sign).count();
        let (added, removed, changed) = (count(Sign::Added), count(Sign::Removed), count(Sign::Changed));
        write!(f, "{} -> {}: {added} added, {removed} removed, {changed} changed", short(&self.was), short(&self.is))
    }
}

fn short((name, revision): &(String, String)) -> String {
    format!("{name} {}", revision.get(..REVISION_CHARS).unwrap_or(revision))
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.sign {
            Sign::Added => '+',
            Sign::Removed => '-',
            Sign::Changed => '~',
        };
        // What is one value stands in the line itself.
        if let [Detail { at, was, is }] = self.details.as_slice()
            && matches!(at.as_str(), "" | "by")
            && !is_long(was.as_ref())
            && !is_long(is.as_ref())
        {
            let by = if at == "by" { " by" } else { ":" };
            let told = match (was, is) {
                (Some(was), None) => text(was),
                (None, Some(is)) => text(is),
                (was, is) => change_of(was.as_ref(), is.as_ref()),
            };
            return writeln!(f, "  {sign} {}{by} {told}", self.name);
        }
        writeln!(f, "  {sign} {}", self.name)?;
        self.details.iter().try_for_each(|detail| write!(f, "{detail}"))
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.at.is_empty() { String::new() } else { format!("{}: ", self.at) };
        match (&self.was, &self.is) {
            (Some(Shown::String(was)), Some(Shown::String(is))) if is_lines(was) || is_lines(is) => {
                writeln!(f, "      {at}")?;
                lines(was, is, f)
            }
            // A whole entry that is new or gone: its keys, one a line.
            (None, Some(Shown::Object(members))) if self.at.is_empty() => {
                members.iter().try_for_each(|(key, value)| writeln!(f, "      {key}: {}", text(value)))
            }
            // Of what is gone the name says enough.
            (Some(_), None) if self.at.is_empty() => Ok(()),
            (None, Some(text)) if self.at.is_empty() => writeln!(f, "      {}", self::text(text)),
            (was, is) => writeln!(f, "      {at}{}", change_of(was.as_ref(), is.as_ref())),
        }
    }
}

fn change_of(was: Option<&Shown>, is: Option<&Shown>) -> String {
    let there = |value: Option<&Shown>| value.filter(|value| !value.is_null()).map_or("(none)".to_owned(), text);
    format!("{} -> {}", there(was), there(is))
}

fn text(value: &Shown) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn is_lines(text: &str) -> bool {
    text.trim_end().contains('\n')
}

fn is_long(value: Option<&Shown>) -> bool {
    value.is_some_and(|value| value.is_object() || value.as_str().is_some_and(is_lines))
}

/// The lines that differ; what is equal at the beginning and the end is left out.
fn lines(was: &str, is: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (was, is): (Vec<&str>, Vec<&str>) = (was.lines().collect(), is.lines().collect());
    let head = was.iter().zip(&is).take_while(|(one, other)| one == other).count();
    let (was, is) = (was.get(head..).unwrap_or_default(), is.get(head..).unwrap_or_default());
    let tail = was.iter().rev().zip(is.iter().rev()).take_while(|(one, other)| one == other).count();
    for (sign, lines) in [('-', was), ('+', is)] {
        let differing = lines.len() - tail;
        lines.iter().take(differing).try_for_each(|line| writeln!(f, "        {sign} {line}"))?;
    }
    Ok(())
}
