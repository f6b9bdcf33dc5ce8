"""Records what telemetry-peak-analyzer 0.1.6, the original, makes of a slice of the bundled telemetry.

    python -m venv venv && venv/bin/pip install telemetry-peak-analyzer==0.1.6
    venv/bin/python record.py                       # writes peak/data/telemetry.json and the cases below
    venv/bin/python record.py CASE_FOLDER OUT       # records any folder with a params.json again, into OUT

The original runs unmodified: its own `run` reads the records and writes `gst_after_runN.json` and
`peaks_runN.json`. Only the clock, the time zone, the weights and the window are given to it, and what its public
methods return on the way is noted in `expected.json`. Needs a system with `time.tzset`, that is, not Windows.
"""

import copy
import datetime
import gzip
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import shutil
import sys
import time
import types
import unittest.mock

from telemetry_peak_analyzer import __main__ as program
from telemetry_peak_analyzer import analyzers, backends

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = "telemetry-peak-analyzer"

# The slice: every second record of five keys on four days. On the third, malicious PeExeFile peaks.
SLICE_DAYS = (datetime.datetime(2024, 1, 15), datetime.datetime(2024, 1, 19))
SLICE_KEYS = {
    ("malicious", "PeExeFile"),
    ("malicious", "ExcelMsDocxFile"),
    ("malicious", "RtfDocFile"),
    ("suspicious", "JavascriptScriptFile"),
    ("suspicious", "PdfDocFile"),
}
SLICE_FIELDS = [
    "file.llfile_type",
    "file.sha1",
    "source.origin",
    "source.user_id",
    "task.severity",
    "utc_timestamp",
]

CASES = [
    {
        "case": "case_generated_utc",
        "description": "Run1: GST from the backend, its end inside the day judged, so rows stay as they are. Run2: the"
        " planted peak, rows updated. Run3: the next day, override 5. Run4: the peak again, from the saved GST.",
        "tz": "UTC",
        "runs": [
            ("2024-01-16", "2024-01-17", None, "backend", "2024-01-16T18:00:00"),
            ("2024-01-17", "2024-01-18", None, "previous", "2024-01-18T06:00:00"),
            ("2024-01-18", "2024-01-19", 5, "previous", "2024-01-19T06:00:00"),
            ("2024-01-17", "2024-01-18", -1, "gst_after_run1.json", "2024-01-19T06:00:00"),
        ],
        "stats_calls": [("2024-01-15T00:00:00", "2024-01-19T00:00:00")],
    },
    {
        "case": "case_generated_new_york",
        "description": "Local days five hours behind UTC, a clock in UTC. Run1: a rest of four hours and a whole day in"
        " the backend statistics, the GST ends where run2 starts. Run2: the planted peak. Run3: a cut day, override 5.",
        "tz": "America/New_York",
        "runs": [
            ("2024-01-16", "2024-01-17", None, "backend", "2024-01-17T00:00:00"),
            ("2024-01-17", "2024-01-18", None, "previous", "2024-01-18T06:00:00"),
            ("2024-01-18", "2024-01-19", 5, "previous", "2024-01-19T06:00:00"),
        ],
        "stats_calls": [
            ("2024-01-14T00:00:00", "2024-01-15T00:00:00"),
            ("2024-01-16T23:00:00", "2024-01-18T00:00:00"),
        ],
    },
]


def write_slice(path):
    """Cuts the records of the cases out of the bundled telemetry."""
    start, end = (day.replace(tzinfo=datetime.timezone.utc).timestamp() * 1000 for day in SLICE_DAYS)
    with gzip.open(HERE.parent / "telemetry.ndjson.gz", "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    records = [
        {field: record[field] for field in SLICE_FIELDS}
        for record in records
        if start <= record["utc_timestamp"] < end
        and (record["task.severity"], record["file.llfile_type"]) in SLICE_KEYS
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(map(json.dumps, records[::2])) + "\n]\n")


def params_of(case):
    """The full parameters of one of the `CASES`."""
    analyzer = analyzers.FileTypePeakAnalyzer
    weights = ["LOCAL_MIN_COUNT", "PEAK_GLOBAL_COUNT_WEIGHT", "PEAK_MIN_SAMP_SUB_RATIO"]
    return {
        **case,
        "input_glob": "../data/telemetry.json",
        "weights": {name: getattr(analyzer, name) for name in weights},
        "global_table_age_days": analyzer.DEFAULT_GLOBAL_TABLE_AGE.days,
        "runs": [
            {"start": f"{start}T00:00:00", "end": f"{end}T00:00:00", "threshold": threshold, "gst": gst, "now": now}
            for start, end, threshold, gst, now in case["runs"]
        ],
        "stats_calls": [{"start": start, "end": end} for start, end in case["stats_calls"]],
        "analyzer": analyzer.__name__,
        "index": analyzer._INDEX,
        "dimensions": analyzer._DIMENSIONS,
        "cross_dimensions": analyzer.CROSS_DIMENSIONS,
        "dimension_thresholds": {
            dimension: data["threshold"] for dimension, data in analyzer.DIMENSIONS_METADATA.items()
        },
    }


def noting(base, results, methods, **attributes):
    """A subclass of `base` that notes what its `methods` return in `results`."""

    def note(name):
        def method(self, *args, **kwargs):
            result = getattr(super(subclass, self), name)(*args, **kwargs)
            results[name] = copy.deepcopy(result)  # the original's default dicts grow when looked up
            return result

        return method

    subclass = type(base.__name__, (base,), {name: note(name) for name in methods} | attributes)
    return subclass


