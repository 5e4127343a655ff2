//! Settings that are right, wrong, and from several places.

mod conversations;
mod enrichments;
mod models;
mod retention;

use colloquy_actors::Limits;

use super::*;

/// The variables that tests name.
fn variable(name: &str) -> Option<String> {
    let values = [("KEY", "sk-test-0123456789abcdef\n"), ("TOKEN", "t0k3n"), ("EMPTY", ""), ("BROKEN", "a\nb")];
    values.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
}

fn sources(file: &str) -> Sources {
    let secrets = super::sources::Environment(variable);
    Sources { file: Some(("c.toml".into(), file.into())), secrets, ..Sources::default() }
}

/// The one fault of a file: its place, its key, and the whole of it as it is told.
fn fault(file: &str) -> (String, String, String) {
    let faults = Settings::read(&sources(file)).err().unwrap_or_default();
    let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults.len(), 1, "{told:#?}");
    (faults[0].place.clone(), faults[0].key.clone(), told[0].clone())
}

/// What is printed, without the places.
fn printed(file: &str) -> Vec<String> {
    let printed = Settings::print_all(&sources(file)).unwrap_or_else(|faults| panic!("{faults:#?}"));
    printed.lines().map(|line| line.split(" # ").next().unwrap().to_owned()).collect()
}

fn read(file: &str) -> Result<Settings, Vec<Fault>> {
    Settings::read(&sources(file))
}

#[test]
fn every_default_is_valid() {
    let settings = read("").unwrap();
    assert_eq!(settings.grpc_listen.to_string(), "127.0.0.1:7420");
    assert_eq!(settings.segment_bytes, 64 << 20);
    assert_eq!(settings.runtime.limits, Limits::default());
}

#[test]
fn all_faults_are_told_at_once_with_their_places() {
    let faults = read(
        "[listen]\ngrpc = \"here\"\nport = 1\n[store]\nsegment = \"1 KiB\"\n[limits]\nin_flight = 10\nqueue = 20\n",
    )
    .err()
    .unwrap();
    let places: Vec<_> = faults.iter().map(|fault| (fault.place.as_str(), fault.key.as_str())).collect();
    assert_eq!(
        places,
        [
            ("c.toml:3:8", "listen.port"),
            ("c.toml:2:8", "listen.grpc"),
            ("c.toml:5:11", "store.segment"),
            ("c.toml:8:9", "limits.queue"),
        ]
    );
}

#[test]
fn flags_win_over_environment_over_file() {
    let mut sources = Sources {
        file: Some(("c.toml".into(), "[limits]\nqueue = 300\nin_flight = 1000\n".into())),
        environment: vec![("COLLOQUY_LIMITS_QUEUE".into(), "400".into())],
        ..Sources::default()
    };
    assert_eq!(Settings::read(&sources).unwrap().runtime.limits.queue_len_max.get(), 400);
    sources.flags.push(("limits.queue", "--queue", "500".into()));
    let settings = Settings::read(&sources).unwrap();
    assert_eq!(settings.runtime.limits.queue_len_max.get(), 500);
    assert_eq!(settings.runtime.limits.in_flight_max.get(), 1000);
}

#[test]
fn a_misspelled_variable_is_a_fault() {
    let sources = Sources { environment: vec![("COLLOQUY_LIMIT_QUEUE".into(), "1".into())], ..Sources::default() };
    assert_eq!(Settings::read(&sources).err().unwrap().len(), 1);
}

#[test]
fn an_array_of_something_else_is_a_fault() {
    let faults = read("[flows]\nfolders = [\"a\", 1]\n").err().unwrap();
    assert_eq!((faults[0].place.as_str(), faults[0].key.as_str()), ("c.toml:2:11", "flows.folders"));
    assert_eq!(read("[flows]\nfolders = [\"a\", \"b\"]\n").unwrap().flow_folders.len(), 2);
}

#[test]
fn what_is_printed_is_a_file_that_says_the_same() {
    let file = Some(("c.toml".into(), "[gateway]\nkeepalive_interval = \"45s\"\n".into()));
    let flags = vec![("store.data_dir", "--data-dir", r#"a "quoted" \ folder"#.to_owned())];
    let sources = Sources { file, flags, ..Sources::default() };
    let printed = Settings::print_all(&sources).unwrap();
    assert!(printed.contains("keepalive_interval = \"45s\" # c.toml:2:22"), "{printed}");
    assert!(printed.contains("# flag --data-dir") && printed.contains("queue = \"512\" # default"), "{printed}");
    let again = Settings::print_all(&super::tests::sources(&printed)).unwrap();
    let values = |text: &str| text.lines().map(|line| line.split(" # ").next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(values(&again), values(&printed));
    let settings = read(&printed).unwrap();
    assert_eq!(settings.data_dir.to_str(), Some(r#"a "quoted" \ folder"#));
    assert_eq!(settings.gateway.keepalive_interval, Duration::from_secs(45));
}

#[test]
fn what_is_no_section_is_a_fault() {
    assert_eq!(fault("queue = 3\n").0, "c.toml:1:9");
    assert_eq!(
        fault("models = 3\n"),
        (
            "c.toml:1:10".into(),
            "models".into(),
            "c.toml:1:10: models: is a single value\n  fix: write a table: `[models]`".into()
        )
    );
}

#[test]
fn a_first_pause_beyond_the_longest_is_a_fault() {
    let (place, key, _) = fault("[retry]\npause = \"1s\"\npause_max = \"500ms\"\n");
    assert_eq!((place.as_str(), key.as_str()), ("c.toml:2:9", "retry.pause"));
    assert_eq!(read("[retry]\npause = \"1s\"\n").unwrap().world.retry.pause, Duration::from_secs(1));
}

/// Every example of the settings' document and of the README is taken as it stands.
#[test]
fn documented_examples_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    for secret in ["anthropic", "stock"] {
        std::fs::write(folder.path().join(secret), "secret").unwrap();
    }
    let documents = [include_str!("../../../docs/settings.md"), include_str!("../../../README.md")];
    let examples = documents.iter().flat_map(|text| text.split("```toml\n").skip(1));
    let examples: Vec<_> = examples.filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 9, "they were found: {}", examples.len());
    for example in examples {
        let text = example.replace("/run/secrets", folder.path().to_str().unwrap());
        let file = Some(("example.toml".to_owned(), text));
        let secrets = super::sources::Environment(|_| Some("secret".to_owned()));
        let read = Settings::read(&Sources { file, secrets, ..Sources::default() });
        assert!(read.is_ok(), "{example}\n{:#?}", read.err());
    }
}
