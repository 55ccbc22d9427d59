"""The rolling test windows at the end of a series: where they are, and the files that say so.

`count` windows of `prediction_length` steps, each beginning `spacing` steps after the one before, the last one ending
with the series. A window's beginning is its origin: a forecast of it knows what lies before, and nothing else. What
lies before the first origin is to train on.

`windows.json` holds frequency, target, prediction_length, context_length, season_length, spacing, tail, and of each
window `origin` (ISO 8601), `index` (its first step in the series) and `actual` (null: not observed). `series.parquet`
holds the series, a row a step: `minute`, the step's beginning, and `value`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from seed_code.common import documents
from seed_code.common.errors import ClientError
from seed_code.forecaster.channels import FEWEST_OBSERVATIONS
from seed_code.forecaster.frequency import Frequency
from seed_code.forecaster.grid import GridSeries, nullable

Values = NDArray[np.float64]

FEWEST_WINDOWS = 20  # that a model is judged on, where as many are asked for

WINDOWS_FILE, SERIES_FILE = "windows.json", "series.parquet"


def iso(moment: datetime) -> str:
    """A moment as the files write it: `2026-11-22T00:00:00Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class Windows:
    """Rolling windows.

    Attributes:
        origins: each window's first step in the series, ascending.
        tail: how many steps before an origin a request needs to hold.
    """

    target: str
    prediction_length: int
    context_length: int
    spacing: int
    season_length: int
    tail: int
    origins: tuple[int, ...]

    @property
    def first_origin(self) -> int:
        """Where the training part ends."""
        return self.origins[0]

    def actual(self, values: Values) -> Values:
        """(windows, prediction_length), NaN where not observed."""
        return np.stack([values[origin : origin + self.prediction_length] for origin in self.origins])


def tail(frequency: Frequency, context_length: int, seasonal_lags: str, longest: int) -> int:
    """How many steps before a forecast the network, by any of its lags, and the season's repetition look at."""
    return context_length + max(*frequency.lags(seasonal_lags, longest), frequency.season_length())


def cut(
    series: GridSeries, target: str, *, prediction_length: int, context_length: int, count: int, spacing: int,
    seasonal_lags: str = "none",
) -> Windows:  # fmt: skip
    """The windows at the end of a series.

    Args:
        count: how many.
        spacing: steps between the beginnings of two.
        seasonal_lags: those that the network is to have, see `Frequency.lags`.

    Raises:
        ClientError: when too few observations are left to train on, or too few windows hold enough of them to judge by
            (`FEWEST_WINDOWS`, or all when there are fewer, at half of their steps or more): how many there are, how
            many are needed and why, and the next command.
    """
    tested = (count - 1) * spacing + prediction_length
    first = len(series) - tested
    fewest = max(FEWEST_OBSERVATIONS, context_length + prediction_length)
    trained = int((~np.isnan(series.values[: max(first, 0)])).sum())
    if trained < fewest:
        observed = int((~np.isnan(series.values)).sum())
        raise ClientError(
            f"{observed} observations of `{target}` ({len(series)} steps of {series.frequency}, {_span(series, 0)}), "
            f"{trained} of them before the test windows; {fewest + tested} needed: {fewest} before the windows to "
            f"train on (DeepAR takes no fewer than {FEWEST_OBSERVATIONS}, nor than context and prediction length, "
            f"{context_length} + {prediction_length}), and {tested} for {count} windows of {prediction_length}, one "
            f"every {spacing}. `mlops ingest FILE` brings more; or configure fewer test windows"
        )
    windows = Windows(
        target=target,
        prediction_length=prediction_length,
        context_length=context_length,
        spacing=spacing,
        season_length=series.frequency.season_length(),
        tail=tail(series.frequency, context_length, seasonal_lags, first),
        origins=tuple(range(first, len(series) - prediction_length + 1, spacing)),
    )
    _check_observed(series, windows)
    return windows


def _check_observed(series: GridSeries, windows: Windows) -> None:
    observed = ~np.isnan(windows.actual(series.values))
    count, points = len(windows.origins), windows.prediction_length
    known = int((2 * observed.sum(axis=1) >= points).sum())
    needed = min(count, FEWEST_WINDOWS)
    if known >= needed:
        return
    missing = gaps(np.isnan(series.values))
    begin, end = max((gap for gap in missing if gap[1] > windows.first_origin), key=lambda gap: gap[1] - gap[0])
    raise ClientError(
        f"{known} of {count} test windows ({_span(series, windows.first_origin)}) hold an observation of "
        f"`{windows.target}` at half of their {points} steps or more; {needed} such windows needed to judge a model. "
        f"{int(observed.sum())} of the windows' {observed.size} steps were observed; the longest outage is "
        f"{end - begin} steps of {series.frequency}, {iso(series.time(begin))} to {iso(series.time(end - 1))}. "
        "`mlops ingest FILE` brings minutes that are missing, or later ones; or configure more test windows, so that "
        "they begin earlier"
    )


def _span(series: GridSeries, begin: int) -> str:
    return f"{iso(series.time(begin))} to {iso(series.time(len(series) - 1))}"


def gaps(missing: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Begin and end (the first step after it) of each run of missing steps."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
    return list(zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True))


def write(folder: Path, series: GridSeries, windows: Windows) -> None:
    """Write `windows.json` and `series.parquet`."""
    actual = windows.actual(series.values)
    document = {
        "schema_version": 1,
        "frequency": str(series.frequency),
        "target": windows.target,
        "prediction_length": windows.prediction_length,
        "context_length": windows.context_length,
        "season_length": windows.season_length,
        "spacing": windows.spacing,
        "tail": windows.tail,
        "windows": [
            {"origin": iso(series.time(origin)), "index": origin, "actual": nullable(values)}
            for origin, values in zip(windows.origins, actual, strict=True)
        ],
    }
    documents.write(folder / WINDOWS_FILE, document)
    steps = series.frequency.starts_of(series.start + series.frequency.multiple * np.arange(len(series)))
    table = pa.table(
        {
            "minute": pa.array(steps).cast(pa.timestamp("s", "UTC")),
            "value": pa.array(series.values, mask=np.isnan(series.values)),
        }
    )
    pq.write_table(table, folder / SERIES_FILE, compression="zstd")


def read(folder: Path) -> tuple[GridSeries, Windows]:
    """What `write` wrote.

    Raises:
        ClientError: when a file is missing or is another one.
    """
    document: dict[str, Any] = documents.read(folder / WINDOWS_FILE)
    try:
        # Not read_table, which imports pyarrow.dataset for half a second.
        with pq.ParquetFile(folder / SERIES_FILE) as file:
            table = file.read()
    except FileNotFoundError:
        raise ClientError(f"there is no {folder / SERIES_FILE}; expected what Prepare left") from None
    except pa.ArrowException as error:
        raise ClientError(f"{folder / SERIES_FILE} is not a Parquet file: {error}") from error
    frequency = Frequency.parse(document["frequency"])
    values = table["value"].to_numpy().astype(np.float64)
    series = GridSeries(frequency, frequency.ordinal(table["minute"][0].as_py().replace(tzinfo=None)), values)
    names = ("target", "prediction_length", "context_length", "spacing", "season_length", "tail")
    origins = tuple(window["index"] for window in document["windows"])
    return series, Windows(**{name: document[name] for name in names}, origins=origins)
