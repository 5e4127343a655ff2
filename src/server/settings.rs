//! Settings: from flags, environment and file, in that order; checked all at once.
//!
//! Every single setting has one row in [`KEYS`]: `section.key` in the file, `COLLOQUY_SECTION_KEY` in the
//! environment. Models and enrichments are tables of the file alone; each kind of table has a shape. A fault names its
//! place, the value, the bound and the fix.

mod conversations;
mod enrichments;
mod fault;
mod file;
mod gate;
mod limits;
mod models;
mod reader;
mod retention;
mod secret;
mod sources;
mod table;
#[cfg(test)]
mod tests;
mod units;

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use colloquy_actors::{ChaosBudget, RetryPolicy, RuntimeSettings, WorldSpec};
use colloquy_gateway::GatewaySettings;
use colloquy_telemetry::Format;
use colloquy_types::{SHARED_TENANT, TenantId};

pub(crate) use self::{fault::Fault, retention::Kept, sources::Sources};
use self::{
    reader::Reader,
    table::{Default as EntryDefault, Shape},
    units::{count, ratio, size, within},
};

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
const KEYS: [Key; 39] = [
    key("listen.grpc", "127.0.0.1:7420", "address of the gRPC gateway; port 0 takes a free one"),
    key("listen.http", "127.0.0.1:7421", "address of /health, /ready and /metrics; port 0 takes a free one"),
    key("store.engine", "journal", "journal, memory or sled"),
    key("store.data_dir", "colloquy-data", "folder of the store; made when absent"),
    key("store.segment", "64 MiB", "size of a journal segment: 1 MiB to 1 GiB"),
    key("store.index_cache", "64 MiB", "memory of the index: 4 MiB to 16 GiB"),
    key(
        "store.compaction_bytes_per_second",
        "8 MiB",
        "how much compaction of the journal may read and write in a second: 0 B, which is only when asked, to 16 GiB",
    ),
    key(
        "store.compaction_dead_ratio",
        "0.3",
        "how much of a journal segment must be dead before it is written anew: 0 to 1",
    ),
    key("limits.in_flight", "4096", "calls in flight: 1 to 65536"),
    key("limits.tenant_in_flight", "4096", "calls in flight of one tenant: 1 to limits.in_flight"),
    key("limits.queue", "512", "calls in flight of one conversation: 1 to limits.in_flight"),
    key("limits.queue_bytes", "64 MiB", "bytes of input of all calls in flight: 1 MiB to 64 GiB"),
    key("limits.tenant_rate", "none", "calls of one tenant that write, such as `100/s, 500 at once`, or none"),
    key("limits.peer_rate", "none", "the same of one peer: an address, or an IPv6 network of 64 bits"),
    key("limits.turns_at_once", "64", "turns carried out at once however busy the cores are: 1 to limits.in_flight"),
    key("limits.wait_target", "10ms", "wait before a conversation above which fewer calls are let in: 1ms to 1m"),
    key("conversations.idle_after", "10m", "how long a conversation may be unused in memory: 1s to 168h"),
    key("conversations.active_max", "100000", "how many conversations may be in memory: 1 to 10000000"),
    key("conversations.memory_max", "1 GiB", "what they may take by their own estimates: 1 MiB to 1024 GiB"),
    key("conversations.activations", "64", "how many conversations may be opened at once: 1 to 4096"),
    key("conversations.restarts", "5", "failures in a window after which one more quarantines: 0 to 100"),
    key("conversations.restart_window", "60s", "time over which failures are counted: 1s to 24h"),
    key("conversations.restart_pause", "100ms", "pause after the second failure; then twice that: 1ms to 1m"),
    key("conversations.restart_pause_max", "5s", "longest pause: conversations.restart_pause to 10m"),
    key("chaos.conversations", "0", "conversations that operators may kill in a minute: 0 to 1000000"),
    key("chaos.supervisors", "0", "supervisors that operators may kill in a minute: 0 to 1000"),
    key("deadlines.turn_default", "10s", "deadline of a turn whose caller names none: 10ms to deadlines.turn_max"),
    key("deadlines.turn_max", "5m", "longest deadline a caller may name: 10ms to 1h"),
    key("deadlines.drain", "20s", "how long ending turns may take at a stop: 0s to 10m"),
    key("gateway.streams_per_connection", "100", "calls that one connection may have open: 1 to 65536"),
    key("gateway.keepalive_interval", "30s", "how often a quiet connection is asked for a sign of life: 1s to 1h"),
    key("gateway.keepalive_timeout", "10s", "how long a peer may take to give it: 1s to 5m"),
    key("log.format", "human", "human or json"),
    key("log.filter", "info", "which log lines, for example `info` or `colloquy_actors=debug,info`"),
    key("flows.folders", "", "folders of flows, separated by commas, beside the built-in examples"),
    key("flows.tenant", "_", "tenant that the folders' flows belong to; `_` shares them with all"),
    key("retry.pause", "100ms", "longest pause before a model or source is tried again; then twice that: 1ms to 1m"),
    key("retry.pause_max", "5s", "longest pause of our own: retry.pause to 10m; what is asked for may be longer"),
    key("retry.attempt_min", "50ms", "shortest time for an attempt; none is begun with less: 1ms to 10s"),
];

