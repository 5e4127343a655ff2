//! What is kept, and how fast compaction may work.

use std::num::NonZeroU64;

use colloquy_store::{Retention, RetentionPolicy};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn without_a_word_everything_is_kept() {
    let settings = read("").unwrap();
    assert_eq!(settings.kept.bodies, RetentionPolicy::default());
    assert!(settings.kept.idle.tenants.is_empty());
    assert_eq!(settings.kept.idle.erasures_per_second.get(), 10);
    assert_eq!((settings.compaction_bytes_per_second, settings.compaction_dead_ratio), (8 << 20, 0.3));
}

#[test]
fn a_tenants_own_bounds_stand_in_place_of_the_default() {
    let file = "[retention]\nidle_erasures_per_second = 3\ndefault = { turns = 200, days = 30 }\n\
        [retention.tenants.acme]\ndays = 365\nidle_days = 730\n[retention.tenants.archive]\n";
    let kept = read(file).unwrap().kept;
    let bodies = |turns, days: u32| Retention { turns: NonZeroU64::new(turns), age: (days > 0).then(|| DAY * days) };
    assert_eq!(kept.bodies.others, Some(bodies(200, 30)));
    assert_eq!(kept.bodies.tenants["acme"], bodies(0, 365));
    assert_eq!(kept.bodies.tenants["archive"], Retention::default(), "it keeps everything");
    assert_eq!(kept.idle.tenants.into_iter().collect::<Vec<_>>(), [("acme".to_owned(), DAY * 730)]);
    assert_eq!(kept.idle.erasures_per_second.get(), 3);
    let printed = printed(file);
    for line in ["[retention.default]", "turns = \"200\"", "[retention.tenants.acme]", "idle_days = \"730\""] {
        assert!(printed.iter().any(|printed| printed == line), "{line} is missing in {printed:#?}");
    }
    assert_eq!(read(&printed.join("\n")).unwrap().kept.bodies, read(file).unwrap().kept.bodies);
}

#[test]
fn bounds_of_retention_are_checked_with_their_places() {
    let place = |file: &str| {
        let (place, key, _) = fault(file);
        (place, key)
    };
    let at = |place: &str, key: &str| (place.to_owned(), key.to_owned());
    assert_eq!(place("[retention.default]\nturns = 0\n"), at("c.toml:2:9", "retention.default.turns"));
    assert_eq!(place("[retention.default]\nidle_days = 9\n"), at("c.toml:2:13", "retention.default.idle_days"));
    assert_eq!(place("[retention.tenants.acme]\ndays = 36501\n"), at("c.toml:2:8", "retention.tenants.acme.days"));
    assert_eq!(place("[retention.tenants.\"a/b\"]\ndays = 1\n").1, "retention.tenants.\"a/b\"");
    assert_eq!(place("[retention]\nidle_erasures_per_second = 0\n").1, "retention.idle_erasures_per_second");
    assert_eq!(place("[store]\ncompaction_dead_ratio = 1.1\n").1, "store.compaction_dead_ratio");
    assert_eq!(place("[store]\ncompaction_bytes_per_second = \"17 GiB\"\n").1, "store.compaction_bytes_per_second");
}
