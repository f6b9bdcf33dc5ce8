//! The hot paths of the tables: counting records, finishing windows, judging and learning them.
//!
//! ```text
//! cargo bench -p peak-benches --bench tables
//! ```

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use peak_core::{CountMoments, GlobalTable, Key, LocalTable, Record, Schema, Span, Summaries, Summary, Tz};
use peak_detectors::{Classic, Engine, Peak};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const RECORDS: usize = 100_000;
const KEYS: usize = 10_000;

/// Records of 51 keys whose samples are hexadecimal digests, one in ten a repetition.
struct Feed {
    schema: Arc<Schema>,
    samples: Vec<String>,
    users: Vec<String>,
    types: Vec<String>,
}

impl Feed {
    fn new() -> Self {
        let mix = |i: usize| (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let digest = |i: usize| format!("{:016x}{:016x}{:08x}", mix(i), mix(i) ^ mix(i + 7), i);
        Feed {
            schema: Arc::new(Schema::file_types()),
            samples: (0..RECORDS).map(|i| digest(if i % 10 == 0 { i / 100 } else { i })).collect(),
            users: (0..400).map(|i| i.to_string()).collect(),
            types: (0..17).map(|i| format!("FileType{i}")).collect(),
        }
    }

    fn count(&self, day: Span) -> LocalTable {
        let mut table = LocalTable::new(Arc::clone(&self.schema), day);
        for (i, sample) in self.samples.iter().enumerate() {
            let severity = ["benign", "malicious", "suspicious"][i % 3];
            let (dimensions, user) = ([severity, &self.types[i % 17]], &self.users[i * i % 400]);
            let labels = [Some(sample.as_str()), Some(user), Some("API")];
            table.add(&Record::new(day.start(), &dimensions).with_labels(&labels)).unwrap();
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
    let schema = Arc::new(Schema::builder().time("t").sample("s").dimensions(["k"]).build().unwrap());
    let window = |day: Span| {
        let summary = Summary::new(6).with_samples([3, 1, 1, 1].into_iter().collect::<CountMoments>());
        let rows = (0..KEYS).map(|i| (Key::new([i.to_string()]), summary.clone()));
        Summaries::new(Arc::clone(&schema), day, rows).unwrap()
    };
    let mut history = GlobalTable::new(Duration::from_secs(42 * 86_400));
    let mut group = c.benchmark_group("global");
    group.throughput(Throughput::Elements(KEYS as u64)).sample_size(20);
    days[..41].iter().for_each(|&day| history.learn(&window(day)).unwrap());
    let last = window(days[41]);
    let learn = |mut history: GlobalTable| {
        history.learn(&last).unwrap();
        history
    };
    group.bench_function("learn", |b| b.iter_batched(|| history.clone(), learn, BatchSize::LargeInput));
    let take = |(mut engine, window): (Engine<Peak>, Summaries)| {
        black_box(engine.take(window).unwrap());
        engine
    };
    let rules = [
        ("judge and learn, classic", Peak::classic(Classic::new(&schema, Tz::UTC))),
        ("judge and learn, calibrated", Peak::default()),
    ];
    for (name, rule) in rules {
        let mut engine = Engine::new(rule);
        days[30..41].iter().for_each(|&day| drop(engine.take(window(day)).unwrap()));
        let both = || (engine.clone(), last.clone());
        group.bench_function(name, |b| b.iter_batched(both, take, BatchSize::LargeInput));
    }
    group.finish();
}

criterion_group!(tables, local, global);
criterion_main!(tables);
