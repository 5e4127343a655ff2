//! Where settings come from: a file, the environment, flags.

use std::path::Path;

use super::Fault;

/// Looks up a variable of the environment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Environment(pub(crate) fn(&str) -> Option<String>);

/// An environment without variables.
impl Default for Environment {
    fn default() -> Self {
        Self(|_| None)
    }
}

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// The file's name and text.
    pub(crate) file: Option<(String, String)>,
    /// Environment variables whose name begins with `COLLOQUY_`.
    pub(crate) environment: Vec<(String, String)>,
    /// Flags by the setting they set: `("listen.grpc", "--grpc-listen", value)`.
    pub(crate) flags: Vec<(&'static str, &'static str, String)>,
    /// Where the file's names of secrets are looked up.
    pub(crate) secrets: Environment,
}

impl Sources {
    /// Reads the file, if one is named, and the process's environment.
    ///
    /// # Errors
    /// A [`Fault`] when the file cannot be read.
    pub(crate) fn gather(file: Option<&Path>) -> Result<Self, Fault> {
        let file = file
            .map(|path| {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(path).map_err(|error| Fault {
                    place: name.clone(),
                    key: "--config".to_owned(),
                    problem: format!("cannot be read: {error}"),
                    fix: "name a readable TOML file".to_owned(),
                })?;
                Ok((name, text))
            })
            .transpose()?;
        let environment = std::env::vars().filter(|(name, _)| name.starts_with("COLLOQUY_")).collect();
        let secrets = Environment(|name| std::env::var(name).ok());
        Ok(Self { file, environment, flags: Vec::new(), secrets })
    }
}
