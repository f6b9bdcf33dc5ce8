//! Where a node is split: the one choice in which the kinds of forest differ.

use super::columns::{Draw, Sample};
use super::cut::{Cut, between};
use super::node::Direction;
use super::pair::pair;
use super::scaler::Curve;
use super::valley::valley;
use crate::rows::random::{hash, unit};
use serde::{Deserialize, Serialize};

/// How the nodes of the trees are split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Split {
    /// A random feature at a random place between its smallest and its largest value (Liu, Ting and
    /// Zhou, 2008).
    #[default]
    Classical,
    /// A random feature, cut at the valley between two groups of its values where there is one, and at
    /// a random place where there is none. It takes twice as long to fit as
    /// [`Classical`](Self::Classical), and as long to score. On 28 labelled sets and with 10 seeds the
    /// mean area under the ROC curve was 0.782 against 0.753; it was larger by more than 0.01 on 13 sets,
    /// and smaller by as much on 7. But these sets chose its constant: on 15 others, with 3 seeds, it was
    /// 0.770 against 0.801.
    ///
    /// Features are seen on the scale of the signed square root, sign(u) (√(1 + |u|) − 1) with u the
    /// distance from the median in robust standard deviations (IQR / 1.349): on the plain scale a heavy
    /// tail would take nearly all random cuts.
    ///
    /// The best cut of a node's n values is where the sum of squares around the means of both sides,
    /// SSₗ + SSᵣ, is least: Otsu's rule (1979). It explains the part g = 1 − (SSₗ + SSᵣ) / SS of their
    /// sum of squares, half-way between the two values next to it. The best cut of a normal
    /// distribution explains 2 / π = 0.637, of a uniform one 0.75, and of few values more by chance.
    /// So a node is cut there only where g reaches 0.65 + 2 / n: where the values are two groups more than
    /// one peak, or have an end far from the rest. A best cut of one peak would go through its middle and
    /// isolate nothing.
    ///
    /// Known weakness: anomalies that are many and close to one another. A cut takes such a clump off as
    /// a whole, and below it is as hard to isolate as any group of rows.
    /// [`Classical`](Self::Classical) does better there.
    PooledGain,
    /// As [`PooledGain`](Self::PooledGain), but cut across two random features a and b at once: the sum
    /// (gₐ / sₐ) a + (g_b / s_b) b, where gₐ and g_b are drawn from the standard normal distribution
    /// and sₐ and s_b are the standard deviations among the node's rows. It sees rows that are ordinary
    /// in each feature, but not in how two go together (after Hariri, Carrasco Kind and Brunner, 2021,
    /// with two features rather than all). Where b is a or does not differ, the cut is of a alone.
    ///
    /// It takes three times as long to fit as [`Classical`](Self::Classical), and 1.7 times as long to score.
    /// On the same 28 sets the mean area was 0.784; it was larger than the classical one on 14 sets, and
    /// smaller on 6; on the 15 others it was 0.779 against 0.801. What a cut contributes to a row's score is
    /// shared between its features as gₐ² to g_b². It has the same weakness as `PooledGain`.
    PooledPairs,
}

impl Split {
    /// How features are bent before they are cut.
    pub(super) fn curve(self) -> Curve {
        match self {
            Split::Classical => Curve::Straight,
            Split::PooledGain | Split::PooledPairs => Curve::Root,
        }
    }
}

/// What a node's and a feature's randomness is for, apart from the order of the features.
const PARTNER: u64 = 1;
const PLACE: u64 = 1;

/// Chooses where these rows are split. `live` are the features that may still differ among them; those
/// that are found not to are taken out. `None` when no feature differs.
pub(super) fn choose(
    split: Split,
    sample: &Sample<'_>,
    rows: &[u32],
    live: &mut Vec<u32>,
    seed: u64,
) -> Option<Cut> {
    let mut draws = sample.draws(live, seed);
    while let Some(chosen) = sample.draw(live, &mut draws) {
        let Draw { feature, hash: drawn, .. } = chosen;
        let Some((low, high)) = sample.range(feature, rows) else { continue };
        live.push(feature as u32);
        let place = unit(hash(drawn, PLACE)) as f32;
        let along = Direction::along(feature);
        return Some(match split {
            Split::Classical => Cut { direction: along, threshold: between(low, high, place) },
            Split::PooledGain => {
                Cut { direction: along, threshold: valley(&sample.known(along, rows), place) }
            }
            Split::PooledPairs => {
                let draws = sample.draws(live, hash(seed, PARTNER));
                let partner = draws.into_iter().min_by(|a, b| a.time.total_cmp(&b.time));
                let pair = partner.and_then(|partner| pair(sample, rows, chosen, partner));
                let (direction, values) = pair.unwrap_or_else(|| (along, sample.known(along, rows)));
                Cut { direction, threshold: valley(&values, place) }
            }
        });
    }
    None
}
