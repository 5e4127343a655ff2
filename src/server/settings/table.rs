//! Tables with entries of one shape each: what they hold, what they lack, and what does not belong there.

use std::collections::BTreeMap;

use colloquy_flow::Redaction;

use super::{
    fault::{Report, shown},
    file::{Placed, Value},
    secret,
};

/// What holds when a key is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Default {
    /// This.
    Is(&'static str),
    /// Nothing; this would be an example.
    Nothing(&'static str),
    /// It must be given, for example like this.
    Required(&'static str),
}

/// A key of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Its name.
    pub(super) name: &'static str,
    /// What holds without it.
    pub(super) default: Default,
    /// What it may be, as it follows "is not".
    pub(super) bound: &'static str,
    /// What it means.
    pub(super) meaning: &'static str,
    /// The kinds of table it is for; none stands for all.
    pub(super) kinds: &'static [&'static str],
}

/// The shape of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Its keys.
    pub(super) entries: &'static [Entry],
    /// The tables in it.
    pub(super) tables: &'static [&'static str],
}

impl Entry {
    /// A key with a default.
    pub(super) const fn is(name: &'static str, is: &'static str, bound: &'static str, meaning: &'static str) -> Self {
        Self { name, default: Default::Is(is), bound, meaning, kinds: &[] }
    }

    /// A key that may be left out.
    pub(super) const fn may(
        name: &'static str,
        like: &'static str,
        bound: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self { name, default: Default::Nothing(like), bound, meaning, kinds: &[] }
    }

    /// A key that must be given.
    pub(super) const fn must(
        name: &'static str,
        like: &'static str,
        bound: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self { name, default: Default::Required(like), bound, meaning, kinds: &[] }
    }

    /// The same for tables of some kinds only.
    pub(super) const fn of(self, kinds: &'static [&'static str]) -> Self {
        Self { kinds, ..self }
    }

    /// What could be written.
    const fn example(&self) -> &'static str {
        match self.default {
            Default::Is(text) | Default::Nothing(text) | Default::Required(text) => text,
        }
    }
}

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Table {
    /// Its name, as its head writes it.
    pub(super) path: String,
    /// Where it begins.
    pub(super) place: String,
    shape: &'static Shape,
    places: BTreeMap<String, String>,
    left: BTreeMap<String, Placed>,
}

/// A key as TOML writes it.
pub(super) fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(bare) { name.to_owned() } else { text(name) }
}

/// A text as TOML writes it.
pub(super) fn text(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}

/// A list of texts as TOML writes it.
pub(super) fn list(values: &[String]) -> String {
    format!("[{}]", values.iter().map(|value| text(value)).collect::<Vec<_>>().join(", "))
}

impl Table {
    /// Begins to read a table; what is none is a fault.
    pub(super) fn open(report: &mut Report, path: String, placed: Placed, shape: &'static Shape) -> Option<Self> {
        let kind = placed.kind();
        let Value::Table(left) = placed.value else {
            let fix = format!("write a table: `[{path}]`, with its keys below");
            report.fault(placed.place, path, format!("is {kind}"), fix);
            return None;
        };
        let places = left.iter().map(|(name, placed)| (name.clone(), placed.place.clone())).collect();
        Some(Self { path, place: placed.place, shape, places, left })
    }

    /// Whether a key is given.
    pub(super) fn gives(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Where a key stands; for one that is not given, where the table does.
    pub(super) fn place_of(&self, name: &str) -> String {
        self.places.get(name).unwrap_or(&self.place).clone()
    }

    /// Tells a fault of one key.
    pub(super) fn fault(&self, report: &mut Report, name: &str, problem: impl Into<String>, fix: impl Into<String>) {
        report.fault(self.place_of(name), format!("{}.{}", self.path, key(name)), problem, fix);
    }

    /// What in the URL under this key is a secret.
    pub(super) fn secret_in_url(&self, name: &str) -> Option<String> {
        match self.left.get(name).map(|placed| &placed.value) {
            Some(Value::Text(url)) => secret::in_url(url),
            _ => None,
        }
    }

    /// Takes a value as it stands; whoever takes it says what is wrong with it.
    pub(super) fn take(&mut self, name: &str) -> Option<Placed> {
        self.left.remove(name)
    }

    /// Notes what a key holds.
    pub(super) fn holds(&self, report: &mut Report, name: &str, value: &str) {
        let place = self.places.get(name).map_or("default", String::as_str);
        report.holds(&self.path, &format!("{} = {value}", key(name)), place);
    }

    fn entry(&self, name: &str) -> Option<&'static Entry> {
        self.shape.entries.iter().find(|entry| entry.name == name)
    }

    /// Says that a value is not what it must be. It is repeated without what looks like a secret.
    fn misfit(&self, report: &mut Report, entry: &Entry, value: &str) {
        let fix = format!("write {}, for example `{}`", entry.bound, entry.example());
        self.fault(report, entry.name, format!("{value} is not {}", entry.bound), fix);
    }

