//! A damaged memory of features, of a detector of series or of one of streams is refused, or what is restored
//! from it works: scores are finite, and its own memory restores to the same.
//!
//! What is damaged is a memory that was learned: numbers in it are replaced by others of their kind, and
//! elements are taken away or doubled, so that most of it still decodes.

#![no_main]

mod damage;

use damage::{Edit, ODD, damaged};
use libfuzzer_sys::fuzz_target;
use peak_core::{Key, Timestamp, Tz};
use peak_detectors::series::{Duplicates, Kind, Seasonality};
use peak_detectors::{
    Detector, Feature, Features, Mad, OnFeatures, Persist, Point, Reading, RsHash, SigmaEnsemble,
    Standardisation, TimeFeature,
};
use std::borrow::Borrow;
use std::sync::LazyLock;
use std::time::Duration;

const START: i64 = 1_600_000_000_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A time, and values at that time.
type Element = (Timestamp, [f64; 2]);

fuzz_target!(|bytes: &[u8]| {
    let Some((&[subject, edits], bytes)) = bytes.split_first_chunk() else { return };
    let edits = size_of::<Edit>() * (1 + usize::from(edits % 3));
    let Some((edits, odd)) = bytes.split_at_checked(edits) else { return };
    let (edits, next) = (edits.as_chunks().0, elements(odd.as_chunks().0));
    let subjects = &*SUBJECTS;
    match usize::from(subject) % (4 + subjects.sigma.len() + subjects.mad.len()) {
        0 | 1 => subjects.rs_hash.check(edits, next.iter().map(|(_, values)| *values)),
        2 | 3 => {
            let keys = ["web-1", "db-1"].map(|key| Key::new([key]));
            let key = |i: usize| &keys[usize::from(i % 5 == 4)];
            let readings = next.iter().enumerate().map(|(i, element)| reading(key(i), element));
            subjects.features.check(edits, readings);
        }
        subject => {
            let points = next.iter().map(|(time, [value, _])| Point::new(*time, *value));
            match subjects.sigma.get(subject - 4) {
                Some(sigma) => sigma.check(edits, points),
                None => subjects.mad[subject - 4 - subjects.sigma.len()].check(edits, points),
            }
        }
    }
});

struct Subjects {
    sigma: Vec<Learned<SigmaEnsemble>>,
    mad: Vec<Learned<Mad>>,
    rs_hash: Learned<RsHash>,
    features: Learned<OnFeatures<RsHash>>,
}

static SUBJECTS: LazyLock<Subjects> = LazyLock::new(|| {
    let sigma = |window| SigmaEnsemble::default().with_window(window).expect("a window");
    let seasonal = sigma(60).with_seasonality(Seasonality::Weekly(Tz::Europe__Berlin));
    let patient = sigma(60).with_lateness(Duration::from_secs(7_200)).with_duplicates(Duplicates::Add);
    let skyline = SigmaEnsemble::skyline().with_window(110).expect("a window");
    let mad = |window| Mad::double().with_window(window).expect("a window");
    let rs_hash = |width| RsHash::builder(width).grids(6).half_life(50).false_alarm_rate(0.1).build();
    let rs_hash = |width| rs_hash(width).expect("a detector of rows");
    let gauge = |i: i64| point(i, noise(i));
    let seldom = |i: i64| point(20 * i, noise(i));
    // It only grows, until it falls as no counter does.
    let cleared = |i: i64| point(i, if i < -4 { 900.0 + i as f64 } else { 400.0 });
    let counter = |i: i64| point(i, 500.0 + (-130..=i).map(noise).sum::<f64>());
    Subjects {
        sigma: vec![
            Learned::new(sigma(100), (-130..0).map(gauge)),
            Learned::new(sigma(100), (-20..0).map(gauge)),
            Learned::new(sigma(100), (-130..0).map(counter)),
            Learned::new(sigma(100), (-130..0).map(cleared)),
            Learned::new(sigma(40).with_kind(Kind::Counter), (-70..0).map(cleared)),
            Learned::new(seasonal, (-130..0).map(seldom)),
            Learned::new(patient, (-70..0).map(gauge)),
            Learned::new(skyline, (-130..0).map(gauge)),
        ],
        mad: vec![Learned::new(mad(40), (-70..0).map(gauge)), Learned::new(mad(9), (-5..0).map(gauge))],
        rs_hash: Learned::new(rs_hash(2), (-100..0).map(values)),
        features: learned_features(rs_hash(26)),
    }
});