def clock_at(now):
    """Makes the original take `now` for the current time in UTC."""
    clock = type("Clock", (datetime.datetime,), {"utcnow": classmethod(lambda cls: now)})
    module = types.SimpleNamespace(datetime=clock, timedelta=datetime.timedelta)
    return unittest.mock.patch.object(analyzers, "datetime", module)


def plain(value):
    """Tables and statistics as plain JSON values."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, datetime.datetime) else value


def decision(analyzer, local, gst):
    """Asks the original for each of its conditions alone, the others put out of reach."""
    if gst is None:
        return {"has_gst": False}
    nothing = local._replace(
        sub_count=math.inf, samp_sub_count_mean=-math.inf, samp_sub_ratio=-math.inf, samp_sub_count_max=-math.inf
    )

    def holds(table, **fields):
        return analyzer._is_peak(nothing._replace(**fields), table)

    mean, largest = local.samp_sub_count_mean, local.samp_sub_count_max
    return {
        "has_gst": True,
        "sub_count_ge_threshold": holds(gst, sub_count=local.sub_count, samp_sub_ratio=math.inf),
        "c1_mean_gt_weighted_global_max": holds(gst, samp_sub_count_mean=mean),
        "c2_ratio_gt_min": holds(gst, samp_sub_ratio=local.samp_sub_ratio),
        "c3_max_gt_mean_plus_std": holds(
            gst._replace(samp_sub_count_max=math.inf), samp_sub_count_mean=mean, samp_sub_count_max=largest
        ),
        "peak": analyzer._is_peak(local, gst),
    }


def decisions(analyzer, local, gst):
    """The `decision` on every key with local statistics."""
    return {
        first: {second: decision(analyzer, stats, gst.get(first, {}).get(second)) for second, stats in keys.items()}
        for first, keys in local.items()
    }


def record_run(params, case, out, number, run):
    """Lets the original do one run, which writes its files, and returns what it did on the way."""
    results = {}
    now, start, end = (datetime.datetime.fromisoformat(run[name]) for name in ("now", "start", "end"))
    age = datetime.timedelta(days=params["global_table_age_days"])
    methods = [name for name in vars(analyzers.AbstractAnalyzer) if name.startswith(("get_", "refresh_"))]
    analyzer_class = noting(
        getattr(analyzers, params["analyzer"]), results, methods, **params["weights"], DEFAULT_GLOBAL_TABLE_AGE=age
    )
    backend_class = noting(backends.JsonBackend, results, ["stats", "group_by"])
    files = str(case / params["input_glob"])

    gst_file, peaks_file = out / f"gst_after_run{number}.json", out / f"peaks_run{number}.json"
    gst_file.unlink(missing_ok=True)
    source = {"backend": None, "previous": f"gst_after_run{number - 1}.json"}.get(run["gst"], run["gst"])
    if source:
        shutil.copyfile(next(path for path in (out / source, case / source) if path.exists()), gst_file)
    with clock_at(now):
        window = (start, end, run["threshold"])
        program.run(None, analyzer_class, backend_class, files, *window, str(gst_file), str(peaks_file))

    rows = results["group_by"]
    analyzer = analyzer_class(conf=None, backend=backend_class(None, files), start_ts=start, end_ts=end)
    record = {
        "run": number,
        "gst_source": f"file:{source}" if source else "backend",
        "group_by": {"row_count": len(rows), "total": sum(row["count"] for row in rows), "rows": rows},
        "local_tables": results["get_local_tables"],
        "local_tables_stats": results["get_local_tables_stats"],
        "global_tables": results["get_global_tables_from_file" if source else "get_global_tables"],
        "global_tables_stats": results["get_global_tables_stats"],
        "decisions": decisions(analyzer, results["get_local_tables_stats"], results["get_global_tables_stats"]),
        "peaks": results["get_peaks"],
        "refreshed_global_tables": results["refresh_global_tables"],
    }
    if not source:
        record["backend_stats_window"] = [str(now - age), str(now)]
        record["backend_stats"] = results["stats"]
    return record


def stats_call(params, case, call):
    """Asks the original's backend for its daily statistics alone."""
    start, end = (datetime.datetime.fromisoformat(call[name]) for name in ("start", "end"))
    backend = backends.JsonBackend(None, str(case / params["input_glob"]))
    return {**call, "result": backend.stats(start, end, params["index"], params["dimensions"], {})}


def record(case, out):
    """Records all runs of the folder `case` into the folder `out`."""
    params = json.loads((case / "params.json").read_text())
    os.environ["TZ"] = params["tz"]
    time.tzset()
    expected = {
        "case": params["case"],
        "package": f"{PACKAGE} {importlib.metadata.version(PACKAGE)}",
        "python": platform.python_version(),
        "runs": [record_run(params, case, out, number, run) for number, run in enumerate(params["runs"], 1)],
        "stats_calls": [stats_call(params, case, call) for call in params["stats_calls"]],
    }
    (out / "expected.json").write_text(json.dumps(plain(expected), indent=1, sort_keys=True))


def main():
    if len(sys.argv) == 3:
        case, out = map(pathlib.Path, sys.argv[1:])
        out.mkdir(parents=True, exist_ok=True)
        return record(case, out)
    write_slice(HERE / "peak" / "data" / "telemetry.json")
    for case in CASES:
        folder = HERE / "peak" / case["case"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "params.json").write_text(json.dumps(params_of(case), indent=1))
        record(folder, folder)


if __name__ == "__main__":
    main()
