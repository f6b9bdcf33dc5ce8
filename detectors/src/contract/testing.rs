//! The contracts of detectors, as checks for anybody's tests.
//!
//! They panic with what is broken, as assertions do.

use super::boxed::AnyPersist;
use super::detector::Detector;
use super::persist::Persist;
use super::table::{Judged, Observation, TableDetector, TableTold, TableWindow};
use super::verdict::{Refusal, Verdict};
use peak_core::{Baseline, GlobalTable, Key, Summaries, Summary, snapshot};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Asserts the contract of a [`Detector`] that can [`Persist`].
///
/// `make` makes fresh detectors of one configuration. `feed` is a quiet history, long enough for
/// verdicts; `spike` is what anybody would call an anomaly after it (1000 standard deviations);
/// `odd` is anything that may arrive: empty, constant, zero, huge, not finite.
///
/// * Judging leaves no trace: it gives the same again, and the memory stays the same.
/// * A step is judging, then learning; one that is told also explains.
/// * The same input gives the same bits, also through a box.
/// * Nothing panics, every score is finite, every p-value lies in 0 to 1.
/// * The spike is anomalous, and can be explained.
/// * Saved and restored, the detector gives the same outputs.
///
/// # Panics
/// When the contract is broken.
pub fn check_detector<X, D>(make: impl Fn() -> D, feed: &[X], spike: &X, odd: &[X])
where
    X: Clone,
    D: Detector<X> + Persist,
{
    let outputs =
        |detector: &mut D| -> Vec<Verdicts> { feed.iter().map(|x| checked(detector.step(x))).collect() };
    let mut detector = make();
    let expected = outputs(&mut detector);
    assert!(expected.iter().any(Result::is_ok), "the feed is too short: every element was refused");
    assert_same(&expected, &outputs(&mut make()), "the same input gives other bits");
    let mut boxed: Box<dyn Detector<X> + '_> = Box::new(make());
    let through: Vec<Verdicts> = feed.iter().map(|x| boxed.step(x)).collect();
    assert_same(&expected, &through, "through a box the outputs differ");

    let (mut apart, mut told) = (make(), make());
    for (x, expected) in feed.iter().zip(&expected) {
        let before = memory(&apart);
        let first = apart.judge(x);
        assert_same(&[first], &[apart.judge(x)], "judging twice differs");
        let why = apart.explain(x);
        assert!(memory(&apart) == before, "judging or explaining left a trace in the memory");
        assert_same(&[first], &[*expected], "a step is not judging, then learning");
        apart.learn(x);
        let with = told.step_told(x, &|_| true);
        assert_same(
            &[first],
            &[with.as_ref().map(|with| with.verdict).map_err(|&refusal| refusal)],
            "told, a step differs",
        );
        assert!(
            with.is_err() || with.is_ok_and(|with| same(&with.explanation, &Some(why))),
            "a step explains something else than was judged"
        );
        assert!(memory(&apart) == memory(&told), "told, a step learns something else");
    }

    let verdict = checked(detector.judge(spike));
    assert!(verdict.is_ok_and(|verdict| verdict.anomalous), "the spike is not anomalous: {verdict:?}");
    let explanation = detector.explain(spike).map(|explanation| explanation.to_string());
    assert!(
        explanation.as_ref().is_ok_and(|text| !text.is_empty()),
        "the spike is not explained: {explanation:?}"
    );

    let mut restored = restored(&detector, &make);
    assert_same(&outputs(&mut detector), &outputs(&mut restored), "restored, the outputs differ");

    let mut detector = make();
    for x in odd.iter().chain(feed).chain(odd) {
        let judged = checked(detector.judge(x));
        // What was just learned may be explained still.
        if judged != Err(Refusal::Duplicate) {
            assert_eq!(judged.err(), detector.explain(x).err(), "judging and explaining refuse differently");
        }
        detector.learn(x);
    }
}

