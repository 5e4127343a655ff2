//! What was seen of memory, and whether it is as it should be.

use std::time::Duration;

use serde_json::json;

/// The server at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Since the beginning.
    pub(super) at: Duration,
    /// Turns that were answered.
    pub(super) said: u64,
    /// Conversations in memory.
    pub(super) active: u64,
    /// What they take, as the server estimates it, in bytes.
    pub(super) estimate: u64,
    /// What the process takes, in bytes.
    pub(super) resident: u64,
}

impl Sample {
    pub(super) fn print(&self, json: bool) {
        let (seconds, estimate, resident) = (self.at.as_secs(), self.estimate >> 20, self.resident >> 20);
        if json {
            let line = json!({
                "second": seconds, "turns": self.said, "active": self.active, "estimate_mib": estimate,
                "resident_mib": resident,
            });
            return println!("{line}");
        }
        let (said, active) = (self.said, self.active);
        println!(
            "{seconds:>5} s  {said:>8} turns  {active:>7} in memory, about {estimate} MiB  resident {resident} MiB"
        );
    }
}

/// One figure and its bound.
#[derive(Debug)]
pub(super) struct Verdict {
    what: &'static str,
    told: String,
    well: bool,
}

impl Verdict {
    pub(super) fn at_most(what: &'static str, found: u64, bound: u64) -> Self {
        Self { what, told: format!("{found}, at most {bound}"), well: found <= bound }
    }

    /// Whether bytes grew by no more than `bound` per cent.
    pub(super) fn growth(what: &'static str, before: u64, after: u64, bound: u64) -> Self {
        let well = after.saturating_mul(100) <= before.saturating_mul(100 + bound);
        let grown = i128::from(after) * 1000 / i128::from(before.max(1)) - 1000;
        let sign = if grown < 0 { "-" } else { "+" };
        let (whole, tenth) = (grown.abs() / 10, grown.abs() % 10);
        let told = format!("{} MiB, {} MiB: {sign}{whole}.{tenth} %, at most +{bound} %", before >> 20, after >> 20);
        Self { what, told, well }
    }
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct MemoryReport {
    pub(super) name: &'static str,
    pub(super) seconds: f64,
    pub(super) verdicts: Vec<Verdict>,
}

impl MemoryReport {
    /// Whether everything is within its bound.
    pub(crate) fn is_well(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.well)
    }

    pub(crate) fn print(&self, json: bool) {
        if json {
            let verdicts: Vec<_> = self
                .verdicts
                .iter()
                .map(|verdict| json!({ "what": verdict.what, "found": verdict.told, "well": verdict.well }))
                .collect();
            let line = json!({ "run": self.name, "seconds": self.seconds.round(), "verdicts": verdicts });
            return println!("{line}");
        }
        println!("{:<8} {:.0} s", self.name, self.seconds);
        for Verdict { what, told, well } in &self.verdicts {
            println!("  {} {what}: {told}", if *well { "ok " } else { "NOT" });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_held_against_its_bound() {
        for (before, after, well, told) in [
            (100, 105, true, "+5.0 %"),
            (1000, 1051, false, "+5.1 %"),
            (1000, 900, true, "-10.0 %"),
            (1000, 996, true, "-0.4 %"),
        ] {
            let verdict = Verdict::growth("", before << 20, after << 20, 5);
            assert_eq!(verdict.well, well, "{verdict:?}");
            assert!(verdict.told.contains(told), "{verdict:?}");
        }
        assert!(Verdict::at_most("", 3, 3).well && !Verdict::at_most("", 4, 3).well);
    }
}
