//! Tables of sources: what they mean, and every fault with its place, bound and fix.

use colloquy_actors::SourceAdapter;

use super::{fault, printed, read};

const HTTP: &str = "url = \"https://crm.example.com/c/{id}\"";
const MCP: &str = "command = [\"server\"]\ntools = [\"look\"]";

const ALL: &str = r#"
[enrichments.crm]
kind = "http"
url = "https://crm.example.com/customers/{id}?full=1"
method = "POST"
body = ["name", "city"]
empty_statuses = [404, 410]
content_types = ["application/json", "text/json"]
idempotency_header = ""
check = "https://status.example.com/health"
answer_max = "1 MiB"
concurrency = 2

[enrichments.crm.answer]
name = "/customer/name"

[enrichments.crm.headers]
Accept-Language = "en"
Authorization = { env = "TOKEN", prefix = "Bearer " }

[enrichments.stock]
kind = "mcp"
command = ["stock-server", "--quiet"]
folder = "/srv"
tools = ["lookup", "reserve"]

[enrichments.stock.environment]
STOCK_TOKEN.env = "TOKEN"
LANG = "C"

[enrichments.maps]
kind = "mcp"
url = "http://127.0.0.1:9000/mcp"
private_networks = true
tools = ["find"]
headers.X-Api-Key = { env = "KEY" }
"#;

fn source(kind: &str, keys: &str) -> String {
    format!("[enrichments.s]\nkind = \"{kind}\"\n{keys}\n")
}

#[test]
fn sources_mean_what_they_say() {
    let settings = read(ALL).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let [crm, maps, stock] = &settings.world.sources[..] else { panic!("three sources") };
    assert_eq!([crm, maps, stock].map(|source| source.name.as_ref()), ["crm", "maps", "stock"]);
    assert!(matches!(crm.adapter, SourceAdapter::Direct(_)) && matches!(maps.adapter, SourceAdapter::Session(_)));
    assert_eq!((crm.gate.concurrency.get(), maps.gate.concurrency.get()), (2, 16));
    let SourceAdapter::Session(stock) = &stock.adapter else { panic!("a server of tools") };
    let shown = format!("{stock:?}");
    assert!(shown.contains("stock-server") && shown.contains("STOCK_TOKEN") && !shown.contains("t0k3n"), "{shown}");
}

/// MI-05: every fault with its place, the bound and the fix.
#[test]
fn faults_of_sources_over_http_have_place_bound_and_fix() {
    for (keys, place, key, told) in [
        ("", "1:1", "url", "is missing"),
        ("url = \"nowhere\"", "3:7", "url", "leads to no host"),
        ("url = \"https://{host}/\"", "3:7", "url", "arguments may stand in the path and the query only"),
        ("url = \"http://127.0.0.1/\"", "3:7", "url", "fix: set `private_networks = true`"),
        ("url = \"http://169.254.169.254/\"\nprivate_networks = true", "3:7", "url", "metadata address"),
        ("url = \"https://h/../x\"", "3:7", "url", "its path must be written as it is sent"),
        ("url = \"https://h/?api_key=abc\"", "3:7", "url", "`api_key` in it is a secret"),
        ("HTTP\nmethod = \"LOOK\"", "4:10", "method", "is not GET, POST, PUT, PATCH or DELETE"),
        ("HTTP\nbody = \"some\"", "4:8", "body", "`some` is not none, all, or a list of arguments"),
        ("HTTP\nbody = [[1]]", "4:8", "body", "a list of something else than names"),
        ("HTTP\nempty_statuses = [99]", "4:18", "empty_statuses", "`99` is not a list of statuses from 100 to 599"),
        ("HTTP\ncontent_types = [\"json\"]", "4:17", "content_types", "`json` is not a list of content types"),
        ("HTTP\nidempotency_header = \"a b\"", "4:22", "idempotency_header", "it is no header name"),
        ("HTTP\ncheck = \"ftp://h/\"", "4:9", "check", "must begin with http:// or https://"),
        ("HTTP\nanswer_max = \"2 MiB\"", "4:14", "answer_max", "is not 1 B to 1 MiB"),
        ("HTTP\nprivate_networks = 1", "4:20", "private_networks", "`1` is not true or false"),
        ("HTTP\nanswer = {name = \"name\"}", "4:10", "answer", "is no JSON Pointer"),
        ("HTTP\nanswer = {name = [\"/a\"]}", "4:18", "answer.name", "is no JSON Pointer"),
        ("HTTP\nheaders = {Authorization = \"Bearer abc\"}", "4:28", "headers.Authorization", "is a secret"),
        ("HTTP\nheaders = {X = {env = \"ABSENT\"}}", "4:23", "headers.X.env", "`ABSENT` is not set"),
        ("HTTP\nheaders = {X = {}}", "4:16", "headers.X", "names neither `env` nor `file`"),
        ("HTTP\nheaders = {\"a b\" = \"c\"}", "4:11", "headers", "is no header name"),
        ("HTTP\nheaders = \"a: b\"", "4:11", "headers", "is a single value"),
        ("HTTP\ntools = [\"a\"]", "4:9", "tools", "is not for `http`, only for mcp"),
        ("HTTP\nenvironment = {A = \"b\"}", "4:15", "environment", "is not for `http`, only for mcp"),
        ("HTTP\nretries = 3", "4:11", "retries", "is not a setting"),
        ("HTTP\nbreaker.failures = \"x\"", "4:20", "breaker.failures", "is not a number from 1 to 1000"),
    ] {
        is_told("http", keys, place, key, told);
    }
    assert!(fault("[enrichments.s]\nkind = \"smtp\"\n").2.contains("`smtp` is not http or mcp"));
}

