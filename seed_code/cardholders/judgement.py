"""What is judged of a packaged model: its server's answers, beside baselines and the champion on the same holdout."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seed_code.cardholders import clusters, frames, metrics
from seed_code.cardholders.baselines import Baselines
from seed_code.cardholders.endpoint import Endpoint
from seed_code.cardholders.holdout import Holdout
from seed_code.common.errors import ClientError

SCHEMA_VERSION = 1
LATENCY_REQUESTS = 200
# The monitor's window holds three days and moves by an hour: a year has a hundred windows that share nothing, each of
# which is looked at more than once.
BOUND_SHARE = 0.999
_DRAWS, _MOST_DRAWN = 10_000, 500
_SEED = 0
_TOLERANCE = 1e-9  # the same model on another processor may round the last digits otherwise


def judge(
    endpoint: Endpoint,
    examples: pd.DataFrame,
    holders: pd.DataFrame,
    max_records: int,
    champion_uri: str,
    champion: Path | None,
    min_feedback: int,
) -> dict[str, Any]:
    """Everything about a running model that evaluation.json holds, but for `data` and `mlflow`.

    min_feedback: answers that the monitor judges at least, see `brier_bound`.

    Raises:
        ClientError: when the server differs from its package's golden answers, the holdout has one class only, or the
            champion cannot be served.
    """
    manifest = endpoint.manifest
    golden = check_golden(endpoint)
    features = [feature["name"] for feature in manifest["request"]["features"]]
    holdout = Holdout.of(examples, features, manifest["request"]["max_days"], max_records)
    probability = probabilities(endpoint.invoke_all(holdout.requests))
    bare = probabilities(endpoint.invoke_all(holdout.fields_only()))
    simple = holdout.baselines(Baselines.from_document(manifest["baselines"]))
    clustering = score_clusters(endpoint, holders)
    latencies = endpoint.latencies_ms([holdout.requests[i % len(holdout.requests)] for i in range(LATENCY_REQUESTS)])
    found = metrics.probability_metrics(holdout.labels, probability)
    compared, comparison = compare(holdout, probability, champion_uri, champion)
    return {
        "schema_version": SCHEMA_VERSION,
        "workload": manifest["workload"],
        "model_version": manifest["model_version"],
        "metrics": {**found, **clustering},
        "baselines": {name: metrics.probability_metrics(holdout.labels, answer) for name, answer in simple.items()},
        "fields_only": metrics.probability_metrics(holdout.labels, bare),
        "brier_bound": brier_bound(holdout.labels, probability, bare, min_feedback),
        "champion": compared,
        "champion_comparison": comparison,
        "by_k": by_k(holdout, probability, simple),
        "calibration": {"bins": metrics.calibration_bins(holdout.labels, probability)},
        "clusters": manifest["clusters"],
        "holdout": {"examples": holdout.examples, "questions": len(holdout.requests), "holders": len(holders)},
        "server": {
            "golden_requests": golden,
            "mismatches": 0,
            "latency_ms": {"p50": float(np.median(latencies)), "p99": float(np.quantile(latencies, 0.99))},
        },
    }


def check_golden(endpoint: Endpoint) -> int:
    """Ask the golden requests, and give their number.

    Raises:
        ClientError: when an answer is not the one that Package wrote down.
    """
    golden = endpoint.manifest["golden"]
    for entry in golden:
        answer = endpoint.invoke(entry["request"])
        if not same_answer(answer, entry["response"]):
            raise ClientError(
                f"the package's server answers {json.dumps(answer)} to the golden request "
                f"{json.dumps(entry['request'])}; the manifest says {json.dumps(entry['response'])}"
            )
    return len(golden)


def same_answer(found: Any, expected: Any) -> bool:
    """Whether two answers are the same but for the last digits of a probability."""
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(same_answer, found, expected))
    return (
        found["predicted_cluster"] == expected["predicted_cluster"]
        and found["will_spend"] == expected["will_spend"]
        and math.isclose(found["probability"], expected["probability"], rel_tol=0, abs_tol=_TOLERANCE)
    )


def probabilities(answers: list[dict[str, Any]]) -> NDArray[np.float64]:
    """The probabilities of answers."""
    return np.array([answer["probability"] for answer in answers])


def score_clusters(endpoint: Endpoint, holders: pd.DataFrame) -> dict[str, float]:
    """Silhouette, Davies-Bouldin and Calinski-Harabasz of the server's clusters of holdout holders."""
    counts = holders[["usage_freq", "uniq_merchant"]].to_numpy(np.int64).tolist()
    amounts = holders["amount_spend"].to_numpy(np.float64).tolist()
    answers = endpoint.invoke_all(
        [
            {"usage_freq": usage, "amount_spend": amount, "uniq_merchant": merchants, "k": 1}
            for (usage, merchants), amount in zip(counts, amounts, strict=True)
        ]
    )
    labels = np.array([answer["predicted_cluster"] for answer in answers])
    return clusters.holdout_scores(endpoint.manifest["clusters"]["scale"], frames.fields(holders), labels)


