//! Random grids over a few features, hashed to a few counters.

use crate::rows::random::Random;

/// The counters of a grid.
pub(super) const BINS: usize = 1 << BITS;
const BITS: u32 = 6;
/// The features that a grid looks at.
const SIDES: usize = 3;
/// Cells on a side.
const FEWEST: f64 = 3.0;
const MOST: f64 = 6.0;
/// To its size, single precision knows integers only: what is added to it is rounded to one.
const ROUNDS: f32 = (1 << 23) as f32;

/// Maps a row whose values lie in 0 to 1 to a counter.
///
/// A side's cell is `round(place · cells + shift)`, and the counter is the upper bits of the sum of
/// cells times odd random numbers. A grid of fewer sides repeats its first with a multiplier of 0.
#[derive(Debug)]
pub(super) struct Grid {
    features: [u32; SIDES],
    multipliers: [u32; SIDES],
    shifts: [f32; SIDES],
    cells: f32,
}

impl Grid {
    /// At least so many grids, and enough to look at every feature.
    ///
    /// With up to three features every second grid leaves one of them out, so that a missing value
    /// does not leave nothing to look at.
    pub(super) fn deal(width: usize, grids: usize, seed: u64) -> Vec<Grid> {
        let mut random = Random::new(seed);
        let mut cards: Vec<u32> = (0..width as u32).collect();
        let mut left = 0;
        let mut deal = |random: &mut Random| {
            if left == 0 {
                left = cards.len();
            }
            cards.swap(random.below(left), left - 1);
            left -= 1;
            cards[left]
        };
        let grid = |i: usize| {
            let fewer = usize::from(width <= SIDES && i % 2 == 1);
            let sides = (SIDES.min(width) - fewer).max(1);
            let mut hand = Vec::with_capacity(SIDES);
            while hand.len() < sides {
                let card = deal(&mut random);
                if !hand.contains(&card) {
                    hand.push(card);
                }
            }
            let feature = |side: usize| if side < sides { hand[side] } else { hand[0] };
            Grid {
                features: std::array::from_fn(feature),
                multipliers: std::array::from_fn(|side| {
                    if side < sides { (random.next() >> 32) as u32 | 1 } else { 0 }
                }),
                shifts: std::array::from_fn(|_| random.unit() as f32),
                cells: (FEWEST * libm::pow(MOST / FEWEST, random.unit())) as f32,
            }
        };
        (0..grids.max(width.div_ceil(SIDES))).map(grid).collect()
    }

    /// The features it looks at; some may be repeated.
    pub(super) fn features(&self) -> impl Iterator<Item = usize> {
        self.features.iter().map(|&feature| feature as usize)
    }

    #[inline]
    fn values(&self, places: &[f32]) -> [f32; SIDES] {
        self.features.map(|feature| places[feature as usize])
    }

    #[inline]
    fn hash(&self, values: [f32; SIDES]) -> usize {
        let part = |side: usize| {
            let cell = (values[side] * self.cells + self.shifts[side] + ROUNDS).to_bits();
            self.multipliers[side].wrapping_mul(cell)
        };
        (part(0).wrapping_add(part(1)).wrapping_add(part(2)) >> (u32::BITS - BITS)) as usize
    }

    /// The counter of a row; `None` when a value is missing.
    #[inline]
    pub(super) fn bin(&self, places: &[f32]) -> Option<usize> {
        let values = self.values(places);
        // One is NaN when the sum is.
        let is_whole = !(values[0] + values[1] + values[2]).is_nan();
        is_whole.then(|| self.hash(values))
    }

    /// The counters of the row with each side's value in turn in the middle.
    pub(super) fn bins_without(&self, places: &[f32]) -> [usize; SIDES] {
        let values = self.values(places);
        std::array::from_fn(|side| {
            let mut values = values;
            values[side] = 0.5;
            self.hash(values)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_features_are_looked_at_equally_often() {
        for width in [1, 2, 3, 4, 7, 10, 60, 601, 1_000] {
            let grids = Grid::deal(width, 200, 1);
            let mut times = vec![0; width];
            for grid in &grids {
                let sides = grid.multipliers.iter().filter(|&&m| m != 0).count();
                let mut features: Vec<usize> = grid.features().take(sides).collect();
                features.iter().for_each(|&feature| times[feature] += 1);
                features.sort_unstable();
                features.dedup();
                assert_eq!(features.len(), sides, "a feature twice in one grid");
            }
            let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
            assert!(*least >= 1, "{width}");
            assert!(most - least <= 2 + most / 5, "{width}: {least} to {most}");
        }
    }

    #[test]
    fn cells_are_intervals() {
        let mut all = 0;
        for grid in &Grid::deal(1, 50, 3) {
            let bins: Vec<usize> = (0..=1_000).map(|i| grid.bin(&[i as f32 / 1_000.0]).unwrap()).collect();
            let changes = bins.windows(2).filter(|pair| pair[0] != pair[1]).count();
            assert!(changes <= 7, "{changes}");
            all += changes;
        }
        // 4.3 on average, and neighbours seldom share a counter.
        assert!((180..240).contains(&all), "{all}");
    }
}
