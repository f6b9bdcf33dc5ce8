//! A small feed, always the same.

use peak_core::{LocalTable, Record, Schema, Span, Timestamp};
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn schema() -> Arc<Schema> {
    let schema = Schema::builder().time("t").sample("s").dimensions(["host"]).blame(["user"]).measures(["m"]);
    Arc::new(schema.quantiles(["m"]).moments_by("user", "m").build().expect("a schema"))
}

pub(crate) fn day(day: u32) -> Span {
    let start = Timestamp::MIN.saturating_add(Duration::from_secs(86_400) * (19_000 + day));
    Span::new(start, start.saturating_add(Duration::from_secs(86_400))).expect("a day")
}

/// Hands on the records of a day: so many of two hosts, which repeat some samples.
pub(crate) fn records(window: Span, count: u64, visit: &mut dyn FnMut(&Record<'_>)) {
    for i in 0..count {
        let random = peak_core::stable_hash(i, &window.start().millis().to_le_bytes());
        let time = window.start().saturating_add(Duration::from_millis(random % 86_400_000));
        let host = ["web-1", "db-1"][usize::from(random % 7 == 0)];
        let sample = format!("sample {:020}", random / 7 % (3 + count / 2));
        let user = ["ann", "bob", "a user whose name is longer than most"][(random / 99 % 3) as usize];
        let measure = if random % 5 == 0 { None } else { Some((random % 1_000) as f64 / 7.0) };
        let labels = [Some(&sample[..]), (random % 11 > 0).then_some(user)];
        visit(
            &Record::new(time, &[host])
                .with_labels(&labels)
                .with_measures(&[measure])
                .with_weight(1 + random % 2),
        );
    }
}

pub(crate) fn table(window: Span, count: u64) -> LocalTable {
    let mut table = LocalTable::new(schema(), window);
    records(window, count, &mut |record| assert!(table.add(record).expect("a record")));
    table
}
