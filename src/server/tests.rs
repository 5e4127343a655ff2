//! The services over gRPC in one process, on the memory engine: what is told of turns and of flows.

mod flow_service;
mod house;
mod turns;
