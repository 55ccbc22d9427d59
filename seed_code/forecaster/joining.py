"""Predictions, joined with what happened, once their horizon has ended: a row for each, and the ground truth of all.

Two kinds of predictions: those that the monitor itself has asked for, which are at hand, and those that others got from
the endpoint (the REST API's callers), which its data capture has kept. A prediction is joined by the evaluation in
whose hour it comes due: when the last of its steps has ended and it has been asked for, whichever is later. What the
capture brings to S3 after that evaluation is joined by none; SageMaker takes minutes at most, and a horizon longer.

A row of `joined/…/{T}.jsonl`:

    {"inference_id", "source": "monitor" | "endpoint", "asked": when, "origin": the first step's beginning,
     "step_minutes", "mean": [...] | null, "quantiles": {"0.05": [...], …}, "actual": [… null: not observed]}

Ground truth lies where SageMaker Model Monitor looks for it, in the form that it merges by the inference's id: a line a
prediction, in `{--ground-truth-uri}/YYYY/MM/DD/HH/{stage}-{T}.jsonl` by the hour in which it was asked for.

Source: "Ingest ground truth labels and merge them with predictions" in the SageMaker Developer Guide.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from seed_code.common.captured import Capture, Captured
from seed_code.common.monitoring import Evaluation, iso, stamp
from seed_code.common.monitoring_store import encoded
from seed_code.common.objects import Objects
from seed_code.forecaster import hourly
from seed_code.forecaster.frequency import parse_start
from seed_code.forecaster.grid import nullable
from seed_code.forecaster.hourly import Asked, Plan
from seed_code.forecaster.online import OnlineMinutes

MONITOR, ENDPOINT = "monitor", "endpoint"
_MOST_STEPS = 10_000


@dataclass(frozen=True)
class Prediction:
    """A forecast that somebody got.

    Attributes:
        asked: when.
        origin: its first minute, since 1970-01-01, at the beginning of a step.
        mean: (steps,), None when the caller did not want it.
        quantiles: (steps,) by level; at least one level, or a mean.
    """

    inference_id: str
    source: str
    asked: datetime
    origin: int
    steps: int
    mean: list[float] | None
    quantiles: Mapping[str, list[float]]


def own(windows: Sequence[Asked], levels: Sequence[float]) -> list[Prediction]:
    """The monitor's own predictions, asked for at their origin."""
    return [
        Prediction(
            window.inference_id,
            MONITOR,
            hourly.moment_of(window.origin),
            window.origin,
            len(window.actual),
            window.answer[0].tolist(),
            {f"{level:g}": row.tolist() for level, row in zip(levels, window.answer[1:], strict=True)},
        )
        for window in windows
        if window.answer is not None
    ]


def captured(objects: Objects, of: Evaluation, plan: Plan) -> tuple[list[Prediction], int]:
    """The predictions of others that have come due in the hour, and how many lines of the capture cannot be read.

    Raises:
        ClientError: when S3 does not answer.
    """
    capture = Capture(objects)
    horizon = timedelta(minutes=plan.length * plan.step)
    found: dict[str, Prediction] = {}
    for one in capture.between(of, of.begin - horizon, of.time):
        if one.inference_id.endswith(f"-monitor-{of.stage}"):
            continue
        try:
            predictions = list(_predictions(one, plan.step))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            capture.unreadable += 1
            continue
        for prediction in predictions:
            end = hourly.moment_of(prediction.origin + prediction.steps * plan.step)
            if of.begin < max(end, one.time) <= of.time:
                found[prediction.inference_id] = prediction
    return list(found.values()), capture.unreadable


def rows(predictions: Sequence[Prediction], minutes: OnlineMinutes, of: Evaluation, plan: Plan) -> list[dict[str, Any]]:
    """Each prediction with what happened, as far as it was known at the evaluation.

    Raises:
        ClientError: when the feature store does not answer.
    """
    minutes.read(minute for one in predictions for minute in range(one.origin, one.origin + one.steps * plan.step))
    return [
        {
            "inference_id": one.inference_id,
            "source": one.source,
            "asked": iso(one.asked),
            "origin": iso(hourly.moment_of(one.origin)),
            "step_minutes": plan.step,
            "mean": one.mean,
            "quantiles": dict(one.quantiles),
            "actual": nullable(minutes.series(one.origin, one.origin + one.steps * plan.step, of.time).values),
        }
        for one in predictions
    ]


def put_ground_truth(objects: Objects, uri: str, of: Evaluation, joined: Sequence[Mapping[str, Any]]) -> None:
    """Write what happened to where ground truth is looked for.

    Raises:
        ClientError: when S3 does not answer.
    """
    hours: dict[str, list[bytes]] = defaultdict(list)
    for row in joined:
        asked = datetime.fromisoformat(row["asked"])
        line = {
            "groundTruthData": {"data": json.dumps(row["actual"]), "encoding": "JSON"},
            "eventMetadata": {"eventId": row["inference_id"]},
            "eventVersion": "0",
        }
        hours[f"{asked:%Y/%m/%d/%H}"].append(encoded(line))
    for hour, lines in hours.items():
        name = f"{of.stage}-{stamp(of.time)}.jsonl"
        objects.put(f"{uri.rstrip('/')}/{hour}/{name}", b"".join(lines), "application/jsonlines")


def _predictions(one: Captured, step: int) -> Iterator[Prediction]:
    """The forecasts of a captured request; none of one that was not captured whole.

    Raises ValueError and the like when it is no request for forecasts, or has another answer.
    """
    if one.request is None or one.answer is None:
        return
    instances = json.loads(one.request)["instances"]
    predictions = json.loads(one.answer)["predictions"]
    for number, (instance, prediction) in enumerate(zip(instances, predictions, strict=True)):
        quantiles = {str(level): _numbers(values) for level, values in prediction.get("quantiles", {}).items()}
        mean = _numbers(prediction["mean"]) if "mean" in prediction else None
        lengths = {len(values) for values in (*quantiles.values(), *([] if mean is None else [mean]))}
        if len(lengths) != 1 or not 0 < (steps := lengths.pop()) <= _MOST_STEPS:
            raise ValueError("neither mean nor quantiles, or not of one length")
        start = int(parse_start(instance["start"]).replace(tzinfo=UTC).timestamp() // 60) // step * step
        yield Prediction(
            # As the REST API names the answers of a batch.
            one.inference_id if len(instances) == 1 else f"{one.inference_id}-{number}",
            ENDPOINT,
            one.time,
            start + len(instance["target"]) * step,
            steps,
            mean,
            quantiles,
        )


def _numbers(values: Any) -> list[float]:
    numbers = [float(value) for value in values]
    encoded(numbers)  # refuses what is not finite
    return numbers
