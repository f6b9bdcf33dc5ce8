//! What people and programs get to see.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table};
use peak_core::{Key, Span, Tz, shown};
use peak_detectors::{Amendment, Blame, BlameShare, Found, Step};
use std::collections::BTreeMap;
use std::io::{self, Write};

/// The peaks as a table: when and what, how much, why, and who.
pub(crate) fn table<'a>(found: impl Iterator<Item = &'a Found>, zone: Tz) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(WIDTH_WITHOUT_TERMINAL);
    }
    table.set_header(["window", "key", "records / samples", "why", "top samples and senders"]);
    for peak in found {
        table.add_row([
            window(peak.span, zone),
            peak.key.values().map(cell).collect::<Vec<_>>().join("\n"),
            format!("{} / {}", peak.summary.records, peak.summary.distinct()),
            why(peak),
            who(peak),
        ]);
    }
    table
}

const WIDTH_WITHOUT_TERMINAL: u16 = 150;

/// The date of a whole day; else both ends.
fn window(span: Span, zone: Tz) -> String {
    let (start, end) = (span.start().local(zone), span.end().local(zone));
    let is_day = start.time() == end.time()
        && start.time() == chrono::NaiveTime::MIN
        && start.date().succ_opt() == Some(end.date());
    if is_day { start.date().to_string() } else { format!("{start}\nto {end}") }
}

/// Each piece of evidence on a line, the one that carried the verdict first.
fn why(peak: &Found) -> String {
    let lines = peak.explanation.to_string().replace("), ", ")\n").replace("; ", "\n");
    lines.lines().map(cell).collect::<Vec<_>>().join("\n")
}

/// The most frequent values of each field, with their shares, and what the first share usually is.
fn who(peak: &Found) -> String {
    let value = |share: &BlameShare<'_>| format!("{} {:.0}%", shortened(share.value), 100.0 * share.share);
    let field = |blame: Blame<'_>| {
        let name = blame.field.rsplit('.').next().unwrap_or(blame.field);
        let usual = blame
            .usual_top_share
            .map_or_else(String::new, |usual| format!(" (usually {:.0}%)", 100.0 * usual));
        let mut values = blame.top.iter().take(3).map(value);
        let first = values.next()?;
        let line =
            [format!("{name}: {first}{usual}")].into_iter().chain(values).collect::<Vec<_>>().join(", ");
        Some(cell(&line))
    };
    peak.blame().filter_map(field).collect::<Vec<_>>().join("\n")
}

/// Text as it may stand in a cell of a table: on one line, and no longer than one would read.
pub(crate) fn cell(text: &str) -> String {
    const LONGEST: usize = 200;
    let end = text.char_indices().nth(LONGEST).map(|(end, _)| end);
    let behind = if end.is_some() { "…" } else { "" };
    format!("{}{behind}", shown(&text[..end.unwrap_or(text.len())]))
}

/// Tells something on standard error, on one line. Whether anyone reads it makes no difference.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", shown(text));
}

/// A long label by its first characters.
fn shortened(label: &str) -> String {
    const LONGEST: usize = 16;
    if label.chars().count() <= LONGEST {
        label.to_owned()
    } else {
        label.chars().take(LONGEST - 4).chain("…".chars()).collect()
    }
}

/// The peaks as JSON, one object a line.
pub(crate) fn json_lines<'a>(out: &mut dyn Write, found: impl Iterator<Item = &'a Found>) -> io::Result<()> {
    for peak in found {
        serde_json::to_writer(&mut *out, peak)?;
        writeln!(out)?;
    }
    Ok(())
}

/// What late records changed: a line each, or JSON lines; what could not be taken in goes to standard error.
pub(crate) fn corrections(out: &mut dyn Write, amendment: &Amendment, json: bool) -> io::Result<()> {
    let Amendment { merged, too_late, too_early, corrections, .. } = amendment;
    for correction in corrections {
        if json {
            serde_json::to_writer(&mut *out, correction)?;
            writeln!(out)?;
            continue;
        }
        match (&correction.before, &correction.after) {
            (None, Some(found)) => writeln!(out, "{}", shown(&format!("correction: found now: {found}")))?,
            (Some(_), Some(found)) => writeln!(out, "{}", shown(&format!("correction: changed: {found}")))?,
            (_, None) => {
                let withdrawn = format!("correction: withdrawn: {} from {}", correction.key, correction.span);
                writeln!(out, "{}", shown(&withdrawn))?;
            }
        }
    }
    say(&format!(
        "{merged} late records taken in, {too_late} too late, {too_early} of windows to come, {} findings corrected",
        corrections.len()
    ));
    Ok(())
}

/// What was read and judged, in numbers.
pub(crate) fn summary(steps: &[Step]) -> String {
    let (judged, peaks) = steps.iter().fold((0, 0), |(j, p), step| (j + step.judged, p + step.found.len()));
    let mut refused: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, count) in steps.iter().flat_map(|step| &step.refused) {
        *refused.entry(reason).or_default() += count;
    }
    let refused: Vec<String> =
        refused.iter().map(|(reason, count)| format!("{count} not judged ({reason})")).collect();
    let sum = |count: fn(&Step) -> u64| Some(steps.iter().map(count).sum::<u64>()).filter(|&sum| sum > 0);
    let estimated = sum(|step| step.estimated);
    let estimated = estimated.map(|keys| format!("{keys} of them estimated, to keep to the memory"));
    let other = sum(|step| step.other);
    let other = other.map(|records| format!("{records} records counted as {}, for want of room", Key::OTHER));
    let report = steps.first().map(|step| step.report.to_string()).unwrap_or_default();
    let windows = steps.len();
    let judged = format!("{judged} keys judged in {windows} windows");
    let judged: Vec<String> = [judged].into_iter().chain(estimated).chain(other).chain(refused).collect();
    let judged = judged.join(", ");
    format!("{report}\n{judged}, {peaks} peaks")
}
