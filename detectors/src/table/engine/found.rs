//! Findings: anomalous keys, told to people and programs.

use crate::contract::{Explanation, Observation, Refusal, Verdict};
use peak_core::{
    Baseline, CountMoments, Key, LabelCount, LabelSummary, Past, Schema, Span, Summary, Timestamp,
    Uncertainty, shown, stable_hash,
};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// An anomalous key: what, how strange, why, who, and what would have been normal.
///
/// As JSON it is one object that says the same to a program, and that is read back where it is routed:
///
/// ```
/// # use peak_core::{CountMoments, Key, Schema, Span, Summaries, Summary, Tz};
/// # use peak_detectors::{Classic, Engine, Found, Peak};
/// # use std::sync::Arc;
/// # let rule = Classic::new(&Schema::file_types(), Tz::UTC);
/// # let mut engine = Engine::new(Peak::classic(rule));
/// # let key = Key::new(["malicious", "PeExeFile"]);
/// # let mut found = Vec::new();
/// # for (i, day) in Span::days("2020-11-01", "2020-11-03")?.into_iter().enumerate() {
/// #     let samples = CountMoments::from_iter([30 + 3_000 * i as u64]);
/// #     let rows = [(key.clone(), Summary::new(samples.sum()).with_samples(samples))];
/// #     found = engine.take(Summaries::new(Arc::new(Schema::file_types()), day, rows)?)?.found;
/// # }
/// # let found = found.swap_remove(0);
/// let told = serde_json::to_string(&found).unwrap();
/// let read: Found = serde_json::from_str(&told).unwrap();
/// assert_eq!((&read.id, &read.key, read.span), (&found.id, &found.key, found.span));
/// assert_eq!(serde_json::to_string(&read).unwrap(), told);
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Found {
    /// Tells findings apart, and stays the same when a window is judged again: 32 hexadecimal digits of
    /// a hash of the kind of detector, the dimensions, the key and the window.
    pub id: String,
    /// The dimension values.
    pub key: Key,
    /// When.
    pub span: Span,
    /// The window's summary, with the top samples and the top senders.
    pub summary: Summary,
    /// How strange.
    pub verdict: Verdict,
    /// Why.
    pub explanation: Explanation,
    names: Arc<Names>,
    /// Per label of the names, its usual top share.
    usual: Vec<Option<f64>>,
}

/// The names of the fields.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Names {
    dimensions: Vec<String>,
    /// With their places among the labels of a summary.
    labels: Vec<(usize, String)>,
}

impl Names {
    pub(super) fn of(schema: &Schema) -> Self {
        let labels = schema.labels().map(|(place, field)| (place, field.to_owned()));
        Names { dimensions: schema.dimensions().to_vec(), labels: labels.collect() }
    }
}

/// Who or what is behind the records, by one field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Blame<'a> {
    /// The sample field, or a blame field.
    #[serde(skip)]
    pub field: &'a str,
    /// How far the numbers may be from the truth, when they are estimates to keep to a limit of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncertainty: Option<Uncertainty>,
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
    pub(super) fn new(
        kind: &str,
        x: &Observation<'_>,
        verdict: Verdict,
        why: Result<Explanation, Refusal>,
        names: &Arc<Names>,
    ) -> Self {
        // What is found is told, explained or not.
        let unexplained = |refusal: Refusal| Explanation {
            carried_by: refusal.reason().into(),
            evidence: Vec::new(),
            counterfactual: None,
            change: None,
        };
        Found {
            id: id(kind, names, x.key, x.span),
            key: x.key.clone(),
            span: x.span,
            summary: x.summary.clone(),
            verdict,
            explanation: why.unwrap_or_else(unexplained),
            usual: usual_top_shares(x.past, names),
            names: Arc::clone(names),
        }
    }

    /// The names of the dimensions and the key's values.
    pub fn dimensions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.dimensions.iter().map(String::as_str).zip(self.key.values())
    }

    /// Who or what is behind the records: by sample, then by each blame field.
    pub fn blame(&self) -> impl Iterator<Item = Blame<'_>> {
        self.names.labels.iter().zip(&self.usual).map(|((place, field), &usual_top_share)| {
            let label = self.summary.label(*place);
            let top = label.map_or(&[][..], |label| &label.top);
            Blame {
                field,
                uncertainty: label.and_then(|label| label.uncertainty),
                usual_top_share,
                top: top.iter().map(|count| self.share(count)).collect(),
            }
        })
    }

    fn share<'a>(&self, count: &'a LabelCount) -> BlameShare<'a> {
        let share = count.count as f64 / self.summary.records as f64;
        BlameShare { value: &count.label, records: count.count, share }
    }
}

/// The same everywhere and for ever.
fn id(kind: &str, names: &Names, key: &Key, span: Span) -> String {
    let mut text = Vec::new();
    let parts = std::iter::once(kind).chain(names.dimensions.iter().map(String::as_str)).chain(key.values());
    for part in parts {
        text.extend_from_slice(&(part.len() as u64).to_le_bytes());
        text.extend_from_slice(part.as_bytes());
    }
    text.extend([span.start(), span.end()].iter().flat_map(|time| time.millis().to_le_bytes()));
    format!("{:016x}{:016x}", stable_hash(1, &text), stable_hash(2, &text))
}

