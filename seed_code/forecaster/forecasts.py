"""Requests and answers of DeepAR's inference contract, apart from HTTP.

    {"instances": [{"start": …, "target": […], "cat": […], "dynamic_feat": [[…]]}],
     "configuration": {"num_samples": 100, "output_types": ["mean", "quantiles", "samples"], "quantiles": ["0.1"]}}
    → {"predictions": [{"mean": […], "quantiles": {"0.1": […]}, "samples": [[…]]}]}

`configuration`, and each of its fields, may be left out. In batch transform a line is one instance and a line of the
answer one prediction; the configuration then comes from the environment (`CONFIGURATION_VARIABLE`).

Source: "DeepAR Inference Formats" in the SageMaker Developer Guide.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seed_code.common.request_errors import RequestError, shown
from seed_code.forecaster import records
from seed_code.forecaster.artifact import Artifact
from seed_code.forecaster.frequency import EXPECTED, Frequency
from seed_code.forecaster.metrics import quantiles_of
from seed_code.forecaster.records import FieldError, Series
from seed_code.forecaster.sampler import NotFinite, Sampler

CONFIGURATION_VARIABLE = "DEEPAR_INFERENCE_CONFIG"
OUTPUT_TYPES = ("mean", "quantiles", "samples")

# Sampled values that one request may ask for. On a slow core this is a third of the minute that SageMaker waits.
MOST_VALUES = 10_000_000
_MOST_SAMPLES = 10_000
_MOST_QUANTILES = 1000


@dataclass(frozen=True)
class Configuration:
    """What an answer is to hold.

    Attributes:
        quantiles: by the name that the request gave it, which the answer repeats.
    """

    num_samples: int
    output_types: tuple[str, ...]
    quantiles: dict[str, float]

    @classmethod
    def parse(cls, document: object, field: str = "configuration") -> "Configuration":
        """The configuration of a request, defaults filled in; None is all defaults.

        Raises:
            RequestError: naming the field that is wrong.
        """
        if document is None:
            return DEFAULT
        if not isinstance(document, dict):
            raise RequestError(f"is {shown(document)}; expected an object", field)
        if unknown := sorted(set(document) - {"num_samples", "output_types", "quantiles"}):
            raise RequestError(
                "is unknown; expected num_samples, output_types or quantiles", f"{field}.{unknown[0][:60]}"
            )
        return cls(
            _num_samples(document.get("num_samples", DEFAULT.num_samples), f"{field}.num_samples"),
            _output_types(document.get("output_types", list(DEFAULT.output_types)), f"{field}.output_types"),
            _quantiles(document.get("quantiles", list(DEFAULT.quantiles)), f"{field}.quantiles"),
        )


DEFAULT = Configuration(100, ("mean", "quantiles"), {f"0.{tenth}": tenth / 10 for tenth in range(1, 10)})


def _num_samples(value: object, field: str) -> int:
    if type(value) is not int or not 1 <= value <= _MOST_SAMPLES:
        raise RequestError(f"is {shown(value)}; expected a whole number from 1 to {_MOST_SAMPLES}", field)
    return value


def _output_types(value: object, field: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(one in OUTPUT_TYPES for one in value):
        raise RequestError(f"is {shown(value)}; expected a list of some of {', '.join(OUTPUT_TYPES)}", field)
    return tuple(value)


def _quantiles(value: object, field: str) -> dict[str, float]:
    expected = 'expected a list of numbers in (0, 1), such as ["0.1", "0.5", "0.9"]'
    if not isinstance(value, list) or not 0 < len(value) <= _MOST_QUANTILES:
        raise RequestError(f"is {shown(value)}; {expected}", field)
    levels = {}
    for at, one in enumerate(value):
        try:
            level = float(one) if isinstance(one, str | float) else -1.0
        except ValueError:
            level = -1.0
        if not 0 < level < 1:
            raise RequestError(f"is {shown(one)}; {expected}", f"{field}[{at}]")
        levels[str(one)] = level
    return levels


class Forecaster:
    """A trained model that answers requests. Thread-safe.

    The same request gets the same answer: the samples' seed is made from the series.
    """

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._sampler = Sampler(artifact)

    def answer(self, document: object) -> dict[str, Any]:
        """The response to an online request.

        Raises:
            RequestError: naming the field that is wrong.
        """
        if not isinstance(document, dict):
            raise RequestError(f"the body is {shown(document)}; expected an object with `instances`")
        instances = document.get("instances")
        if not isinstance(instances, list) or not instances:
            found = shown(instances) if "instances" in document else "missing"
            raise RequestError(f"is {found}; expected a list of at least one series", "instances")
        configuration = Configuration.parse(document.get("configuration"))
        return {"predictions": self.predict(instances, configuration)}

    def predict(self, instances: Sequence[object], configuration: Configuration, field: str = "instances") -> list[Any]:
        """The prediction for each instance; numbers are NumPy arrays of 32-bit floats.

        Args:
            field: the name of the list in messages.

        Raises:
            RequestError: naming the field that is wrong.
        """
        horizon, paths = self._artifact.prediction_length, configuration.num_samples
        if len(instances) * paths * horizon > MOST_VALUES:
            most = MOST_VALUES // (paths * horizon)
            raise RequestError(
                f"holds {len(instances)} series; expected at most {most} in one request with {paths} samples "
                f"of {horizon} steps",
                field,
            )
        series = [self._series(instance, f"{field}[{at}]") for at, instance in enumerate(instances)]
        rng = np.random.default_rng(_seed(series))
        try:
            samples = self._sampler.sample(series, paths, rng)
        except NotFinite as error:
            raise RequestError(_unlike(series[error.series]), f"{field}[{error.series}].target") from error
        predictions: list[dict[str, Any]] = [{} for _ in series]
        if "mean" in configuration.output_types:
            for prediction, mean in zip(predictions, samples.mean(axis=1, dtype=np.float64), strict=True):
                prediction["mean"] = mean.astype(np.float32)
        if "quantiles" in configuration.output_types:
            values = quantiles_of(samples, list(configuration.quantiles.values())).astype(np.float32)
            for at, prediction in enumerate(predictions):
                prediction["quantiles"] = dict(zip(configuration.quantiles, values[:, at], strict=True))
        if "samples" in configuration.output_types:
            for prediction, paths_of_one in zip(predictions, samples, strict=True):
                prediction["samples"] = np.ascontiguousarray(paths_of_one)
        return predictions

    def _series(self, instance: object, field: str) -> Series:
        artifact = self._artifact
        try:
            series = records.parse(instance, artifact.frequency)
            self._check_frequency(instance)
            self._check_cat(series)
            self._check_dynamic_feat(series)
        except FieldError as mistake:
            raise RequestError(
                mistake.message, field if mistake.field is None else f"{field}.{mistake.field}"
            ) from None
        return series

    def _check_frequency(self, instance: Any) -> None:
        # No field of the contract, but one that data for GluonTS often carries; wrong, it makes nonsense of the rest.
        if (freq := instance.get("freq")) is None:
            return
        expected = f"`{self._artifact.frequency}`, the frequency that the model was trained for, or no `freq`"
        try:
            other = Frequency.parse(freq) if isinstance(freq, str) else None
        except ValueError:
            raise FieldError("freq", f"is {shown(freq)}; expected {EXPECTED}") from None
        if other != self._artifact.frequency:
            raise FieldError("freq", f"is {shown(freq)}; expected {expected}")

    def _check_cat(self, series: Series) -> None:
        cardinality = self._artifact.cardinality
        if self._artifact.takes_cat == "refused" and series.cat:
            raise FieldError("cat", f"is {list(series.cat)}; expected none: the model was trained without")
        if self._artifact.takes_cat == "required":
            fits = len(series.cat) == len(cardinality)
            if not fits or any(value >= count for value, count in zip(series.cat, cardinality, strict=True)):
                found = f"is {list(series.cat)}" if series.cat else "is missing"
                raise FieldError("cat", f"{found}; expected {len(cardinality)} numbers below {list(cardinality)}")

    def _check_dynamic_feat(self, series: Series) -> None:
        artifact = self._artifact
        count, values = series.dynamic_feat.shape
        if artifact.takes_dynamic_feat == "refused" and count:
            raise FieldError("dynamic_feat", f"has {count} features; expected none: the model was trained without")
        expected = len(series) + artifact.prediction_length
        if artifact.takes_dynamic_feat == "required" and (count, values) != (artifact.num_dynamic_feat, expected):
            found = f"has {count} features of {values} values" if count else "is missing"
            raise FieldError(
                "dynamic_feat",
                f"{found}; expected {artifact.num_dynamic_feat} of {expected}: "
                f"{len(series)} as in `target` and {artifact.prediction_length} to forecast",
            )


def _unlike(series: Series) -> str:
    sizes = np.abs(series.target)
    return (
        f"has values of sizes from {np.nanmin(sizes):.3g} to {np.nanmax(sizes):.3g}, which the network cannot forecast "
        "in 32-bit floats; expected sizes like those that it was trained on"
        if np.isfinite(sizes).any()
        else "cannot be forecast: what the network makes of it is not finite; expected another model, or series"
    )


def _seed(series: Sequence[Series]) -> int:
    seed = 0
    for one in series:
        seed = zlib.crc32(one.target, zlib.crc32(str((one.start, one.cat)).encode(), seed))
    return seed
