//! The pool of all keys of a table: how a window of a key is assessed against it, and how a window of
//! all keys is learned.
//!
//! Sums over keys run in the order of the keys, so no other order matters.

use super::counts::{Count, PooledDispersion, Prediction};
use super::elapsed::Elapsed;
use super::newcomer::Newcomers;
use super::ratio::{Ratio, RatioPool};
use super::statistics::{CARRIERS, CONCENTRATION, Model, REPETITION, Reading, VARIETY, VOLUME};
use crate::contract::{Observation, Refusal, TableWindow};
use crate::time::calendar::nominal_length;
use crate::time::memory::{HalfLife, Pace};
use crate::time::phase::{Effect, Seasons, Word, day_factor};
use crate::worth::levels::{Arrivals, Curve, TailMap};
use crate::worth::tail::Tails;
use peak_core::{KeyMap, Span, Timestamp};
use serde::{Deserialize, Serialize};

/// Pseudo-observations behind the ratios of the maps.
const STRENGTH: f64 = 8.0;
const COMBINED_STRENGTH: f64 = 12.0;
/// What the last map does not know yet: a factor, and a power for what is deeper than it has seen.
const MARGIN: f64 = 1.15;
const DOUBT: f64 = 0.97;
/// A key-window with a tail below this is grossly strange, and tells nothing of ordinary ones …
const GROSS: f64 = 1e-4;
/// … unless this share of all are.
const GROSS_SHARE: f64 = 0.15;
/// Smaller p-values are all the same when the carrier is chosen.
const BEYOND_DOUBT: f64 = 1e-9;
/// A key of which less is expected tells nothing about tails and dispersion.
const NOTHING: f64 = 0.5;
/// So many keys make a window's own factor hardly depend on any one of them.
const MANY: usize = 5;

/// What all keys share.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Pool {
    /// How many windows were learned.
    windows: u64,
    /// The last of them.
    last: Option<Last>,
    dispersions: [PooledDispersion; 2],
    seasons: [Seasons; 2],
    ratios: [RatioPool; 2],
    /// Low and high of each statistic.
    maps: [[TailMap; 2]; 4],
    combined: TailMap,
    pub(super) newcomers: Newcomers,
    /// The running share of grossly strange key-windows.
    gross: f64,
}

/// The last window that was learned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Last {
    pub(super) start: Timestamp,
    /// Its length in milliseconds as it is meant: a day of 23 hours is a day.
    pub(super) length: i64,
}

/// What is remembered of a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Known {
    /// The end of the last window with records.
    seen: Timestamp,
    counts: [Count; 2],
    ratios: [Ratio; 2],
    /// Of each statistic.
    runs: [Run; 4],
}

/// How many windows in a row were far above what was expected, or if negative below.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Run(i8);

impl Run {
    /// Tails below this are far off.
    const OFF: f64 = 1e-3;
    /// So many windows in a row tell of another regime.
    const ENOUGH: i8 = 3;

    /// Counts a window, and says whether it is the third of a new regime, which begins then.
    fn is_over(&mut self, tails: Tails) -> bool {
        self.0 = match self.0 {
            run if tails.high < Self::OFF => run.max(0) + 1,
            run if tails.low < Self::OFF => run.min(0) - 1,
            _ => 0,
        };
        let over = self.0.abs() >= Self::ENOUGH;
        if over {
            self.0 = 0;
        }
        over
    }
}

/// What the predictions of a window share: the effects of its phase, the pool's dispersions, and what has
/// passed since the last window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scene {
    effects: [Effect; 2],
    dispersions: [f64; 2],
    elapsed: Elapsed,
}

/// The pool's maps, worked out for the windows of many keys.
#[derive(Debug, Clone)]
pub(super) struct Worth {
    statistics: [[Curve; 2]; 4],
    combined: Curve,
}

impl Worth {
    /// What a tail of a statistic is worth; never less than half of what the model says.
    pub(super) fn map(&self, statistic: usize, side: usize, p: f64) -> f64 {
        self.statistics[statistic][side].worth(p).max(p / 2.0)
    }

    /// What the least of eight is worth.
    pub(super) fn calibrate(&self, combined: f64) -> f64 {
        (MARGIN * libm::pow(self.combined.worth(combined), DOUBT)).min(1.0)
    }
}

