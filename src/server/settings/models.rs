//! Models: providers, what their tokens cost, and which of them are asked for what.
//!
//! A model is named `provider/model`, or `provider` alone where the provider is scripted. It exists because a route
//! names it. Adapters are made here, once, so that what they refuse is told with everything else.

mod adapter;
mod routes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use colloquy_actors::{GatePolicy, ModelSpec, Pace, Prices, Routes};
use colloquy_model::{Model, Scripted};

use self::routes::Route;
pub(super) use self::{adapter::url, routes::ROUTES};
use super::{
    fault::Report,
    file::Placed,
    gate,
    secret::{FILE, VARIABLE},
    sources::Environment,
    table::{self, Entry, Shape, Table},
    units,
};

/// The provider that needs no table.
const SCRIPTED: &str = "scripted";
/// The table that is no provider.
const ROUTES_NAME: &str = "routes";
/// Longest name of a provider.
const NAME_BYTES_MAX: usize = 64;

/// The kinds of provider that are reached over HTTP.
const REMOTE: &[&str] = &["chat_completions", "messages"];

/// What a provider's table holds.
pub(super) static PROVIDER: Shape = Shape {
    entries: &[
        Entry::must("api", "chat_completions", "chat_completions, messages or scripted", "what the provider speaks"),
        Entry::must(
            "url",
            "http://127.0.0.1:8080/v1",
            "a URL of http or https without user, query and fragment",
            "where it is: with its version for chat_completions, without for messages",
        )
        .of(REMOTE),
        Entry::may("key_env", "PROVIDER_KEY", VARIABLE, "the environment variable that holds the key").of(REMOTE),
        Entry::may("key_file", "/run/secrets/key", FILE, "the file that holds the key, instead").of(REMOTE),
        Entry::is("timeout", "30s", "10ms to 1h", "the longest one attempt may take"),
        Entry::is("first_token", "10s", "10ms to 1h", "the longest wait for the first token of a streamed answer"),
        Entry::is(
            "between_tokens",
            "5s",
            "10ms to 1h",
            "the longest wait between two tokens, or two parts of an answer",
        ),
        Entry::is("answer_max", "4 MiB", "1 KiB to 64 MiB", "the largest response, its framing among it"),
        Entry::is("connect_timeout", "2s", "10ms to 1m", "the longest wait for a connection, TLS among it").of(REMOTE),
        Entry::is("idle_timeout", "30s", "1s to 1h", "how long an unused connection is kept").of(REMOTE),
        Entry::is("idle_connections", "32", "a number from 0 to 1024", "unused connections that are kept").of(REMOTE),
        gate::CONCURRENCY,
        gate::QUEUE,
        Entry::is("json", "native", "native or instruct", "how JSON is asked for: by the API's own means, or in words")
            .of(REMOTE),
        Entry::is(
            "tokens_key",
            "max_tokens",
            "max_tokens or max_completion_tokens",
            "how the longest answer is named; newer models of OpenAI want the second",
        )
        .of(&["chat_completions"]),
        Entry::may("temperature", "0.2", "a number from 0 to 2", "the sampling temperature; else the provider's own")
            .of(REMOTE),
    ],
    tables: &["breaker", "prices"],
};

/// What a model's tokens cost.
pub(super) static PRICES: Shape = Shape {
    entries: &[
        Entry::must("input", "0.15", PRICE, "what a million tokens read cost, in a currency of your choice"),
        Entry::may("cached", "0.075", PRICE, "the same of those the provider had in its cache; else as `input`"),
        Entry::must("output", "0.60", PRICE, "what a million tokens written cost"),
    ],
    tables: &[],
};

const PRICE: &str = "a number from 0 to 1000000 with at most six digits after the point";

/// A provider that is set up.
struct Provider {
    /// Where its table begins.
    place: String,
    scripted: bool,
    adapter: Arc<dyn Model>,
    gate: GatePolicy,
    pace: Pace,
    /// By model, with the place.
    prices: BTreeMap<String, (String, Prices)>,
}

