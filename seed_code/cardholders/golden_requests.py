"""The golden requests of a package: what Package writes into the manifest, and Evaluate asks its server."""

from typing import Any

import pandas as pd

from seed_code.cardholders import example_requests, purchase, records
from seed_code.cardholders.features import FIELDS
from seed_code.common.golden import REFUSED, Request

_EXAMPLES, _ALONE = 8, 5  # of the holdout, and how many of them are not only in the batch
_TOLERANCE = 1e-6  # another processor may round otherwise; another model differs by far more
_FIELDS = {"usage_freq": 1, "amount_spend": 40000, "uniq_merchant": 89}


def right(examples: pd.DataFrame, features: tuple[str, ...], max_days: int) -> dict[str, Any]:
    """Requests, by name, that a server of this package must answer as Package did: real ones, and the edges.

    Holdout examples are taken at even distances (no randomness to keep in step), alternately with their stored
    features, bare, and with the calendar alone: a few by themselves, and all in a batch with what else may be said.
    """
    step = max(len(examples) // _EXAMPLES, 1)
    full = example_requests.of(examples.iloc[::step][:_EXAMPLES], features)
    known = (
        ("with stored features", features),
        ("without stored features", ()),
        ("with the calendar alone", purchase.CALENDAR),
    )
    real: dict[str, Any] = {}
    for number, request in enumerate(full):
        words, names = known[number % len(known)]
        stored = {"features": {name: request["features"][name] for name in names}} if names else {}
        k = 1 + number * (max_days - 1) // max(len(full) - 1, 1)
        real[f"holder {number + 1} {words}"] = {**{name: request[name] for name in FIELDS}, **stored, "k": k}
    batch = [
        *real.values(),
        *({**_FIELDS, "k": k} for k in sorted({1, (max_days + 1) // 2, max_days})),
        {**_FIELDS, "k": 1, "features": dict.fromkeys(features)},
        {**_FIELDS, "k": max_days, "features": {}},
        {**dict.fromkeys(FIELDS, 0), "k": 1},
    ]
    return {
        **dict(list(real.items())[:_ALONE]),
        "a name, which is not used": {**_FIELDS, "k": min(6, max_days), "name": "a-pseudonym"},
        "the largest numbers": {**dict.fromkeys(FIELDS, records.LARGEST), "k": max_days},
        "a batch": batch,
    }


def of(manifest: dict[str, Any]) -> list[Request]:
    """The requests that `golden.jsonl` is made of: those of a package's manifest, and wrong ones."""
    too_far = manifest["request"]["max_days"] + 1
    return [
        *(Request(entry["name"], entry["request"], tolerance=_TOLERANCE) for entry in manifest["golden"]),
        *REFUSED,
        Request("a field is missing", {"usage_freq": 1, "amount_spend": 40000, "k": 1}, wrong=True),
        Request("k out of range", {**_FIELDS, "k": too_far}, wrong=True),
    ]
