//! The hot paths of the tables: counting records, finishing windows, judging and learning them.
//!
//! ```text
//! cargo bench -p peak-benches --bench tables
//! ```

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use peak_core::{CountMoments, GlobalTable, Key, KeyWindow, LocalTable, Record, Schema, Span, Tz, Window};
use peak_detectors::{Classic, Engine, Peak};
use std::hint::black_box;
use std::time::Duration;

const RECORDS: usize = 100_000;
const KEYS: usize = 10_000;

/// Records of 51 keys whose samples are hexadecimal digests, one in ten a repetition.
struct Feed {
    samples: Vec<String>,
    users: Vec<String>,
    types: Vec<String>,
}

impl Feed {
    fn new() -> Self {
        let mix = |i: usize| (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let digest = |i: usize| format!("{:016x}{:016x}{:08x}", mix(i), mix(i) ^ mix(i + 7), i);
        Feed {
            samples: (0..RECORDS).map(|i| digest(if i % 10 == 0 { i / 100 } else { i })).collect(),
            users: (0..400).map(|i| i.to_string()).collect(),
            types: (0..17).map(|i| format!("FileType{i}")).collect(),
        }
    }

    fn count(&self, day: Span) -> LocalTable {
        let mut table = LocalTable::new(day);
        for (i, sample) in self.samples.iter().enumerate() {
            let severity = ["benign", "malicious", "suspicious"][i % 3];
            table.add(&Record {
                time: day.start(),
                sample: Some(sample),
                dimensions: &[severity, &self.types[i % 17]],
                blame: &[Some(&self.users[i * i % 400]), Some("API")],
                measures: &[],
            });
        }
        table
    }
}

fn local(c: &mut Criterion) {
    let (feed, day) = (Feed::new(), Span::days("2020-11-01", "2020-11-02").unwrap()[0]);
    let mut group = c.benchmark_group("local");
    group.throughput(Throughput::Elements(RECORDS as u64)).sample_size(20);
    group.bench_function("count", |b| b.iter(|| feed.count(day)));
    let table = feed.count(day);
    group.bench_function("finish", |b| b.iter(|| table.finish()));
    let merge = |(mut left, right): (LocalTable, LocalTable)| {
        left.merge(right).unwrap();
        left
    };
    let twice = || (table.clone(), table.clone());
    group.bench_function("merge", |b| b.iter_batched(twice, merge, BatchSize::LargeInput));
    group.finish();
}

fn global(c: &mut Criterion) {
    let days = Span::days("2020-11-01", "2020-12-13").unwrap();
    let windows = |span: Span| -> Vec<KeyWindow> {
        let samples: CountMoments = [3, 1, 1, 1].into_iter().collect();
        let window = Window { events: 6, samples, ..Window::default() };
        (0..KEYS)
            .map(|i| KeyWindow { key: Key::new([i.to_string()]), span, window: window.clone() })
            .collect()
    };
    let mut history = GlobalTable::new(Duration::from_secs(42 * 86_400));
    let schema = Schema::builder().time("t").sample("s").dimensions(["k"]).build().unwrap();
    let mut group = c.benchmark_group("global");
    group.throughput(Throughput::Elements(KEYS as u64)).sample_size(20);
    days[..41].iter().for_each(|&day| history.learn(day, &windows(day)).unwrap());
    let last = windows(days[41]);
    let learn = |mut history: GlobalTable| {
        history.learn(days[41], &last).unwrap();
        history
    };
    group.bench_function("learn", |b| b.iter_batched(|| history.clone(), learn, BatchSize::LargeInput));
    let observe = |mut engine: Engine<Peak>| {
        black_box(engine.observe(days[41], &schema, &last).unwrap());
        engine
    };
    let rules = [
        ("judge and learn, classic", Peak::classic(Classic::new(&schema, Tz::UTC))),
        ("judge and learn, calibrated", Peak::default()),
    ];
    for (name, rule) in rules {
        let mut engine = Engine::new(rule);
        days[30..41].iter().for_each(|&day| drop(engine.observe(day, &schema, windows(day)).unwrap()));
        group.bench_function(name, |b| b.iter_batched(|| engine.clone(), observe, BatchSize::LargeInput));
    }
    group.finish();
}

criterion_group!(tables, local, global);
criterion_main!(tables);