/// All features there are, standardised, before a detector of rows.
fn learned_features(detector: RsHash) -> Learned<OnFeatures<RsHash>> {
    let (short, long) = (Duration::from_secs(3 * 3_600), Duration::from_secs(12 * 3_600));
    let features = [
        Feature::Value,
        Feature::Lag(3),
        Feature::Mean(short),
        Feature::Std(short),
        Feature::Std(long),
        Feature::Min(short),
        Feature::Max(long),
        Feature::Difference,
        Feature::Rate,
        Feature::Residual,
    ];
    let time = [TimeFeature::Epoch, TimeFeature::Relative, TimeFeature::Hour, TimeFeature::Weekday];
    let builder = Features::builder().time(time).metrics(["cpu", "memory"], features);
    let fresh = builder.standardisation(Standardisation::Robust).build().expect("features");
    let (mut fitted, key) = (fresh.clone(), Key::new(["web-1"]));
    let elements: Vec<Element> = (-230..0).map(|i| (time_at(60 * i), values(i))).collect();
    fitted.fit(elements[..200].iter().map(|element| reading(&key, element))).expect("enough rows");
    let mut learned = OnFeatures::new(fitted, detector.clone());
    elements[200..].iter().for_each(|element| learned.learn(&reading(&key, element)));
    Learned { fresh: OnFeatures::new(fresh, detector), learned }
}

fn noise(i: i64) -> f64 {
    (i * 7_919).rem_euclid(101) as f64 / 11.0
}

fn values(i: i64) -> [f64; 2] {
    [noise(i), if i % 7 == 3 { f64::NAN } else { noise(i * i) }]
}

fn time_at(minute: i64) -> Timestamp {
    time(START + MINUTE * minute)
}

fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap_or(Timestamp::MAX)
}

fn point(minute: i64, value: f64) -> Point {
    Point::new(time_at(minute), value)
}

fn reading<'a>(key: &'a Key, (time, values): &'a Element) -> Reading<'a> {
    Reading::new(key, *time, values)
}

/// What comes after the damage: odd times and values as told, then what is usual.
fn elements(odd: &[[u8; 2]]) -> Vec<Element> {
    let mut millis = START;
    let odd = odd.iter().take(40).map(|&[step, value]| {
        millis = millis.saturating_add(match step {
            0 => 0,
            1 => -MINUTE,
            2 => -HOUR,
            3 => 1,
            4 => HOUR,
            5 => 30 * DAY,
            6 => 60 * DAY,
            7 => Timestamp::MAX.millis(),
            _ => MINUTE,
        });
        let number = ODD.get(usize::from(value)).copied().unwrap_or(f64::from(value) / 11.0);
        (time(millis), [number, f64::from(step) / 11.0])
    });
    let odd: Vec<Element> = odd.collect();
    odd.into_iter().chain((1..110).map(|i| (time(millis.saturating_add(MINUTE * i)), values(i)))).collect()
}

/// A detector before and after it learned.
struct Learned<D> {
    fresh: D,
    learned: D,
}

impl<D: Persist + Clone> Learned<D> {
    fn new<X: ?Sized, R: Borrow<X>>(fresh: D, feed: impl Iterator<Item = R>) -> Self
    where
        D: Detector<X>,
    {
        let mut learned = fresh.clone();
        feed.for_each(|x| learned.learn(x.borrow()));
        Learned { fresh, learned }
    }

    /// Damages what was learned, and tries what is restored from it.
    fn check<X: ?Sized, R: Borrow<X>>(&self, edits: &[Edit], next: impl Iterator<Item = R>)
    where
        D: Detector<X>,
    {
        let Ok(damaged) = rmp_serde::from_slice(&damaged(&memory(&self.learned), edits)) else { return };
        let mut restored = self.fresh.clone();
        if restored.restore(damaged).is_err() {
            assert!(memory(&restored) == memory(&self.fresh), "what was refused left a trace");
            return;
        }
        let mut twin = self.saved_and_restored(&restored);
        for (i, x) in next.enumerate() {
            let x = x.borrow();
            let judged = (i % 16 == 0).then(|| (restored.judge(x), restored.explain(x).err()));
            let stepped = restored.step(x);
            if let Ok(verdict) = stepped {
                assert!(verdict.score.is_finite(), "{verdict:?}");
                assert!(verdict.p_value.is_none_or(|p| (0.0..=1.0).contains(&p)), "{verdict:?}");
            }
            assert_eq!(stepped, twin.step(x), "restored, it goes on otherwise");
            if let Some((judged, refusal)) = judged {
                assert_eq!((stepped, stepped.err()), (judged, refusal), "judged or explained otherwise");
            }
            if i == 50 {
                twin = self.saved_and_restored(&restored);
            }
        }
        self.saved_and_restored(&restored);
    }

    fn saved_and_restored(&self, detector: &D) -> D {
        let (saved, mut restored) = (memory(detector), self.fresh.clone());
        restored.restore(rmp_serde::from_slice(&saved).expect("a memory")).expect("its own memory");
        assert!(memory(&restored) == saved, "restored, it saves to other bytes");
        restored
    }
}

fn memory(detector: &impl Persist) -> Vec<u8> {
    rmp_serde::to_vec(&detector.memory()).expect("a memory can be stored")
}
