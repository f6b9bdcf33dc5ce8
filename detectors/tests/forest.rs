//! What must hold of isolation forests.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use ndarray::{Array1, Array2, ArrayView2, Axis, array, concatenate};
use peak_core::snapshot;
use peak_detectors::{
    Detector, ForestMemory, IsolationForest, IsolationForestBuilder, Persist, Refusal, Split, Threshold,
};
use proptest::prelude::*;
use std::io::{Cursor, Write};
use std::num::NonZeroUsize;

/// A number from 0 to 1 that looks random (SplitMix64).
fn noise(i: u64) -> f64 {
    let i = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let i = (i ^ (i >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let i = (i ^ (i >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((i ^ (i >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// About a normal distribution, and every fiftieth row far out.
fn rows(rows: usize, columns: usize) -> Array2<f64> {
    Array2::from_shape_fn((rows, columns), |(row, column)| {
        let at = (row * columns + column) as u64 * 12;
        let normal = (0..12).map(|i| noise(at + i)).sum::<f64>() - 6.0;
        let far = if row % 50 == 7 { 4.0 } else { 1.0 };
        normal * far * (column + 1) as f64 + 10.0 * column as f64
    })
}

/// Fitting scales by the rows that are kept, and scores them for the threshold; here as few as there can be.
fn lean() -> IsolationForestBuilder {
    IsolationForest::builder().reservoir(1)
}

fn splits() -> [IsolationForestBuilder; 3] {
    [Split::Classical, Split::PooledGain, Split::PooledPairs].map(|split| lean().split(split).seed(7))
}

/// The same, with all rows kept.
fn with_all_kept() -> [IsolationForestBuilder; 3] {
    splits().map(|builder| builder.reservoir(4_096))
}

fn bits(scores: &Array1<f64>) -> Vec<u64> {
    scores.iter().map(|score| score.to_bits()).collect()
}

/// The area under the ROC curve when the rows of `rows` that lie far out are the outliers.
fn auc(scores: &Array1<f64>) -> f64 {
    let (mut won, mut pairs) = (0.0, 0.0);
    for (i, far) in scores.iter().enumerate().filter(|(i, _)| i % 50 == 7) {
        let others = scores.iter().enumerate().filter(|(j, _)| j % 50 != 7 && *j != i);
        for (_, near) in others {
            won += f64::from(far > near) + 0.5 * f64::from(far == near);
            pairs += 1.0;
        }
    }
    won / pairs
}

fn saved(forest: &IsolationForest) -> Vec<u8> {
    let mut bytes = Vec::new();
    snapshot::write(&mut bytes, IsolationForest::KIND, IsolationForest::VERSION, &forest.memory()).unwrap();
    bytes
}

fn loaded(bytes: Vec<u8>) -> peak_core::Result<IsolationForest> {
    snapshot::read::<ForestMemory>(
        &mut Cursor::new(bytes),
        "forest",
        IsolationForest::KIND,
        IsolationForest::VERSION,
    )?
    .into_forest()
}

fn permuted(n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| noise(a as u64).total_cmp(&noise(b as u64)));
    order
}

#[test]
fn permuting_the_scored_rows_permutes_the_scores() {
    let x = rows(700, 6);
    let order = permuted(700);
    for builder in splits() {
        let forest = builder.fit(x.view()).unwrap();
        let scores = forest.score_all(x.view()).unwrap();
        let others = forest.score_all(x.select(Axis(0), &order).view()).unwrap();
        assert_eq!(bits(&scores.select(Axis(0), &order)), bits(&others));
    }
}

#[test]
fn permuting_the_training_rows_changes_nothing_when_every_tree_sees_all() {
    let x = rows(256, 5);
    let other = x.select(Axis(0), &permuted(256));
    for builder in splits() {
        let one = builder.clone().fit(x.view()).unwrap().score_all(x.view()).unwrap();
        let two = builder.fit(other.view()).unwrap().score_all(x.view()).unwrap();
        assert_eq!(bits(&one), bits(&two));
    }
}

#[test]
fn permuting_the_training_rows_changes_little_otherwise() {
    let x = rows(1_000, 5);
    let other = x.select(Axis(0), &permuted(1_000));
    let fit = |x: ArrayView2<'_, f64>| lean().trees(400).fit(x).unwrap();
    let one = fit(x.view()).score_all(x.view()).unwrap();
    let two = fit(other.view()).score_all(x.view()).unwrap();
    let farthest = one.iter().zip(&two).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(farthest < 0.04, "{farthest}");
}

#[test]
fn columns_that_move_with_their_names_change_nothing() {
    let x = rows(600, 5);
    let (names, order) = (["a", "b", "c", "d", "e"], [3, 0, 4, 2, 1]);
    let other = x.select(Axis(1), &order);
    let moved = order.map(|column| names[column]);
    let weights = [1.0, 2.0, 0.5, 1.0, 3.0];
    for builder in splits() {
        let builder = builder.weights(weights).names(names);
        let one = builder.clone().fit(x.view()).unwrap();
        let weights = order.map(|column| weights[column]);
        let two = builder.names(moved).weights(weights).fit(other.view()).unwrap();
        assert_eq!(bits(&one.score_all(x.view()).unwrap()), bits(&two.score_all(other.view()).unwrap()));
        for row in [0, 7, 57, 500] {
            let first = one.attribute(&x.row(row).to_vec()).unwrap();
            let second = two.attribute(&other.row(row).to_vec()).unwrap();
            for (place, &column) in order.iter().enumerate() {
                let difference = first.contributions[column] - second.contributions[place];
                assert!(difference.abs() < 1e-12, "{difference}");
            }
        }
    }
}

/// Without names a column's place is its name: another order is another forest of the same law.
#[test]
fn columns_without_names_change_little() {
    let x = rows(1_000, 5);
    let other = x.select(Axis(1), &[4, 2, 0, 1, 3]);
    let fit = |x: ArrayView2<'_, f64>| lean().trees(400).fit(x).unwrap();
    let one = fit(x.view()).score_all(x.view()).unwrap();
    let two = fit(other.view()).score_all(other.view()).unwrap();
    let farthest = one.iter().zip(&two).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(farthest < 0.04, "{farthest}");
}

#[test]
fn duplicating_the_rows_leaves_the_ranking() {
    let x = rows(1_000, 6);
    let twice = concatenate![Axis(0), x, x];
    for builder in splits() {
        let one = auc(&builder.clone().fit(x.view()).unwrap().score_all(x.view()).unwrap());
        let two = auc(&builder.fit(twice.view()).unwrap().score_all(x.view()).unwrap());
        assert!(one > 0.9 && (one - two).abs() < 0.02, "{one} {two}");
    }
}

#[test]
fn scaling_a_feature_by_a_power_of_two_changes_no_bit() {
    let x = rows(500, 4);
    let mut other = x.clone();
    other.column_mut(1).map_inplace(|value| *value *= 1_024.0);
    other.column_mut(3).map_inplace(|value| *value /= 65_536.0);
    for builder in splits() {
        let one = builder.clone().fit(x.view()).unwrap().score_all(x.view()).unwrap();
        let two = builder.fit(other.view()).unwrap().score_all(other.view()).unwrap();
        assert_eq!(bits(&one), bits(&two));
    }
}

#[test]
fn scaling_and_shifting_a_feature_changes_next_to_nothing() {
    let x = rows(500, 4);
    let mut other = x.clone();
    other.column_mut(2).map_inplace(|value| *value = *value * 0.3 + 1e6);
    for builder in splits() {
        let fit = |x: &Array2<f64>| builder.clone().fit(x.view()).unwrap().score_all(x.view());
        let (one, two) = (fit(&x).unwrap(), fit(&other).unwrap());
        let farthest = one.iter().zip(&two).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(farthest < 0.01, "{farthest}");
    }
}

#[test]
fn times_in_seconds_are_told_apart() {
    let x = Array2::from_shape_fn((3_000, 1), |(row, _)| 1_700_000_000.0 + row as f64);
    let scores = lean().fit(x.view()).unwrap().score_all(x.view()).unwrap();
    let mut different: Vec<u64> = bits(&scores);
    different.sort_unstable();
    different.dedup();
    assert!(different.len() > 1_000, "{}", different.len());
}

fn with_missing() -> Array2<f64> {
    let mut x = rows(800, 5);
    for (i, value) in x.iter_mut().enumerate() {
        if noise(i as u64 + 99) < 0.15 {
            *value = f64::NAN;
        }
    }
    x.row_mut(3).fill(f64::NAN);
    x.column_mut(4).fill(f64::NAN);
    x
}

#[test]
fn missing_values_never_give_nan() {
    let x = with_missing();
    for builder in splits() {
        let forest = builder.fit(x.view()).unwrap();
        let scores = forest.score_all(x.view()).unwrap();
        assert!(scores.iter().all(|score| (0.0..1.0).contains(score)));
        for (row, score) in x.rows().into_iter().zip(&scores).step_by(37) {
            let row = row.to_vec();
            assert_eq!(forest.score(&row).unwrap().to_bits(), score.to_bits());
            let attribution = forest.attribute(&row).unwrap();
            assert_eq!(attribution.contributions[4], 0.0);
            assert!(attribution.contributions.iter().all(|share| share.is_finite()));
        }
    }
}

/// A missing value goes where most rows of the node went, so it does not make a row strange.
#[test]
fn a_missing_value_is_not_strange_by_itself() {
    let x = rows(2_000, 4);
    for builder in splits() {
        let forest = builder.fit(x.view()).unwrap();
        let ordinary = [0.0, 10.0, 20.0, 30.0];
        let score = forest.score(&ordinary).unwrap();
        for column in 0..4 {
            let mut row = ordinary;
            row[column] = f64::NAN;
            assert!((forest.score(&row).unwrap() - score).abs() < 0.05);
        }
    }
}

#[test]
fn one_row_and_many_give_the_same_bits() {
    for (x, depth) in
        [(rows(300, 3), None), (rows(300, 70), None), (with_missing(), None), (rows(300, 3), Some(12))]
    {
        for builder in splits() {
            let builder = if let Some(depth) = depth { builder.depth(depth) } else { builder };
            let forest = builder.trees(53).fit(x.view()).unwrap();
            let scores = forest.score_all(x.view()).unwrap();
            for (row, score) in x.rows().into_iter().zip(&scores) {
                assert_eq!(forest.score(&row.to_vec()).unwrap().to_bits(), score.to_bits());
            }
            // The layout of the matrix does not matter.
            let columns_first = x.t().as_standard_layout().into_owned();
            assert_eq!(bits(&scores), bits(&forest.score_all(columns_first.t()).unwrap()));
        }
    }
}

#[test]
fn contributions_add_up_to_what_the_score_exceeds_its_baseline_by() {
    let mut x = rows(1_500, 6);
    x.column_mut(2).fill(42.0);
    for builder in splits().into_iter().chain([lean().sample(1_000)]) {
        let forest = builder.fit(x.view()).unwrap();
        for row in [0, 7, 57, 107, 301, 999] {
            let row = x.row(row).to_vec();
            let attribution = forest.attribute(&row).unwrap();
            assert_eq!(attribution.score, forest.score(&row).unwrap());
            let sum: f64 = attribution.contributions.iter().sum();
            let excess = attribution.score - attribution.baseline;
            assert!((sum - excess).abs() < 1e-6, "{sum} {excess}");
            assert_eq!(attribution.contributions[2], 0.0, "a constant feature contributes nothing");
        }
    }
}

#[test]
fn the_feature_that_is_off_contributes_most() {
    let x = rows(2_000, 6);
    for builder in splits() {
        let forest = builder.fit(x.view()).unwrap();
        for feature in 0..6 {
            let mut row: Vec<f64> = (0..6).map(|column| 10.0 * f64::from(column)).collect();
            row[feature] += 40.0 * (feature + 1) as f64;
            let contributions = forest.attribute(&row).unwrap().contributions;
            let most = (0..6).max_by(|&a, &b| contributions[a].total_cmp(&contributions[b]));
            assert_eq!(most, Some(feature));
        }
    }
}

/// Two features that go together; a row that is ordinary in each, but not in both.
#[test]
fn pairs_see_what_no_feature_shows_alone() {
    let x = Array2::from_shape_fn((2_000, 2), |(row, column)| {
        let along = (0..12).map(|i| noise(row as u64 * 12 + i)).sum::<f64>() - 6.0;
        along + 0.05 * noise((row * 2 + column) as u64 + 1_000_000)
    });
    let rank = |builder: IsolationForestBuilder| {
        let forest = builder.trees(400).fit(x.view()).unwrap();
        forest.p_value(forest.score(&[1.5, -1.5]).unwrap())
    };
    let [classical, _, pairs] = with_all_kept().map(rank);
    assert!(pairs < 0.03 && 2.0 * pairs < classical, "{classical} {pairs}");
}

/// The classical way halves what lies in two groups; the valley between them is no place for anomalies.
#[test]
fn a_row_between_two_groups_is_found() {
    let x = Array2::from_shape_fn((2_000, 3), |(row, column)| {
        let at = (row * 3 + column) as u64 * 12;
        let normal = (0..12).map(|i| noise(at + i)).sum::<f64>() - 6.0;
        normal + if row % 2 == 0 { -8.0 } else { 8.0 }
    });
    for builder in with_all_kept() {
        let forest = builder.fit(x.view()).unwrap();
        let between = forest.p_value(forest.score(&[0.0; 3]).unwrap());
        let middle = forest.p_value(forest.score(&[8.0; 3]).unwrap());
        assert!(between < 0.05 && middle > 0.5, "{between} {middle}");
    }
}

#[test]
fn with_the_counterfactual_a_row_is_quiet() {
    let x = rows(1_000, 4);
    for builder in with_all_kept() {
        let mut forest = builder.names(["a", "b", "c", "d"]).fit(x.view()).unwrap();
        forest.set_threshold(Threshold::Contamination(0.05)).unwrap();
        let mut found = 0;
        for row in x.rows() {
            let row = row.to_vec();
            let Some(quiet) = forest.counterfactual(&row).unwrap() else { continue };
            found += 1;
            let feature = forest.names().iter().position(|name| *name == quiet.statistic).unwrap();
            let mut changed = row.clone();
            let bound = |value: f64| quiet.above.is_some_and(|above| value < above);
            changed[feature] = if bound(row[feature]) { quiet.above } else { quiet.below }.unwrap();
            assert!(forest.judge(&row).unwrap().anomalous);
            assert!(!forest.judge(&changed).unwrap().anomalous, "{quiet}");
        }
        assert!(found > 25, "{found}");
    }
}

#[test]
fn threads_change_no_bit() {
    let x = rows(1_600, 7);
    for builder in with_all_kept() {
        let on = |threads: usize| {
            let builder = builder.clone().trees(40).threads(NonZeroUsize::new(threads).unwrap());
            let forest = builder.fit(x.view()).unwrap();
            let cutoff = forest.cutoff();
            (bits(&forest.score_all(x.view()).unwrap()), cutoff.score.to_bits(), cutoff.exceeding)
        };
        let one = on(1);
        assert_eq!(one, on(2));
        assert_eq!(one, on(7));
    }
}

#[test]
fn neighbouring_seeds_share_no_tree() {
    let x = rows(1_000, 3);
    let fit = |seed: u64| lean().seed(seed).trees(1).fit(x.view()).unwrap();
    let scores: Vec<Vec<u64>> = (0..20).map(|seed| bits(&fit(seed).score_all(x.view()).unwrap())).collect();
    for (i, one) in scores.iter().enumerate() {
        assert!(scores[..i].iter().all(|other| other != one));
    }
}

#[test]
fn fixed_seeds_have_fixed_scores() {
    let x = rows(500, 4);
    let scores = |builder: IsolationForestBuilder| -> Vec<u64> {
        let forest = builder.fit(x.view()).unwrap();
        [0, 7, 57].iter().map(|&row| forest.score(&x.row(row).to_vec()).unwrap().to_bits()).collect()
    };
    let [classical, gain, pairs] = with_all_kept().map(scores);
    assert_eq!(classical, PINNED_CLASSICAL, "{classical:#x?}");
    assert_eq!(gain, PINNED_GAIN, "{gain:#x?}");
    assert_eq!(pairs, PINNED_PAIRS, "{pairs:#x?}");
}

const PINNED_CLASSICAL: [u64; 3] = [0x3fdb_aca7_c68e_0a83, 0x3fe7_5471_d048_12ea, 0x3fe8_ae19_cccf_a91c];
const PINNED_GAIN: [u64; 3] = [0x3fe0_6f91_824e_643e, 0x3fe5_82a5_95e9_b181, 0x3fe7_a6ba_a541_6e0c];
const PINNED_PAIRS: [u64; 3] = [0x3fdf_fa40_71cd_69a6, 0x3fe4_ca55_c5e7_4791, 0x3fe7_522f_e377_f66f];

#[test]
fn weights_of_rows_decide_what_is_usual() {
    let mut x = rows(1_000, 2);
    x.slice_axis_mut(Axis(0), ndarray::Slice::from(0..100)).fill(500.0);
    let weigh =
        |weight: f64| -> Vec<f64> { (0..1_000).map(|row| if row < 100 { weight } else { 1.0 }).collect() };
    let score = |weight: f64| {
        let forest = lean().fit_weighted(x.view(), &weigh(weight)).unwrap();
        forest.score(&[500.0, 500.0]).unwrap()
    };
    let (never, often) = (score(0.0), score(50.0));
    assert!(never > 0.7 && often < 0.55, "{never} {often}");
}

#[test]
fn a_feature_of_no_weight_is_not_looked_at() {
    let x = rows(1_000, 3);
    let mut constant = x.clone();
    constant.column_mut(0).fill(1.0);
    constant.column_mut(2).fill(2.0);
    for builder in splits() {
        let builder = builder.weights([1.0, 0.0, 1.0]);
        let forest = builder.clone().fit(x.view()).unwrap();
        assert_eq!(forest.score(&[0.0, 10.0, 20.0]), forest.score(&[0.0, -1e9, 20.0]));
        // Not even when no other feature differs.
        let forest = builder.fit(constant.view()).unwrap();
        assert_eq!(forest.score(&[1.0, 10.0, 2.0]), forest.score(&[1.0, -1e9, 2.0]));
    }
}

#[test]
fn bad_settings_and_rows_are_refused() {
    let x = rows(20, 3);
    let builder = IsolationForest::builder;
    let error = |builder: IsolationForestBuilder| builder.fit(x.view()).unwrap_err().to_string();
    for (builder, message) in [
        (builder().trees(0), r#"trees: must be at least 1, got "0""#),
        (builder().trees(1 << 30), r#"trees: must be at most 100000, got "1073741824""#),
        (builder().sample(1), r#"sample: must be at least 2, got "1""#),
        (builder().depth(0), r#"depth: must be at least 1, got "0""#),
        (builder().depth(61), r#"depth: must be at most 60, got "61""#),
        (builder().names(["a", "b"]), r#"names: must be one per column, 3, got "2""#),
        (builder().names(["a", "b", "a"]), r#"names: must all be different, got "a""#),
        (builder().weights([1.0]), r#"feature weights: must be one per column, 3, got "1""#),
        (
            builder().weights([1.0, -1.0, 0.0]),
            r#"feature weights: must be finite and not negative, got "-1""#,
        ),
        (builder().weights([0.0; 3]), r#"feature weights: must not all be 0, got "0""#),
        (
            builder().threshold(Threshold::Contamination(0.0)),
            r#"contamination: must be above 0 and at most 0.5, got "0""#,
        ),
        (
            builder().threshold(Threshold::Contamination(0.6)),
            r#"contamination: must be above 0 and at most 0.5, got "0.6""#,
        ),
        (
            builder().threshold(Threshold::Contamination(f64::NAN)),
            r#"contamination: must be above 0 and at most 0.5, got "NaN""#,
        ),
        (builder().threshold(Threshold::Quantile(1.1)), r#"quantile: must be from 0 to 1, got "1.1""#),
        (builder().threshold(Threshold::Fixed(-0.1)), r#"threshold: must be from 0 to 1, got "-0.1""#),
    ] {
        assert_eq!(error(builder), message);
    }
    let fit = |x: Array2<f64>| builder().fit(x.view()).map(|_| ()).map_err(|error| error.to_string());
    assert_eq!(fit(Array2::zeros((0, 3))), Err(r#"rows: must be at least 2, got "0""#.into()));
    assert_eq!(fit(Array2::zeros((1, 3))), Err(r#"rows: must be at least 2, got "1""#.into()));
    assert_eq!(fit(Array2::zeros((9, 0))), Err(r#"columns: must be at least 1, got "0""#.into()));
    let infinite = r#"row 1, column 0: must be finite, or NaN if missing, got "inf""#;
    assert_eq!(fit(array![[0.0], [f64::INFINITY]]), Err(infinite.into()));
    let weighted = |weights: &[f64]| builder().fit_weighted(x.view(), weights).unwrap_err().to_string();
    assert_eq!(weighted(&[1.0]), r#"row weights: must be one per row, 20, got "1""#);
    assert!(weighted(&[0.0; 20]).starts_with("row weights: must be above 0 for two rows"));
    assert!(weighted(&[f64::NAN; 20]).starts_with("weight of row 0: must be finite"));

    let mut forest = builder().fit(x.view()).unwrap();
    let narrow = forest.score_all(rows(5, 2).view()).unwrap_err().to_string();
    assert_eq!(narrow, r#"columns: must be 3 as in training, got "2""#);
    assert!(forest.score_all(array![[0.0, f64::NEG_INFINITY, 0.0]].view()).is_err());
    assert_eq!(forest.judge(&[1.0, 2.0]), Err(Refusal::WrongWidth { have: 2, need: 3 }));
    assert_eq!(forest.judge(&[1.0, 2.0, f64::INFINITY]), Err(Refusal::NotFinite));
    assert_eq!(forest.score_all(Array2::zeros((0, 3)).view()).unwrap().len(), 0);
    assert!(forest.set_threshold(Threshold::Quantile(f64::NAN)).is_err());
    assert!(forest.add_trees(1 << 30).is_err() && forest.replace_oldest(101).is_err());
}

#[test]
fn rows_that_are_all_the_same_are_ordinary() {
    for x in [Array2::from_elem((300, 3), 7.0), Array2::zeros((50, 1))] {
        for builder in with_all_kept() {
            let forest = builder.fit(x.view()).unwrap();
            let scores = forest.score_all(x.view()).unwrap();
            assert!(scores.iter().all(|score| (score - 0.5).abs() < 1e-6), "{scores}");
            assert_eq!(forest.cutoff().exceeding, 0);
            assert!(!forest.explain(&x.row(0).to_vec()).unwrap().to_string().is_empty());
        }
    }
}

#[test]
fn one_column_and_few_rows_will_do() {
    let x = array![[1.0], [2.0], [3.0], [100.0]];
    for builder in splits() {
        let scores = builder.fit(x.view()).unwrap().score_all(x.view()).unwrap();
        assert!(scores.iter().all(|score| *score > 0.0 && *score < 1.0));
        assert!(scores[3] > scores[1], "{scores}");
    }
}

#[test]
fn the_threshold_is_apart_from_the_scores() {
    let x = rows(2_000, 4);
    let mut forest = IsolationForest::builder().fit(x.view()).unwrap();
    let scores = forest.score_all(x.view()).unwrap();
    for threshold in
        [Threshold::Auto, Threshold::Contamination(0.02), Threshold::Quantile(0.75), Threshold::Fixed(0.55)]
    {
        let cutoff = forest.set_threshold(threshold).unwrap();
        assert_eq!(cutoff, forest.cutoff());
        assert_eq!(bits(&scores), bits(&forest.score_all(x.view()).unwrap()));
        let exceeding = scores.iter().filter(|&&score| score > cutoff.score).count();
        assert_eq!((cutoff.exceeding, cutoff.of), (exceeding, 2_000), "{threshold:?}");
    }
    assert_eq!(forest.set_threshold(Threshold::Contamination(0.02)).unwrap().exceeding, 40);
    let highest = scores.iter().copied().fold(0.0, f64::max);
    assert_eq!(forest.p_value(highest), 2.0 / 2_001.0);
    assert_eq!(forest.p_value(0.0), 1.0);
}

#[test]
fn a_forest_follows_a_drift_when_its_oldest_trees_are_replaced() {
    let x = rows(2_000, 3);
    let mut forest = IsolationForest::builder().reservoir(1_000).fit(x.view()).unwrap();
    let before = forest.score(&[60.0, 60.0, 60.0]).unwrap();
    for row in (&rows(3_000, 3) + 60.0).rows() {
        forest.learn(&row.to_vec());
    }
    assert_eq!(forest.score(&[60.0, 60.0, 60.0]), Ok(before), "learning alone changes no verdict");
    for _ in 0..10 {
        forest.replace_oldest(10).unwrap();
    }
    let why = forest.explain(&[300.0, 70.0, 80.0]).unwrap();
    let typical = why.carrier().unwrap().expected.unwrap();
    assert!(why.carried_by == "x0" && (55.0..65.0).contains(&typical), "{why}");
    let after = forest.score(&[60.0, 70.0, 80.0]).unwrap();
    assert!(forest.trees() == 100 && before > 0.7 && after < 0.5, "{before} {after}");
    forest.add_trees(20).unwrap();
    assert_eq!(forest.trees(), 120);
}

/// While a sensor is dead its rows hold nothing, and nothing is learned of them.
#[test]
fn a_dead_sensor_leaves_no_trace() {
    let dead = [f64::NAN; 4];
    for builder in with_all_kept().map(|builder| builder.trees(30)) {
        let mut forest = builder.clone().reservoir(300).fit(rows(500, 4).view()).unwrap();
        let before = saved(&forest);
        assert_eq!(forest.judge(&dead), Err(Refusal::Empty));
        (0..5_000).for_each(|_| forest.learn(&dead));
        assert!(saved(&forest) == before);
        forest.replace_oldest(30).unwrap();
        let (usual, far) =
            (forest.score(&[0.0, 10.0, 20.0, 30.0]), forest.score(&[50.0, -50.0, 200.0, 900.0]));
        assert!(usual.unwrap() < 0.5 && far.unwrap() > 0.6, "{usual:?} {far:?}");

        // Nor when the forest is fitted: half of these rows are of the dead sensor.
        let alive = rows(200, 4);
        let mut x = Array2::from_elem((400, 4), f64::NAN);
        alive.rows().into_iter().enumerate().for_each(|(i, row)| x.row_mut(2 * i + 1).assign(&row));
        let with_dead = builder.clone().sample(200).fit(x.view()).unwrap();
        let without = builder.clone().sample(200).fit(alive.view()).unwrap();
        let scores = |forest: &IsolationForest| bits(&forest.score_all(alive.view()).unwrap());
        assert_eq!(scores(&with_dead), scores(&without));
        assert_eq!((with_dead.cutoff(), with_dead.cutoff().of), (without.cutoff(), 200));
        let weights: Vec<f64> = (0..400).map(|row| if row % 4 == 1 { 0.0 } else { 1.0 }).collect();
        assert_eq!(builder.clone().fit_weighted(x.view(), &weights).unwrap().cutoff().of, 100);
        let mut nothing = Array2::from_elem((9, 4), f64::NAN);
        nothing[[3, 2]] = 1.0;
        let error = builder.fit(nothing.view()).unwrap_err().to_string();
        assert_eq!(error, r#"rows with a value: must be at least 2, got "1""#);
    }
}

/// However far rows drift, a spread stays a spread: scales follow when the trees do.
#[test]
fn a_forest_follows_a_drift_of_any_number_of_spreads() {
    let feed = rows(5_000, 2);
    let usual = |base: f64, row: usize| [base + feed[[row, 0]], feed[[row, 1]]];
    let [classical, _, pairs] = with_all_kept();
    for builder in [classical, pairs] {
        let x = Array2::from_shape_fn((2_000, 2), |(row, column)| usual(0.0, row)[column]);
        let mut forest = builder.clone().reservoir(400).fit(x.view()).unwrap();
        for base in [1e5, -1e12] {
            (0..4_000).for_each(|i| forest.learn(&usual(base, i)));
            forest.replace_oldest(100).unwrap();
            let moved = Array2::from_shape_fn((5_000, 2), |(row, column)| usual(base, row)[column]);
            let fresh = builder.clone().reservoir(400).fit(moved.view()).unwrap();
            for x in [[base, 10.0], [base + 1.5, 7.0], [base + 100.0, 10.0]] {
                let (moved, fresh) = (forest.score(&x).unwrap(), fresh.score(&x).unwrap());
                assert!((moved - fresh).abs() < 0.1, "{base}: {moved}, fitted there {fresh}");
            }
            let far = forest.score(&[base + 100.0, 10.0]).unwrap();
            assert!(far > forest.score(&[base, 10.0]).unwrap() + 0.1, "{base}: {far}");
            assert_eq!(forest.trees(), 100);
            assert_eq!(
                loaded(saved(&forest)).unwrap().judge(&[base + 100.0, 10.0]),
                forest.judge(&[base + 100.0, 10.0])
            );
        }
    }
}

/// A few trees are replaced, and the rows have left what the others can tell apart.
#[test]
fn no_tree_stays_on_scales_that_were_outgrown() {
    let x = Array2::from_shape_fn((500, 1), |(row, _)| noise(row as u64));
    let mut forest = IsolationForest::builder().reservoir(500).fit(x.view()).unwrap();
    (0..20_000).for_each(|i| forest.learn(&[1e9 + noise(i)]));
    forest.replace_oldest(1).unwrap();
    let (usual, far) = (forest.score(&[1e9 + 0.5]).unwrap(), forest.score(&[1e9 + 30.0]).unwrap());
    assert!(forest.trees() == 100 && usual < 0.5 && far > 0.6, "{usual} {far}");
    // A feature that hangs keeps its scale, and the forest its trees.
    (0..20_000).for_each(|_| forest.learn(&[0.0]));
    forest.replace_oldest(1).unwrap();
    let (usual, far) = (forest.score(&[1e9 + 0.5]).unwrap(), forest.score(&[1e9 + 30.0]).unwrap());
    assert!(usual < 0.5 && far > 0.6, "{usual} {far}");
}

#[test]
fn a_builder_is_the_same_when_it_was_data() {
    let full = IsolationForest::builder().trees(7).sample(33).depth(5).split(Split::PooledGain).seed(9);
    let full = full.threshold(Threshold::Quantile(0.9)).reservoir(44).names(["a", "b"]).weights([1.0, 0.5]);
    for builder in [IsolationForest::builder(), full] {
        let data = serde_json::to_string(&builder).unwrap();
        assert_eq!(serde_json::from_str::<IsolationForestBuilder>(&data).unwrap(), builder, "{data}");
    }
    let refused = |data| serde_json::from_str::<IsolationForestBuilder>(data).unwrap_err().to_string();
    assert!(refused(r#"{"trees": 0}"#).contains("trees: must be at least 1"));
    assert!(refused(r#"{"names": ["a", "a"]}"#).contains("must all be different"));
    assert!(refused(r#"{"names": ["a"], "weights": [1, 2]}"#).contains("must be one per column, 1"));
    assert!(refused(r#"{"threshold": {"quantile": -1}}"#).contains("quantile: must be from 0 to 1"));
    assert!(refused(r#"{"sed": 1}"#).contains("unknown field `sed`"));
}

#[test]
fn trees_that_are_added_are_those_that_a_larger_forest_has() {
    // With every row in every sample, where the rows come from does not matter.
    let x = rows(200, 3);
    let large = IsolationForest::builder().trees(60).fit(x.view()).unwrap();
    let mut grown = IsolationForest::builder().trees(40).fit(x.view()).unwrap();
    grown.add_trees(20).unwrap();
    assert_eq!(bits(&large.score_all(x.view()).unwrap()), bits(&grown.score_all(x.view()).unwrap()));
}

#[test]
fn a_saved_forest_goes_on_bit_by_bit() {
    let x = with_missing();
    for builder in with_all_kept().into_iter().chain([IsolationForest::builder().depth(20).sample(512)]) {
        let names = ["cpu", "memory", "disk", "network", "users"];
        let builder =
            builder.trees(40).names(names).threshold(Threshold::Contamination(0.03)).weights([1.0; 5]);
        let mut forest = builder.fit(x.view()).unwrap();
        forest.learn(&[1.0, f64::NAN, 2.0, 3.0, 4.0]);
        let mut restored = loaded(saved(&forest)).unwrap();
        assert_eq!(restored.names(), names);
        for _ in 0..2 {
            assert_eq!(saved(&forest), saved(&restored));
            assert_eq!(restored.cutoff(), forest.cutoff());
            let one = forest.score_all(x.view()).unwrap();
            assert_eq!(bits(&one), bits(&restored.score_all(x.view()).unwrap()));
            for forest in [&mut forest, &mut restored] {
                x.rows().into_iter().for_each(|row| forest.learn(&row.to_vec()));
                forest.replace_oldest(12).unwrap();
            }
        }
    }
}

#[test]
fn a_memory_of_another_width_is_refused() {
    let mut narrow = IsolationForest::builder().fit(rows(50, 2).view()).unwrap();
    let wide = saved(&IsolationForest::builder().fit(rows(50, 3).view()).unwrap());
    let kind = (IsolationForest::KIND, IsolationForest::VERSION);
    let memory: ForestMemory = snapshot::read(&mut Cursor::new(wide), "wide", kind.0, kind.1).unwrap();
    let error = narrow.restore(memory).unwrap_err().to_string();
    assert_eq!(error, r#"forest memory: must have 2 columns, got "3""#);
}

/// Content that is damaged under a checksum that is right again: refused, or a forest that works.
#[test]
fn damaged_content_is_refused_or_harmless() {
    let x = rows(40, 2);
    for builder in splits() {
        let forest = builder.trees(2).sample(10).reservoir(10).fit(x.view()).unwrap();
        let mut content = Vec::new();
        rmp_serde::encode::write(&mut content, &forest.memory()).unwrap();
        let mut refused = 0;
        for at in 0..content.len() {
            for flip in [0x01, 0x0c, 0xff] {
                let mut damaged = content.clone();
                damaged[at] ^= flip;
                let memory: Result<ForestMemory, _> = rmp_serde::from_slice(&damaged);
                match memory.map(ForestMemory::into_forest) {
                    Ok(Ok(forest)) => {
                        if forest.names().len() == 2 {
                            let scores = forest.score_all(x.view()).unwrap();
                            assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
                            assert_eq!(forest.score(&x.row(7).to_vec()), Ok(scores[7]));
                            let _ = forest.explain(&[100.0, -100.0]);
                        }
                    }
                    _ => refused += 1,
                }
            }
        }
        assert!(refused > content.len(), "{refused} of {}", 3 * content.len());
    }
}

#[test]
fn a_cut_or_changed_file_is_refused() {
    let bytes = saved(&IsolationForest::builder().trees(2).fit(rows(30, 2).view()).unwrap());
    assert!(loaded(bytes[..bytes.len() - 9].to_vec()).is_err());
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    assert!(loaded(changed).is_err() && loaded(bytes).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn anything_finite_or_missing_is_scored(
        columns in 1usize..5,
        values in prop::collection::vec(
            prop_oneof![4 => -1e3..1e3f64, 1 => prop::num::f64::NORMAL, 1 => Just(f64::NAN), 1 => Just(0.0)], 10..200),
        seed: u64,
        depth in 1u32..14,
        kind in 0usize..3,
    ) {
        let count = values.len() / columns;
        let x = Array2::from_shape_vec((count, columns), values[..count * columns].to_vec()).unwrap();
        let split = [Split::Classical, Split::PooledGain, Split::PooledPairs][kind];
        let builder = IsolationForest::builder().trees(9).sample(64).depth(depth).seed(seed).split(split);
        let forest = builder.fit(x.view()).unwrap();
        let scores = forest.score_all(x.view()).unwrap();
        for (row, score) in x.rows().into_iter().zip(&scores) {
            let row = row.to_vec();
            prop_assert!(*score > 0.0 && *score < 1.0);
            prop_assert_eq!(forest.score(&row).unwrap().to_bits(), score.to_bits());
            let attribution = forest.attribute(&row).unwrap();
            let excess = attribution.score - attribution.baseline;
            prop_assert!((attribution.contributions.iter().sum::<f64>() - excess).abs() < 1e-6);
            let _ = forest.counterfactual(&row).unwrap();
        }
        let restored = loaded(saved(&forest)).unwrap();
        prop_assert_eq!(bits(&restored.score_all(x.view()).unwrap()), bits(&scores));
    }

    #[test]
    fn shares_and_quantiles_hold(share in 0.001..0.5f64, count in 30usize..400) {
        let x = rows(count, 2);
        let mut forest = IsolationForest::builder().trees(25).fit(x.view()).unwrap();
        let cutoff = forest.set_threshold(Threshold::Contamination(share)).unwrap();
        prop_assert!(cutoff.exceeding as f64 <= share * count as f64 + 1e-6);
        let quantile = forest.set_threshold(Threshold::Quantile(1.0 - share)).unwrap();
        prop_assert_eq!(quantile.exceeding, cutoff.exceeding);
    }
}

/// Mean scores of the forest that is the reference, recorded: `made_by` says how.
#[derive(serde::Deserialize)]
struct Recorded {
    made_by: String,
    sets: std::collections::BTreeMap<String, Vec<f64>>,
}

#[test]
fn mean_scores_are_those_of_scikit_learn() {
    let Some(shared) = std::env::var_os("PEAK_SHARED").map(std::path::PathBuf::from) else {
        // Not by a macro: what those print of a test that passes is not shown.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED mean_scores_are_those_of_scikit_learn: PEAK_SHARED is not set"
        );
        return;
    };
    let recorded: Recorded = serde_json::from_str(include_str!("forest_scikit_learn.json")).unwrap();
    for (name, expected) in recorded.sets {
        let file = std::fs::File::open(shared.join(format!("data/outliers/{name}.npz"))).unwrap();
        let x: Array2<f64> = ndarray_npy::NpzReader::new(file).unwrap().by_name("X").unwrap();
        let mut means = Array1::<f64>::zeros(expected.len());
        let threads = NonZeroUsize::new(2).unwrap();
        for seed in 1..=20 {
            let forest = lean().trees(1_000).seed(seed).threads(threads).fit(x.view()).unwrap();
            // Without optimisation this is faster than all at once.
            let scored = means.iter_mut().zip(x.rows());
            scored.for_each(|(mean, row)| *mean += forest.score(&row.to_vec()).unwrap() / 20.0);
        }
        let differences = means.iter().zip(&expected).map(|(mean, expected)| (mean - expected).abs());
        let farthest = differences.fold(0.0, f64::max);
        assert!(farthest <= 0.005, "{name}: {farthest}, {}", recorded.made_by);
    }
}
