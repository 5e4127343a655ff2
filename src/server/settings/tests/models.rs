//! Tables of models: what they mean, and every fault with its place, bound and fix.

use std::time::Duration;

use colloquy_actors::{ModelSpec, Prices};
use colloquy_flow::Purpose;
use colloquy_model::Features;

use super::{fault, printed, read, sources};
use crate::settings::Settings;

/// Two providers, one of them with a key and prices.
const TWO: &str = r#"
[models.local]
api = "chat_completions"
url = "http://127.0.0.1:8080/v1"
timeout = "20s"
concurrency = 4
queue = 8

[models.local.breaker]
failures = 2

[models.cloud]
api = "messages"
url = "https://models.example.com"
key_env = "KEY"
json = "instruct"
temperature = 0.5

[models.cloud.prices."large-1.5"]
input = 3
cached = 0.30
output = "15.000001"

[models.routes]
default = ["local/org/small:1b", "cloud/large-1.5"]
respond = ["cloud/large-1.5", "scripted"]
"#;

/// A provider with these keys from the fifth line on, and a route to it.
fn provider(keys: &str) -> String {
    format!("[models.routes]\ndefault = [\"p/m\"]\n[models.p]\napi = \"chat_completions\"\n{keys}\n")
}

fn specs(file: &str) -> (Vec<ModelSpec>, [Vec<String>; 4]) {
    let settings = read(file).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let names = |route: &Vec<std::sync::Arc<str>>| route.iter().map(ToString::to_string).collect();
    (settings.world.models, settings.world.routes.by_purpose.each_ref().map(names))
}

#[test]
fn without_tables_the_scripted_model_answers_everything() {
    for file in ["", "[models]\n", "[models.routes]\ndefault = [\"scripted\"]\n"] {
        let (models, routes) = specs(file);
        assert_eq!(models.iter().map(|model| model.name.as_ref()).collect::<Vec<_>>(), ["scripted"]);
        assert!(routes.iter().all(|route| route == &["scripted"]), "{routes:?}");
    }
}

#[test]
fn providers_routes_and_prices_mean_what_they_say() {
    let (models, routes) = specs(TWO);
    let names: Vec<_> = models.iter().map(|model| model.name.as_ref()).collect();
    assert_eq!(names, ["local/org/small:1b", "cloud/large-1.5", "scripted"]);
    let respond = Purpose::ALL.iter().position(|purpose| *purpose == Purpose::Respond).unwrap();
    for (number, route) in routes.iter().enumerate() {
        let expected = if number == respond { [names[1], names[2]] } else { [names[0], names[1]] };
        assert_eq!(route, &expected);
    }
    let (local, cloud) = (&models[0], &models[1]);
    assert_eq!((local.model.as_deref(), cloud.model.as_deref()), (Some("org/small:1b"), Some("large-1.5")));
    assert_eq!((local.gate.concurrency.get(), local.gate.queue_len_max, local.gate.breaker.failures), (4, 8, 2));
    assert_eq!((local.pace.attempt, local.pace.first_token), (Duration::from_secs(20), Duration::from_secs(10)));
    assert_eq!(local.prices, Prices::default());
    assert_eq!(cloud.prices, Prices { input: 3_000_000, cached: 300_000, output: 15_000_001 });
    assert_eq!(local.adapter.features(), Features { streams: true, json: true, tools: true });
    assert!(!cloud.adapter.features().json, "JSON is asked for in words");
}

#[test]
fn tokens_of_the_cache_cost_as_others_unless_said_otherwise() {
    let prices = "url = \"http://h/v1\"\nprices.m = { input = 2, output = 4 }";
    assert_eq!(specs(&provider(prices)).0[0].prices, Prices { input: 2_000_000, cached: 2_000_000, output: 4_000_000 });
}

