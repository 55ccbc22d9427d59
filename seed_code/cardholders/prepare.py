"""From card transactions to what the models learn from and are judged on: a processing job's program.

Reads every file in `processing/input/transactions`, writes below `processing/output`:

    holders/holders.parquet      behaviour of each holder at the end of the training period, for the clustering
    train/examples.parquet       one row for each holder and reference date: holder, reference_date, the behaviour
    validation/examples.parquet  fields and stored features as of then, days_to_next (NaN: none within the horizon)
    holdout/examples.parquet
    holdout/holders.parquet      behaviour of each holder at the holdout's first reference date
    report/prepare.json          what was read, left out and why, the period, the split, and positives for some k

A row of `holders.parquet` is a holder with a purchase within the behaviour window; one without has no behaviour to
cluster. Outputs hold no names (see `transactions`). The same input and arguments give the same files, byte for byte,
whatever the number of threads; only `seconds` and `feature_group` in the report differ.

With `--feature-group` each holder's latest features, as of the last day of the period, go to a feature group (see
`feature_writer`). That comes last: where anything else fails, nothing is written.
"""

import argparse
import datetime
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seed_code.cardholders import feature_writer, features, leakage, split, transactions
from seed_code.cardholders.features import Activity, Array, Histories
from seed_code.common import paths
from seed_code.common.arguments import ArgumentParser
from seed_code.common.errors import ClientError
from seed_code.common.failure import reports_failure

SCHEMA_VERSION = 1
DEFAULT_MAX_HORIZON_DAYS = 30
DEFAULT_STEP_DAYS = 7
DEFAULT_MAX_EXAMPLES = 200_000
REPORTED_HORIZONS = (1, 7, 14, 30)
ROWS_AT_ONCE = 4_000_000
STRAY_SHARE = 0.001
AUDITED_DATES = 3
AUDITED_HOLDERS = 500


def parser() -> ArgumentParser:
    """The command line; its defaults are the workload's."""
    described = ArgumentParser(prog="prepare", description="Prepares card transactions for training and evaluation.")
    described.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="ROLE=NAME",
        help="the file's column for a role: first_initial and last_name (or holder instead), amount, vendor, date; may "
        "be repeated; the default is the Oklahoma purchase-card format",
    )
    described.add_argument(
        "--date-format", action="append", default=[], help="strptime's notation; may be repeated, tried in turn"
    )
    described.add_argument("--encoding", default="utf-8", help="of the files")
    described.add_argument("--delimiter", default=",", help="between fields: one character, or `tab`")
    described.add_argument("--decimal", default=".", choices=[".", ","], help="decimal sign of the amounts")
    described.add_argument("--max-bad-share", type=_share, default=0.01, help="share of lines that may be unreadable")
    described.add_argument("--keep-duplicates", type=_yes, default=False, nargs="?", const=True, metavar="true|false")
    described.add_argument("--holder-salt", default="cardholders", help="makes holders' identifiers the project's own")
    described.add_argument(
        "--evaluation-time",
        type=_day,
        default=None,
        help="ISO 8601; transactions dated later are left out (default: nothing is later than the last transaction)",
    )
    described.add_argument("--window-days", type=_positive, default=features.DEFAULT_WINDOW_DAYS)
    described.add_argument("--max-horizon", type=_positive, default=DEFAULT_MAX_HORIZON_DAYS, help="largest k, in days")
    described.add_argument("--step-days", type=_positive, default=DEFAULT_STEP_DAYS, help="between reference dates")
    described.add_argument(
        "--max-examples",
        type=_positive,
        default=DEFAULT_MAX_EXAMPLES,
        help="most examples for training; validation and holdout get up to a quarter of that each",
    )
    described.add_argument(
        "--feature-group", metavar="NAME", help="where holders' latest features go (default: nowhere)"
    )
    described.add_argument("--threads", type=_positive, default=min(2, os.cpu_count() or 1))
    described.add_argument("--memory-limit", default="4GB", help="of the database, which then continues on disk")
    return described


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return number


def _yes(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"`{text}` is neither `true` nor `false`")
    return text == "true"


def _day(text: str) -> int | None:
    """Day of an ISO 8601 date or time (UTC unless it says otherwise), None of an empty text."""
    if not text:
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"`{text}` is no ISO 8601 time such as 2014-06-30T00:00:00Z") from error
    if moment.tzinfo is not None:
        moment = moment.astimezone(datetime.UTC)
    return (moment.date() - datetime.date(1970, 1, 1)).days


