//! Parity with Skyline's Analyzer: recorded votes, guards and decisions.

use crate::{Outcome, read_json, text};
use peak_core::Timestamp;
use peak_detectors::series::Sliding;
use peak_detectors::{Ballot, Detector, Point, Refusal, SigmaEnsemble, Vote};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;

/// A single evaluation of a series, or one of each of many windows of it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Recording {
    Stream(Stream),
    Single(Single),
}

#[derive(Deserialize)]
struct Single {
    now: i64,
    selected: Map<String, Value>,
    verdicts: Verdicts,
    near_tie: Map<String, Value>,
    timestamps: Vec<i64>,
    values: Vec<f64>,
}

#[derive(Deserialize)]
struct Verdicts {
    analyzer: Map<String, Value>,
}

#[derive(Deserialize)]
struct Stream {
    window_points: usize,
    first_step_index: usize,
    algorithms_bit_order: Vec<String>,
    true_mask: Vec<u32>,
    none_mask: Vec<u32>,
    near_tie_mask: Vec<u32>,
    decision: Vec<Value>,
    timestamps: Vec<i64>,
    values: Vec<f64>,
}

/// Repeats one recording, from the whole series and point by point.
pub(crate) fn repeat(case: &Path) -> Outcome {
    match serde_json::from_value(read_json(case)?).map_err(text)? {
        Recording::Stream(stream) => repeat_stream(&stream),
        Recording::Single(single) => repeat_single(&single),
    }
}

fn at(seconds: i64) -> Outcome<Timestamp> {
    Timestamp::from_millis(seconds * 1000).map_err(text)
}

fn times(seconds: &[i64]) -> Outcome<Vec<Timestamp>> {
    seconds.iter().map(|&seconds| at(seconds)).collect()
}

fn repeat_single(case: &Single) -> Outcome {
    let (times, now) = (times(&case.timestamps)?, at(case.now)?);
    // A series of one or two points is shorter than the shortest window.
    let window = case.values.len().max(Sliding::LEAST);
    let ensemble = SigmaEnsemble::skyline().with_window(window).map_err(text)?;
    let ballots = ensemble.vote_on_series(&times, &case.values, now).map_err(text)?;
    same_votes(&ballots, case)?;
    let assessed = ensemble.assess_series(&times, &case.values, now).map_err(text)?;
    same_decision(assessed.map(|assessment| assessment.verdict.anomalous), case)?;

    // Point by point, as of the newest point.
    let mut live = ensemble;
    times.iter().zip(&case.values).for_each(|(&time, &value)| live.learn(&Point::new(time, value)));
    if times.last() == Some(&now) {
        same_votes(&live.ballots(), case).map_err(|e| format!("point by point: {e}"))?;
        let assessed = live.check_freshness(now).and_then(|()| live.assess());
        same_decision(assessed.map(|assessment| assessment.verdict.anomalous), case)?;
    }
    Ok(())
}

fn same_votes(ballots: &[Ballot], case: &Single) -> Outcome {
    for ballot in ballots.iter().filter(|ballot| !case.near_tie.contains_key(ballot.test)) {
        let ours = match ballot.vote {
            Vote::Yes => Value::Bool(true),
            Vote::No => Value::Bool(false),
            Vote::Abstain(_) => Value::Null,
        };
        let expected = &case.verdicts.analyzer[ballot.test];
        if ours != *expected {
            return Err(format!("ours {ballot:?}, expected {expected}"));
        }
    }
    if ballots.len() == case.verdicts.analyzer.len() { Ok(()) } else { Err("not all tests voted".into()) }
}

fn same_decision(ours: Result<bool, Refusal>, case: &Single) -> Outcome {
    let expected = match &case.selected["exception"] {
        Value::Null => &case.selected["anomalous"],
        name => name,
    };
    // With near ties, either decision would do.
    let ours = decision(ours);
    if ours == *expected || (ours.is_boolean() && !case.near_tie.is_empty()) {
        Ok(())
    } else {
        Err(format!("decided {ours}, expected {expected}"))
    }
}

fn decision(ours: Result<bool, Refusal>) -> Value {
    match ours {
        Ok(anomalous) => Value::Bool(anomalous),
        Err(Refusal::TooShort { .. }) => "TooShort".into(),
        Err(Refusal::Boring { .. }) => "Boring".into(),
        Err(Refusal::Stale { .. }) => "Stale".into(),
        Err(refusal) => refusal.reason().into(),
    }
}

fn repeat_stream(case: &Stream) -> Outcome {
    let times = times(&case.timestamps)?;
    let mut live = SigmaEnsemble::skyline().with_window(case.window_points).map_err(text)?;
    let fresh = live.clone();
    let mut wrong = Vec::new();
    for (index, (&time, &value)) in times.iter().zip(&case.values).enumerate() {
        live.learn(&Point::new(time, value));
        let Some(step) = index.checked_sub(case.first_step_index) else { continue };
        let start = (index + 1).saturating_sub(case.window_points);
        let whole =
            fresh.vote_on_series(&times[start..=index], &case.values[start..=index], time).map_err(text)?;
        let mask = case.near_tie_mask[step];
        for (form, ballots) in [("point by point", live.ballots()), ("whole", whole)] {
            let (yes, none) = masks(&ballots, &case.algorithms_bit_order)?;
            if (yes ^ case.true_mask[step]) & !mask != 0 || (none ^ case.none_mask[step]) & !mask != 0 {
                let different = (yes ^ case.true_mask[step]) & !mask;
                wrong.push(format!(
                    "step {step} {form}: yes differs in {different:b}, near ties {mask:b}: {ballots:?}"
                ));
            }
        }
        let ours = decision(live.assess().map(|assessment| assessment.verdict.anomalous));
        if ours != case.decision[step] && (mask == 0 || !ours.is_boolean()) {
            wrong.push(format!("step {step}: decided {ours}, expected {}", case.decision[step]));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("{} differences; the first: {}", wrong.len(), wrong[..wrong.len().min(3)].join("\n")))
}

/// Which tests voted yes, and which abstained.
fn masks(ballots: &[Ballot], order: &[String]) -> Outcome<(u32, u32)> {
    let mut masks = (0, 0);
    for ballot in ballots {
        let bit = order.iter().position(|name| name == ballot.test);
        let bit = 1 << bit.ok_or_else(|| format!("{} is not recorded", ballot.test))?;
        match ballot.vote {
            Vote::Yes => masks.0 |= bit,
            Vote::Abstain(_) => masks.1 |= bit,
            Vote::No => {}
        }
    }
    Ok(masks)
}