def brier_bound(
    labels: NDArray[np.bool_], with_features: NDArray[np.float64], fields_only: NDArray[np.float64], feedback: int
) -> dict[str, float]:
    """The bound under which Brier scores of so many answers lie, while the model is as good as on the holdout.

    A score of few answers scatters, so that the holdout's own says too little about when a model has become worse. The
    bound is the quantile BOUND_SHARE of the scores of answers drawn from the holdout's, with replacement. Callers send
    stored features, or the fields only, which the model answers less well: `upper` is the larger of both bounds.

    Args:
        labels: (n,) of the holdout's questions.
        with_features, fields_only: (n,) the answers to either kind of caller.
        feedback: number of answers of a score.
    """
    random = np.random.default_rng(_SEED)
    drawn = min(feedback, _MOST_DRAWN)
    chosen = random.integers(0, len(labels), (_DRAWS, drawn), dtype=np.int32)
    bounds = {}
    for name, answers in (("with_features", with_features), ("fields_only", fields_only)):
        errors = (answers - labels) ** 2
        above = float(np.quantile(errors[chosen].mean(axis=1), BOUND_SHARE) - errors.mean())
        # The distance from the mean shrinks with the root of the number.
        bounds[name] = float(errors.mean()) + above * math.sqrt(drawn / feedback)
    return {"feedback": feedback, "share": BOUND_SHARE, **bounds, "upper": max(bounds.values())}


def by_k(
    holdout: Holdout, probability: NDArray[np.float64], simple: dict[str, NDArray[np.float64]]
) -> list[dict[str, Any]]:
    """Metrics of the model and of the baselines for each k."""
    rows = []
    for k in np.unique(holdout.days):
        asked = holdout.days == k
        labels = holdout.labels[asked]
        rows.append(
            {
                "k": int(k),
                "count": int(asked.sum()),
                "positives": int(labels.sum()),
                "base_rate": float(labels.mean()),
                **metrics.probability_metrics(labels, probability[asked]),
                "baselines": {
                    name: metrics.probability_metrics(labels, answer[asked]) for name, answer in simple.items()
                },
            }
        )
    return rows


def compare(
    holdout: Holdout, probability: NDArray[np.float64], uri: str, archive: Path | None
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The champion on the same holdout, by its own server, and the model's metrics less the champion's.

    Both are measured on the questions that the champion can answer (it may know fewer stored features or days).
    Without a champion the differences are 0.
    """
    compared = ("roc_auc", "pr_auc", "log_loss", "brier", "calibration_error")
    if archive is None:
        return None, {"questions": 0, **{f"{name}_difference": 0.0 for name in compared}}
    with Endpoint(archive, source=f"the champion {uri}") as endpoint:
        request = endpoint.manifest["request"]
        asked_of, asked = holdout.for_model({feature["name"] for feature in request["features"]}, request["max_days"])
        answers = probabilities(endpoint.invoke_all(asked_of))
        version = endpoint.manifest["model_version"]
    theirs = metrics.probability_metrics(holdout.labels[asked], answers)
    ours = metrics.probability_metrics(holdout.labels[asked], probability[asked])
    differences = {f"{name}_difference": _difference(ours[name], theirs[name]) for name in compared}
    champion = {"model_uri": uri, "model_version": version, "metrics": theirs}
    return champion, {"questions": int(asked.sum()), **differences}


def _difference(ours: float | None, theirs: float | None) -> float:
    return 0.0 if ours is None or theirs is None else ours - theirs