def _layout(arguments: argparse.Namespace) -> transactions.Format:
    columns = dict(transactions.DEFAULT_COLUMNS)
    for mapping in arguments.column:
        role, equals, name = mapping.partition("=")
        if role not in (*columns, "holder") or not equals or not name:
            raise ClientError(
                f"--column is `{mapping}`; expected ROLE=NAME with a role of first_initial, last_name, holder, amount, "
                "vendor, date, for example amount=Betrag"
            )
        columns[role] = name
    delimiter = "\t" if arguments.delimiter == "tab" else arguments.delimiter
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise ClientError(f"--delimiter is `{arguments.delimiter}`; expected one character such as `;`, or `tab`")
    return transactions.Format(
        columns=columns,
        date_formats=tuple(arguments.date_format) or transactions.DEFAULT_DATE_FORMATS,
        encoding=arguments.encoding,
        delimiter=delimiter,
        decimal=arguments.decimal,
    )


class _Stages:
    """Seconds of each stage of the work, for the report."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - began, 3)


@reports_failure
def main() -> None:
    """Run the job that the command line and the contract's folders describe."""
    arguments = parser().parse_args()
    report = prepare(arguments, paths.processing_input_dir("transactions"), paths.processing_output_dir(""))
    counts, examples = report["counts"], {name: part["examples"] for name, part in report["split"].items()}
    sys.stdout.write(
        f"{counts['purchases']:,} purchases of {counts['holders']:,} holders, {report['period']['first']} to "
        f"{report['period']['last']}; examples: {examples}; left out: bad {sum(counts['bad'].values())}, duplicates "
        f"{counts['duplicates']}, refunds {counts['refunds']}, zero {counts['zero']}; {report['seconds']['all']} s\n"
    )
    if group := report["feature_group"]:
        sys.stdout.write(
            f"features of {group['holders']:,} holders as of {group['event_time']} in the feature group "
            f"{group['name']}: {group['written']:,} written, {group['unchanged']:,} there already\n"
        )


