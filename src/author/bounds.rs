//! Hostile flows end soon and stay small.
//!
//! Each input is a folder that a process of its own loads, so that memory one input gave back is not lent to
//! the next.
//! Time is what the processor spent, so that a busy machine does not fail the test; memory is the peak of the
//! process, as Linux counts it, over what it had before loading.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output},
};

use colloquy_author::load_folder;

/// Most that loading may add to the process, in KiB.
const MEMORY_MAX_KIB: u64 = 64 << 10;

/// Most time on the processor, in milliseconds; without optimisation everything is slower.
const TIME_MAX_MS: u64 = if cfg!(debug_assertions) { 5_000 } else { 1_000 };

/// Milliseconds in one tick of `/proc/self/stat`: Linux shows a hundred ticks a second to programs.
const TICK_MS: u64 = 10;

/// What a process is told to load one input.
const ONE: &str = "load-one";

fn main() -> ExitCode {
    let mut arguments = env::args().skip_while(|argument| argument != ONE).skip(1);
    match arguments.next() {
        Some(folder) => load(Path::new(&folder)),
        None => measure(),
    }
}

/// Loads one input and tells what that took.
fn load(folder: &Path) -> ExitCode {
    let (memory, time) = (status_kib("VmHWM:"), processor_ms());
    let loaded = load_folder(folder);
    let (memory, time) = (status_kib("VmHWM:").saturating_sub(memory), processor_ms() - time);
    let told = match &loaded {
        Ok(loaded) => format!("loaded, {} warnings", loaded.warnings.len()),
        Err(faults) => format!("{} faults, first {}", faults.len(), faults.first().map_or("none", |fault| fault.id)),
    };
    println!("{time} {memory} {told}");
    ExitCode::SUCCESS
}

/// Has each input loaded, and fails if any takes too much.
fn measure() -> ExitCode {
    let mut ended = ExitCode::SUCCESS;
    for (name, sources) in inputs() {
        let input_kib = sources.iter().map(|(_, text)| text.len()).sum::<usize>() >> 10;
        let said = in_a_process(name, &sources)
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default();
        let mut parts = said.trim().splitn(3, ' ');
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok());
        let (time, memory) = (number(), number());
        let fits = time.is_some_and(|time| time <= TIME_MAX_MS) && memory.is_some_and(|kib| kib <= MEMORY_MAX_KIB);
        let [time, memory] = [time, memory].map(|number| number.map_or_else(|| "?".to_owned(), |n| n.to_string()));
        let verdict = if fits { "ok" } else { "TOO MUCH" };
        let told = parts.next().unwrap_or("it did not end well");
        println!("{name:44} {input_kib:6} KiB in: {time:>6} ms {memory:>7} KiB {verdict} ({told})");
        if !fits {
            ended = ExitCode::FAILURE;
        }
    }
    ended
}

/// Writes one input to a folder and has a process load it.
fn in_a_process(name: &str, sources: &Sources) -> io::Result<Output> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bounds").join(name.replace(' ', "-"));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    for (file, text) in sources {
        fs::write(folder.join(file), text)?;
    }
    let output = Command::new(env::current_exe()?).arg(ONE).arg(&folder).output();
    fs::remove_dir_all(&folder)?;
    output
}

/// A line of `/proc/self/status`; 0 where there is none, so that other systems check time alone.
fn status_kib(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Time this process spent on the processor.
fn processor_ms() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    // The 14th and 15th of all fields, of which two stand before.
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
    ticks.sum::<u64>() * TICK_MS
}

type Sources = Vec<(String, String)>;

/// A small flow; what stands under a key is put below it.
fn flow(more: &[(&str, String)]) -> String {
    let mut source = String::new();
    let sound = [
        ("format", " colloquy.flow/v1"),
        ("name", " hostile"),
        ("start", " a.s"),
        ("fallback", " Sorry?"),
        ("flags", ""),
        ("slots", ""),
        ("intents", "\n  a:\n    initial: s\n    states:\n      s: {terminal: true}"),
        ("transitions", ""),
        ("rules", ""),
        ("actions", ""),
        ("prompts", ""),
        ("enrichments", ""),
        ("responses", "\n  - {in: any, exact: Hm.}"),
    ];
    for (key, value) in sound {
        if value.is_empty() && !more.iter().any(|(under, _)| *under == key) {
            continue;
        }
        source.push_str(&format!("{key}:{value}\n"));
        for (_, rows) in more.iter().filter(|(under, _)| *under == key) {
            source.push_str(rows);
        }
    }
    source
}

fn rows(count: usize, row: impl Fn(usize) -> String) -> String {
    (0..count).map(|place| row(place) + "\n").collect()
}

