"""The Parquet files that Prepare leaves, read and checked at the door of the steps that use them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from seed_code.cardholders.features import DEFAULT_WINDOW_DAYS, FIELDS
from seed_code.common.errors import ClientError

REFERENCE_DATE = "reference_date"
DAYS_TO_NEXT = "days_to_next"  # days from the reference date to the next purchase, 1 and up; NaN when there is none


def read(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Columns `columns` of a Parquet file, with a plain row index.

    Raises:
        ClientError: when the file is missing or unreadable, lacks a column, or has no rows.
    """
    if not file.is_file():
        raise ClientError(f"there is no {file}; expected the Parquet file that the Prepare step leaves")
    try:
        frame = pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise ClientError(f"{file} is not readable as Parquet: {error}") from error
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ClientError(f"{file} lacks {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")
    if frame.empty:
        raise ClientError(f"{file} has no rows")
    return frame[list(columns)].reset_index(drop=True)


def columns_of_examples(features: Sequence[str]) -> list[str]:
    """Columns of `examples.parquet` that training and evaluation use."""
    return [*FIELDS, *features, REFERENCE_DATE, DAYS_TO_NEXT]


def window_days(file: Path) -> int:
    """The behaviour window that Prepare counted over, which it notes in the Parquet file's own metadata."""
    return _noted(file, b"window_days", DEFAULT_WINDOW_DAYS)


def horizon_days(file: Path, otherwise: int) -> int:
    """How many days ahead Prepare looked for the next purchase; `otherwise` where the file does not say."""
    return _noted(file, b"max_horizon", otherwise)


def _noted(file: Path, key: bytes, otherwise: int) -> int:
    noted = (pq.read_schema(file).metadata or {}).get(key, b"").decode()
    return int(noted) if noted.isdigit() else otherwise


def fields(frame: pd.DataFrame) -> NDArray[np.float64]:
    """The three fields as an array, one row a holder."""
    return frame[list(FIELDS)].to_numpy(dtype=np.float64)


def dates(frame: pd.DataFrame) -> NDArray[np.datetime64]:
    """The reference dates as `datetime64[D]`."""
    return pd.to_datetime(frame[REFERENCE_DATE]).to_numpy().astype("datetime64[D]")
