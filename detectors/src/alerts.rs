//! What people are told.

mod incident;

pub use incident::{EndReason, Incident, Incidents, News};
