//! The lengths of paths: rows against all trees.

use super::tree::Node;

/// The trees in the form that rows are run through.
#[derive(Debug, Clone)]
pub(super) struct Kernel {
    trees: Vec<Vec<Node>>,
}

impl Kernel {
    pub(super) fn new(trees: &[Vec<Node>]) -> Self {
        Kernel { trees: trees.to_vec() }
    }

    /// The sum of a row's path lengths over all trees, in the order of the trees.
    pub(super) fn path(&self, row: &[f32]) -> f32 {
        self.trees.iter().map(|tree| walk(tree, |feature| row[feature])).sum()
    }
}

/// The length of the path that a row takes through a tree.
fn walk(tree: &[Node], value: impl Fn(usize) -> f32) -> f32 {
    let mut node = &tree[0];
    while !node.is_leaf() {
        node = &tree[node.child(value(node.feature as usize))];
    }
    node.path
}