/// What the rule makes of one key in one window.
#[derive(Debug, Clone)]
pub(super) struct Assessment {
    pub(super) reading: Reading,
    pub(super) models: [Option<Model>; 4],
    /// As the models have it.
    raw: [Tails; 4],
    /// What that is worth.
    pub(super) mapped: [Tails; 4],
    /// The probability that the least of eight is so small, before the last map.
    combined: f64,
    pub(super) p: f64,
    /// For a new key: what is typical of new keys.
    pub(super) newcomer: Option<f64>,
}

impl Assessment {
    pub(super) fn expected(&self, statistic: usize) -> f64 {
        let model = self.models[statistic].map(|model| model.expected());
        model.or(self.newcomer.filter(|_| statistic == VOLUME)).unwrap_or(0.0)
    }

    /// The statistic with the strongest evidence.
    pub(super) fn strongest(&self) -> usize {
        self.carrier([true; 4]).unwrap_or(VOLUME)
    }

    /// The statistic with the strongest evidence among some.
    pub(super) fn carrier(&self, among: [bool; 4]) -> Option<usize> {
        let evidence = |i: usize| self.mapped[i].least().max(BEYOND_DOUBT);
        let stronger = |best, i| if evidence(i) < evidence(best) { i } else { best };
        CARRIERS.into_iter().filter(|&i| among[i]).reduce(stronger)
    }

    /// The p-value of the window if some of the statistics were all there is to see; 1 without any.
    pub(super) fn p_value_among(&self, worth: &Worth, among: [bool; 4]) -> f64 {
        let least = |among: [bool; 4]| {
            let statistics = self.mapped.iter().zip(among).filter(|(_, is_among)| *is_among);
            statistics.map(|(tails, _)| tails.least()).fold(1.0, f64::min)
        };
        match (least(among), self.newcomer) {
            (least_among, _) if least_among == least([true; 4]) && among.contains(&true) => self.p,
            (least_among, None) => worth.calibrate(least_of_eight(least_among)),
            (_, Some(_)) => 1.0,
        }
    }

    /// Too strange to tell anything about ordinary windows: in volume and variety alike, or in one
    /// of the ratios.
    fn is_gross(&self) -> bool {
        let [volume, variety, repetition, concentration] = self.raw.map(Tails::least);
        let counts = if self.models[VARIETY].is_some() { volume.max(variety) } else { volume };
        counts.min(repetition).min(concentration) < GROSS
    }
}

/// The probability that the least of eight independent p-values is at most this.
pub(super) fn least_of_eight(p: f64) -> f64 {
    -libm::expm1(8.0 * libm::log1p(-p.min(1.0)))
}

impl Pool {
    pub(super) fn is_valid(&self) -> bool {
        self.windows < 1 << 60
            && self.dispersions.iter().all(PooledDispersion::is_valid)
            && self.seasons.iter().all(Seasons::is_valid)
            && self.ratios.iter().all(RatioPool::is_valid)
            && self.maps.iter().flatten().chain([&self.combined]).all(TailMap::is_valid)
            && self.newcomers.is_valid()
            && self.last.is_none_or(|last| last.length > 0)
            && (0.0..=1.0).contains(&self.gross)
    }

    /// The number of windows that were learned.
    pub(super) fn windows(&self) -> u64 {
        self.windows
    }

    /// The last window that was learned.
    pub(super) fn last(&self) -> Option<Last> {
        self.last
    }

    /// What has passed since the last window that was learned; of this one, a part above 0 was observed.
    ///
    /// # Errors
    /// When the window is older, or of another length: it can then be neither judged nor learned.
    pub(super) fn elapsed(
        &self,
        span: Span,
        exposure: f64,
        half_life: Option<HalfLife>,
    ) -> Result<Elapsed, Refusal> {
        let length = nominal_length(span.duration());
        let mut gap = 1.0;
        if let Some(last) = self.last {
            if length != last.length {
                let [have, need] = [length, last.length].map(i64::unsigned_abs);
                return Err(Refusal::WrongLength { have, need });
            }
            if span.start() < last.start {
                return Err(Refusal::Late);
            }
            gap = windows_between(last, span.start());
        }
        Ok(Elapsed::new(gap, exposure, Pace::new(half_life, length)))
    }

    /// What the predictions of windows of a phase share, of so many phases; `None` for a phase that was not
    /// seen yet.
    pub(super) fn scene(&self, phase: usize, count: usize, elapsed: Elapsed) -> Option<Scene> {
        let [volume, variety] = &self.seasons;
        let effects = [volume.effect(phase)?, variety.effect(phase)?];
        let dispersions = self.dispersions.map(|pooled| pooled.estimate());
        volume.fits(count).then_some(Scene { effects, dispersions, elapsed })
    }

