//! A detector of one's own: the rest comes with it.
//!
//! It runs alone, in a box beside others, and in an engine, one per key; it explains itself, and it is saved
//! and restored. `peak_detectors::testing::check_detector` says whether it keeps the contract; see the test
//! below.

use anyhow::Result;
use peak_core::{Key, Schema, Span, Summaries, Summary, Timestamp};
use peak_detectors::{
    AnyDetector, Detector, Engine, Evidence, Explanation, Fleet, Footprint, Mad, Observation, PerKey,
    Persist, Point, Refusal, Verdict,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Alarms on values of more than twice the highest that it has seen.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct TwiceAsHigh {
    highest: f64,
    seen: u64,
}

impl Detector<Point> for TwiceAsHigh {
    fn judge(&self, x: &Point) -> Result<Verdict, Refusal> {
        let evidence = self.evidence(x)?;
        Ok(Verdict { score: x.value / self.highest.max(1.0), anomalous: evidence.exceeded, p_value: None })
    }

    fn learn(&mut self, x: &Point) {
        if x.is_usable() {
            (self.highest, self.seen) = (self.highest.max(x.value), self.seen.saturating_add(1));
        }
    }

    fn explain(&self, x: &Point) -> Result<Explanation, Refusal> {
        self.evidence(x).map(Explanation::of)
    }
}

impl TwiceAsHigh {
    fn evidence(&self, x: &Point) -> Result<Evidence, Refusal> {
        match self.seen {
            _ if !x.is_usable() => Err(Refusal::NotFinite),
            have @ 0..20 => Err(Refusal::TooShort { have, need: 20 }),
            _ => Ok(Evidence::new("value", x.value).with_bounds(None, Some(2.0 * self.highest))),
        }
    }
}

/// It has nothing on the heap.
impl Footprint for TwiceAsHigh {}

impl Persist for TwiceAsHigh {
    type Memory = Self;
    const KIND: &'static str = "twice as high";
    const VERSION: u16 = 1;

    fn memory(&self) -> impl Serialize {
        self
    }

    fn restore(&mut self, memory: Self) -> peak_core::Result<()> {
        *self = memory;
        Ok(())
    }
}

fn main() -> Result<()> {
    let at =
        |minute: i64, value: f64| Timestamp::from_millis(60_000 * minute).map(|time| Point::new(time, value));

    // Alone.
    let mut own = TwiceAsHigh::default();
    for minute in 0..60 {
        own.learn(&at(minute, (minute % 7) as f64)?);
    }
    println!("alone: {}", own.explain(&at(60, 30.0)?)?);

    // In a box, beside another one.
    let mut boxes: [Box<dyn AnyDetector<Point>>; 2] =
        [Box::new(TwiceAsHigh::default()), Box::new(Mad::default())];
    for detector in &mut boxes {
        for minute in 0..60 {
            detector.learn(&at(minute, (minute % 7) as f64)?);
        }
        println!("in a box: {}", detector.explain(&at(60, 30.0)?)?);
    }

    // In an engine, one per key, saved and resumed.
    let records = |x: &Observation<'_>| Point::new(x.span.start(), x.summary.records as f64);
    let per_key = || PerKey::new(Fleet::new(|_| TwiceAsHigh::default()), records);
    let schema = Arc::new(Schema::builder().time("time").dimensions(["host"]).build()?);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("hosts.peak");
    for (i, day) in Span::days("2020-11-01", "2020-12-01")?.into_iter().enumerate() {
        let mut engine = Engine::open(&path, per_key())?;
        let counts = [("web-1", 100 + i * 7 % 13), ("web-2", if i == 29 { 900 } else { 20 + i * 5 % 7 })];
        let rows = counts.map(|(host, records)| (Key::new([host]), Summary::new(records as u64)));
        for found in engine.take(Summaries::new(Arc::clone(&schema), day, rows)?)? {
            println!("per key: {found}");
        }
        engine.save()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use peak_detectors::testing::check_detector;

    #[test]
    fn it_keeps_the_contract() {
        let at = |i: i64, value| Point::new(Timestamp::from_millis(60_000 * i).unwrap(), value);
        let feed: Vec<Point> = (0..100).map(|i| at(i, (i * 37 % 41) as f64)).collect();
        let odd = [f64::NAN, f64::INFINITY, -1e300, 0.0, -5.0, 1e99].map(|value| at(101, value));
        check_detector(TwiceAsHigh::default, &feed, &at(100, 10_000.0), &odd);
    }
}
