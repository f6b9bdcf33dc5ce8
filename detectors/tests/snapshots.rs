//! What was saved when a stored form came out still loads, and goes on as it did then, bit by bit.
//!
//! `snapshots/` has one file per kind and version of a stored form. The file stays as it is. A new version of
//! a form gets a file of its own beside it, and the test of the old one then says that it is refused.
//!
//! A file that is not there is made anew from what its test teaches. The test fails that once: the file is
//! to be committed, with the numbers that follow from it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use ndarray::Array2;
use peak_core::{
    Grid, Intake, Key, Limits, Live, Placed, Record, Report, Result, Schema, Source, Span, Timestamp, Tz,
    Windows, snapshot,
};
use peak_detectors::series::Seasonality;
use peak_detectors::{
    Budget, Calibrated, Classic, Detector, Engine, Feature, Features, Fleet, IsolationForest, Mad,
    OnFeatures, Peak, Persist, Phases, Point, Reading, RsHash, SigmaEnsemble, Split, Standardisation, Step,
    Threshold, TimeFeature, Together, Verdict,
};
use std::fmt::Debug;
use std::fs;
use std::io::Cursor;
use std::num::NonZeroUsize;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::time::Duration;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const NAN: f64 = f64::NAN;

/// The file of this name; made anew and complained about where there is none.
fn file(name: &str, save: impl FnOnce(&Path)) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if !path.exists() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        save(&path);
        panic!("{} was not there and is made anew: to be committed", path.display());
    }
    path
}

/// What was saved in a file, restored into what was just made; it saves to the same bytes.
fn golden<P: Persist>(name: &str, make: impl Fn() -> P, teach: impl FnOnce(&mut P)) -> P {
    let path = file(name, |path| {
        let mut learned = make();
        teach(&mut learned);
        snapshot::save(path, P::KIND, P::VERSION, &learned.memory()).unwrap();
    });
    let mut restored = make();
    restored.restore(snapshot::load(&path, P::KIND, P::VERSION).unwrap()).unwrap();
    let mut again = Vec::new();
    snapshot::write(&mut again, P::KIND, P::VERSION, &restored.memory()).unwrap();
    assert!(again == fs::read(path).unwrap(), "{name}: restored, it saves to other bytes");
    restored
}

/// The score, the p-value and the decision of a verdict.
type Told = (f64, Option<f64>, bool);

fn told(verdict: Verdict) -> Told {
    let Verdict { score, p_value, anomalous } = verdict;
    (score, p_value, anomalous)
}

/// Equality to the last bit.
fn assert_same<T: Debug + ?Sized>(found: &T, expected: &T) {
    assert_eq!(format!("{found:?}"), format!("{expected:?}"));
}

fn assert_next<X: ?Sized, D: Detector<X>>(detector: &mut D, next: &[&X], expected: &[Told]) {
    let found: Vec<Told> = next.iter().map(|x| told(detector.step(x).unwrap())).collect();
    assert_same(&found[..], expected);
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_600_000_000_000 + millis).unwrap()
}

/// Looks random, from 0 to 9.
fn noise(i: i64) -> f64 {
    (i * 7_919 % 101) as f64 / 11.0
}

fn point(i: i64, value: f64) -> Point {
    Point::new(at(i * MINUTE), value)
}

fn row(i: i64) -> [f64; 3] {
    let missing = if i % 11 == 5 { NAN } else { noise(i * i) };
    [noise(i), noise(i) + 0.1 * noise(31 * i), missing]
}

