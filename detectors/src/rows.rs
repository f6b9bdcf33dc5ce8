//! Rows of features.

mod features;
mod forest;
mod random;
mod rs_hash;

pub use features::{
    Feature, FeatureRows, Features, FeaturesBuilder, FeaturesMemory, OnFeatures, OnFeaturesMemory, Reading,
    Readings, Standardisation, TimeFeature,
};
pub use forest::{
    Attribution, Cutoff, ForestMemory, IsolationForest, IsolationForestBuilder, Split, Threshold,
};
pub use rs_hash::{RsHash, RsHashBuilder, RsHashMemory};
