//! Parity with telemetry-peak-analyzer: every recorded run is repeated and compared.
//!
//! The recordings are `DIR/peak/*/params.json`: always those in `examples/data/parity`, and those below
//! `PEAK_GOLDEN`, or `PEAK_SHARED/golden` where that is set. Everything is compared exactly, files byte for
//! byte; only the standard deviation may differ by one unit in the last place, since the original rounds
//! twice.

mod sigma;

use chrono::{NaiveDateTime, TimeDelta};
use libtest_mimic::{Arguments, Failed, Trial};
use peak_core::{Key, LocalTable, Schema, Source, Span, Summary, Timestamp, Tz};
use peak_detectors::classic::{Assessment, DayStatistics, Row, Weights};
use peak_detectors::{Classic, Engine, Observation, Peak, PeakRule};
use peak_json::JsonFiles;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let mut folders = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/data/parity"))];
    let shared = std::env::var_os("PEAK_SHARED").map(|shared| PathBuf::from(shared).join("golden"));
    match std::env::var_os("PEAK_GOLDEN").map(PathBuf::from).or(shared) {
        Some(folder) => folders.push(folder),
        None => eprintln!("SKIPPED: the large recordings; neither PEAK_GOLDEN nor PEAK_SHARED is set"),
    }
    let trials = folders.iter().flat_map(|folder| {
        let cases = cases(folder);
        assert!(!cases.is_empty(), "no recording matches {}/peak/*/params.json", folder.display());
        cases
    });
    let trials = trials.map(|case| {
        let name = format!("peak/{}", case.file_name().unwrap_or_default().to_string_lossy());
        Trial::test(name, move || repeat(&case).map_err(Failed::from))
    });
    let series = folders.iter().flat_map(|folder| {
        let files = glob::glob(&folder.join("sigma/*.json").to_string_lossy()).expect("a pattern");
        files.map(|file| file.expect("a readable folder"))
    });
    let series = series.map(|case| {
        let name = format!("sigma/{}", case.file_stem().unwrap_or_default().to_string_lossy());
        Trial::test(name, move || sigma::repeat(&case).map_err(Failed::from))
    });
    libtest_mimic::run(&Arguments::from_args(), trials.chain(series).collect()).exit_code()
}

fn cases(folder: &Path) -> Vec<PathBuf> {
    let pattern = folder.join("peak/*/params.json");
    let files = glob::glob(&pattern.to_string_lossy()).expect("a pattern");
    files.map(|file| file.expect("a readable folder").parent().expect("a folder").to_owned()).collect()
}