    /// Assesses a window of a known key: two tails of each statistic, each mapped to what it is worth,
    /// the least of the eight, and what that is worth.
    pub(super) fn assess(&self, known: &Known, reading: Reading, scene: &Scene, worth: &Worth) -> Assessment {
        let models = self.models(known, reading, scene);
        let (mut raw, mut mapped) = ([Tails::NONE; 4], [Tails::NONE; 4]);
        for (i, model) in models.iter().enumerate() {
            if let Some(model) = model {
                raw[i] = reading.tails(i, model);
                mapped[i] = Tails { low: worth.map(i, 0, raw[i].low), high: worth.map(i, 1, raw[i].high) };
            }
        }
        let combined = least_of_eight(mapped.iter().map(|tails| tails.least()).fold(1.0, f64::min));
        Assessment { reading, models, raw, mapped, combined, p: worth.calibrate(combined), newcomer: None }
    }

    /// Assesses the first window of a key against those of other keys; only large is strange.
    pub(super) fn assess_new(&self, reading: Reading, scene: &Scene) -> Assessment {
        let phase = scene.effects[VOLUME].log;
        let p = self.newcomers.tail(libm::log(reading.counts[VOLUME] + 0.5) - phase);
        let mut tails = [Tails::NONE; 4];
        tails[VOLUME].high = p;
        let newcomer = Some(libm::exp(self.newcomers.typical() + phase));
        Assessment { reading, models: [None; 4], raw: tails, mapped: tails, combined: p, p, newcomer }
    }

    fn models(&self, known: &Known, reading: Reading, scene: &Scene) -> [Option<Model>; 4] {
        let count = |i: usize| Model::Count(i, known.predict(i, scene));
        let ratio = |i: usize| {
            let (ratio, pool) = (&known.ratios[i - REPETITION], &self.ratios[i - REPETITION]);
            Some(Model::Ratio(i, ratio.predict(reading.log_records()?, pool)?))
        };
        let variety = (!reading.is_without_samples()).then(|| count(VARIETY));
        let models = [Some(count(VOLUME)), variety, ratio(REPETITION), ratio(CONCENTRATION)];
        models.map(|model| model.map(|model| reading.allow_for_error(model)))
    }

    /// What tails are worth, by the maps as they are now.
    pub(super) fn worth(&self) -> Worth {
        Worth {
            statistics: self.maps.map(|sides| sides.map(|map| map.curve(STRENGTH))),
            combined: self.combined.curve(COMBINED_STRENGTH),
        }
    }

    /// Learns a window of all keys; of a phase, of so many phases.
    pub(super) fn learn(
        &mut self,
        keys: &mut KeyMap<Known>,
        &TableWindow { span, keys: sorted, .. }: &TableWindow<'_>,
        (phase, count): (usize, usize),
        elapsed: Elapsed,
    ) {
        keys.share(sorted.iter().map(|x| x.key));
        self.seasons.iter_mut().for_each(|seasons| seasons.fit(count));
        let season = self.learn_season(keys, sorted, phase, elapsed);
        // Everything is measured against the past before any of it moves.
        let (mut walk, worth) = (keys.walk(), self.worth());
        let assess = |x: &Observation<'_>| {
            walk.find(x.key).map(|known| self.assess(known, Reading::of(x.summary), &season.own, &worth))
        };
        let assessed: Vec<Option<Assessment>> = sorted.iter().map(assess).collect();
        let old: Vec<&Assessment> = assessed.iter().flatten().collect();

