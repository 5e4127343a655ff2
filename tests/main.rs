//! Black box: the real binary, over real gRPC, one module per behaviour.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is a test: what fails here fails the test"
)]

mod arrows;
mod commands;
mod contract;
mod conversations;
mod crashes;
mod documents;
mod erasing;
mod faults;
mod flows;
mod harness;
mod logs;
mod models;
mod namespace;
mod operating;
mod outside;
mod pausing;
mod peer;
mod real;
mod replay;
mod residence;
mod store;
mod store_faults;