/// Asserts the contract of a [`TableDetector`] that can [`Persist`].
///
/// `make` makes fresh detectors of one configuration. `feed` are windows of many keys, in the order of
/// time, quiet and long enough for verdicts; `spike` is a window after them, and the key in it that
/// anybody would call an anomaly; `odd` are windows that may arrive instead: without keys, of one key, of
/// new keys, of huge counts.
///
/// * Judging and explaining leave no trace.
/// * There is a verdict for each key, in their order; every score is finite, every p-value lies in 0 to 1.
/// * Where there is a threshold, an anomalous key has a p-value below it.
/// * A step is judging, explaining, then learning.
/// * A place is refused by `explain` as by `judge`; of what is anomalous the explanation says what was
///   exceeded, and of what is quiet it names no counterfactual.
/// * The spike is anomalous and explained.
/// * Saved and restored, the detector gives the same outputs and remembers the same.
/// * Keys that are not to be kept are forgotten, the others are not.
///
/// # Panics
/// When the contract is broken.
pub fn check_table_detector<D>(
    make: impl Fn() -> D,
    feed: &[Summaries],
    spike: (&Summaries, &Key),
    odd: &[Summaries],
) where
    D: TableDetector + Persist,
{
    let (mut detector, mut told, mut history) = (make(), make(), GlobalTable::new(Duration::MAX));
    let mut judged_any = false;
    for found in feed {
        with_window(&history, found, |window| {
            assert!(detector.admits(window.span).is_ok(), "a window of the feed is not admitted");
            let (judged, explained) = check_judging(&detector, window);
            judged_any |= judged.verdicts.iter().any(Result::is_ok);
            detector.learn(window);
            let TableTold { judged: again, explained: why, .. } = told.step_told(window, &|_| true);
            assert_same(&judged.verdicts, &again.verdicts, "told, a step differs");
            assert_eq!(judged.threshold, again.threshold, "told, the threshold differs");
            let expected: Vec<_> = explained.into_iter().enumerate().filter(|(_, why)| why.is_ok()).collect();
            assert!(same(&expected, &why), "a step explains something else than was judged");
            assert!(memory(&detector) == memory(&told), "told, a step learns something else");
        });
        history.learn(found).expect("windows in the order of time");
    }
    assert!(judged_any, "the feed is too short: every key was refused");

    let mut restored = restored(&detector, &make);
    assert!(memory(&restored) == memory(&detector), "restored, it remembers something else");
    let (found, key) = spike;
    with_window(&history, found, |window| {
        let (judged, explained) = check_judging(&detector, window);
        assert_same(&judged.verdicts, &restored.judge(window).verdicts, "restored, the outputs differ");
        let place = window.keys.iter().position(|x| x.key == key).expect("the key of the spike");
        let verdict = &judged.verdicts[place];
        assert!(verdict.is_ok_and(|verdict| verdict.anomalous), "the spike is not anomalous: {verdict:?}");
        let why = explained[place].as_ref().map(ToString::to_string);
        assert!(why.as_ref().is_ok_and(|text| !text.is_empty()), "the spike is not explained: {why:?}");
        detector.learn(window);
        restored.learn(window);
        assert!(memory(&restored) == memory(&detector), "restored, it learns something else");

        let before = memory(&detector);
        detector.retain(&mut |_| true);
        assert!(memory(&detector) == before, "keys that are kept are forgotten");
        detector.retain(&mut |_| false);
        let after = memory(&detector);
        assert!(after.len() <= before.len(), "keys that are not kept are remembered");
        detector.retain(&mut |_| false);
        assert!(memory(&detector) == after, "forgetting twice forgets more");
        check_judging(&detector, window);
    });

    for found in odd {
        let mut detector = self::restored(&restored, &make);
        with_window(&history, found, |window| {
            check_judging(&detector, window);
            detector.learn(window);
            check_judging(&detector, window);
            detector.forget_before(window.span.end());
            check_judging(&detector, window);
        });
    }
}