/// Per label, the records of the most frequent values of all past windows over all their records.
fn usual_top_shares(past: &Baseline, names: &Names) -> Vec<Option<f64>> {
    let pasts: Vec<Past> = past.windows().collect();
    let sum = |count: &dyn Fn(&Past) -> u64| pasts.iter().map(count).fold(0, u64::saturating_add);
    let records = sum(&|past| past.records);
    let share = |place: usize| {
        let top = sum(&|past| match place.checked_sub(1) {
            None => past.samples.max(),
            Some(blame) => past.top_blame.get(blame).copied().unwrap_or(0),
        });
        (records > 0).then(|| top as f64 / records as f64)
    };
    names.labels.iter().map(|(place, _)| share(*place)).collect()
}

/// One line of what, when and why, and one line per field of who.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { key, span, explanation, summary, .. } = self;
        write!(f, "{key}: {} records", summary.records)?;
        if summary.distinct() > 0 {
            let about = if summary.uncertainty().is_some() { "about " } else { "" };
            write!(f, " of {about}{} samples", summary.distinct())?;
        }
        write!(f, " from {span}: {explanation}")?;
        self.blame().filter(|blame| !blame.top.is_empty()).try_for_each(|blame| write!(f, "\n  {blame}"))
    }
}

/// The field and its most frequent values with their shares.
impl fmt::Display for Blame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", shown(self.field))?;
        for BlameShare { value, share, .. } in &self.top {
            write!(f, " {} {:.0}%", shown(value), 100.0 * share)?;
        }
        if let Some(usual) = self.usual_top_share {
            write!(f, " (the first as a rule {:.0}%)", 100.0 * usual)?;
        }
        match self.uncertainty {
            Some(bounds) => write!(f, " (estimates, up to {} records too many)", bounds.surplus()),
            None => Ok(()),
        }
    }
}

/// One JSON object: id, start, end, key, records, samples, max, verdict, explanation, blame; estimated,
/// when counts of labels are estimates.
impl Serialize for Found {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("start", &self.span.start().to_string())?;
        map.serialize_entry("end", &self.span.end().to_string())?;
        map.serialize_entry("key", &Pairs(self.dimensions().collect()))?;
        map.serialize_entry("records", &self.summary.records)?;
        map.serialize_entry("samples", &self.summary.distinct())?;
        map.serialize_entry("max", &self.summary.samples().max())?;
        if self.summary.is_estimate() {
            map.serialize_entry("estimated", &true)?;
        }
        map.serialize_entry("verdict", &self.verdict)?;
        map.serialize_entry("explanation", &self.explanation)?;
        map.serialize_entry("blame", &Pairs(self.blame().map(|blame| (blame.field, blame)).collect()))?;
        map.end()
    }
}

/// A map that keeps its order.
struct Pairs<K, V>(Vec<(K, V)>);

impl<K: Serialize, V: Serialize> Serialize for Pairs<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Pairs<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

struct PairsVisitor<K, V>(PhantomData<(K, V)>);

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for PairsVisitor<K, V> {
    type Value = Pairs<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}

/// A finding as it was told.
#[derive(Deserialize)]
struct Told {
    id: String,
    start: String,
    end: String,
    key: Pairs<String, String>,
    records: u64,
    samples: u64,
    max: u64,
    verdict: Verdict,
    explanation: Explanation,
    blame: Pairs<String, ToldBlame>,
}

#[derive(Deserialize)]
struct ToldBlame {
    #[serde(default)]
    uncertainty: Option<Uncertainty>,
    usual_top_share: Option<f64>,
    top: Vec<ToldShare>,
}

#[derive(Deserialize)]
struct ToldShare {
    value: String,
    records: u64,
}

/// What was told, read back: of the summary only what a finding tells.
impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let told = Told::deserialize(deserializer)?;
        let time = |text: &str| Timestamp::parse(text).map_err(D::Error::custom);
        let span = Span::new(time(&told.start)?, time(&told.end)?).map_err(D::Error::custom)?;
        let (dimensions, values): (Vec<String>, Vec<String>) = told.key.0.into_iter().unzip();
        let samples = CountMoments::from_parts(told.samples, told.records, 0, told.max);
        // A feed without samples has none of them, whatever comes first.
        let first = usize::from(told.samples == 0);
        let mut names = Names { dimensions, labels: Vec::new() };
        let (mut labels, mut usual) = (vec![LabelSummary::new(samples)], Vec::new());
        for (i, (field, blame)) in told.blame.0.into_iter().enumerate() {
            let top = blame.top.into_iter().map(|share| LabelCount::new(share.value, share.records));
            let place = first + i;
            if place == labels.len() {
                labels.push(LabelSummary::default());
            }
            labels[place] = LabelSummary::new(labels[place].moments).with_top(top);
            labels[place].uncertainty = blame.uncertainty;
            names.labels.push((place, field));
            usual.push(blame.usual_top_share);
        }
        Ok(Found {
            id: told.id,
            key: Key::new(values),
            span,
            summary: Summary::new(told.records).with_labels(labels),
            verdict: told.verdict,
            explanation: told.explanation,
            names: Arc::new(names),
            usual,
        })
    }
}
