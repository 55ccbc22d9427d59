"""Invents blockchain minutes: `python -m seed_code.forecaster.generate --out FILE.csv[.gz]|FILE.parquet`.

    [--end 2026-11-22T00:00:00Z] [--days 8] [--seed 7] [--drift-at 2026-11-21T00:00:00Z]

One row a version of a minute, with the columns of the feature group that `prepare` reads, in the order of `event_time`:
the order in which a feed would have brought them. The content is synthetic; no real transaction is in it. Fees are
in satoshi. The market is that of seed_code/common/market.py, which says what is modelled: here its outages are minutes
that are missing, quiet minutes are rows whose average is empty, and minutes that are issued twice have the same
`tx_minute` with a later `event_time`. With --drift-at the market is another one from that minute on; until then the
rows are those without the option.

The same arguments give the same bytes. Days are drawn one by one, so that what a file says of a minute depends on the
seed alone: a file of thirty days holds the rows of the file of eight.
"""

import argparse
import gzip
import io
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from seed_code.common.arguments import ArgumentParser, whole_number
from seed_code.common.errors import ClientError
from seed_code.common.failure import reports_failure
from seed_code.common.market import Ints, Minutes, simulate

COLUMNS = ("tx_minute", "total_nb_trx_1min", "total_fee_1min", "avg_fee_1min", "event_time")
MOST_DAYS = 3660


def table(minutes: Minutes) -> pa.Table:
    """The rows of the file: every version of every minute, in the order of `event_time`."""
    twice = minutes.reissued
    minute = np.concatenate([minutes.minute, minutes.minute[twice]])
    early = np.rint(minutes.transactions * minutes.early).astype(np.int64)[twice]
    early_fee = np.rint(minutes.fee * minutes.early).astype(np.int64)[twice]
    transactions = np.concatenate([minutes.transactions, early])
    fee = np.concatenate([minutes.fee, early_fee])
    # The complete version of a minute that was issued too early comes minutes later.
    late = np.where(twice, 60 * (1 + minutes.delay), 0)
    made = 60 * (minute + 1) + np.concatenate([minutes.delay + late, minutes.delay[twice]])
    order = np.lexsort((minute, made))
    average = np.round(fee / np.maximum(transactions, 1), 2)[order]
    return pa.table(
        {
            "tx_minute": _times(60 * minute[order]),
            "total_nb_trx_1min": pa.array(transactions[order]),
            "total_fee_1min": pa.array(fee[order].astype(np.float64)),
            "avg_fee_1min": pa.array(average, mask=transactions[order] == 0),
            "event_time": _times(made[order]),
        }
    )


def _times(seconds: Ints) -> pa.Array:
    """ISO 8601 texts in UTC of seconds since 1970-01-01."""
    return pa.array(np.char.add(np.datetime_as_string(seconds.astype("datetime64[s]")), "Z"))


def write(rows: pa.Table, out: Path) -> None:
    """Write rows to a file whose name ends in .csv, .csv.gz or .parquet.

    Raises:
        ClientError: when it ends otherwise.
    """
    if not out.name.endswith((".csv", ".csv.gz", ".parquet")):
        raise ClientError(f"--out is `{out}`; expected a name that ends in .csv, .csv.gz or .parquet")
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".parquet":
        from pyarrow import parquet  # each format's module only for who asks for it: 0.1 s

        parquet.write_table(rows, out, compression="zstd")
        return
    from pyarrow import csv

    lines = io.BytesIO((",".join(COLUMNS) + "\n").encode())
    lines.seek(0, io.SEEK_END)
    csv.write_csv(rows, lines, csv.WriteOptions(include_header=False, quoting_style="none"))
    # No name and no time in a gzip header: they would differ from run to run.
    content = gzip.compress(lines.getvalue(), compresslevel=6, mtime=0) if out.suffix == ".gz" else lines.getvalue()
    out.write_bytes(content)


def _minute(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"`{text}` is no ISO 8601 time such as 2026-11-22T00:00:00Z") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() // 60)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="generate", description="Invents minutes of a blockchain (synthetic: no real transaction)."
    )
    parser.add_argument("--out", required=True, type=Path, help="file to write: .csv, .csv.gz or .parquet")
    parser.add_argument(
        "--end", type=_minute, default="2026-11-22T00:00:00Z", help="the first minute after the last one, ISO 8601"
    )
    parser.add_argument("--days", type=whole_number(1, MOST_DAYS), default=8, help="how many, before --end")
    parser.add_argument("--seed", type=whole_number(0, 2**31 - 1), default=7, help="the same seed gives the same bytes")
    parser.add_argument("--drift-at", type=_minute, help="from when on the market is another one, ISO 8601")
    return parser


@reports_failure
def main() -> None:
    """Write one file of minutes, as the command line says."""
    arguments = _parser().parse_args()
    began = time.perf_counter()
    rows = table(simulate(arguments.end, arguments.days, arguments.seed, arguments.drift_at))
    write(rows, arguments.out)
    seconds = time.perf_counter() - began
    sys.stdout.write(f"{arguments.out}: {rows.num_rows:,} synthetic rows, {seconds:.1f} s\n")


if __name__ == "__main__":
    main()
