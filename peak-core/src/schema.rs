//! Which field of a source plays which role.

use crate::{Error, Result, TimeUnit};
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
pub struct Schema {
    time: String,
    time_unit: TimeUnit,
    sample: Option<String>,
    dimensions: Vec<String>,
    blame: Vec<String>,
    measures: Vec<String>,
}

impl Schema {
    /// Starts a schema without fields.
    #[must_use]
    pub fn builder() -> SchemaBuilder {
        let draft = Schema {
            time: String::new(),
            time_unit: TimeUnit::default(),
            sample: None,
            dimensions: Vec::new(),
            blame: Vec::new(),
            measures: Vec::new(),
        };
        SchemaBuilder { draft }
    }

    /// Preset for file submissions: severity × file type, file hashes as samples, blamed on the
    /// submitting user and the origin.
    #[must_use]
    pub fn file_types() -> Self {
        Schema {
            time: "utc_timestamp".into(),
            time_unit: TimeUnit::Milliseconds,
            sample: Some("file.sha1".into()),
            dimensions: vec!["task.severity".into(), "file.llfile_type".into()],
            blame: vec!["source.user_id".into(), "source.origin".into()],
            measures: vec![],
        }
    }

    /// Preset for network events: impact × threat, event ids as samples, blamed on the user.
    #[must_use]
    pub fn network_events() -> Self {
        Schema {
            time: "utc_timestamp".into(),
            time_unit: TimeUnit::Milliseconds,
            sample: Some("event.id".into()),
            dimensions: vec!["event.impact".into(), "threat.name.keyword".into()],
            blame: vec!["source.user_id".into()],
            measures: vec![],
        }
    }

    /// The field that holds the time.
    #[must_use]
    pub fn time(&self) -> &str {
        &self.time
    }

    /// The unit of times that are written as numbers.
    #[must_use]
    pub fn time_unit(&self) -> TimeUnit {
        self.time_unit
    }

    /// The field that names the sample, when samples are counted.
    #[must_use]
    pub fn sample(&self) -> Option<&str> {
        self.sample.as_deref()
    }

    /// The fields whose values make the key.
    #[must_use]
    pub fn dimensions(&self) -> &[String] {
        &self.dimensions
    }

    /// The fields that say who or what sent a record.
    #[must_use]
    pub fn blame(&self) -> &[String] {
        &self.blame
    }

    /// The numeric fields.
    #[must_use]
    pub fn measures(&self) -> &[String] {
        &self.measures
    }

    /// All fields, in the order time, sample, dimensions, blame, measures.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        let lists = self.dimensions.iter().chain(&self.blame).chain(&self.measures);
        std::iter::once(&self.time).chain(&self.sample).chain(lists).map(String::as_str)
    }
}

/// Collects the fields of a [`Schema`].
#[derive(Debug, Clone)]
pub struct SchemaBuilder {
    /// Not a valid schema before it is built.
    draft: Schema,
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

    /// The schema.
    ///
    /// # Errors
    /// When the time field is missing, a name is empty, or a field is named twice.
    pub fn build(self) -> Result<Schema> {
        let schema = self.draft;
        if schema.time.is_empty() {
            return Err(Error::invalid(r#"schema field "time""#, "must be named", schema.time));
        }
        let mut fields: Vec<&str> = schema.fields().collect();
        fields.sort_unstable();
        if let Some(twice) = fields.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::invalid("schema field", "must have one role only", twice[0]));
        }
        if fields.first().is_some_and(|field| field.is_empty()) {
            return Err(Error::invalid("schema field", "must not be empty", ""));
        }
        Ok(schema)
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
}
