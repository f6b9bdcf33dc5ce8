//! What is saved in one process is opened in another, or refused with a reason.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use ndarray::Array2;
use peak_core::{Key, Timestamp};
use peak_detectors::{
    Detector, Feature, Features, IsolationForest, Mad, OnFeatures, Persist, Point, Reading, RsHash,
};
use std::num::NonZeroUsize;

fn features(kinds: impl IntoIterator<Item = Feature>) -> Features {
    Features::builder().metrics(["cpu", "errors"], kinds).build().unwrap()
}

fn values(i: usize) -> [f64; 2] {
    [(i * 37 % 41) as f64, (i * i % 7) as f64]
}

fn minute(i: usize) -> Timestamp {
    Timestamp::from_millis(60_000 * i as i64).unwrap()
}

/// Rows of two features, and features that have seen as many readings.
fn fitted() -> (Features, Array2<f64>) {
    let mut features = features([Feature::Value, Feature::Lag(1)]);
    let (key, values): (_, Vec<_>) = (Key::new(["web"]), (0..500).map(values).collect());
    let feed = values.iter().enumerate().map(|(i, values)| Reading::new(&key, minute(i), values));
    let rows = features.fit(feed).unwrap().matrix;
    (features, rows)
}

#[test]
fn a_forest_on_features_goes_on_where_it_is_opened() {
    let (folder, (fitted, rows)) = (tempfile::tempdir().unwrap(), fitted());
    let path = folder.path().join("forest.peak");
    let forest = IsolationForest::builder().names(fitted.names()).trees(20).fit(rows.view()).unwrap();
    let mut saved = OnFeatures::new(fitted, forest);
    saved.save(&path).unwrap();
    let mut opened = OnFeatures::open(&path, features([Feature::Value, Feature::Lag(1)])).unwrap();
    opened.detector_mut().set_threads(NonZeroUsize::new(2).unwrap());
    let key = Key::new(["web"]);
    for i in 500..600 {
        let values = values(i);
        let reading = Reading::new(&key, minute(i), &values);
        assert_eq!(format!("{:?}", opened.step(&reading)), format!("{:?}", saved.step(&reading)));
    }
    for detector in [&mut saved, &mut opened] {
        detector.detector_mut().replace_oldest(5).unwrap();
    }
    let scores = |on: &OnFeatures<IsolationForest>| on.detector().score_all(rows.view()).unwrap();
    assert_eq!(scores(&opened), scores(&saved));
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let (folder, (fitted, rows)) = (tempfile::tempdir().unwrap(), fitted());
    let path = |name: &str| folder.path().join(name);
    let kinds = [Feature::Value, Feature::Lag(1)];
    let refused = |name: &str, kinds| {
        OnFeatures::<IsolationForest>::open(path(name), features(kinds)).map(drop).unwrap_err().to_string()
    };
    assert!(refused("none.peak", kinds).contains("none.peak"));

    let width = fitted.names().len();
    OnFeatures::new(fitted.clone(), RsHash::builder(width).grids(9).build().unwrap())
        .save(path("stream.peak"))
        .unwrap();
    let other_kind = refused("stream.peak", kinds);
    assert!(other_kind.contains("stream.peak") || other_kind.contains("isolation forest"), "{other_kind}");

    let forest = IsolationForest::builder().trees(9).fit(rows.view()).unwrap();
    OnFeatures::new(fitted, forest.clone()).save(path("forest.peak")).unwrap();
    let other_features = refused("forest.peak", [Feature::Value, Feature::Lag(2)]);
    assert!(other_features.contains("must be of features of this configuration"), "{other_features}");

    let mut mad = Mad::default();
    (0..300).for_each(|i| mad.learn(&Point::new(minute(i), values(i)[0])));
    let before = format!("{mad:?}");
    let error = mad.load(path("forest.peak")).unwrap_err().to_string();
    assert!(error.contains("forest.peak") && error.contains("mad"), "{error}");
    assert_eq!(format!("{mad:?}"), before);
    mad.save(path("mad.peak")).unwrap();
    assert!(IsolationForest::open(path("mad.peak")).is_err());
}
