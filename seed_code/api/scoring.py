"""From the records of a request to the model's predictions, with the stored features where there are any."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from aws_lambda_powertools import Logger

from seed_code.api.endpoint import Endpoint, ModelRefused
from seed_code.api.holders import UNAVAILABLE, USED, Holders, Stored
from seed_code.api.refusals import Mistake, mistaken
from seed_code.api.requests import Record

_PLACE = re.compile(r"\[([0-9]+)\](?:\.(.*))?", re.DOTALL)
_WITHOUT = Stored(UNAVAILABLE)


class Scoring:
    """An endpoint's model of cardholders, and what is stored of them."""

    def __init__(self, endpoint: Endpoint, holders: Holders, log: Logger) -> None:
        self._endpoint, self._holders, self._log = endpoint, holders, log

    def one(self, record: Record, inference_id: str) -> dict[str, Any]:
        """The prediction for a record.

        Raises:
            Refused: when the model refuses the record, or does not answer.
        """
        stored = self._holders.find(record.name)
        return self._predict([record], [stored], inference_id, batch=False)[0]

    def many(self, records: Sequence[Record], inference_id: str) -> list[dict[str, Any]]:
        """The predictions for many records, in their order.

        Raises:
            Refused: when the model refuses one, or does not answer.
        """
        stored = self._holders.find_all([record.name for record in records])
        return self._predict(records, stored, inference_id, batch=True)

    def _predict(
        self, records: Sequence[Record], stored: Sequence[Stored], inference_id: str, *, batch: bool
    ) -> list[dict[str, Any]]:
        documents = [_document(record, known) for record, known in zip(records, stored, strict=True)]
        try:
            answer = self._endpoint.ask(documents if batch else documents[0], inference_id)
        except ModelRefused as refusal:
            place, field = _where(refusal.field)
            if field is None or field.partition(".")[0] != "features" or not any(one.features for one in stored):
                raise mistaken([Mistake(_path(place, field, batch), refusal.message)]) from refusal
            # The features are ours, not the caller's: the store and the model do not fit together.
            self._log.error("the model refuses the stored features", extra={"error": str(refusal)})
            without = [_WITHOUT if one.state == USED else one for one in stored]
            return self._predict(records, without, inference_id, batch=batch)
        predictions = self._read(answer, len(records), batch)
        names = [f"{inference_id}-{place}" for place in range(len(records))] if batch else [inference_id]
        return [
            {**prediction, "inference_id": name, "stored_features": known.state}
            for prediction, name, known in zip(predictions, names, stored, strict=True)
        ]

    def _read(self, answer: Any, count: int, batch: bool) -> list[dict[str, Any]]:
        """The predictions in the model's answer. Raises Refused (503) if it is not what it should be."""
        found = answer.get("response") if isinstance(answer, dict) else None
        predictions = found if batch else [found]
        if not isinstance(predictions, list) or len(predictions) != count or not all(map(_is_prediction, predictions)):
            raise self._endpoint.no_answer("the model's answer is not one of predictions")
        return [{name: prediction[name] for name in _MEMBERS} for prediction in predictions]


_MEMBERS = ("predicted_cluster", "will_spend", "probability")


def _is_prediction(found: Any) -> bool:
    if not isinstance(found, dict):
        return False
    cluster: Any = found.get("predicted_cluster")
    probability: Any = found.get("probability")
    return (
        type(cluster) is int
        and cluster >= 0
        and type(found.get("will_spend")) is bool
        and type(probability) in (int, float)
        and math.isfinite(probability)
        and 0 <= probability <= 1
    )


def _document(record: Record, stored: Stored) -> dict[str, Any]:
    return {**record.values, **({"features": stored.features} if stored.features else {})}


def _where(field: str | None) -> tuple[int | None, str | None]:
    """Position and field in the path that the model's server gives: `k`, `[3].k` or `[3]`."""
    found = _PLACE.fullmatch(field or "")
    return (int(found[1]), found[2]) if found else (None, field)


def _path(place: int | None, field: str | None, batch: bool) -> str:
    """The field's path in the caller's request."""
    whole = f"inputs[{place}]" if batch and place is not None else "inputs" if batch else "input"
    return whole if field is None else f"{whole}.{field}"
