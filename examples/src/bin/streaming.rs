//! A live feed of one series on standard input, and incidents as they happen.
//!
//! ```sh
//! cargo run --release -p peak-examples --bin streaming -- --svg series.svg < series.csv
//! ```
//!
//! A line is a time and a value, with a comma or a blank between; times are RFC 3339 or milliseconds. A
//! line that cannot be read is told with its number and left out.

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use peak_core::{Timestamp, Tz};
use peak_detectors::series::Seasonality;
use peak_detectors::{Detector, Incidents, News, NormalRange, Point, SigmaEnsemble};
use plotters::prelude::*;
use std::io::BufRead;
use std::path::{Path, PathBuf};

#[derive(Parser)]
#[command(about = "Incidents of one series on standard input")]
struct Arguments {
    /// Points a window holds
    #[arg(long, default_value_t = SigmaEnsemble::WINDOW)]
    window: usize,
    /// Takes a daily and weekly season off, by the wall clock of this time zone
    #[arg(long)]
    season: Option<Tz>,
    /// Draws the series with its bounds and incidents into this file
    #[arg(long)]
    svg: Option<PathBuf>,
}

/// A point, what was normal before it, and whether it was anomalous.
struct Seen {
    point: Point,
    normal: Option<NormalRange>,
    anomalous: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut ensemble = SigmaEnsemble::default().with_window(arguments.window)?;
    if let Some(zone) = arguments.season {
        ensemble = ensemble.with_seasonality(Seasonality::Weekly(zone));
    }
    let (mut incidents, mut seen) = (Incidents::default(), Vec::new());
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line.context("standard input")?;
        let point = match read(&line) {
            Ok(point) => point,
            Err(error) => {
                eprintln!("line {}: {error}", number + 1);
                continue;
            }
        };
        // The clock of a recording is its own: silence shows when the next point comes.
        for news in std::iter::from_fn(|| incidents.tick(point.time)) {
            println!("{} {news}", point.time);
        }
        let normal = ensemble.normal_range();
        let judged = ensemble.step(&point);
        let anomalous = judged.is_ok_and(|verdict| verdict.anomalous);
        // Of a counter, what was judged is its rate.
        let seen_as = ensemble.feed().as_judged(&point);
        for news in incidents.observe(&seen_as, judged, normal) {
            if !matches!(news, News::Continued(_)) {
                println!("{} {news}", point.time);
            }
        }
        if arguments.svg.is_some() {
            seen.push(Seen { point: seen_as, normal, anomalous });
        }
    }
    if let Some(incident) = incidents.open() {
        println!("{} still open: {}", incident.last.time, News::Continued(*incident));
    }
    match arguments.svg {
        Some(path) => draw(&path, &seen),
        None => Ok(()),
    }
}

fn read(line: &str) -> Result<Point> {
    let (time, value) = line
        .trim()
        .split_once([',', ' '])
        .ok_or_else(|| anyhow!("must be a time and a value, got {line:?}"))?;
    let value = value.trim().parse().map_err(|_| anyhow!("value: must be a number, got {value:?}"))?;
    Ok(Point::new(Timestamp::parse(time.trim())?, value))
}

const SIZE: (u32, u32) = (960, 360);
const BAND: RGBColor = RGBColor(203, 222, 240);
const ACTUAL: RGBColor = RGBColor(60, 60, 60);
const ANOMALOUS: RGBColor = RGBColor(200, 30, 30);

/// The series over time, the band in which it was normal, and the anomalous points.
fn draw(path: &Path, seen: &[Seen]) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| anyhow!("the picture cannot be drawn: {error}");
    let millis = |seen: &Seen| seen.point.time.millis();
    let (Some(first), Some(last)) = (seen.first(), seen.last()) else {
        return Err(failed(&"there is no point"));
    };
    let values = || seen.iter().map(|seen| seen.point.value).filter(|value| value.is_finite());
    let (least, greatest) =
        (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    // Bounds far beyond everything that was seen would press the series flat.
    let room = (0.15 * (greatest - least)).max(1e-9 * greatest.abs()).max(1e-9);
    let (floor, ceiling) = (least - room, greatest + room);
    let date = |time: &i64| {
        Timestamp::from_millis(*time)
            .map_or_else(|_| String::new(), |time| time.to_string()[..16].replace('T', " "))
    };
    let svg = SVGBackend::new(path, SIZE).into_drawing_area();
    svg.fill(&WHITE).map_err(|error| failed(&error))?;
    let mut chart = ChartBuilder::on(&svg)
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(millis(first)..millis(last).max(millis(first) + 1), floor..ceiling)
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(6)
        .x_label_formatter(&date)
        .draw()
        .map_err(|error| failed(&error))?;
    let band = |side: fn(NormalRange) -> f64| {
        seen.iter().filter_map(move |seen| Some((millis(seen), side(seen.normal?).clamp(floor, ceiling))))
    };
    let outline: Vec<(i64, f64)> = band(|normal| normal.upper)
        .chain(band(|normal| normal.lower).collect::<Vec<_>>().into_iter().rev())
        .collect();
    chart
        .draw_series([Polygon::new(outline, BAND.filled())])
        .map_err(|error| failed(&error))?
        .label("normal range")
        .legend(|(x, y)| Rectangle::new([(x, y - 5), (x + 18, y + 5)], BAND.filled()));
    let points = seen.iter().filter(|seen| seen.point.value.is_finite());
    chart
        .draw_series(LineSeries::new(
            points.map(|seen| (millis(seen), seen.point.value)),
            ACTUAL.stroke_width(1),
        ))
        .map_err(|error| failed(&error))?
        .label("seen")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], ACTUAL));
    let anomalous = seen.iter().filter(|seen| seen.anomalous);
    chart
        .draw_series(
            anomalous.map(|seen| Circle::new((millis(seen), seen.point.value), 4, ANOMALOUS.filled())),
        )
        .map_err(|error| failed(&error))?
        .label("anomalous")
        .legend(|(x, y)| Circle::new((x + 9, y), 4, ANOMALOUS.filled()));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 13))
        .draw()
        .map_err(|error| failed(&error))?;
    svg.present().map_err(|error| failed(&error))
}
