//! Settings: from flags, environment and file, in that order; checked all at once.
//!
//! Every setting has one row in [`KEYS`]: `section.key` in the file, `COLLOQUY_SECTION_KEY` in the
//! environment. A fault names its place, the value, the bound and the fix.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use colloquy_actors::{Limits, RuntimeSettings};
use colloquy_gateway::GatewaySettings;
use colloquy_telemetry::Format;
use colloquy_types::{SHARED_TENANT, TenantId};
use toml::Spanned;

/// A setting: its name, default, and meaning.
struct Key {
    name: &'static str,
    default: &'static str,
    meaning: &'static str,
}

const fn key(name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { name, default, meaning }
}

/// Every setting there is.
const KEYS: [Key; 19] = [
    key("listen.grpc", "127.0.0.1:7420", "address of the gRPC gateway; port 0 takes a free one"),
    key("listen.http", "127.0.0.1:7421", "address of /health, /ready and /metrics; port 0 takes a free one"),
    key("store.engine", "journal", "journal, memory or sled"),
    key("store.data_dir", "colloquy-data", "folder of the store; made when absent"),
    key("store.segment", "64 MiB", "size of a journal segment: 1 MiB to 1 GiB"),
    key("store.index_cache", "64 MiB", "memory of the index: 4 MiB to 16 GiB"),
    key("limits.in_flight", "4096", "calls in flight: 1 to 65536"),
    key("limits.tenant_in_flight", "4096", "calls in flight of one tenant: 1 to limits.in_flight"),
    key("limits.queue", "512", "calls in flight of one conversation: 1 to limits.in_flight"),
    key("deadlines.turn_default", "10s", "deadline of a turn whose caller names none: 10ms to deadlines.turn_max"),
    key("deadlines.turn_max", "5m", "longest deadline a caller may name: 10ms to 1h"),
    key("deadlines.drain", "20s", "how long ending turns may take at a stop: 0s to 10m"),
    key("gateway.streams_per_connection", "1024", "calls that one connection may have open: 1 to 65536"),
    key("gateway.keepalive_interval", "30s", "how often a quiet connection is asked for a sign of life: 1s to 1h"),
    key("gateway.keepalive_timeout", "10s", "how long a peer may take to give it: 1s to 5m"),
    key("log.format", "human", "human or json"),
    key("log.filter", "info", "which log lines, for example `info` or `colloquy_actors=debug,info`"),
    key("flows.folders", "", "folders of flows, separated by commas, beside the built-in examples"),
    key("flows.tenant", "_", "tenant that the folders' flows belong to; `_` shares them with all"),
];

/// What `serve` runs with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Address of the gRPC gateway.
    pub(crate) grpc_listen: SocketAddr,
    /// Address of the operator's HTTP.
    pub(crate) http_listen: SocketAddr,
    /// Which store.
    pub(crate) engine: Engine,
    /// Its folder.
    pub(crate) data_dir: PathBuf,
    /// Size of a journal segment, in bytes.
    pub(crate) segment_bytes: u64,
    /// Memory of the index, in bytes.
    pub(crate) index_cache_bytes: u64,
    /// The runtime's.
    pub(crate) runtime: RuntimeSettings,
    /// The edge's.
    pub(crate) gateway: GatewaySettings,
    /// How long ending turns may take at a stop.
    pub(crate) drain: Duration,
    /// How log lines look.
    pub(crate) log_format: Format,
    /// Which log lines.
    pub(crate) log_filter: String,
    /// Folders of flows.
    pub(crate) flow_folders: Vec<PathBuf>,
    /// Whose flows they are.
    pub(crate) flow_tenant: TenantId,
}

/// The store's engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// The segmented turn log.
    Journal,
    /// Memory only; everything is gone at the end.
    Memory,
    /// sled alone, for comparison.
    Sled,
}

/// What is wrong with one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// `file:line:column`, the environment variable, or the flag.
    pub(crate) place: String,
    /// The setting.
    pub(crate) key: String,
    /// What is wrong, with the value.
    pub(crate) problem: String,
    /// What to write instead.
    pub(crate) fix: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}\n  fix: {}", self.place, self.key, self.problem, self.fix)
    }
}

/// A value and where it came from.
#[derive(Clone, Debug)]
struct Given {
    place: String,
    text: String,
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
        Ok(Self { file, environment, flags: Vec::new() })
    }
}

/// Variables that belong to the command line, not to settings.
const FOREIGN_VARIABLES: [&str; 3] = ["COLLOQUY_ADDR", "COLLOQUY_TENANT", "COLLOQUY_CONFIG"];

/// Collects values and faults.
struct Reader {
    given: BTreeMap<&'static str, Given>,
    faults: Vec<Fault>,
}

fn variable(name: &str) -> String {
    format!("COLLOQUY_{}", name.replace('.', "_").to_uppercase())
}

fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    (before.matches('\n').count() + 1, before.rsplit('\n').next().unwrap_or_default().chars().count() + 1)
}