/// Reads every provider and the routes to them.
pub(super) fn read(report: &mut Report, placed: Option<Placed>, environment: Environment) -> (Vec<ModelSpec>, Routes) {
    let mut tables: BTreeMap<_, _> =
        placed.map(|placed| table::open_named(report, "models", placed)).unwrap_or_default().into_iter().collect();
    let routes = routes::read(report, tables.remove(ROUTES_NAME));
    let mut providers = BTreeMap::new();
    // What is wrong with a provider is told once: routes that lead to it are not wrong because of that.
    let mut faulty = Vec::new();
    for (name, placed) in tables {
        match named_well(report, &name, &placed).then(|| provider(report, &name, placed, environment)).flatten() {
            Some(provider) => drop(providers.insert(name, provider)),
            None => faulty.push(name),
        }
    }
    if !faulty.iter().any(|name| name == SCRIPTED) {
        providers.entry(SCRIPTED.to_owned()).or_insert_with(built_in);
    }
    let (mut specs, mut by_purpose): (Vec<ModelSpec>, [Vec<Arc<str>>; 4]) = Default::default();
    let mut looked_at = BTreeSet::new();
    for (purpose, route) in by_purpose.iter_mut().zip(&routes) {
        for Route { place, key, model } in route {
            // The default stands for several purposes, and is told of once.
            let first = looked_at.insert(place);
            if first && specs.iter().all(|spec| *spec.name != **model) {
                specs.extend(spec(report, (place, key, model), &providers, &faulty));
            }
            purpose.push(model.as_str().into());
        }
    }
    every_provider_is_asked(report, &providers, &routes);
    (specs, Routes { by_purpose })
}

/// The scripted model of flows that have no other.
fn built_in() -> Provider {
    Provider {
        place: String::new(),
        scripted: true,
        adapter: Arc::new(Scripted::new(SCRIPTED.into())),
        gate: GatePolicy::default(),
        pace: Pace::default(),
        prices: BTreeMap::new(),
    }
}

/// Names stand before a `/` in routes, and in metrics.
fn named_well(report: &mut Report, name: &str, placed: &Placed) -> bool {
    let well = is_name(name);
    if !well {
        let fix = "use 1 to 64 letters, digits, `_` and `-`";
        report.fault(&placed.place, format!("models.{}", table::key(name)), "is no name of a provider", fix);
    }
    well
}

/// Whether providers and sources may have this name.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits)
}

fn provider(report: &mut Report, name: &str, placed: Placed, environment: Environment) -> Option<Provider> {
    let mut table = Table::open(report, format!("models.{name}"), placed, &PROVIDER)?;
    let api = table.read(report, "api", adapter::Api::parse);
    let Some(api) = api else {
        // Which other keys belong here depends on it.
        return None;
    };
    table.of_kind(report, api.name());
    only_scripts_are_called_scripted(&table, report, name, api);
    let (ten_ms, hour) = (Duration::from_millis(10), Duration::from_secs(3600));
    let attempt = table.read(report, "timeout", units::within(ten_ms..=hour));
    let first_token = table.read(report, "first_token", units::within(ten_ms..=hour));
    let between_tokens = table.read(report, "between_tokens", units::within(ten_ms..=hour));
    let bytes_max = table.read(report, "answer_max", units::size(1 << 10..=64 << 20));
    let gate = gate::read(&mut table, report);
    let adapter = adapter::make(&mut table, report, (name, api), environment);
    let prices = prices(&mut table, report);
    let place = table.place.clone();
    table.finish(report);
    let pace = Pace {
        attempt: attempt?,
        first_token: first_token?,
        between_tokens: between_tokens?,
        bytes_max: usize::try_from(bytes_max?).ok()?,
    };
    let scripted = api == adapter::Api::Scripted;
    Some(Provider { place, scripted, adapter: adapter?, gate: gate?, pace, prices })
}

