//! What an ensemble goes by.

use super::memory::SigmaMemory;
use super::{SeriesTest, SigmaEnsemble};
use crate::contract::Refusal;
use crate::series::feed::FeedRules;
use crate::series::window::Statistics;
use peak_core::Timestamp;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) rules: Rules,
    pub(super) feed: FeedRules,
    pub(super) consensus: f64,
    pub(super) rarity: f64,
    pub(super) full: Option<Duration>,
    /// Grubbs' value for a full window.
    pub(super) critical: f64,
    pub(super) namespace: String,
    pub(super) tests: Vec<Arc<dyn SeriesTest>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    Skyline,
    Own,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tests: Vec<&str> = self.tests.iter().map(|test| test.name()).collect();
        f.debug_struct("Settings")
            .field("rules", &self.rules)
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

pub(super) fn fresh(newest: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    let age = now.millis() - newest.millis();
    if age > STALE { Err(Refusal::Stale { seconds: (age / 1000) as u64 }) } else { Ok(()) }
}

impl Settings {
    /// How many points a verdict takes; a shorter window of the own rules is enough once it is full.
    pub(super) fn least(&self) -> usize {
        match self.rules {
            Rules::Skyline => SigmaEnsemble::LEAST,
            Rules::Own => SigmaEnsemble::LEAST.min(self.feed.window),
        }
    }

    pub(super) fn guard(&self, memory: &SigmaMemory) -> Result<(), Refusal> {
        let window = memory.feed.window();
        let span = if self.full.is_some() {
            window.newest().map_or(0, Timestamp::millis) - window.iter().next().map_or(0, |(time, _)| time)
        } else {
            0
        };
        self.guard_series(window.len(), span, memory.same)
    }

    #[inline]
    pub(super) fn guard_series(&self, n: usize, span: i64, same: u64) -> Result<(), Refusal> {
        let least = self.least();
        let span = Duration::from_millis(span.unsigned_abs());
        match self.full {
            _ if n == 0 => Err(Refusal::Empty),
            _ if n < least => Err(Refusal::TooShort { have: n as u64, need: least as u64 }),
            Some(full) if span < full => {
                Err(Refusal::Incomplete { have: span.as_secs(), need: full.as_secs() })
            }
            _ if self.rules == Rules::Skyline && same >= SigmaEnsemble::LEAST as u64 => {
                Err(Refusal::Boring { same })
            }
            _ => Ok(()),
        }
    }
}
