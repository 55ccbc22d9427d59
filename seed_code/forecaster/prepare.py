"""From the feature store's minutes to a series, its training part and its test windows: a processing job's program.

python3 -m seed_code.forecaster.prepare --feature-group NAME --query-output s3://bucket/prefix/
    --prediction-length N --context-length N --evaluation-time ISO [--snapshot-time ISO|none]
    [--target avg_fee_1min] [--frequency 1min] [--history-days 7] [--test-windows 20] [--window-spacing N]
    [--seasonal-lags none|daily|weekly]

It asks Athena for the newest version of each minute before the evaluation time, puts them on the frequency's grid, with
what is missing as NaN, and cuts the end into test windows, each of which is forecast from what lies before it. Written
below `processing/output`:

    train/train.json.gz          one DeepAR series that ends before the first test window
    train/.target.json           {"target": NAME}: what the series is of; no DeepAR reads it as one, see `channels`
    test/test.json               one DeepAR series a test window, which is its end
    requests/requests.jsonl      one DeepAR instance a test window, in order: what batch transform is to answer
    windows/windows.json         where the test windows are, and their actual values
    windows/series.parquet       the whole series: minute (of the step's beginning), value (null: not observed)
    report/prepare.json          what was read, left out and why, the gaps, the target's distribution

Test series and requests begin as late as the network's lags and the season allow, so that their size does not depend on
the history's. The same store, evaluation time and snapshot time give the same files, but for `seconds` and `query` in
the report.
"""

import argparse
import gzip
import re
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import orjson
import pyarrow as pa
from botocore.exceptions import BotoCoreError

from seed_code.common import documents, paths
from seed_code.common.arguments import ArgumentParser, whole_number
from seed_code.common.errors import ClientError
from seed_code.common.failure import reports_failure
from seed_code.forecaster import channels, grid, minutes, rolling
from seed_code.forecaster.athena import Athena
from seed_code.forecaster.frequency import EXPECTED, SEASONAL_LAGS, Frequency
from seed_code.forecaster.grid import GridSeries
from seed_code.forecaster.minutes import FeatureGroup, Minutes
from seed_code.forecaster.records import LARGEST
from seed_code.forecaster.rolling import Windows

SCHEMA_VERSION = 1
NO_SNAPSHOT = "none"
MOST_GAPS = 200  # in the report; the longest
_COUNT = whole_number(1, 1_000_000)
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_NAME = re.compile(r"[A-Za-z0-9]([_-]*[A-Za-z0-9]){0,63}|arn:[A-Za-z0-9:/-]{1,2000}")


def parser() -> ArgumentParser:
    """The command line."""
    described = ArgumentParser(prog="prepare", description="Prepares the feature store's minutes for DeepAR.")
    described.add_argument("--feature-group", required=True, type=_feature_group, help="name of the minutes' group")
    described.add_argument("--query-output", required=True, help="where Athena leaves its result, s3://bucket/prefix/")
    described.add_argument("--target", default="avg_fee_1min", help="the feature to forecast")
    described.add_argument("--frequency", type=_frequency, default="1min", help="distance of two steps")
    described.add_argument("--prediction-length", required=True, type=_COUNT, help="steps of a forecast")
    described.add_argument("--context-length", required=True, type=_COUNT, help="steps that the network reads")
    described.add_argument("--history-days", type=_COUNT, default=7, help="back from the newest minute")
    described.add_argument("--test-windows", type=_COUNT, default=20)
    described.add_argument(
        "--window-spacing", type=_COUNT, help="steps between two windows' beginnings (default: --prediction-length)"
    )
    described.add_argument("--seasonal-lags", choices=SEASONAL_LAGS, default="none", help="as in the hyperparameter")
    described.add_argument("--evaluation-time", required=True, type=_time, help="ISO 8601; minutes are earlier")
    described.add_argument(
        "--snapshot-time", type=_snapshot, default=NO_SNAPSHOT, help="versions written later are left out, or none"
    )
    return described