impl Reader {
    /// Takes in what the sources give, the weakest first.
    fn of(sources: &Sources) -> Self {
        let mut reader = Self { given: BTreeMap::new(), faults: Vec::new() };
        if let Some((name, text)) = &sources.file {
            reader.file(name, text);
        }
        reader.environment(&sources.environment);
        for (name, flag, value) in &sources.flags {
            reader.give(name, Given { place: format!("flag {flag}"), text: value.clone() });
        }
        reader
    }

    fn fault(&mut self, place: String, key: &str, problem: impl Into<String>, fix: impl Into<String>) {
        self.faults.push(Fault { place, key: key.to_owned(), problem: problem.into(), fix: fix.into() });
    }

    fn file(&mut self, name: &str, text: &str) {
        type Sections = BTreeMap<String, BTreeMap<String, Spanned<toml::Value>>>;
        let sections: Sections = match toml::from_str(text) {
            Ok(sections) => sections,
            Err(error) => {
                let (line, column) = line_and_column(text, error.span().map_or(0, |span| span.start));
                let problem = error.message().replace('\n', " ");
                return self.fault(
                    format!("{name}:{line}:{column}"),
                    "file",
                    problem,
                    "write `[section]` and `key = \"value\"`",
                );
            }
        };
        for (section, keys) in sections {
            for (key, value) in keys {
                let (line, column) = line_and_column(text, value.span().start);
                let place = format!("{name}:{line}:{column}");
                let text = match value.into_inner() {
                    toml::Value::String(text) => text,
                    toml::Value::Array(values) => match values
                        .iter()
                        .map(toml::Value::as_str)
                        .collect::<Option<Vec<_>>>()
                    {
                        Some(texts) => texts.join(","),
                        None => {
                            let key = format!("{section}.{key}");
                            self.fault(place, &key, "an array of something else than texts", "write `[\"a\", \"b\"]`");
                            continue;
                        }
                    },
                    other => other.to_string(),
                };
                self.give(&format!("{section}.{key}"), Given { place, text });
            }
        }
    }

