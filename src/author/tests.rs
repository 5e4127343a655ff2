//! Tests of the loader, and of the machine on the example flows and on flows made to break it.

mod examples;
mod faults;
mod machine;
mod meetings;
mod outside;
mod page;
mod properties;
mod replay;
mod timing;