type Verdicts = Result<Verdict, Refusal>;
type Explained = Vec<Result<super::Explanation, Refusal>>;

/// Judges and explains all keys of a window, and checks what was said.
fn check_judging<D: TableDetector + Persist>(detector: &D, window: &TableWindow<'_>) -> (Judged, Explained) {
    let before = memory(detector);
    let judged = detector.judge(window);
    assert_eq!(judged.verdicts.len(), window.keys.len(), "not one verdict per key");
    assert_same(&judged.verdicts, &detector.judge(window).verdicts, "judging twice differs");
    let places: Vec<usize> = (0..window.keys.len()).collect();
    let explained = detector.explain(window, &judged, &places);
    assert!(memory(detector) == before, "judging or explaining left a trace in the memory");
    assert_eq!(explained.len(), places.len(), "not one explanation per place");
    for ((verdict, why), x) in judged.verdicts.iter().zip(&explained).zip(window.keys) {
        let key = x.key;
        let verdict = match checked(*verdict) {
            Ok(verdict) => verdict,
            Err(refusal) => {
                // What was just learned may be explained still.
                let is_same = why.as_ref().err() == Some(&refusal) || refusal == Refusal::Duplicate;
                assert!(is_same, "{key}: refused otherwise when explained: {refusal} {why:?}");
                continue;
            }
        };
        if let (true, Some(threshold), Some(p)) = (verdict.anomalous, judged.threshold, verdict.p_value) {
            assert!(p < threshold, "{key}: anomalous at {p}, not below the threshold of {threshold}");
        }
        let why = why.as_ref().expect("an explanation where there is a verdict");
        if verdict.anomalous {
            let says = why.evidence.is_empty() || why.evidence.iter().any(|evidence| evidence.exceeded);
            assert!(says, "{key}: found, but nothing exceeded: {why}");
        } else {
            assert!(why.counterfactual.is_none(), "{key}: quiet, with a counterfactual: {why}");
        }
    }
    (judged, explained)
}

/// A window as an engine shows it: its keys, and those of the history that have no records.
fn with_window(history: &GlobalTable, found: &Summaries, mut look: impl FnMut(&TableWindow<'_>)) {
    let (nothing, silence, span) = (Baseline::new(), Summary::default(), found.span());
    let mut keys: BTreeMap<&Key, Observation<'_>> =
        history.iter().map(|(key, past)| (key, Observation::new(key, span, &silence, past))).collect();
    for (key, summary) in found.iter() {
        let past = history.get(key).unwrap_or(&nothing);
        keys.insert(key, Observation::new(key, span, summary, past));
    }
    let keys: Vec<Observation<'_>> = keys.into_values().collect();
    let newest = history.learned().last().map(|span| span.end());
    look(&TableWindow::after(span, 1.0, newest, &keys));
}

fn checked(judged: Verdicts) -> Verdicts {
    if let Ok(verdict) = &judged {
        assert!(verdict.score.is_finite(), "the score is not finite: {verdict:?}");
        assert!(verdict.p_value.is_none_or(|p| (0.0..=1.0).contains(&p)), "no probability: {verdict:?}");
    }
    judged
}

/// Equality of bits: of what is not a number too.
fn same(a: &impl fmt::Debug, b: &impl fmt::Debug) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

fn assert_same(a: &[Verdicts], b: &[Verdicts], message: &str) {
    assert!(same(&a, &b), "{message}:\n{a:?}\n{b:?}");
}

fn memory<D: Persist>(detector: &D) -> Vec<u8> {
    AnyPersist::snapshot(detector).expect("the memory cannot be saved")
}

fn restored<D: Persist>(detector: &D, make: &impl Fn() -> D) -> D {
    let mut restored = make();
    let stored = snapshot::read(std::io::Cursor::new(memory(detector)), "memory", D::KIND, D::VERSION);
    restored
        .restore(stored.expect("the memory cannot be loaded"))
        .expect("the memory does not fit the configuration it came from");
    restored
}
