//! The one algebra of the crate: everything that accumulates merges.

/// A commutative monoid: state that was built apart can be put together in any order.
///
/// For all `a`, `b`, `c` (writing `⊕` for [`merge`](Merge::merge)):
///
/// * `(a ⊕ b) ⊕ c = a ⊕ (b ⊕ c)`,
/// * `a ⊕ b = b ⊕ a`,
/// * `a ⊕ Default::default() = a`.
///
/// The equalities are exact, and `merge` is total: it never fails or panics, and counters saturate
/// at their maximum (which keeps all three laws). `peak_core::testing::check_merge` (feature
/// `testing`) asserts them.
///
/// Plain integers do not implement it on purpose: a `u64` does not say whether it adds or takes the
/// maximum.
///
/// ```
/// use peak_core::{CountMoments, Merge};
///
/// let mut left = CountMoments::default();
/// left.push(3);
/// let mut right = CountMoments::default();
/// right.push(5);
/// left.merge(&right);
/// assert_eq!((left.n(), left.sum(), left.max()), (2, 8, 5));
/// ```
pub trait Merge: Default {
    /// Takes everything `other` has seen into `self`.
    fn merge(&mut self, other: &Self);
}