        let eventful = self.learn_share_of_gross(&old, elapsed.tails);
        if !eventful && season.seen > 1 {
            self.learn_maps(&old, elapsed.tails);
        }
        let take = Take { ratios: !eventful, counts: !eventful && (season.seen > 0 || old.len() >= MANY) };
        self.decay(take, elapsed);
        let scales = self.ratios;
        let together = sorted.iter().zip(&assessed).map(|(x, assessment)| (x.key, (x.summary, assessment)));
        keys.update(together, |known, (summary, assessment)| match (known, assessment) {
            (Some(known), Some(assessment)) => {
                if summary.records > 0 {
                    known.seen = known.seen.max(span.end());
                }
                known.learn(assessment, &season, self, take);
                None
            }
            _ if summary.records == 0 => None,
            _ => {
                let reading = Reading::of(summary);
                let log = libm::log(reading.counts[VOLUME] + 0.5) - season.level.effects[VOLUME].log;
                match self.windows {
                    0 => self.newcomers.found(log),
                    _ => self.newcomers.learn(log),
                }
                Some(Known::first(reading, &season.own, &scales, span.end()))
            }
        });
        self.windows += 1;
        self.last = Some(Last { start: span.start(), length: nominal_length(span.duration()) });
    }

    /// Learns the window's factors, and says what the predictions of the window share.
    fn learn_season(
        &mut self,
        keys: &KeyMap<Known>,
        sorted: &[Observation<'_>],
        phase: usize,
        elapsed: Elapsed,
    ) -> Season {
        let dispersions = self.dispersions.map(|pooled| pooled.estimate());
        let seen = self.seasons[VOLUME].seen(phase);
        let (mut own, mut level) = ([Effect::default(); 2], [Effect::default(); 2]);
        for i in [VOLUME, VARIETY] {
            let mut walk = keys.walk();
            let word = |x: &Observation<'_>| {
                let count = Reading::of(x.summary).counts[i];
                Some(walk.find(x.key)?.counts[i].word(count, dispersions[i], &elapsed))
            };
            let words: Vec<Word> = sorted.iter().filter_map(word).collect();
            let factor = day_factor(&words).unwrap_or_default();
            let before = self.seasons[i].effect(phase);
            self.seasons[i].learn(phase, factor, elapsed.common);
            own[i] = before.unwrap_or(factor);
            level[i] = before.or_else(|| self.seasons[i].effect(phase)).unwrap_or_default();
        }
        let scene = |effects| Scene { effects, dispersions, elapsed };
        Season { seen, own: scene(own), level: scene(level) }
    }

    /// Counts the grossly strange, and says whether they are more than half of all: an event of the
    /// pool, which tells nothing about single keys.
    fn learn_share_of_gross(&mut self, old: &[&Assessment], kept: f64) -> bool {
        let gross = old.iter().filter(|assessment| assessment.is_gross()).count();
        if !old.is_empty() {
            let share = gross as f64 / old.len() as f64;
            self.gross += (1.0 - kept) * (share - self.gross);
        }
        2 * gross > old.len()
    }

    fn learn_maps(&mut self, old: &[&Assessment], kept: f64) {
        let mut arrivals: [[Arrivals; 2]; 4] = Default::default();
        let mut combined = Arrivals::default();
        let all = self.gross >= GROSS_SHARE;
        let ordinary = |assessment: &&&Assessment| {
            assessment.expected(VOLUME) >= NOTHING && (all || !assessment.is_gross())
        };
        for assessment in old.iter().filter(ordinary) {
            for (i, [low, high]) in arrivals.iter_mut().enumerate() {
                if assessment.models[i].is_some() {
                    low.add(assessment.raw[i].low);
                    high.add(assessment.raw[i].high);
                }
            }
            combined.add(assessment.combined);
        }
        let maps = self.maps.iter_mut().flatten().zip(arrivals.iter().flatten());
        maps.for_each(|(map, arrivals)| map.learn(arrivals, STRENGTH, kept));
        self.combined.learn(&combined, COMBINED_STRENGTH, kept);
    }

    fn decay(&mut self, take: Take, elapsed: Elapsed) {
        if take.ratios {
            self.ratios.iter_mut().for_each(|ratio| ratio.decay(elapsed.spread));
        }
        if take.counts {
            self.dispersions.iter_mut().for_each(|dispersion| dispersion.decay(elapsed.spread));
        }
        self.newcomers.decay(elapsed.newcomers);
    }
}

/// How many windows after the last one a window starts that is not older: 1 for the next. Days count
/// whole, whatever the clock did in between.
fn windows_between(last: Last, start: Timestamp) -> f64 {
    const DAY: i64 = 86_400_000;
    let between = (start.millis() - last.start.millis()) as f64 / last.length as f64;
    if last.length == DAY { between.round().max(1.0) } else { between.max(1.0) }
}

/// What the predictions of a window that is learned share.
struct Season {
    /// How many windows of its phase are remembered.
    seen: usize,
    /// For measuring keys: of a new phase, the window's own factor.
    own: Scene,
    /// For moving levels: of a new phase, as much of the factor as cannot be drift.
    level: Scene,
}

/// Which spreads are learned from a window.
#[derive(Clone, Copy)]
struct Take {
    ratios: bool,
    counts: bool,
}

