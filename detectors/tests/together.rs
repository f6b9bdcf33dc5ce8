//! What must hold of detectors that are joined.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use ndarray::Array2;
use peak_detectors::testing::check_detector;
use peak_detectors::{
    Combination, Detector, Evidence, Explanation, IsolationForest, Persist, Refusal, RsHash, Split, Together,
    Verdict,
};
use proptest::prelude::*;

/// A number from 0 to 1 that looks random (SplitMix64).
fn noise(i: u64) -> f64 {
    let i = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let i = (i ^ (i >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let i = (i ^ (i >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((i ^ (i >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// Two features that go together, and one apart.
fn row(i: u64) -> Vec<f64> {
    let normal = |at: u64| (0..12).map(|j| noise(36 * i + 12 * at + j)).sum::<f64>() - 6.0;
    let (a, b, c) = (normal(0), normal(1), normal(2));
    vec![a, a + 0.3 * b, c]
}

/// Says what it is told to say.
#[derive(Clone, Debug)]
struct Told(Result<(f64, Option<f64>), Refusal>, u32);

impl Detector<()> for Told {
    fn judge(&self, (): &()) -> Result<Verdict, Refusal> {
        self.0.map(|(score, p_value)| Verdict { score, anomalous: false, p_value })
    }

    fn learn(&mut self, (): &()) {
        self.1 += 1;
    }

    fn explain(&self, (): &()) -> Result<Explanation, Refusal> {
        let evidence = self.0.map(|(score, p_value)| Evidence {
            statistic: "distance".into(),
            actual: score,
            expected: None,
            lower: None,
            upper: Some(3.0),
            exceeded: false,
            p_value,
        })?;
        let quiet =
            peak_detectors::Counterfactual { statistic: "distance".into(), above: None, below: Some(3.0) };
        Ok(Explanation {
            carried_by: "distance".into(),
            evidence: vec![evidence],
            counterfactual: Some(quiet),
            change: None,
        })
    }
}

fn told(all: &[Result<(f64, Option<f64>), Refusal>]) -> Together<Told> {
    let names = ["a", "b", "c", "d"];
    Together::new(names.into_iter().zip(all.iter().map(|&said| Told(said, 0)))).unwrap()
}

fn says(score: f64, p: f64) -> Result<(f64, Option<f64>), Refusal> {
    Ok((score, Some(p)))
}

#[test]
fn the_least_p_value_counts_for_what_the_least_of_so_many_is_worth() {
    let together = told(&[says(1.0, 0.2), says(9.0, 0.001), says(2.0, 0.5)]);
    let verdict = together.judge(&()).unwrap();
    let p = verdict.p_value.unwrap();
    assert!((p - (1.0 - 0.999f64.powi(3))).abs() < 1e-15 && verdict.anomalous, "{p}");
    assert!((verdict.score + p.log10()).abs() < 1e-6, "{verdict:?}");
    let p = together.with_combination(Combination::Cauchy).judge(&()).unwrap().p_value.unwrap();
    let cot = |p: f64| 1.0 / (std::f64::consts::PI * p).tan();
    let mean = (cot(0.2) + cot(0.001) + cot(0.5)) / 3.0;
    assert!((p - (0.5 - mean.atan() / std::f64::consts::PI)).abs() < 1e-12, "{p}");
}

#[test]
fn the_rate_decides_and_not_the_members() {
    let mut together = told(&[says(1.0, 0.02), says(1.0, 0.9)]);
    let p = together.judge(&()).unwrap().p_value.unwrap();
    for (rate, anomalous) in [(p, true), (p.next_down(), false), (0.5, true)] {
        together.set_rate(rate).unwrap();
        assert_eq!(together.judge(&()).unwrap().anomalous, anomalous, "{rate}");
    }
    for rate in [0.0, -0.1, 0.51, f64::NAN] {
        let error = together.set_rate(rate).unwrap_err().to_string();
        assert!(error.starts_with("rate: must be above 0 and at most 0.5"), "{error}");
        assert!(together.clone().with_rate(rate).is_err());
    }
    assert!(together.judge(&()).unwrap().anomalous, "a rate that is refused changes nothing");
}

#[test]
fn a_member_that_refuses_is_left_out() {
    let reason = Refusal::TooShort { have: 1, need: 9 };
    let cold = Err(reason);
    let with = told(&[cold, says(1.0, 0.03), Ok((7.0, None)), says(2.0, 0.4)]);
    assert_eq!(with.judge(&()), told(&[says(1.0, 0.03), says(2.0, 0.4)]).judge(&()));
    assert_eq!(told(&[Ok((7.0, None)), cold, Err(Refusal::Empty)]).judge(&()), Err(reason));
    assert_eq!(told(&[Ok((7.0, None))]).judge(&()), Err(Refusal::TooShort { have: 0, need: 1 }));
    let all = told(&[Err(Refusal::Late), cold]);
    assert_eq!((all.judge(&()), all.explain(&()).err()), (Err(Refusal::Late), Some(Refusal::Late)));
}

#[test]
fn learning_teaches_all_members() {
    let mut together = told(&[says(1.0, 0.5), Err(Refusal::Empty), says(1.0, 0.5)]);
    together.learn(&());
    let _ = together.step(&());
    assert!(together.members().all(|(_, member)| member.1 == 2));
    together.member_mut("b").unwrap().0 = says(1.0, 1e-9);
    assert!(together.judge(&()).unwrap().anomalous && together.member_mut("e").is_none());
}

#[test]
fn the_explanation_is_that_of_the_member_that_carried_it() {
    let together = told(&[says(1.0, 0.2), Err(Refusal::Empty), says(9.0, 0.001), says(8.0, 0.001)]);
    let (verdict, why) = (together.judge(&()).unwrap(), together.explain(&()).unwrap());
    assert_eq!((why.carried_by.as_ref(), why.counterfactual.is_none()), ("distance", true));
    assert_eq!(why.carrier().unwrap().actual, 9.0);
    let said: Vec<(&str, f64, Option<f64>)> =
        why.evidence.iter().map(|of| (&*of.statistic, of.actual, of.p_value)).collect();
    let expected = [
        ("together, by c", verdict.score, verdict.p_value),
        ("distance", 9.0, Some(0.001)),
        ("a", 1.0, Some(0.2)),
        ("c", 9.0, Some(0.001)),
        ("d", 8.0, Some(0.001)),
    ];
    assert_eq!(said, expected);
    // What is said of the threshold is what decided.
    for rate in [1e-3, 2e-3, 3e-3, 0.1] {
        let together = together.clone().with_rate(rate).unwrap();
        let (verdict, why) = (together.judge(&()).unwrap(), together.explain(&()).unwrap());
        assert_eq!(why.evidence[0].exceeded, verdict.anomalous);
        assert_eq!(why.evidence[0].actual > why.evidence[0].upper.unwrap(), verdict.anomalous, "{rate}");
    }
    let text = "distance 9 (above 3, p 0.001), together, by c 2.52 (above 2, p 0.003), a 1 (p 0.2), \
                c 9 (p 0.001), d 8 (p 0.001)";
    assert_eq!(why.to_string(), text);
}

#[test]
fn members_have_names_of_their_own() {
    let new =
        |names: &[&'static str]| Together::new(names.iter().map(|&name| (name, Told(says(1.0, 0.5), 0))));
    assert_eq!(new(&[]).unwrap_err().to_string(), r#"members: must be at least one, got "0""#);
    assert_eq!(new(&["x", "x"]).unwrap_err().to_string(), r#"members: must have names that differ, got "x""#);
}

fn combinations() -> [Combination; 2] {
    [Combination::Least, Combination::Cauchy]
}

proptest! {
    /// Where all members find something at least as strange, it ranks at least as high; equal p-values are told
    /// apart by the scores.
    #[test]
    fn what_all_members_find_stranger_ranks_higher(
        members in prop::collection::vec((-50.0..50.0f64, 0.0..5.0f64, 1u32..400, prop_oneof![Just(0u32), 0..400u32]), 1..4),
        stranger in 0usize..4,
    ) {
        let p = |count: u32| f64::from(count) / 400.0;
        let usual: Vec<_> = members.iter().map(|&(score, _, count, _)| says(score, p(count))).collect();
        let all = members.iter().enumerate().map(|(i, &(score, more, count, less))| {
            let more = if i == stranger % members.len() { more + 0.1 } else { more };
            says(score + more, p(count.saturating_sub(less).max(1)))
        });
        let strange: Vec<_> = all.collect();
        for combination in combinations() {
            let judge = |said: &[_]| told(said).with_combination(combination).judge(&()).unwrap();
            let (usual, strange) = (judge(&usual), judge(&strange));
            prop_assert!(strange.score > usual.score, "{usual:?} {strange:?}");
            prop_assert!(strange.p_value <= usual.p_value && strange.anomalous >= usual.anomalous);
        }
    }

    /// Scores refine p-values and never overrule them.
    #[test]
    fn a_smaller_p_value_ranks_higher_whatever_the_scores(
        scores in prop::collection::vec(-1e9..1e9f64, 4),
        counts in prop::collection::vec(1u32..4_000, 4),
    ) {
        for combination in combinations() {
            let judge = |i: usize| {
                let said: Vec<_> = (i..i + 2).map(|i| says(scores[i], f64::from(counts[i]) / 4_001.0)).collect();
                told(&said).with_combination(combination).judge(&()).unwrap()
            };
            let (a, b) = (judge(0), judge(2));
            let (p, q) = (a.p_value.unwrap(), b.p_value.unwrap());
            prop_assert!(p > q * (1.0 - 1e-5) || a.score > b.score, "{a:?} {b:?}");
        }
    }
}

fn stream(seed: u64) -> RsHash {
    RsHash::builder(3).half_life(400).seed(seed).build().unwrap()
}

fn streams() -> Together<RsHash> {
    Together::new([("one", stream(1)), ("two", stream(2))]).unwrap()
}

#[test]
fn it_keeps_the_contract() {
    let feed: Vec<Vec<f64>> = (0..600).map(row).collect();
    let odd = [vec![], vec![0.0; 3], vec![f64::NAN; 3], vec![f64::INFINITY; 3], vec![1e300; 3], vec![1.0]];
    let make = || streams().on(|row: &Vec<f64>| row.clone());
    check_detector(make, &feed, &vec![1e3, -1e3, 1e3], &odd);
}

#[test]
fn a_memory_of_other_members_is_refused_and_changes_nothing() {
    let mut learned = streams();
    (0..300).for_each(|i| learned.learn(&row(i)[..]));
    let memory = |of: &Together<RsHash>| rmp_serde::to_vec_named(&of.memory()).unwrap();
    let into = |of: &mut Together<RsHash>| of.restore(rmp_serde::from_slice(&memory(&learned)).unwrap());
    let mut same = streams().with_rate(0.2).unwrap();
    into(&mut same).unwrap();
    assert!(memory(&same) == memory(&learned) && same.judge(&row(300)[..]).is_ok());
    for other in [
        Together::new([("two", stream(1)), ("one", stream(2))]).unwrap(),
        Together::new([("one", stream(1))]).unwrap(),
        // The first fits, the second does not.
        Together::new([("one", stream(1)), ("two", stream(3))]).unwrap(),
    ] {
        let (mut restored, before) = (other.clone(), memory(&other));
        assert!(into(&mut restored).is_err());
        assert!(memory(&restored) == before);
    }
}

/// A classical forest, one with cuts across two features, and one of streams, of the same rows.
fn of_rows(rows: u64) -> Together<Box<dyn Detector<[f64]>>> {
    let x = Array2::from_shape_fn((rows as usize, 3), |(i, column)| row(i as u64)[column]);
    let fit = |split| IsolationForest::builder().split(split).seed(1).fit(x.view()).unwrap();
    let mut stream = RsHash::builder(3).seed(1).build().unwrap();
    (0..rows).for_each(|i| stream.learn(&row(i)[..]));
    let members: [(_, Box<dyn Detector<[f64]>>); 3] = [
        ("classical", Box::new(fit(Split::Classical))),
        ("pairs", Box::new(fit(Split::PooledPairs))),
        ("stream", Box::new(stream)),
    ];
    Together::new(members).unwrap()
}

#[test]
fn false_alarms_keep_to_the_rate_and_what_one_member_finds_is_found() {
    let rows = 2_000;
    let mut together = of_rows(rows).with_rate(0.02).unwrap();
    for (combination, least) in [(Combination::Least, 0.004), (Combination::Cauchy, 0.008)] {
        together = together.with_combination(combination);
        let alarms = (0..2_000).filter(|i| together.judge(&row(rows + i)[..]).unwrap().anomalous).count();
        let share = alarms as f64 / 2_000.0;
        assert!((least..=0.027).contains(&share), "{combination:?}: {share}");
        // Far in one feature, and common in each but not together.
        for (odd, by) in [([0.0, 0.0, 40.0], "stream"), ([2.0, -2.0, 0.0], "")] {
            let (verdict, why) = (together.judge(&odd).unwrap(), together.explain(&odd).unwrap());
            assert!(verdict.anomalous, "{odd:?} {why}");
            assert!(why.evidence[0].statistic.contains(by), "{why}");
        }
    }
}
