//! Standardisation: each feature relative to its training rows.

use super::config::Standardisation;
use peak_core::{Error, Moments, Result};
use serde::{Deserialize, Serialize};

/// Per feature what is taken off, and what it is then divided by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Scaler(Vec<(f64, f64)>);

impl Scaler {
    /// Of rows one after another. `None` when nothing is to be standardised.
    pub(super) fn fit(how: Standardisation, rows: &[f64], names: &[String]) -> Result<Option<Self>> {
        let fit = |(column, name): (usize, &String)| {
            let values = rows.iter().skip(column).step_by(names.len()).filter(|x| !x.is_nan()).copied();
            let of_column = match how {
                Standardisation::None => Some((0.0, 1.0)),
                Standardisation::Standard => standard(values),
                Standardisation::Robust => robust(values.collect()),
            };
            let rule = "must have a value of every feature";
            of_column.ok_or_else(|| Error::invalid("training feed", rule, format_args!("none of {name}")))
        };
        let of_columns = names.iter().enumerate().map(fit).collect::<Result<_>>()?;
        Ok((how != Standardisation::None).then_some(Scaler(of_columns)))
    }

    pub(super) fn is_valid(&self, width: usize) -> bool {
        let is_usable =
            |&(centre, scale): &(f64, f64)| centre.is_finite() && scale.is_finite() && scale > 0.0;
        self.0.len() == width && self.0.iter().all(is_usable)
    }

    #[inline]
    pub(super) fn scale(&self, row: &mut [f64]) {
        row.iter_mut().zip(&self.0).for_each(|(x, (centre, scale))| *x = (*x - centre) / scale);
    }

    /// A value of a feature in the feature's own unit.
    pub(super) fn unscale(&self, column: usize, x: f64) -> f64 {
        self.0.get(column).map_or(x, |(centre, scale)| x * scale + centre)
    }
}

/// Mean and sample standard deviation. What does not vary is divided by 1.
fn standard(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let mut moments = Moments::default();
    values.for_each(|x| moments.push(x));
    let deviation = moments.std().filter(|&deviation| deviation > 0.0);
    Some((moments.mean()?, deviation.unwrap_or(1.0)))
}

/// Median and interquartile range; where that is 0, the standard deviation.
fn robust(mut values: Vec<f64>) -> Option<(f64, f64)> {
    let (_, deviation) = standard(values.iter().copied())?;
    values.sort_unstable_by(f64::total_cmp);
    // Linear between the values, as usual.
    let quantile = |q: f64| {
        let place = q * (values.len() - 1) as f64;
        let (low, share) = (place.floor() as usize, place.fract());
        let (a, b) = (values[low], values[(low + 1).min(values.len() - 1)]);
        a + share * (b - a)
    };
    let range = quantile(0.75) - quantile(0.25);
    Some((quantile(0.5), if range > 0.0 { range } else { deviation }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalers_are_what_they_are_called() {
        let rows = [1.0, 7.0, 2.0, 7.0, 3.0, f64::NAN, 4.0, 7.0, 90.0, 7.0];
        let names = ["a".to_owned(), "b".to_owned()];
        let fit = |how| Scaler::fit(how, &rows, &names).unwrap();
        assert_eq!(fit(Standardisation::None), None);
        assert_eq!(fit(Standardisation::Robust), Some(Scaler(vec![(3.0, 2.0), (7.0, 1.0)])));
        let standard = fit(Standardisation::Standard).unwrap();
        assert_eq!(standard.0[0].0, 20.0);
        assert!((standard.0[0].1 - 39.147_158_262_126_766).abs() < 1e-12, "{standard:?}");
        let mut row = [59.0, f64::NAN];
        standard.scale(&mut row);
        assert!((row[0] - 39.0 / standard.0[0].1).abs() < 1e-15 && row[1].is_nan());
        assert!((standard.unscale(0, row[0]) - 59.0).abs() < 1e-12);
    }

    #[test]
    fn a_feature_without_values_is_named() {
        let error = Scaler::fit(Standardisation::Robust, &[1.0, f64::NAN], &["a".into(), "b".into()]);
        let expected = r#"training feed: must have a value of every feature, got "none of b""#;
        assert_eq!(error.unwrap_err().to_string(), expected);
    }
}
