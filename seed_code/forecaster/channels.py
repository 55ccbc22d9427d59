"""A training job's channels: every file below a folder, in the formats of the built-in algorithm.

JSON Lines (`.json`, `.jsonl`, either also with `.gz`) and Parquet, told apart by extension, or by the channel's
content type where a file has none. Files that begin with a dot and those named `_SUCCESS` are left out, so that a
Spark job's output is a channel. Files are read one at a time, in the order of their paths.

No field of a record says what the series are of. `.target.json` (`{"target": "avg_fee_1min"}`), one of the files that
are left out, may: it comes along into the model, whose forecasts are compared with those of the same target only.

Source of the formats: "Use the SageMaker AI DeepAR forecasting algorithm" in the SageMaker Developer Guide.
"""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seed_code.common import documents
from seed_code.common.errors import ClientError
from seed_code.common.request_errors import shown
from seed_code.forecaster import records
from seed_code.forecaster.frequency import Frequency
from seed_code.forecaster.hyperparameters import AUTO, IGNORE, Hyperparameters
from seed_code.forecaster.records import FieldError, Series

FEWEST_OBSERVATIONS = 300
TARGET_FILE = ".target.json"
_MOST_MISTAKES = 5

_JSON, _JSON_GZ, _PARQUET = "json", "json.gz", "parquet"
_EXTENSIONS = {
    ".json": _JSON, ".jsonl": _JSON, ".json.gz": _JSON_GZ, ".jsonl.gz": _JSON_GZ, ".parquet": _PARQUET,
}  # fmt: skip
_CONTENT_TYPES = {
    "json": _JSON, "application/json": _JSON, "jsonlines": _JSON, "application/jsonlines": _JSON,
    "json.gz": _JSON_GZ, "parquet": _PARQUET, "application/x-parquet": _PARQUET,
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """What all records of a data set have in common: the sizes that the network is built for.

    Attributes:
        cardinality: categories per categorical feature; none when they are not used.
        num_dynamic_feat: dynamic features; 0 when they are not used.
    """

    cardinality: tuple[int, ...]
    num_dynamic_feat: int


def read(folder: Path, frequency: Frequency, content_type: str | None = None) -> list[Series]:
    """The series of a channel.

    Args:
        folder: the channel's; a missing one counts as empty.
        content_type: as in `inputdataconfig.json`, used for files whose extension tells nothing.

    Raises:
        ClientError: when there is no file, or a file cannot be read; naming up to five wrong records, each by its
            file and line.
    """
    series: list[Series] = []
    mistakes: list[str] = []
    files = _files(folder)
    if not files:
        raise ClientError(
            f"channel `{folder.name}` holds no file; expected {', '.join(_EXTENSIONS)}, in any depth of folders"
        )
    for file in files:
        name = f"{folder.name}/{file.relative_to(folder)}"
        kind = _format(file, name, content_type)
        for place, record in _records(file, name, kind):
            try:
                if isinstance(record, ValueError):
                    raise record
                series.append(_training_series(record, frequency))
            except ValueError as mistake:
                mistakes.append(f"{name}, {place}: {mistake}")
            if len(mistakes) == _MOST_MISTAKES:
                raise ClientError("; ".join([*mistakes, "further lines were not read"]))
    if mistakes:
        raise ClientError("; ".join(mistakes))
    if not series:
        raise ClientError(f"channel `{folder.name}` holds no record in {len(files)} file(s)")
    return series


def target_of(folder: Path) -> str | None:
    """What the series of a channel are of; None where no `.target.json` says it.

    Raises:
        ClientError: when it says something else.
    """
    file = folder / TARGET_FILE
    if not file.is_file():
        return None
    document = documents.read(file)
    target = document.get("target") if isinstance(document, dict) else None
    if not isinstance(target, str):
        raise ClientError(f'{file} is {shown(document)}; expected an object such as {{"target": "avg_fee_1min"}}')
    return target


def _files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.name != "_SUCCESS"
    )


def _format(file: Path, name: str, content_type: str | None) -> str:
    for extension, kind in sorted(_EXTENSIONS.items(), key=lambda item: -len(item[0])):
        if file.name.endswith(extension):
            return kind
    if content_type is None or content_type == AUTO:
        raise ClientError(f"{name} has none of the extensions {', '.join(_EXTENSIONS)}, and its channel no ContentType")
    if content_type not in _CONTENT_TYPES:
        raise ClientError(
            f"ContentType of {name} is `{content_type}`; expected auto or one of {', '.join(_CONTENT_TYPES)}"
        )
    return _CONTENT_TYPES[content_type]


def _training_series(record: object, frequency: Frequency) -> Series:
    series = records.parse(record, frequency)
    if not len(series):
        raise FieldError("target", "is empty; expected at least one value")
    if len(series.dynamic_feat) and series.dynamic_feat.shape[1] != len(series):
        raise FieldError(
            "dynamic_feat",
            f"has {series.dynamic_feat.shape[1]} values a feature; expected {len(series)}, as in `target`",
        )
    return series


def _records(file: Path, name: str, kind: str) -> Iterator[tuple[str, Any]]:
    """Each record with its place in the file; a line that is not JSON comes as a ValueError."""
    return _parquet_records(file, name) if kind == _PARQUET else _json_records(file, name, kind == _JSON_GZ)


def _json_records(file: Path, name: str, compressed: bool) -> Iterator[tuple[str, Any]]:
    try:
        with gzip.open(file, "rb") if compressed else file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                yield f"line {number}", _json(line)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ClientError(f"{name} is not a whole gzip file: {error}") from error


def _json(line: bytes) -> Any:
    try:
        return records.loads(line)
    except ValueError as mistake:
        return mistake


