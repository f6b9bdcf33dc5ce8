//! A backend of one's own: access-log lines in memory become a source of records.
//!
//! ```text
//! cargo run --release -p peak-examples --bin own_backend
//! ```
//!
//! A [`Source`] needs a schema and `scan`; everything else follows. Its test is one line:
//! `peak_core::testing::check_source(&source)`.

use peak_core::{
    Intake, Place, Position, Record, Rejection, Report, Result, Rule, Schema, Source, Span, Timestamp, Tz,
};
use peak_detectors::{Classic, Engine, Peak};
use std::ops::ControlFlow;

/// Lines of `TIME STATUS PATH CLIENT`: the paths requested, by status, blamed on the client.
struct AccessLog {
    schema: Schema,
    lines: Vec<String>,
}

impl AccessLog {
    fn new(lines: Vec<String>) -> Result<Self> {
        let schema =
            Schema::builder().time("time").sample("path").dimensions(["status"]).blame(["client"]).build()?;
        Ok(AccessLog { schema, lines })
    }

    /// The fields of a line, or which of them breaks which rule.
    fn read(line: &str) -> Result<(Timestamp, [&str; 3]), (&'static str, Rule)> {
        let mut cells = line.split_whitespace();
        let mut cell = |field| cells.next().ok_or_else(|| (field, Rule::present()));
        let time = Timestamp::parse(cell("time")?).map_err(|_| ("time", Rule::time()))?;
        Ok((time, [cell("status")?, cell("path")?, cell("client")?]))
    }
}

impl Source for AccessLog {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>) -> Result<Report> {
        let mut intake = Intake::new(span);
        for (number, line) in (1..).zip(&self.lines) {
            let (time, [status, path, client]) = Self::read(line).map_err(|(field, rule)| {
                let position = Position::new("access log", Place::Line { record: number, line: number });
                Rejection::new(position, Some(field), rule, line)
            })?;
            let (dimensions, labels) = ([status], [Some(path), Some(client)]);
            let record = Record::new(time, &dimensions).with_labels(&labels);
            if intake.offer(&record, visit).is_break() {
                break;
            }
        }
        intake.finish()
    }
}

/// Two quiet hours; in the third, one client asks for one missing page again and again.
fn log() -> Vec<String> {
    let request = |minute: u32, status, path: String, client: u32| {
        format!("2024-01-01T{:02}:{:02}:00Z {status} {path} 10.0.0.{client}", minute / 60, minute % 60)
    };
    let visits =
        (0..180).map(|minute| request(minute, 200, format!("/article/{}", minute % 37), minute % 11));
    let missing =
        (0..180).step_by(5).map(|minute| request(minute, 404, format!("/old/{minute}"), minute % 7));
    let probing = (120..180).map(|minute| request(minute, 404, "/wp-login.php".to_owned(), 66));
    visits.chain(missing).chain(probing).collect()
}

fn main() -> Result<()> {
    let log = AccessLog::new(log())?;
    let midnight = Timestamp::parse("2024-01-01")?;
    let hour = |hour: i64| Timestamp::from_millis(midnight.millis() + hour * 3_600_000);

    let mut engine = Engine::new(Peak::classic(Classic::new(log.schema(), Tz::UTC)));
    for i in 0..3 {
        for found in engine.step(&log, Span::new(hour(i)?, hour(i + 1)?)?)? {
            println!("{found}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_a_faithful_source() {
        peak_core::testing::check_source(&AccessLog::new(log()).unwrap()).unwrap();
    }

    #[test]
    fn a_bad_line_is_named() {
        let log = AccessLog::new(vec!["2024-01-01T00:00:00Z 200".into()]).unwrap();
        let error = log.scan(Span::ALWAYS, &mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
        let expected =
            r#"access log: record 1 (line 1): field "path" must be present, got 2024-01-01T00:00:00Z 200"#;
        assert_eq!(error, expected);
    }
}