fn one(source: String) -> Sources {
    vec![("flow.yaml".to_owned(), source)]
}

fn rule(when: &str) -> String {
    flow(&[("rules", format!("  - {{id: r, in: any, when: '{when}', then: [{{go: a.s}}]}}\n"))])
}

fn inputs() -> Vec<(&'static str, Sources)> {
    let mut inputs = Vec::new();
    inputs.extend(of_yaml());
    inputs.extend(of_rows());
    inputs.extend(of_parsers());
    inputs
}

fn of_yaml() -> Vec<(&'static str, Sources)> {
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
    for (name, before) in ["b", "c", "d", "e", "f", "g"].iter().zip(["a", "b", "c", "d", "e", "f"]) {
        bomb.push_str(&format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 9].join(", ")));
    }
    let long = "x".repeat(900_000);
    let aliases = |count: usize, name: &str| vec![format!("*{name}"); count].join(", ");
    let escaped = format!("\\n{long}");
    vec![
        (
            "a file of 10 MB",
            one(flow(&[("responses", rows(300_000, |row| format!("  - {{in: any, exact: r{row}}}")))])),
        ),
        ("sixty-five files", (0..65).map(|file| (format!("{file}.yaml"), flow(&[]))).collect()),
        ("brackets in brackets", one(format!("name: {}{}", "[".repeat(200_000), "]".repeat(200_000)))),
        ("blocks in blocks", one((0..2000).map(|depth| format!("{}a:\n", " ".repeat(depth))).take(1400).collect())),
        ("anchors that multiply", one(bomb)),
        (
            "a long text repeated",
            one(format!("a: &a {long}\nb: &b [{}]\nc: [{}]\n", aliases(100, "a"), aliases(100, "b"))),
        ),
        ("a long quoted text repeated", one(format!("a: &a \"{escaped}\"\nb: [{}]\n", aliases(200, "a")))),
        ("a long key repeated", one(format!("a: &a {{? {long} : 1}}\nb: [{}]\n", aliases(200, "a")))),
        ("a million nodes", one(format!("flags: [{}]\n", "a,".repeat(500_000)))),
        ("ninety thousand nodes", one(flow(&[("flags", rows(90_000, |row| format!("  - f{row}")))]))),
    ]
}

fn of_rows() -> Vec<(&'static str, Sources)> {
    let many = 10_000;
    let states = rows(many - 1, |row| format!("      s{row}: {{}}"));
    let unknown = flow(&[("responses", rows(many, |row| format!("  - {{in: b.s{row}, exact: x}}")))]);
    let slots = rows(many, |row| format!("  s{row}: {{type: integer}}"));
    let reading =
        rows(2_500, |row| format!("  - {{id: r{row}, in: any, when: slots.s{row} > 1, then: [{{clear: s{row}}}]}}"));
    let misspelt = rows(5_000, |row| format!("  - {{in: any, when: slots.t{row} > 1, exact: x}}"));
    let circle =
        rows(3_000, |row| format!("  - {{id: r{row}, in: a.s{row}, then: [{{go: a.s{}}}]}}", (row + 1) % 3_000));
    let ring = rows(3_000, |row| format!("  - {{from: a.s{row}, to: a.s{}, by: rule}}", (row + 1) % 3_000));
    let fewer = rows(3_000, |row| format!("      s{row}: {{}}"));
    let intents = rows(2_000, |row| {
        format!("  i{row}: {{initial: s, classify: {{keywords: [[a], [b], [c]]}}, states: {{s: {{}}}}}}")
    });
    let faq =
        rows(2_000, |row| format!("  i{row}: {{initial: s, classify: {{keywords: [[w{row}]]}}, states: {{s: {{}}}}}}"));
    let everywhere = rows(2_000, |row| format!("  - {{from: any, to: i{row}.s, by: intent}}"));
    let asking = rows(100, |row| format!("  - {{id: r{row}, in: any, when: asked, then: [{{flag: f}}]}}"));
    let leading = rows(150, |row| {
        format!("  - {{id: r{row}, in: any, when: text == 'x{row}', then: [{{go: a.s{row}}}, {{flag: f}}]}}")
    });
    let led = rows(150, |row| format!("  - {{from: any, to: a.s{row}, by: rule}}"));
    let begins = rows(2_000, |row| format!("  - {{from: a.s, to: i{row}.s, by: intent}}"));
    let any = rows(4_000, |row| format!("  - {{id: r{row}, in: any, then: [{{flag: f}}, {{unflag: f}}]}}"));
    let split = |key: &str, text: &str| (format!("{key}.yaml"), format!("{key}:\n{text}"));
    let files = |more: Vec<(String, String)>, base: String| [one(base), more].concat();
    vec![
        (
            "ten thousand responses",
            one(flow(&[("responses", rows(many - 1, |row| format!("  - {{in: any, exact: r{row}}}")))])),
        ),
        (
            "ten thousand and one responses",
            one(flow(&[("responses", rows(many, |row| format!("  - {{in: any, exact: r{row}}}")))])),
        ),
        ("ten thousand states", one(flow(&[("intents", states.clone())]))),
        ("ten thousand unknown intents", one(unknown)),
        ("conditions on ten thousand slots", files(vec![split("rules", &reading)], flow(&[("slots", slots.clone())]))),
        ("misspelt slots among ten thousand", files(vec![split("responses", &misspelt)], flow(&[("slots", slots)]))),
        ("everything everywhere", files(vec![split("rules", &any)], flow(&[("intents", states.clone())]))),
        (
            "a circle of three thousand rules",
            files(vec![split("rules", &circle), split("transitions", &ring)], flow(&[("intents", fewer)])),
        ),
        (
            "two thousand intents from everywhere",
            files(vec![split("transitions", &everywhere), split("rules", &asking)], flow(&[("intents", faq)])),
        ),
        (
            "rules that lead everywhere from everywhere",
            files(
                vec![split("rules", &leading), split("transitions", &led)],
                flow(&[("intents", states.clone()), ("flags", "  - f\n".to_owned())]),
            ),
        ),
        ("two thousand intents alike", files(vec![split("transitions", &begins)], flow(&[("intents", intents)]))),
    ]
}

