//! Which field of a source plays which role.

use crate::{Error, Record, Result, TimeUnit};
use serde::{Deserialize, Serialize};

/// Names the fields of a feed and their roles.
///
/// ```
/// use peak_core::Schema;
///
/// let schema = Schema::builder()
///     .time("utc_timestamp")
///     .sample("file.sha1")
///     .dimensions(["task.severity", "file.llfile_type", "customer.region"])
///     .blame(["source.user_id", "source.origin"])
///     .measures(["file.size"])
///     .build()?;
/// assert_eq!(schema.dimensions().len(), 3);
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Draft", into = "Draft")]
pub struct Schema(Draft);

/// A schema before it is checked: how it stands in a file of configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Draft {
    time: String,
    time_unit: TimeUnit,
    sample: Option<String>,
    dimensions: Vec<String>,
    blame: Vec<String>,
    measures: Vec<String>,
    weight: Option<String>,
    quantiles: Vec<String>,
    label_moments: Vec<(String, String)>,
}

impl Schema {
    /// Starts a schema without fields.
    #[must_use]
    pub fn builder() -> SchemaBuilder {
        SchemaBuilder { draft: Draft::default() }
    }

    /// Preset for file submissions: severity × file type, file hashes as samples, blamed on the
    /// submitting user and the origin.
    #[must_use]
    pub fn file_types() -> Self {
        Schema(Draft {
            time: "utc_timestamp".into(),
            sample: Some("file.sha1".into()),
            dimensions: vec!["task.severity".into(), "file.llfile_type".into()],
            blame: vec!["source.user_id".into(), "source.origin".into()],
            ..Draft::default()
        })
    }

    /// Preset for network events: impact × threat, event ids as samples, blamed on the user.
    #[must_use]
    pub fn network_events() -> Self {
        Schema(Draft {
            time: "utc_timestamp".into(),
            sample: Some("event.id".into()),
            dimensions: vec!["event.impact".into(), "threat.name.keyword".into()],
            blame: vec!["source.user_id".into()],
            ..Draft::default()
        })
    }

    /// The field that holds the time.
    #[must_use]
    pub fn time(&self) -> &str {
        &self.0.time
    }

    /// The unit of times that are written as numbers.
    #[must_use]
    pub fn time_unit(&self) -> TimeUnit {
        self.0.time_unit
    }

    /// The field that names the sample, when samples are counted.
    #[must_use]
    pub fn sample(&self) -> Option<&str> {
        self.0.sample.as_deref()
    }

    /// The fields whose values make the key.
    #[must_use]
    pub fn dimensions(&self) -> &[String] {
        &self.0.dimensions
    }

    /// The fields that say who or what sent a record.
    #[must_use]
    pub fn blame(&self) -> &[String] {
        &self.0.blame
    }

    /// The numeric fields.
    #[must_use]
    pub fn measures(&self) -> &[String] {
        &self.0.measures
    }

    /// The field that says for how many records one stands, when there is one.
    #[must_use]
    pub fn weight(&self) -> Option<&str> {
        self.0.weight.as_deref()
    }

    /// The measures whose distribution is kept, by their places among the measures.
    pub fn quantiles(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.0.quantiles.iter().map(|measure| self.0.measure(measure))
    }

