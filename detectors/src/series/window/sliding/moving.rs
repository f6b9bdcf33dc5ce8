//! A moving average that forgets what leaves the window.

use crate::series::window::statistics::DECAY;
use serde::{Deserialize, Serialize};

/// Mean and squared deviations under exponential weights, in West's form (1979).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Moving {
    pub(super) mean: f64,
    pub(super) squares: f64,
    /// The weight of the point before the oldest: bⁿ.
    pub(super) power: f64,
}

impl Moving {
    /// Takes in a point; `n` points were there before.
    #[inline]
    pub(super) fn add(&mut self, x: f64, n: usize) {
        if n == 0 {
            *self = Moving { mean: x, squares: 0.0, power: DECAY };
            return;
        }
        let before = DECAY * (1.0 - self.power) / (1.0 - DECAY);
        let share = 1.0 / (before + 1.0);
        let off = x - self.mean;
        self.mean += off * share;
        self.squares = DECAY * self.squares + off * off * before * share;
        self.power *= DECAY;
    }

    /// Forgets the oldest point. Says whether what remains still has its digits: it has not when the
    /// point was nearly all there was.
    #[inline]
    pub(super) fn remove(&mut self, x: f64) -> bool {
        let weight = self.power / DECAY;
        let before = (1.0 - self.power) / (1.0 - DECAY);
        let after = before - weight;
        let off = x - self.mean;
        self.mean -= weight * off / after;
        let squares = self.squares - weight * off * off * before / after;
        let is_exact = squares >= 1e-6 * self.squares;
        (self.squares, self.power) = (squares.max(0.0), weight);
        is_exact
    }
}
