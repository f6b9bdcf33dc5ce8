//! A detector per key: as a fleet, and in an engine.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use peak_core::{Key, Schema, Span, Summaries, Summary, Timestamp};
use peak_detectors::{
    AnyDetector, AnyPersist, Detector, Engine, Explanation, Fleet, Footprint, Judged, Mad, Observation,
    PerKey, Persist, Point, PoolVerdict, Refusal, RsHash, SigmaEnsemble, Step, TableDetector, TableWindow,
    Verdict,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

fn minute(i: usize) -> Timestamp {
    Timestamp::from_millis(60_000 * i as i64).unwrap()
}

/// From -1 to 1.
fn noise(i: usize) -> f64 {
    let x = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((x ^ (x >> 29)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn restored<D: Persist>(saved: &D, mut fresh: D) -> D {
    fresh.restore_snapshot(&saved.snapshot().unwrap()).unwrap();
    fresh
}

#[test]
fn a_restored_fleet_goes_on_with_the_same_bits() {
    let make = || Fleet::new(|_| SigmaEnsemble::default().with_window(200).unwrap());
    let keys: Vec<Key> = (0..7).map(|i| Key::new([format!("host-{i}")])).collect();
    let round = |i: usize| -> Vec<(Key, Point)> {
        let point =
            |k: usize| Point::new(minute(i), noise(i * 7 + k) + if i % 300 == 299 { 9.0 } else { 0.0 });
        keys.iter().enumerate().map(|(k, key)| (key.clone(), point(k))).collect()
    };
    let mut one = make();
    let mut three = make();
    let threads = NonZeroUsize::new(3).unwrap();
    let mut anomalous = 0;
    for i in 0..500 {
        let judged = one.step(&round(i), NonZeroUsize::MIN);
        anomalous += judged.iter().filter(|judged| judged.is_ok_and(|verdict| verdict.anomalous)).count();
        assert_eq!(format!("{judged:?}"), format!("{:?}", three.step(&round(i), threads)));
    }
    assert_eq!(anomalous, 7);
    let mut again = restored(&one, make());
    for i in 500..1_500 {
        let judged = one.step(&round(i), NonZeroUsize::MIN);
        assert_eq!(format!("{judged:?}"), format!("{:?}", again.step(&round(i), threads)));
    }
}

/// Remembers how many points it has seen, takes so many bytes for each, and finds nothing.
#[derive(Debug, Clone, Default)]
struct Growing(usize);

impl Detector<Point> for Growing {
    fn judge(&self, _: &Point) -> Result<Verdict, Refusal> {
        Ok(Verdict { score: self.0 as f64, anomalous: false, p_value: None })
    }

    fn learn(&mut self, _: &Point) {
        self.0 += 1;
    }

    fn explain(&self, _: &Point) -> Result<Explanation, Refusal> {
        Err(Refusal::Empty)
    }
}

impl Footprint for Growing {
    fn bytes(&self) -> usize {
        self.0.min(7)
    }
}

proptest! {
    /// What the budget says, done in the plainest way: after each step, who was silent for longest goes, of
    /// several the smallest.
    #[test]
    fn a_fleet_with_a_budget_forgets_what_is_silent_for_longest(
        steps in prop::collection::vec((prop::collection::vec((0..12usize, 0..40usize), 1..6), prop::option::of(0..12usize)), 1..60),
        budget in 5..60usize,
        threads in 1..4usize,
    ) {
        let key = |i: usize| Key::new([format!("{i:02}")]);
        let mut fleet = Fleet::new(|_| Growing::default()).with_budget(budget);
        let mut plain: BTreeMap<Key, (Timestamp, usize)> = BTreeMap::new();
        let mut evicted = 0;
        for (points, removed) in steps {
            if let Some(removed) = removed {
                prop_assert_eq!(fleet.remove(&key(removed)).is_some(), plain.remove(&key(removed)).is_some());
            }
            let points: Vec<(Key, Point)> =
                points.into_iter().map(|(i, at)| (key(i), Point::new(minute(at), 1.0))).collect();
            fleet.step(&points, NonZeroUsize::new(threads).unwrap());
            for (key, point) in &points {
                let (newest, seen) = plain.entry(key.clone()).or_insert((point.time, 0));
                (*newest, *seen) = ((*newest).max(point.time), *seen + 1);
            }
            let bytes = |plain: &BTreeMap<Key, (Timestamp, usize)>| plain.values().map(|(_, seen)| seen.min(&7)).sum::<usize>();
            while bytes(&plain) > budget {
                let oldest = plain.iter().min_by_key(|(key, (newest, _))| (*newest, (*key).clone())).unwrap().0.clone();
                plain.remove(&oldest);
                evicted += 1;
            }
            prop_assert_eq!(fleet.bytes(), bytes(&plain));
            prop_assert_eq!(fleet.evicted(), evicted);
            let kept: BTreeMap<&Key, usize> = fleet.iter().map(|(key, detector)| (key, detector.0)).collect();
            prop_assert_eq!(kept, plain.iter().map(|(key, (_, seen))| (key, *seen)).collect());
        }
    }
}

#[test]
fn a_fleet_forgets_the_keys_of_which_nothing_was_seen_since() {
    let mut fleet = Fleet::new(|_| Growing::default()).with_budget(1_000);
    let key = |i: usize| Key::new([i.to_string()]);
    for i in 0..5 {
        fleet.step(
            &[(key(i), Point::new(minute(i), 1.0)), (key(i), Point::new(minute(0), 1.0))],
            NonZeroUsize::MIN,
        );
    }
    // What was seen at the horizon was not seen since.
    fleet.forget_before(minute(2));
    assert_eq!(fleet.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), [key(3), key(4)]);
    assert_eq!((fleet.bytes(), fleet.evicted()), (4, 0));
}

/// Windows of ten hosts, a minute each; a spike at one of them.
fn windows(minutes: usize) -> Vec<Summaries> {
    let schema = Arc::new(Schema::builder().time("time").dimensions(["host"]).build().unwrap());
    let window = |i: usize| {
        let records = |host: usize| {
            if (i, host) == (150, 3) { 9_000 } else { (100.0 + 9.0 * noise(i * 11 + host)) as u64 }
        };
        let is_there = |host: &usize| *host != 5 || !i.is_multiple_of(4);
        let rows = (0..10)
            .filter(is_there)
            .map(|host| (Key::new([format!("host-{host}")]), Summary::new(records(host))));
        Summaries::new(Arc::clone(&schema), Span::new(minute(i), minute(i + 1)).unwrap(), rows).unwrap()
    };
    (0..minutes).map(window).collect()
}

fn records(x: &Observation<'_>) -> Point {
    Point::new(x.span.start(), x.summary.records as f64)
}

fn json(steps: &[Step]) -> String {
    serde_json::to_string(steps).unwrap()
}

#[test]
fn any_detector_runs_in_an_engine_one_per_key() {
    let boxed = |key: &Key| -> Box<dyn AnyDetector<Point>> {
        match key.values().next() {
            Some("host-3" | "host-4") => Box::new(Mad::default()),
            _ => Box::new(SigmaEnsemble::default().with_window(120).unwrap()),
        }
    };
    let make = |threads: usize| {
        PerKey::new(Fleet::new(boxed), records).with_threads(NonZeroUsize::new(threads).unwrap())
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts.peak");
    let windows = windows(200);
    let steps = |engine: &mut Engine<_>, windows: &[Summaries]| -> Vec<Step> {
        windows.iter().map(|window| engine.take(window).unwrap()).collect()
    };
    let expected = steps(&mut Engine::new(make(1)), &windows);
    let found: Vec<String> = expected.iter().flat_map(|step| &step.found).map(ToString::to_string).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with(
            "host-3: 9000 records from 1970-01-01T02:30:00Z to 1970-01-01T02:31:00Z: value 9000 (above"
        ),
        "{found:?}"
    );

    // On several threads, saved and resumed in the middle.
    let mut engine = Engine::open(&path, make(3)).unwrap();
    let mut again = steps(&mut engine, &windows[..140]);
    engine.save().unwrap();
    drop(engine);
    let mut engine = Engine::open(&path, make(2)).unwrap();
    assert!(!engine.relearned());
    again.extend(steps(&mut engine, &windows[140..]));
    assert_eq!(json(&again), json(&expected));

    // A key that has left is forgotten by both.
    let left = Key::new(["host-3"]);
    engine.retain(|key| *key != left);
    assert!(engine.detector().fleet().get(&left).is_none() && engine.history().get(&left).is_none());
    assert_eq!(engine.detector().fleet().len(), 9);

    // Detectors of another kind than those that were saved are not taken for them.
    engine.save().unwrap();
    drop(engine);
    let boxes = Fleet::new(boxed).snapshot().unwrap();
    let error = Fleet::new(|_| RsHash::builder(1).build().unwrap()).restore_snapshot(&boxes).unwrap_err();
    assert!(error.to_string().contains("must be of a detector of the kind rs-hash, got box"), "{error}");
    // Nor are those of another version: they learn from the history.
    let again = Engine::open(&path, PerKey::new(Fleet::new(|_| Mad::default()), records)).unwrap();
    assert!(again.relearned() && again.detector().fleet().len() == 9);
}

#[test]
fn what_was_stepped_is_explained_in_the_same_step() {
    let mut fleet = Fleet::new(|_| Mad::default());
    let key = Key::new(["a"]);
    for i in 0..100 {
        fleet.step(&[(key.clone(), Point::new(minute(i), noise(i)))], NonZeroUsize::MIN);
    }
    let spike = [(key.clone(), Point::new(minute(100), 99.0))];
    let before = fleet.explain(&key, &spike[0].1).unwrap();
    let told =
        fleet.step_told(&spike, NonZeroUsize::MIN, &|verdict| verdict.anomalous).swap_remove(0).unwrap();
    assert!(told.verdict.anomalous);
    assert_eq!(told.explanation, Some(Ok(before)));
}

#[test]
fn a_key_without_records_gets_no_detector() {
    let mut engine = Engine::new(PerKey::new(Fleet::new(|_| Mad::default()), records));
    for window in windows(20) {
        engine.take(&window).unwrap();
    }
    let none = |key: &Key| !key.values().any(|host| host == "host-3");
    engine.retain(none);
    // It is known to nobody, and silent.
    let mut next = windows(21).pop().unwrap();
    next.retain(none);
    let step = engine.take(next).unwrap();
    assert_eq!(engine.detector().fleet().len(), 9);
    assert_eq!(step.judged + step.refused.values().sum::<u64>(), 9);
}

/// Says of all keys together that they are silent.
#[derive(Debug, Clone)]
struct Silence;

impl TableDetector for Silence {
    fn judge(&self, window: &TableWindow<'_>) -> Judged {
        let quiet = Verdict { score: 0.0, anomalous: false, p_value: None };
        let judged = Judged::new(vec![Ok(quiet); window.keys.len()]);
        let is_silent = !window.keys.is_empty() && window.keys.iter().all(|x| x.summary.records == 0);
        let pool = PoolVerdict {
            verdict: Verdict { score: 1.0, anomalous: true, p_value: None },
            factor: 0.0,
            keys: window.keys.len() as u64,
        };
        if is_silent { judged.with_pool(pool) } else { judged }
    }

    fn learn(&mut self, _: &TableWindow<'_>) {}

    fn explain(
        &self,
        _: &TableWindow<'_>,
        _: &Judged,
        places: &[usize],
    ) -> Vec<Result<Explanation, Refusal>> {
        vec![Err(Refusal::Empty); places.len()]
    }
}

impl Persist for Silence {
    type Memory = ();
    const KIND: &'static str = "silence";
    const VERSION: u16 = 1;

    fn memory(&self) -> impl serde::Serialize {}

    fn restore(&mut self, (): ()) -> peak_core::Result<()> {
        Ok(())
    }
}

#[test]
fn what_happens_to_all_keys_is_told_once() {
    let mut engine = Engine::new(Silence);
    let mut windows = windows(3);
    windows[2].retain(|_| false);
    let pools: Vec<Option<String>> =
        windows.iter().map(|window| engine.take(window).unwrap().pool.map(|pool| pool.to_string())).collect();
    assert_eq!(pools, [None, None, Some("all 10 keys are silent".to_owned())]);
}
