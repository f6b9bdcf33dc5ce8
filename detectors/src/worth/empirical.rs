//! The scores of a fixed set of rows.

/// How likely one of the scores, which ascend, or the score itself is at least as high: never 0.
///
/// It is exact where the score is one more of the same kind: among n + 1 exchangeable scores each has
/// each rank equally often (conformal p-value: Vovk, Gammerman and Shafer, *Algorithmic Learning in a
/// Random World*, 2005). Ties count as high.
pub(crate) fn p_value(scores: &[f64], score: f64) -> f64 {
    let as_high = scores.len() - scores.partition_point(|&other| other < score);
    (1 + as_high) as f64 / (1 + scores.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_count_the_row_itself() {
        let scores: Vec<f64> = (1..=100).map(|i| f64::from(i) / 200.0).collect();
        assert_eq!(p_value(&scores, 0.9), 1.0 / 101.0);
        assert_eq!(p_value(&scores, 0.5), 2.0 / 101.0);
        assert_eq!(p_value(&scores, 0.0), 1.0);
        assert_eq!(p_value(&[], 0.7), 1.0);
    }
}