/// Every kind of table there is, by where it stands; names in capitals are chosen by who writes the file.
static SHAPES: [(&str, &Shape); 11] = [
    ("retention", &retention::RETENTION),
    ("retention.default", &retention::DEFAULT),
    ("retention.tenants.TENANT", &retention::TENANT),
    ("models.PROVIDER", &models::PROVIDER),
    ("models.PROVIDER.breaker", &gate::BREAKER),
    ("models.PROVIDER.prices.MODEL", &models::PRICES),
    ("models.routes", &models::ROUTES),
    ("enrichments.SOURCE", &enrichments::SOURCE),
    ("enrichments.SOURCE.breaker", &gate::BREAKER),
    ("enrichments.SOURCE.headers.NAME", &secret::VALUE),
    ("enrichments.SOURCE.environment.NAME", &secret::VALUE),
];

/// What `serve` runs with.
#[derive(Clone)]
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
    /// Bytes that compaction may read and write in a second; 0 for none unless it is asked for.
    pub(crate) compaction_bytes_per_second: u64,
    /// How much of a segment must be dead before it is written anew, 0 to 1.
    pub(crate) compaction_dead_ratio: f64,
    /// What is kept, and for how long.
    pub(crate) kept: Kept,
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
    /// Models, sources, and how attempts at them follow each other.
    pub(crate) world: WorldSpec,
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

