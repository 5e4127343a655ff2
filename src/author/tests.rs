//! Tests of the loader, and of the machine on the example flows.

mod examples;
mod faults;
