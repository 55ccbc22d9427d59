"""The Lambda function for predictions about cardholders, what became of them, and the API's health.

Environment: ENDPOINT_NAME, FEATURE_GROUP_NAME, HOLDER_SALT, GROUND_TRUTH_URI (s3://bucket/prefix), ALLOWED_ORIGIN.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import Response

from seed_code.api import environment, inference_ids, requests
from seed_code.api.application import Application
from seed_code.api.endpoint import Endpoint
from seed_code.api.feedback import GroundTruth, Kept
from seed_code.api.health import Health
from seed_code.api.holders import Holders
from seed_code.api.refusals import Mistake, Refused, mistaken, unavailable
from seed_code.api.scoring import Scoring

_RECEIVED = "Received data successfully"

# Once for all requests, and before the first: a function that cannot work is not to start.
_endpoint, _group, _salt, _place, _origin = environment.read(
    "ENDPOINT_NAME", "FEATURE_GROUP_NAME", "HOLDER_SALT", "GROUND_TRUTH_URI", "ALLOWED_ORIGIN"
)
_application = Application("predictions", _origin)
_scoring = Scoring(Endpoint(_endpoint, _application.log), Holders(_group, _salt, _application.log), _application.log)
_ground_truth = GroundTruth(_place, _application.log)
_health = Health(_endpoint, _application.log)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one request."""
    return _application.handle(event, context)


@_application.routes.post("/predictions")
def predict() -> Response[str]:
    """Predict for one cardholder."""
    record = requests.prediction(_application.body())
    prediction = _scoring.one(record, inference_ids.make(_application.now))
    return _application.answer({"message": _RECEIVED, "response": prediction})


@_application.routes.post("/predictions:batch")
def predict_batch() -> Response[str]:
    """Predict for many."""
    records = requests.batch(_application.body())
    predictions = _scoring.many(records, inference_ids.make(_application.now))
    return _application.answer({"message": _RECEIVED, "responses": predictions})


@_application.routes.post("/feedback")
def feedback() -> Response[str]:
    """Keep what became of a prediction."""
    inference_id, purchased = requests.feedback(_application.body())
    try:
        asked_for = inference_ids.moment(inference_id, _application.now)
    except ValueError as error:
        raise mistaken([Mistake("inference_id", str(error))]) from error
    kept = _ground_truth.keep(inference_id, asked_for, purchased)
    if kept is Kept.CONTRADICTS:
        raise Refused(f"The feedback on {inference_id} says the opposite, and stays", status=HTTPStatus.CONFLICT)
    if kept is Kept.KNOWN:
        return _application.answer({"message": "This feedback was received before"})
    return _application.answer({"message": "Received feedback successfully"}, HTTPStatus.CREATED)


@_application.routes.get("/health")
def health() -> Response[str]:
    """Say whether predictions can be made."""
    if not _health.serving(_application.now):
        raise unavailable("The model is not in service")
    return _application.answer({"status": "ok"})