def prepare(arguments: argparse.Namespace, source: Path, target: Path) -> dict[str, Any]:
    """Prepare the files below `source` into `target`, and return the report.

    Raises:
        ClientError: when the files cannot be used, or the feature group; the message says why, and what to do.
    """
    stage = _Stages()
    layout = _layout(arguments)
    with stage("all"):
        # Before the work, which a group that cannot be written to would make useless.
        group = feature_writer.find_group(arguments.feature_group) if arguments.feature_group is not None else None
        with _database(arguments, target) as connection:
            with stage("read"):
                reading = transactions.read(
                    connection,
                    transactions.input_files(source),
                    layout,
                    salt=arguments.holder_salt,
                    max_bad_share=arguments.max_bad_share,
                    keep_duplicates=arguments.keep_duplicates,
                    evaluation_day=arguments.evaluation_time,
                )
            with stage("plan"):
                period, strays = _period(connection, arguments.max_horizon)
                parts = split.split(period, arguments.window_days, arguments.max_horizon, arguments.step_days)
                drawn = _draw(connection, parts, arguments)
            with stage("features"):
                latest_day = period.last if group is not None else None
                tables, latest, audited = _tables(connection, drawn, parts, latest_day, arguments)
        with stage("write"):
            for name, table in tables.items():
                _write(table, target / name, arguments, parts)
        stored = None
        if group is not None and latest is not None:
            with stage("feature_group"):
                moment = feature_writer.event_time(period.last)
                written = feature_writer.write(group, latest, moment)
            stored = {"name": group.name, "event_time": moment, "holders": latest.num_rows, **asdict(written)}
    report = {
        "schema_version": SCHEMA_VERSION,
        "counts": {key: value for key, value in asdict(reading).items() if key not in ("files", "examples")}
        | {"outside_period": strays, "parsed": reading.lines - sum(reading.bad.values())},
        "files": reading.files,
        "bad_lines": reading.examples,
        "period": {
            "first": split.as_date(period.first),
            "last": split.as_date(period.last),
            "days": period.days,
            "evaluation_time": arguments.evaluation_time and split.as_date(arguments.evaluation_time),
        },
        "window_days": arguments.window_days,
        "max_horizon": arguments.max_horizon,
        "step_days": arguments.step_days,
        "split": {name: _describe(tables[f"{name}/examples.parquet"], parts.part(name)) for name in split.PARTS},
        "holders": {
            "train": tables["holders/holders.parquet"].num_rows,
            "holdout": tables["holdout/holders.parquet"].num_rows,
        },
        "feature_group": stored,
        "leakage_check": {"examples": audited, "leaking_features": []},
        "seconds": stage.seconds,
    }
    (target / "report").mkdir(parents=True, exist_ok=True)
    (target / "report" / "prepare.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


@contextmanager
def _database(arguments: argparse.Namespace, target: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    try:
        connection = duckdb.connect(
            config={
                "threads": arguments.threads,
                "memory_limit": arguments.memory_limit,
                # Beside the output: the disk that the job was given room on.
                "temp_directory": str(target / ".spill"),
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )
    except duckdb.Error as error:
        raise ClientError(
            f"--memory-limit is `{arguments.memory_limit}`; expected a size such as 4GB ({error})"
        ) from error
    try:
        with connection:
            connection.execute("SET enable_progress_bar = false")  # it would go to the job's log, a line each step
            yield connection
    except duckdb.OutOfMemoryException as error:
        raise ClientError(
            f"the transactions do not fit into --memory-limit {arguments.memory_limit} ({str(error).splitlines()[0]}); "
            "raise it, or give the job a larger volume to continue on"
        ) from error
    finally:
        spill = target / ".spill"
        if spill.is_dir():
            for file in spill.iterdir():
                file.unlink()
            spill.rmdir()


def _period(connection: duckdb.DuckDBPyConnection, max_horizon: int) -> tuple[split.Span, int]:
    """First and last day of the purchases, strays apart, and how many purchases lie outside.

    A mistyped year must not stretch the period by decades without purchases. A first or last day that lies more than
    the longest horizon beyond the 0.1 % or the 99.9 % quantile of the purchases' dates is a stray; the quantile's day
    then takes its place. Purchases before the period still count as history; nothing looks at
    those after it, since the last label window ends with the period.
    """
    total, first, last = _row(connection, "SELECT sum(purchases), min(day), max(day) FROM activity")
    low, high = _row(
        connection,
        f"""
        SELECT min(day) FILTER (upto > {STRAY_SHARE} * {total}), min(day) FILTER (upto >= {1 - STRAY_SHARE} * {total})
        FROM (SELECT day, sum(sum(purchases)) OVER (ORDER BY day) AS upto FROM activity GROUP BY day)
        """,
    )
    span = split.Span(
        low if low - first > max_horizon else first,
        high if last - high > max_horizon else last,
    )
    (outside,) = _row(
        connection,
        f"SELECT coalesce(sum(purchases), 0) FROM activity WHERE day NOT BETWEEN {span.first} AND {span.last}",
    )
    return span, outside


def _row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None
    return tuple(int(value) for value in row)


def _draw(
    connection: duckdb.DuckDBPyConnection, parts: split.Split, arguments: argparse.Namespace
) -> dict[str, tuple[Array, Array]]:
    """Holder and day of each part's examples."""
    known = connection.execute(
        "SELECT id, min(day) AS first FROM holder JOIN activity ON holder = index GROUP BY index, id ORDER BY index"
    ).fetchnumpy()
    identity = np.array([int(text, 16) for text in known["id"]], np.uint64)
    drawn = {}
    for name in split.PARTS:
        limit = arguments.max_examples if name == "train" else max(1, arguments.max_examples // 4)
        drawn[name] = split.draw_examples(known["first"], identity, parts.part(name), arguments.step_days, limit)
        if len(drawn[name][0]) == 0:
            part = parts.part(name)
            raise ClientError(
                f"no holder has purchased before the reference dates of the {name} part ({split.as_date(part.first)} "
                f"to {split.as_date(part.last)}), found {len(identity)} holders in all; expected at least one example: "
                "bring transactions of more holders or of a longer period"
            )
    return drawn


def _tables(
    connection: duckdb.DuckDBPyConnection,
    drawn: Mapping[str, tuple[Array, Array]],
    parts: split.Split,
    latest_day: int | None,
    arguments: argparse.Namespace,
) -> tuple[dict[str, pa.Table], pa.Table | None, int]:
    """The outputs by path, features as of `latest_day`, and how many examples the leakage check looked at."""
    ids = pa.array(connection.execute("SELECT id FROM holder ORDER BY index").fetchnumpy()["id"], pa.string())
    pieces: dict[str, list[pa.Table]] = {}
    latest: list[pa.Table] = []
    audited = 0
    for first, stop in _holder_ranges(connection):
        activity = _activity(connection, first, stop)
        histories = Histories(activity, arguments.window_days)
        for name, (holder, day) in drawn.items():
            chosen = slice(*np.searchsorted(holder, [first, stop]))
            if chosen.start < chosen.stop:
                table = _examples(histories, holder[chosen], day[chosen], ids, arguments.max_horizon)
                pieces.setdefault(f"{name}/examples.parquet", []).append(table)
        everyone = np.arange(first, stop)
        for path, as_of in (
            ("holders/holders.parquet", parts.train.last),
            ("holdout/holders.parquet", parts.holdout.first),
        ):
            pieces.setdefault(path, []).append(_behaviour(histories, everyone, as_of, ids))
        if latest_day is not None:
            known = np.unique(activity.holder[activity.day <= latest_day])
            latest.append(_features(histories, known, np.full(len(known), latest_day), ids))
        if not audited:
            audited = _audit(activity, drawn, first, stop, arguments.window_days)
    tables = {path: pa.concat_tables(tables) for path, tables in pieces.items()}
    for path, table in tables.items():
        if table.num_rows == 0:
            raise ClientError(
                f"{path} would be empty: no holder has a purchase within the behaviour window of "
                f"{arguments.window_days} days; expected one at least: bring more transactions"
            )
    return tables, pa.concat_tables(latest) if latest else None, audited


def _holder_ranges(connection: duckdb.DuckDBPyConnection) -> list[tuple[int, int]]:
    """Ranges of holders with about `ROWS_AT_ONCE` rows of activity each: what is in memory at once."""
    count = connection.execute("SELECT count(*) AS rows FROM activity GROUP BY holder ORDER BY holder").fetchnumpy()[
        "rows"
    ]
    batch = (np.cumsum(count) - count) // ROWS_AT_ONCE
    starts = np.flatnonzero(np.diff(batch, prepend=-1)).tolist()
    return list(zip(starts, [*starts[1:], len(count)], strict=True))


def _activity(connection: duckdb.DuckDBPyConnection, first: int, stop: int) -> Activity:
    rows = connection.execute(
        f"SELECT * FROM activity WHERE holder >= {first} AND holder < {stop} ORDER BY holder, vendor, day"
    ).fetchnumpy()
    refunds = connection.execute(
        f"SELECT * FROM refund WHERE holder >= {first} AND holder < {stop} ORDER BY holder, day"
    ).fetchnumpy()
    return Activity(
        *(rows[name] for name in ("holder", "vendor", "day", "purchases", "cents")),
        *(refunds[name] for name in ("holder", "day", "refunds")),
    )


def _examples(histories: Histories, holder: Array, day: Array, ids: pa.Array, max_horizon: int) -> pa.Table:
    dates = pa.array(day.astype("datetime64[D]"))
    ahead = pa.array(histories.days_to_next(holder, day, max_horizon))
    table = _features(histories, holder, day, ids)
    return table.add_column(1, "reference_date", dates).append_column("days_to_next", ahead)


def _features(histories: Histories, holder: Array, day: Array, ids: pa.Array) -> pa.Table:
    columns = {"holder": ids.take(pa.array(holder))}
    return pa.table(columns | {name: pa.array(values) for name, values in histories.features(holder, day).items()})


def _behaviour(histories: Histories, holder: Array, day: int, ids: pa.Array) -> pa.Table:
    columns = histories.fields(holder, np.full(len(holder), day))
    active = columns["usage_freq"] > 0
    return pa.table(
        {"holder": ids.take(pa.array(holder[active]))}
        | {name: pa.array(values[active]) for name, values in columns.items()}
    )


def _audit(
    activity: Activity, drawn: Mapping[str, tuple[Array, Array]], first: int, stop: int, window_days: int
) -> int:
    """Recompute some examples without the future. A difference is a bug of the features, and no output is written."""
    holder, day = drawn["train"]
    few = np.unique(holder[(holder >= first) & (holder < stop)])[:AUDITED_HOLDERS]
    dates = np.unique(day[np.isin(holder, few)])
    dates = dates[:: max(1, len(dates) // AUDITED_DATES)][:AUDITED_DATES]
    chosen = np.isin(holder, few) & np.isin(day, dates)
    leaking = leakage.leaking_features(
        lambda known, holders, days: Histories(known, window_days).features(holders, days),
        activity.of(few),
        holder[chosen],
        day[chosen],
    )
    if leaking:
        raise RuntimeError(f"features know the future: {', '.join(leaking)} change when later transactions are deleted")
    return int(chosen.sum())


def _describe(table: pa.Table, part: split.Span) -> dict[str, Any]:
    ahead = table["days_to_next"].to_numpy()
    return {
        "first": split.as_date(part.first),
        "last": split.as_date(part.last),
        "reference_dates": len(table["reference_date"].unique()),
        "examples": table.num_rows,
        "holders": len(table["holder"].unique()),
        "positives": {str(k): int((ahead <= k).sum()) for k in REPORTED_HORIZONS},
    }


def _write(table: pa.Table, file: Path, arguments: argparse.Namespace, parts: split.Split) -> None:
    meta = {
        "window_days": arguments.window_days,
        "max_horizon": arguments.max_horizon,
        "train_first": split.as_date(parts.train.first),
        "train_last": split.as_date(parts.train.last),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    described = {key: str(value).encode() for key, value in meta.items()}
    pq.write_table(table.replace_schema_metadata(described), file, compression="zstd")


if __name__ == "__main__":
    main()
