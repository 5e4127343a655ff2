//! Tests of the loader, and of the machine on the example flows and on flows made to break it.

mod deletions;
mod diff;
mod examples;
mod faults;
mod graph;
mod guard;
mod lints;
mod machine;
mod meetings;
mod outside;
mod page;
mod planners;
mod properties;
mod replay;
mod retained;
mod scenarios;
mod schema;
mod scripted;
mod stages;
mod suites;
mod timers;
mod timing;
mod tools;
mod upgrades;
