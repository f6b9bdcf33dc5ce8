//! What an [`RsHash`] shall be.

use super::RsHash;
use peak_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Configures an [`RsHash`].
///
/// As data, of a file of configuration, say, it is checked on the way in; what is not named is as
/// [`RsHash::builder`] has it:
///
/// ```
/// use peak_detectors::RsHashBuilder;
///
/// let read = |text| serde_json::from_str::<RsHashBuilder>(text);
/// let detector = read(r#"{"width": 2, "names": ["cpu", "memory"], "false_alarm_rate": 0.001}"#)?.build()?;
/// assert_eq!(detector.width(), 2);
/// assert!(read(r#"{"width": 2, "half_life": 3}"#).is_err()); // out of range
/// assert!(read(r#"{"width": 2, "halflife": 2000}"#).is_err()); // nothing is called so
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Settings", into = "Settings")]
#[must_use = "a builder does nothing until it builds"]
pub struct RsHashBuilder(pub(super) Settings);

/// As they are configured, before they are checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) width: usize,
    pub(super) names: Option<Vec<Cow<'static, str>>>,
    pub(super) grids: usize,
    pub(super) half_life: u32,
    #[serde(rename = "false_alarm_rate")]
    pub(super) rate: f64,
    pub(super) seed: u64,
}

/// Without a width, which the program must say.
impl Default for Settings {
    fn default() -> Self {
        Settings {
            width: 0,
            names: None,
            grids: RsHash::GRIDS,
            half_life: RsHash::HALF_LIFE,
            rate: RsHash::RATE,
            seed: 0,
        }
    }
}

impl TryFrom<Settings> for RsHashBuilder {
    type Error = Error;
    fn try_from(settings: Settings) -> Result<Self> {
        settings.check()?;
        Ok(RsHashBuilder(settings))
    }
}

impl From<RsHashBuilder> for Settings {
    fn from(builder: RsHashBuilder) -> Self {
        builder.0
    }
}

impl RsHashBuilder {
    /// What the features are called, in explanations; `feature 0` and so on otherwise.
    pub fn names<N: Into<Cow<'static, str>>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.0.names = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// After so many rows, a row counts half: [`RsHash::HALF_LIFE`] unless told otherwise.
    pub fn half_life(mut self, rows: u32) -> Self {
        self.0.half_life = rows;
        self
    }

    /// The share of normal rows that may be called anomalous: [`RsHash::RATE`] unless told otherwise.
    pub fn false_alarm_rate(mut self, rate: f64) -> Self {
        self.0.rate = rate;
        self
    }

    /// The number of random grids: [`RsHash::GRIDS`] unless told otherwise. More rank better and take
    /// longer. There are never too few for each feature to be looked at.
    pub fn grids(mut self, grids: usize) -> Self {
        self.0.grids = grids;
        self
    }

    /// What the grids are drawn from: 0 unless told otherwise.
    pub fn seed(mut self, seed: u64) -> Self {
        self.0.seed = seed;
        self
    }

    /// The detector.
    ///
    /// # Errors
    /// When the width is not from 1 to 65,536, there is not one name of its own for each feature, the
    /// half-life is not from 16 to 1,000,000 rows, there are not 1 to 10,000 grids, or the rate is not
    /// from 1.4 / half-life to 0.5: a smaller one cannot be told from so few rows.
    pub fn build(self) -> Result<RsHash> {
        self.0.check()?;
        Ok(RsHash::new(self.0))
    }
}

impl Settings {
    fn check(&self) -> Result<()> {
        let Settings { width, ref names, grids, half_life, rate, .. } = *self;
        if !(1..=65_536).contains(&width) {
            return Err(Error::invalid("width", "must be from 1 to 65536", width));
        }
        if !(16..=1_000_000).contains(&half_life) {
            return Err(Error::invalid("half_life", "must be from 16 to 1000000 rows", half_life));
        }
        if !(1..=10_000).contains(&grids) {
            return Err(Error::invalid("grids", "must be from 1 to 10000", grids));
        }
        let least = 1.4 / f64::from(half_life);
        if !(least..=0.5).contains(&rate) {
            let rule = format!("must be from {least} (1.4 / half_life) to 0.5");
            return Err(Error::invalid("false_alarm_rate", rule, rate));
        }
        let Some(names) = names else { return Ok(()) };
        if names.len() != width {
            return Err(Error::invalid("names", format!("must be {width}, one a feature"), names.len()));
        }
        let mut seen = BTreeSet::new();
        match names.iter().find(|&name| !seen.insert(name)) {
            Some(twice) => Err(Error::invalid("names", "must differ", twice)),
            None => Ok(()),
        }
    }
}