#[test]
fn isolation_forest() {
    let builder = IsolationForest::builder().trees(4).sample(32).reservoir(20).split(Split::PooledPairs);
    let builder = builder.names(["a", "b", "c"]).threshold(Threshold::Contamination(0.1)).seed(3);
    let fit = |rows: i64| {
        let x = Array2::from_shape_fn((rows as usize, 3), |(i, column)| row(i as i64)[column]);
        builder.clone().fit(x.view()).unwrap()
    };
    let mut forest = golden(
        "isolation-forest-2.peak",
        || fit(9),
        |forest| {
            *forest = fit(50);
            (50..60).for_each(|i| forest.learn(&row(i)));
        },
    );
    assert_next(
        &mut forest,
        &[&row(60), &[4.0, 4.0, 4.0], &[2.0, 9.0, NAN]],
        &[
            (0.4491694361982159, Some(0.9393939393939394), false),
            (0.5336824308206771, Some(0.5454545454545454), false),
            (0.45989925277449173, Some(0.9393939393939394), false),
        ],
    );
    // Rows that were kept, the seed and the count of trees decide what grows next.
    forest.replace_oldest(2).unwrap();
    assert_next(&mut forest, &[&row(60)], &[(0.45129517849057404, Some(0.9090909090909091), false)]);
}

/// All features there are; the key's first readings are no longer kept.
fn features() -> Features {
    let day = Duration::from_secs(86_400);
    let features = [
        Feature::Value,
        Feature::Lag(2),
        Feature::Mean(day),
        Feature::Std(day),
        Feature::Min(day),
        Feature::Max(day),
        Feature::Difference,
        Feature::Rate,
        Feature::Residual,
    ];
    Features::builder()
        .zone(Tz::Europe__Berlin)
        .time([TimeFeature::Relative, TimeFeature::Hour])
        .metrics(["cpu"], features)
        .metrics(["memory"], [Feature::Value])
        .standardisation(Standardisation::Robust)
        .build()
        .unwrap()
}

#[test]
fn features_and_their_standardisation() {
    let host = Key::new(["web-1"]);
    let values: Vec<_> = (0..203).map(|i| [row(i)[2], noise(i)]).collect();
    let reading = |i: usize| Reading::new(&host, at(i as i64 * HOUR), &values[i]);
    let mut features = golden("features-2.peak", features, |features| {
        features.fit((0..200).map(reading)).unwrap();
    });
    let rows = [200, 201, 202].map(|i| features.step(&reading(i)).unwrap());
    let expected = [
        [
            1.064516129032258,
            0.07870038042734027,
            0.7506897083799362,
            0.34210526315789463,
            0.09090909090909105,
            2.331344131855643,
            -0.441436116962336,
            1.2499999999999998,
            0.25000000000000244,
            -0.054054054054054,
            NAN,
            0.2755795760222134,
            -0.6288659793814431,
        ],
        [
            1.1290322580645162,
            0.27529428570900044,
            0.8089203070602901,
            -0.23684210526315805,
            0.4545454545454546,
            2.08468314862177,
            -0.4235822126516789,
            1.2499999999999998,
            0.25000000000000244,
            -0.5675675675675677,
            NAN,
            0.3716952622479779,
            0.2164948453608246,
        ],
        [
            1.1935483870967742,
            0.4796196183470658,
            0.8120243236184991,
            -1.3157894736842104,
            0.38636363636363646,
            1.4242682580278507,
            -0.016924266141770717,
            -1.75,
            0.25000000000000244,
            -1.081081081081081,
            NAN,
            -0.8591257617079451,
            -1.0206185567010306,
        ],
    ];
    assert_same(&rows, &expected.map(Vec::from));
}

fn rs_hash() -> RsHash {
    RsHash::builder(3).grids(4).half_life(50).false_alarm_rate(0.1).seed(9).build().unwrap()
}

#[test]
fn rows_that_drift() {
    let mut detector = golden("rs-hash-1.peak", rs_hash, |detector| {
        (0..100).for_each(|i| detector.learn(&row(i)));
    });
    assert_next(
        &mut detector,
        &[&row(100), &[0.0, 50.0, NAN], &row(102)],
        &[
            (2.2107994095827896, Some(0.6518891642328632), false),
            (7.517629541889474, Some(0.022167031046122013), true),
            (3.979833885681665, Some(0.12050023616590225), false),
        ],
    );
}

