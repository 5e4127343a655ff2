//! The closed loop, and what it reports.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use serde_json::json;
use tokio::task::JoinSet;

use crate::LoadArgs;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Report {
    name: &'static str,
    pub(crate) per_s: f64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    latencies: Histogram<u64>,
}

impl Report {
    pub(crate) fn p99(&self) -> Duration {
        Duration::from_micros(self.latencies.value_at_quantile(0.99))
    }

    pub(crate) fn print(&self, json: bool) {
        let at = |quantile| self.latencies.value_at_quantile(quantile);
        if json {
            let line = json!({
                "run": self.name,
                "turns_per_s": self.per_s.round(),
                "p50_us": at(0.5), "p95_us": at(0.95), "p99_us": at(0.99), "max_us": self.latencies.max(),
                "errors": self.errors, "first_error": self.first_error,
            });
            println!("{line}");
            return;
        }
        let (p50, p95, p99) = (at(0.5), at(0.95), at(0.99));
        println!(
            "{:<8} {:>9.0}/s  p50 {p50} µs  p95 {p95} µs  p99 {p99} µs  errors {}",
            self.name, self.per_s, self.errors
        );
        if let Some(error) = &self.first_error {
            println!("         first error: {error}");
        }
    }
}

struct Measured {
    latencies: Histogram<u64>,
    errors: u64,
    first_error: Option<String>,
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

/// Runs `args.concurrency` callers, each of which calls again as soon as it is answered.
pub(crate) async fn run<C, F>(
    name: &'static str,
    args: &LoadArgs,
    mut caller: impl FnMut(usize) -> C,
) -> anyhow::Result<Report>
where
    C: FnMut() -> F + Send + 'static,
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let begin = Instant::now() + Duration::from_secs(args.warm_up);
    let end = begin + Duration::from_secs(args.duration);
    let mut callers = JoinSet::new();
    for number in 0..args.concurrency {
        callers.spawn(call_until(begin, end, caller(number)));
    }
    let mut total = Measured { latencies: histogram()?, errors: 0, first_error: None };
    while let Some(measured) = callers.join_next().await {
        let measured = measured??;
        total.latencies.add(&measured.latencies)?;
        total.errors += measured.errors;
        total.first_error = total.first_error.or(measured.first_error);
    }
    let Measured { latencies, errors, first_error } = total;
    #[expect(clippy::cast_precision_loss, reason = "a count of calls fits a float's 52 bits")]
    let per_s = latencies.len() as f64 / args.duration as f64;
    Ok(Report { name, per_s, errors, first_error, latencies })
}

async fn call_until<C, F>(begin: Instant, end: Instant, mut call: C) -> anyhow::Result<Measured>
where
    C: FnMut() -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let mut measured = Measured { latencies: histogram()?, errors: 0, first_error: None };
    loop {
        let sent = Instant::now();
        if sent >= end {
            return Ok(measured);
        }
        let answered = call().await;
        let latency = sent.elapsed();
        match answered {
            Ok(()) if sent >= begin => {
                measured.latencies.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
            }
            Ok(()) => {}
            Err(error) => {
                measured.errors += 1;
                measured.first_error.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }
}
