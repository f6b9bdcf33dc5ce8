//! Picks the fields of a schema out of a JSON object.

use hashbrown::HashMap;
use peak_core::read::Value;
use peak_core::{Rule, RuleKind, Schema};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::fmt;

/// The paths of a schema's fields, as a tree: each object that may hold wanted fields is a node.
///
/// A key with dots is a path of several steps, so from the root `a`, `a.b` and `a.b.c` all lead
/// towards the field `a.b.c`.
#[derive(Debug, Clone)]
pub(crate) struct Fields {
    nodes: Vec<Node>,
    count: usize,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// The field that has this path.
    field: Option<usize>,
    /// The nodes that keys lead to.
    keys: HashMap<Box<str>, usize>,
}

/// The values of all fields of one record, as they stand in the source.
pub(crate) struct Found<'a> {
    values: SmallVec<[Option<&'a str>; 16]>,
    /// The first field that was given again, and its other value.
    pub(crate) twice: Option<(usize, &'a str)>,
}

impl Fields {
    /// The node of a record as a whole.
    pub(crate) const ROOT: usize = 0;

    pub(crate) fn new(schema: &Schema) -> Self {
        let mut fields = Fields { nodes: vec![Node::default()], count: 0 };
        for path in schema.fields() {
            fields.add(path);
        }
        fields
    }

    fn add(&mut self, path: &str) {
        // The steps so far: the node, and where in the path its own keys begin.
        let mut passed: Vec<(usize, usize)> = vec![(Self::ROOT, 0)];
        let ends = path.match_indices('.').map(|(dot, _)| dot).chain([path.len()]);
        for end in ends {
            let (parent, begin) = passed[passed.len() - 1];
            let node = match self.nodes[parent].keys.get(&path[begin..end]) {
                Some(&node) => node,
                None => {
                    self.nodes.push(Node::default());
                    self.nodes.len() - 1
                }
            };
            for &(ancestor, begin) in &passed {
                self.nodes[ancestor].keys.insert(path[begin..end].into(), node);
            }
            passed.push((node, end + 1));
        }
        let (node, _) = passed[passed.len() - 1];
        self.nodes[node].field = Some(self.count);
        self.count += 1;
    }

    /// How many fields there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The node that a key leads to from another.
    pub(crate) fn step(&self, node: usize, key: &str) -> Option<usize> {
        self.nodes[node].keys.get(key).copied()
    }

    /// The field at a node; without one there are others behind it.
    pub(crate) fn field(&self, node: usize) -> Option<usize> {
        self.nodes[node].field
    }

    /// The values of the fields in an object.
    pub(crate) fn find<'a>(&self, object: &'a str) -> serde_json::Result<Found<'a>> {
        let mut found = Found { values: SmallVec::from_elem(None, self.count), twice: None };
        let mut deserializer = serde_json::Deserializer::from_str(object);
        Object { fields: self, node: &self.nodes[Self::ROOT], found: &mut found }
            .deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(found)
    }
}

impl<'a> Found<'a> {
    /// The value of a field by its place in the schema.
    pub(crate) fn value(&self, field: usize) -> Json<'a> {
        self.values[field].map_or(Json::Nothing, Json::Source)
    }

    fn put(&mut self, field: usize, value: &'a str) {
        if self.values[field].replace(value).is_some() {
            self.twice.get_or_insert((field, value));
        }
    }
}

/// Looks for fields in the value that is deserialized next.
struct Object<'f, 'a> {
    fields: &'f Fields,
    node: &'f Node,
    found: &'f mut Found<'a>,
}

impl<'de> DeserializeSeed<'de> for Object<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Only an object holds fields; anything else in its place is passed over.
impl<'de> Visitor<'de> for Object<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Object { fields, node, found } = self;
        while let Some(next) = map.next_key_seed(Key(node))? {
            match next.map(|next| &fields.nodes[next]) {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some(&Node { field: Some(field), .. }) => {
                    found.put(field, map.next_value::<&RawValue>()?.get());
                }
                Some(node) => map.next_value_seed(Object { fields, node, found })?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        IgnoredAny.visit_seq(seq).map(drop)
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Reads a key: the node it leads to from this one.
struct Key<'f>(&'f Node);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.keys.get(key).copied())
    }
}

/// A value of a record.
pub(crate) enum Json<'a> {
    /// There is none.
    Nothing,
    /// As it stands in the source, quotes included.
    Source(&'a str),
    /// The inside of a string without escapes.
    Plain(&'a str),
}

impl<'a> Value<'a> for Json<'a> {
    fn is_absent(&self) -> bool {
        matches!(self, Json::Nothing | Json::Source("null"))
    }

    fn source(&self) -> Cow<'a, str> {
        match *self {
            Json::Nothing => "nothing".into(),
            Json::Source(source) => source.into(),
            Json::Plain(text) => format!("\"{text}\"").into(),
        }
    }

    fn plain(&self) -> Option<&'a str> {
        match *self {
            Json::Plain(text) => Some(text),
            Json::Source(source) if matches!(source.as_bytes(), [b'-' | b'0'..=b'9' | b't' | b'f', ..]) => {
                Some(source)
            }
            _ => None,
        }
    }

    /// Numbers and booleans as they are written, so that 1.50 stays 1.50 and no digit is lost.
    fn text(&self) -> Result<Cow<'a, str>, Rule> {
        let source = match *self {
            Json::Nothing => "",
            Json::Source(source) => source,
            Json::Plain(text) => return Ok(text.into()),
        };
        match source.as_bytes() {
            [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => Ok(source[1..source.len() - 1].into()),
            [b'"', ..] => serde_json::from_str(source).map(Cow::Owned).map_err(|error| {
                Rule::new(RuleKind::Syntax, format!("must be valid JSON: {error} of the value"))
            }),
            [b'-' | b'0'..=b'9' | b't' | b'f', ..] => Ok(source.into()),
            _ => Err(Rule::new(RuleKind::NotText, "must be a string, a number or a boolean")),
        }
    }
}
