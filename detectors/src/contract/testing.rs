//! The contract of detectors, as checks for anybody's tests.
//!
//! They panic with what is broken, as assertions do.

use super::{Detector, Persist, Refusal, Verdict};
use peak_core::snapshot;

type Judged = Result<Verdict, Refusal>;

/// Asserts the contract of a [`Detector`] that can [`Persist`].
///
/// `make` makes fresh detectors of one configuration. `feed` is a quiet history, long enough for
/// verdicts; `spike` is what anybody would call an anomaly after it (1000 standard deviations);
/// `odd` is anything that may arrive: empty, constant, zero, huge, not finite.
///
/// * Judging leaves no trace: it gives the same again, and the memory stays the same.
/// * A step is judging, then learning.
/// * Judging and learning a single element together equals judging and learning it.
/// * The same input gives the same bits.
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
        |detector: &mut D| -> Vec<Judged> { feed.iter().map(|x| checked(detector.step(x))).collect() };
    let mut detector = make();
    let expected = outputs(&mut detector);
    assert!(expected.iter().any(Result::is_ok), "the feed is too short: every element was refused");
    assert_same(&expected, &outputs(&mut make()), "the same input gives other bits");

    let mut apart = make();
    let mut together = make();
    for (x, expected) in feed.iter().zip(&expected) {
        let before = memory(&apart);
        let first = apart.judge(x);
        assert_same(&[first], &[apart.judge(x)], "judging twice differs");
        assert!(memory(&apart) == before, "judging left a trace in the memory");
        assert_same(&[first], &[*expected], "a step is not judging, then learning");
        assert_same(&[first], &together.judge_all(std::slice::from_ref(x)), "judging one together differs");
        apart.learn(x);
        together.learn_all(std::slice::from_ref(x));
        assert!(memory(&apart) == memory(&together), "learning one together differs");
    }

    let verdict = checked(detector.judge(spike));
    assert!(verdict.is_ok_and(|verdict| verdict.anomalous), "the spike is not anomalous: {verdict:?}");
    let explanation = detector.explain(spike).map(|explanation| explanation.to_string());
    assert!(
        explanation.as_ref().is_ok_and(|text| !text.is_empty()),
        "the spike is not explained: {explanation:?}"
    );

    let mut restored = make();
    restored
        .restore(saved_and_loaded(&detector))
        .expect("the memory does not fit the configuration it came from");
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

fn checked(judged: Judged) -> Judged {
    if let Ok(verdict) = &judged {
        assert!(verdict.score.is_finite(), "the score is not finite: {verdict:?}");
        assert!(verdict.p_value.is_none_or(|p| (0.0..=1.0).contains(&p)), "no probability: {verdict:?}");
    }
    judged
}

/// Equality of bits: of scores too.
fn assert_same(a: &[Judged], b: &[Judged], message: &str) {
    assert!(format!("{a:?}") == format!("{b:?}"), "{message}:\n{a:?}\n{b:?}");
}

fn memory<D: Persist>(detector: &D) -> Vec<u8> {
    let mut bytes = Vec::new();
    snapshot::write(&mut bytes, D::KIND, D::VERSION, &detector.memory()).expect("the memory cannot be saved");
    bytes
}

fn saved_and_loaded<D: Persist>(detector: &D) -> D::Memory {
    let mut stream = std::io::Cursor::new(memory(detector));
    snapshot::read(&mut stream, "memory", D::KIND, D::VERSION).expect("the memory cannot be loaded")
}