/// MI-05: every fault with its place, the bound and the fix.
#[test]
fn faults_of_providers_have_place_bound_and_fix() {
    for (keys, place, key, told) in [
        ("", "3:1", "url", "is missing"),
        ("url = \"ftp://h\"", "5:7", "url", "must be http:// or https://"),
        ("url = \"http://h?a=b\"", "5:7", "url", "no user, query or fragment"),
        ("timeout = \"0s\"", "6:11", "timeout", "`0s` is not 10ms to 1h"),
        ("first_token = \"2h\"", "6:15", "first_token", "`2h` is not 10ms to 1h"),
        ("between_tokens = 5", "6:18", "between_tokens", "`5` is not 10ms to 1h"),
        ("answer_max = \"65 MiB\"", "6:14", "answer_max", "is not 1 KiB to 64 MiB"),
        ("connect_timeout = \"61s\"", "6:19", "connect_timeout", "is not 10ms to 1m"),
        ("idle_timeout = \"0s\"", "6:16", "idle_timeout", "is not 1s to 1h"),
        ("idle_connections = 1025", "6:20", "idle_connections", "is not a number from 0 to 1024"),
        ("concurrency = 0", "6:15", "concurrency", "is not a number from 1 to 4096"),
        ("queue = -1", "6:9", "queue", "is not a number from 0 to 65536"),
        ("json = \"yes\"", "6:8", "json", "is not native or instruct"),
        ("tokens_key = \"tokens\"", "6:14", "tokens_key", "is not max_tokens or max_completion_tokens"),
        ("temperature = nan", "6:15", "temperature", "is not a number from 0 to 2"),
        ("temperature = [1]", "6:15", "temperature", "a list is not a number from 0 to 2"),
        ("key_env = \"COLLOQUY_KEY\"", "6:11", "key_env", "that is no setting of ours"),
        ("key_env = \"ABSENT\"", "6:11", "key_env", "environment variable `ABSENT` is not set"),
        ("key_env = \"EMPTY\"", "6:11", "key_env", "environment variable `EMPTY` is empty"),
        ("key_env = \"BROKEN\"", "6:11", "key_env", "characters that cannot be sent"),
        ("key_file = \"/no/such\"", "6:12", "key_file", "`/no/such` cannot be read"),
        ("key_env = \"KEY\"\nkey_file = \"/x\"", "7:12", "key_file", "stands beside key_env"),
        ("speed = 3", "6:9", "speed", "is not a setting"),
        ("breaker = 3", "6:11", "breaker", "is a single value"),
        ("breaker.failures = 0", "6:20", "breaker.failures", "is not a number from 1 to 1000"),
        ("breaker.open_for = \"61s\"", "6:20", "breaker.open_for", "is longer than open_for_max"),
        ("breaker.open_for_max = \"1s\"", "6:24", "breaker.open_for_max", "is longer than open_for_max"),
        ("breaker.windows = 1", "6:19", "breaker.windows", "is not a setting"),
        ("prices.m = {output = 1}", "6:12", "prices.m.input", "is missing"),
        ("prices.m = {input = \"0.0000001\", output = 1}", "6:21", "prices.m.input", "at most six digits"),
        ("prices.m = {input = -1, output = 1}", "6:21", "prices.m.input", "`-1` is not a number from 0"),
        ("prices.n = {input = 1, output = 1}", "6:12", "prices.n", "no route leads to this model"),
    ] {
        let own_url = keys.is_empty() || keys.starts_with("url");
        let file = provider(&if own_url { keys.to_owned() } else { format!("url = \"http://h/v1\"\n{keys}") });
        let found = fault(&file);
        assert_eq!((found.0, found.1), (format!("c.toml:{place}"), format!("models.p.{key}")), "{keys}");
        assert!(found.2.contains(told) && found.2.contains("\n  fix: "), "{keys}: {}", found.2);
    }
}

#[test]
fn faults_of_routes_have_place_bound_and_fix() {
    let nine: Vec<_> = (0..9).map(|number| format!("\"p/{number}\"")).collect();
    let nine = format!("default = [{}]", nine.join(","));
    for (routes, place, key, told) in [
        (
            "default = [\"q/m\", \"p/m\"]",
            "6:12",
            "default",
            "`q/m` names no provider\n  fix: use one of p, scripted, or",
        ),
        ("default = [\"p\", \"p/m\"]", "6:12", "default", "`p` names no model\n  fix: write `p/MODEL`"),
        (
            "default = [\"p/m\", \"scripted/x\"]",
            "6:19",
            "default",
            "names a model of a script\n  fix: write `scripted`",
        ),
        ("default = [\"p/m\", \"p/m\"]", "6:19", "default", "`p/m` stands here twice"),
        ("default = [\"p/m\"]\nextract = []", "7:11", "extract", "has 0 models, which is not a list of 1 to 8"),
        (&nine, "6:11", "default", "has 9 models"),
        ("default = [\"p/m\"]\nexplain = [\"p/m\"]", "7:11", "explain", "is not a setting"),
        ("default = [\"p/m\", \"\"]", "6:11", "default", "`` is not a list of 1 to 8"),
    ] {
        let file =
            format!("[models.p]\napi = \"chat_completions\"\nurl = \"http://h/v1\"\n\n[models.routes]\n{routes}\n");
        let found = fault(&file);
        assert_eq!((found.0, found.1), (format!("c.toml:{place}"), format!("models.routes.{key}")), "{routes}");
        assert!(found.2.contains(told) && found.2.contains("\n  fix: "), "{routes}: {}", found.2);
    }
}

#[test]
fn a_purpose_without_a_model_and_a_provider_without_a_route_are_faults() {
    let left_out = read("[models.routes]\nrespond = [\"scripted\"]\n").err().unwrap();
    let keys: Vec<_> = left_out.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["models.routes.classify", "models.routes.extract", "models.routes.summarise"]);
    assert!(left_out.iter().all(|fault| fault.place == "c.toml:1:1"), "{left_out:?}");
    let (place, key, told) = fault("\n[models.idle]\napi = \"scripted\"\n");
    assert_eq!((place.as_str(), key.as_str()), ("c.toml:2:1", "models.idle"));
    assert!(told.contains("no route leads to it\n  fix: name it in `[models.routes]`"), "{told}");
}

