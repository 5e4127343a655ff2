//! What a deterministic turn costs. Prints, asserts nothing about the machine it runs on; the figure means
//! something with `--release` only: `cargo test -p colloquy-author --release timing -- --nocapture`.

use std::time::Instant;

use colloquy_turn::open_conversation;

use super::examples::example;
use crate::scenario::ScriptedWorld;

#[test]
fn timing_of_an_order_desk_conversation() {
    let flow = example("order-desk").flow;
    let turns = ["hello", "cancel my order", "it is A-1001", "hm", "where is order B-2005", "yes please"];
    let rounds = if cfg!(debug_assertions) { 20 } else { 5_000 };
    let mut spent = [std::time::Duration::ZERO; 6];
    let mut bytes = 0;
    for _ in 0..rounds {
        let mut world = ScriptedWorld::default();
        let mut state = open_conversation(&flow);
        for (text, spent) in turns.iter().zip(&mut spent) {
            let begun = Instant::now();
            let outcome = world.turn(&flow, state, text);
            *spent += begun.elapsed();
            bytes += outcome.record.encode().expect("it can be encoded").len();
            state = outcome.state;
        }
        assert_eq!(state.state(), "done");
    }
    for (text, spent) in turns.iter().zip(spent) {
        println!("{:>8.2} µs  {text}", spent.as_secs_f64() * 1e6 / f64::from(rounds));
    }
    println!("{:>8} bytes per encoded turn record", bytes / (turns.len() * rounds as usize));
}
