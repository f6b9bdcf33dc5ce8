//! A feed that is counted as it comes gives, bit for bit, what the same records give as an archive.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use peak_core::{
    Grid, Intake, Limits, Live, LocalTable, Placed, Record, Report, Result, Schema, Source, Span, Timestamp,
    Windows,
};
use peak_detectors::{Amendment, Budget, Calibrated, Engine, Peak, Phases, Step};
use proptest::prelude::*;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::time::Duration;

/// Time, key, sample, weight.
type Row = (i64, u8, u8, u64);

const WINDOWS: i64 = 20;
const END: i64 = WINDOWS * 1_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn schema() -> Schema {
    Schema::builder().time("t").sample("s").dimensions(["k"]).blame(["who"]).measures(["m"]).build().unwrap()
}

fn with<R>(&(millis, key, sample, weight): &Row, visit: impl FnOnce(&Record<'_>) -> R) -> R {
    let (key, text) = (key.to_string(), sample.to_string());
    let (dimensions, labels) = ([key.as_str()], [Some(text.as_str()), (sample > 1).then_some("somebody")]);
    let measures = [Some(0.1 * f64::from(sample))];
    visit(
        &Record::new(at(millis), &dimensions)
            .with_labels(&labels)
            .with_measures(&measures)
            .with_weight(weight),
    )
}

/// The rows as an archive.
struct Archive(Schema, Vec<Row>);

impl Source for Archive {
    fn schema(&self) -> &Schema {
        &self.0
    }

    fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>) -> Result<Report> {
        let mut intake = Intake::new(span);
        for row in &self.1 {
            if with(row, |record| intake.offer(record, visit)).is_break() {
                break;
            }
        }
        intake.finish()
    }
}

fn rule() -> Peak {
    let budget = Budget::per_key_window(0.05).unwrap();
    Peak::calibrated(Calibrated::new(budget).with_phases(Phases::NONE))
}

fn feed() -> Live {
    let grid = Grid::every(Duration::from_secs(1)).unwrap();
    Live::new(&schema(), grid).with_grace(Duration::from_millis(1_500)).with_late(3)
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    // Most of the time of much the same size, so that something stands out now and then.
    let row = (0..END, 0..3u8, prop_oneof![9 => 0..4u8, 1 => Just(9)], 1..4u64);
    prop::collection::vec(row, 1..300)
}

/// The windows from the first record on, as an archive is asked for them.
fn windows(rows: &[Row]) -> Windows {
    let first = rows.iter().map(|row| row.0).min().unwrap() / 1_000 * 1_000;
    Windows::every(Span::new(at(first), at(END)).unwrap(), Duration::from_secs(1)).unwrap()
}

/// What a step says, whatever was read for it.
fn told(step: &Step) -> String {
    let (window, refused) = (step.window, &step.refused);
    serde_json::to_string(&(window, step.judged, refused, &step.found)).unwrap()
}

fn bytes(engine: &Engine<Peak>) -> Vec<u8> {
    let mut bytes = Vec::new();
    engine.write(&mut bytes).unwrap();
    bytes
}