#[test]
fn a_faulty_provider_is_told_once_and_everything_else_is_told_beside_it() {
    let file = TWO.replace("\"https://models.example.com\"", "\"nowhere\"").replace("failures = 2", "failures = 0");
    let faults = read(&file).err().unwrap();
    let keys: Vec<_> = faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["models.cloud.url", "models.local.breaker.failures"]);
}

#[test]
fn names_of_providers_are_held_to_a_shape_and_scripted_stays_scripted() {
    let (place, key, _) = fault("[models.\"a b\"]\napi = \"scripted\"\n");
    assert_eq!((place.as_str(), key.as_str()), ("c.toml:1:1", "models.\"a b\""));
    let (_, key, told) = fault(
        "[models.scripted]\napi = \"messages\"\nurl = \"http://h\"\n[models.routes]\ndefault = [\"scripted/x\"]\n",
    );
    assert_eq!(key, "models.scripted.api");
    assert!(told.contains("the name of the model that flows script"), "{told}");
    let (_, key, told) = fault(&provider("url = \"http://h\"").replace("chat_completions", "telepathy"));
    assert_eq!(key, "models.p.api");
    assert!(told.contains("`telepathy` is not chat_completions, messages or scripted"), "{told}");
}

#[test]
fn keys_of_another_api_are_faults() {
    let scripted = "[models.p]\napi = \"scripted\"\nurl = \"http://h\"\n[models.routes]\ndefault = [\"p\"]\n";
    assert_eq!(fault(scripted).1, "models.p.url");
    let messages = provider("url = \"http://h\"\ntokens_key = \"max_tokens\"").replace("chat_completions", "messages");
    let (place, key, told) = fault(&messages);
    assert_eq!((place.as_str(), key.as_str()), ("c.toml:6:14", "models.p.tokens_key"));
    assert!(told.contains("is not for `messages`, only for chat_completions\n  fix: take it away"), "{told}");
}

/// CR-02: secrets come from files or the environment, and are never shown.
#[test]
fn a_secret_in_the_file_is_a_fault_that_does_not_repeat_it() {
    const SECRET: &str = "sk-live-0123456789abcdefghij";
    let url = "url = \"http://h/v1\"";
    for (keys, place, key, told) in [
        (format!("{url}\nkey = \"{SECRET}\""), "6:7", "key", "write `key_env = \"NAME\"` or `key_file = \"/path\"`"),
        (format!("{url}\napi_key = \"{SECRET}\""), "6:11", "api_key", "is a secret"),
        (format!("url = \"http://u:{SECRET}@h/v1\""), "5:7", "url", "the user in it is a secret"),
        (format!("url = \"http://h/v1?token={SECRET}\""), "5:7", "url", "`token` in it is a secret"),
        (format!("{url}\njson = \"{SECRET}\""), "6:8", "json", "`[redacted]` is not native or instruct"),
        (format!("{url}\nkey_env = \"{SECRET}\""), "6:11", "key_env", "`[redacted]` is not the name"),
    ] {
        let (found, at, whole) = fault(&provider(&keys));
        assert_eq!((found, at), (format!("c.toml:{place}"), format!("models.p.{key}")), "{keys}");
        assert!(!whole.contains("0123456789abcdefghij") && whole.contains(told), "{whole}");
    }
}

#[test]
fn keys_come_from_files_too_and_their_ends_of_lines_do_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        provider(&format!("url = \"http://h/v1\"\nkey_file = {:?}", path.display().to_string()))
    };
    assert_eq!(specs(&file("good", b"abc\r\n")).0.len(), 1);
    assert!(fault(&file("empty", b"\n")).2.contains("is empty"));
    assert!(fault(&file("binary", &[0xff, 0xfe])).2.contains("cannot be read"));
    assert!(fault(&file("large", &[b'a'; (16 << 10) + 1])).2.contains("has more than 16 KiB"));
    assert_eq!(specs(&file("largest", &[b'a'; 16 << 10])).0.len(), 1);
}

#[test]
fn what_is_printed_of_models_says_the_same_and_no_secret() {
    let printed_once = printed(TWO);
    let text = printed_once.join("\n");
    for line in [
        "[models.cloud.prices.\"large-1.5\"]",
        "cached = \"0.30\"",
        "key_env = \"KEY\"",
        "idle_timeout = \"30s\"",
        "default = [\"local/org/small:1b\", \"cloud/large-1.5\"]",
    ] {
        assert!(printed_once.iter().any(|printed| printed == line), "{line} is missing in {text}");
    }
    assert!(!text.contains("sk-test"), "{text}");
    assert_eq!(printed(&text), printed_once);
    let placed = Settings::print_all(&sources(TWO)).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert!(placed.contains("failures = \"2\" # c.toml:10:12"), "{placed}");
    assert!(placed.contains("open_for = \"2s\" # default"), "{placed}");
}