def _feature_group(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"`{text}` is no name of a feature group: up to 64 letters, digits and hyphens"
        )
    return text


def _frequency(text: str) -> Frequency:
    try:
        return Frequency.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"`{text}` is not {EXPECTED}") from None


def _time(text: str) -> datetime:
    try:
        return minutes.parse_time(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"`{text}` is no ISO 8601 time such as 2026-11-22T00:00:00Z") from None


def _snapshot(text: str) -> datetime | None:
    return None if text == NO_SNAPSHOT else _time(text)


@reports_failure
def main() -> None:
    """Run the job that the command line and the contract's folders describe."""
    arguments = parser().parse_args()
    try:
        sagemaker, athena, s3 = (boto3.client(service) for service in ("sagemaker", "athena", "s3"))
    except BotoCoreError as error:
        raise ClientError(f"AWS cannot be called: {error}") from error
    queries = Athena(athena, s3, arguments.query_output)
    report = prepare(arguments, sagemaker, queries, paths.processing_output_dir(""))
    windows, left_out = report["windows"], sum(report["left_out"].values())
    sys.stdout.write(
        f"{report['observations']:,} observations of {report['target']} in {report['steps']:,} steps of "
        f"{report['frequency']}, {report['first']} to {report['last']}; {report['training']['observations']:,} to "
        f"train on, {windows['count']} test windows of {windows['prediction_length']}; superseded "
        f"{report['superseded']}, deleted {report['deleted']}, left out {left_out}; {report['seconds']['all']} s\n"
    )


def prepare(arguments: argparse.Namespace, sagemaker: Any, athena: Athena, target: Path) -> dict[str, Any]:
    """Query, cut, and write the files below `target`; gives the report.

    Raises:
        ClientError: when there is nothing, or too little, to prepare; the message says what, and the next command.
    """
    began = time.perf_counter()
    group = FeatureGroup.describe(sagemaker, arguments.feature_group)
    features = grid.features_for(arguments.target, arguments.frequency)
    if absent := [name for name in dict.fromkeys([arguments.target, *features]) if name not in group.columns]:
        raise ClientError(
            f"the feature group {group.name} has no feature {', '.join(absent)}; it has {', '.join(group.columns)}"
        )
    asked = (features, arguments.history_days, arguments.evaluation_time)
    rows, execution = athena.query(group.query(*asked, arguments.snapshot_time), group.database)
    queried = time.perf_counter()
    found = minutes.clean(rows, *asked)
    series = _series(arguments, group, found)
    try:
        windows = rolling.cut(
            series,
            arguments.target,
            prediction_length=arguments.prediction_length,
            context_length=arguments.context_length,
            count=arguments.test_windows,
            spacing=arguments.window_spacing or arguments.prediction_length,
            seasonal_lags=arguments.seasonal_lags,
        )
    except ClientError as error:
        raise ClientError(f"{error}{found.left_out.told()}") from None
    _write(target, series, windows)
    report = {
        "schema_version": SCHEMA_VERSION,
        "feature_group": group.name,
        "target": arguments.target,
        "frequency": str(arguments.frequency),
        "evaluation_time": _iso(arguments.evaluation_time),
        "snapshot_time": arguments.snapshot_time and _iso(arguments.snapshot_time),
        **_described(series, found),
        "training": {
            "steps": windows.first_origin,
            "observations": int((~np.isnan(series.values[: windows.first_origin])).sum()),
        },
        "windows": {
            "count": len(windows.origins),
            "prediction_length": windows.prediction_length,
            "spacing": windows.spacing,
            "first_origin": _iso(series.time(windows.first_origin)),
            "last_origin": _iso(series.time(windows.origins[-1])),
            "tail": windows.tail,
        },
        "query": {
            "id": execution["QueryExecutionId"],
            "scanned_bytes": execution.get("Statistics", {}).get("DataScannedInBytes"),
            "rows": rows.num_rows,
        },
        "seconds": {
            "query": round(queried - began, 3),
            "all": round(time.perf_counter() - began, 3),
        },
    }
    documents.write(target / "report" / "prepare.json", report)
    return report