fn take_all(engine: &mut Engine<Peak>, tables: Vec<LocalTable>, steps: &mut Vec<String>) {
    steps.extend(tables.into_iter().map(|table| told(&engine.take(table).unwrap())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_arrival_order_within_the_grace_over_any_shards_in_any_batches_is_the_archive(
        rows in rows(),
        delays in prop::collection::vec(0..=1_500i64, 300),
        shards in prop::collection::vec(0..3usize, 300),
        batch in 1..40usize,
    ) {
        let mut arrivals: Vec<(i64, usize, Row)> =
            rows.iter().zip(delays).zip(shards).map(|((row, delay), shard)| (row.0 + delay, shard, *row)).collect();
        arrivals.sort_unstable();
        let (mut live, mut engine, mut steps) = (feed(), Engine::new(rule()), Vec::new());
        for batch in arrivals.chunks(batch) {
            let mut parts = [1, 2, 3].map(|_| feed());
            for (_, shard, row) in batch {
                prop_assert_eq!(with(row, |record| parts[*shard].push(record)).unwrap(), Placed::Counted);
            }
            parts.into_iter().for_each(|part| live.merge(part).unwrap());
            // What has arrived by now cannot be older than this, whatever the clock of the records says.
            let (now, _, _) = batch[batch.len() - 1];
            take_all(&mut engine, live.close(at(now)), &mut steps);
        }
        take_all(&mut engine, live.close(at(END + 1_500)), &mut steps);

        let mut whole = Engine::new(rule());
        let expected = whole.run(&Archive(schema(), rows.clone()), &windows(&rows)).unwrap();
        prop_assert_eq!(steps, expected.iter().map(told).collect::<Vec<_>>());
        prop_assert_eq!(bytes(&engine), bytes(&whole));
        prop_assert_eq!(live.report().counted, rows.len() as u64);
    }

    #[test]
    fn late_records_amend_their_windows_as_if_they_had_come_in_time(
        rows in rows(),
        delays in prop::collection::vec(prop_oneof![4 => 0..1_500i64, 1 => 1_500..4_000i64], 300),
    ) {
        let mut arrivals: Vec<(i64, Row)> =
            rows.iter().zip(delays).map(|(row, delay)| (row.0 + delay, *row)).collect();
        arrivals.sort_unstable();
        let (mut live, mut engine) = (feed(), Engine::new(rule()).with_lateness(3).unwrap());
        let (mut counted, mut merged, mut too_late) = (Vec::new(), 0, 0);
        for (now, row) in arrivals {
            take_all(&mut engine, live.close(at(now)), &mut Vec::new());
            let placed = with(&row, |record| live.push(record)).unwrap();
            if placed == Placed::TooLate {
                too_late += 1;
            } else {
                counted.push(row);
            }
            let Amendment { merged: more, too_early, too_late, .. } = engine.amend_tables(live.take_late()).unwrap();
            merged += more;
            prop_assert_eq!((too_early, too_late), (0, 0));
            prop_assert_eq!(placed == Placed::Late, more > 0);
        }
        take_all(&mut engine, live.close(at(END + 6_000)), &mut Vec::new());
        prop_assert_eq!(live.report().too_late, too_late);
        prop_assert!(live.report().late <= merged);

        // The first window is that of the first record that came.
        let first = engine.history().learned().first().copied();
        let windows = windows_from(first);
        let mut whole = Engine::new(rule()).with_lateness(3).unwrap();
        whole.run(&Archive(schema(), counted), &windows).unwrap();
        prop_assert_eq!(engine.history(), whole.history());
        prop_assert_eq!(engine.detector(), whole.detector());
        prop_assert_eq!(bytes(&engine), bytes(&whole));
    }
}

/// All windows of the grid until the feed was closed for good.
fn windows_from(first: Option<Span>) -> Windows {
    let Some(first) = first else { return Windows::default() };
    let end = at((END + 6_000 - 1_500) / 1_000 * 1_000);
    Windows::every(Span::new(first.start(), end).unwrap(), Duration::from_secs(1)).unwrap()
}

/// A number that looks random.
fn noise(seed: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 29)
}

/// Rows in the order in which they arrive, with an event in some windows; some are late.
fn arrivals() -> Vec<(i64, Row)> {
    let mut arrivals: Vec<(i64, Row)> = (0..6_000_u64)
        .map(|i| {
            let random = noise(i);
            let burst = random.is_multiple_of(3) && (random / 7).is_multiple_of(4);
            let millis = if burst { 14_000 + (random % 1_000) as i64 } else { (random % 40_000) as i64 };
            let delay = if random.is_multiple_of(29) {
                1_500 + (random >> 20) % 2_500
            } else {
                (random >> 9) % 1_500
            };
            (millis + delay as i64, (millis, (random >> 13) as u8 % 4, (random >> 17) as u8 % 6, 1))
        })
        .collect();
    arrivals.sort_unstable();
    arrivals
}

/// A consumer of the feed: what a service does with a message.
struct Consumer {
    engine: Engine<Peak>,
    live: Live,
    next: usize,
}

impl Consumer {
    fn new() -> Self {
        let engine = Engine::new(rule()).with_lateness(3).unwrap();
        Consumer { engine, live: feed(), next: 0 }
    }

    /// Goes on from a checkpoint, or begins when there is none.
    fn resume(checkpoint: &[u8]) -> Self {
        if checkpoint.is_empty() {
            return Consumer::new();
        }
        let resumed = Engine::read(Cursor::new(checkpoint), "checkpoint", rule()).unwrap();
        let next = usize::from_le_bytes(resumed.cursor.try_into().unwrap());
        Consumer { engine: resumed.engine, live: resumed.live.unwrap(), next }
    }

    fn checkpoint(&mut self) -> Vec<u8> {
        let (mut bytes, cursor) = (Vec::new(), self.next.to_le_bytes());
        self.engine.write_checkpoint(&mut self.live, &cursor, &mut bytes).unwrap();
        bytes
    }

    /// Takes in the next message, and tells.
    fn step(&mut self, arrivals: &[(i64, Row)], told_so_far: &mut Vec<(usize, String)>) {
        let (now, row) = &arrivals[self.next];
        self.next += 1;
        for table in self.live.close(at(*now)) {
            told_so_far.push((self.next, told(&self.engine.take(table).unwrap())));
        }
        with(row, |record| self.live.push(record)).unwrap();
        let amendment = self.engine.amend_tables(self.live.take_late()).unwrap();
        if !amendment.corrections.is_empty() {
            told_so_far.push((self.next, serde_json::to_string(&amendment.corrections).unwrap()));
        }
    }
}

#[test]
fn five_hundred_kills_lose_nothing_and_count_nothing_twice() {
    let arrivals = arrivals();
    let (mut undisturbed, mut expected) = (Consumer::new(), Vec::new());
    while undisturbed.next < arrivals.len() {
        undisturbed.step(&arrivals, &mut expected);
    }
    assert!(expected.iter().any(|(_, told)| told.contains("verdict")), "something is found");
    assert!(expected.iter().any(|(_, told)| told.starts_with("[{\"span\"")), "something is corrected");

    let (mut consumer, mut saved, mut told) = (Consumer::new(), Vec::new(), Vec::new());
    let (mut told_when_saved, mut kills, mut random) = (0, 0, 1);
    while consumer.next < arrivals.len() {
        random = noise(random + 1);
        consumer.step(&arrivals, &mut told);
        if random.is_multiple_of(5) {
            saved = consumer.checkpoint();
            told_when_saved = told.len();
        }
        if (random >> 8).is_multiple_of(11) && kills < 500 {
            kills += 1;
            // What was told since the checkpoint is told again, word for word.
            let again = told.split_off(told_when_saved);
            let before = consumer.next;
            consumer = Consumer::resume(&saved);
            let mut replayed = Vec::new();
            while consumer.next < before {
                consumer.step(&arrivals, &mut replayed);
            }
            assert_eq!(replayed, again);
            told.extend(replayed);
        }
    }
    assert_eq!(kills, 500);
    assert_eq!(told, expected);
    assert_eq!(consumer.checkpoint(), undisturbed.checkpoint());
}

#[test]
fn a_collector_that_was_down_teaches_no_silence_and_nobody_is_gone() {
    let (mut live, mut engine) = (feed(), Engine::new(rule()));
    let mut steps = Vec::new();
    let window = |live: &mut Live, second: i64| {
        for i in 0..200 {
            for key in 0..4 {
                with(&(1_000 * second + i % 1_000, key, (i % 7) as u8, 1), |record| live.push(record))
                    .unwrap();
            }
        }
    };
    for second in 0..20 {
        window(&mut live, second);
        steps.extend(live.close(at(1_000 * second)).into_iter().map(|table| engine.take(table).unwrap()));
    }
    let (learned, before) = (engine.history().learned().len(), engine.detector().clone());
    live.not_observed(Span::new(at(20_000), at(26_500)).unwrap());
    for second in 27..30 {
        window(&mut live, second);
    }
    let down: Vec<Step> =
        live.close(at(28_500)).into_iter().map(|table| engine.take(table).unwrap()).collect();
    let [.., last] = &down[..] else { panic!("windows are handed out") };
    assert_eq!((last.window.start(), last.exposure), (at(26_000), 0.5));
    let unobserved: Vec<&Step> = down.iter().filter(|step| step.exposure < 1.0).collect();
    assert_eq!(unobserved.len(), 7);
    for step in unobserved {
        assert_eq!((step.found.len(), step.judged, step.refused["not observed"]), (0, 0, 4));
    }
    let whole = down.iter().filter(|step| step.exposure == 1.0).count();
    assert_eq!(engine.history().learned().len(), learned + whole);
    if whole == 0 {
        assert_eq!(engine.detector(), &before);
    }
    let after: Vec<Step> =
        live.close(at(32_000)).into_iter().map(|table| engine.take(table).unwrap()).collect();
    assert!(after[..3].iter().all(|step| step.judged == 4 && step.found.is_empty()), "{after:?}");
}

#[test]
fn a_budget_of_memory_holds_for_a_live_feed_and_its_engine_together() {
    let limits = Limits::default().with_memory(4 << 20);
    let mut live = feed().with_limits(limits);
    let mut engine = Engine::new(rule()).with_limits(limits).with_lateness(3).unwrap();
    let schema = schema();
    for i in 0..200_000_u64 {
        let (key, sample) = ((i % 4).to_string(), format!("{i:040x}"));
        let (dimensions, labels) = ([key.as_str()], [Some(sample.as_str()), Some(sample.as_str())]);
        let record = Record::new(at((i / 10) as i64), &dimensions).with_labels(&labels);
        assert_eq!(live.push(&record).unwrap(), Placed::Counted);
        if i.is_multiple_of(1_000) {
            for table in live.close(Timestamp::MIN) {
                engine.take(table).unwrap();
            }
            let used = live.memory_bytes() + engine.memory_bytes();
            assert!(used < (9 << 20), "{used} after {i} records");
        }
    }
    assert_eq!(engine.history().schema(), Some(&schema));
}
