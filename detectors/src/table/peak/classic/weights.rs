//! The constants of the classic rule.

use peak_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// The constants of the classic rule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Constants", into = "Constants")]
pub struct Weights {
    pub(super) least_records: u64,
    pub(super) global_weight: f64,
    pub(super) least_share: f64,
}

/// Weights as they are configured, before they are checked.
#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Constants {
    least_records: u64,
    global_weight: f64,
    least_share: f64,
}

impl Default for Constants {
    fn default() -> Self {
        Weights::default().into()
    }
}

impl TryFrom<Constants> for Weights {
    type Error = Error;
    fn try_from(constants: Constants) -> Result<Self> {
        Weights::new(constants.least_records, constants.global_weight, constants.least_share)
    }
}

impl From<Weights> for Constants {
    fn from(Weights { least_records, global_weight, least_share }: Weights) -> Self {
        Constants { least_records, global_weight, least_share }
    }
}

impl Default for Weights {
    /// 50 records, weight 0.8, share 0.5.
    fn default() -> Self {
        Weights { least_records: 50, global_weight: 0.8, least_share: 0.5 }
    }
}

impl Weights {
    /// Other constants: up to `least_records` records the share of the top sample counts as 0;
    /// `global_weight` is the factor on the row's maximum; `least_share` is the share to pass.
    ///
    /// # Errors
    /// When the weight is negative or not finite, or the share lies outside 0 to 1.
    pub fn new(least_records: u64, global_weight: f64, least_share: f64) -> Result<Self> {
        if !(global_weight.is_finite() && global_weight >= 0.0) {
            return Err(Error::invalid("global weight", "must be finite and not negative", global_weight));
        }
        if !(0.0..=1.0).contains(&least_share) {
            return Err(Error::invalid("least share", "must be from 0 to 1", least_share));
        }
        Ok(Weights { least_records, global_weight, least_share })
    }
}