#[derive(Deserialize)]
struct Params {
    input_glob: String,
    tz: Tz,
    weights: OriginalWeights,
    global_table_age_days: i64,
    runs: Vec<Run>,
    stats_calls: Vec<StatsCall>,
    index: [String; 2],
    dimensions: Vec<String>,
    cross_dimensions: Vec<String>,
    dimension_thresholds: BTreeMap<String, BTreeMap<String, u64>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct OriginalWeights {
    local_min_count: u64,
    peak_global_count_weight: f64,
    peak_min_samp_sub_ratio: f64,
}

#[derive(Deserialize)]
struct Run {
    start: NaiveDateTime,
    end: NaiveDateTime,
    threshold: Option<i64>,
    gst: String,
    now: NaiveDateTime,
}

#[derive(Deserialize)]
struct StatsCall {
    start: NaiveDateTime,
    end: NaiveDateTime,
}

type Outcome<T = ()> = Result<T, String>;

/// Repeats one recorded case and compares everything that was recorded.
fn repeat(case: &Path) -> Outcome {
    let params: Params = serde_json::from_value(read_json(&case.join("params.json"))?).map_err(text)?;
    let expected = read_json(&case.join("expected.json"))?;
    let schema = schema(&params)?;
    let feed =
        JsonFiles::glob(&case.join(&params.input_glob).to_string_lossy(), schema.clone()).map_err(text)?;
    let rule = rule(&params, &schema)?;

    for (i, run) in params.runs.iter().enumerate() {
        let expected = &expected["runs"][i];
        repeat_run(case, i + 1, run, &params, rule.clone(), &feed, expected)
            .map_err(|e| format!("run {}: {e}", i + 1))?;
    }
    for (i, call) in params.stats_calls.iter().enumerate() {
        let (days, _) = rule.whole_days(&feed, call.start, call.end).map_err(text)?;
        let statistics = DayStatistics::of(&days).map_err(text)?;
        same("statistics", &nested(&statistics, statistics_json), &expected["stats_calls"][i]["result"])?;
    }
    Ok(())
}

fn repeat_run(
    case: &Path,
    number: usize,
    run: &Run,
    params: &Params,
    rule: Classic,
    feed: &JsonFiles,
    expected: &Value,
) -> Outcome {
    let mut rule = rule.with_threshold(run.threshold);
    match run.gst.as_str() {
        "backend" => start_history(&mut rule, run, params, feed, expected)?,
        "previous" => import(&mut rule, &case.join(format!("gst_after_run{}.json", number - 1)))?,
        file => import(&mut rule, &case.join(file))?,
    }
    same("rows before", &nested(rule.rows().iter(), row_json), &without_empty(&expected["global_tables"]))?;

    let at = |local| Timestamp::from_local(local, params.tz);
    let window = Span::new(at(run.start), at(run.end)).map_err(text)?;
    let mut local = LocalTable::new(Arc::new(feed.schema().clone()), window);
    feed.scan(window, &mut |record| {
        assert!(local.add(record).is_ok_and(|is_counted| is_counted));
        ControlFlow::Continue(())
    })
    .map_err(text)?;
    let (rows, recorded) = (group_by(feed, window)?, recorded_rows(&expected["group_by"], feed.schema()));
    if rows != recorded {
        return Err(format!("records by sender and sample: ours {rows:?}\nexpected {recorded:?}"));
    }
    same_within_std("local statistics", &local_json(&local), &expected["local_tables_stats"])?;

    let found = local.finish();
    let assessed: Vec<(&Key, Option<Assessment>)> =
        found.iter().map(|(key, summary)| (key, assess(&rule, window, key, summary))).collect();
    let decisions = assessed.iter().map(|(key, assessment)| (*key, assessment.as_ref()));
    same("decisions", &nested(decisions, decision_json), &expected["decisions"])?;
    let peaks: BTreeMap<&Key, &Assessment> =
        assessed.iter().filter_map(|(key, a)| Some((*key, a.as_ref().filter(|a| a.is_peak())?))).collect();
    same_within_std("peaks", &nested(peaks.clone(), peak_json), &expected["peaks"])?;

    // The engine reaches the same peaks and the same rows on its own.
    let mut engine = Engine::new(Peak::classic(rule));
    let step = engine.step(feed, window).map_err(text)?;
    let mut by_engine: Vec<&Key> = step.found.iter().map(|found| &found.key).collect();
    by_engine.sort();
    if !by_engine.iter().eq(peaks.keys()) {
        return Err(format!("the engine found {by_engine:?}, expected {:?}", peaks.keys()));
    }
    let PeakRule::Classic(rule) = engine.detector().rule() else { return Err("another rule".into()) };
    same(
        "refreshed rows",
        &nested(rule.rows().iter(), row_json),
        &without_empty(&expected["refreshed_global_tables"]),
    )?;

    let mut written = Vec::new();
    rule.export(&mut written).map_err(text)?;
    same_bytes(&written, &case.join(format!("gst_after_run{number}.json")))?;
    let mut written = Vec::new();
    Classic::export_peaks(peaks, &mut written).map_err(text)?;
    same_peaks_file(&written, &case.join(format!("peaks_run{number}.json")))
}

/// The first run without a file: history from the days before `now`, in the backend.
fn start_history(
    rule: &mut Classic,
    run: &Run,
    params: &Params,
    feed: &JsonFiles,
    expected: &Value,
) -> Outcome {
    let start = run.now - TimeDelta::days(params.global_table_age_days);
    let (days, _) = rule.whole_days(feed, start, run.now).map_err(text)?;
    let statistics = DayStatistics::of(&days).map_err(text)?;
    same("statistics of the backend", &nested(&statistics, statistics_json), &expected["backend_stats"])?;
    rule.learn_days(feed, start, run.now).map_err(text)?;
    Ok(())
}

fn import(rule: &mut Classic, path: &Path) -> Outcome {
    let mut file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    rule.import(&mut file, &path.display().to_string()).map_err(text)
}

fn schema(params: &Params) -> Outcome<Schema> {
    let [time, sample] = params.index.clone();
    let builder = Schema::builder().time(time).sample(sample);
    builder.dimensions(params.dimensions.clone()).blame(params.cross_dimensions.clone()).build().map_err(text)
}

fn rule(params: &Params, schema: &Schema) -> Outcome<Classic> {
    let OriginalWeights { local_min_count, peak_global_count_weight, peak_min_samp_sub_ratio } =
        params.weights;
    let weights =
        Weights::new(local_min_count, peak_global_count_weight, peak_min_samp_sub_ratio).map_err(text)?;
    let mut rule = Classic::new(schema, params.tz).with_weights(weights);
    for (dimension, floors) in &params.dimension_thresholds {
        for (value, &records) in floors {
            rule = rule.with_floor(dimension, value, records).map_err(text)?;
        }
    }
    Ok(rule)
}

fn assess(rule: &Classic, span: Span, key: &Key, summary: &Summary) -> Option<Assessment> {
    rule.assess(&Observation::new(key, span, summary, &peak_core::Baseline::default())).ok()
}

/// A map by key as the nested objects of the recordings.
fn nested<'a, T>(map: impl IntoIterator<Item = (&'a Key, T)>, json: impl Fn(T) -> Value) -> Value {
    let mut root = Map::new();
    for (key, content) in map {
        let values: Vec<&str> = key.values().collect();
        let (last, path) = values.split_last().expect("a key has values");
        let mut level = &mut root;
        for value in path {
            let entry = level.entry(*value).or_insert_with(|| Value::Object(Map::new()));
            level = entry.as_object_mut().expect("an object");
        }
        level.insert((*last).to_owned(), json(content));
    }
    Value::Object(root)
}