/// A single tenant or conversation cannot have more calls in flight than the process: such a bound would
/// never be met, and its author expects something that does not happen.
fn part_within_whole(reader: &mut Reader, name: &'static str, part: NonZeroUsize, whole: NonZeroUsize) {
    if part > whole && reader.gives(name) {
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

/// The first pause would be cut to the longest in silence.
fn first_pause_within_longest(reader: &mut Reader, pause: Duration, longest: Duration) {
    if pause > longest {
        let place = reader.place("retry.pause");
        let problem = format!("{pause:?} is longer than retry.pause_max, {longest:?}");
        reader.fault(place, "retry.pause", problem, "lower it, or raise retry.pause_max");
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
            Some(settings) if reader.report.faults.is_empty() => Ok(settings),
            _ => Err(reader.report.faults),
        }
    }

    /// Every setting as it holds and where it comes from, as a settings file.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub(crate) fn print_all(sources: &Sources) -> Result<String, Vec<Fault>> {
        let mut reader = Reader::of(sources);
        let settings = Self::read_from(&mut reader);
        if settings.is_none() || !reader.report.faults.is_empty() {
            return Err(reader.report.faults);
        }
        let (mut text, mut current) = (String::new(), "");
        for key in &KEYS {
            let (section, name) = key.name.split_once('.').unwrap_or_default();
            if section != current {
                text.push_str(if current.is_empty() { "" } else { "\n" });
                text.push_str(&format!("[{section}]\n"));
                current = section;
            }
            let value = table::text(reader.value(key));
            text.push_str(&format!("{name} = {value} # {}\n", reader.place(key.name)));
        }
        for (path, lines) in &reader.report.tables {
            text.push_str(&format!("\n[{path}]\n"));
            text.extend(lines.iter().map(|line| format!("{line}\n")));
        }
        Ok(text)
    }

    fn read_from(reader: &mut Reader) -> Option<Self> {
        let (ten_ms, hour) = (Duration::from_millis(10), Duration::from_secs(3600));
        let address = |text: &str| text.trim().parse::<SocketAddr>().ok();
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
        let compaction_bytes_per_second =
            reader.read("store.compaction_bytes_per_second", "0 B to 16 GiB", size(0..=16 << 30))?;
        let compaction_dead_ratio = reader.read("store.compaction_dead_ratio", "a number from 0 to 1", ratio)?;
        let limits = limits::read(reader)?;
        let runtime = conversations::read(reader)?;
        let budget = |most: u32| move |text: &str| text.trim().parse().ok().filter(|number| *number <= most);
        let chaos = ChaosBudget {
            conversations: NonZeroU32::new(reader.read("chaos.conversations", "0 to 1000000", budget(1_000_000))?),
            supervisors: NonZeroU32::new(reader.read("chaos.supervisors", "0 to 1000", budget(1000))?),
        };
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
        let ms = Duration::from_millis(1);
        let retry = RetryPolicy {
            pause: reader.read("retry.pause", "1ms to 1m", within(ms..=second * 60))?,
            pause_max: reader.read("retry.pause_max", "1ms to 10m", within(ms..=second * 600))?,
            attempt_min: reader.read("retry.attempt_min", "1ms to 10s", within(ms..=second * 10))?,
        };
        let (models, routes) = reader.tables("models", models::read);
        let sources = reader.tables("enrichments", enrichments::read);
        let kept = reader.tables("retention", |report, placed, _| retention::read(report, placed));
        first_pause_within_longest(reader, retry.pause, retry.pause_max);
        default_within_max(reader, turn_default, turn_max);
        addresses_differ(reader, grpc_listen, http_listen);
        let runtime = RuntimeSettings {
            limits,
            chaos,
            turn_deadline_default: turn_default,
            turn_deadline_max: turn_max,
            ..runtime
        };
        Some(Self {
            grpc_listen,
            http_listen,
            engine,
            data_dir,
            segment_bytes,
            index_cache_bytes,
            compaction_bytes_per_second,
            compaction_dead_ratio,
            kept,
            runtime,
            gateway: GatewaySettings { streams_per_connection, keepalive_interval, keepalive_timeout },
            drain,
            log_format,
            log_filter,
            flow_folders,
            flow_tenant,
            world: WorldSpec { models, routes, sources, retry },
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
                reader::variable(key.name)
            ));
        }
        text.push_str("\n# Tables of the file. Names in capitals are yours to choose.\n");
        SHAPES.iter().for_each(|(title, shape)| describe(title, shape, &mut text));
        text
    }
}

/// The keys of one kind of table.
fn describe(title: &str, shape: &Shape, text: &mut String) {
    text.push_str(&format!("\n[{title}]\n"));
    for entry in shape.entries {
        let default = match entry.default {
            EntryDefault::Is(default) => format!("{default:?}"),
            EntryDefault::Nothing(_) => "none".to_owned(),
            EntryDefault::Required(_) => "required".to_owned(),
        };
        let kinds = if entry.kinds.is_empty() { String::new() } else { format!(" ({})", entry.kinds.join(", ")) };
        text.push_str(&format!(
            "{title}.{} = {default}\n    {}\n    {}{kinds}\n",
            entry.name, entry.meaning, entry.bound
        ));
    }
}