def _parquet_records(file: Path, name: str) -> Iterator[tuple[str, Any]]:
    # Only who brings Parquet pays for pyarrow's import.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as parquet:
            present = [
                column for column in ("start", "target", "cat", "dynamic_feat") if column in parquet.schema_arrow.names
            ]
            row = 0
            for batch in parquet.iter_batches(batch_size=256, columns=present):
                for values in zip(*(_column(batch.column(column)) for column in present), strict=True):
                    row += 1
                    yield f"row {row}", dict(zip(present, values, strict=True))
    except pa.ArrowException as error:
        raise ClientError(f"{name} is not a Parquet file: {error}") from error


def _column(column: Any) -> Iterator[Any]:
    """A Parquet column's values: lists of numbers as arrays (null is NaN), time stamps as the contract's text."""
    import pyarrow as pa

    kind = column.type
    stamps = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    flat = lists and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))
    for value in column:
        if stamps and value.is_valid:
            yield str(value.as_py())
        elif flat and value.is_valid:
            yield value.values.to_numpy(zero_copy_only=False)
        else:
            yield value.as_py()


def shape_of(series: Iterable[Series], settings: Hyperparameters) -> Shape:
    """The sizes that the training data and the settings agree on.

    Raises:
        ClientError: when records differ in them, or differ from the settings.
    """
    cats, feats = set(), set()
    largest: np.ndarray | None = None
    for one in series:
        cats.add(len(one.cat))
        feats.add(len(one.dynamic_feat))
        if len(cats) == 1 and one.cat:
            largest = np.maximum(np.array(one.cat) if largest is None else largest, one.cat)
    cardinality: tuple[int, ...] = ()
    if settings.cardinality != IGNORE:
        if len(cats) > 1:
            raise ClientError(f"`cat` has {_counts(cats)} values in different records; expected the same in all")
        found = () if largest is None else tuple(int(value) + 1 for value in largest)
        cardinality = found if settings.cardinality == AUTO else tuple(settings.cardinality)
        if len(cardinality) != len(found) or any(f > c for f, c in zip(found, cardinality, strict=True)):
            raise ClientError(
                f"`cardinality` is {list(cardinality)}, but the training data's `cat` needs {list(found)}; "
                "expected that or more, or auto"
            )
    num_dynamic_feat = 0
    if settings.num_dynamic_feat != IGNORE:
        if len(feats) > 1:
            raise ClientError(
                f"`dynamic_feat` has {_counts(feats)} features in different records; expected the same in all"
            )
        (num_dynamic_feat,) = feats
        if settings.num_dynamic_feat not in (AUTO, num_dynamic_feat):
            raise ClientError(
                f"`num_dynamic_feat` is {settings.num_dynamic_feat}, but the training data has {num_dynamic_feat}"
            )
    return Shape(cardinality, num_dynamic_feat)


def _counts(counts: set[int]) -> str:
    return " and ".join(str(count) for count in sorted(counts))


def check_fits(series: Iterable[Series], shape: Shape, channel: str) -> None:
    """Hold another channel to the training data's sizes.

    Raises:
        ClientError: naming the first record that does not fit.
    """
    for at, one in enumerate(series, start=1):
        if shape.cardinality:
            if len(one.cat) != len(shape.cardinality):
                raise ClientError(
                    f"channel `{channel}`, record {at}: `cat` has {len(one.cat)} values; "
                    f"expected {len(shape.cardinality)}, as in the training data"
                )
            for value, count in zip(one.cat, shape.cardinality, strict=True):
                if value >= count:
                    raise ClientError(
                        f"channel `{channel}`, record {at}: `cat` is {list(one.cat)}; "
                        f"expected values below {list(shape.cardinality)}, the categories of the training data"
                    )
        if shape.num_dynamic_feat and len(one.dynamic_feat) != shape.num_dynamic_feat:
            raise ClientError(
                f"channel `{channel}`, record {at}: `dynamic_feat` has {len(one.dynamic_feat)} features; "
                f"expected {shape.num_dynamic_feat}, as in the training data"
            )


def check_observations(series: Iterable[Series], settings: Hyperparameters) -> None:
    """Refuse training data that cannot be learnt from, as the built-in algorithm does.

    Raises:
        ClientError: saying how many observations there are and how many are needed, that no series is as long as a
            forecast, or which value the likelihood cannot have.
    """
    steps = observed = longest = 0
    for at, one in enumerate(series, start=1):
        values = one.target[~np.isnan(one.target)]
        steps += len(one)
        observed += len(values)
        longest = max(longest, len(one))
        _check_support(values, settings.likelihood, at)
    if observed < FEWEST_OBSERVATIONS:
        raise ClientError(
            f"channel `train` has {observed} observations ({steps} values, {steps - observed} of them missing); "
            f"expected at least {FEWEST_OBSERVATIONS}"
        )
    if longest < settings.prediction_length:
        raise ClientError(
            f"the longest series of channel `train` has {longest} values; expected at least the "
            f"`prediction_length`, {settings.prediction_length}, in one of them"
        )


def _check_support(values: np.ndarray, likelihood: str, record: int) -> None:
    if likelihood == "beta":
        wrong, expected = (values < 0) | (values > 1), "from 0 to 1"
    elif likelihood == "negative-binomial":
        wrong, expected = (values < 0) | (values != np.floor(values)), "that are whole and not negative"
    else:
        return
    if wrong.any():
        raise ClientError(
            f"channel `train`, record {record}: `target` holds {values[np.argmax(wrong)]:g}; "
            f"`likelihood` {likelihood} takes values {expected}"
        )