fn statistics_json(days: &DayStatistics) -> Value {
    json!({
        "sub_count_avg": days.records_mean, "sub_count_max": days.records_max, "samp_count_avg": days.samples_mean,
        "samp_count_max": days.samples_max, "samp_sub_count_max": days.records_per_sample_max,
    })
}

fn row_json(row: &Row) -> Value {
    // Python writes no fraction, or six digits of it.
    let time = |time: NaiveDateTime| match time.and_utc().timestamp_subsec_micros() {
        0 => time.format("%Y-%m-%d %H:%M:%S").to_string(),
        _ => time.format("%Y-%m-%d %H:%M:%S%.6f").to_string(),
    };
    json!({
        "start_ts": time(row.start), "end_ts": time(row.end), "window_count": row.window_count,
        "sub_count_avg": row.records_avg, "sub_count_max": row.records_max,
        "samp_count_avg": row.samples_avg, "samp_count_max": row.samples_max,
        "samp_sub_count_avg": row.records_per_sample_avg, "samp_sub_count_max": row.records_per_sample_max,
        "threshold_suggested": row.threshold,
    })
}

fn decision_json(assessment: Option<&Assessment>) -> Value {
    match assessment {
        None => json!({ "has_gst": false }),
        Some(a) => json!({
            "has_gst": true, "sub_count_ge_threshold": a.reaches_threshold,
            "c1_mean_gt_weighted_global_max": a.mean_exceeds_global, "c2_ratio_gt_min": a.share_exceeds_least,
            "c3_max_gt_mean_plus_std": a.max_exceeds_spread, "peak": a.is_peak(),
        }),
    }
}

fn peak_json(a: &Assessment) -> Value {
    json!({
        "sub_count": a.records, "samp_count": a.samples, "samp_sub_count_max": a.max, "samp_sub_count_mean": a.mean,
        "samp_sub_count_std": a.std, "samp_sub_ratio": a.share, "global_samp_sub_count_max": a.global_max,
        "global_threshold_suggested": a.threshold,
    })
}

/// The local statistics that do not depend on the rule, and the senders' counts.
fn local_json(local: &LocalTable) -> Value {
    let json = |(key, summary): (&Key, &Summary)| {
        let tally = local.get(key).expect("a tally");
        let senders = local.schema().blame().iter().zip(tally.labels().skip(1));
        let counts = senders.map(|(field, counts)| {
            (field.clone(), counts.iter().map(|(v, n)| (v.to_owned(), json!(n))).collect())
        });
        json!({
            "sub_count": summary.records, "samp_count": summary.distinct(),
            "samp_sub_count_max": summary.samples().max(), "samp_sub_count_std": summary.samples().std().unwrap_or(0.0),
            "cross_stats": counts.collect::<Map<String, Value>>(),
        })
    };
    nested(local.finish().iter().map(|row| (row.0, row)), json)
}