#[test]
fn detectors_together() {
    let other = || RsHash::builder(3).grids(5).half_life(60).false_alarm_rate(0.1).seed(4).build().unwrap();
    let make = || Together::new([("one", rs_hash()), ("other", other())]).unwrap();
    let mut together = golden("together-257.peak", make, |together| {
        (0..100).for_each(|i| together.learn(&row(i)));
    });
    assert_next(
        &mut together,
        &[&row(100), &[0.0, 50.0, NAN], &row(102)],
        &[
            (0.12192559607476197, Some(0.7552230912534448), false),
            (1.387265153494708, Some(0.04099546192901712), false),
            (0.6449707129632901, Some(0.22648016541576627), false),
        ],
    );
}

#[test]
fn a_detector_on_features() {
    let host = Key::new(["web-1"]);
    let values: Vec<_> = (0..103).map(|i| if i == 101 { [9.0, 0.0] } else { [noise(i), noise(i)] }).collect();
    let reading = |i: usize| Reading::new(&host, at(i as i64 * MINUTE), &values[i]);
    let make = || {
        let builder = Features::builder().metrics(["cpu", "memory"], [Feature::Value]);
        OnFeatures::new(builder.metrics(["cpu"], [Feature::Lag(1)]).build().unwrap(), rs_hash())
    };
    let mut detector = golden("detector-on-features-513.peak", make, |detector| {
        (0..100).for_each(|i| detector.learn(&reading(i)));
    });
    assert_next(
        &mut detector,
        &[&reading(100), &reading(101), &reading(102)],
        &[
            (2.223706337717247, Some(0.32038357454300526), false),
            (5.953199422018409, Some(0.022357445528118573), true),
            (4.577139580723391, Some(0.04402887472911829), true),
        ],
    );
}

#[test]
fn sigma_with_a_season() {
    let make = || {
        let sigma = SigmaEnsemble::default().with_window(100).unwrap();
        sigma.with_seasonality(Seasonality::Daily(Tz::Europe__Berlin))
    };
    // Every ten minutes for two days.
    let value = |i: i64| 20.0 * ((i % 144) as f64 / 144.0 - 0.5).abs() + noise(i);
    let point = |i: i64, added: f64| Point::new(at(10 * i * MINUTE), value(i) + added);
    let mut sigma = golden("sigma-2.peak", make, |sigma| {
        (0..300).for_each(|i| sigma.learn(&point(i, 0.0)));
    });
    assert_next(
        &mut sigma,
        &[&point(300, 0.0), &point(301, 90.0), &point(302, 0.0)],
        &[
            (0.8327606799912576, Some(0.29277890228000825), false),
            (14.78376102804589, Some(6.083334505011218e-14), true),
            (0.0, Some(1.0), false),
        ],
    );
}

#[test]
fn mad() {
    let make = || Mad::double().with_window(50).unwrap();
    // The first form did not know the newest point apart from the window.
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/mad-1.peak");
    let refused = make().load(old).unwrap_err().to_string();
    assert!(refused.contains("has version 1, expected 2"), "{refused}");
    let mut mad = golden("mad-2.peak", make, |mad| (0..70).for_each(|i| mad.learn(&point(i, noise(i)))));
    assert_next(
        &mut mad,
        &[&point(70, noise(70)), &point(71, 90.0), &point(72, -1.0)],
        &[
            (0.27773148919624513, None, false),
            (25.78206515305434, None, true),
            (1.5653276116154946, None, false),
        ],
    );
}