    fn missing(&self, report: &mut Report, entry: &Entry) {
        let fix = format!("write {} = {}: {}", entry.name, text(entry.example()), entry.bound);
        self.fault(report, entry.name, "is missing", fix);
    }

    /// Reads one value. Without a good one the default goes on, so that the other keys are checked too.
    pub(super) fn read<T>(
        &mut self,
        report: &mut Report,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let entry = self.entry(name)?;
        let Some(placed) = self.left.remove(name) else {
            match entry.default {
                Default::Is(default) => {
                    self.holds(report, name, &text(default));
                    return parse(default);
                }
                Default::Nothing(_) => return None,
                Default::Required(_) => {
                    self.missing(report, entry);
                    return None;
                }
            }
        };
        let kind = placed.kind();
        let (Value::Text(given) | Value::Plain(given)) = placed.value else {
            self.misfit(report, entry, kind);
            return self.fallback(name, parse);
        };
        if let Some(parsed) = parse(&given) {
            self.holds(report, name, &text(&given));
            return Some(parsed);
        }
        self.misfit(report, entry, &shown(&given));
        self.fallback(name, parse)
    }

    fn fallback<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        match self.entry(name)?.default {
            Default::Is(default) => parse(default),
            Default::Nothing(_) | Default::Required(_) => None,
        }
    }

    /// Reads a list, or a single value as a list of one; each with its place.
    pub(super) fn list<T>(
        &mut self,
        report: &mut Report,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<(String, T)>> {
        let entry = self.entry(name)?;
        let Some(placed) = self.left.remove(name) else {
            match entry.default {
                Default::Is(default) => {
                    self.holds(report, name, &list(&[default.to_owned()]));
                    return Some(vec![("default".to_owned(), parse(default)?)]);
                }
                Default::Nothing(_) => return None,
                Default::Required(_) => {
                    self.missing(report, entry);
                    return None;
                }
            }
        };
        let items = match placed.value {
            Value::List(items) => items,
            value => vec![Placed { place: placed.place, value }],
        };
        let (mut texts, mut parsed) = (Vec::new(), Vec::new());
        for item in items {
            let kind = item.kind();
            let (Value::Text(given) | Value::Plain(given)) = item.value else {
                self.misfit(report, entry, kind);
                continue;
            };
            match parse(&given) {
                Some(value) => parsed.push((item.place, value)),
                None => self.misfit(report, entry, &shown(&given)),
            }
            texts.push(given);
        }
        self.holds(report, name, &list(&texts));
        Some(parsed)
    }

    /// Opens a table within; one that is not given is empty.
    pub(super) fn table(&mut self, report: &mut Report, name: &str, shape: &'static Shape) -> Option<Self> {
        let path = format!("{}.{}", self.path, key(name));
        let empty = || Placed { place: self.place.clone(), value: Value::Table(BTreeMap::new()) };
        let placed = self.left.remove(name).unwrap_or_else(empty);
        Self::open(report, path, placed, shape)
    }

    /// Takes the entries of a table whose keys are chosen by who writes it.
    pub(super) fn named(&mut self, report: &mut Report, name: &str) -> Vec<(String, Placed)> {
        let Some(placed) = self.left.remove(name) else { return Vec::new() };
        let path = format!("{}.{}", self.path, key(name));
        open_named(report, &path, placed)
    }

    /// Keys that are for tables of another kind say something that does not hold.
    pub(super) fn of_kind(&mut self, report: &mut Report, kind: &str) {
        for entry in self.shape.entries.iter().filter(|entry| !entry.kinds.is_empty() && !entry.kinds.contains(&kind)) {
            if self.left.remove(entry.name).is_some() {
                let problem = format!("is not for `{kind}`, only for {}", entry.kinds.join(" and "));
                self.fault(report, entry.name, problem, "take it away");
            }
        }
    }

    /// What is left does not belong here.
    pub(super) fn finish(mut self, report: &mut Report) {
        let known = self.shape.entries.iter().map(|entry| entry.name).chain(self.shape.tables.iter().copied());
        let known = known.collect::<Vec<_>>().join(", ");
        for name in std::mem::take(&mut self.left).into_keys() {
            if name == "key" || Redaction::default().is_secret(&name) {
                self.fault(report, &name, secret::INLINE, secret::FIX_KEY);
            } else {
                self.fault(report, &name, "is not a setting", format!("use one of {known}"));
            }
        }
    }
}

/// The entries of a table whose keys are chosen by who writes it.
pub(super) fn open_named(report: &mut Report, path: &str, placed: Placed) -> Vec<(String, Placed)> {
    let kind = placed.kind();
    match placed.value {
        Value::Table(entries) => entries.into_iter().collect(),
        _ => {
            report.fault(placed.place, path, format!("is {kind}"), format!("write a table: `[{path}]`"));
            Vec::new()
        }
    }
}
