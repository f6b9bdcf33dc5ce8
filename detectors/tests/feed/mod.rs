//! Feeds of windows for tests, written as their shapes.

use peak_core::{CountMoments, Key, LabelCount, LabelSummary, Span, Summary};
use serde::Deserialize;

/// So many windows of records over samples, the most frequent sample having `top` records.
#[derive(Deserialize, Clone, Copy)]
pub(crate) struct WindowShape {
    pub(crate) repeat: usize,
    pub(crate) records: u64,
    pub(crate) samples: u64,
    pub(crate) top: u64,
}

impl WindowShape {
    /// The summary of a window of this shape: the records beside the top sample's are spread evenly.
    pub(crate) fn summary(self) -> Summary {
        let others = self.samples.saturating_sub(1);
        let rest = self.records - self.top;
        let spread = (0..others).map(|i| rest / others + u64::from(i < rest % others));
        let samples: CountMoments = spread.chain((self.samples > 0).then_some(self.top)).collect();
        assert_eq!((samples.sum(), samples.max()), (self.records, self.top), "impossible shape");
        let samples = LabelSummary::new(samples).with_top([LabelCount::new("top", self.top)]);
        Summary::new(self.records).with_labels([samples])
    }
}

/// The key that all feeds are of.
pub(crate) fn key() -> Key {
    Key::new(["unknown", "PeExeFile"])
}

/// The windows of the key, a day each.
pub(crate) fn days(feed: &[WindowShape]) -> impl Iterator<Item = (Span, Summary)> {
    let days = Span::days("2020-01-01", "2021-01-01").unwrap();
    let windows: Vec<Summary> = feed.iter().flat_map(|shape| vec![shape.summary(); shape.repeat]).collect();
    days.into_iter().zip(windows)
}
