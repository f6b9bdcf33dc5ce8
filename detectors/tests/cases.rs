//! The case suite: what every detector says of every feed stands in `cases.json`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod feed;

use feed::WindowShape;
use peak_core::{Schema, Summaries, Tz};
use peak_detectors::{Classic, Engine, Peak};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Deserialize)]
struct Case {
    name: String,
    why: String,
    feed: Vec<WindowShape>,
    expect: BTreeMap<String, String>,
}

/// The detectors of the suite, by the names that `cases.json` uses.
fn detectors() -> BTreeMap<&'static str, fn() -> Peak> {
    let classic = || Peak::classic(Classic::new(&Schema::file_types(), Tz::UTC));
    BTreeMap::from([("peak classic", classic as fn() -> Peak), ("peak calibrated", Peak::default)])
}

/// What an engine says of one key's windows, in run-length form: `1 refused, 29 quiet, 1 alarm`.
fn outcomes(detector: Peak, feed: &[WindowShape]) -> String {
    let mut engine = Engine::new(detector);
    let schema = Arc::new(Schema::file_types());
    let outcomes = feed::days(feed).map(|(day, summary)| {
        let found = Summaries::new(Arc::clone(&schema), day, [(feed::key(), summary)]).unwrap();
        let step = engine.take(found).unwrap();
        match (step.found.len(), step.judged) {
            (1, _) => "alarm",
            (_, 1) => "quiet",
            _ => "refused",
        }
    });
    let outcomes: Vec<&str> = outcomes.collect();
    let runs: Vec<String> =
        outcomes.chunk_by(|a, b| a == b).map(|run| format!("{} {}", run.len(), run[0])).collect();
    runs.join(", ")
}

#[test]
fn every_detector_says_of_every_case_what_is_expected() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("cases.json")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        for (name, make) in detectors() {
            let expected = case
                .expect
                .get(name)
                .unwrap_or_else(|| panic!("case {:?} says nothing of {name}", case.name));
            let said = outcomes(make(), &case.feed);
            if said != *expected {
                wrong.push(format!(
                    "{}: {name}: said {said:?}, expected {expected:?} ({})",
                    case.name, case.why
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
