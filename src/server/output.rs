//! What the program prints: colour on a terminal only, results on standard output, errors beside it.

use std::{
    borrow::Cow,
    io::{IsTerminal as _, Write as _},
};

use colloquy_client::{ClientError, ConnectError};
use owo_colors::{OwoColorize as _, Style};

use crate::Exit;

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How results are printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    colour: bool,
}

impl Output {
    pub(crate) fn new(json: bool, colour: Colour) -> Self {
        let colour = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        Self { json, colour: colour && !json }
    }

    fn styled(&self, text: &str, style: Style) -> String {
        if self.colour { text.style(style).to_string() } else { text.to_owned() }
    }

    pub(crate) fn strong(&self, text: &str) -> String {
        self.styled(text, Style::new().bold())
    }

    pub(crate) fn faint(&self, text: &str) -> String {
        self.styled(text, Style::new().dimmed())
    }

    pub(crate) fn good(&self, text: &str) -> String {
        self.styled(text, Style::new().green())
    }

    pub(crate) fn bad(&self, text: &str) -> String {
        self.styled(text, Style::new().red().bold())
    }
}

/// A text from elsewhere, without what would steer a terminal: control characters other than newline and tab become `�`.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let steers = |letter: char| letter.is_control() && letter != '\n' && letter != '\t';
    if text.contains(steers) { Cow::Owned(text.replace(steers, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Prints a line; a reader that went away (`| head`) is no fault.
pub(crate) fn line(text: &str) {
    let mut stdout = std::io::stdout().lock();
    drop(writeln!(stdout, "{text}").and_then(|()| stdout.flush()));
}

/// Prints text without a line's end, at once.
pub(crate) fn prompt(text: &str) {
    let mut stdout = std::io::stdout().lock();
    drop(write!(stdout, "{text}").and_then(|()| stdout.flush()));
}

/// Shows how far something is on standard error, if that is a terminal; each call replaces what was shown, and
/// an empty text takes it away.
pub(crate) fn progress(text: &str) {
    let mut stderr = std::io::stderr().lock();
    if stderr.is_terminal() {
        drop(write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush()));
    }
}

/// Prints an error.
pub(crate) fn error(text: &str) {
    drop(writeln!(std::io::stderr(), "error: {text}"));
}

/// Prints what is worth knowing although all was done.
pub(crate) fn warning(text: &str) {
    drop(writeln!(std::io::stderr(), "warning: {text}"));
}

/// Writes a file whole; a failure is printed. Whether it was written.
pub(crate) fn write_file(path: &std::path::Path, text: &str) -> bool {
    let written = std::fs::write(path, text);
    if let Err(failed) = &written {
        error(&format!("{} cannot be written: {failed}", path.display()));
    }
    written.is_ok()
}

/// Says that no server answers, and what to do.
pub(crate) fn unreachable(connect: &ConnectError) -> Exit {
    error(&format!(
        "no server answers at {}\n  fix: start one with `colloquy serve`, or name another with --addr",
        connect.address
    ));
    Exit::Unreachable
}

/// Says why the server refused.
pub(crate) fn refused(refusal: &ClientError) -> Exit {
    let reason = if refusal.reason().is_empty() { String::new() } else { format!(" [{}]", refusal.reason()) };
    error(&format!("{}{reason}", refusal.message()));
    for (field, problem) in refusal.fields() {
        drop(writeln!(std::io::stderr(), "  {field}: {problem}"));
    }
    if refusal.code() == tonic::Code::Unavailable && refusal.reason().is_empty() {
        return Exit::Unreachable;
    }
    Exit::Refused
}
