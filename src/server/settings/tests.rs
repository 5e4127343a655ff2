//! Settings that are right, wrong, and from several places.

use super::*;

fn read(file: &str) -> Result<Settings, Vec<Fault>> {
    Settings::read(&Sources { file: Some(("c.toml".into(), file.into())), ..Sources::default() })
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
    .unwrap_err();
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
        flags: Vec::new(),
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
    assert_eq!(Settings::read(&sources).unwrap_err().len(), 1);
}

#[test]
fn an_array_of_something_else_is_a_fault() {
    let faults = read("[flows]\nfolders = [\"a\", 1]\n").unwrap_err();
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
    let again = read(&printed).unwrap();
    assert_eq!(format!("{again:?}"), format!("{:?}", Settings::read(&sources).unwrap()));
}