    fn give(&mut self, name: &str, given: Given) {
        match KEYS.iter().find(|key| key.name == name) {
            Some(key) => drop(self.given.insert(key.name, given)),
            None => {
                let known: Vec<_> = KEYS.iter().map(|key| key.name).collect();
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
    fn read<T>(&mut self, name: &'static str, bound: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let default = KEYS.iter().find(|key| key.name == name).map(|key| key.default).unwrap_or_default();
        let Some(given) = self.given.get(name).cloned() else { return parse(default) };
        let parsed = parse(&given.text);
        if parsed.is_none() {
            let problem = format!("`{}` is not {bound}", given.text);
            self.fault(given.place, name, problem, format!("write {bound}, for example `{default}`"));
            return parse(default);
        }
        parsed
    }

    fn place(&self, name: &str) -> String {
        self.given.get(name).map_or_else(|| "default".to_owned(), |given| given.place.clone())
    }
}

/// A number of bytes: `64 MiB`, `512 KiB`, `1048576`.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text.get(digits.len()..)?.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// A duration: `250ms`, `10s`, `5m`, `1h`.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.parse().ok()?;
    match text.get(digits.len()..)?.trim() {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        _ => None,
    }
}

fn count(text: &str) -> Option<NonZeroUsize> {
    text.trim().parse().ok().filter(|count: &NonZeroUsize| count.get() <= 65536)
}

/// A single tenant or conversation cannot have more calls in flight than the process: such a bound would
/// never be met, and its author expects something that does not happen.
fn part_within_whole(reader: &mut Reader, name: &'static str, part: NonZeroUsize, whole: NonZeroUsize) {
    if part > whole && reader.given.contains_key(name) {
        let place = reader.place(name);
        reader.fault(
            place,
            name,
            format!("{part} is more than limits.in_flight, {whole}"),
            "lower it, or raise limits.in_flight",
        );
    }
}

/// A default beyond the maximum would be cut to it in silence.
fn default_within_max(reader: &mut Reader, default: Duration, max: Duration) {
    if default > max {
        let place = reader.place("deadlines.turn_default");
        let problem = format!("{default:?} is longer than deadlines.turn_max, {max:?}");
        reader.fault(place, "deadlines.turn_default", problem, "lower it, or raise deadlines.turn_max");
    }
}

/// Two servers cannot share an address.
fn addresses_differ(reader: &mut Reader, grpc: SocketAddr, http: SocketAddr) {
    if grpc == http && grpc.port() != 0 {
        let place = reader.place("listen.http");
        reader.fault(place, "listen.http", format!("{http} is also listen.grpc"), "choose another port");
    }
}

impl Settings {
    /// Reads and checks every setting.
    ///
    /// # Errors
    /// All faults at once.
    pub(crate) fn read(sources: &Sources) -> Result<Self, Vec<Fault>> {
        let mut reader = Reader::of(sources);
        let settings = Self::read_from(&mut reader);
        match settings {
            Some(settings) if reader.faults.is_empty() => Ok(settings),
            _ => Err(reader.faults),
        }
    }

    /// Every setting as it holds and where it comes from, as a settings file.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub(crate) fn print_all(sources: &Sources) -> Result<String, Vec<Fault>> {
        Self::read(sources)?;
        let reader = Reader::of(sources);
        let (mut text, mut current) = (String::new(), "");
        for key in &KEYS {
            let (section, name) = key.name.split_once('.').unwrap_or_default();
            if section != current {
                text.push_str(if current.is_empty() { "" } else { "\n" });
                text.push_str(&format!("[{section}]\n"));
                current = section;
            }
            let value = reader.given.get(key.name).map_or(key.default, |given| &given.text);
            let value = toml::Value::String(value.to_owned());
            text.push_str(&format!("{name} = {value} # {}\n", reader.place(key.name)));
        }
        Ok(text)
    }

    fn read_from(reader: &mut Reader) -> Option<Self> {
        let within = |range: std::ops::RangeInclusive<Duration>| {
            move |text: &str| duration(text).filter(|duration| range.contains(duration))
        };
        let (ten_ms, hour) = (Duration::from_millis(10), Duration::from_secs(3600));
        let address = |text: &str| text.trim().parse::<SocketAddr>().ok();
        let size =
            |range: std::ops::RangeInclusive<u64>| move |text: &str| bytes(text).filter(|bytes| range.contains(bytes));
        let grpc_listen = reader.read("listen.grpc", "an address and port", address)?;
        let http_listen = reader.read("listen.http", "an address and port", address)?;
        let engine = reader.read("store.engine", "journal, memory or sled", |text| match text.trim() {
            "journal" => Some(Engine::Journal),
            "memory" => Some(Engine::Memory),
            "sled" => Some(Engine::Sled),
            _ => None,
        })?;
        let data_dir = reader.read("store.data_dir", "a folder", |text| (!text.is_empty()).then(|| text.into()))?;
        let segment_bytes = reader.read("store.segment", "1 MiB to 1 GiB", size(1 << 20..=1 << 30))?;
        let index_cache_bytes = reader.read("store.index_cache", "4 MiB to 16 GiB", size(4 << 20..=16 << 30))?;
        let in_flight_max = reader.read("limits.in_flight", "a number from 1 to 65536", count)?;
        let tenant_in_flight_max = reader.read("limits.tenant_in_flight", "a number from 1 to 65536", count)?;
        let queue_len_max = reader.read("limits.queue", "a number from 1 to 65536", count)?;
        let turn_max = reader.read("deadlines.turn_max", "10ms to 1h", within(ten_ms..=hour))?;
        let turn_default = reader.read("deadlines.turn_default", "10ms to 1h", within(ten_ms..=hour))?;
        let drain = reader.read("deadlines.drain", "0s to 10m", within(Duration::ZERO..=Duration::from_secs(600)))?;
        let streams_per_connection =
            reader.read("gateway.streams_per_connection", "a number from 1 to 65536", |text| {
                count(text).and_then(|count| u32::try_from(count.get()).ok())
            })?;
        let second = Duration::from_secs(1);
        let keepalive_interval = reader.read("gateway.keepalive_interval", "1s to 1h", within(second..=hour))?;
        let keepalive_timeout = reader.read("gateway.keepalive_timeout", "1s to 5m", within(second..=second * 300))?;
        let log_format = reader.read("log.format", "human or json", |text| match text.trim() {
            "human" => Some(Format::Human),
            "json" => Some(Format::Json),
            _ => None,
        })?;
        let log_filter = reader.read("log.filter", "a log filter", |text| Some(text.to_owned()))?;
        let folders =
            |text: &str| Some(text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(PathBuf::from).collect());
        let flow_folders = reader.read("flows.folders", "folders", folders)?;
        let tenant = |text: &str| {
            if text == SHARED_TENANT { Some(TenantId::shared()) } else { TenantId::parse(text).ok() }
        };
        let flow_tenant = reader.read("flows.tenant", "a tenant, or `_`", tenant)?;
        part_within_whole(reader, "limits.tenant_in_flight", tenant_in_flight_max, in_flight_max);
        part_within_whole(reader, "limits.queue", queue_len_max, in_flight_max);
        default_within_max(reader, turn_default, turn_max);
        addresses_differ(reader, grpc_listen, http_listen);
        let runtime = RuntimeSettings {
            limits: Limits { in_flight_max, tenant_in_flight_max, queue_len_max },
            turn_deadline_default: turn_default,
            turn_deadline_max: turn_max,
            ..RuntimeSettings::default()
        };
        Some(Self {
            grpc_listen,
            http_listen,
            engine,
            data_dir,
            segment_bytes,
            index_cache_bytes,
            runtime,
            gateway: GatewaySettings { streams_per_connection, keepalive_interval, keepalive_timeout },
            drain,
            log_format,
            log_filter,
            flow_folders,
            flow_tenant,
        })
    }

    /// All settings with their meaning, default and environment variable, as text.
    pub(crate) fn describe_all() -> String {
        let mut text = String::from("Settings, by their place in the file ([section] key), with their defaults:\n\n");
        for key in &KEYS {
            text.push_str(&format!(
                "{} = {:?}\n    {}\n    environment: {}\n",
                key.name,
                key.default,
                key.meaning,
                variable(key.name)
            ));
        }
        text
    }
}