type Rows = BTreeMap<Vec<String>, u64>;

/// The finest grouping: records by dimensions, senders and sample.
fn group_by(feed: &JsonFiles, window: Span) -> Outcome<Rows> {
    let mut rows = Rows::new();
    feed.scan(window, &mut |record| {
        let (sample, senders) = record.labels.split_first().expect("a sample");
        let senders = senders.iter().map(|value| value.unwrap_or("null"));
        let row = record.dimensions.iter().copied().chain(senders).chain(*sample);
        *rows.entry(row.map(str::to_owned).collect()).or_default() += 1;
        ControlFlow::Continue(())
    })
    .map_err(text)?;
    Ok(rows)
}

/// The recorded grouping, the fields in our order.
fn recorded_rows(group_by: &Value, schema: &Schema) -> Rows {
    let fields: Vec<&String> = schema.dimensions().iter().chain(schema.blame()).collect();
    let fields = || fields.iter().map(|field| field.as_str()).chain(schema.sample());
    let value =
        |row: &Value, field: &str| row[field].as_str().map_or_else(|| row[field].to_string(), str::to_owned);
    let row =
        |row: &Value| (fields().map(|field| value(row, field)).collect(), row["count"].as_u64().unwrap_or(0));
    group_by["rows"].as_array().into_iter().flatten().map(row).collect()
}

/// Without first dimension values that have no rows: they vanish when the original saves.
fn without_empty(tables: &Value) -> Value {
    let filled = |(_, rows): &(&String, &Value)| rows.as_object().is_none_or(|rows| !rows.is_empty());
    tables.as_object().into_iter().flatten().filter(filled).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn same(what: &str, ours: &Value, expected: &Value) -> Outcome {
    if ours == expected { Ok(()) } else { Err(difference(what, ours, expected)) }
}

/// Compares the fields that we have, the standard deviation to one unit in the last place.
fn same_within_std(what: &str, ours: &Value, expected: &Value) -> Outcome {
    let (Value::Object(left), Value::Object(right)) = (ours, expected) else {
        return same(what, ours, expected);
    };
    let is_statistics = right.contains_key("sub_count");
    if !is_statistics && !left.keys().eq(right.keys()) {
        return Err(difference(what, ours, expected));
    }
    for (name, ours) in left {
        let expected = right.get(name).unwrap_or(&Value::Null);
        match (ours.as_f64(), expected.as_f64()) {
            (Some(a), Some(b)) if name == "samp_sub_count_std" && a.to_bits().abs_diff(b.to_bits()) <= 1 => {}
            _ if is_statistics => same(&format!("{what}: {name}"), ours, expected)?,
            _ => same_within_std(&format!("{what}: {name}"), ours, expected)?,
        }
    }
    Ok(())
}

fn same_bytes(ours: &[u8], path: &Path) -> Outcome {
    let expected = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if ours == expected {
        Ok(())
    } else {
        Err(format!("{} differs:\n{}", path.display(), String::from_utf8_lossy(ours)))
    }
}

/// Byte for byte, but for the standard deviation, the fifth cell of each peak.
fn same_peaks_file(ours: &[u8], path: &Path) -> Outcome {
    let expected = fs::read_to_string(path).map_err(text)?;
    let ours = String::from_utf8_lossy(ours);
    let same_line = |(ours, expected): (&str, &str)| {
        let number = |line: &str| line.trim().trim_end_matches(',').parse::<f64>().map(f64::to_bits);
        let close = || Ok::<_, std::num::ParseFloatError>(number(ours)?.abs_diff(number(expected)?) <= 1);
        ours == expected || (ours.contains('.') && close().unwrap_or(false))
    };
    let same =
        ours.lines().count() == expected.lines().count() && ours.lines().zip(expected.lines()).all(same_line);
    if same && ours.ends_with('}') == expected.ends_with('}') {
        Ok(())
    } else {
        Err(format!("{} differs:\n{ours}", path.display()))
    }
}

fn difference(what: &str, ours: &Value, expected: &Value) -> String {
    format!("{what}: ours {ours:#}\nexpected {expected:#}")
}

fn read_json(path: &Path) -> Outcome<Value> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
