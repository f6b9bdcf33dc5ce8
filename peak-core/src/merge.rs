//! The algebra of the crate: everything that accumulates can be put together.

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
/// `testing`) asserts them. What gives up exactness when memory is short is no `Merge`, but
/// [`Combine`].
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

/// State that is exact until it is bounded, and that can be put together either way.
///
/// Of values that [are exact](Combine::is_exact), the three laws of [`Merge`] hold exactly, and so is
/// what they are combined to. Where one is bounded, what comes out is, too:
///
/// * `a ⊕ b = b ⊕ a` and `a ⊕ Default::default() = a` hold exactly all the same;
/// * `(a ⊕ b) ⊕ c` and `a ⊕ (b ⊕ c)` may differ, both within the uncertainty that they state.
///
/// `combine` is total, as `merge` is. `peak_core::testing::check_combine` (feature `testing`) asserts
/// all this but the uncertainty, which each type states in words of its own.
///
/// ```
/// use peak_core::{Combine, Counts};
///
/// let (mut left, mut right) = (Counts::default(), Counts::default());
/// for i in 0..1_000 {
///     left.add(&i.to_string(), 1);
/// }
/// right.add("7", 41);
/// left.combine(&right);
/// assert_eq!((left.get("7"), left.is_exact()), (42, true));
///
/// left.bound();
/// right.combine(&left);
/// assert!(right.get("7") >= 83 && !right.is_exact());
/// ```
pub trait Combine: Default {
    /// Takes everything `other` has seen into `self`.
    fn combine(&mut self, other: &Self);

    /// Whether nothing was given up for memory.
    #[must_use]
    fn is_exact(&self) -> bool;
}
