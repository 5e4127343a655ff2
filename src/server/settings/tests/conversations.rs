//! Which conversations are in memory, and how those come back that fail.

use colloquy_actors::{PassivationPolicy, RestartPolicies};

use super::*;

#[test]
fn the_defaults_are_those_of_the_runtime() {
    assert_eq!(read("").unwrap().runtime, RuntimeSettings::default());
}

#[test]
fn what_is_given_holds() {
    let settings = read(
        "[conversations]\nidle_after = \"5s\"\nactive_max = 10\nmemory_max = \"64 MiB\"\nactivations = 3\nrestarts = 0\n\
         restart_window = \"2m\"\nrestart_pause = \"1s\"\nrestart_pause_max = \"4s\"\n",
    )
    .unwrap()
    .runtime;
    let PassivationPolicy { idle_after, active_max, memory_max } = settings.passivation;
    assert_eq!((idle_after, active_max.get(), memory_max), (Duration::from_secs(5), 10, 64 << 20));
    assert_eq!(settings.activations_max.get(), 3);
    let RestartPolicies { conversation, shard, .. } = settings.restart;
    assert_eq!((conversation.restarts_max, conversation.window), (0, Duration::from_secs(120)));
    assert_eq!((conversation.pause, conversation.pause_max), (Duration::from_secs(1), Duration::from_secs(4)));
    assert_eq!(shard, RestartPolicies::default().shard);
}

#[test]
fn bounds_are_checked_with_their_places() {
    for (line, key) in [
        ("idle_after = \"0s\"", "conversations.idle_after"),
        ("active_max = 0", "conversations.active_max"),
        ("memory_max = \"1 KiB\"", "conversations.memory_max"),
        ("activations = 5000", "conversations.activations"),
        ("restarts = 101", "conversations.restarts"),
        ("restart_pause = \"6s\"", "conversations.restart_pause"),
    ] {
        let (place, found, told) = fault(&format!("[conversations]\n{line}\n"));
        assert!(place.starts_with("c.toml:2:"), "{place}: {told}");
        assert_eq!(found, key);
    }
}
