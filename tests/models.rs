//! `models check`: what it tells of models and sources that are well, down, refusing and misspelt.

use std::{fs, path::Path, process::Output, time::Instant};

use colloquy_client::{Key, Turn};
use serde_json::Value;

use crate::{
    harness::{DEADLINE, Place, Server, run, run_with, stderr, stdout},
    peer::{Peer, nobody, response},
};

/// A key that must never be seen.
const KEY: &str = "sk-test-0123456789abcdefghij";

/// A model that answers as a good one does: JSON where a schema is given, else a stream.
fn good_model() -> Peer {
    Peer::start(|request| {
        let body: Value = serde_json::from_str(request.split_once("\r\n\r\n")?.1).ok()?;
        if body["stream"] == true {
            let events = [
                r#"{"model":"m","choices":[{"index":0,"delta":{"content":"Hello"}}]}"#,
                r#"{"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
                r#"{"model":"m","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1}}"#,
                "[DONE]",
            ];
            let events: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
            return response("200 OK", "text/event-stream", &events);
        }
        whole(r#"{\"colour\":\"green\"}"#)
    })
}

/// An answer that is not streamed.
fn whole(text: &str) -> Option<Vec<u8>> {
    let body = format!(
        r#"{{"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":9,"completion_tokens":5}}}}"#
    );
    response("200 OK", "application/json", &body)
}

fn provider(name: &str, base: &str, keys: &str) -> String {
    format!("[models.{name}]\napi = \"chat_completions\"\nurl = \"{base}\"\n{keys}\n")
}

fn default_route(models: &[&str]) -> String {
    format!("[models.routes]\ndefault = {models:?}\n")
}

fn check(place: &Place, settings: &str, flags: &[&str]) -> Output {
    let file = place.path().join("colloquy.toml");
    fs::write(&file, settings).unwrap();
    let arguments = [&["models", "check", "--config", file.to_str().unwrap()], flags].concat();
    run_with(&arguments, &[("PROVIDER_KEY", KEY)])
}

/// What was found, one JSON object a line.
fn found(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A server of tools over standard input and output.
const TOOLS: &str = r#"while IFS= read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9][0-9]*\).*/\1/p')
  case $line in
    *'"method":"initialize"'*) result='{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"t","version":"1"}}' ;;
    *'"method":"tools/list"'*) result='{"tools":[{"name":"lookup","inputSchema":{"type":"object"}},{"name":"drop","inputSchema":{"type":"object"}}]}' ;;
    *'"method":"tools/call"'*) echo called >>"$NOTES"; result='{"content":[]}' ;;
    *) continue ;;
  esac
  printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"
done
"#;

fn tools(folder: &Path, allowed: &[&str]) -> String {
    let (script, notes) = (folder.join("tools.sh"), folder.join("notes"));
    fs::write(&script, TOOLS).unwrap();
    format!(
        "[enrichments.stock]\nkind = \"mcp\"\ncommand = [\"sh\", {script:?}]\ntools = {allowed:?}\nenvironment.NOTES = {notes:?}\n"
    )
}

/// BO-03: what a conversation depends on can be checked before anybody talks.
#[test]
fn models_and_sources_that_are_well_are_told_with_what_they_can() {
    let (place, model) = (Place::new(), good_model());
    let api = Peer::start(|_| response("200 OK", "text/plain", "fine"));
    let base = format!("http://{}/v1", model.address);
    let settings = [
        provider("local", &base, "key_env = \"PROVIDER_KEY\""),
        default_route(&["local/small", "scripted"]),
        tools(place.path(), &["lookup"]),
        format!(
            "[enrichments.crm]\nkind = \"http\"\nurl = \"http://{0}/c/{{id}}\"\nmethod = \"DELETE\"\ncheck = \"http://{0}/health\"\nprivate_networks = true\n",
            api.address
        ),
    ];
    let checked = check(&place, &settings.concat(), &["--json"]);
    assert_eq!(checked.status.code(), Some(0), "{}{}", stdout(&checked), stderr(&checked));
    let found = found(&checked);
    let names: Vec<_> =
        found.iter().map(|one| (one["kind"].as_str().unwrap(), one["name"].as_str().unwrap())).collect();
    assert_eq!(names, [("model", "local/small"), ("model", "scripted"), ("source", "crm"), ("source", "stock")]);
    let features = &found[0]["features"];
    assert!(["json_schema", "streaming", "usage"].iter().all(|feature| features[feature] == true), "{found:#?}");
    assert!(found[0]["latency_ms"].as_f64().unwrap() > 0.0 && found[0]["first_token_ms"].as_f64().unwrap() > 0.0);
    assert!(found[2]["latency_ms"].as_f64().unwrap() > 0.0);
    let tools = found[3]["tools"].as_array().unwrap();
    let tools: Vec<_> = tools.iter().map(|tool| (tool["name"].as_str().unwrap(), tool["allowed"] == true)).collect();
    assert_eq!(tools, [("drop", false), ("lookup", true)]);
    let asked = model.seen();
    assert_eq!(asked.len(), 2, "once by schema, once streamed");
    assert!(asked.iter().all(|request| request.contains(&format!("Bearer {KEY}")) && request.contains("\"small\"")));
    assert!(api.seen().iter().all(|request| request.starts_with("GET /health ")), "nothing is changed in the world");
    assert!(!place.path().join("notes").exists(), "no tool is called");
    assert!(!stdout(&checked).contains(KEY));
}