fn of_parsers() -> Vec<(&'static str, Sources)> {
    let chain = |part: &str, count: usize| vec![part; count].join("||");
    let slot = |name: &str, value: &str| flow(&[("slots", format!("  {name}: {value}\n"))]);
    let nested =
        |depth: usize| format!("{}{}{}", "{type: array, items: ".repeat(depth), "{type: string}", "}".repeat(depth));
    let template = |text: &str| flow(&[("responses", format!("  - {{in: any, template: '{text}'}}\n"))]);
    let conditions = |condition: &str, count: usize| {
        flow(&[(
            "rules",
            rows(count, |row| format!("  - {{id: r{row}, in: any, when: '{condition}', then: [{{go: a.s}}]}}")),
        )])
    };
    vec![
        ("a condition of brackets", one(rule(&"(".repeat(1000)))),
        ("a condition of lists", one(rule(&format!("{}{}", "[".repeat(31), "]".repeat(31))))),
        ("a condition of negations", one(rule(&"!".repeat(1000)))),
        ("a condition of choices", one(rule(&format!("{}true", "asked?".repeat(160))))),
        ("a condition of sums", one(rule(&format!("1{}", "+1".repeat(500))))),
        ("five hundred long conditions", one(conditions(&chain("asked", 140), 500))),
        ("a pattern of repetitions", one(slot("p", "{type: string, extract: '(((a{99}){99}){99}){99}'}"))),
        ("a pattern of words", one(slot("p", &format!("{{type: string, extract: '{}'}}", r"\w".repeat(500))))),
        (
            "a pattern of groups",
            one(slot("p", &format!("{{type: string, extract: '{}a{}'}}", "(".repeat(500), ")".repeat(500)))),
        ),
        (
            "a hundred heavy patterns",
            one(flow(&[("slots", rows(100, |row| format!("  p{row}: {{type: string, extract: '{}'}}", r"\w{20}")))])),
        ),
        (
            "ten thousand light patterns",
            one(flow(&[("slots", rows(10_000, |row| format!("  p{row}: {{type: string, extract: 'a{row}'}}")))])),
        ),
        ("a template of brackets", one(template(&format!("{{{{ {} }}}}", "(".repeat(8_000))))),
        ("a template of blocks", one(template(&"{% if intent %}".repeat(1_000)))),
        ("a template of filters", one(template(&format!("{{{{ intent{} }}}}", "|upper".repeat(2_000))))),
        ("a template of negations", one(template(&format!("{{{{ {}intent }}}}", "not ".repeat(4_000))))),
        ("a schema in schemas", one(slot("o", &format!("{{type: object, schema: {}}}", nested(6))))),
        ("a schema in too many schemas", one(slot("o", &format!("{{type: object, schema: {}}}", nested(300))))),
        (
            "a schema of properties",
            one(slot(
                "o",
                &format!(
                    "{{type: object, schema: {{type: object, properties: {{{}}}}}}}",
                    rows(3_000, |row| format!("p{row}: {{type: string, pattern: 'a{row}'}},")).replace('\n', " ")
                ),
            )),
        ),
    ]
}