/// MI-05: every fault with its place, the bound and the fix.
#[test]
fn faults_of_servers_of_tools_have_place_bound_and_fix() {
    for (keys, place, key, told) in [
        ("command = [\"s\"]", "1:1", "tools", "is missing"),
        ("command = [\"s\"]\ntools = []", "4:9", "tools", "`colloquy models check` shows those there are"),
        ("tools = [\"a\"]", "1:1", "command", "is missing, and so is `url`"),
        ("MCP\nurl = \"http://h/\"", "5:7", "url", "stands beside `command`"),
        ("command = []\ntools = [\"a\"]", "3:11", "command", "names no program"),
        ("command = [\"s\", \"sk-live-0123456789abcdef\"]\ntools = [\"a\"]", "3:11", "command", "[redacted]"),
        ("MCP\nheaders = {X = \"a\"}", "5:11", "headers", "is only for a source with `url`"),
        ("MCP\nmethod = \"GET\"", "5:10", "method", "is not for `mcp`, only for http"),
        ("MCP\nanswer = {a = \"/a\"}", "5:10", "answer", "is not for `mcp`, only for http"),
        ("MCP\nenvironment = {MY_TOKEN = \"abc\"}", "5:27", "environment.MY_TOKEN", "is a secret"),
        (
            "url = \"http://h/\"\ntools = [\"a\"]\nfolder = \"/x\"",
            "5:10",
            "folder",
            "is only for a source with `command`",
        ),
        ("url = \"http://10.0.0.1/\"\ntools = [\"a\"]", "3:7", "url", "private address"),
    ] {
        is_told("mcp", keys, place, key, told);
    }
}

fn is_told(kind: &str, keys: &str, place: &str, key: &str, told: &str) {
    let (found, at, whole) = fault(&source(kind, &keys.replace("HTTP", HTTP).replace("MCP", MCP)));
    assert_eq!((found, at), (format!("c.toml:{place}"), format!("enrichments.s.{key}")), "{keys}");
    assert!(whole.contains(told) && whole.contains("\n  fix: "), "{keys}: {whole}");
    assert!(!whole.contains("0123456789abcdef") && !whole.contains("abc"), "{whole}");
}

#[test]
fn a_name_that_flows_could_not_write_is_a_fault() {
    let (place, key, _) = fault("[enrichments.\"a/b\"]\nkind = \"http\"\n");
    assert_eq!((place.as_str(), key.as_str()), ("c.toml:1:1", "enrichments.\"a/b\""));
}

#[test]
fn what_is_printed_of_sources_says_the_same_and_no_secret() {
    let printed_once = printed(ALL);
    let text = printed_once.join("\n");
    for line in [
        "body = [\"name\", \"city\"]",
        "[enrichments.crm.headers.Authorization]",
        "prefix = \"Bearer \"",
        "command = [\"stock-server\", \"--quiet\"]",
        "LANG = \"C\"",
        "empty_statuses = [\"404\", \"410\"]",
    ] {
        assert!(printed_once.iter().any(|printed| printed == line), "{line} is missing in {text}");
    }
    assert!(!text.contains("t0k3n") && !text.contains("sk-test"), "{text}");
    assert_eq!(printed(&text), printed_once);
}
