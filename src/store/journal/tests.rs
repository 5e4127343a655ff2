//! Tests of the journal: the kit, the I/O layer, recovery, the format.

mod clocks;
mod compaction;
mod crashes;
mod fake_disk;
mod format;
mod histories;
mod io;
mod kill_disk;
mod newer;
mod recovery;
mod rig;
mod scanning;
mod store;
mod upkeep;
