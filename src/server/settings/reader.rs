//! Single settings: what the file, the environment and the flags give for each, the strongest last.

use std::collections::BTreeMap;

use super::{
    KEYS, Key,
    fault::{Report, shown},
    file::{self, Placed, Value},
    sources::{Environment, Sources},
};

/// A value and where it came from.
#[derive(Clone, Debug)]
struct Given {
    place: String,
    text: String,
}

/// Sections whose entries are tables.
const TABLES: [&str; 3] = ["models", "enrichments", "retention"];
/// Variables that belong to the command line, not to settings.
const FOREIGN_VARIABLES: [&str; 3] = ["COLLOQUY_ADDR", "COLLOQUY_TENANT", "COLLOQUY_CONFIG"];

/// Collects values and faults.
pub(super) struct Reader {
    given: BTreeMap<&'static str, Given>,
    tables: BTreeMap<&'static str, Placed>,
    secrets: Environment,
    pub(super) report: Report,
}

/// The variable of a setting.
pub(super) fn variable(name: &str) -> String {
    format!("COLLOQUY_{}", name.replace('.', "_").to_uppercase())
}

/// The text of a single value, or of a list of them.
fn text_of(value: Value) -> Option<String> {
    match value {
        Value::Text(text) | Value::Plain(text) => Some(text),
        Value::List(items) => {
            let texts =
                items.into_iter().map(|item| if let Value::Text(text) = item.value { Some(text) } else { None });
            texts.collect::<Option<Vec<_>>>().map(|texts| texts.join(","))
        }
        Value::Table(_) => None,
    }
}

impl Reader {
    /// Takes in what the sources give, the weakest first.
    pub(super) fn of(sources: &Sources) -> Self {
        let (given, tables) = (BTreeMap::new(), BTreeMap::new());
        let mut reader = Self { given, tables, secrets: sources.secrets, report: Report::default() };
        if let Some((name, text)) = &sources.file {
            reader.file(name, text);
        }
        reader.environment(&sources.environment);
        for (name, flag, value) in &sources.flags {
            reader.give(name, Given { place: format!("flag {flag}"), text: value.clone() });
        }
        reader
    }

    pub(super) fn fault(&mut self, place: String, key: &str, problem: impl Into<String>, fix: impl Into<String>) {
        self.report.fault(place, key, problem, fix);
    }

    fn file(&mut self, name: &str, text: &str) {
        let sections = match file::parse(name, text) {
            Ok(sections) => sections,
            Err(fault) => return self.report.faults.push(fault),
        };
        for (section, placed) in sections {
            match (TABLES.iter().find(|name| **name == section), placed.value) {
                (Some(name), value) => drop(self.tables.insert(name, Placed { place: placed.place, value })),
                (None, Value::Table(keys)) => keys.into_iter().for_each(|(key, value)| self.key(&section, &key, value)),
                (None, _) => {
                    self.fault(placed.place, &section, "is no section", "write `[section]`, and its keys below")
                }
            }
        }
    }

    fn key(&mut self, section: &str, key: &str, placed: Placed) {
        let name = format!("{section}.{key}");
        match text_of(placed.value) {
            Some(text) => self.give(&name, Given { place: placed.place, text }),
            None => self.fault(placed.place, &name, "is neither a value nor a list of texts", "write `[\"a\", \"b\"]`"),
        }
    }

    fn give(&mut self, name: &str, given: Given) {
        match KEYS.iter().find(|key| key.name == name) {
            Some(key) => drop(self.given.insert(key.name, given)),
            None => {
                let known: Vec<_> = KEYS.iter().map(|key| key.name).chain(TABLES).collect();
                self.fault(given.place, name, "is not a setting", format!("use one of {}", known.join(", ")));
            }
        }
    }

    fn environment(&mut self, variables: &[(String, String)]) {
        for (name, value) in variables.iter().filter(|(name, _)| !FOREIGN_VARIABLES.contains(&name.as_str())) {
            let given = Given { place: format!("environment {name}"), text: value.clone() };
            match KEYS.iter().find(|key| variable(key.name) == *name) {
                Some(key) => drop(self.given.insert(key.name, given)),
                None => self.fault(
                    given.place,
                    name,
                    "is not a setting",
                    "unset it, or see `colloquy serve --help-settings`",
                ),
            }
        }
    }

    /// Parses a setting; a bad value is a fault, and the default goes on so that the others are checked.
    pub(super) fn read<T>(&mut self, name: &'static str, bound: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let default = KEYS.iter().find(|key| key.name == name).map(|key| key.default).unwrap_or_default();
        let Some(given) = self.given.get(name).cloned() else { return parse(default) };
        let parsed = parse(&given.text);
        if parsed.is_none() {
            let problem = format!("{} is not {bound}", shown(&given.text));
            self.fault(given.place, name, problem, format!("write {bound}, for example `{default}`"));
            return parse(default);
        }
        parsed
    }

    /// Reads a section of tables.
    pub(super) fn tables<T>(
        &mut self,
        section: &str,
        read: impl Fn(&mut Report, Option<Placed>, Environment) -> T,
    ) -> T {
        let placed = self.tables.remove(section);
        read(&mut self.report, placed, self.secrets)
    }

    /// Whether a setting is given.
    pub(super) fn gives(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// A setting's text as it holds.
    pub(super) fn value(&self, key: &Key) -> &str {
        self.given.get(key.name).map_or(key.default, |given| &given.text)
    }

    /// Where a setting comes from.
    pub(super) fn place(&self, name: &str) -> String {
        self.given.get(name).map_or_else(|| "default".to_owned(), |given| given.place.clone())
    }
}
