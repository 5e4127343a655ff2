//! Labelled texts: what each is, and which are held out.

use std::{collections::HashMap, fs::File, io::Read as _, path::Path};

use serde::Serialize;

use crate::fault::{Fault, Faults, Mark};

/// Largest corpus, in bytes.
pub const CORPUS_BYTES_MAX: usize = 16 << 20;
/// Longest text of a row, in characters; no flow takes longer input.
pub const TEXT_CHARS_MAX: usize = 16_384;
/// Longest name of a kind, in bytes.
pub const KIND_BYTES_MAX: usize = 64;
/// Who has this many faulty rows has one fault many times.
const FAULTS_MAX: usize = 100;
/// One row in so many is held out.
const HELD_OUT_ONE_IN: u64 = 3;

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Somebody tries to steer the model.
    Attack,
    /// Somebody wants what the conversation is for, whatever it looks like.
    Benign,
}

impl Label {
    /// `attack` or `benign`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attack => "attack",
            Self::Benign => "benign",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Attack, Self::Benign].into_iter().find(|label| label.name() == name)
    }
}

/// One labelled text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Where it stands in its file, from 1.
    pub line: u64,
    /// What it is.
    pub label: Label,
    /// What kind of attack or message it is, for figures by kind.
    pub kind: String,
    /// The text itself.
    pub text: String,
}

impl Row {
    /// Whether the row is kept from those who write signs. The text alone decides, so a row stays on its side
    /// wherever it is moved and whatever is added.
    pub fn is_held_out(&self) -> bool {
        let hash = blake3::hash(self.text.as_bytes());
        let first = hash.as_bytes().first_chunk().copied().map_or(0, u64::from_le_bytes);
        first.is_multiple_of(HELD_OUT_ONE_IN)
    }
}

/// The corpus that comes with the program.
///
/// # Errors
/// None that a released program shows: a test reads the corpus.
pub fn built_in_corpus() -> Result<Vec<Row>, Vec<Fault>> {
    parse_corpus("built-in corpus", include_str!("corpus.tsv"))
}

/// Reads the corpus in a file, as [`parse_corpus`] does.
///
/// # Errors
/// The faults, ordered by line; one when the file cannot be read.
pub fn read_corpus(path: &Path) -> Result<Vec<Row>, Vec<Fault>> {
    let file = path.display().to_string();
    let mut corpus = String::new();
    // One byte more than is allowed, so that too much is seen and nothing without end is read.
    let bytes_max = u64::try_from(CORPUS_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    match File::open(path).and_then(|opened| opened.take(bytes_max).read_to_string(&mut corpus)) {
        Ok(_) => parse_corpus(&file, &corpus),
        Err(failed) => {
            let mut faults = Faults::default();
            let fix = "give a UTF-8 text file that exists and may be read";
            faults.error("unreadable", &Mark::file(&file.into()), format!("the corpus cannot be read: {failed}"), fix);
            Err(faults.into_sorted())
        }
    }
}

/// Reads a corpus: a row a line, with a tab between label, kind and text. Blank lines and lines that begin with
/// `#` are skipped. In a text `\n`, `\t`, `\\` and `\u{hex}` stand for what a line cannot hold or nobody sees.
/// `file` is the name by which faults report it.
///
/// # Errors
/// The faults, ordered by line; at most 100.
pub fn parse_corpus(file: &str, corpus: &str) -> Result<Vec<Row>, Vec<Fault>> {
    let whole = Mark::file(&file.into());
    let mut faults = Faults::default();
    if corpus.len() > CORPUS_BYTES_MAX {
        let message = format!("a corpus has at most {} MiB", CORPUS_BYTES_MAX >> 20);
        faults.error("too-large", &whole, message, "split it and measure each part");
        return Err(faults.into_sorted());
    }
    let mut rows = Vec::new();
    let mut seen = HashMap::new();
    let mut faulty = 0;
    for (line, written) in (1..).zip(corpus.lines()) {
        if written.trim().is_empty() || written.starts_with('#') {
            continue;
        }
        let objection = match row(line, written) {
            Ok(row) => match seen.insert(row.text.clone(), line) {
                None => {
                    rows.push(row);
                    continue;
                }
                Some(first) => (format!("the text stands in line {first} already"), "delete one of the two"),
            },
            Err(objection) => objection,
        };
        faults.error("bad-value", &Mark { line, column: 1, ..whole.clone() }, objection.0, objection.1);
        faulty += 1;
        if faulty == FAULTS_MAX {
            break;
        }
    }
    if rows.is_empty() && !faults.has_errors() {
        faults.error("bad-value", &whole, "the corpus has no rows", "write label, kind and text with a tab between");
    }
    if faults.has_errors() { Err(faults.into_sorted()) } else { Ok(rows) }
}

/// What is wrong, and what to do about it.
type Objection = (String, &'static str);

fn row(line: u64, written: &str) -> Result<Row, Objection> {
    let columns: Vec<&str> = written.split('\t').collect();
    let &[label, kind, text] = columns.as_slice() else {
        let message = format!("a row has 3 columns, this one has {}", columns.len());
        return Err((message, "write label, kind and text with a tab between; a tab in the text is \\t"));
    };
    let Some(label) = Label::named(label) else {
        return Err((format!("`{}` is no label", shown(label)), "write attack or benign"));
    };
    let named = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if kind.is_empty() || kind.len() > KIND_BYTES_MAX || !kind.chars().all(named) {
        let message = format!("`{}` is no kind", shown(kind));
        return Err((message, "write 1 to 64 lower-case letters, digits and hyphens, as in near-miss"));
    }
    let text = unescape(text)?;
    if text.trim().is_empty() || text.chars().count() > TEXT_CHARS_MAX {
        let message = format!("a text has 1 to {TEXT_CHARS_MAX} characters, not all of them blank");
        return Err((message, "write a text that a flow would take"));
    }
    Ok(Row { line, label, kind: kind.to_owned(), text })
}

/// As much of what was written as a fault shows.
fn shown(written: &str) -> String {
    written.chars().take(KIND_BYTES_MAX).collect()
}

fn unescape(written: &str) -> Result<String, Objection> {
    let mut text = String::with_capacity(written.len());
    let mut rest = written;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        text.push_str(plain);
        let (letter, after) = escape(escaped).ok_or_else(|| {
            let message = format!("`\\{}` stands for nothing", escaped.chars().take(10).collect::<String>());
            (message, "write \\n, \\t, \\u{hex}, or \\\\ for a backslash")
        })?;
        text.push(letter);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

/// What stands for itself after a backslash, and what follows it.
fn escape(escaped: &str) -> Option<(char, &str)> {
    if let Some(hex) = escaped.strip_prefix("u{") {
        let (digits, after) = hex.split_once('}')?;
        return Some((char::from_u32(u32::from_str_radix(digits, 16).ok()?)?, after));
    }
    let mut letters = escaped.chars();
    let letter = match letters.next()? {
        'n' => '\n',
        't' => '\t',
        '\\' => '\\',
        _ => return None,
    };
    Some((letter, letters.as_str()))
}
