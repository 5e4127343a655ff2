//! Tests of the loader, and of the machine on the example flows and on flows made to break it.

mod diff;
mod examples;
mod faults;
mod graph;
mod machine;
mod meetings;
mod outside;
mod page;
mod properties;
mod replay;
mod schema;
mod timing;
mod upgrades;
