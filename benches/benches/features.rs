//! The cost of a row of features: of one metric with two lags and four statistics of a window, and of five
//! metrics with two windows each, for one key and for a thousand.
//!
//! ```text
//! cargo bench -p peak-benches --bench features
//! ```
//!
//! Readings come every ten seconds; windows last ten minutes and an hour. `step` gives a row and learns
//! the reading, `features` gives the row only.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peak_benches::mix;
use peak_core::{Key, Timestamp};
use peak_detectors::{Feature, Features, Reading, TimeFeature};
use std::hint::black_box;
use std::time::Duration;

const INTERVAL: i64 = 10_000;
const READINGS: usize = 200_000;

fn window(seconds: u64) -> [Feature; 4] {
    let length = Duration::from_secs(seconds);
    [Feature::Mean(length), Feature::Std(length), Feature::Min(length), Feature::Max(length)]
}

fn one_metric() -> Features {
    let features = [Feature::Value, Feature::Lag(1), Feature::Lag(2)].into_iter().chain(window(600));
    Features::builder().metrics(["cpu"], features).build().unwrap()
}

fn five_metrics() -> Features {
    let features = [Feature::Value, Feature::Lag(1), Feature::Difference, Feature::Rate];
    let features = features.into_iter().chain(window(600)).chain(window(3_600));
    let names = ["cpu", "memory", "disk", "network", "errors"];
    let time = [TimeFeature::Hour, TimeFeature::Weekday];
    Features::builder().time(time).metrics(names, features).build().unwrap()
}

fn value(i: u64) -> f64 {
    50.0 + (mix(i) >> 40) as f64 / (1u64 << 20) as f64
}

fn rows(c: &mut Criterion) {
    let mut group = c.benchmark_group("features");
    group.throughput(Throughput::Elements(READINGS as u64)).sample_size(10);
    for (name, features) in [("one metric", one_metric()), ("five metrics", five_metrics())] {
        let width = features.metrics().len();
        let values: Vec<f64> = (0..(READINGS * width) as u64).map(value).collect();
        for keys in [1, 1_000] {
            let keys: Vec<Key> = (0..keys).map(|i| Key::new([format!("host-{i}")])).collect();
            let feed = |from: i64| {
                let at = move |i: usize| Timestamp::from_millis(INTERVAL * (from + i as i64)).unwrap();
                let (values, keys) = (&values, &keys);
                (0..READINGS).map(move |i| {
                    let values = &values[i * width..][..width];
                    Reading::new(&keys[i % keys.len()], at(i / keys.len()), values)
                })
            };
            let mut features = features.clone();
            let mut from = 0;
            group.bench_function(format!("step, {name}, {} keys", keys.len()), |b| {
                b.iter(|| {
                    black_box(features.rows(feed(from)));
                    from += (READINGS / keys.len()) as i64;
                });
            });
            let mut row = Vec::new();
            group.bench_function(format!("features, {name}, {} keys", keys.len()), |b| {
                b.iter(|| {
                    for reading in feed(from).take(keys.len()).cycle().take(READINGS) {
                        row = features.features(&reading).unwrap();
                    }
                });
            });
            black_box(&row);
        }
    }
    group.finish();
}

criterion_group!(features, rows);
criterion_main!(features);