/// Whoever reads a route that ends with `scripted` relies on it to cost nothing and to reach nobody.
fn only_scripts_are_called_scripted(table: &Table, report: &mut Report, name: &str, api: adapter::Api) {
    if name == SCRIPTED && api != adapter::Api::Scripted {
        let problem = format!("is `{}`, but `{SCRIPTED}` is the name of the model that flows script", api.name());
        table.fault(report, "api", problem, "choose another name for the provider");
    }
}

fn prices(table: &mut Table, report: &mut Report) -> BTreeMap<String, (String, Prices)> {
    let path = format!("{}.prices", table.path);
    let mut prices = BTreeMap::new();
    for (model, placed) in table.named(report, "prices") {
        let Some(mut table) = Table::open(report, format!("{path}.{}", table::key(&model)), placed, &PRICES) else {
            continue;
        };
        let input = table.read(report, "input", units::micros);
        let cached = table.read(report, "cached", units::micros);
        let output = table.read(report, "output", units::micros);
        let place = table.place.clone();
        table.finish(report);
        if let (Some(input), Some(output)) = (input, output) {
            let cached = cached.unwrap_or(input);
            prices.insert(model, (place, Prices { input, cached, output }));
        }
    }
    prices
}

/// What a route leads to.
fn spec(
    report: &mut Report,
    (place, key, model): (&str, &str, &str),
    providers: &BTreeMap<String, Provider>,
    faulty: &[String],
) -> Option<ModelSpec> {
    let (provider_name, model_name) = model.split_once('/').map_or((model, None), |(name, model)| (name, Some(model)));
    if faulty.iter().any(|name| name == provider_name) {
        return None;
    }
    let Some(provider) = providers.get(provider_name) else {
        let known: Vec<_> = providers.keys().map(String::as_str).collect();
        let fix = format!("use one of {}, or add `[models.{provider_name}]`", known.join(", "));
        report.fault(place, key, format!("`{model}` names no provider"), fix);
        return None;
    };
    match (provider.scripted, model_name) {
        (true, Some(_)) => {
            report.fault(
                place,
                key,
                format!("`{model}` names a model of a script"),
                format!("write `{provider_name}`"),
            );
            return None;
        }
        (false, None) => {
            let fix = format!("write `{provider_name}/MODEL`, with a model that the provider has");
            report.fault(place, key, format!("`{model}` names no model"), fix);
            return None;
        }
        _ => {}
    }
    Some(ModelSpec {
        name: model.into(),
        model: model_name.map(Arc::from),
        adapter: Arc::clone(&provider.adapter),
        gate: provider.gate,
        pace: provider.pace,
        prices: model_name.and_then(|name| provider.prices.get(name)).map(|(_, prices)| *prices).unwrap_or_default(),
    })
}

/// A provider or a price that no route leads to is misspelt there or here: its author expects something that does
/// not happen.
fn every_provider_is_asked(report: &mut Report, providers: &BTreeMap<String, Provider>, routes: &routes::Purposes) {
    let named: Vec<&str> = routes.iter().flatten().map(|route| route.model.as_str()).collect();
    for (name, provider) in providers.iter().filter(|(_, provider)| !provider.place.is_empty()) {
        let asked = |model: &&str| *model == name.as_str() || model.split('/').next() == Some(name);
        if !named.iter().any(asked) {
            let fix = format!(
                "name it in `[models.{ROUTES_NAME}]`, for example `default = [\"{name}/MODEL\"]`, or take it away"
            );
            report.fault(&provider.place, format!("models.{name}"), "no route leads to it", fix);
            continue;
        }
        for (model, (place, _)) in &provider.prices {
            if !named.contains(&format!("{name}/{model}").as_str()) {
                let key = format!("models.{name}.prices.{}", table::key(model));
                let fix = format!("name `{name}/{model}` in `[models.{ROUTES_NAME}]`, or take its prices away");
                report.fault(place, key, "no route leads to this model", fix);
            }
        }
    }
}