def _series(arguments: argparse.Namespace, group: FeatureGroup, found: Minutes) -> GridSeries:
    """The series, which has an observation at least.

    Raises:
        ClientError: when there is no minute, or no number in any.
    """
    before = f"before {_iso(arguments.evaluation_time)}"
    reasons = found.left_out.told()
    if not len(found.minute):
        written = f", written until {_iso(arguments.snapshot_time)}" if arguments.snapshot_time else ""
        raise ClientError(
            f"the feature group {group.name} holds no minute {before}{written}{reasons}; `mlops ingest FILE` brings "
            "minutes into it"
        )
    series = grid.series_of(arguments.target, arguments.frequency, found.minute, found.values)
    beyond = np.abs(series.values) > LARGEST  # a coarser step's sum; a minute's value is none
    texts = [f"{_iso(series.time(int(step)))}: {series.values[step]:g}" for step in np.flatnonzero(beyond)]
    found.left_out.add(minutes.too_large(f"{arguments.target} at {arguments.frequency}"), pa.array(texts, pa.string()))
    series = replace(series, values=np.where(beyond, np.nan, series.values))
    reasons = found.left_out.told()
    if np.isnan(series.values).all():
        raise ClientError(
            f"0 observations: none of the {len(found.minute)} minutes of the feature group {group.name} {before} gives "
            f"`{arguments.target}` a value at {arguments.frequency}{reasons}; `mlops ingest FILE` brings other "
            "versions of them"
        )
    return series


def _described(series: GridSeries, found: Minutes) -> dict[str, Any]:
    missing = np.isnan(series.values)
    known = series.values[~missing]
    gaps = rolling.gaps(missing)
    longest = sorted(sorted(gaps, key=lambda gap: gap[0] - gap[1])[:MOST_GAPS])
    return {
        "observations": len(known),
        "steps": len(series),
        "minutes": len(found.minute),
        "missing": int(missing.sum()),
        "first": _iso(series.time(0)),
        "last": _iso(series.time(len(series) - 1)),
        "gap_count": len(gaps),
        "gaps": [
            {
                "start": _iso(series.time(begin)),
                "end": _iso(series.time(end)),
                "minutes": int((series.time(end) - series.time(begin)).total_seconds() // 60),
            }
            for begin, end in longest
        ],
        "versions": found.versions,
        "superseded": found.superseded,
        "deleted": found.deleted,
        "left_out": found.left_out.counts,
        "left_out_examples": found.left_out.examples,
        "summary": {
            "mean": float(known.mean()),
            "standard_deviation": float(known.std()),
            "minimum": float(known.min()),
            "maximum": float(known.max()),
            "zeros": int((known == 0).sum()),
            "negatives": int((known < 0).sum()),
            "quantiles": {
                f"{level:g}": float(value)
                for level, value in zip(_QUANTILES, np.quantile(known, _QUANTILES), strict=True)
            },
        },
    }


def _write(target: Path, series: GridSeries, windows: Windows) -> None:
    for folder in ("train", "test", "requests", "windows"):
        (target / folder).mkdir(parents=True, exist_ok=True)
    # No time in the header: it would differ from run to run.
    train = gzip.compress(_line(series.record(0, windows.first_origin)), compresslevel=6, mtime=0)
    (target / "train" / "train.json.gz").write_bytes(train)
    documents.write(target / "train" / channels.TARGET_FILE, {"target": windows.target})
    horizon = windows.prediction_length
    for file, reach in (("test/test.json", horizon), ("requests/requests.jsonl", 0)):
        lines = (_line(series.record(max(0, origin - windows.tail), origin + reach)) for origin in windows.origins)
        (target / file).write_bytes(b"".join(lines))
    rolling.write(target / "windows", series, windows)


def _line(record: dict[str, Any]) -> bytes:
    return orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


def _iso(moment: datetime) -> str:
    return rolling.iso(moment)


if __name__ == "__main__":
    main()
