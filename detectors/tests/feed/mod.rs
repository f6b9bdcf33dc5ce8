//! Feeds of windows for tests, written as their shapes.

use peak_core::{CountMoments, Key, KeyWindow, Share, Span, Window};
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
    /// A window of this shape: the records beside the top sample's are spread evenly.
    pub(crate) fn window(self) -> Window {
        let others = self.samples.saturating_sub(1);
        let rest = self.records - self.top;
        let spread = (0..others).map(|i| rest / others + u64::from(i < rest % others));
        let samples: CountMoments = spread.chain((self.samples > 0).then_some(self.top)).collect();
        assert_eq!((samples.sum(), samples.max()), (self.records, self.top), "impossible shape");
        Window {
            events: self.records,
            samples,
            top_samples: vec![Share { label: "top".into(), count: self.top }],
            ..Window::default()
        }
    }
}

/// The windows of one key, a day each.
pub(crate) fn key_windows(feed: &[WindowShape]) -> impl Iterator<Item = KeyWindow> {
    let days = Span::days("2020-01-01", "2021-01-01").unwrap();
    let windows: Vec<Window> = feed.iter().flat_map(|shape| vec![shape.window(); shape.repeat]).collect();
    let key = Key::new(["unknown", "PeExeFile"]);
    days.into_iter().zip(windows).map(move |(span, window)| KeyWindow { key: key.clone(), span, window })
}
