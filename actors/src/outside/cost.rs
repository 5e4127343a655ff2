//! What models cost: counted in tokens, priced in millionths of the settings' currency, never in floats.

use colloquy_turn::Usage;

/// What a million tokens cost, in millionths of the settings' currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// Tokens read.
    pub input: u64,
    /// Tokens read that the provider had in its cache.
    pub cached: u64,
    /// Tokens written.
    pub output: u64,
}

const MILLION: u128 = 1_000_000;

impl Prices {
    /// What so many tokens cost, rounded up: a call that was not free is never counted as free.
    pub(crate) fn cost_micros(&self, tokens_in: u64, tokens_cached: u64, tokens_out: u64) -> u64 {
        let cached = tokens_cached.min(tokens_in);
        let parts = [(tokens_in - cached, self.input), (cached, self.cached), (tokens_out, self.output)];
        let sum: u128 = parts.iter().map(|(tokens, price)| u128::from(*tokens) * u128::from(*price)).sum();
        u64::try_from(sum.div_ceil(MILLION)).unwrap_or(u64::MAX)
    }

    /// What an answer used, with its price.
    pub(crate) fn settle(&self, tokens_in: u64, tokens_cached: u64, tokens_out: u64) -> Usage {
        let cost_micros = self.cost_micros(tokens_in, tokens_cached, tokens_out);
        Usage { tokens_in, tokens_out, tokens_cached, cost_micros }
    }
}

/// How many tokens a text has, roughly: four bytes each, which is about right for English and too many for few other
/// languages. Used before a call, and after it where the provider does not count.
pub(crate) fn estimated_tokens(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_exact_and_rounded_up_once() {
        // 0.15 and 0.60 of a unit for a million tokens, cached ones at half.
        let prices = Prices { input: 150_000, cached: 75_000, output: 600_000 };
        assert_eq!(prices.cost_micros(1_000_000, 0, 0), 150_000);
        assert_eq!(prices.cost_micros(412, 0, 37), 84, "61.8 + 22.2");
        assert_eq!(prices.cost_micros(412, 400, 37), 54, "1.8 + 30 + 22.2");
        assert_eq!(prices.cost_micros(1, 0, 0), 1);
        assert_eq!(prices.cost_micros(1, 5, 0), 1, "no more can be cached than was read");
        assert_eq!(prices.cost_micros(0, 0, 0), 0);
        assert_eq!(prices.cost_micros(u64::MAX, 0, u64::MAX), u64::MAX - u64::MAX / 4, "three quarters, rounded up");
        assert_eq!(Prices::default().cost_micros(1_000, 0, 1_000), 0);
    }
}
