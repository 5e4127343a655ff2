//! Tests of the loader, and of the machine on the example flows and on flows made to break it.

mod deletions;
mod examples;
mod faults;
mod machine;
mod outside;
mod properties;
mod replay;
mod scenarios;
mod suites;
mod timing;
