//! What an ensemble goes by.

use super::memory::SigmaMemory;
use super::{SeriesTest, SigmaEnsemble};
use crate::contract::Refusal;
use crate::series::feed::{Duplicates, FeedRules, Kind, Seasonality};
use crate::series::window::Statistics;
use peak_core::{Error, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) preset: Preset,
    pub(super) feed: FeedRules,
    pub(super) consensus: f64,
    pub(super) rarity: f64,
    pub(super) full: Option<Duration>,
    /// Grubbs' value for a full window.
    pub(super) critical: f64,
    pub(super) namespace: String,
    pub(super) tests: Vec<Arc<dyn SeriesTest>>,
}

/// Which set of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Preset {
    Skyline,
    #[default]
    Own,
}

/// An ensemble as data, before it is checked. What is not there is as the preset has it.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Config {
    preset: Preset,
    window: Option<usize>,
    kind: Option<Kind>,
    seasonality: Option<Seasonality>,
    lateness_ms: u64,
    duplicates: Duplicates,
    consensus: Option<f64>,
    rarity: Option<f64>,
    full_duration_ms: Option<u64>,
    namespace: String,
}

impl TryFrom<Config> for SigmaEnsemble {
    type Error = Error;
    fn try_from(config: Config) -> Result<Self> {
        let mut ensemble = match config.preset {
            Preset::Skyline => SigmaEnsemble::skyline(),
            Preset::Own => SigmaEnsemble::default(),
        };
        ensemble = ensemble.with_window(config.window.unwrap_or(Self::WINDOW))?;
        if let Some(kind) = config.kind {
            ensemble = ensemble.with_kind(kind);
        }
        if let Some(seasonality) = config.seasonality {
            ensemble = ensemble.with_seasonality(seasonality);
        }
        ensemble.set_consensus(config.consensus.unwrap_or(Self::CONSENSUS))?;
        ensemble.set_rarity(config.rarity.unwrap_or(Self::RARITY))?;
        ensemble.set_lateness(Duration::from_millis(config.lateness_ms));
        ensemble.set_duplicates(config.duplicates);
        ensemble.set_full_duration(config.full_duration_ms.map(Duration::from_millis));
        ensemble.set_namespace(config.namespace);
        Ok(ensemble)
    }
}

impl From<SigmaEnsemble> for Config {
    fn from(ensemble: SigmaEnsemble) -> Self {
        let Settings { preset, feed, consensus, rarity, full, ref namespace, .. } = *ensemble.settings;
        Config {
            preset,
            window: Some(feed.window),
            kind: Some(feed.kind),
            seasonality: feed.seasonality,
            lateness_ms: feed.lateness.unsigned_abs(),
            duplicates: feed.duplicates,
            consensus: Some(consensus),
            rarity: Some(rarity),
            full_duration_ms: full.map(|full| u64::try_from(full.as_millis()).unwrap_or(u64::MAX)),
            namespace: namespace.clone(),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tests: Vec<&str> = self.tests.iter().map(|test| test.name()).collect();
        f.debug_struct("Settings")
            .field("preset", &self.preset)
            .field("feed", &self.feed)
            .field("consensus", &self.consensus)
            .field("rarity", &self.rarity)
            .field("namespace", &self.namespace)
            .field("tests", &tests)
            .finish_non_exhaustive()
    }
}

/// Upstream, points are stale after so long.
const STALE: i64 = 500_000;

pub(super) fn fresh(newest: Timestamp, now: Timestamp) -> std::result::Result<(), Refusal> {
    let age = now.millis() - newest.millis();
    if age > STALE { Err(Refusal::Stale { seconds: (age / 1000) as u64 }) } else { Ok(()) }
}

impl Settings {
    /// How many points a verdict takes; a shorter window of the own rules is enough once it is full.
    pub(super) fn least(&self) -> usize {
        match self.preset {
            Preset::Skyline => SigmaEnsemble::LEAST,
            Preset::Own => SigmaEnsemble::LEAST.min(self.feed.window),
        }
    }

    pub(super) fn guard(&self, memory: &SigmaMemory) -> std::result::Result<(), Refusal> {
        let window = memory.feed.window();
        let span = if self.full.is_some() {
            window.newest().map_or(0, Timestamp::millis) - window.iter().next().map_or(0, |(time, _)| time)
        } else {
            0
        };
        self.guard_series(window.len(), span, memory.same)
    }

    #[inline]
    pub(super) fn guard_series(&self, n: usize, span: i64, same: u64) -> std::result::Result<(), Refusal> {
        let least = self.least();
        let span = Duration::from_millis(span.unsigned_abs());
        match self.full {
            _ if n == 0 => Err(Refusal::Empty),
            _ if n < least => Err(Refusal::TooShort { have: n as u64, need: least as u64 }),
            Some(full) if span < full => {
                Err(Refusal::Incomplete { have: span.as_secs(), need: full.as_secs() })
            }
            _ if self.preset == Preset::Skyline && same >= SigmaEnsemble::LEAST as u64 => {
                Err(Refusal::Boring { same })
            }
            _ => Ok(()),
        }
    }
}
