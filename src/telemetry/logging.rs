//! Logs: JSON lines for machines, or lines for people, on standard error.

use std::{io::IsTerminal as _, panic};

use tracing_subscriber::{EnvFilter, fmt};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people; in colour on a terminal, unless `NO_COLOR` is set.
    Human,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter is not one.
    #[error("log filter is not of the form `info` or `colloquy=debug,info`")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Someone set it up before.
    #[error("logging is already set up")]
    Already(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sets up logging for the process, panics included: a line with the place, never with the panic's words,
/// which may hold user text.
///
/// # Errors
/// [`InitError`].
pub fn init(format: Format, filter: &str) -> Result<(), InitError> {
    let filter = quiet(EnvFilter::try_new(filter).map_err(InitError::Filter)?);
    let builder = fmt::Subscriber::builder().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Json => builder.json().flatten_event(true).try_init(),
        Format::Human => builder.with_ansi(colour()).try_init(),
    }
    .map_err(InitError::Already)?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Silences libraries that log what they carry: what was said stands in no log line, unless the filter names one of
/// their modules.
fn quiet(filter: EnvFilter) -> EnvFilter {
    // Clients of tools log their messages, at levels as high as `error`.
    match "rmcp=off".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    }
}

fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn log_panic(panic: &panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(place, thread = thread.name(), "panic");
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_logged_with_its_place_and_without_its_words() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = fmt::Subscriber::builder().json().with_writer(move || writer.clone()).finish();
        let before = panic::take_hook();
        panic::set_hook(Box::new(log_panic));
        let ended = tracing::subscriber::with_default(subscriber, || panic::catch_unwind(|| panic!("my card is 4711")));
        panic::set_hook(before);
        assert!(ended.is_err());
        let line = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(line.contains("logging.rs:") && line.contains("ERROR"), "{line}");
        assert!(!line.contains("4711"), "{line}");
    }

    #[test]
    fn libraries_that_log_what_they_carry_are_silent() {
        for asked in ["trace", "rmcp=trace", "info,rmcp=debug"] {
            let written = Written::default();
            let writer = written.clone();
            let filter = quiet(EnvFilter::new(asked));
            let subscriber =
                fmt::Subscriber::builder().with_env_filter(filter).with_writer(move || writer.clone()).finish();
            tracing::subscriber::with_default(subscriber, || {
                tracing::error!(target: "rmcp::transport::worker", "my card is 4711");
                tracing::error!(target: "colloquy", "told");
            });
            let lines = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
            assert!(!lines.contains("4711"), "{asked}: {lines}");
            assert_eq!(lines.contains("told"), asked != "rmcp=trace", "{asked}: {lines}");
        }
    }
}