    /// The pairs of a label and a measure of which the moments are kept per value of the label, by their
    /// places among the [labels](Self::labels) and the measures.
    pub fn label_moments(&self) -> impl ExactSizeIterator<Item = (usize, usize)> + '_ {
        let place =
            |label: &String| self.labels().find(|(_, field)| field == label).map_or(0, |(place, _)| place);
        self.0.label_moments.iter().map(move |(label, measure)| (place(label), self.0.measure(measure)))
    }

    /// What the records of the feed look like.
    pub(crate) fn shape(&self) -> Shape {
        let Draft { sample, dimensions, blame, measures, quantiles, label_moments, .. } = &self.0;
        Shape {
            has_sample: sample.is_some(),
            dimensions: dimensions.len(),
            labels: 1 + blame.len(),
            measures: measures.len(),
            asks_for_more: !(quantiles.is_empty() && label_moments.is_empty()),
        }
    }

    /// How many fields have their values counted, the place of the sample included: it is always the
    /// first, also where the schema names none.
    #[must_use]
    pub fn label_count(&self) -> usize {
        1 + self.0.blame.len()
    }

    /// The fields whose values are counted, with their places among the labels: the sample, if there is
    /// one, at 0, and the blame fields from 1 on.
    pub fn labels(&self) -> impl Iterator<Item = (usize, &str)> {
        let blame = self.0.blame.iter().map(String::as_str).enumerate().map(|(i, field)| (i + 1, field));
        self.sample().map(|field| (0, field)).into_iter().chain(blame)
    }

    /// All fields, in the order time, sample, dimensions, blame, measures, weight.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.fields()
    }

    /// Whether a record has the shape of the schema: a value for each dimension, a sample exactly when
    /// one is named, no more labels and measures than there are, finite measures, and a weight.
    pub(crate) fn check(&self, record: &Record<'_>) -> Result<()> {
        if self.shape().fits(record) {
            return Ok(());
        }
        let Draft { sample, dimensions, blame, measures, .. } = &self.0;
        let rule = format!(
            "must have {} dimensions, {} sample, at most {} other labels and {} finite measures, and a weight",
            dimensions.len(),
            if sample.is_some() { "a" } else { "no" },
            blame.len(),
            measures.len()
        );
        Err(Error::invalid("record", rule, format_args!("{record:?}")))
    }

    /// Whether what was counted by one schema can be put beside what was counted by the other: fields
    /// with the same roles in the same order. Where times stand makes no difference.
    ///
    /// # Errors
    /// When they differ, with what differs.
    pub fn check_same(&self, other: &Schema) -> Result<()> {
        if std::ptr::eq(self, other) {
            return Ok(());
        }
        let (a, b) = (&self.0, &other.0);
        let sample = |draft: &Draft| draft.sample.clone().into_iter().collect::<Vec<_>>();
        for (role, known, given) in [
            ("dimensions", &a.dimensions, &b.dimensions),
            ("sample", &sample(a), &sample(b)),
            ("blame fields", &a.blame, &b.blame),
            ("measures", &a.measures, &b.measures),
            ("quantiles", &a.quantiles, &b.quantiles),
        ] {
            if known != given {
                let rule = format!("must be {known:?}, those that were counted before, in this order");
                return Err(Error::invalid(role, rule, format_args!("{given:?}")));
            }
        }
        if a.label_moments != b.label_moments {
            let rule = format!("must be {:?}, those that were counted before", a.label_moments);
            return Err(Error::invalid("label moments", rule, format_args!("{:?}", b.label_moments)));
        }
        Ok(())
    }
}

/// What the records of a feed look like, at hand for each of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    has_sample: bool,
    dimensions: usize,
    labels: usize,
    measures: usize,
    asks_for_more: bool,
}

impl Shape {
    #[inline]
    pub(crate) fn fits(&self, record: &Record<'_>) -> bool {
        record.dimensions.len() == self.dimensions
            && record.labels.len() <= self.labels
            && record.sample().is_some() == self.has_sample
            && record.measures.len() <= self.measures
            && record.measures.iter().flatten().all(|measure| measure.is_finite())
            && record.weight > 0
    }

    /// The schema, if tallies are to keep more than every schema asks for.
    #[inline]
    pub(crate) fn asked(self, schema: &Schema) -> Option<&Schema> {
        self.asks_for_more.then_some(schema)
    }
}

impl Draft {
    fn measure(&self, name: &str) -> usize {
        self.measures.iter().position(|measure| measure == name).unwrap_or(0)
    }

    /// What is asked of measures and labels that are not there, or asked twice.
    fn wrong_statistic(&self) -> Option<&str> {
        let is_measure = |name: &String| self.measures.contains(name);
        let is_label = |name: &String| self.sample.as_ref() == Some(name) || self.blame.contains(name);
        let quantiles = self.quantiles.iter().enumerate();
        let wrong = |(i, name): (usize, &String)| !is_measure(name) || self.quantiles[..i].contains(name);
        let pairs = self.label_moments.iter().enumerate();
        let wrong_pair = |(i, pair): (usize, &(String, String))| {
            !is_label(&pair.0) || !is_measure(&pair.1) || self.label_moments[..i].contains(pair)
        };
        let quantile = quantiles.filter(|&each| wrong(each)).map(|(_, name)| name.as_str()).next();
        quantile.or_else(|| pairs.filter(|&each| wrong_pair(each)).map(|(_, pair)| pair.1.as_str()).next())
    }