impl Known {
    pub(super) fn is_valid(&self) -> bool {
        let (counts, ratios) = (self.counts.iter(), self.ratios.iter());
        counts.map(Count::is_valid).chain(ratios.map(Ratio::is_valid)).all(|is_valid| is_valid)
            && self.runs.iter().all(|run| run.0.abs() < Run::ENOUGH)
    }

    /// The end of the last window with records.
    pub(super) fn seen(&self) -> Timestamp {
        self.seen
    }

    fn first(reading: Reading, scene: &Scene, scales: &[RatioPool; 2], seen: Timestamp) -> Self {
        let elapsed = &scene.elapsed;
        let count =
            |i: usize| Count::first(reading.counts[i], scene.effects[i], scene.dispersions[i], elapsed);
        let counts = [count(VOLUME), count(VARIETY)];
        let mut known = Known { seen, counts, ratios: Default::default(), runs: Default::default() };
        if let Some(log_records) = reading.log_records() {
            for i in [REPETITION, CONCENTRATION] {
                let ratio = &mut known.ratios[i - REPETITION];
                let expected = ratio.predict(log_records, &scales[i - REPETITION]);
                ratio.learn(reading.log(i), log_records, expected.as_ref(), elapsed.level);
            }
        }
        known
    }

    fn predict(&self, i: usize, scene: &Scene) -> Prediction {
        self.counts[i].predict(scene.effects[i], scene.dispersions[i], &scene.elapsed)
    }

    fn learn(&mut self, assessment: &Assessment, season: &Season, pool: &mut Pool, take: Take) {
        let elapsed = &season.level.elapsed;
        // As a rule a level moves from where the key was measured.
        let is_measured = season.own == season.level && !assessment.reading.is_estimate();
        for i in [VOLUME, VARIETY] {
            let Some(Model::Count(_, measured)) = &assessment.models[i] else { continue };
            let actual = assessment.reading.counts[i];
            let prediction = if is_measured { *measured } else { self.predict(i, &season.level) };
            if take.counts && measured.mean >= NOTHING {
                let moment = Count::moment(actual, measured);
                pool.dispersions[i].add(moment);
                self.counts[i].learn_dispersion(moment, elapsed.spread);
            }
            match self.runs[i].is_over(assessment.raw[i]) {
                true => self.counts[i].restart(actual, &prediction, elapsed),
                false => self.counts[i].learn(actual, &prediction, elapsed),
            }
        }
        let Some(log_records) = assessment.reading.log_records() else { return };
        for i in [REPETITION, CONCENTRATION] {
            let (ratio, log) = (&mut self.ratios[i - REPETITION], assessment.reading.log(i));
            let expected = match &assessment.models[i] {
                Some(Model::Ratio(_, expected)) => Some(expected),
                _ => None,
            };
            if let Some(expected) = expected.filter(|_| take.ratios) {
                let residual = ratio.residual(log, log_records, expected);
                pool.ratios[i - REPETITION].add(&residual);
                ratio.learn_scale(&residual, elapsed.spread);
            }
            match self.runs[i].is_over(assessment.raw[i]) {
                true => ratio.restart(log, log_records),
                false => ratio.learn(log, log_records, expected, elapsed.level),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_takes_at_most_272_bytes() {
        // With the 740 of a busy key's six weeks in the history: less than a kilobyte.
        assert!(size_of::<Known>() <= 272, "{}", size_of::<Known>());
    }

    #[test]
    fn three_windows_far_off_on_the_same_side_are_another_regime() {
        let (high, low) = (Tails { low: 1.0, high: 1e-4 }, Tails { low: 1e-4, high: 1.0 });
        let over = |tails: &[Tails]| {
            let mut run = Run::default();
            tails.iter().map(|&tails| run.is_over(tails)).collect::<Vec<_>>()
        };
        assert_eq!(over(&[high; 6]), [false, false, true, false, false, true]);
        assert_eq!(over(&[low, low, low]), [false, false, true]);
        assert_eq!(over(&[low, low, high, low, low, Tails::NONE, low]), [false; 7]);
    }

    #[test]
    fn the_least_of_eight_is_one_minus_all_being_larger() {
        for p in [0.0, 1e-12, 0.001, 0.3, 1.0] {
            let direct = 1.0 - f64::powi(1.0 - p, 8);
            assert!((least_of_eight(p) - direct).abs() < 1e-12, "{p}");
        }
        assert!((least_of_eight(1e-20) / 8e-20 - 1.0).abs() < 1e-12);
    }
}
