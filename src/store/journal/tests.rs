//! Tests of the journal: the kit, the I/O layer, recovery, the format.

mod fake_disk;
mod format;
mod io;
mod recovery;
mod rig;
mod store;
