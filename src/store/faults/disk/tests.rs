//! The disk keeps what it must, forgets what it may, and does both the same way for the same seed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Crash, Disk as _, FaultDisk};

/// What is left of one file of two sectors, of which the first is synced before both are overwritten.
fn left(seed: u64, crash: Crash) -> BTreeMap<String, Vec<u8>> {
    let disk = FaultDisk::new(seed);
    let file = disk.create("f").unwrap();
    file.write_at(&[1; 512], 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir().unwrap();
    file.write_at(&[2; 1024], 0).unwrap();
    disk.create("g").unwrap();
    disk.crash(crash);
    disk.files()
}

#[test]
fn a_killed_process_leaves_everything_it_wrote() {
    for seed in 0..50 {
        let files = left(seed, Crash::Process);
        assert_eq!(files["f"], [2; 1024]);
        assert!(files["g"].is_empty());
    }
}

#[test]
fn without_power_each_unsynced_sector_is_old_new_or_torn_and_synced_ones_stay() {
    let (mut firsts, mut lens, mut kept_names) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for seed in 0..400 {
        let files = left(seed, Crash::Power);
        let file = &files["f"];
        lens.insert(file.len());
        kept_names.insert(files.contains_key("g"));
        assert!(file.len() == 512 || file.len() == 1024, "seed {seed}: a length it never had");
        assert!(file[..512].iter().all(|byte| matches!(byte, 1 | 2)), "seed {seed}: the synced bytes are gone");
        assert!(file[512..].iter().all(|byte| matches!(byte, 0 | 2)), "seed {seed}: bytes nobody wrote");
        let news = file[..512].iter().filter(|byte| **byte == 2).count();
        firsts.insert(match news {
            0 => "old",
            512 => "new",
            _ => "torn",
        });
    }
    assert_eq!(firsts, BTreeSet::from(["old", "new", "torn"]));
    assert_eq!((lens.len(), kept_names.len()), (2, 2), "lengths and names are kept in some runs and lost in others");
}

#[test]
fn sectors_persist_out_of_order() {
    let second_only = (0..400).map(|seed| left(seed, Crash::Power)).any(|files| {
        let file = &files["f"];
        file.len() == 1024 && file[..512].iter().all(|byte| *byte == 1) && file[512..].iter().all(|byte| *byte == 2)
    });
    assert!(second_only, "the later sector is there and the earlier is not");
}

#[test]
fn what_a_sync_covers_always_stays() {
    for seed in 0..200 {
        let disk = FaultDisk::new(seed);
        let file = disk.create("old").unwrap();
        disk.sync_dir().unwrap();
        file.write_at(&[7; 3000], 100).unwrap();
        file.set_len(2000).unwrap();
        file.sync_all().unwrap();
        disk.rename("old", "new").unwrap();
        disk.sync_dir().unwrap();
        disk.crash(Crash::Power);
        let files = disk.files();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["new"]);
        assert_eq!(files["new"], [vec![0; 100], vec![7; 1900]].concat());
    }
}

#[test]
fn an_unsynced_rename_or_removal_happened_or_did_not() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let disk = FaultDisk::new(seed);
        for (name, byte) in [("a", 1), ("b", 2)] {
            let file = disk.create(name).unwrap();
            file.write_at(&[byte; 8], 0).unwrap();
            file.sync_all().unwrap();
        }
        disk.sync_dir().unwrap();
        disk.rename("a", "c").unwrap();
        disk.remove("b").unwrap();
        disk.crash(Crash::Power);
        let files = disk.files();
        let content = files.get("a").or(files.get("c"));
        assert_eq!(content, Some(&vec![1; 8]), "seed {seed}: under one name or the other");
        seen.insert(files.into_keys().collect::<Vec<_>>().join(" "));
    }
    let all = ["a", "a b", "b c", "c"].map(str::to_owned);
    assert_eq!(seen, BTreeSet::from(all));
}

#[test]
fn a_dead_disk_does_nothing_more_and_a_failure_comes_once() {
    for seed in 0..50 {
        let disk = FaultDisk::new(seed);
        let file = disk.create("f").unwrap();
        disk.fail_after(1);
        assert!(file.write_at(b"refused", 0).is_err());
        assert!(disk.was_troubled() && !disk.is_dead());
        file.write_at(b"first", 0).unwrap();
        disk.die_after(2);
        file.write_at(b"other", 0).unwrap();
        assert!(file.write_at(b"third", 0).is_err() && disk.is_dead());
        let dying = disk.files();
        assert!(file.write_at(b"after", 0).is_err() && disk.create("g").is_err() && disk.sync_dir().is_err());
        assert_eq!(disk.files(), dying);
        disk.crash(Crash::Process);
        assert_eq!(disk.files(), dying);
        assert!(file.write_at(b"again", 0).is_ok());
    }
}

#[test]
fn the_same_seed_leaves_the_same_disk() {
    for seed in 0..50 {
        assert_eq!(left(seed, Crash::Power), left(seed, Crash::Power));
    }
    assert!((1..50).any(|seed| left(seed, Crash::Power) != left(0, Crash::Power)));
}

#[test]
fn a_full_disk_reserves_nothing() {
    let disk = FaultDisk::new(0);
    let file = disk.create("f").unwrap();
    disk.set_full(true);
    assert_eq!(file.allocate(4096).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 0);
    disk.set_full(false);
    file.allocate(4096).unwrap();
    assert_eq!(file.len().unwrap(), 4096);
}
