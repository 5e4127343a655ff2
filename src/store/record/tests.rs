//! Tests of the record's bytes, limits and chain.
