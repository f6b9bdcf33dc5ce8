//! Pictures: the history of each key with a peak, and what was expected of it.

use crate::show::cell;
use anyhow::{Result, anyhow};
use peak_core::{Key, LocalTable, Span, Tz, snapshot};
use peak_detectors::{Engine, Evidence, Found, Peak, Step};
use plotters::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One window of a key: what was seen and expected, and whether it was a peak.
struct Point {
    evidence: Evidence,
    is_peak: bool,
}

/// Draws one picture per key with a peak into the folder, under the key's name.
///
/// `engine` is the engine as it was before the windows; it goes through them again to learn what was expected
/// of each key at the time.
pub(crate) fn draw_all(
    folder: &Path,
    mut engine: Engine<Peak>,
    windows: Vec<LocalTable>,
    steps: &[Step],
    zone: Tz,
) -> Result<()> {
    let mut strangest: BTreeMap<&Key, &Found> = BTreeMap::new();
    for found in steps.iter().flat_map(|step| &step.found) {
        let kept = strangest.entry(&found.key).or_insert(found);
        if found.verdict.score > kept.verdict.score {
            *kept = found;
        }
    }
    let peaks: BTreeSet<(Span, &Key)> =
        steps.iter().flat_map(|step| &step.found).map(|peak| (peak.span, &peak.key)).collect();
    let mut histories: BTreeMap<&Key, Vec<Option<Point>>> =
        strangest.keys().map(|key| (*key, Vec::new())).collect();
    let mut spans = Vec::new();
    for window in windows {
        let (span, found) = (window.span(), window.finish());
        let explained = engine.explain(&found, strangest.keys().copied());
        for ((key, history), why) in histories.iter_mut().zip(explained) {
            let is_peak = peaks.contains(&(span, *key));
            let statistic = &strangest[*key].explanation.carried_by;
            let evidence =
                why.ok().and_then(|why| why.evidence.into_iter().find(|e| e.statistic == *statistic));
            history.push(evidence.map(|evidence| Point { evidence, is_peak }));
        }
        engine.take(found)?;
        spans.push(span);
    }
    std::fs::create_dir_all(folder)?;
    for (key, history) in histories {
        let title = format!("{}: {}", cell(&key.to_string()), strangest[key].explanation.carried_by);
        let picture = draw(&title, &spans, &history, zone)?;
        snapshot::write_atomically(&folder.join(name(key)), |file| file.write_all(picture.as_bytes()))?;
    }
    Ok(())
}

/// The name of a key's picture: what can be read of the key, and what tells it from others of which the same can be
/// read, also where letter case makes no difference. No file system has it too long.
fn name(key: &Key) -> String {
    const LONGEST: usize = 100;
    let readable = key.to_string();
    let fits = |(at, char): &(usize, char)| at + char.len_utf8() <= LONGEST;
    let readable = readable.char_indices().take_while(fits);
    let name: String = readable.map(|(_, c)| if c.is_alphanumeric() { c } else { '_' }).collect();
    // FNV-1a, 64 bits. No byte of UTF-8 is 0xff, which ends a value.
    let bytes = key.values().flat_map(|value| value.bytes().chain([0xff]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{name}-{hash:016x}.svg")
}

const SIZE: (u32, u32) = (960, 360);
const BAND: RGBColor = RGBColor(203, 222, 240);
const EXPECTED: RGBColor = RGBColor(90, 140, 190);
const ACTUAL: RGBColor = RGBColor(60, 60, 60);
const PEAK: RGBColor = RGBColor(200, 30, 30);

/// The statistic over time with the band in which it was expected, as SVG. Peaks are marked.
fn draw(title: &str, windows: &[Span], history: &[Option<Point>], zone: Tz) -> Result<String> {
    let points: Vec<(usize, &Point)> =
        history.iter().enumerate().filter_map(|(index, point)| Some((index, point.as_ref()?))).collect();
    let largest = points.iter().map(|(_, point)| point.evidence.actual).fold(1.0, f64::max);
    // A band far above everything that was seen would press the history flat.
    let ceiling = 1.15
        * points
            .iter()
            .filter_map(|(_, point)| point.evidence.upper)
            .fold(largest, f64::max)
            .min(2.0 * largest);
    let upper = |point: &Point| point.evidence.upper.unwrap_or(ceiling).min(ceiling);
    let lower = |point: &Point| point.evidence.lower.unwrap_or(0.0).max(0.0);
    let date = |index: &usize| {
        let start =
            windows.get(*index).map(|window| window.start().local(zone).format("%Y-%m-%d %H:%M").to_string());
        start.map_or_else(String::new, |start| start.trim_end_matches(" 00:00").to_owned())
    };

    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(30)
            .y_label_area_size(60)
            .build_cartesian_2d(0..history.len(), 0.0..ceiling)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(8)
            .x_label_formatter(&date)
            .draw()
            .map_err(failed)?;
        let up = points.iter().map(|(x, point)| (*x, upper(point)));
        let down = points.iter().rev().map(|(x, point)| (*x, lower(point)));
        chart
            .draw_series([Polygon::new(up.chain(down).collect::<Vec<_>>(), BAND.filled())])
            .map_err(failed)?
            .label("expected range")
            .legend(|(x, y)| Rectangle::new([(x, y - 5), (x + 18, y + 5)], BAND.filled()));
        let expected = points.iter().filter_map(|(x, point)| Some((*x, point.evidence.expected?)));
        chart
            .draw_series(LineSeries::new(expected, EXPECTED.stroke_width(1)))
            .map_err(failed)?
            .label("typical")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], EXPECTED));
        chart
            .draw_series(LineSeries::new(
                points.iter().map(|(x, point)| (*x, point.evidence.actual)),
                ACTUAL.stroke_width(2),
            ))
            .map_err(failed)?
            .label("seen")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], ACTUAL.stroke_width(2)));
        let peaks = points.iter().filter(|(_, point)| point.is_peak);
        chart
            .draw_series(peaks.map(|(x, point)| Circle::new((*x, point.evidence.actual), 5, PEAK.filled())))
            .map_err(failed)?
            .label("peak")
            .legend(|(x, y)| Circle::new((x + 9, y), 5, PEAK.filled()));
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .label_font(("sans-serif", 13))
            .draw()
            .map_err(failed)?;
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the picture cannot be drawn: {error}")
}
