"""The live endpoint, asked for forecasts as the REST API asks it.

The request and the answer are DeepAR's, of the built-in image as of ours: "DeepAR Inference Formats" in the SageMaker
Developer Guide.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as AwsError

from seed_code.common.request_errors import shown
from seed_code.forecaster import answers, records
from seed_code.forecaster.answers import Values
from seed_code.forecaster.grid import GridSeries

_JSON = "application/json"
_MISSING = "NaN"


class NoAnswer(Exception):
    """The endpoint has no forecast; the message says why."""


class LiveEndpoint:
    """An endpoint that forecasts."""

    def __init__(self, client: Any, name: str, levels: Sequence[float], num_samples: int) -> None:
        """client: boto3's for sagemaker-runtime. levels: quantiles. num_samples: paths that they are taken of."""
        self._client, self._name = client, name
        self._levels, self._num_samples = tuple(levels), num_samples

    def forecast(self, history: GridSeries, steps: int, inference_id: str) -> list[Values]:
        """The mean and then the quantiles of the steps that follow a series, each (steps,).

        inference_id: kept by the endpoint's data capture.

        Raises:
            NoAnswer: when the endpoint is not there, refuses, or its answer is no forecast of as many steps.
        """
        body = json.dumps(self._question(history), separators=(",", ":"), allow_nan=False).encode()
        try:
            answer = self._client.invoke_endpoint(
                EndpointName=self._name, ContentType=_JSON, Accept=_JSON, Body=body, InferenceId=inference_id
            )
            content = answer["Body"].read()
        except (AwsError, BotoCoreError) as error:
            raise NoAnswer(f"the endpoint {self._name} does not answer: {error}") from error
        try:
            return forecast_in(content, steps, self._levels)
        except ValueError as error:
            raise NoAnswer(f"the endpoint {self._name} answers no forecast: {error}") from error

    def _question(self, history: GridSeries) -> dict[str, Any]:
        return {
            "instances": [
                {
                    "start": f"{history.time(0):%Y-%m-%d %H:%M:%S}",
                    "target": [_MISSING if np.isnan(value) else float(value) for value in history.values],
                }
            ],
            "configuration": {
                "num_samples": self._num_samples,
                "output_types": ["mean", "quantiles"],
                "quantiles": [f"{level:g}" for level in self._levels],
            },
        }


def forecast_in(content: bytes, steps: int, levels: Sequence[float]) -> list[Values]:
    """The mean and the quantiles of the first steps in an answer to one instance, each (steps,).

    Raises:
        ValueError: saying what is wrong with it.
    """
    document = records.loads(content)
    predictions = document.get("predictions") if isinstance(document, dict) else None
    if not isinstance(predictions, list) or len(predictions) != 1 or not isinstance(predictions[0], dict):
        raise ValueError(f"it is {shown(document)}; expected `predictions` with one forecast")
    mean = predictions[0].get("mean")
    length = len(mean) if isinstance(mean, list) else steps
    if length < steps:
        raise ValueError(
            f"it forecasts {length} steps; expected {steps}, the project's prediction length: a model that was built "
            "with it has to be deployed, or `mlops params set` puts the old one back"
        )
    return [part[:steps] for part in answers.of(predictions[0], length, levels)]