    fn fields(&self) -> impl Iterator<Item = &str> {
        let lists = self.dimensions.iter().chain(&self.blame).chain(&self.measures).chain(&self.weight);
        std::iter::once(&self.time).chain(&self.sample).chain(lists).map(String::as_str)
    }
}

impl From<Schema> for Draft {
    fn from(schema: Schema) -> Self {
        schema.0
    }
}

impl TryFrom<Draft> for Schema {
    type Error = Error;
    fn try_from(draft: Draft) -> Result<Self> {
        if draft.time.is_empty() {
            return Err(Error::invalid(r#"schema field "time""#, "must be named", draft.time));
        }
        let mut fields: Vec<&str> = draft.fields().collect();
        fields.sort_unstable();
        if let Some(twice) = fields.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::invalid("schema field", "must have one role only", twice[0]));
        }
        if fields.first().is_some_and(|field| field.is_empty()) {
            return Err(Error::invalid("schema field", "must not be empty", ""));
        }
        if let Some(wrong) = draft.wrong_statistic() {
            let rule = "must be asked once, of a measure and, where there is one, of a sample or blame field";
            return Err(Error::invalid("quantiles or moments by label", rule, wrong));
        }
        Ok(Schema(draft))
    }
}

/// Collects the fields of a [`Schema`].
#[derive(Debug, Clone)]
pub struct SchemaBuilder {
    draft: Draft,
}

impl SchemaBuilder {
    /// The field that holds the time. Required.
    #[must_use]
    pub fn time(mut self, field: impl Into<String>) -> Self {
        self.draft.time = field.into();
        self
    }

    /// The unit of times that are written as numbers; milliseconds unless said.
    #[must_use]
    pub fn time_unit(mut self, unit: TimeUnit) -> Self {
        self.draft.time_unit = unit;
        self
    }

    /// The field that names what is counted. Without it records are counted, but not samples.
    #[must_use]
    pub fn sample(mut self, field: impl Into<String>) -> Self {
        self.draft.sample = Some(field.into());
        self
    }

    /// The fields whose values make the key, in order. Without any, the feed has one key.
    #[must_use]
    pub fn dimensions<F: Into<String>>(mut self, fields: impl IntoIterator<Item = F>) -> Self {
        self.draft.dimensions = fields.into_iter().map(Into::into).collect();
        self
    }

    /// The fields that say who or what sent a record.
    #[must_use]
    pub fn blame<F: Into<String>>(mut self, fields: impl IntoIterator<Item = F>) -> Self {
        self.draft.blame = fields.into_iter().map(Into::into).collect();
        self
    }

    /// The numeric fields whose moments are kept.
    #[must_use]
    pub fn measures<F: Into<String>>(mut self, fields: impl IntoIterator<Item = F>) -> Self {
        self.draft.measures = fields.into_iter().map(Into::into).collect();
        self
    }

    /// The measures whose distribution is kept, too ([`Quantiles`](crate::Quantiles)): a median, a 99th
    /// percentile.
    #[must_use]
    pub fn quantiles<F: Into<String>>(mut self, measures: impl IntoIterator<Item = F>) -> Self {
        self.draft.quantiles = measures.into_iter().map(Into::into).collect();
        self
    }

    /// Keeps the moments of a measure for each value of a label, too
    /// ([`LabelMoments`](crate::LabelMoments)): bytes by user.
    #[must_use]
    pub fn moments_by(mut self, label: impl Into<String>, measure: impl Into<String>) -> Self {
        self.draft.label_moments.push((label.into(), measure.into()));
        self
    }

    /// The field that says for how many records one stands: a whole number from 1 on. Each stands for
    /// itself unless said.
    #[must_use]
    pub fn weight(mut self, field: impl Into<String>) -> Self {
        self.draft.weight = Some(field.into());
        self
    }

