//! Findings: anomalous keys, told to people and programs.

use super::Observation;
use crate::{Detector, Explanation, Verdict};
use peak_core::{Baseline, Key, Past, Schema, Share, Span, Window};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// An anomalous key: what, how strange, why, who, and what would have been normal.
#[derive(Debug, Clone)]
pub struct Found {
    /// The dimension values.
    pub key: Key,
    /// When.
    pub span: Span,
    /// The window's summary, with the top samples and the top senders.
    pub window: Window,
    /// How strange.
    pub verdict: Verdict,
    /// Why.
    pub explanation: Explanation,
    /// The names of the fields.
    pub schema: Arc<Schema>,
    /// Per field of [`blame`](Self::blame), its usual top share.
    usual: Vec<Option<f64>>,
}

/// Who or what is behind the records, by one field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Blame<'a> {
    /// The sample field, or a blame field.
    #[serde(skip)]
    pub field: &'a str,
    /// The share of the most frequent value in the windows of the history, from 0 to 1: how unusual
    /// the shares below are. `None` without history.
    pub usual_top_share: Option<f64>,
    /// The most frequent values, most frequent first.
    pub top: Vec<BlameShare<'a>>,
}

/// A value and its part of the window's records.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BlameShare<'a> {
    /// The sample or the blame value.
    pub value: &'a str,
    /// How many records carry it.
    pub records: u64,
    /// Their share of all records, from 0 to 1.
    pub share: f64,
}

impl Found {
    pub(super) fn explain<'a, D>(
        detector: &D,
        x: &Observation<'a>,
        verdict: Verdict,
        schema: &Arc<Schema>,
    ) -> Option<Self>
    where
        D: Detector<Observation<'a>>,
    {
        Some(Found {
            key: x.key.clone(),
            span: x.span,
            window: x.window.clone(),
            verdict,
            explanation: detector.explain(x).ok()?,
            schema: Arc::clone(schema),
            usual: usual_top_shares(x.past, schema),
        })
    }

    /// The names of the dimensions and the key's values.
    pub fn dimensions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.schema.dimensions().iter().map(String::as_str).zip(self.key.values())
    }

    /// Who or what is behind the records: by sample, then by each blame field.
    pub fn blame(&self) -> impl Iterator<Item = Blame<'_>> {
        let samples = self.schema.sample().map(|field| (field, &self.window.top_samples));
        let senders = self.schema.blame().iter().map(String::as_str).zip(&self.window.top_blame);
        let fields = samples.into_iter().chain(senders).zip(&self.usual);
        fields.map(|((field, top), &usual_top_share)| {
            let top = top.iter().map(|share| self.share(share)).collect();
            Blame { field, usual_top_share, top }
        })
    }

    fn share<'a>(&self, Share { label, count }: &'a Share) -> BlameShare<'a> {
        BlameShare { value: label, records: *count, share: *count as f64 / self.window.events as f64 }
    }
}

/// Per field, the records of the most frequent values of all past windows over all their records.
fn usual_top_shares(past: &Baseline, schema: &Schema) -> Vec<Option<f64>> {
    let pasts: Vec<Past> = past.windows().collect();
    let events: u64 = pasts.iter().map(|past| past.events).fold(0, u64::saturating_add);
    let share = |top: &dyn Fn(&Past) -> u64| {
        let records = pasts.iter().map(top).fold(0, u64::saturating_add);
        (events > 0).then(|| records as f64 / events as f64)
    };
    let samples = schema.sample().map(|_| share(&|past| past.samples.max()));
    let blame =
        (0..schema.blame().len()).map(|i| share(&move |past| past.top_blame.get(i).copied().unwrap_or(0)));
    samples.into_iter().chain(blame).collect()
}

/// One line of what, when and why, and one line per field of who.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { key, span, explanation, .. } = self;
        let (events, samples) = (self.window.events, self.window.distinct());
        write!(f, "{key}: {events} records of {samples} samples from {span}: {explanation}")?;
        self.blame().filter(|blame| !blame.top.is_empty()).try_for_each(|blame| write!(f, "\n  {blame}"))
    }
}

/// The field and its most frequent values with their shares.
impl fmt::Display for Blame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.field)?;
        for BlameShare { value, share, .. } in &self.top {
            write!(f, " {value} {:.0}%", 100.0 * share)?;
        }
        match self.usual_top_share {
            Some(usual) => write!(f, " (the first as a rule {:.0}%)", 100.0 * usual),
            None => Ok(()),
        }
    }
}

/// One JSON object: start, end, key, records, samples, max, verdict, explanation, blame.
impl Serialize for Found {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("start", &self.span.start().to_string())?;
        map.serialize_entry("end", &self.span.end().to_string())?;
        map.serialize_entry("key", &self.dimensions().collect::<BTreeMap<_, _>>())?;
        map.serialize_entry("records", &self.window.events)?;
        map.serialize_entry("samples", &self.window.distinct())?;
        map.serialize_entry("max", &self.window.samples.max())?;
        map.serialize_entry("verdict", &self.verdict)?;
        map.serialize_entry("explanation", &self.explanation)?;
        map.serialize_entry(
            "blame",
            &self.blame().map(|blame| (blame.field, blame)).collect::<BTreeMap<_, _>>(),
        )?;
        map.end()
    }
}