/// One of the two keys is a counter.
#[test]
fn fleet() {
    let make = || {
        let prototype = SigmaEnsemble::default().with_window(100).unwrap();
        Fleet::new(move |_| prototype.clone())
    };
    let points = |i: i64| {
        let grown = (0..=i).map(noise).sum();
        let points = [("cpu", noise(i)), ("errors", if i == 132 { 9_000.0 } else { grown })];
        points.map(|(key, value)| (Key::new([key]), point(i, value)))
    };
    let mut fleet = golden("fleet-514.peak", make, |fleet| {
        (0..130).for_each(|i| drop(fleet.step(&points(i), NonZeroUsize::MIN)));
    });
    assert!(fleet.get(&Key::new(["errors"])).unwrap().feed().is_counter());
    let verdicts = (130..133).flat_map(|i| fleet.step(&points(i), NonZeroUsize::MIN));
    let found: Vec<Told> = verdicts.map(|verdict| told(verdict.unwrap())).collect();
    let expected = [
        (1.0326949953887627, Some(0.17661546953208784), false),
        (0.9986528711788796, Some(0.1978969124987487), false),
        (0.15984832259490933, Some(0.9680263788854782), false),
        (0.15953985193098574, Some(0.969877370373748), false),
        (0.0, Some(1.0), false),
        (52.60342255200671, Some(5.6203487793869e-44), true),
    ];
    assert_same(&found[..], &expected);
}

/// Records of three keys, ten a second.
struct Feed(Schema);

impl Feed {
    fn new() -> Self {
        let fields = Schema::builder().time("t").sample("s").dimensions(["a"]).blame(["who"]);
        Feed(fields.measures(["load"]).quantiles(["load"]).moments_by("who", "load").build().unwrap())
    }

    /// The records from this number on to that one.
    fn each(numbers: Range<i64>, mut visit: impl FnMut(&Record<'_>) -> ControlFlow<()>) {
        for i in numbers {
            let [key, who] = [(i % 7 % 3).to_string(), (i % 5).to_string()];
            // The last seconds repeat one sample.
            let sample = (if i > 1_900 { 0 } else { i % 23 }).to_string();
            let (dimensions, labels) = ([key.as_str()], [Some(sample.as_str()), Some(who.as_str())]);
            let measures = [Some(noise(i))];
            let record = Record::new(at(100 * i), &dimensions).with_labels(&labels).with_measures(&measures);
            if visit(&record).is_break() {
                break;
            }
        }
    }
}

impl Source for Feed {
    fn schema(&self) -> &Schema {
        &self.0
    }

    fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>) -> Result<Report> {
        let mut intake = Intake::new(span);
        Feed::each(0..2_000, |record| intake.offer(record, visit));
        intake.finish()
    }
}

/// What is found, by key.
fn found(steps: &[Step]) -> Vec<(&str, Told)> {
    let found = steps.iter().flat_map(|step| &step.found);
    found.map(|found| (found.key.values().next().unwrap(), told(found.verdict))).collect()
}