    /// The schema.
    ///
    /// # Errors
    /// When the time field is missing, a name is empty, or a field is named twice.
    pub fn build(self) -> Result<Schema> {
        self.draft.try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_obey_the_rules_of_the_builder() {
        for preset in [Schema::file_types(), Schema::network_events()] {
            let rebuilt = Schema::builder()
                .time(preset.time())
                .sample(preset.sample().unwrap())
                .dimensions(preset.dimensions())
                .blame(preset.blame())
                .build();
            assert_eq!(rebuilt.unwrap(), preset);
        }
    }

    #[test]
    fn a_field_has_one_role() {
        let error = Schema::builder().time("t").dimensions(["host"]).blame(["host"]).build().unwrap_err();
        assert_eq!(error.to_string(), r#"schema field: must have one role only, got "host""#);
        assert!(Schema::builder().time("t").dimensions([""]).build().is_err());
    }

    #[test]
    fn a_schema_from_a_file_is_checked() {
        let minimal: Schema = serde_json::from_str(r#"{"time": "t", "dimensions": ["host"]}"#).unwrap();
        assert_eq!(minimal, Schema::builder().time("t").dimensions(["host"]).build().unwrap());
        let stored = serde_json::to_string(&Schema::file_types()).unwrap();
        assert_eq!(serde_json::from_str::<Schema>(&stored).unwrap(), Schema::file_types());
        for (text, expected) in [
            (r#"{"dimensions": ["host"]}"#, "must be named"),
            (r#"{"time": "t", "dimensions": ["a", "a"]}"#, "must have one role only"),
            (r#"{"time": "t", "dimensions": ["a"], "blame": ["a"]}"#, "must have one role only"),
            (r#"{"time": "t", "dimensions": [""]}"#, "must not be empty"),
            (r#"{"time": "t", "dimension": ["a"]}"#, "unknown field"),
        ] {
            let error = serde_json::from_str::<Schema>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn statistics_are_asked_of_what_there_is() {
        let schema = || Schema::builder().time("t").blame(["user"]).measures(["bytes"]);
        let right = schema().quantiles(["bytes"]).moments_by("user", "bytes").build().unwrap();
        assert_eq!(right.quantiles().collect::<Vec<_>>(), [0]);
        assert_eq!(right.label_moments().collect::<Vec<_>>(), [(1, 0)]);
        for wrong in [
            schema().quantiles(["user"]),
            schema().quantiles(["bytes", "bytes"]),
            schema().moments_by("bytes", "user"),
            schema().moments_by("user", "bytes").moments_by("user", "bytes"),
        ] {
            let error = wrong.build().unwrap_err().to_string();
            assert!(error.starts_with("quantiles or moments by label: must be asked once"), "{error}");
        }
        assert!(right.check_same(&schema().build().unwrap()).is_err());
    }

    #[test]
    fn a_record_of_another_shape_is_refused() {
        let schema =
            Schema::builder().time("t").sample("s").dimensions(["d"]).measures(["m"]).build().unwrap();
        let time = crate::Timestamp::MIN;
        let right = Record::new(time, &["a"]).with_labels(&[Some("x")]).with_measures(&[Some(1.0)]);
        schema.check(&right).unwrap();
        schema.check(&right.with_measures(&[])).unwrap();
        for wrong in [
            Record::new(time, &["a", "b"]).with_labels(&[Some("x")]),
            right.with_labels(&[]),
            right.with_labels(&[Some("x"), Some("y")]),
            right.with_measures(&[Some(f64::NAN)]),
            right.with_measures(&[None, None]),
            right.with_weight(0),
        ] {
            let error = schema.check(&wrong).unwrap_err().to_string();
            assert!(error.starts_with("record: must have 1 dimensions, a sample,"), "{error}");
        }
    }

    #[test]
    fn reordered_roles_are_not_the_same() {
        let schema = |blame: [&str; 2]| Schema::builder().time("t").blame(blame).build().unwrap();
        let error = schema(["user", "origin"]).check_same(&schema(["origin", "user"])).unwrap_err();
        let expected = r#"blame fields: must be ["user", "origin"], those that were counted before"#;
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}
