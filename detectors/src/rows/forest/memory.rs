//! Saving and restoring a forest.

use super::IsolationForest;
use super::builder::Plan;
use super::grow::mean_paths;
use super::kernel::Kernel;
use super::node::{Direction, Node, Second};
use super::reservoir::Reservoir;
use super::scaler::Scale;
use crate::contract::Persist;
use peak_core::{Error, Result, snapshot};
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;
use std::path::Path;

/// A forest in its stored form: with its settings, names and scales, so that
/// [`into_forest`](Self::into_forest) needs nothing else.
#[derive(Debug, Clone, Deserialize)]
pub struct ForestMemory {
    settings: Plan,
    names: Vec<String>,
    scales: Vec<Scale>,
    trees: Vec<Vec<Node>>,
    grown: u64,
    sample: usize,
    normal: f64,
    reservoir: Reservoir,
    reference: Vec<f64>,
}

/// The same, borrowed.
#[derive(Serialize)]
struct Borrowed<'a> {
    settings: &'a Plan,
    names: &'a [String],
    scales: &'a [Scale],
    trees: &'a [Vec<Node>],
    grown: u64,
    sample: usize,
    normal: f64,
    reservoir: &'a Reservoir,
    reference: &'a [f64],
}

impl ForestMemory {
    /// The forest that was saved; it runs on one thread until [told otherwise](IsolationForest::set_threads).
    ///
    /// # Errors
    /// When no forest can have been stored so.
    pub fn into_forest(self) -> Result<IsolationForest> {
        self.check()?;
        let cutoff = self.settings.threshold.among(&self.reference);
        Ok(IsolationForest {
            plan: Plan { threads: NonZeroUsize::MIN, ..self.settings },
            names: self.names,
            scales: self.scales,
            kernel: Kernel::new(&self.trees),
            trees: self.trees,
            grown: self.grown,
            sample: self.sample,
            normal: self.normal,
            reservoir: self.reservoir,
            reference: self.reference,
            cutoff,
        })
    }

    fn check(&self) -> Result<()> {
        let columns = self.names.len();
        Plan { names: Some(self.names.clone()), ..self.settings.clone() }.check(columns)?;
        require(self.scales.len() == columns, "must have one scale per column", self.scales.len())?;
        self.scales.iter().try_for_each(|scale| scale.check())?;
        let trees = self.trees.len();
        require((1..=IsolationForest::MOST_TREES).contains(&trees), "must have trees", trees)?;
        require(self.grown >= trees as u64, "must have grown its trees", self.grown)?;
        self.trees.iter().enumerate().try_for_each(|(i, tree)| {
            require(is_tree(tree, columns), "must have sound trees", format_args!("tree {i}"))
        })?;
        let Reservoir { capacity, values, .. } = &self.reservoir;
        let rows = values.len() / columns;
        let whole = rows * columns == values.len() && rows <= *capacity;
        require(whole, "must have a reservoir of whole rows", values.len())?;
        let infinite = values.iter().find(|value| value.is_infinite());
        infinite.map_or(Ok(()), |value| require(false, "must have finite rows", value))?;
        require((2..=rows).contains(&self.sample), "must have a sample of its rows", self.sample)?;
        let normal = mean_paths(self.sample)[self.sample];
        require(normal == self.normal, "must have the mean path of its sample", self.normal)?;
        let scores = &self.reference;
        let valid = scores.is_sorted() && scores.iter().all(|score| (0.0..=1.0).contains(score));
        require(valid && scores.len() <= *capacity, "must have ascending scores", scores.len())
    }
}

fn require(holds: bool, rule: &str, found: impl std::fmt::Display) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::invalid("forest memory", rule, found)) }
}

/// Whether every node but the root is the child of one that stands before it, and all numbers are of a
/// kind that growing gives.
fn is_tree(tree: &[Node], columns: usize) -> bool {
    let mut depths = vec![None; tree.len()];
    if let Some(root) = depths.first_mut() {
        *root = Some(0);
    }
    for (i, node) in tree.iter().enumerate() {
        let Some(depth) = depths[i] else { return false };
        let sound = node.path > 0.0 && node.path.is_finite();
        if !sound {
            return false;
        }
        if node.is_leaf() {
            continue;
        }
        let left = node.left as usize;
        let deeper = depth < IsolationForest::MOST_DEPTH && is_direction(node.direction, columns);
        if !deeper || !node.threshold.is_finite() || left <= i || left + 1 >= tree.len() {
            return false;
        }
        for child in [left, left + 1] {
            if depths[child].replace(depth + 1).is_some() {
                return false;
            }
        }
    }
    !tree.is_empty()
}

fn is_direction(direction: Direction, columns: usize) -> bool {
    let is_second = |second: Second| {
        (second.feature as usize) < columns
            && second.feature != direction.feature
            && second.coefficient.is_finite()
            && (0.0..=1.0).contains(&second.share)
    };
    (direction.feature as usize) < columns && direction.second.is_none_or(is_second)
}

impl IsolationForest {
    /// The forest that [`save`](Persist::save) wrote, with its settings: where it was not fitted. It
    /// runs on one thread until [told otherwise](Self::set_threads).
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or holds something else.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        snapshot::load::<ForestMemory>(path.as_ref(), Self::KIND, Self::VERSION)?.into_forest()
    }
}

impl Persist for IsolationForest {
    type Memory = ForestMemory;
    const KIND: &'static str = "isolation forest";
    const VERSION: u16 = 2;

    fn memory(&self) -> impl Serialize {
        Borrowed {
            settings: &self.plan,
            names: &self.names,
            scales: &self.scales,
            trees: &self.trees,
            grown: self.grown,
            sample: self.sample,
            normal: self.normal,
            reservoir: &self.reservoir,
            reference: &self.reference,
        }
    }

    /// Takes everything from the memory but the number of threads.
    fn restore(&mut self, memory: ForestMemory) -> Result<()> {
        let (have, need) = (memory.names.len(), self.names.len());
        if have != need {
            return Err(Error::invalid("forest memory", format!("must have {need} columns"), have));
        }
        let threads = self.plan.threads;
        *self = memory.into_forest()?;
        self.plan.threads = threads;
        Ok(())
    }
}