/// An engine that learned eighteen windows, two of them open for late records, finds this in the next two.
fn check_engine(name: &str, detector: impl Fn(&Schema) -> Peak, expected: &[(&str, Told)]) {
    let feed = Feed::new();
    let span = Span::new(at(0), at(200_000)).unwrap();
    let windows = Windows::every(span, Duration::from_secs(10)).unwrap();
    let (learned, next) = windows.split_at(18);
    let golden = file(name, |path| {
        let mut engine = Engine::new(detector(&feed.0)).with_lateness(2).unwrap();
        engine.run(&feed, &Windows::new(learned.to_vec()).unwrap()).unwrap();
        engine.write(&mut fs::File::create(path).unwrap()).unwrap();
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.peak");
    fs::copy(&golden, &path).unwrap();
    let mut engine = Engine::open(&path, detector(&feed.0)).unwrap();
    assert!(!engine.relearned());
    engine.save().unwrap();
    assert!(fs::read(&path).unwrap() == fs::read(golden).unwrap(), "{name}: it saves to other bytes");
    let steps = engine.run(&feed, &Windows::new(next.to_vec()).unwrap()).unwrap();
    assert_same(&found(&steps)[..], expected);
}

#[test]
fn engine_with_the_classic_rule() {
    check_engine(
        "engine-classic-4.peak",
        |schema| Peak::classic(Classic::new(schema, Tz::UTC)),
        &[
            ("1", (1.726190476190476, None, true)),
            ("2", (1.726190476190476, None, true)),
            ("1", (36.25, None, true)),
            ("2", (35.0, None, true)),
            ("0", (13.4375, None, true)),
        ],
    );
}

#[test]
fn engine_with_the_calibrated_rule() {
    let rule = || Calibrated::new(Budget::default()).with_phases(Phases::NONE);
    check_engine(
        "engine-calibrated-4.peak",
        |_| Peak::calibrated(rule()),
        &[
            ("1", (48.48603349802733, Some(3.2656264275206534e-49), true)),
            ("0", (47.825284044912664, Some(1.4952573816933406e-48), true)),
            ("2", (47.82528404491265, Some(1.4952573816933816e-48), true)),
        ],
    );
}

/// An engine with windows that are open for late records; and a live feed with windows that are not over, a
/// late record that is kept, a time in which nothing was observed, and its own position.
#[test]
fn checkpoint() {
    let feed = Feed::new();
    let rule = || Peak::classic(Classic::new(&feed.0, Tz::UTC));
    let golden = file("checkpoint-4.peak", |path| {
        let grid = Grid::every(Duration::from_secs(10)).unwrap();
        let live = Live::new(&feed.0, grid).with_grace(Duration::from_secs(15)).with_late(2);
        let mut live = live.with_limits(Limits::default().with_memory(1 << 20).with_keys(100));
        let mut engine = Engine::new(rule()).with_lateness(2).unwrap();
        let mut push = |numbers, expected| {
            Feed::each(numbers, |record| {
                assert_eq!(live.push(record).unwrap(), expected);
                ControlFlow::Continue(())
            });
            live.close(at(0)).into_iter().for_each(|table| drop(engine.take(table).unwrap()));
        };
        push(0..1_849, Placed::Counted);
        push(1_500..1_510, Placed::Late);
        live.not_observed(Span::new(at(175_000), at(178_000)).unwrap());
        engine.write_checkpoint(&mut live, b"offset 1849", &mut fs::File::create(path).unwrap()).unwrap();
    });
    let stored = fs::read(&golden).unwrap();
    let resumed = Engine::read(Cursor::new(&stored), "checkpoint", rule()).unwrap();
    let (mut engine, mut live) = (resumed.engine, resumed.live.unwrap());
    assert_eq!(resumed.cursor, b"offset 1849");
    assert!(!engine.relearned());
    let mut again = Vec::new();
    engine.write_checkpoint(&mut live, &resumed.cursor, &mut again).unwrap();
    assert!(again == stored, "it saves to other bytes");

    let report = live.report();
    assert_eq!((report.counted, report.late, report.too_late), (1_849, 10, 0));
    assert_eq!(engine.amend_tables(live.take_late()).unwrap().merged, 10);
    Feed::each(1_849..2_000, |record| {
        assert_eq!(live.push(record).unwrap(), Placed::Counted);
        ControlFlow::Continue(())
    });
    let over = live.close(at(215_000)).into_iter();
    let steps: Vec<Step> = over.map(|table| engine.take(table).unwrap()).collect();
    let exposures: Vec<f64> = steps.iter().map(|step| step.exposure).collect();
    assert_eq!(exposures, [1.0, 0.7, 1.0, 1.0]);
    let expected = [
        ("1", (1.064642011413226, None, true)),
        ("2", (1.064642011413226, None, true)),
        ("1", (1.064642011413226, None, true)),
        ("2", (1.064642011413226, None, true)),
        ("1", (18.125, None, true)),
        ("2", (17.5, None, true)),
        ("0", (13.4375, None, true)),
    ];
    assert_same(&found(&steps)[..], &expected);
}
