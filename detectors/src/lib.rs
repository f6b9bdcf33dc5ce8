//! Detectors of peaks and anomalies in telemetry, behind one trait, and the engine that runs them.
//!
//! | detector | looks at | method |
//! |---|---|---|
//! | [`Peak`] with [`PeakRule::Calibrated`] | all keys of a table, window by window | predictive distributions of four statistics, and a false-alarm [`Budget`] that holds |
//! | [`Peak`] with [`PeakRule::Classic`] | all keys of a table, window by window | local against global statistics, as telemetry-peak-analyzer decides |
//! | [`SigmaEnsemble`] | the points of a series | nine small tests vote, as in Skyline or without its quirks; what is rare is learned from the series |
//! | [`Mad`] | the points of a series | distance from the median in median absolute deviations |
//! | [`IsolationForest`] | rows of features | how few random cuts set a row apart from the others |
//! | [`RsHash`] | rows of features, in a stream that drifts | how little random grids hold where the row falls |
//! | [`Together`] | what its members look at | the least of their p-values, for what it is worth |
//!
//! [`Features`] make rows out of readings of metrics, for detectors of rows; [`OnFeatures`] joins both.
//!
//! A [`Fleet`] holds a detector per key, and [`Incidents`] make of verdicts what people are told. An [`Engine`] ties a source, the tables and a detector together:
//!
//! ```
//! use peak_core::{Schema, Span, Tz};
//! use peak_detectors::{Classic, Engine, Peak};
//! # use peak_core::{Intake, Record, Report, Result, Source, Timestamp};
//! # use std::ops::ControlFlow;
//! # struct Feed(Schema);
//! # impl Source for Feed {
//! #     fn schema(&self) -> &Schema { &self.0 }
//! #     fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>) -> Result<Report> {
//! #         let mut intake = Intake::new(span);
//! #         for i in 0..60i64 {
//! #             let sample = if i < 40 { "same".to_owned() } else { i.to_string() };
//! #             let day = if i < 10 { 0 } else { 1 };
//! #             let time = Timestamp::from_millis(1_604_188_800_000 + day * 86_400_000 + i)?;
//! #             let labels = [Some(sample.as_str()), Some("7"), Some("API")];
//! #             let record = Record::new(time, &["unknown", "PeExeFile"]).with_labels(&labels);
//! #             if intake.offer(&record, visit).is_break() { break; }
//! #         }
//! #         intake.finish()
//! #     }
//! # }
//! # let feed = Feed(Schema::file_types());
//!
//! let classic = Classic::new(&Schema::file_types(), Tz::UTC);
//! let mut engine = Engine::new(Peak::classic(classic));
//! for day in Span::days("2020-11-01", "2020-11-03")? {
//!     for found in engine.step(&feed, day)? {
//!         println!("{found}"); // what, how strange, why, who, and what would have been normal
//! #       assert!(found.to_string().contains("unknown / PeExeFile"), "{found}");
//!     }
//! }
//! # assert_eq!(engine.history().learned().len(), 2);
//! # Ok::<(), peak_core::Error>(())
//! ```

mod alerts;
mod contract;
mod rows;
pub mod series;
mod table;
mod time;
mod worth;

#[cfg(any(test, feature = "testing"))]
pub use contract::testing;

pub use alerts::{EndReason, Incident, Incidents, News};
pub use contract::{
    AnyDetector, AnyPersist, BoxedMemory, Change, Counterfactual, Detector, Evidence, Explanation, Footprint,
    Judged, Observation, On, Persist, PoolVerdict, Refusal, TableDetector, TableTold, TableWindow, Timed,
    Told, Verdict, Wanted,
};
pub use rows::{
    Attribution, Cutoff, Feature, FeatureRows, Features, FeaturesBuilder, FeaturesMemory, ForestMemory,
    IsolationForest, IsolationForestBuilder, OnFeatures, OnFeaturesMemory, Reading, Readings, RsHash,
    RsHashBuilder, RsHashMemory, Split, Standardisation, Threshold, TimeFeature,
};
pub use series::{
    Abstention, Ballot, Mad, MadMemory, NormalRange, Point, SeriesTest, SigmaAssessment, SigmaEnsemble,
    SigmaMemory, Vote, steps_little,
};
pub use table::{
    Amendment, Blame, BlameShare, Calibrated, CalibratedMemory, Classic, Correction, Engine, Finished, Fleet,
    FleetMemory, Found, Peak, PeakMemory, PeakRule, PerKey, Resumed, Step, Visit,
};
pub use time::{Calendar, Days, Phases};
pub use worth::{Budget, Combination, Together, TogetherMemory, severity};

/// The rows, and what is said of them, of the [`Classic`] rule.
pub mod classic {
    pub use crate::table::classic::{Assessment, DayStatistics, Number, Row, Rows, Weights};
}