#[test]
fn what_is_down_is_told_with_the_fix() {
    let place = Place::new();
    let settings = [
        provider("local", &format!("http://{}/v1", nobody()), ""),
        default_route(&["local/small"]),
        format!("[enrichments.crm]\nkind = \"http\"\nurl = \"http://{}/\"\nprivate_networks = true\n", nobody()),
        "[enrichments.stock]\nkind = \"mcp\"\ncommand = [\"no-such-program\"]\ntools = [\"a\"]\n".to_owned(),
    ];
    let checked = check(&place, &settings.concat(), &[]);
    assert_eq!(checked.status.code(), Some(1), "{}", stderr(&checked));
    let told = stdout(&checked);
    for expected in [
        "model local/small wrong\n  no connection to the provider: connection refused\n  fix: start the server, or correct `models.local.url`\n",
        "source crm wrong\n  the source cannot be reached: no connection came about\n  fix: start the server, or correct `enrichments.crm.url`\n",
        "source stock wrong\n  the source cannot be reached: its program could not be started\n  fix: install the program of `enrichments.stock.command`, or write its whole path\n",
        "0 of 3 are well\n",
    ] {
        assert!(told.contains(expected), "{expected} is missing in {told}");
    }
}

#[test]
fn a_model_that_refuses_the_key_or_breaks_its_schema_is_told_with_the_fix() {
    let place = Place::new();
    let refusing = Peer::start(|_| response("401 Unauthorized", "application/json", r#"{"error":{"message":"no"}}"#));
    let talking = Peer::start(|_| whole("Grass is green."));
    let settings = [
        provider("a", &format!("http://{}/v1", refusing.address), "key_env = \"PROVIDER_KEY\""),
        provider("b", &format!("http://{}/v1", talking.address), ""),
        default_route(&["a/m", "b/m"]),
    ];
    let checked = check(&place, &settings.concat(), &["--json"]);
    assert_eq!(checked.status.code(), Some(1), "{}", stderr(&checked));
    let found = found(&checked);
    let (first, second) = (&found[0]["problems"][0], &found[1]["problems"][0]);
    assert_eq!(first["problem"], "the provider refused with status 401: unauthenticated");
    assert!(first["fix"].as_str().unwrap().contains("`models.a.key_env`"), "{first}");
    assert_eq!(second["problem"], "the answer does not fit the JSON Schema it was given");
    assert!(second["fix"].as_str().unwrap().contains("models.b.json = \"instruct\""), "{second}");
    assert_eq!(found[1]["features"]["json_schema"], false);
}

#[test]
fn a_tool_that_is_allowed_and_not_there_is_told_with_those_that_are() {
    let place = Place::new();
    let checked = check(&place, &tools(place.path(), &["lookup", "look_up"]), &[]);
    assert_eq!(checked.status.code(), Some(1), "{}", stderr(&checked));
    let told = stdout(&checked);
    assert!(
        told.contains("it has no tool `look_up`\n  fix: correct `enrichments.stock.tools`; it has drop, lookup"),
        "{told}"
    );
    assert!(told.contains("drop (not allowed)"), "{told}");
}

/// P6: every check ends by its deadline, and one that hangs does not hold up the others.
#[test]
fn each_check_ends_by_its_deadline() {
    let place = Place::new();
    let (hanging, well) = (Peer::start(|_| None), good_model());
    let settings = [
        provider("a", &format!("http://{}/v1", hanging.address), ""),
        provider("b", &format!("http://{}/v1", well.address), ""),
        default_route(&["a/m", "b/m"]),
        format!(
            "[enrichments.crm]\nkind = \"http\"\nurl = \"http://{0}/\"\ncheck = \"http://{0}/\"\nprivate_networks = true\n",
            hanging.address
        ),
        "[enrichments.stock]\nkind = \"mcp\"\ncommand = [\"sleep\", \"1000\"]\ntools = [\"a\"]\n".to_owned(),
    ];
    let begun = Instant::now();
    let checked = check(&place, &settings.concat(), &["--json", "--timeout-ms", "2000"]);
    assert!(begun.elapsed() < DEADLINE / 2, "{:?}", begun.elapsed());
    assert_eq!(checked.status.code(), Some(1), "{}", stderr(&checked));
    let found = found(&checked);
    let well: Vec<_> = found.iter().map(|one| one["ok"] == true).collect();
    assert_eq!(well, [false, true, false, false], "{found:#?}");
    let problem = &found[0]["problems"][0];
    assert_eq!(problem["problem"], "the deadline passed");
    assert_eq!(problem["fix"], "raise --timeout-ms, or `models.a.timeout`");
}

/// A desk that asks a source how long the queue is, and a model what to say.
const DESK: &str = r#"format: colloquy.flow/v1
name: desk
start: hall.door
fallback: Pardon?
limits: {turn_deadline: 30s}
intents: {hall: {initial: door, states: {door: {terminal: true}}}}
enrichments:
  queue: {source: queue, in: hall.door, arguments: {hall: {value: north}}, timeout: 10s, default: {waiting: nobody knows}}
prompts:
  advise: {purpose: respond, system: Be brief., user: "{{ text }}", variables: [text], timeout: 10s}
scripted:
  - {purpose: respond, say: Scripted advice.}
responses:
  - {in: hall.door, when: text == 'advise me', model: {prompt: advise, max_chars: 200, failed: Later.}}
  - {in: hall.door, template: "Waiting: {{ enrich.queue.waiting }}."}
"#;

/// A server with that desk and these settings.
fn served(place: &Place, settings: &str) -> Server {
    let (folder, file) = (place.path().join("desk"), place.path().join("served.toml"));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("flow.yaml"), DESK).unwrap();
    fs::write(&file, settings).unwrap();
    place.start_with(&["--flows", folder.to_str().unwrap(), "--config", file.to_str().unwrap()])
}

async fn say(server: &Server, request_id: &str, text: &str) -> String {
    let turn = Turn::new(Key::new("acme", "c"), request_id, "desk", text);
    server.client().await.submit(&turn).await.unwrap().turn.unwrap().reply.unwrap().text
}

/// CE-014: what turns ask of the outside goes where the settings say.
#[tokio::test]
async fn turns_of_a_server_ask_the_models_and_sources_of_its_settings() {
    let (place, model) = (Place::new(), Peer::start(|_| whole("Go home.")));
    let queue = Peer::start(|request| {
        let found = request.starts_with("GET /queues/north ") && request.contains("accept-language: en");
        response(if found { "200 OK" } else { "404 Not Found" }, "application/json", r#"{"queue":{"length":7}}"#)
    });
    let settings = [
        provider("local", &format!("http://{}/v1", model.address), ""),
        default_route(&["local/small"]),
        format!(
            "[enrichments.queue]\nkind = \"http\"\nurl = \"http://{}/queues/{{hall}}\"\nprivate_networks = true\n\
             answer.waiting = \"/queue/length\"\nheaders.Accept-Language = \"en\"\n",
            queue.address
        ),
    ];
    let server = served(&place, &settings.concat());
    assert_eq!(say(&server, "1", "hello").await, "Waiting: 7.");
    assert_eq!(say(&server, "2", "advise me").await, "Go home.");
    assert!(model.seen().iter().any(|request| request.contains("\"small\"") && request.contains("advise me")));
}

/// CE-parity: without settings everything runs, with no key and no network.
#[tokio::test]
async fn without_settings_the_script_of_the_flow_answers() {
    let place = Place::new();
    let server = served(&place, "");
    assert_eq!(say(&server, "1", "advise me").await, "Scripted advice.");
    assert_eq!(say(&server, "2", "hello").await, "Waiting: nobody knows.");
}

/// MI-05, CR-02: faults are told with their places, and a secret in the file is not repeated.
#[test]
fn bad_settings_end_with_code_2_and_no_word_of_a_secret() {
    let place = Place::new();
    let settings =
        [provider("a", "http://h/v1", &format!("key = \"{KEY}\"\nspeed = 3")), default_route(&["a/m", "b/m"])];
    let checked = check(&place, &settings.concat(), &[]);
    assert_eq!(checked.status.code(), Some(2), "{}", stdout(&checked));
    let told = stderr(&checked);
    for expected in
        ["toml:4:7: models.a.key: is a secret", "toml:5:9: models.a.speed: is not a setting", "`b/m` names no"]
    {
        assert!(told.contains(expected), "{expected} is missing in {told}");
    }
    assert!(!told.contains("0123456789abcdefghij"), "{told}");
    assert_eq!(told.matches("fix: ").count(), 3, "{told}");
    assert_eq!(run(&["models", "check", "--config", "/no/such.toml"]).status.code(), Some(2));
}

#[test]
fn without_settings_the_scripted_model_is_there_and_needs_nobody() {
    let checked = run(&["models", "check", "--json"]);
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
    let found = found(&checked);
    assert_eq!((found.len(), &found[0]["name"], &found[0]["ok"]), (1, &"scripted".into(), &true.into()));
}
