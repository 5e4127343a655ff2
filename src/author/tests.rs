//! Tests of the loader, and of the machine on the example flows and on flows made to break it.

mod deletions;
mod diff;
mod examples;
mod faults;
mod graph;
mod guard;
mod machine;
mod outside;
mod properties;
mod replay;
mod scenarios;
mod schema;
mod suites;
mod timing;
mod upgrades;
