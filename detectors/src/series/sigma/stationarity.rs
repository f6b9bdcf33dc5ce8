//! The augmented Dickey–Fuller test.

/// The most lags that are tried.
const LAGS: usize = 10;

/// The statistic of the augmented Dickey–Fuller test (1979) with a constant, the number of lags of 0
/// to 10 by Akaike's criterion; `None` when the series is too short or too regular. The more negative
/// it is, the more clearly the series returns to its mean.
///
/// Lags are compared on the rows that all of them have; the statistic then comes from all rows that
/// the chosen number of lags leaves. Regressions are by Gram–Schmidt, so that one orthogonal basis
/// serves all numbers of lags.
pub(super) fn dickey_fuller(values: &[f64]) -> Option<f64> {
    if LAGS + 2 > values.len() / 2 {
        return None;
    }
    let rows = |lags: usize| lags + 1..values.len();
    let step = |t: usize| values[t] - values[t - 1];
    let columns = |lags: usize, from: usize| {
        let lagged = move |lag: usize| rows(from).map(|t| step(t - lag)).collect::<Vec<f64>>();
        let constant = rows(from).map(|_| 1.0).collect::<Vec<f64>>();
        let level = rows(from).map(|t| values[t - 1]).collect::<Vec<f64>>();
        (constant, level, (1..=lags).map(lagged).collect::<Vec<_>>())
    };
    let changes = |from: usize| rows(from).map(step).collect::<Vec<f64>>();

    let (constant, level, lagged) = columns(LAGS, LAGS);
    let mut residual = changes(LAGS);
    let n = residual.len() as f64;
    let mut basis = Vec::new();
    let mut best = (f64::INFINITY, 0);
    for (index, column) in [constant, level].into_iter().chain(lagged).enumerate() {
        explain(&mut basis, column, &mut residual)?;
        if let Some(lags) = index.checked_sub(1) {
            let parameters = (index + 1) as f64;
            let criterion = n * libm::log(dot(&residual, &residual) / n) + 2.0 * parameters;
            if criterion < best.0 {
                best = (criterion, lags);
            }
        }
    }

    let (constant, level, lagged) = columns(best.1, best.1);
    let mut residual = changes(best.1);
    let mut basis = Vec::new();
    for column in std::iter::once(constant).chain(lagged) {
        explain(&mut basis, column, &mut residual)?;
    }
    let coefficient = explain(&mut basis, level, &mut residual)?;
    let freedom = residual.len().checked_sub(basis.len()).filter(|&freedom| freedom > 0)?;
    let statistic = coefficient / (dot(&residual, &residual) / freedom as f64).sqrt();
    statistic.is_finite().then_some(statistic)
}

/// Makes a column orthonormal to the basis, and takes out of the residual what it explains: returns
/// the residual's coordinate. `None` when the column adds nothing to the basis.
fn explain(basis: &mut Vec<Vec<f64>>, mut column: Vec<f64>, residual: &mut [f64]) -> Option<f64> {
    let length = dot(&column, &column).sqrt();
    // Twice is enough (Kahan and Parlett).
    for _ in 0..2 {
        for other in basis.iter() {
            let share = dot(other, &column);
            subtract(&mut column, share, other);
        }
    }
    let norm = dot(&column, &column).sqrt();
    if norm <= 1e-12 * length || norm == 0.0 {
        return None;
    }
    column.iter_mut().for_each(|x| *x /= norm);
    let coordinate = dot(&column, residual);
    subtract(residual, coordinate, &column);
    basis.push(column);
    Some(coordinate)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn subtract(a: &mut [f64], share: f64, b: &[f64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a -= share * b);
}
